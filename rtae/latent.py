"""What is done to latents on their way from the encoder to the decoder: the effects of a stream, in their order.

    encoder -> freeze -> echo -> blur -> permute -> drop -> random mix -> gain noise -> scale
                                      decoder <- quantise <- noise <- map <- macros <---+

What comes out for a frame depends on its absolute number, on latents of it and of a bounded past, and on one snapshot
of the parameters; freeze alone remembers when its switch was turned. So windows that overlap agree, and a render
repeats a performance. To add an effect: a class like those of `rtae.effects`, a line in EFFECTS.
"""

from __future__ import annotations

import numpy as np

from rtae.effects import (
    Blur,
    Drop,
    Echo,
    Effect,
    FloatArray,
    GainNoise,
    Macros,
    Map,
    Noise,
    Permute,
    Quantise,
    RandomMix,
    Scale,
)
from rtae.freeze import Freeze
from rtae.params import Snapshot
from rtae.spec import ModelSpec


class Chain:
    """All effects of one stream.

    longest_past: how many frames before the first one it can need, whatever the parameters.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.effects: list[Effect] = [effect() for effect in EFFECTS.values()]
        self.longest_past = sum(effect.longest_past(spec) for effect in self.effects)
        self.values: Snapshot | None = None  # that `active` is for
        self.active: list[Effect] = []

    def reset(self) -> None:
        """As new."""
        for effect in self.effects:
            effect.reset()

    def past(self, values: Snapshot) -> int:
        """How many frames before those that are wanted the next `apply` depends on."""
        return sum(effect.past(values, self.spec) for effect in self.acting(values))

    def acting(self, values: Snapshot) -> list[Effect]:
        """The effects that do something, found out again only where a parameter has changed: most do nothing."""
        if values is not self.values and values != self.values:
            self.active = [effect for effect in self.effects if not effect.neutral(values, self.spec)]
        self.values = values
        return self.active

    def apply(self, z: FloatArray, frame: int, wanted: int, values: Snapshot) -> FloatArray:
        """The last frames of z, bent: (channels, latent_dim, wanted).

        z: (channels, latent_dim, frames); frame: absolute number of its first one. It should start `past` frames
        before those that are wanted, or where the stream does; what is missing is taken to be 0.
        """
        end = frame + z.shape[2]
        effects = self.acting(values)
        pasts = [effect.past(values, self.spec) for effect in effects]
        later = sum(pasts)
        for effect, past in zip(effects, pasts, strict=True):
            later -= past
            count = min(wanted + later, end - frame)
            z = effect.apply(newest(z, count + past), end - count, values, self.spec)
        return newest(z, wanted)


def newest(z: FloatArray, frames: int) -> FloatArray:
    """So many frames at the end of z, with zeros in front if it has fewer; the same object if it has just as many."""
    missing = frames - z.shape[2]
    if missing == 0:
        return z
    return z[:, :, -missing:] if missing < 0 else np.pad(z, ((0, 0), (0, 0), (missing, 0)))


def apply_effects(z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
    """All effects on latents (channels, latent_dim, frames), a whole stream whose first frame has this number."""
    return Chain(spec).apply(z, frame, z.shape[2], values)


EFFECTS: dict[str, type[Effect]] = {
    "freeze": Freeze,
    "echo": Echo,
    "blur": Blur,  # after the echo, where it has less to do; the other way round would sound the same
    "permute": Permute,
    "drop": Drop,
    "random_mix": RandomMix,
    "gain_noise": GainNoise,
    "scale": Scale,
    "macros": Macros,
    "map": Map,
    "noise": Noise,
    "quantise": Quantise,
}
