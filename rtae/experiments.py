"""The experiments on latents that make sound: ways between two songs, and random values in the latents of one.

All of them work on mono at the model's rate, on whole stretches at once; latents are in standard deviations. Live, the
knobs `interpolation` and `noise_amount` do the like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from rtae.audio.file import read_audio
from rtae.clips import LOUDEST, SILENCE_DB, level_db
from rtae.errors import AudioFileError, ParameterError
from rtae.runtime import OnnxModel

FloatArray = NDArray[np.float32]
LONGEST_SECONDS = 600.0
SHORTEST_SECONDS = 0.1
AMOUNT = 0.75  # the paper's
MOST_STEPS = 101
RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def read_song(path: Path, rate: int, start: float = 0.0, seconds: float | None = None) -> FloatArray:
    """A stretch of a song, mono at `rate`: (samples,). Raises AudioFileError where there is nothing to hear in it.

    start, seconds: of the stretch; ten minutes at most.
    """
    length = min(LONGEST_SECONDS, seconds or LONGEST_SECONDS)
    audio, own = read_audio(path, max_seconds=start + length)
    mono = np.clip(audio[:, round(start * own) :], -LOUDEST, LOUDEST).mean(axis=0)
    if len(mono) < SHORTEST_SECONDS * own:
        raise AudioFileError(
            f"{path} has {audio.shape[1] / own:.1f} s, and nothing is left from {start:g} s on; choose an earlier "
            "start or a longer song"
        )
    if level_db(mono) < SILENCE_DB:
        raise AudioFileError(f"{path} is silent there; choose another stretch or song")
    return np.asarray(mono if own == rate else soxr.resample(mono, own, rate), np.float32)


def through(model: OnnxModel, audio: FloatArray) -> FloatArray:
    """Audio (samples,) through a model, as long as it was."""
    return model.decode(model.encode(audio[None]))[0, : len(audio)]


# -- from one song to another ------------------------------------------------------------------------------------------
def linear_way(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """The paper's: (1 - share) * first + share * second."""
    return np.asarray((1 - share) * first + share * second, np.float32)


