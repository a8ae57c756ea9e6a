"""How far one sound is from another: each figure is a function of (target, output, rate), all of them stand in METRICS.

target, output: mono, (samples,), the same length, full scale 1; rate in Hz. A figure is None where it is undefined: a
track without beats has none that could survive. What a figure needs is imported when it is computed, so a part of them
can be had with a part of the packages.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BEST_DB = 150.0  # the end of the scale in decibels, both ways: float32 tells no more apart
MELS, MEL_FFT, MEL_HOP = 80, 2048, 512
MEL_RANGE_DB = 80.0  # below the target's loudest band: what is softer counts as this
BEAT_SECONDS, ONSET_SECONDS = 0.07, 0.05  # how near is a hit; what MIREX uses
PULSE_RATE = 22_050  # what librosa's windows are made for
VISQOL_RATE = 48_000
VISQOL_SECONDS = 10.0
VISQOL_SHORTEST = 1.0
SILENCE = 1e-4  # a peak below -80 dBFS
OCTAVE_TOP = 8000.0  # an edge between octaves, and from there down by halves to OCTAVE_BOTTOM
OCTAVE_BOTTOM = 62.5


# -- waveforms ---------------------------------------------------------------------------------------------------------
def ratio_db(signal: float, error: float) -> float:
    """Two energies in decibels, within the scale.

    >>> round(ratio_db(100.0, 1.0), 6), ratio_db(1.0, 0.0), ratio_db(0.0, 1.0)
    (20.0, 150.0, -150.0)
    """
    if error <= 0:
        return BEST_DB
    return float(np.clip(10 * np.log10(max(signal / error, 1e-30)), -BEST_DB, BEST_DB))


def snr(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """Signal over error, in dB."""
    wanted, got = target.astype(np.float64), output.astype(np.float64)
    error = got - wanted
    return ratio_db(float(wanted @ wanted), float(error @ error)) if wanted.any() else None


def si_sdr(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """The same for the scale of the target that fits best, in dB (Le Roux et al. 2019)."""
    wanted, got = target.astype(np.float64), output.astype(np.float64)
    energy = float(wanted @ wanted)
    if energy == 0:
        return None
    wanted *= float(got @ wanted) / energy
    error = got - wanted
    return ratio_db(float(wanted @ wanted), float(error @ error))


def low_passed(audio: FloatArray, rate: int, edge_hz: float) -> FloatArray:
    """Everything above the edge taken out of the whole track's spectrum."""
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / rate) > edge_hz] = 0
    return np.asarray(np.fft.irfft(spectrum, len(audio)), np.float32)


def si_sdr_below(target: FloatArray, output: FloatArray, rate: int, edge_hz: float) -> float | None:
    """SI-SDR, in dB, of both without what lies above the edge."""
    return si_sdr(low_passed(target, rate, edge_hz), low_passed(output, rate, edge_hz), rate)


# -- spectra -----------------------------------------------------------------------------------------------------------
@cache
def stft_distance() -> Any:
    """The one that training uses."""
    from rtae.training.losses import spectral_distance

    return spectral_distance()


def mr_stft(target: FloatArray, output: FloatArray, rate: int) -> float:
    """Multi-resolution STFT distance: spectral convergence and log magnitudes (Yamamoto et al. 2020), no unit."""
    import torch

    with torch.no_grad():
        pair = (torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None, None] for audio in (output, target))
        return float(stft_distance()(*pair))


def mel_power(audio: FloatArray, rate: int) -> NDArray[np.float64]:
    """(MELS, frames)."""
    import librosa

    with quiet():  # at low rates, some of the bands are narrower than a bin, and empty
        power = librosa.feature.melspectrogram(y=audio, sr=rate, n_fft=MEL_FFT, hop_length=MEL_HOP, n_mels=MELS)
    return np.asarray(power, np.float64)


