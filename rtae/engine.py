"""The engine: audio in, audio out, block by block, at any sample rate and block size. A pure object with memory.

    block -> [input ring] -> chunk -+-> soxr -> Windows (rtae.window) -> soxr -> [wet ring] ----------------+
                                    |                                                                       |
                                    +-> delay line of exactly the wet path's delay ---- match level, mix, bypass
                                                                                                            |
    block <- [output ring] <-------------------------------- limiter <--------------------------------------+

Inside, all work is done in chunks whose borders are fixed by the stream's own sample count (chunk n ends where hop n
ends), so what comes out does not depend on how the input was cut into blocks, and the latency never changes.

A parameter is read once per chunk, and whatever it does begins with that chunk's output and is done within a crossfade:
so it is heard within a hop and a crossfade, and what lies behind (resampling, limiter, device).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import DelayLine, LevelMatch, Limiter, Ramp, db_to_gain, finite, peak
from rtae.errors import ParameterError
from rtae.params import Snapshot
from rtae.resample import Converter, Resampling, converters
from rtae.ring import Ring
from rtae.window import Dreamer, Model, Windows

FloatArray = NDArray[np.float32]
DEFAULT_HOP = 2048
# 20 ms, in steps of 147 samples, which are a whole number of samples at 44.1, 48, 88.2 and 96 kHz: there dry and wet
# meet exactly, elsewhere to within half a sample.
DEFAULT_CROSSFADE = 441
CROSSFADE_STEP = 147
DEFAULT_QUALITY = "HQ"
QUALITIES = ("QQ", "LQ", "MQ", "HQ", "VHQ")
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000


def rests(gain: FloatArray | float, at: float) -> bool:
    """Whether what a Ramp gave is this number, for a whole block."""
    return isinstance(gain, float) and gain == at


@dataclass(frozen=True)
class Latency:
    """Where the delay comes from, each part in samples at the engine's rate; a sound card adds its own buffers."""

    hop: int
    crossfade: int
    look_ahead: int
    resampling: int
    limiter: int

    @property
    def total(self) -> int:
        """Samples from input to output."""
        return self.hop + self.crossfade + self.look_ahead + self.resampling + self.limiter


@dataclass(frozen=True)
class Meters:
    """What the engine saw and did.

    input_peak, output_peak: of the last chunk, full scale 1; limiter_gain: the lowest in it.
    broken: samples that were not finite so far, from the input and from the model, or that a failing model did not
        give; all were silenced.
    underflows: samples of wet signal that were missing so far; always 0 unless a resampler misbehaves.
    """

    input_peak: float = 0.0
    output_peak: float = 0.0
    limiter_gain: float = 1.0
    broken: int = 0
    underflows: int = 0


