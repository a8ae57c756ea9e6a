"""The effects on latents, one class each; `rtae.latent` puts them in a row.

What is random is a function of a frame's number, the dimension and the seed, and the same in every channel, so that
a stereo image stays where it is. Latents have unit variance per dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import drifting_noise, uniform
from rtae.params import MACROS, TABLE, Snapshot
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]
NOISE_RANGE = 0.75  # the range of the random latent values in the paper
UNIT_RANGE = math.sqrt(3)  # the range of uniform values of unit variance
SEAM_SECONDS = 0.01  # of the crossfade where a frozen loop starts again
ECHOES = 4
RISER = 0.02  # steps; see Quantise
FINEST_STEP = 1e-4  # standard deviations; below, rounding is far under what can be heard


class Effect:
    """One way to bend latents; this one leaves them alone.

    An effect belongs to one stream. Where frames before the first one matter it says how many, and is given them.
    """

    def reset(self) -> None:
        """As new."""

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """How many earlier frames the next `apply` needs, at most `longest_past`."""
        return 0

    def longest_past(self, spec: ModelSpec) -> int:
        """The largest that `past` can be, whatever the parameters."""
        return 0

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """The bent frames, (channels, latent_dim, frames); at the parameters' defaults the very array that was given.

        z: (channels, latent_dim, past + frames), which is not written to; before the stream began there are zeros.
        frame: absolute number of the first frame to bend, the one behind the past.
        """
        return z


@dataclass
class Loop:
    """Latents that are held and repeated.

        ...| held -------------------| after |            `after` is what came then; the loop's start is faded out of
           |          |-- loop ------|-- loop ------|     it, so that no repetition begins with a step

    start: absolute number of the first frame that is replaced.
    """

    start: int
    held: FloatArray
    after: FloatArray

    def take_after(self, z: FloatArray, frame: int, seen: int) -> None:
        """Keep what comes right after the start, as far as it is new: what was seen before stays as it was."""
        first, end = max(self.start, seen, frame), min(self.start + self.after.shape[2], frame + z.shape[2])
        if first < end:
            self.after[:, :, first - self.start : end - self.start] = z[:, :, first - frame : end - frame]

    def replace(self, z: FloatArray, frame: int, length: int) -> FloatArray:
        """z with the loop, `length` frames or all that are held, in place of all frames from the start on."""
        length = min(length, self.held.shape[2])
        untouched = min(max(0, self.start - frame), z.shape[2])
        loop = self.held[:, :, -length:].copy()
        seam = min(self.after.shape[2], length // 2)
        # Earlier and later latents have little in common: weights whose squares sum to 1 keep their level.
        angle = ((np.arange(seam) + 0.5) / max(seam, 1) * (math.pi / 2)).astype(np.float32)
        loop[:, :, :seam] = loop[:, :, :seam] * np.sin(angle) + self.after[:, :, :seam] * np.cos(angle)
        place = (np.arange(frame + untouched, frame + z.shape[2]) - self.start) % length
        return np.concatenate([z[:, :, :untouched], loop[:, :, place]], axis=2)


class Freeze(Effect):
    """Holds the latents before a moment, and loops them from then on.

    The moment is the first frame that was not there before the switch was turned, or the first one with a whole loop
    before it. As much is held as the longest loop needs, so that the length can be changed while it plays.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.first: int | None = None  # frame of the stream
        self.seen = 0  # the frame behind the newest one so far
        self.asked: int | None = None  # the frame at which the switch was turned
        self.loop: Loop | None = None

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """Only at the start, when it fills its memory."""
        return self.longest_past(spec) if values["freeze"] and self.loop is None else 0

    def longest_past(self, spec: ModelSpec) -> int:
        """The longest loop."""
        return frames_of(TABLE["freeze_length"].high, spec)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        past = self.past(values, spec)
        fresh = z[:, :, past:] if past else z
        if self.first is None:
            self.first = self.seen = frame
        seen, self.seen = self.seen, max(self.seen, frame + fresh.shape[2])
        if not values["freeze"]:
            self.asked = self.loop = None
            return z
        length = frames_of(values["freeze_length"], spec)
        self.asked = seen if self.asked is None else self.asked
        if self.loop is None:
            # Before the stream there are only zeros.
            self.loop = hold(z, frame - past, max(self.first, frame - past), self.asked, length, spec)
        if self.loop is None:
            return fresh
        self.loop.take_after(fresh, frame, seen)
        return self.loop.replace(fresh, frame, length)


