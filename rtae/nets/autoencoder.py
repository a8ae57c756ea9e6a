"""The autoencoder: a convolutional stack beside a linear code.

    z = analysis(x) + stack(x)          y = synthesis(z) + stack(z)

The analysis and synthesis filterbanks start as the best linear code of the latent's size (`rtae.nets.linear`), the
last layer of either stack starts at zero: so training starts at what is linearly possible and adds what is not.
The filterbanks are lapped: three frames long, without look-ahead. Fitted alone such a code has 0.31 dB (`small`) and
0.21 dB (`tiny`) more SI-SDR than a block code; a frame of look-ahead would add 0.25 dB and 0.01 dB, not worth its
latency (docs/measure_shortcut.py; models/README.md has the table).
With `shortcut_frames=0` the stacks stand alone, as in the paper. In a variational autoencoder z is the mean of a normal
distribution whose variance a second head gives: training draws from it, everything else uses the mean.

Padding is constant on the left, and what is over goes to the right: frame k covers the samples
[k * stride, (k + 1) * stride) whatever the length of the audio, so windows on the stride grid agree where they overlap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtae.nets.config import UPSAMPLING, Kind, Layer, NetConfig
from rtae.nets.fixed import FixedUpsampling, PlacedUnpooling, max_places

START_LOG_VARIANCE = -4.6  # a deviation of a tenth of the latents' own: 20 dB of room over the noise
LOG_VARIANCE_RANGE = (-14.0, 6.0)


def left_padding(layer: Layer, causal: bool) -> int:
    """Samples of padding (in a transposed convolution: cropping) at the left; the rest of kernel - stride is right."""
    over = layer.kernel - layer.stride
    if layer.kind in UPSAMPLING:
        return 0 if causal else over // 2
    return over if causal else over // 2


def shortcut_layer(kind: Kind, config: NetConfig) -> Layer | None:
    """The linear shortcut as a layer: "conv" the analysis, "up" the synthesis; always causal."""
    if not config.shortcut_frames:
        return None
    channels = config.latent_dim if kind == "conv" else 1
    return Layer(kind, config.stride, config.stride * config.shortcut_frames, channels)


class Convolution(nn.Module):
    """A strided convolution, padded so that n samples give floor(n / stride)."""

    def __init__(self, inputs: int, layer: Layer, causal: bool) -> None:
        super().__init__()
        left = left_padding(layer, causal)
        self.padding = (left, layer.kernel - layer.stride - left)
        self.conv = nn.Conv1d(inputs, layer.channels, layer.kernel, layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, n) -> (batch, channels, floor(n / stride))."""
        return self.conv(functional.pad(x, self.padding))


class Upsampling(nn.Module):
    """A transposed convolution, cropped so that n frames give n * stride."""

    def __init__(self, inputs: int, layer: Layer, causal: bool) -> None:
        super().__init__()
        self.left = left_padding(layer, causal)
        self.right = layer.kernel - layer.stride - self.left
        self.conv = nn.ConvTranspose1d(inputs, layer.channels, layer.kernel, layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, n) -> (batch, channels, n * stride)."""
        y = self.conv(x)
        return y[..., self.left : y.shape[-1] - self.right]


def stride_of(module: nn.Module) -> int:
    """Samples or frames that go in for one that comes out, or the reverse; 1 for what keeps the rate."""
    if isinstance(module, Convolution | Upsampling):
        return int(module.conv.stride[0])
    if isinstance(module, FixedUpsampling):
        return module.stride
    if isinstance(module, nn.MaxPool1d | nn.AvgPool1d):
        return int(module.stride[0] if isinstance(module.stride, tuple) else module.stride)
    return 1


def build_stack(inputs: int, layers: tuple[Layer, ...], config: NetConfig) -> nn.Sequential:
    """The layers of one stack; batch norm and activation after each layer with weights but the last."""
    modules: list[nn.Module] = []
    for number, layer in enumerate(layers):
        if layer.kind == "max_pool":
            modules.append(nn.MaxPool1d(layer.stride))
            continue
        if layer.kind == "avg_pool":
            modules.append(nn.AvgPool1d(layer.stride))
            continue
        if layer.kind in ("unpool", "place_unpool", "linear"):
            fixed = PlacedUnpooling if layer.kind == "place_unpool" else FixedUpsampling
            modules.append(fixed(inputs, layer, left_padding(layer, config.causal)))
            continue
        kind = Convolution if layer.kind == "conv" else Upsampling
        modules.append(kind(inputs, layer, config.causal))
        inputs = layer.channels
        if number + 1 < len(layers):
            modules += [nn.BatchNorm1d(inputs), nn.LeakyReLU(config.leak)]
    return nn.Sequential(*modules)


class Encoder(nn.Module):
    """Audio to latents."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.padding = config.stride - 1 + config.extra_frames * config.stride
        self.stack = build_stack(1, config.encoder, config)
        bank = shortcut_layer("conv", config)
        self.analysis = Convolution(1, bank, causal=True) if bank else None

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, latent_dim, ceil(samples / stride) + extra_frames)."""
        # Every layer rounds down, so a constant padding rounds the whole up: no length has to be known to the graph.
        x = functional.pad(audio, (0, self.padding))
        z = self.stack(x)
        return z if self.analysis is None else z + self.analysis(x)

    def placed(self, audio: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Latents, and where each max pool found what it kept, by the samples that one of its frames stands for."""
        x = z = functional.pad(audio, (0, self.padding))
        places, samples = {}, 1
        for module in self.stack:
            samples *= stride_of(module)
            if isinstance(module, nn.MaxPool1d):
                places[samples] = max_places(z, stride_of(module))
            z = module(z)
        return z if self.analysis is None else z + self.analysis(x), places


