"""Small pieces of signal processing, each exact about its delay."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtae.ring import Ring

FloatArray = NDArray[np.float32]
LOUDEST = np.float32(1e6)  # +120 dB over full scale


def db_to_gain(db: float) -> float:
    """Decibels to an amplitude factor.

    >>> db_to_gain(-20)
    0.1
    """
    return float(10 ** (db / 20))


def fade_in(samples: int) -> FloatArray:
    """A linear fade, (samples,), from just above 0 to just below 1; with its reverse it sums to 1.

    Linear, because what is faded into each other is the same signal before and after a change.
    """
    return ((np.arange(samples) + 0.5) / max(samples, 1)).astype(np.float32)


def peak(block: FloatArray) -> float:
    """The largest absolute value, 0 of nothing; NaN where the block has any.

    >>> peak(np.float32([[0.5, -2.0]]))
    2.0
    """
    return float(np.maximum.reduce(np.abs(block), axis=None, initial=0.0))


def finite(block: FloatArray) -> tuple[FloatArray, int]:
    """The block with NaN and infinity replaced by 0, and how many there were; the same object where all is well.

    What is finite but beyond LOUDEST is cut to it: further gains would make it infinite.
    """
    if peak(block) <= LOUDEST:  # false for NaN as well
        return block, 0
    good = np.isfinite(block)
    return np.clip(np.where(good, block, np.float32(0)), -LOUDEST, LOUDEST), block.size - int(np.count_nonzero(good))


def drifting_noise(seed: int, frame: int, frames: int, dims: int, period: float) -> FloatArray:
    """Noise (dims, frames) of constant variance: a new uniform value in [-1, 1] every `period` frames, joined smoothly.

    Neighbouring values are weighted with cosine and sine, whose squares sum to 1: in between, the variance stays.
    """
    if period == 1 or frames == 0:
        return uniform(seed, frame, frames, dims).astype(np.float32)
    place = np.arange(frame, frame + frames) / period
    index = np.floor(place).astype(np.int64)
    points = uniform(seed, int(index[0]), int(index[-1] - index[0]) + 2, dims)
    angle = (place - index) * (math.pi / 2)
    nearest = index - index[0]
    return (points[:, nearest] * np.cos(angle) + points[:, nearest + 1] * np.sin(angle)).astype(np.float32)


def uniform(seed: int, first: int, count: int, dims: int) -> NDArray[np.float64]:
    """Random values in [-1, 1), (dims, count): a function of (seed, index, dimension), whatever is asked together.

    Philox (Salmon et al. 2011) is a counter: each count gives four values of 64 bits.

    >>> bool((uniform(1, 5, 3, 6) == uniform(1, 0, 8, 6)[:, 5:]).all())
    True
    """
    counts = -(-dims // 4)
    bits = np.random.Philox(key=seed, counter=first * counts).random_raw(count * counts * 4)
    values = bits.reshape(count, counts * 4)[:, :dims].T
    scaled: NDArray[np.float64] = (values >> np.uint64(11)) * 2.0**-52 - 1.0
    return scaled


class Ramp:
    """A gain that moves to each new value in a straight line, so that no change clicks.

    length: samples that it takes for it, or a whole block where that is shorter.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.value: float | None = None

    def reset(self) -> None:
        """Take the next value at once."""
        self.value = None

    def next(self, target: float, samples: int) -> FloatArray | float:
        """The gain for a block: a plain number while it rests, else (samples,) that end at the target."""
        start, self.value = self.value, target
        if start is None or start == target:
            return target
        gains = np.full(samples, target, np.float32)
        moving = min(samples, self.length)
        gains[:moving] = np.linspace(start, target, moving + 1)[1:]
        return gains