def hold(z: FloatArray, frame: int, oldest: int, asked: int, length: int, spec: ModelSpec) -> Loop | None:
    """A loop out of z, whose first frame is `frame`; None if there are no `length` frames from the oldest on yet."""
    start = max(asked, oldest + length)
    if start > frame + z.shape[2]:
        return None
    longest = frames_of(TABLE["freeze_length"].high, spec)
    held = z[:, :, max(oldest, start - longest) - frame : start - frame].copy()
    return Loop(start, held, np.zeros((*z.shape[:2], frames_of(SEAM_SECONDS, spec)), np.float32))


class Blur(Effect):
    """Averages each latent over its past."""

    def length(self, values: Snapshot, spec: ModelSpec) -> float:
        """Frames, which need not be a whole number: the oldest one then counts in part."""
        return max(1.0, values["blur"] * spec.frame_rate)

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """What is averaged."""
        return math.ceil(self.length(values, spec)) - 1

    def longest_past(self, spec: ModelSpec) -> int:
        """The longest average."""
        return math.ceil(TABLE["blur"].high * spec.frame_rate)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        length, past = self.length(values, spec), self.past(values, spec)
        if past == 0:
            return z
        whole, frames = math.floor(length), z.shape[2] - past
        # The first average is summed up; each next one gains a frame and loses one. In float64, where sums that start
        # elsewhere differ by far less than a float32 can tell.
        total = np.empty((*z.shape[:2], frames))
        total[:, :, :1] = z[:, :, past + 1 - whole : past + 1].sum(axis=2, dtype=np.float64, keepdims=True)
        gone = past - whole + 1
        np.subtract(z[:, :, past + 1 :], z[:, :, gone : gone + frames - 1], out=total[:, :, 1:], dtype=np.float64)
        np.cumsum(total, axis=2, out=total)
        if past >= whole:
            total += (length - whole) * z[:, :, past - whole : past - whole + frames]
        return (total / length).astype(np.float32)


class Echo(Effect):
    """Adds the latents of some time ago, of twice that time, and so on, each weaker by the same factor.

    The sum is divided by the root of the sum of the squared weights, which keeps the level of what has nothing in
    common with its echoes; what is the same all the time gets up to 7 dB louder.
    """

    def delay(self, values: Snapshot, spec: ModelSpec) -> int:
        """Frames from one echo to the next."""
        return frames_of(values["echo_time"], spec)

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """All echoes."""
        return ECHOES * self.delay(values, spec) if values["echo"] else 0

    def longest_past(self, spec: ModelSpec) -> int:
        """All echoes at their longest."""
        return ECHOES * frames_of(TABLE["echo_time"].high, spec)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        past = self.past(values, spec)
        if past == 0:
            return z
        weights = values["echo"] ** np.arange(ECHOES + 1.0)
        weights /= math.sqrt(float(weights @ weights))
        delay, frames = self.delay(values, spec), z.shape[2] - past
        total = z[:, :, past:] * np.float32(weights[0])
        for number in range(1, ECHOES + 1):
            start = past - number * delay
            total += z[:, :, start : start + frames] * np.float32(weights[number])
        return np.asarray(total, np.float32)


class Permute(Effect):
    """Sends some dimensions round in a circle: each takes the place of the next."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        dims = z.shape[1]
        moved = shuffled(int(values["noise_seed"]), PERMUTE, dims)[: round(values["permute"] * dims)]
        if len(moved) < 2:
            return z
        places = np.arange(dims)
        places[moved] = np.roll(moved, 1)
        return z[:, places]


class Drop(Effect):
    """Mutes some dimensions; the one that comes next is on its way down, so that the knob has no steps."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        if values["drop"] == 0:
            return z
        dims = z.shape[1]
        gains = np.empty(dims, np.float32)
        gains[shuffled(int(values["noise_seed"]), DROP, dims)] = np.clip(
            np.arange(1, dims + 1) - values["drop"] * dims, 0, 1
        )
        return np.asarray(z * gains[:, None], np.float32)


class RandomMix(Effect):
    """Random latents in place of the song's: cosine and sine as weights, whose squares sum to 1, keep the level."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        share = values["random_mix"]
        if share == 0:
            return z
        angle = share * math.pi / 2
        song = np.float32(math.cos(angle)) if share < 1 else np.float32(0)
        random = drift(RANDOM, frame, z, values, spec) * np.float32(UNIT_RANGE * math.sin(angle))
        return np.asarray(z * song + random, np.float32)


class GainNoise(Effect):
    """Turns each dimension up and down by itself: at an amount of 1 by up to 6 dB."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        if values["gain_noise"] == 0:
            return z
        gains = np.exp2(drift(GAIN, frame, z, values, spec) * np.float32(values["gain_noise"]))
        return np.asarray(z * gains, np.float32)


