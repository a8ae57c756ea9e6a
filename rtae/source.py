"""Where sound comes from: files, one after another; generators. Each gives `(channels, n)` blocks at the stream's rate.

The microphone is no source of this kind: its samples come with the device's callback (`rtae.feed`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from rtae.audio.file import AudioReader
from rtae.errors import AudioFileError, ParameterError
from rtae.setup import GENERATORS, MICROPHONE

FloatArray = NDArray[np.float32]
LEVEL = 10 ** (-12 / 20)
TONE_HZ = 440.0
DECODE = 4096
MEMORY_SECONDS = 0.75
SHORTEST_LOOP = 0.01
LONGEST_SECONDS = 1e6


class Source(Protocol):
    """A stream of sound with a place in it.

    position, duration: seconds; a duration of 0 has no end. ended: nothing more will come. padded: samples of silence
    that were given after the end.
    """

    name: str
    duration: float
    ended: bool
    padded: int

    @property
    def position(self) -> float:
        """Seconds from its start."""
        ...

    def read(self, count: int) -> FloatArray:
        """The next samples, (channels, count), padded with silence at the end."""
        ...

    def seek(self, seconds: float) -> None:
        """Go to a place; past the end is the end."""
        ...

    def rewind(self, seconds: float) -> None:
        """Go back by what was read last, at most MEMORY_SECONDS, without a seek."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def to_channels(block: FloatArray, channels: int) -> FloatArray:
    """A block with so many channels: mono is copied to all, many are mixed to mono, else the first ones are kept."""
    if block.shape[0] == channels:
        return block
    if block.shape[0] == 1:
        return np.repeat(block, channels, axis=0)
    if channels == 1:
        mixed: FloatArray = block.mean(axis=0, keepdims=True, dtype=np.float32)
        return mixed
    kept = block[:channels]
    return np.concatenate([kept, np.zeros((channels - len(kept), block.shape[1]), np.float32)])


def check_place(seconds: float) -> float:
    """A place in a song, in seconds, not before its start. Raises ParameterError for what is no number of seconds."""
    if not (np.isfinite(seconds) and seconds < LONGEST_SECONDS):
        raise ParameterError(f"{seconds} is no place in a song; give seconds")
    return max(0.0, float(seconds))


