"""Measures the way from an output to an input: play a chirp, record it, and find it in what was recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtae.errors import DeviceError

FloatArray = NDArray[np.float32]
Spectrum = NDArray[np.complex128]

LOWEST_HZ, HIGHEST_HZ = 200.0, 10_000.0  # above the hum of the mains, below what cheap converters cut off
LEVEL = 10 ** (-12 / 20)  # full scale; room for an input whose gain is set too high
FADE_SECONDS = 0.01
MIN_CONFIDENCE = 2.0  # without a loopback: measured up to 1.24 in noise, 1.07 in hum, 1.51 in music
_NEAR_SECONDS = 0.003  # what is closer to the peak belongs to it: its own ripple, the ringing of converters
_BAND = 1e-3  # of the played power; frequencies that were played with less count for less
_FLOOR = 0.1  # of the median; frequencies that came back with less count for less
_STEP = 1 / 16  # samples, of the fine grid around the peak

_ADVICE = (
    "Connect an output of the sound card with a cable to the input, or hold the microphone to the loudspeaker; check "
    "that the right devices are chosen and none is muted; turn the levels up, and measure again."
)


@dataclass(frozen=True)
class Delay:
    """A round trip: its length in samples (with a fraction), how sure that is, and the gain on the way.

    confidence: the highest peak of the correlation divided by the largest one elsewhere. gain: a factor, the median
    over the band of the chirp, negative if the polarity is inverted.
    """

    samples: float
    confidence: float
    gain: float


def chirp(rate: int, seconds: float = 0.25) -> FloatArray:
    """A sweep `(samples,)` at -12 dBFS that rises by the same interval in the same time, from 200 Hz to 10 kHz.

    A rate under 25 kHz ends it at 0.8 of half the rate. Raises ValueError if the rate is under 1000 Hz, or the time
    under 50 ms, which is too short to stand out from noise.

    >>> chirp(48_000).shape
    (12000,)
    """
    if rate < 1000 or seconds < 0.05:
        raise ValueError(f"No chirp of {seconds} s at {rate} Hz; give at least 0.05 s and 1000 Hz.")
    time = np.arange(round(seconds * rate)) / rate
    octaves = np.log(min(HIGHEST_HZ, 0.4 * rate) / LOWEST_HZ)  # natural ones
    phase = 2 * np.pi * LOWEST_HZ * seconds / octaves * np.expm1(time / seconds * octaves)
    faded = _fade(np.sin(phase), round(FADE_SECONDS * rate))
    return (LEVEL * faded).astype(np.float32)


def find_delay(recorded: FloatArray, played: FloatArray, rate: int) -> Delay:
    """Find `played` in `recorded`, both `(samples,)` at `rate` Hz and begun at the same moment.

    Correlates phases only (GCC-PHAT: Knapp and Carter 1976, "The generalized correlation method for estimation of
    time delay"), so that a loud hum counts as few frequencies and not as much sound. Raises DeviceError if it is not
    there, and ValueError if a shape does not fit.
    """
    _check_shapes(recorded, played)
    heard = np.nan_to_num(recorded.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(np.abs(heard).max(initial=0.0))
    if peak == 0.0:
        raise DeviceError(f"The input is silent. {_ADVICE}")
    # An abrupt end spreads a hum over all frequencies.
    heard = _fade(heard - heard.mean(), min(round(FADE_SECONDS * rate), len(heard) // 4))
    size = 1 << (len(heard) + len(played) - 1).bit_length()  # no lag wraps around
    sent = np.fft.rfft(played.astype(np.float64), size)
    crossed = np.fft.rfft(heard, size) * sent.conj()
    phases = _phases(crossed, sent)
    correlation = np.abs(np.fft.irfft(phases, size)[: len(heard)])
    best = int(correlation.argmax())
    confidence = _confidence(correlation, best, round(_NEAR_SECONDS * rate))
    if not confidence >= MIN_CONFIDENCE:
        level = 20 * np.log10(peak)
        raise DeviceError(f"The test signal is not in what was recorded, whose peak is {level:.0f} dBFS. {_ADVICE}")
    samples = _refined(phases, size, best)
    return Delay(samples, confidence, _gain(crossed, sent, size, samples))


def _check_shapes(recorded: FloatArray, played: FloatArray) -> None:
    if recorded.ndim != 1 or played.ndim != 1 or not 0 < len(played) <= len(recorded):
        raise ValueError(
            f"Cannot find {played.shape} samples in {recorded.shape}; give two rows, the recorded one at least as long."
        )
    if not (np.isfinite(played).all() and played.any()):
        raise ValueError("Cannot find a silent or non-finite signal; give one such as chirp(rate).")


def _fade(audio: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """A copy with raised-cosine fades of `count` samples at both ends."""
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))
    faded: NDArray[np.float64] = audio.copy()
    faded[:count] *= slope
    faded[len(faded) - count :] *= slope[::-1]
    return faded


def _phases(crossed: Spectrum, sent: Spectrum) -> Spectrum:
    """The cross spectrum with all frequencies that were played at about the same magnitude."""
    power = np.abs(sent) ** 2
    band = power / (power + _BAND * power.max())
    came_back = np.abs(crossed) / np.sqrt(power + 1e-30)
    floor = _FLOOR * float(np.median(came_back[band > 0.5])) + 1e-30
    even: Spectrum = band * crossed / (np.sqrt(power + 1e-30) * (came_back + floor))
    return even


def _confidence(correlation: NDArray[np.float64], best: int, near: int) -> float:
    elsewhere = np.concatenate([correlation[: max(0, best - near)], correlation[best + near + 1 :]])
    return float(correlation[best] / max(elsewhere.max(initial=0.0), 1e-30))


def _gain(crossed: Spectrum, sent: Spectrum, size: int, samples: float) -> float:
    """How much of each frequency came back; the median, which a hum or a cut-off top does not move."""
    power = np.abs(sent) ** 2
    used = np.flatnonzero(power > _BAND * power.max())
    aligned = crossed[used] * np.exp(2j * np.pi / size * used * samples)
    return float(np.median(aligned.real / power[used]))


def _at(spectrum: Spectrum, size: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse transform of a half spectrum at any places between the samples."""
    used = np.flatnonzero(np.abs(spectrum) > 1e-6 * np.abs(spectrum).max())
    waves = np.exp(2j * np.pi / size * used * places[:, None])
    # Each frequency inside stands for its mirror image as well; the lowest and the highest have none.
    weights = np.where((used == 0) | (used == size // 2), 1, 2) / size
    values: NDArray[np.float64] = (waves @ (weights * spectrum[used])).real
    return values


def _refined(phases: Spectrum, size: int, best: int) -> float:
    """The place of the peak next to sample `best`: on a grid finer than the samples, then on a parabola."""
    places = best + np.arange(-1, 1 + _STEP, _STEP)
    values = np.abs(_at(phases, size, places))
    top = min(max(int(values.argmax()), 1), len(values) - 2)
    before, here, after = values[top - 1 : top + 2]
    bend = before - 2 * here + after
    return float(places[top] + (0.5 * _STEP * (before - after) / bend if bend else 0.0))


class Probe:
    """The callback of a stream that plays a chirp and records what comes back, sample for sample.

    done: everything is recorded.
    """

    QUIET_SECONDS, WAIT_SECONDS = 0.3, 1.5

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sweep = chirp(rate)
        self.start = round(self.QUIET_SECONDS * rate)
        end = self.start + len(self.sweep) + round(self.WAIT_SECONDS * rate)
        self.played = np.zeros(end, np.float32)
        self.played[self.start : self.start + len(self.sweep)] = self.sweep
        self.recorded = np.zeros(end, np.float32)
        self.place = 0

    @property
    def done(self) -> bool:
        """Whether there is nothing more to play."""
        return self.place >= len(self.played)

    def callback(self, out: FloatArray, block: FloatArray | None) -> None:
        """(samples, outputs) to fill, (samples, inputs) to keep the first channel of."""
        part = self.played[self.place : self.place + len(out)]
        out[:] = 0
        out[: len(part)] = part[:, None]
        if block is not None:
            self.recorded[self.place : self.place + len(part)] = block[: len(part), 0]
        self.place += len(out)

    def tap(self, out: FloatArray, block: FloatArray | None) -> None:
        """The same for a stream that plays what it records: keeps what it plays, and adds the chirp to it."""
        del block
        part = self.played[self.place : self.place + len(out)]
        self.recorded[self.place : self.place + len(part)] = out[: len(part), 0]
        out[: len(part)] += part[:, None]
        self.place += len(out)

    def delay(self) -> Delay:
        """The round trip. Raises DeviceError where nothing came back."""
        found = find_delay(self.recorded, self.sweep, self.rate)
        return Delay(found.samples - self.start, found.confidence, found.gain)
