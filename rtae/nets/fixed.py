"""Upsampling that learns nothing: unpooling and straight lines, and the presets with these in their decoders.

Max unpooling puts a value back where its encoder's pool found it (Zeiler and Fergus 2014). A decoder that is given
latents alone (of two songs mixed, of chance, of a stream) knows no such place: "max-unpool" then takes the first of the
stretch, and "unpool" always does, as in Dosovitskiy et al. (2015), with zeros elsewhere.

A convolution of K taps behind it would then be a transposed convolution of K taps, exactly; what differs is what the
same work for a sample of output buys, so the convolution gets as many taps as each of its outputs has in the transposed
one: K / stride, and at least the stride, or some samples would depend on nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtae.errors import ModelError
from rtae.nets.config import Kind, Layer, NetConfig, conv, mirrored_pool


class FixedUpsampling(nn.Module):
    """Each channel on its own by a fixed filter, cropped so that n frames give n * stride."""

    weight: Tensor

    def __init__(self, channels: int, layer: Layer, left: int) -> None:
        super().__init__()
        self.stride, self.left, self.right = layer.stride, left, layer.kernel - layer.stride - left
        taps = torch.zeros(layer.kernel)
        if layer.kind != "linear":
            taps[0] = 1
        else:  # a triangle: causal, a frame is reached at the end of its stretch
            rise = torch.arange(1, layer.stride + 1) / layer.stride
            taps = torch.cat([rise, rise[:-1].flip(0)])
        self.register_buffer("weight", taps.repeat(channels, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n) -> (batch, channels, n * stride)."""
        y = functional.conv_transpose1d(x, self.weight, stride=self.stride, groups=self.weight.shape[0])
        return y[..., self.left : y.shape[-1] - self.right]


class PlacedUnpooling(FixedUpsampling):
    """Unpooling to the places that a max pool found."""

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """(batch, channels, n) -> (batch, channels, n * stride). places: of the same shape as x, 0 to stride - 1."""
        if places is None:
            return super().forward(x)
        spread = x.new_zeros(*x.shape, self.stride)
        return spread.scatter(3, places[..., None], x[..., None]).flatten(2)


def max_places(x: Tensor, stride: int) -> Tensor:
    """Where in each stretch a max pool finds its value: (batch, channels, n // stride), 0 to stride - 1."""
    _, found = functional.max_pool1d(x, stride, return_indices=True)
    return found % stride


def with_decoder(config: NetConfig, name: str) -> NetConfig:
    """The same network with another kind of upsampling in its decoder, one of DECODERS. Raises ModelError.

    Where places are taken from a pool, the layer before gives as many channels as the pool has.
    """
    if name not in DECODERS:
        raise ModelError(f"No decoder {name!r}; there are {', '.join(DECODERS)}")
    kind = DECODERS[name]
    if kind is None:
        return config
    layers: list[Layer] = []
    samples = config.stride
    for layer in config.decoder:
        if layer.stride == 1:
            layers.append(layer)
            continue
        pool = mirrored_pool(config.encoder, samples, layer.stride) if kind == "place_unpool" else None
        if pool is not None:
            width = next(one.channels for one in reversed(config.encoder[:pool]) if one.channels)
            layers[-1] = replace(layers[-1], channels=width)
        here: Kind = kind if pool is not None or kind == "linear" else "unpool"
        kernel = 2 * layer.stride - 1 if kind == "linear" else layer.stride
        layers += [
            Layer(here, layer.stride, kernel),
            conv(layer.channels, max(layer.stride, layer.kernel // layer.stride)),
        ]
        samples //= layer.stride
    return replace(config, preset=f"{config.preset}-{name}", decoder=tuple(layers))


DECODERS: dict[str, Kind | None] = {
    "max-unpool": "place_unpool",
    "unpool": "unpool",
    "linear": "linear",
    "transposed": None,
}