class FileSource:
    """A file at the stream's rate. Raises AudioFileError.

    loop: (start, end) in seconds, or None; end 0 is the end of the file.
    """

    def __init__(self, path: Path, rate: int, channels: int, loop: tuple[float, float] | None = None) -> None:
        self.reader = AudioReader(path)
        self.name, self.rate, self.channels = str(path), rate, channels
        self.duration = self.reader.info.seconds
        self.error: str | None = None
        self.set_loop(loop)
        self.seek(0.0)
        if self.pending.shape[1] == 0 and not self.fill():
            self.reader.close()
            raise AudioFileError(f"{path} holds no samples; choose a file with sound in it")

    @property
    def position(self) -> float:
        """See `Source`."""
        return self.place / self.rate

    @property
    def trouble(self) -> str:
        """Why it ended before its end, in words; empty if it did not."""
        if not self.ended:
            return ""
        return self.error or (f"{self.name} ends earlier than it says, or is damaged" if self.reader.truncated else "")

    def seek(self, seconds: float) -> None:
        """See `Source`."""
        own = self.reader.rate
        self.reader.seek(round(check_place(seconds) * own))
        self.place = round(self.reader.position / own * self.rate)
        self.resample = (
            soxr.ResampleStream(own, self.rate, self.channels, dtype="float32") if own != self.rate else None
        )
        self.pending: FloatArray = np.zeros((self.channels, 0), np.float32)
        self.past: FloatArray = np.zeros((self.channels, 0), np.float32)
        self.ended = self.drained = False
        self.padded = 0

    def rewind(self, seconds: float) -> None:
        """See `Source`. A seek in an Ogg file may decode it from its start, too long while it plays."""
        count = min(round(seconds * self.rate) - self.padded, self.past.shape[1], self.place)
        self.padded = 0
        if count > 0:
            self.pending = np.concatenate([self.past[:, -count:], self.pending], axis=1)
            self.past = self.past[:, :-count]
            self.place -= count
            self.ended = False

    def set_loop(self, region: tuple[float, float] | None) -> None:
        """Loop from a start to an end in seconds; end 0 is the file's. Raises ParameterError for what is no region."""
        if region is not None:
            start, end = check_place(region[0]), check_place(region[1])
            if 0 < end < start + SHORTEST_LOOP:
                raise ParameterError(f"A loop from {start:g} s to {end:g} s is too short; at least {SHORTEST_LOOP} s")
        self.loop = region

    def fill(self) -> bool:
        """Decode a little more; False at the end. A file that breaks while it plays ends there."""
        if self.drained:
            return False
        try:
            block = to_channels(self.reader.read(DECODE), self.channels)
        except (AudioFileError, MemoryError) as error:
            self.error, block = str(error), np.zeros((self.channels, 0), np.float32)
        self.drained = block.shape[1] == 0
        if self.resample is not None:
            block = self.resample.resample_chunk(np.ascontiguousarray(block.T), last=self.drained).T
        self.pending = np.concatenate([self.pending, block], axis=1)
        return not self.drained or self.pending.shape[1] > 0

    def read(self, count: int) -> FloatArray:
        """See `Source`."""
        parts, missing = [], count
        while missing:
            while self.pending.shape[1] < missing and self.fill():
                pass
            part = self.pending[:, : self.before_loop_end(missing)]
            self.pending = self.pending[:, part.shape[1] :]
            self.place += part.shape[1]
            self.past = np.concatenate([self.past, part], axis=1)[:, -round(MEMORY_SECONDS * self.rate) :]
            parts.append(part)
            missing -= part.shape[1]
            stuck = len(parts) > 1 and not (parts[-1].shape[1] or parts[-2].shape[1])
            if missing and (stuck or not self.back_to_loop_start()):
                self.ended = True
                self.padded += missing
                parts.append(np.zeros((self.channels, missing), np.float32))
                break
        return np.concatenate([np.zeros((self.channels, 0), np.float32), *parts], axis=1)

    def before_loop_end(self, count: int) -> int:
        """So many samples, or as many as there are before the loop ends."""
        region = self.loop
        if region is None or region[1] <= 0:
            return count
        return max(0, min(count, round(region[1] * self.rate) - self.place))

    def back_to_loop_start(self) -> bool:
        """Start the loop again, if there is one that has any length."""
        region = self.loop
        if region is None or self.error is not None or self.place <= round(region[0] * self.rate):
            return False
        try:
            self.seek(region[0])
        except AudioFileError as error:
            self.error = str(error)
            return False
        return True

    def close(self) -> None:
        """See `Source`."""
        self.reader.close()


class Generator:
    """Silence, a tone of 440 Hz or white noise, at -12 dBFS, without end; a dream, which makes no sound of its own."""

    KINDS = GENERATORS

    def __init__(self, kind: str, rate: int, channels: int) -> None:
        if kind not in self.KINDS:
            raise ParameterError(f"No generator {kind!r}; there are {', '.join(self.KINDS)}")
        self.name, self.kind, self.rate, self.channels = kind, kind, rate, channels
        self.duration, self.ended, self.place, self.padded = 0.0, False, 0, 0
        self.rng = np.random.default_rng(0)

    @property
    def position(self) -> float:
        """See `Source`."""
        return self.place / self.rate

    def read(self, count: int) -> FloatArray:
        """See `Source`."""
        places = np.arange(self.place, self.place + count)
        self.place += count
        if self.kind == "tone":
            mono = LEVEL * np.sin(2 * np.pi * TONE_HZ / self.rate * places)
        elif self.kind == "noise":
            mono = LEVEL * self.rng.uniform(-1, 1, count)
        else:
            mono = np.zeros(count)
        return np.repeat(mono[None].astype(np.float32), self.channels, axis=0)

    def seek(self, seconds: float) -> None:
        """See `Source`."""
        self.place = round(check_place(seconds) * self.rate)

    def rewind(self, seconds: float) -> None:
        """See `Source`."""
        self.place = max(0, self.place - round(seconds * self.rate))

    def close(self) -> None:
        """Nothing to let go of."""


def open_source(name: str, rate: int, channels: int, loop: tuple[float, float] | None = None) -> Source | None:
    """A source by name; None for the microphone. Raises AudioFileError, ParameterError."""
    if name == MICROPHONE:
        return None
    if name in Generator.KINDS:
        return Generator(name, rate, channels)
    return FileSource(Path(name), rate, channels, loop)