class VariationalEncoder(Encoder):
    """Audio to the distributions of latents: `forward` gives their means."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.spread = Convolution(self.stack[-1].conv.in_channels, config.encoder[-1], config.causal)
        nn.init.zeros_(self.spread.conv.weight)
        nn.init.constant_(self.spread.conv.bias, START_LOG_VARIANCE)

    def distribution(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents, each (batch, latent_dim, frames)."""
        x = functional.pad(audio, (0, self.padding))
        features = self.stack[:-1](x)
        mean = self.stack[-1](features)
        mean = mean if self.analysis is None else mean + self.analysis(x)
        return mean, self.spread(features).clamp(*LOG_VARIANCE_RANGE)


class Decoder(nn.Module):
    """Latents to audio."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.samples = config.stride
        self.stack = build_stack(config.latent_dim, config.decoder, config)
        bank = shortcut_layer("up", config)
        self.synthesis = Upsampling(config.latent_dim, bank, causal=True) if bank else None

    def forward(self, z: Tensor, places: dict[int, Tensor] | None = None) -> Tensor:
        """(batch, latent_dim, frames) -> (batch, 1, frames * stride). places: see `Encoder.placed`."""
        y = self.stack(z) if places is None else self.unpooled(z, places)
        return y if self.synthesis is None else y + self.synthesis(z)

    def unpooled(self, z: Tensor, places: dict[int, Tensor]) -> Tensor:
        """The stack, which puts each value where a max pool of its rate found one."""
        y, samples = z, self.samples
        for module in self.stack:
            given = (places[samples][..., : y.shape[-1]],) if isinstance(module, PlacedUnpooling) else ()
            y = module(y, *given)
            samples //= stride_of(module)
        return y


class Autoencoder(nn.Module):
    """Encoder and decoder of one configuration."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = (VariationalEncoder if config.variational else Encoder)(config)
        self.decoder = Decoder(config)

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> the same shape, reconstructed."""
        z, places = self.encoder.placed(audio) if self.config.placed else (self.encoder(audio), None)
        return self.decoder(z, places)[..., : audio.shape[-1]]

    @torch.no_grad()
    def start_from_linear(self, basis: Tensor, deviation: Tensor | None = None) -> None:
        """Set the shortcut to a linear code and silence the stacks.

        basis: (latent_dim, stride), orthonormal rows, as from `rtae.nets.linear.LinearCode`; rows of zeros are unused.
        deviation: (latent_dim,), of the code's values; where given, the latents start divided by it, at unit variance,
        which is what the prior of a variational autoencoder expects.
        """
        analysis, synthesis = self.encoder.analysis, self.decoder.synthesis
        if analysis is None or synthesis is None:
            return
        stride = self.config.stride
        for conv in (analysis.conv, synthesis.conv):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
        scale = torch.ones(len(basis)) if deviation is None else deviation
        analysis.conv.weight[:, 0, -stride:] = basis / scale[:, None]  # the newest frame of what the filter sees
        synthesis.conv.weight[:, 0, :stride] = basis * scale[:, None]  # the first frame of what a latent sounds in
        for stack in (self.encoder.stack, self.decoder.stack):
            last = stack[-1].conv
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
