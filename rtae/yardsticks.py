"""How near sounds are to music, in figures that do not flatter: distances between distributions of what is measured.

Each clip of five seconds is brought to the same loudness and described by its log-mel spectrum (how loud each band is,
how much that moves), its onsets per second, how strongly they repeat, and how noise-like its spectrum is. A distance is
that of Wasserstein between the values over two sets of clips, in standard deviations of music, averaged over the values
of a kind; 0 would be the same distribution. Two sets of real music are not at 0 either, which is the yardstick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import process_time

import numpy as np
import soxr
from numpy.typing import NDArray

from rtae.audio.file import find_audio, read_audio
from rtae.errors import AudioFileError, RtaeError
from rtae.prior import KINDS, Dream, load
from rtae.runtime import OnnxModel
from rtae.sample import decoded

FloatArray = NDArray[np.float32]
Array = NDArray[np.float64]
CLIP_SECONDS = 5
PER_SONG = 4
WARM_SECONDS = 5.0  # of each dream, which are not measured
SEEDS = 1 << 16
MOST_NOISE = 20  # clips of white noise, which are all alike
REPEATS = 3  # sets of dreams, of other seeds
FFT, HOP, BANDS = 1024, 256, 40
LOUDNESS = 0.1  # RMS that every clip is brought to
QUIET = 1e-3  # RMS of clips that are left out
FLOOR = 1e-8
ONSET_RISE = 0.1  # nats above the average of half a second around
BEAT_SECONDS = (0.3, 1.5)
STATISTICS = ("log-mel level", "log-mel movement", "onset density", "beat strength", "spectral flatness")
REFERENCE, OTHER, THROUGH, NOISE = "reference", "other music", "music through the model", "white noise"


@lru_cache(maxsize=4)
def mel_bands(rate: int) -> Array:
    """Triangles on the mel scale (O'Shaughnessy 1987), (BANDS, bins), from 30 Hz to half the rate."""

    def mel(hertz: float) -> float:
        return 2595 * float(np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(30), mel(rate / 2), BANDS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * rate / FFT
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    bands: Array = np.maximum(0, np.minimum(rising, falling))
    # A band narrower than a bin takes the bin that is nearest to its middle.
    empty = bands.sum(axis=1) == 0
    bands[empty, np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)[empty]] = 1
    return bands / bands.sum(axis=1, keepdims=True)


def describe(clip: FloatArray, rate: int) -> dict[str, Array]:
    """The statistics of one clip, (samples,), by name; each an array of values."""
    scaled = clip * np.float32(LOUDNESS / max(float(np.sqrt(np.mean(clip**2))), 1e-9))
    frames = np.lib.stride_tricks.sliding_window_view(scaled, FFT)[::HOP] * np.hanning(FFT)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 / FFT + FLOOR
    mel = np.log(power @ mel_bands(rate).T)
    rises = np.maximum(0, np.diff(mel, axis=0)).mean(axis=1)
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    values = (
        mel.mean(axis=0),
        mel.std(axis=0),
        np.array([onset_density(rises, rate)]),
        np.array([beat_strength(rises, rate)]),
        np.array([10 * np.log10(flatness.mean())]),
    )
    return dict(zip(STATISTICS, values, strict=True))


def onset_density(rises: Array, rate: int) -> float:
    """Onsets per second: peaks of the rise of the log-mel spectrum over its local average (Bello et al. 2005)."""
    around = max(3, round(0.5 * rate / HOP))
    average = np.convolve(np.pad(rises, around // 2, mode="edge"), np.ones(around) / around, "same")
    average = average[around // 2 : around // 2 + len(rises)]
    near = max(1, round(0.03 * rate / HOP))
    padded = np.pad(rises, near, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1).max(axis=1)
    peaks = (rises >= highest) & (rises > average + ONSET_RISE)
    return float(peaks.sum() / (len(rises) * HOP / rate))


def beat_strength(rises: Array, rate: int) -> float:
    """The largest autocorrelation of the rises at the distances that beats have, 0 to 1."""
    x = rises - rises.mean()
    whole = float(x @ x)
    low, high = (round(seconds * rate / HOP) for seconds in BEAT_SECONDS)
    if whole <= 0 or high >= len(x):
        return 0.0
    # Divided by as many products as there are, or long distances would count less.
    values = [float(x[lag:] @ x[:-lag]) / whole * len(x) / (len(x) - lag) for lag in range(low, high + 1)]
    return float(np.clip(max(values), 0, 1))


def distances(clips: Sequence[dict[str, Array]], music: Sequence[dict[str, Array]]) -> dict[str, float]:
    """Of two sets of descriptions, by the name of the statistic, in standard deviations of the music."""
    found = {}
    for name in STATISTICS:
        first, second = (np.stack([each[name] for each in group]) for group in (clips, music))
        scale = np.maximum(second.std(axis=0), 1e-6)
        found[name] = float(np.mean(wasserstein(first, second) / scale))
    return found


def wasserstein(first: Array, second: Array) -> Array:
    """The first Wasserstein distance of each column, from quantiles.

    >>> float(wasserstein(np.zeros((4, 1)), np.ones((6, 1)))[0])
    1.0
    """
    places = (np.arange(200) + 0.5) / 200
    gaps: Array = np.abs(np.quantile(first, places, axis=0) - np.quantile(second, places, axis=0))
    return np.asarray(gaps.mean(axis=0))


# -- clips -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Comparison:
    """clips: how many were measured, by system; distances: to the reference, by system and statistic.

    Dreams are measured in REPEATS sets of other seeds; their distances are the means. nearer: by statistic, how many
    times nearer to music the network's samples are than independent values; least: the same in the set where it is
    least. speed: by prior, seconds of sound for each second of one processor core, decoded.
    """

    clips: dict[str, int]
    distances: dict[str, dict[str, float]]
    nearer: dict[str, float]
    least: dict[str, float]
    speed: dict[str, float]


def music_clips(paths: Sequence[Path], rate: int, most: int) -> list[FloatArray]:
    """Clips of songs, a few of each, that are not silent; files that cannot be read are left out."""
    length, clips = CLIP_SECONDS * rate, []
    for path in paths:
        try:
            audio, own = read_audio(path, max_seconds=600)
        except RtaeError:
            continue
        mono = audio.mean(axis=0)
        mono = np.asarray(mono if own == rate else soxr.resample(mono, own, rate), np.float32)
        room = len(mono) - length
        for start in np.linspace(0, room, PER_SONG + 2)[1:-1].astype(int) if room >= 0 else []:
            clip = mono[start : start + length]
            if np.sqrt(np.mean(clip**2)) > QUIET and len(clips) < most:
                clips.append(clip)
    return clips


def dream_clips(
    model: OnnxModel, folder: Path, kind: str, count: int, temperature: float, seed: int
) -> tuple[list[FloatArray], float]:
    """Clips of what a prior makes up, a few of each seed, and how many seconds were made for them."""
    rate, made = model.spec.sample_rate, 0
    clips: list[FloatArray] = []
    length, warm = CLIP_SECONDS * rate, round(WARM_SECONDS * rate)
    frames = -(-(warm + PER_SONG * length) // model.spec.stride)
    prior = load(kind, folder, model.spec)
    while len(clips) < count:
        audio = np.concatenate(list(decoded(model, Dream(prior), frames, temperature, seed)), axis=1)[0, warm:]
        made += warm + len(audio)
        clips += [audio[i * length : (i + 1) * length] for i in range(PER_SONG)]
        seed = (seed + 1) % SEEDS
    return clips[:count], made / rate


def compare(
    folder: Path,
    songs: Path,
    count: int,
    seed: int,
    temperature: float,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Measure the priors of the model in a folder against music. Raises AudioFileError, ModelError."""
    model = OnnxModel.load(folder)
    rate = model.spec.sample_rate
    paths = find_audio(songs)
    halves = paths[::2], paths[1::2]  # of songs, so that no song is on both sides
    progress("reading the music")
    music, others = (music_clips(half, rate, count) for half in halves)
    if min(len(music), len(others)) < 2:
        raise AudioFileError(
            f"{songs} has too few songs of {CLIP_SECONDS} s that are not silent: give a folder of at least two"
        )

    def through() -> list[FloatArray]:
        return [model.decode(model.encode(clip[None]))[0, : len(clip)] for clip in others]

    def noise() -> list[FloatArray]:
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(CLIP_SECONDS * rate).astype(np.float32) for _ in range(min(count, MOST_NOISE))]

    reference = [describe(clip, rate) for clip in music]
    counts, found, speed = {REFERENCE: len(music)}, {}, {}

    def measured(name: str, clips: list[FloatArray]) -> dict[str, float]:
        counts[name] = counts.get(name, 0) + len(clips)
        return distances([describe(clip, rate) for clip in clips], reference)

    for name, make in {OTHER: lambda: others, THROUGH: through}.items():
        progress(f"measuring {name}")
        found[name] = measured(name, make())
    sets: dict[str, list[dict[str, float]]] = {}
    for kind in reversed(KINDS):
        sets[kind], seconds, spent = [], 0.0, 0.0
        for repeat in range(REPEATS):
            progress(f"measuring {kind}, set {repeat + 1} of {REPEATS}")
            first = (seed + repeat * count) % SEEDS
            began = process_time()
            clips, made = dream_clips(model, folder, kind, count, temperature, first)
            spent += process_time() - began
            seconds += made
            sets[kind].append(measured(kind, clips))
        speed[kind] = seconds / max(spent, 1e-9)
        found[kind] = {name: float(np.mean([one[name] for one in sets[kind]])) for name in STATISTICS}
    found[NOISE] = measured(NOISE, noise())
    ratios = [
        {name: alone[name] / max(network[name], 1e-9) for name in STATISTICS}
        for alone, network in zip(sets["independent"], sets["network"], strict=True)
    ]
    least = {name: min(ratio[name] for ratio in ratios) for name in STATISTICS}
    nearer = {name: found["independent"][name] / max(found["network"][name], 1e-9) for name in STATISTICS}
    return Comparison(counts, found, nearer, least, speed)
