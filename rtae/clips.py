"""Songs cut into clips of five seconds, and the latents of each clip in files that are mapped into memory.

A clip's latents are computed once per song and model and kept in the cache folder, as float16 in plain .npy files that
are named after the checksums of the song and of the encoder. So an analysis that was interrupted goes on where it was,
another one of the same songs starts at once, and thousands of clips need no more memory than the block that is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from platformdirs import user_cache_path

from rtae.audio.file import CHUNK, AudioReader, checksum_of
from rtae.errors import AudioFileError, ModelError, RtaeError
from rtae.runtime import OnnxModel
from rtae.spec import ENCODER_FILE

FloatArray = NDArray[np.float32]
HalfArray = NDArray[np.float16]
Progress = Callable[[int, int, str], None]

SECONDS = 5
SILENCE_DB = -60.0
LOUDEST = 8.0  # full scale; what is above is a damaged file, and would take every figure with it
MOST_PER_SONG = 10_000  # clips; fourteen hours, more is a damaged header
MOST_FLOAT16 = 65_504.0
FORMAT = b"1"


@dataclass(frozen=True)
class Clip:
    """Five seconds of a song. number: 0 is the first; level_db: RMS in dB of full scale."""

    path: Path
    number: int
    level_db: float = 0.0

    @property
    def start(self) -> float:
        """Seconds."""
        return float(self.number * SECONDS)


@dataclass(frozen=True)
class Latents:
    """Of all clips through one model, one row for each: (latent_dim, frames), in standard deviations.

    songs: what is mapped, (clips, latent_dim, frames) each; rows: song and place in it, by clip.
    """

    model: OnnxModel
    songs: tuple[HalfArray, ...]
    rows: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """latent_dim, frames."""
        return self.songs[0].shape[1], self.songs[0].shape[2]

    def read(self, first: int, last: int) -> FloatArray:
        """Rows first to last - 1: (n, latent_dim, frames) float32."""
        return np.stack([self.songs[song][place] for song, place in self.rows[first:last]]).astype(np.float32)


@dataclass(frozen=True)
class Material:
    """What is analysed: the clips, their latents by the model's name, and what was left out, with the reason."""

    clips: tuple[Clip, ...]
    latents: dict[str, Latents]
    skipped: dict[Path, str]
    silent: int


def cache_folder() -> Path:
    """Where latents are kept; safe to delete."""
    return user_cache_path("rtae") / "latents"


def clip_count(path: Path) -> int:
    """Whole clips in a file. Raises AudioFileError where there is none."""
    with AudioReader(path) as reader:
        samples = reader.info.samples
        if not samples:  # the header leaves it open
            while (block := reader.read(CHUNK)).shape[1]:
                samples += block.shape[1]
        count = samples // (SECONDS * reader.rate)
        if not count:
            raise AudioFileError(f"shorter than {SECONDS} s ({samples / reader.rate:.1f} s)")
        return min(count, MOST_PER_SONG)


def plan(paths: Sequence[Path], most: int | None) -> tuple[dict[Path, list[int]], dict[Path, str]]:
    """Which clips of which songs, and which files have none and why.

    most: clips in all; where there are more, every so-manieth is taken.
    """
    counts: dict[Path, int] = {}
    skipped: dict[Path, str] = {}
    for path in paths:
        try:
            counts[path] = clip_count(path)
        except AudioFileError as error:
            skipped[path] = str(error)
    total = sum(counts.values())
    wanted = np.arange(total)
    if most is not None and total > most:
        wanted = np.floor((np.arange(most) + 0.5) * total / most).astype(np.int64)
    chosen: dict[Path, list[int]] = {}
    first = 0
    for path, count in counts.items():
        mine = wanted[(wanted >= first) & (wanted < first + count)] - first
        if len(mine):
            chosen[path] = mine.tolist()
        first += count
    return chosen, skipped


def read_clip(reader: AudioReader, number: int, rate: int) -> FloatArray:
    """One clip, mono at `rate`: (5 * rate,), with silence where the file ends before."""
    reader.seek(number * SECONDS * reader.rate)
    mono = np.clip(reader.read(SECONDS * reader.rate), -LOUDEST, LOUDEST).mean(axis=0)
    if len(mono) and reader.rate != rate:
        mono = soxr.resample(mono, reader.rate, rate)
    clip = np.zeros(SECONDS * rate, np.float32)
    clip[: len(mono)] = mono[: len(clip)]
    return clip


def level_db(audio: FloatArray) -> float:
    """RMS in dB of full scale."""
    return float(10 * np.log10(np.mean(audio.astype(np.float64) ** 2) + 1e-12))


def cache_path(song: str, numbers: Sequence[int], rate: int, encoder: str) -> Path:
    """The file of a song's latents. song, encoder: checksums; an empty encoder stands for the levels."""
    key = hashlib.sha256(b"|".join([FORMAT, song.encode(), encoder.encode(), str((rate, *numbers)).encode()]))
    return cache_folder() / f"{key.hexdigest()[:40]}.npy"


