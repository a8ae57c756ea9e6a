"""What a network is made of, as data: layers, presets, and nothing that needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from rtae.errors import ModelError

Kind = Literal["conv", "max_pool", "avg_pool", "up", "unpool", "place_unpool", "linear"]
UPSAMPLING = ("up", "unpool", "place_unpool", "linear")
SAMPLE_RATE = 22_050
WINDOW = 110_250


@dataclass(frozen=True)
class Layer:
    """One layer of the main path.

    kind: "conv" and "up" (a transposed convolution) carry weights; a pool's kernel is its stride, and so is that of
        "unpool", which puts each value first among zeros; "place_unpool" puts it where the encoder's max pool of the
        same rate found it, if it is told; "linear" draws straight lines from each value to the next.
    channels: output channels; 0 in a layer without weights, which keeps what it gets.
    """

    kind: Kind
    stride: int
    kernel: int
    channels: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ModelError(f"Unknown kind of layer {self.kind!r}; there are {', '.join(get_args(Kind))}")
        pool = self.kind not in ("conv", "up")
        fixed = 2 * self.stride - 1 if self.kind == "linear" else self.stride
        if self.stride < 1 or self.kernel < self.stride or (pool and self.kernel != fixed):
            raise ModelError(f"A {self.kind} layer of kernel {self.kernel} and stride {self.stride} is not possible")
        if (self.channels > 0) == pool:
            raise ModelError(f"A {self.kind} layer cannot have {self.channels} output channels")


@dataclass(frozen=True)
class NetConfig:
    """An autoencoder, whole.

    stride: samples per latent frame, the product of the strides of either stack.
    extra_frames: latent frames beyond `ceil(samples / stride)`, which continue into silence.
    shortcut_frames: length of the linear shortcut's filters, in frames: 0 is no shortcut (the plain stack), 1 a block
        code, more a lapped one that reaches into the past only.
    causal: all padding on the left, so that no frame depends on what follows it.
    variational: a second head beside the last layer of the encoder gives the logarithm of each latent's variance, which
        training needs and playing does not.
    """

    preset: str
    latent_dim: int
    stride: int
    extra_frames: int
    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    shortcut_frames: int = 3
    causal: bool = True
    sample_rate: int = SAMPLE_RATE
    leak: float = field(default=0.1)
    variational: bool = False

    def __post_init__(self) -> None:
        for name, stack, last in (("encoder", self.encoder, self.latent_dim), ("decoder", self.decoder, 1)):
            product = 1
            for layer in stack:
                product *= layer.stride
            if product != self.stride:
                raise ModelError(f"The strides of the {name} multiply to {product}, not to {self.stride}")
            if not stack or stack[-1].channels != last:
                raise ModelError(f"The last layer of the {name} must have {last} output channels")
        samples = self.stride
        for layer in self.decoder:
            if layer.kind == "place_unpool" and mirrored_pool(self.encoder, samples, layer.stride) is None:
                raise ModelError(f"The encoder has no max pool of stride {layer.stride} at {samples} samples per frame")
            samples //= layer.stride

    @property
    def placed(self) -> bool:
        """Whether the decoder takes places from the encoder."""
        return any(layer.kind == "place_unpool" for layer in self.decoder)

    def frames(self, samples: int) -> int:
        """Latent frames for so many samples.

        >>> PRESETS["small"].frames(110_250)
        2299
        """
        return -(-samples // self.stride) + self.extra_frames

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetConfig:
        """The opposite of `dataclasses.asdict`. Raises ModelError where something is missing, unknown or impossible."""
        try:
            stacks = {name: tuple(Layer(**layer) for layer in values[name]) for name in ("encoder", "decoder")}
            return cls(**{**values, **stacks})
        except (TypeError, KeyError) as error:
            raise ModelError(f"This is not the configuration of a network: {error}") from None


def mirrored_pool(encoder: tuple[Layer, ...], samples: int, stride: int) -> int | None:
    """Which layer of an encoder is the max pool of this stride whose frames have so many samples each; None if none."""
    product = 1
    for number, layer in enumerate(encoder):
        product *= layer.stride
        if layer.kind == "max_pool" and (product, layer.stride) == (samples, stride):
            return number
    return None


def conv(channels: int, kernel: int, stride: int = 1) -> Layer:
    """A convolution."""
    return Layer("conv", stride, kernel, channels)


def up(channels: int, kernel: int, stride: int = 1) -> Layer:
    """A transposed convolution."""
    return Layer("up", stride, kernel, channels)


def pool(kind: Literal["max_pool", "avg_pool"], stride: int) -> Layer:
    """A pool."""
    return Layer(kind, stride, stride)


# The latent shapes and the layer counts are those of the paper; kernels, strides and widths are ours.
LARGE = NetConfig(
    preset="large",
    latent_dim=32,
    stride=24,
    extra_frames=2,
    encoder=(conv(64, 24, 4), conv(96, 9, 3), pool("max_pool", 2), conv(32, 7)),
    decoder=(up(128, 7), up(96, 6, 2), up(48, 9, 3), up(1, 16, 4)),
)
SMALL = NetConfig(
    preset="small",
    latent_dim=16,
    stride=48,
    extra_frames=2,
    encoder=(conv(64, 24, 4), pool("avg_pool", 2), conv(128, 9, 3), pool("max_pool", 2), conv(16, 7)),
    decoder=(up(192, 9), up(192, 4, 2), up(96, 6, 3), up(32, 8, 2), up(1, 16, 4)),
)
TINY = NetConfig(
    preset="tiny",
    latent_dim=16,
    stride=192,
    extra_frames=0,
    encoder=(
        conv(32, 24, 4),
        conv(64, 8, 2),
        pool("max_pool", 2),
        conv(96, 9, 3),
        pool("avg_pool", 2),
        conv(160, 4, 2),
        conv(160, 3),
        conv(16, 3),
    ),
    decoder=(
        up(192, 4),
        up(192, 3),
        up(192, 4, 2),
        up(128, 4, 2),
        up(96, 6, 3),
        up(64, 4, 2),
        up(32, 8, 2),
        up(1, 16, 4),
    ),
)
VAE = replace(TINY, preset="vae", variational=True)
PRESETS = {net.preset: net for net in (LARGE, SMALL, TINY, VAE)}


def preset(name: str) -> NetConfig:
    """The preset of this name. Raises ModelError, which lists what there is."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ModelError(f"No preset {name!r}; there are {', '.join(PRESETS)}") from None
