"""The effects on latents, one class each; `rtae.latent` puts them in a row.

What is random is a function of a frame's number, the dimension and the seed, and the same in every channel, so that
a stereo image stays where it is. Latents have unit variance per dimension.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import drifting_noise, uniform
from rtae.params import MACROS, TABLE, Snapshot
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]
NOISE_RANGE = 0.75  # the range of the random latent values in the paper
UNIT_RANGE = math.sqrt(3)  # the range of uniform values of unit variance
ECHOES = 4
RISER = 0.02  # steps; see Quantise
FINEST_STEP = 1e-4  # standard deviations; below, rounding is far under what can be heard


class Effect:
    """One way to bend latents; this one leaves them alone.

    An effect belongs to one stream. Where frames before the first one matter it says how many, and is given them.

    knob: the parameter that turns it up, if that is a single one; at its default there is no effect.
    """

    knob = ""

    def reset(self) -> None:
        """As new."""

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """Whether it leaves latents alone at these parameters, as every effect does at the defaults.

        Then it is not applied at all. What has to see every frame never is.
        """
        return not self.knob or values[self.knob] == TABLE[self.knob].default

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """How many earlier frames the next `apply` needs, at most `longest_past`."""
        return 0

    def longest_past(self, spec: ModelSpec) -> int:
        """The largest that `past` can be, whatever the parameters."""
        return 0

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """The bent frames, (channels, latent_dim, frames).

        z: (channels, latent_dim, past + frames), which is not written to; before the stream began there are zeros.
        frame: absolute number of the first frame to bend, the one behind the past.
        """
        return z


class Blur(Effect):
    """Averages each latent over its past."""

    def length(self, values: Snapshot, spec: ModelSpec) -> float:
        """Frames, which need not be a whole number: the oldest one then counts in part."""
        return max(1.0, values["blur"] * spec.frame_rate)

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """Of a single frame."""
        return self.length(values, spec) == 1

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """What is averaged."""
        return math.ceil(self.length(values, spec)) - 1

    def longest_past(self, spec: ModelSpec) -> int:
        """The longest average."""
        return math.ceil(TABLE["blur"].high * spec.frame_rate)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        length, past = self.length(values, spec), self.past(values, spec)
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

    knob = "echo"

    def delay(self, values: Snapshot, spec: ModelSpec) -> int:
        """Frames from one echo to the next."""
        return frames_of(values["echo_time"], spec)

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """All echoes."""
        return ECHOES * self.delay(values, spec)

    def longest_past(self, spec: ModelSpec) -> int:
        """All echoes at their longest."""
        return ECHOES * frames_of(TABLE["echo_time"].high, spec)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        past = self.past(values, spec)
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

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """With fewer than two."""
        return round(values["permute"] * spec.latent_dim) < 2

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        dims = z.shape[1]
        moved = shuffled(int(values["noise_seed"]), PERMUTE, dims)[: round(values["permute"] * dims)]
        places = np.arange(dims)
        places[moved] = np.roll(moved, 1)
        return z[:, places]


class Drop(Effect):
    """Mutes some dimensions; the one that comes next is on its way down, so that the knob has no steps."""

    knob = "drop"

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        dims = z.shape[1]
        gains = np.empty(dims, np.float32)
        gains[shuffled(int(values["noise_seed"]), DROP, dims)] = np.clip(
            np.arange(1, dims + 1) - values["drop"] * dims, 0, 1
        )
        return np.asarray(z * gains[:, None], np.float32)


class RandomMix(Effect):
    """Random latents in place of the song's: cosine and sine as weights, whose squares sum to 1, keep the level."""

    knob = "random_mix"

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        share = values["random_mix"]
        angle = share * math.pi / 2
        song = np.float32(math.cos(angle)) if share < 1 else np.float32(0)
        random = drift(RANDOM, frame, z, values, spec) * np.float32(UNIT_RANGE * math.sin(angle))
        return np.asarray(z * song + random, np.float32)


class GainNoise(Effect):
    """Turns each dimension up and down by itself: at an amount of 1 by up to 6 dB."""

    knob = "gain_noise"

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        gains = np.exp2(drift(GAIN, frame, z, values, spec) * np.float32(values["gain_noise"]))
        return np.asarray(z * gains, np.float32)


class Scale(Effect):
    """Multiplies every latent: under 1 tamer, over 1 exaggerated."""

    knob = "latent_scale"

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        return np.asarray(z * np.float32(values["latent_scale"]), np.float32)


class Macros(Effect):
    """Moves all latents along the model's principal components, in standard deviations of the music."""

    def amounts(self, values: Snapshot, spec: ModelSpec) -> list[float]:
        """Of each component that the model has."""
        return [values[f"macro_{number}"] for number in range(1, MACROS + 1)][: len(spec.components)]

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """By nothing."""
        return not any(self.amounts(values, spec))

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        amounts = self.amounts(values, spec)
        shift = (np.array(amounts) * spec.component_std[: len(amounts)]) @ np.array(spec.components[: len(amounts)])
        return np.asarray(z + shift.astype(np.float32)[:, None], np.float32)


class Map(Effect):
    """Draws all latents to a place on the map of the first two principal components, see `on_map`; 1 holds them there.

    Whatever does not show on the map goes on as before.
    """

    knob = "map_pull"

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """Without a pull, or a map."""
        return super().neutral(values, spec) or not spec.components

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        pull, count = values["map_pull"], min(2, len(spec.components))
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

    knob = "noise_amount"

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """With no amount, or to none."""
        return super().neutral(values, spec) or round(values["noise_share"] * spec.latent_dim) == 0

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        chosen = chosen_dimensions(int(values["noise_seed"]), z.shape[1], values["noise_share"])
        noise = drift(ADDED, frame, z, values, spec)
        bent: FloatArray = z.copy()
        bent[:, chosen] += np.float32(values["noise_amount"] * NOISE_RANGE) * noise[chosen]
        return bent


class Quantise(Effect):
    """Rounds latents to whole steps.

    The steps lean a little, over RISER of their width: so where windows agree to rounding they still do afterwards.
    """

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """With steps that are too fine to be heard."""
        return values["quantise"] < FINEST_STEP

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        step = np.float32(values["quantise"])
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
