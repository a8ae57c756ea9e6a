"""A folder of songs as training material.

`survey` decodes each file once into a cache of raw 16-bit mono at the model's rate, memory-mapped afterwards, and says
what it found and what it had to leave out. `Crops` cuts examples: example i is a function of (seed, i) and nothing
else, which is what makes a resumed run continue exactly.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torch import Tensor
from torch.utils.data import Dataset

from rtae.audio.file import AudioReader, find_audio
from rtae.dsp import LOUDEST
from rtae.errors import AudioFileError, TrainingError

SCALE = 16_384  # of the 16-bit cache: 6 dB of headroom, since lossy files decode to peaks above full scale
SILENCE_RMS = 10 ** (-60 / 20)
BLOCK = 1 << 18
HELD_OUT = 0.1
DATA_FILE = "data.json"  # in the folder of a run: which songs it was trained on

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Track:
    """One file's audio, in the cache; rate is the file's own, model_rate that of the cache and of `samples`.

    repaired: values of it that were not finite and were silenced; cut: it ends before its header says, or is damaged.
    """

    path: Path
    rate: int
    model_rate: int
    samples: int
    cache: Path
    repaired: int = 0
    cut: bool = False

    def audio(self) -> NDArray[np.int16]:
        """All of it, (samples,), memory-mapped; divide by SCALE."""
        return np.memmap(self.cache, np.int16, "r", shape=(self.samples,))

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """A stretch of it, (count,) float32, full scale +-1."""
        return self.audio()[start : start + count].astype(np.float32) / SCALE


def middle(track: Track, seconds: float) -> NDArray[np.float32]:
    """Up to so many seconds around the middle of a track, (samples,)."""
    most = round(seconds * track.model_rate)
    return track.read(max(0, (track.samples - most) // 2), most)


@dataclass
class Survey:
    """What a folder holds: the usable tracks, and why the others are not; rate: the model's, in Hz."""

    folder: Path
    tracks: list[Track] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    repaired: int = 0
    rate: int = 0

    @property
    def minutes(self) -> float:
        """Usable audio at the model's rate."""
        return sum(track.samples for track in self.tracks) / self.rate / 60

    @property
    def cut(self) -> list[Path]:
        """Usable files of which a part is missing."""
        return [track.path for track in self.tracks if track.cut]

    def rates(self) -> Counter[int]:
        """How many usable files have which rate, in Hz."""
        return Counter(track.rate for track in self.tracks)


def cache_folder() -> Path:
    """Where decoded audio is kept; safe to delete."""
    return user_cache_path("rtae") / "audio"


def decode(path: Path, rate: int, cache: Path) -> Track:
    """One file into the cache, if it is not there yet.

    Raises AudioFileError where the file has nothing to give.
    """
    with AudioReader(path) as reader:
        status = path.stat()
        key = f"{status.st_size}|{status.st_mtime_ns}|{rate}|{SCALE}|".encode() + os.fsencode(path.resolve())
        name = hashlib.sha256(key).hexdigest()[:32]
        try:
            # What is wrong with it is part of the name, so that it is said again of a file that is decoded already.
            target = next(iter(cache.glob(f"{name}-*.s16")), None)
            if target is None:
                beside = cache / f"{name}.part{os.getpid()}"
                try:
                    decode_into(reader, rate, beside)
                    target = cache / f"{name}-{reader.repaired}{'-cut' if reader.truncated else ''}.s16"
                    beside.replace(target)
                finally:
                    beside.unlink(missing_ok=True)
            samples = target.stat().st_size // 2
        except OSError as error:
            if isinstance(error, AudioFileError):
                raise
            raise TrainingError(f"The cache {cache} cannot be written: {error.strerror}; free or mend it") from None
        _, repaired, *cut = target.stem.split("-")
        return Track(path, reader.rate, rate, samples, target, int(repaired), bool(cut))


def decode_into(reader: AudioReader, rate: int, target: Path) -> None:
    """The rest of a file as raw 16-bit mono at `rate`."""
    resample = soxr.ResampleStream(reader.rate, rate, 1, dtype="float32") if reader.rate != rate else None
    with target.open("wb") as out:
        while True:
            block = reader.read(BLOCK)
            last = block.shape[1] == 0
            mono = np.clip(block, -LOUDEST, LOUDEST).mean(axis=0) if not last else np.zeros(0, np.float32)
            if resample is not None:
                mono = resample.resample_chunk(mono, last=last)
            out.write(np.clip(np.rint(mono * SCALE), -32_768, 32_767).astype("<i2").tobytes())
            if last:
                return


