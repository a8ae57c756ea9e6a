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

FloatArray = NDArray[np.float32]
LEVEL = 10 ** (-12 / 20)
TONE_HZ = 440.0
DECODE = 4096


class Source(Protocol):
    """A stream of sound with a place in it.

    position, duration: seconds; a duration of 0 has no end. ended: nothing more will come.
    """

    name: str
    duration: float
    ended: bool

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


class FileSource:
    """A file at the stream's rate. Raises AudioFileError.

    loop: (start, end) in seconds, or None; end 0 is the end of the file.
    """

    def __init__(self, path: Path, rate: int, channels: int, loop: tuple[float, float] | None = None) -> None:
        self.reader = AudioReader(path)
        self.name, self.rate, self.channels = str(path), rate, channels
        self.duration = self.reader.info.seconds
        self.error: str | None = None
        self.loop = loop
        self.seek(0.0)
        if self.pending.shape[1] == 0 and not self.fill():
            self.reader.close()
            raise AudioFileError(f"{path} holds no samples; choose a file with sound in it")

    @property
    def position(self) -> float:
        """See `Source`."""
        return self.place / self.rate

    def seek(self, seconds: float) -> None:
        """See `Source`."""
        if not np.isfinite(seconds):
            raise ParameterError(f"{seconds} is no place in a song; give seconds")
        own = self.reader.rate
        self.reader.seek(round(max(0.0, seconds) * own))
        self.place = round(self.reader.position / own * self.rate)
        self.resample = (
            soxr.ResampleStream(own, self.rate, self.channels, dtype="float32") if own != self.rate else None
        )
        self.pending: FloatArray = np.zeros((self.channels, 0), np.float32)
        self.ended = self.drained = False

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
            parts.append(part)
            missing -= part.shape[1]
            if missing and not self.back_to_loop_start():
                self.ended = True
                parts.append(np.zeros((self.channels, missing), np.float32))
                break
        return np.concatenate(parts, axis=1) if len(parts) != 1 else parts[0]

    def before_loop_end(self, count: int) -> int:
        """So many samples, or as many as there are before the loop ends."""
        if self.loop is None or self.loop[1] <= 0:
            return count
        return max(0, min(count, round(self.loop[1] * self.rate) - self.place))

    def back_to_loop_start(self) -> bool:
        """Start the loop again, if there is one that has any length."""
        if self.loop is None or self.error is not None:
            return False
        start = self.loop[0]
        if self.place <= round(start * self.rate):
            return False
        self.seek(start)
        return True

    def close(self) -> None:
        """See `Source`."""
        self.reader.close()


class Generator:
    """Silence, a tone of 440 Hz or white noise, at -12 dBFS, without end."""

    KINDS = ("silence", "tone", "noise")

    def __init__(self, kind: str, rate: int, channels: int) -> None:
        if kind not in self.KINDS:
            raise ParameterError(f"No generator {kind!r}; there are {', '.join(self.KINDS)}")
        self.name, self.kind, self.rate, self.channels = kind, kind, rate, channels
        self.duration, self.ended, self.place = 0.0, False, 0
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
        self.place = round(max(0.0, seconds) * self.rate)

    def close(self) -> None:
        """Nothing to let go of."""