def spherical_way(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """Along the great circle between the two (White 2016), so that the middle is no quieter than the ends.

    >>> spherical_way(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.5).tolist()
    [0.7071067690849304, 0.7071067690849304]
    """
    norms = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    cosine = float(np.vdot(first.astype(np.float64), second.astype(np.float64))) / norms if norms else 1.0
    angle = float(np.arccos(np.clip(cosine, -1, 1)))
    if np.sin(angle) < 1e-6:  # one direction, or two that are opposite: there is no one circle
        return linear_way(first, second, share)
    weights = np.sin((1 - share) * angle) / np.sin(angle), np.sin(share * angle) / np.sin(angle)
    return np.asarray(weights[0] * first + weights[1] * second, np.float32)


@dataclass(frozen=True)
class Step:
    """One step of a way. share: 0 is the first song, 1 the second; like_first, like_second: correlation, -1 to 1."""

    way: str
    share: float
    audio: FloatArray
    level_db: float
    like_first: float
    like_second: float


@dataclass(frozen=True)
class Interpolation:
    """Both songs, (samples,), cut to the same length, all steps, and the angle between their latents in degrees."""

    first: FloatArray
    second: FloatArray
    rate: int
    steps: tuple[Step, ...]
    angle: float

    def along(self, way: str) -> list[Step]:
        """The steps of one way."""
        return [step for step in self.steps if step.way == way]


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Of two waveforms, -1 to 1; 0 where one is silent."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0


def interpolate(
    model: OnnxModel,
    first: FloatArray,
    second: FloatArray,
    steps: int = 5,
    ways: Sequence[str] = ("linear", "spherical"),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Interpolation:
    """Walk from one song to another, (samples,) each, in so many steps with both ends. Raises ParameterError."""
    if not 2 <= steps <= MOST_STEPS:
        raise ParameterError(f"{steps} steps are not possible; give 2 to {MOST_STEPS}")
    length = min(len(first), len(second))
    first, second = first[:length], second[:length]
    z1, z2 = model.encode(first[None])[0], model.encode(second[None])[0]
    shares = np.linspace(0, 1, steps).tolist()
    done: list[Step] = []
    for way in ways:
        for share in shares:
            progress(len(done), steps * len(ways))
            audio = model.decode(WAYS[way](z1, z2, share)[None])[0, :length]
            level = level_db(audio)
            done.append(Step(way, share, audio, level, correlation(audio, first), correlation(audio, second)))
    cosine = correlation(z1.ravel(), z2.ravel())
    return Interpolation(first, second, model.spec.sample_rate, tuple(done), float(np.degrees(np.arccos(cosine))))


# -- random values -----------------------------------------------------------------------------------------------------
def dimensions_of(text: str, count: int) -> list[int]:
    """Dimensions such as "0-3,7", from 0. Raises ParameterError.

    >>> dimensions_of("0-2,5", 16), len(dimensions_of("all", 16))
    ([0, 1, 2, 5], 16)
    """
    if text.strip() == "all":
        return list(range(count))
    chosen: set[int] = set()
    for word in text.split(","):
        match = RANGE.fullmatch(word.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not low <= high < count:
            raise ParameterError(
                f"{word.strip()!r} names no dimensions of this model; they are 0 to {count - 1}: give some, like "
                f"0-3,{min(7, count - 1)}, or all"
            )
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def perturb(
    model: OnnxModel,
    audio: FloatArray,
    dimensions: Sequence[int],
    amount: float = AMOUNT,
    add: bool = False,
    seed: int = 0,
) -> FloatArray:
    """A song (samples,) with random values in some latent dimensions, a new one for each frame.

    amount: they are uniform within +-amount, in standard deviations; add: to what is there, in place of replacing it.
    """
    z = model.encode(audio[None])
    noise = np.random.default_rng(seed).uniform(-amount, amount, (len(dimensions), z.shape[2])).astype(np.float32)
    z[0, list(dimensions)] = z[0, list(dimensions)] + noise if add else noise
    return model.decode(z)[0, : len(audio)]


def random_latents(model: OnnxModel, samples: int, amount: float = 1.0, seed: int = 0) -> FloatArray:
    """So many samples decoded from values that are uniform within +-amount and know nothing of each other."""
    spec = model.spec
    shape = (1, spec.latent_dim, -(-samples // spec.stride))
    z = np.random.default_rng(seed).uniform(-amount, amount, shape).astype(np.float32)
    return model.decode(z)[0, :samples]


# -- figures -----------------------------------------------------------------------------------------------------------
def snr_db(output: FloatArray, target: FloatArray) -> float:
    """Energy of a song over that of its error, dB."""
    error = output.astype(np.float64) - target
    return float(10 * np.log10((np.sum(target.astype(np.float64) ** 2) + 1e-12) / (np.sum(error**2) + 1e-12)))


def spectral_flatness(audio: FloatArray, size: int = 1024) -> float:
    """Geometric over arithmetic mean of the power in each moment's spectrum, the median of the moments that sound.

    White noise has 0.56 (its spectrum is not flat in a single moment), a tone almost 0.
    """
    count = max(1, len(audio) // size)
    frames = np.resize(audio, count * size).reshape(count, size) * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, 1:-1]) ** 2
    loud = power[power.sum(axis=1) > 1e-6 * max(float(power.sum(axis=1).max()), 1e-12)] + 1e-14
    return float(np.median(np.exp(np.log(loud).mean(axis=1)) / loud.mean(axis=1))) if len(loud) else 1.0


def envelope_likeness(audio: FloatArray, other: FloatArray, rate: int) -> float:
    """Correlation of two sounds' loudness over time, in stretches of 20 ms: whether the rhythm is the same."""
    size = max(1, rate // 50)
    count = min(len(audio), len(other)) // size
    curves = [
        np.sqrt((x[: count * size].astype(np.float64).reshape(count, size) ** 2).mean(axis=1)) for x in (audio, other)
    ]
    return correlation(*(np.asarray(curve - curve.mean(), np.float32) for curve in curves))


WAYS: dict[str, Callable[[FloatArray, FloatArray, float], FloatArray]] = {
    "linear": linear_way,
    "spherical": spherical_way,
}