def survey(folder: Path, rate: int, shortest: int, progress: Progress | None = None) -> Survey:
    """Decode a folder, nested, and say what it holds.

    shortest: samples at `rate` below which a track is left out. Raises AudioFileError where there is no such folder,
    TrainingError where it has no usable audio, with the reasons.
    """
    found = find_audio(folder)
    if not found:
        raise TrainingError(f"No audio files in {folder} (wav, flac, ogg, opus, mp3, aiff, ... in it or below it)")
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"The cache {cache} cannot be made: {error.strerror}; free or mend its place") from None
    result = Survey(folder, rate=rate)
    for number, path in enumerate(found):
        if progress is not None:
            progress(number, len(found), path.name)
        try:
            track = decode(path, rate, cache)
        except AudioFileError as error:
            result.skipped[path] = str(error)
            continue
        result.repaired += track.repaired
        reason = unusable(track, shortest, rate)
        if reason:
            result.skipped[path] = reason
        else:
            result.tracks.append(track)
    if not result.tracks:
        reasons = "; ".join(sorted(set(result.skipped.values()))[:3])
        raise TrainingError(f"None of the {len(found)} audio files in {folder} can be used: {reasons}")
    return result


def unusable(track: Track, shortest: int, rate: int) -> str:
    """Why a track cannot be trained on, or nothing."""
    if track.samples < shortest:
        return f"shorter than {shortest / rate:.1f} s"
    middle = max(0, track.samples // 2 - 30 * rate)
    if np.sqrt(np.mean(track.read(middle, 60 * rate) ** 2)) < SILENCE_RMS:
        return "silent"
    return ""


def split(tracks: Sequence[Track], folder: Path) -> tuple[list[Track], list[Track]]:
    """Training and held-out tracks, by file: those whose names hash into the lowest tenth, at least one.

    What becomes of a song does not depend on the other songs, so a held-out one is never trained on later. Raises
    TrainingError where there is only one track.
    """
    if len(tracks) < 2:
        raise TrainingError(
            f"{folder} has one usable file, and one is held out to measure on: add a second, or cut it in two"
        )

    def rank(track: Track) -> float:
        name = os.fsencode(track.path.relative_to(folder))
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") / 2**64

    ranks = {track: rank(track) for track in tracks}
    bound = min(max(HELD_OUT, min(ranks.values())), sorted(ranks.values())[-2])
    return [t for t in tracks if ranks[t] > bound], [t for t in tracks if ranks[t] <= bound]


class Example(NamedTuple):
    """What is trained on.

    audio: (1, crop), of a batch (batch, 1, crop).
    floor: mean square of what the linear code leaves of the whole song, at the gain of the audio; of a batch (batch,).
        0 where it is not known.
    """

    audio: Tensor
    floor: Tensor


class Crops(Dataset[Example]):
    """Random stretches of random tracks, each sample of the folder as likely as any other.

    gain_db: up to so many dB quieter, uniform in dB; polarity flips half the time. floors: mean square of what the
    linear code leaves of each track.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        crop: int,
        count: int,
        seed: int,
        gain_db: float,
        first: int = 0,
        floors: Sequence[float] | None = None,
    ) -> None:
        self.floors = floors or [0.0] * len(tracks)
        self.audio = [track.audio() for track in tracks]
        starts = np.array([track.samples - crop + 1 for track in tracks], np.int64)
        self.ends = np.cumsum(starts)
        self.crop, self.count, self.seed, self.gain_db, self.first = crop, count, seed, gain_db, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """Example `first + index`."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.first + index])
        place = int(rng.integers(self.ends[-1]))
        track = int(np.searchsorted(self.ends, place, side="right"))
        start = place - int(self.ends[track - 1] if track else 0)
        gain = 10 ** (-rng.uniform(0, self.gain_db) / 20) * (1 if rng.random() < 0.5 else -1)
        piece = self.audio[track][start : start + self.crop].astype(np.float32) * np.float32(gain / SCALE)
        return Example(torch.from_numpy(piece)[None], torch.tensor(self.floors[track] * gain**2))