def log_mel(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """Mean difference of the mel spectrograms in dB, over all bands and frames; silence is where MEL_RANGE_DB ends."""
    wanted, got = mel_power(target, rate), mel_power(output, rate)
    floor = wanted.max() / 10 ** (MEL_RANGE_DB / 10)
    if floor <= 0:
        return None
    difference = 10 * np.log10(np.maximum(wanted, floor) / np.maximum(got, floor))
    return float(np.abs(difference).mean())


def octave_edges(rate: int) -> tuple[float, ...]:
    """In Hz, from 62.5 up by doubles; the last octave ends at half the rate, unless less than a quarter of it is left.

    >>> octave_edges(22_050)
    (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 11025.0)
    >>> octave_edges(8_000)[-2:]
    (2000.0, 4000.0)
    """
    nyquist = rate / 2
    edges = [OCTAVE_BOTTOM]
    while edges[-1] * 2 <= nyquist:
        edges.append(edges[-1] * 2)
    return (*edges, nyquist) if nyquist >= 1.25 * edges[-1] else tuple(edges)


def octave_name(low: float, high: float) -> str:
    """What a band is called.

    >>> octave_name(500, 1000), octave_name(62.5, 125), octave_name(8000, 11025)
    ('500-1k', '62-125', '8k-11k')
    """
    return "-".join(f"{edge / 1000:.0f}k" if edge >= 1000 else f"{edge:.0f}" for edge in (low, high))


def octaves(target: FloatArray, output: FloatArray, rate: int) -> dict[str, float | None]:
    """Energy of the output against the target in dB, octave by octave; None where the target has nothing (-100 dB)."""
    frequencies = np.fft.rfftfreq(len(target), 1 / rate)
    wanted, got = (np.abs(np.fft.rfft(audio)) ** 2 for audio in (target, output))
    edges = octave_edges(rate)
    floor = 1e-10 * float(wanted.sum())
    result: dict[str, float | None] = {}
    for low, high in pairwise(edges):
        band = (frequencies >= low) & (frequencies < high)
        energy = float(wanted[band].sum())
        result[octave_name(low, high)] = ratio_db(float(got[band].sum()), energy) if energy > floor else None
    return result


# -- hearing -----------------------------------------------------------------------------------------------------------
@contextmanager
def quiet() -> Iterator[None]:
    """Other packages' warnings and log lines about odd input are not the user's."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@cache
def visqol_api() -> Any:
    """ViSQOL for music, with the model that comes with the package."""
    with quiet():
        from visqol import VisqolApi

        api = VisqolApi()
        api.create(mode="audio")
    return api


def middle(audio: FloatArray, rate: int, seconds: float) -> FloatArray:
    """So much around the middle, or all there is."""
    count = min(len(audio), round(seconds * rate))
    start = (len(audio) - count) // 2
    return audio[start : start + count]


def visqol(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """ViSQOL v3 in audio mode (Chinen et al. 2020), of VISQOL_SECONDS around the middle: 1 is bad, about 4.73 the best.

    It wants 48 kHz. What it says of music at lower rates is to be read beside what it says of the input itself.
    """
    pair = [middle(audio, rate, VISQOL_SECONDS) for audio in (target, output)]
    if len(pair[0]) < VISQOL_SHORTEST * rate or np.abs(pair[0]).max() < SILENCE:
        return None
    wanted, got = (soxr.resample(audio.astype(np.float64), rate, VISQOL_RATE) for audio in pair)
    try:
        with quiet():
            return float(visqol_api().measure_from_arrays(wanted, got, VISQOL_RATE).moslqo)
    except (ValueError, IndexError, ArithmeticError, RuntimeError):  # it finds no patch with sound in it
        return None


# -- rhythm ------------------------------------------------------------------------------------------------------------
def pulses(audio: FloatArray, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of the beats and of the onsets that librosa hears; none in silence."""
    import librosa

    if np.abs(audio).max(initial=0) < SILENCE:
        return np.zeros(0), np.zeros(0)
    if rate != PULSE_RATE:
        audio = soxr.resample(audio, rate, PULSE_RATE)
    with quiet():
        strength = librosa.onset.onset_strength(y=audio, sr=PULSE_RATE)
        _, beats = librosa.beat.beat_track(onset_envelope=strength, sr=PULSE_RATE, units="time")
        onsets = librosa.onset.onset_detect(onset_envelope=strength, sr=PULSE_RATE, units="time")
    return np.asarray(beats, np.float64), np.asarray(onsets, np.float64)


def f_measure(target: NDArray[np.float64], output: NDArray[np.float64], within: float) -> float | None:
    """Of events, by mir_eval's matching; None where the target has none, 0 where only the output has none."""
    import mir_eval

    if not len(target):
        return None
    return float(mir_eval.onset.f_measure(target, output, window=within)[0]) if len(output) else 0.0


def beat_f(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """F-measure of the output's beats against the target's, 1 is all of them, within 70 ms."""
    return f_measure(pulses(target, rate)[0], pulses(output, rate)[0], BEAT_SECONDS)


def onset_f(target: FloatArray, output: FloatArray, rate: int) -> float | None:
    """The same of the onsets, within 50 ms."""
    return f_measure(pulses(target, rate)[1], pulses(output, rate)[1], ONSET_SECONDS)


# -- the table of them -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Metric:
    """One figure. label: with its unit; digits: worth printing; best: of a perfect output.

    extra, modules: the extra that brings what it needs, and what that is.
    """

    label: str
    measure: Callable[[FloatArray, FloatArray, int], Any]
    best: float
    digits: int
    extra: str = ""
    modules: tuple[str, ...] = ()

    def missing(self) -> str:
        """What to install before it can be computed; nothing if it can."""
        absent = [name for name in self.modules if find_spec(name) is None]
        if not absent:
            return ""
        return (
            f"{self.label} needs {', '.join(absent)}. Install the extra '{self.extra}'; "
            f"in a checkout: pip install '.[{self.extra}]'"
        )


METRICS = {
    "snr": Metric("SNR dB", snr, BEST_DB, 2),
    "si_sdr": Metric("SI-SDR dB", si_sdr, BEST_DB, 2),
    "mr_stft": Metric("MR-STFT", mr_stft, 0.0, 3, "train", ("torch", "auraloss")),
    "log_mel": Metric("log-mel dB", log_mel, 0.0, 2, "analysis", ("librosa",)),
    "visqol": Metric("ViSQOL", visqol, 4.73, 2, "visqol", ("visqol",)),
    "beat_f": Metric("beats F", beat_f, 1.0, 3, "analysis", ("librosa", "mir_eval")),
    "onset_f": Metric("onsets F", onset_f, 1.0, 3, "analysis", ("librosa", "mir_eval")),
    "octaves": Metric("octaves dB", octaves, 0.0, 1),
}
