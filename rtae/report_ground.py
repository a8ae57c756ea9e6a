"""What the sections of the report work on and are made of, and how figures become words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.analysis import Analysis, analyse
from rtae.audio.file import AudioReader
from rtae.clips import Clip, Material
from rtae.errors import RtaeError
from rtae.experiments import envelope_likeness, read_song, snr_db
from rtae.runtime import OnnxModel

FloatArray = NDArray[np.float32]
MODELS = ("large", "small", "tiny")
MAIN = "small"
VAE = "vae"
TREBLE_HZ = 4000.0
MOST_CLUSTERS = 10
LEAST_CLIPS = 4


@dataclass(frozen=True)
class Excerpt:
    """A part of a song, (samples,), that begins so many seconds into it."""

    name: str
    audio: FloatArray
    start: float


@dataclass(frozen=True)
class Section:
    """What is seen, in words; pictures with captions (png), sounds with names, a table whose first row is its head."""

    title: str
    text: tuple[str, ...]
    pictures: tuple[tuple[str, bytes], ...] = ()
    sounds: tuple[tuple[str, FloatArray], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Ground:
    """What all sections work on. material: None where no song has a whole clip."""

    models: dict[str, OnnxModel]
    folders: dict[str, Path]
    excerpts: tuple[Excerpt, ...]
    material: Material | None
    rate: int
    seconds: float
    seed: int

    @cached_property
    def analyses(self) -> dict[str, dict[str, Analysis]]:
        """By view and model; empty where there are too few clips, or all are the same."""
        if self.material is None or len(self.material.clips) < LEAST_CLIPS:
            return {}
        most = min(MOST_CLUSTERS, len(self.material.clips) - 1)
        try:
            return {
                view: {name: analyse(z, view, most, self.seed) for name, z in self.material.latents.items()}
                for view in ("flat", "pooled")
            }
        except RtaeError:
            return {}

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Those that are analysed."""
        return self.material.clips if self.material else ()


def read_excerpt(path: Path, rate: int, seconds: float) -> Excerpt:
    """The middle of a song, or all of a short one. Raises AudioFileError."""
    with AudioReader(path) as reader:
        start = max(0.0, (reader.info.seconds - seconds) / 2)
    return Excerpt(path.name, read_song(path, rate, start, seconds), start)


# -- figures and words -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Likeness:
    """Of an output to its song: error below the song in dB, correlation of loudness, change of the treble in dB."""

    snr: float
    rhythm: float
    treble: float


def likeness(output: FloatArray, song: FloatArray, rate: int) -> Likeness:
    """All three figures; treble is NaN where the song has none to speak of."""

    def energy(audio: FloatArray) -> tuple[float, float]:
        power = np.abs(np.fft.rfft(audio)) ** 2
        edge = round(TREBLE_HZ * len(audio) / rate)
        return float(power[edge:].sum()), float(power.sum())

    (before, whole), (after, _) = energy(song), energy(output)
    treble = 10 * np.log10(max(after, 1e-12) / before) if before > 1e-7 * whole else float("nan")
    return Likeness(snr_db(output, song), envelope_likeness(output, song, rate), float(treble))


def by_size(value: float, *steps: tuple[float, str]) -> str:
    """The words of the first step that the value reaches; the last step takes all.

    >>> by_size(12, (20, "much"), (10, "some"), (0, "little"))
    'some'
    """
    return next((words for least, words in steps if value >= least), steps[-1][1])


def in_words(name: str, figures: Likeness) -> str:
    """What the figures of one output mean."""
    error = by_size(
        figures.snr,
        (40, "far too little to be heard beside the music"),
        (20, "a faint veil"),
        (10, "plainly audible"),
        (-1e9, "as loud as a part of the music"),
    )
    rhythm = by_size(figures.rhythm, (0.98, "is kept"), (0.9, "is mostly kept"), (-2, "is damaged"))
    text = (
        f"{name}: what differs lies {figures.snr:.1f} dB below the song, {error}; the rhythm {rhythm} (the loudness "
        f"over time correlates by {figures.rhythm:.3f})"
    )
    if np.isnan(figures.treble):
        return text + ". The song has next to nothing above 4 kHz."
    treble = by_size(
        figures.treble,
        (1, "there is more treble than before"),
        (-1, "the treble is all there"),
        (-6, "most of the treble is there"),
        (-15, "much of the treble is missing"),
        (-1e9, "hardly any treble is left"),
    )
    return text + f"; {treble} ({round(figures.treble, 1) + 0.0:+.1f} dB above 4 kHz)."


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
