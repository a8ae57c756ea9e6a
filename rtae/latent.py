"""What can be done to latents: each effect is one class, and one line in EFFECTS.

An effect is a pure function of latents, their absolute frame numbers and one snapshot of the parameters. So windows
that overlap agree, a render repeats a performance, and an effect streams exactly without a line of its own for that.
At the parameters' defaults it returns the very array it was given.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtae.params import Snapshot
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]
NOISE_RANGE = 0.75  # the range of the random latent values in the paper


class Effect(Protocol):
    """One way to bend latents."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """z: (channels, latent_dim, frames); frame: absolute number of the first one. Returns the same shape."""
        ...


class Scale:
    """Multiplies every latent: under 1 tamer, over 1 exaggerated."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        scale = values["latent_scale"]
        if scale == 1:
            return z
        scaled: FloatArray = z * np.float32(scale)
        return scaled


class Noise:
    """Adds uniform noise to some dimensions, the same in every channel, so that a stereo image stays where it is."""

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        amount, dims = values["noise_amount"], z.shape[1]
        if amount == 0:
            return z
        seed = int(values["noise_seed"])
        chosen = chosen_dimensions(seed, dims, values["noise_share"])
        if len(chosen) == 0:
            return z
        period = max(1.0, spec.frame_rate / values["noise_speed"])
        noise = drifting_noise(seed, frame, z.shape[2], dims, period)
        bent: FloatArray = z.copy()
        bent[:, chosen] += np.float32(amount * NOISE_RANGE) * noise[chosen]
        return bent


@lru_cache(maxsize=64)
def chosen_dimensions(seed: int, dims: int, share: float) -> NDArray[np.int64]:
    """The dimensions that a share of them means, in the order of the seed: a larger share keeps a smaller one's."""
    order = np.argsort(uniform(seed ^ 0x5EED0000, 0, 1, dims)[:, 0])
    return np.sort(order[: round(share * dims)])


def drifting_noise(seed: int, frame: int, frames: int, dims: int, period: float) -> FloatArray:
    """Noise (dims, frames) of constant variance: a new uniform value in [-1, 1] every `period` frames, joined smoothly.

    Neighbouring values are weighted with cosine and sine, whose squares sum to 1: in between, the variance stays.
    """
    if period == 1:
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


def apply_effects(z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
    """All effects in their order; see `Effect.apply`."""
    for effect in EFFECTS.values():
        z = effect.apply(z, frame, values, spec)
    return z


EFFECTS: dict[str, Effect] = {
    "scale": Scale(),
    "noise": Noise(),
}