class History:
    """The newest frames of a stream, in one piece.

    rows, dims: of the array (rows, dims, frames); longest: frames that are kept at least. There is room for as many
    again, so that frames are moved rarely and adding some costs no more than copying them.
    """

    def __init__(self, rows: int, dims: int, longest: int) -> None:
        self.longest = longest
        self.data: FloatArray = np.zeros((rows, dims, 2 * longest), np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.first = self.end = 0

    @property
    def stored(self) -> int:
        """Frames that are kept."""
        return self.end - self.first

    def append(self, z: FloatArray) -> None:
        """Add frames (rows, dims, frames) at the end; the oldest ones are forgotten."""
        z = z[:, :, -self.longest :]
        count = z.shape[2]
        if self.end + count > self.data.shape[2]:
            kept = min(self.stored, self.longest - count)
            self.data[:, :, :kept] = self.data[:, :, self.end - kept : self.end]
            self.end = kept
        self.data[:, :, self.end : self.end + count] = z
        self.end += count
        self.first = max(0, self.end - self.longest)

    def cut(self, frames: int) -> None:
        """Forget so many of the newest frames, or all there are."""
        self.end = max(self.first, self.end - max(0, frames))

    def newest(self, frames: int) -> FloatArray:
        """So many of the newest frames, or all there are: a view, valid until the next `append`."""
        return self.data[:, :, max(self.first, self.end - frames) : self.end]


class DelayLine:
    """A fixed delay."""

    def __init__(self, channels: int, delay: int, longest_block: int) -> None:
        self.delay = delay
        self.ring = Ring(channels, delay + longest_block)
        self.reset()

    def reset(self) -> None:
        """Silence."""
        self.ring.clear(silence=self.delay)

    def process(self, block: FloatArray) -> FloatArray:
        """As many samples as came in, `delay` samples later."""
        self.ring.write(block)
        return self.ring.read(block.shape[1])


class Limiter:
    """Keeps every sample within a ceiling, without touching what is within it already.

    The gain is worked out per piece of PIECE samples: no more than what the loudest channel of this piece and the next
    one allow, rising again by at most `release` per piece; between the pieces' edges it is a straight line. So it has
    fallen far enough before a peak comes, which costs two pieces of delay.

        piece   |   k-1   |    k    |   k+1   |        edge gain b[k] <= allowed[k-1], allowed[k]
        edge   b[k-1]    b[k]     b[k+1]
    """

    PIECE = 32
    DELAY = 2 * PIECE
    RELEASE_SECONDS = 0.1  # from silence to full gain
    CEILING_SECONDS = 0.02  # in which the ceiling moves by 1 at most, so that moving it does not click

    def __init__(self, channels: int, rate: int, ceiling_seconds: float = CEILING_SECONDS) -> None:
        self.channels = channels
        self.release = self.PIECE / (rate * self.RELEASE_SECONDS)
        self.ceiling_step = self.PIECE / (rate * ceiling_seconds)
        self.reset()

    def reset(self) -> None:
        """Full gain and silence."""
        # What waits for the end of the piece behind it, and what has passed and is to be given out.
        self.waiting: FloatArray = np.zeros((self.channels, self.PIECE), np.float32)
        self.ready: FloatArray = np.zeros((self.channels, self.DELAY - self.PIECE), np.float32)
        self.held_allowed = 1.0
        self.ceiling: float | None = None
        self.edge = 1.0
        self.lowest = 1.0

    def process(self, block: FloatArray, ceiling: float) -> FloatArray:
        """As many samples as came in, DELAY samples later, each within +-ceiling; the block must be finite.

        A ceiling that changes gets to its new place within `ceiling_seconds`.
        """
        audio = np.concatenate([self.waiting, block], axis=1)
        pieces = audio.shape[1] // self.PIECE - 1
        done = pieces * self.PIECE
        out = audio[:, :done]
        if pieces and not self.idle(audio, ceiling):
            out = self.limited(audio[:, : done + self.PIECE], ceiling)
        ready = np.concatenate([self.ready, out], axis=1)
        self.waiting = audio[:, done:].copy()
        self.ready = ready[:, block.shape[1] :].copy()
        return ready[:, : block.shape[1]]

    def limited(self, audio: FloatArray, ceiling: float) -> FloatArray:
        """All pieces but the last one, whose gain depends on what comes next."""
        peaks = np.abs(audio.reshape(len(audio), -1, self.PIECE)[:, 1:]).max(axis=(0, 2))
        allowed = np.minimum(1.0, self.ceilings(len(peaks), ceiling) / np.maximum(peaks, 1e-9))
        edges = self.edges(allowed)
        out = audio[:, : -self.PIECE]
        if edges.min() < 1.0:
            slope = np.arange(self.PIECE) / self.PIECE
            gain = edges[:-1, None] + np.diff(edges)[:, None] * slope
            out = (out * gain.reshape(-1)).astype(np.float32)
        # The products may round up past the ceiling by one step.
        return np.clip(out, -self.highest, self.highest)

    def idle(self, audio: FloatArray, ceiling: float) -> bool:
        """Whether there is nothing to limit, which is so nearly always and need not cost much."""
        rests = self.edge == 1.0 and self.held_allowed == 1.0 and self.ceiling == ceiling
        if rests and peak(audio) <= ceiling:
            self.lowest = 1.0
            return True
        return False

    def ceilings(self, pieces: int, target: float) -> NDArray[np.float64]:
        """The ceiling of each new piece, on its way to the target."""
        start = target if self.ceiling is None else self.ceiling
        reach = self.ceiling_step * np.arange(1, pieces + 1)
        path: NDArray[np.float64] = np.clip(target, start - reach, start + reach)
        self.ceiling = float(path[-1])
        self.highest = np.float32(max(start, self.ceiling))
        return path

    def edges(self, allowed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gains at the edges of the pieces that leave, one more than pieces."""
        bounds = np.minimum(np.concatenate([[self.held_allowed], allowed[:-1]]), allowed)
        self.held_allowed = float(allowed[-1])
        if self.edge == 1.0 and bounds.min() == 1.0:
            self.lowest = 1.0
            return np.ones(len(bounds) + 1)
        gains = [self.edge]
        for bound in bounds:
            gains.append(min(float(bound), gains[-1] + self.release))
        self.edge = gains[-1]
        self.lowest = min(gains)
        return np.array(gains)


class LevelMatch:
    """The gain that makes one signal as loud as another, on average over SECONDS or so.

    Both energies fade at the same pace, so their ratio is right from the first block on. Where either is silent the
    gain is held: a pause has no level to match.
    """

    SECONDS = 0.7
    RANGE_DB = 24.0
    SILENCE_DB = -60.0  # full scale, of a block's RMS

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.reset()

    def reset(self) -> None:
        """Nothing heard yet."""
        self.wanted = self.given = 0.0
        self.gain = 1.0

    def listen(self, reference: FloatArray, signal: FloatArray) -> float:
        """Hear a block of both, (channels, samples) at the same time, and return the gain for the signal."""
        powers = [float(np.vdot(block, block)) / max(block.size, 1) for block in (reference, signal)]
        if min(powers) >= db_to_gain(2 * self.SILENCE_DB):
            kept = math.exp(-reference.shape[1] / (self.SECONDS * self.rate))
            weight = reference.shape[1]
            self.wanted = kept * self.wanted + weight * powers[0]
            self.given = kept * self.given + weight * powers[1]
            limit = db_to_gain(self.RANGE_DB)
            self.gain = min(max(math.sqrt(self.wanted / self.given), 1 / limit), limit)
        return self.gain