class Scale(Effect):
    """Multiplies every latent: under 1 tamer, over 1 exaggerated."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        scale = values["latent_scale"]
        return z if scale == 1 else np.asarray(z * np.float32(scale), np.float32)


class Macros(Effect):
    """Moves all latents along the model's principal components, in standard deviations of the music."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        amounts = [values[f"macro_{number}"] for number in range(1, MACROS + 1)][: len(spec.components)]
        if not any(amounts):
            return z
        shift = (np.array(amounts) * spec.component_std[: len(amounts)]) @ np.array(spec.components[: len(amounts)])
        return np.asarray(z + shift.astype(np.float32)[:, None], np.float32)


class Map(Effect):
    """Draws all latents to a place on the map of the first two principal components, see `on_map`; 1 holds them there.

    Whatever does not show on the map goes on as before.
    """

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        pull, count = values["map_pull"], min(2, len(spec.components))
        if pull == 0 or count == 0:
            return z
        place = np.array([values["map_x"], values["map_y"]][:count])
        components, std = np.array(spec.components[:count]), np.array(spec.component_std[:count])
        # Of pull * components' (std * place - components (z - mean)), what does not depend on z is worked out once.
        constant = components.T @ (std * place + components @ np.array(spec.latent_mean))
        taken = (pull * components.T @ components).astype(np.float32)
        return np.asarray(z - taken @ z + (pull * constant).astype(np.float32)[:, None], np.float32)


def on_map(z: FloatArray, spec: ModelSpec) -> FloatArray:
    """Where latents (latent_dim, frames) are along the principal components, (components, frames).

    0 is the mean of the music that the model was trained on, 1 a standard deviation of it away.
    """
    if not spec.components:
        return z[:0]
    scaled = np.array(spec.components) / np.array(spec.component_std)[:, None]
    return np.asarray(scaled @ (z - np.array(spec.latent_mean)[:, None]), np.float32)


class Noise(Effect):
    """Adds uniform noise to some dimensions."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        if values["noise_amount"] == 0:
            return z
        dims = z.shape[1]
        chosen = chosen_dimensions(int(values["noise_seed"]), dims, values["noise_share"])
        if len(chosen) == 0:
            return z
        noise = drift(ADDED, frame, z, values, spec)
        bent: FloatArray = z.copy()
        bent[:, chosen] += np.float32(values["noise_amount"] * NOISE_RANGE) * noise[chosen]
        return bent


class Quantise(Effect):
    """Rounds latents to whole steps.

    The steps lean a little, over RISER of their width: so where windows agree to rounding they still do afterwards.
    """

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        step = np.float32(values["quantise"])
        if step < FINEST_STEP:
            return z
        steps = z / step
        below = np.floor(steps)
        steps -= below
        steps -= np.float32(0.5 - RISER / 2)
        steps *= np.float32(1 / RISER)
        below += np.clip(steps, 0, 1)
        return np.asarray(below * step, np.float32)


def frames_of(seconds: float, spec: ModelSpec) -> int:
    """The nearest whole number of frames, at least one."""
    return max(1, round(seconds * spec.frame_rate))


# -- what is random ----------------------------------------------------------------------------------------------------
# Each kind of randomness has its own key, so that effects of one seed have nothing in common.
ADDED, CHOICE, PERMUTE, DROP, RANDOM, GAIN = 0, 0x5EED0000, 0x5EED1000_0000, 0x5EED2000_0000, 1 << 48, 2 << 48


def drift(key: int, frame: int, z: FloatArray, values: Snapshot, spec: ModelSpec) -> FloatArray:
    """Noise of the parameters' seed and speed, (latent_dim, frames), for frames like z's."""
    period = max(1.0, spec.frame_rate / values["noise_speed"])
    return drifting_noise(int(values["noise_seed"]) ^ key, frame, z.shape[2], z.shape[1], period)


@lru_cache(maxsize=64)
def shuffled(seed: int, key: int, dims: int) -> NDArray[np.int64]:
    """The dimensions in an order that the seed gives."""
    order = np.argsort(uniform(seed ^ key, 0, 1, dims)[:, 0])
    order.setflags(write=False)  # it is shared
    return order


def chosen_dimensions(seed: int, dims: int, share: float) -> NDArray[np.int64]:
    """The dimensions that a share of them means, in the order of the seed: a larger share keeps a smaller one's."""
    return np.sort(shuffled(seed, CHOICE, dims)[: round(share * dims)])