class Engine:
    """Plays audio through a model.

    hop, crossfade: samples at the model's rate; the hop is rounded to the nearest whole number of strides, the
        crossfade is 20 ms unless given, and never longer than the hop.
    full_window: compute whole windows instead of the slices that matter; the reference, and many times slower.
    quality: of the resampler, one of QUALITIES; used where the rate is not the model's own.
    """

    def __init__(
        self,
        model: Model,
        hop: int = DEFAULT_HOP,
        crossfade: int | None = None,
        full_window: bool = False,
        quality: str = DEFAULT_QUALITY,
    ) -> None:
        if not 1 <= hop <= model.spec.window:
            raise ParameterError(f"hop is {hop}; allowed are 1 to {model.spec.window} samples")
        if quality not in QUALITIES:
            raise ParameterError(f"quality is {quality!r}; allowed are {', '.join(QUALITIES)}")
        self.model = model
        self.hop = model.spec.hop(hop)
        if crossfade is None:
            crossfade = min(DEFAULT_CROSSFADE, self.hop // CROSSFADE_STEP * CROSSFADE_STEP or self.hop)
        self.crossfade = min(crossfade, self.hop)
        self.full_window = full_window
        self.quality = quality
        self.prepare(model.spec.sample_rate, 1)

    # -- preparation -------------------------------------------------------------------------------------------------
    def prepare(self, rate: int, channels: int, second: bool = False, dream: Dreamer | None = None) -> None:
        """Get ready for audio of this rate and so many channels; forgets everything. Raises ParameterError.

        second: there is a second source, with as many channels, whose latents the parameter `interpolation` mixes in.
        dream: makes up the latents of the first source, whose audio is heard dry only.
        """
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ParameterError(f"the sample rate is {rate}; allowed are {LOWEST_RATE} to {HIGHEST_RATE} Hz")
        if channels < 1:
            raise ParameterError(f"there are {channels} channels; at least 1 is needed")
        self.rate, self.channels = rate, channels
        self.rows = 2 * channels if second else channels
        self.windows = Windows(
            self.model, channels, self.hop, self.crossfade, self.full_window, self.rows // channels, dream
        )
        self.ratio = Fraction(rate, self.model.spec.sample_rate)
        chunk = self.chunk_end(0)
        self.longest_chunk = chunk
        self.resampling = Resampling.of(rate, self.model.spec.sample_rate, self.hop, self.quality)
        wet_delay = round(self.windows.delay * self.ratio)
        crossfade = round(self.crossfade * self.ratio)
        self.latency = Latency(chunk, crossfade, wet_delay - crossfade, self.resampling.delay, Limiter.DELAY)
        self.input = Ring(self.rows, chunk + 1)
        self.wet = Ring(channels, self.resampling.lead + 8 * chunk + 4096)
        self.output = Ring(channels, 3 * chunk)
        self.dry = DelayLine(self.rows, wet_delay + self.resampling.delay, chunk)
        fade_seconds = max(1, crossfade) / rate
        self.limiter = Limiter(channels, rate, min(Limiter.CEILING_SECONDS, fade_seconds))
        self.match = LevelMatch(rate)
        self.reset()

    def chunk_end(self, number: int) -> int:
        """Samples from the start of the stream to the end of a chunk: where its hop ends, rounded up."""
        return -(-(number + 1) * self.hop * self.rate // self.model.spec.sample_rate)

    def reset(self) -> None:
        """As fresh from `prepare`."""
        self.chunk = 0
        self.windows.reset()
        for part in (self.input, self.wet, self.output):
            part.clear()
        self.wet.clear(silence=self.resampling.lead)
        self.output.clear(silence=self.longest_chunk)
        self.dry.reset()
        self.limiter.reset()
        self.match.reset()
        self.model_rate = np.zeros((self.rows, 0), np.float32)
        self.there: Converter | None = None
        self.back: Converter | None = None
        if self.ratio != 1:
            own = self.model.spec.sample_rate
            self.there, self.back = converters(self.rate, own, (self.rows, self.channels), self.quality)
        fade = self.latency.crossfade
        self.output_gain, self.matched_gain = Ramp(fade), Ramp(fade)
        self.dry_share, self.wet_share, self.second_share = Ramp(fade), Ramp(fade), Ramp(fade)
        self.broken_input = 0
        self.underflows = 0
        self.owed = 0  # wet samples that came too late: dropped when they come, so the delay stays
        self.meters = Meters()

    # -- running -----------------------------------------------------------------------------------------------------
    def process(self, block: FloatArray, values: Snapshot) -> FloatArray:
        """As many samples as came in, `latency.total` samples later, finite and within the ceiling.

        block: (channels, samples) float32 of any length, 0 included; if the engine was prepared for a second source,
        its channels follow those of the first. values: read once for each hop that starts.
        """
        parts = []
        position = 0
        while position < block.shape[1]:
            count = min(block.shape[1] - position, self.missing())
            self.take(block[:, position : position + count], values)
            position += count
            parts.append(self.output.read(count))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.channels, 0), np.float32)

    def take(self, part: FloatArray, values: Snapshot) -> None:
        """Samples for the chunk that is being filled, no more than are missing; it is run when it is full."""
        if self.input.stored or part.shape[1] < self.missing():
            self.input.write(part)
            if self.missing():
                return
            part = self.input.read(self.input.stored)
        self.run_chunk(part, values)

    def missing(self) -> int:
        """Samples until the chunk that is being filled is full."""
        return self.chunk_end(self.chunk) - self.chunk_end(self.chunk - 1) - self.input.stored

    def run_chunk(self, block: FloatArray, values: Snapshot) -> None:
        """One chunk from the input ring to the output ring."""
        self.chunk += 1
        block, broken = finite(block)
        self.broken_input += broken
        self.run_wet(block, values)
        dry = self.dry_mix(self.dry.process(block), values)
        mixed = self.mixed(dry, self.take_matched(dry, values), values)
        out = self.limiter.process(mixed, np.float32(db_to_gain(values["ceiling"])))
        self.output.write(out)
        self.meters = Meters(
            peak(block),
            peak(out),
            self.limiter.lowest,
            self.broken_input + self.windows.broken + self.windows.failures * self.hop,
            self.underflows,
        )

    def take_matched(self, dry: FloatArray, values: Snapshot) -> FloatArray:
        """The wet signal that goes with this dry one, as loud as that one if the parameter `match` says so."""
        wet = self.take_wet(dry.shape[1])
        # It always listens, so that the gain is right at once when it is asked for.
        gain = self.match.listen(dry, wet)
        gain_now = self.matched_gain.next(gain if values["match"] else 1.0, dry.shape[1])
        return wet if rests(gain_now, 1) else np.asarray(wet * gain_now, np.float32)

    def mixed(self, dry: FloatArray, wet: FloatArray, values: Snapshot) -> FloatArray:
        """Dry and wet as mixed, or the one without the other, or the dry one alone, with the output gain."""
        count, gain_db = dry.shape[1], values["output_gain"]
        dry_share, wet_share = 1 - values["mix"], values["mix"]
        if values["difference"]:
            dry_share, wet_share = 1.0, -1.0
        if values["bypass"]:
            dry_share, wet_share, gain_db = 1.0, 0.0, 0.0
        # Not dry + share * (wet - dry): a share of 0 must give the very samples of the dry signal.
        left, right = self.dry_share.next(dry_share, count), self.wet_share.next(wet_share, count)
        gain = self.output_gain.next(db_to_gain(gain_db), count)
        if rests(left, 0) and rests(right, 1):
            return wet if rests(gain, 1) else np.asarray(wet * gain, np.float32)
        return np.asarray((dry * left + wet * right) * gain, np.float32)

    def dry_mix(self, block: FloatArray, values: Snapshot) -> FloatArray:
        """What dry means: the source, or both of them mixed as their latents are."""
        if self.rows == self.channels:
            return block
        share = self.second_share.next(values["interpolation"], block.shape[1])
        first, second = block[: self.channels], block[self.channels :]
        return np.asarray(first * (1 - share) + second * share, np.float32)

    def run_wet(self, block: FloatArray, values: Snapshot) -> None:
        """Through the model into the wet ring, as many whole hops as there are."""
        if self.there is not None:
            block = self.there.process(block)
        self.model_rate = np.concatenate([self.model_rate, block], axis=1) if self.model_rate.size else block
        while self.model_rate.shape[1] >= self.hop:
            hop = self.windows.step(self.model_rate[:, : self.hop], values)
            self.model_rate = self.model_rate[:, self.hop :]
            if self.back is not None:
                hop = self.back.process(hop)
            self.wet.write(hop)

    def take_wet(self, count: int) -> FloatArray:
        """Wet samples for a chunk; silence in place of any that are missing."""
        if self.owed:
            self.owed -= self.wet.read(self.owed).shape[1]
        wet = self.wet.read(count)
        missing = count - wet.shape[1]
        if missing:
            self.underflows += missing
            self.owed += missing
            wet = np.pad(wet, ((0, 0), (0, missing)))
        return wet
