"""Resampling within the engine: an own filter for exactly twice the model's rate, soxr for all else.

44 100 Hz is twice the 22 050 Hz of the models, and the most common case. soxr hands out its output in bursts, behind
which a ring has to wait (6000 samples at its quality HQ, with hops of 2048); a filter of our own costs its length once,
160 samples there and back, 3.6 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
TAPS = 161  # odd, so that the delay of a filter is a whole number of samples
CUTOFF = 0.248  # of the higher rate: 10.9 kHz at 44.1; measured: -0.1 dB at 10.4 kHz, -65 dB from 11.6 kHz on
KAISER_BETA = 8.0
TRIAL_SECONDS = 20
TRIAL_MARGIN = 0.02  # at odd rates soxr's bursts drift for minutes: by up to 0.7 % of the lead in half an hour


@cache
def lowpass() -> NDArray[np.float64]:
    """A windowed sinc (Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5), of gain 1 at 0 Hz."""
    place = np.arange(TAPS) - (TAPS - 1) / 2
    taps: NDArray[np.float64] = np.sinc(2 * CUTOFF * place) * np.kaiser(TAPS, KAISER_BETA)
    taps /= taps.sum()
    return taps


class Converter(Protocol):
    """One direction of one stream."""

    def process(self, block: FloatArray) -> FloatArray:
        """(channels, n) at one rate to (channels, m) at the other."""
        ...


class Soxr:
    """By soxr, whose output is aligned with the input but comes in bursts."""

    def __init__(self, rate: int, target: int, channels: int, quality: str) -> None:
        self.stream = soxr.ResampleStream(rate, target, channels, dtype="float32", quality=quality)

    def process(self, block: FloatArray) -> FloatArray:
        """See `Converter`."""
        converted: FloatArray = self.stream.resample_chunk(np.ascontiguousarray(block.T)).T
        return converted


class Halve:
    """To half the rate, `TAPS // 2` samples of the higher rate behind. Blocks have even lengths."""

    def __init__(self, channels: int) -> None:
        self.even, self.odd = (lowpass()[phase::2].astype(np.float32) for phase in (0, 1))
        self.past: FloatArray = np.zeros((channels, TAPS - 1), np.float32)

    def process(self, block: FloatArray) -> FloatArray:
        """See `Converter`: y[k] = sum over j of h[j] x[2 k - j]."""
        if block.shape[1] == 0:
            return block
        audio = np.concatenate([self.past, block], axis=1)
        self.past = audio[:, block.shape[1] :]
        # x[2k - 2i] and x[2k - 2i - 1], as rows of half the rate
        here, before = audio[:, 0::2], audio[:, 1::2]
        return np.stack(
            [
                np.convolve(here[row], self.even, "valid")[: block.shape[1] // 2]
                + np.convolve(before[row], self.odd, "valid")[: block.shape[1] // 2]
                for row in range(len(audio))
            ]
        ).astype(np.float32)


class Double:
    """To twice the rate, `TAPS // 2` samples of the higher rate behind."""

    def __init__(self, channels: int) -> None:
        self.even, self.odd = (2 * lowpass()[phase::2].astype(np.float32) for phase in (0, 1))
        self.past: FloatArray = np.zeros((channels, len(self.even) - 1), np.float32)

    def process(self, block: FloatArray) -> FloatArray:
        """See `Converter`: y[2 k] = 2 sum h[2 i] x[k - i], y[2 k + 1] = 2 sum h[2 i + 1] x[k - i]."""
        if block.shape[1] == 0:
            return block
        audio = np.concatenate([self.past, block], axis=1)
        self.past = audio[:, block.shape[1] :]
        out = np.empty((len(audio), 2 * block.shape[1]), np.float32)
        for row, samples in enumerate(audio):
            out[row, 0::2] = np.convolve(samples, self.even, "valid")
            out[row, 1::2] = np.convolve(samples[1:], self.odd, "valid")
        return out


def converters(rate: int, model_rate: int, rows: tuple[int, int], quality: str) -> tuple[Converter, Converter]:
    """To the model's rate and back, for so many rows each way."""
    if is_own(rate, model_rate, quality):
        return Halve(rows[0]), Double(rows[1])
    return Soxr(rate, model_rate, rows[0], quality), Soxr(model_rate, rate, rows[1], quality)


def is_own(rate: int, model_rate: int, quality: str) -> bool:
    """Whether the filter of our own serves."""
    return rate == 2 * model_rate and quality != "VHQ"


@dataclass(frozen=True)
class Resampling:
    """What resampling there and back costs, in samples of the outer rate.

    delay: of the wet signal. lead: the part of it that is silence in front, for a ring to stand ready behind bursts.
    """

    delay: int = 0
    lead: int = 0

    @classmethod
    def of(cls, rate: int, model_rate: int, hop: int, quality: str) -> Resampling:
        """For hops of so many samples at the model's rate."""
        if rate == model_rate:
            return cls()
        if is_own(rate, model_rate, quality):
            return cls(TAPS - 1)
        lead = burst_lead(rate, model_rate, hop, quality)
        return cls(lead, lead)


@cache
def burst_lead(rate: int, model_rate: int, hop: int, quality: str) -> int:
    """By how many samples the wet signal may lag behind because soxr hands out its output in bursts.

    How much it holds back depends on the lengths of what it was given and on nothing else, so a trial with silence
    finds it; a margin covers what only comes later.
    """
    there, back = Soxr(rate, model_rate, 1, quality), Soxr(model_rate, rate, 1, quality)
    waiting = given = made = lead = 0
    for number in range(max(8, TRIAL_SECONDS * model_rate // hop)):
        border = -(-(number + 1) * hop * rate // model_rate)
        waiting += there.process(np.zeros((1, border - given), np.float32)).shape[1]
        given = border
        while waiting >= hop:
            waiting -= hop
            made += back.process(np.zeros((1, hop), np.float32)).shape[1]
        lead = max(lead, given - made)
    return lead + round(TRIAL_MARGIN * lead) + 1