def load(path: Path, shape: tuple[int, ...], dtype: type) -> NDArray[np.generic] | None:
    """A file of the cache, mapped; None if it is not there, or is not what it should be."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == dtype else None


def store(path: Path, array: NDArray[np.generic]) -> None:
    """Write a file of the cache beside its place, and rename it. Raises RtaeError."""
    beside = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as out:
            np.save(out, array, allow_pickle=False)
        beside.replace(path)
    except OSError as error:
        raise RtaeError(f"The cache {path.parent} cannot be written ({error.strerror}); free or mend it") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def encode(model: OnnxModel, audio: FloatArray) -> HalfArray:
    """One clip's latents, (latent_dim, frames). Raises ModelError where they are not finite."""
    z = model.encode(audio[None])[0]
    if not np.isfinite(z).all():
        raise ModelError(f"The model '{model.spec.name}' gives latents that are not finite; export it again")
    half: HalfArray = np.clip(z, -MOST_FLOAT16, MOST_FLOAT16).astype(np.float16)
    return half


def song_latents(
    path: Path, numbers: list[int], models: dict[str, OnnxModel], rate: int, tell: Callable[[int], None]
) -> tuple[NDArray[np.generic], dict[str, NDArray[np.generic]]]:
    """Levels (clips,) and latents of a song's clips, from the cache, or computed and put there.

    tell: called with the number of clips that are done. Raises AudioFileError where the file cannot be read.
    """
    song, samples = checksum_of(path), SECONDS * rate
    files = {name: cache_path(song, numbers, rate, model.spec.files[ENCODER_FILE]) for name, model in models.items()}
    shapes = {
        name: (len(numbers), model.spec.latent_dim, -(-samples // model.spec.stride) + model.spec.extra_frames)
        for name, model in models.items()
    }
    levels_file = cache_path(song, numbers, rate, "")
    levels = load(levels_file, (len(numbers),), np.float32)
    found = {name: load(file, shapes[name], np.float16) for name, file in files.items()}
    missing = [name for name, latents in found.items() if latents is None]
    if missing or levels is None:
        fresh = {name: np.zeros(shapes[name], np.float16) for name in missing}
        heights = np.zeros(len(numbers), np.float32)
        with AudioReader(path) as reader, ThreadPoolExecutor(max(1, min(len(missing), os.cpu_count() or 1))) as pool:
            for place, number in enumerate(numbers):
                clip = read_clip(reader, number, rate)
                heights[place] = level_db(clip)
                for name, z in zip(
                    missing, pool.map(lambda name, c=clip: encode(models[name], c), missing), strict=True
                ):
                    fresh[name][place] = z
                tell(place)
        for name in missing:
            store(files[name], fresh[name])
            found[name] = load(files[name], shapes[name], np.float16)
        store(levels_file, heights)
        levels = heights
    lost = [name for name, latents in found.items() if latents is None]
    if lost:
        raise RtaeError(f"The cache {cache_folder()} does not keep what is written to it; free or mend it")
    return levels, {name: latents for name, latents in found.items() if latents is not None}


def common_rate(models: dict[str, OnnxModel]) -> int:
    """The rate of all models in Hz. Raises ModelError where they differ."""
    rates = {name: model.spec.sample_rate for name, model in models.items()}
    if len(set(rates.values())) > 1:
        listing = ", ".join(f"{name} at {rate} Hz" for name, rate in rates.items())
        raise ModelError(f"These models would not get the same clips ({listing}); analyse those of one rate at a time")
    return next(iter(rates.values()))


def gather(
    paths: Sequence[Path],
    models: dict[str, OnnxModel],
    most: int | None = None,
    progress: Progress = lambda *_: None,
) -> Material:
    """Clips and latents of songs. Silent clips are left out, and files that have none.

    Raises AudioFileError where nothing is left, ModelError for models of different rates.
    """
    rate = common_rate(models)
    chosen, skipped = plan(paths, most)
    total, done, silent = sum(len(numbers) for numbers in chosen.values()), 0, 0
    clips: list[Clip] = []
    songs: dict[str, list[HalfArray]] = {name: [] for name in models}
    rows: list[tuple[int, int]] = []
    for path, numbers in chosen.items():
        try:
            levels, latents = song_latents(
                path,
                numbers,
                models,
                rate,
                lambda place, d=done, p=path: progress(d + place, total, p.name),  # type: ignore[misc]
            )
        except AudioFileError as error:
            skipped[path] = str(error)
            continue
        finally:
            done += len(numbers)
        for place, number in enumerate(numbers):
            level = float(levels[place])
            if level < SILENCE_DB:
                silent += 1
                continue
            clips.append(Clip(path, number, level))
            rows.append((len(songs[next(iter(models))]), place))
        for name in models:
            songs[name].append(latents[name])  # type: ignore[arg-type]
        progress(done, total, path.name)
    if not clips:
        reasons = "; ".join(sorted(set(skipped.values()))[:2])
        detail = f"all {silent} clips are silent" if silent else reasons or "there are no files"
        raise AudioFileError(f"No clips of {SECONDS} s to analyse: {detail}. Give songs with sound in them")
    found = {name: Latents(models[name], tuple(songs[name]), tuple(rows)) for name in models}
    return Material(tuple(clips), found, skipped, silent)
