"""How far a network sees, worked out from its layers, and the same found out by trying.

An interval of positions is followed through the layers, from an output back to the inputs it depends on. The trial puts
a NaN in one input and sees which outputs it reaches: NaN times a weight of zero is still NaN, so what it finds is the
structure and not an accident of the weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtae.nets.autoencoder import Autoencoder, left_padding, shortcut_layer
from rtae.nets.config import UPSAMPLING, Layer, NetConfig
from rtae.spec import Reach

Interval = tuple[int, int]


def needed(layer: Layer, causal: bool, outputs: Interval) -> Interval:
    """First and last input that these outputs of a layer depend on."""
    low, high = outputs
    left = left_padding(layer, causal)
    if layer.kind in UPSAMPLING:
        # Input i sounds in outputs i * stride - left ... i * stride - left + kernel - 1.
        return -((layer.kernel - 1 - low - left) // layer.stride), (high + left) // layer.stride
    return low * layer.stride - left, high * layer.stride - left + layer.kernel - 1


def needed_by_stack(layers: tuple[Layer, ...], causal: bool, outputs: Interval) -> Interval:
    """The same through a stack."""
    for layer in reversed(layers):
        outputs = needed(layer, causal, outputs)
    return outputs


def joined(first: Interval, second: Interval) -> Interval:
    """The smallest interval that holds both."""
    return min(first[0], second[0]), max(first[1], second[1])


def needed_samples(config: NetConfig, frames: Interval) -> Interval:
    """Audio samples that these latent frames depend on."""
    through_stack = needed_by_stack(config.encoder, config.causal, frames)
    bank = shortcut_layer("conv", config)
    return joined(through_stack, needed(bank, True, frames)) if bank else through_stack


def needed_frames(config: NetConfig, samples: Interval) -> Interval:
    """Latent frames that these output samples depend on."""
    through_stack = needed_by_stack(config.decoder, config.causal, samples)
    bank = shortcut_layer("up", config)
    return joined(through_stack, needed(bank, True, samples)) if bank else through_stack


def computed_reach(config: NetConfig) -> Reach:
    """How far a network of this configuration sees, from its layers."""
    stride = config.stride
    first, last = needed_samples(config, (0, 0))
    oldest, newest = needed_frames(config, (0, stride - 1))
    past = ahead = 0
    for sample in range(stride):
        low, high = needed_samples(config, needed_frames(config, (sample, sample)))
        past, ahead = max(past, sample - low), max(ahead, high - sample)
    return Reach(max(0, -first), max(0, last - stride + 1), max(0, -oldest), max(0, newest), past, ahead)


def reached(module: nn.Module, base: Tensor, places: range) -> list[Interval]:
    """First and last output position that a NaN at each place of the input (1, channels, n) reaches."""
    result = []
    for place in places:
        probe = base.clone()
        probe[..., place] = torch.nan
        hit = torch.isnan(module(probe)).any(dim=1)[0].nonzero()[:, 0]
        result.append((int(hit[0]), int(hit[-1])))
    return result


@torch.no_grad()
def measured_reach(net: Autoencoder) -> Reach:
    """How far a network sees, by trying; it must be in evaluation mode."""
    config = net.config
    stride, claim = config.stride, computed_reach(config)
    span = 2 + -(-2 * (claim.receptive_field + claim.look_ahead) // stride)
    middle = span // 2 * stride
    audio = torch.zeros(1, 1, span * stride)
    samples = range(middle, middle + stride)

    # A frame's own samples are k * stride ... (k + 1) * stride - 1; a sample that reaches frame k lies this far off.
    frames = list(zip(samples, reached(net.encoder, audio, samples), strict=True))
    encoder_past = max(last * stride - place for place, (_, last) in frames)
    encoder_future = max(place - (first + 1) * stride + 1 for place, (first, _) in frames)
    z = torch.zeros(1, config.latent_dim, span)
    frame = span // 2
    ((first, last),) = reached(net.decoder, z, range(frame, frame + 1))
    whole = list(zip(samples, reached(net, audio, samples), strict=True))
    return Reach(
        encoder_past=max(0, encoder_past),
        encoder_future=max(0, encoder_future),
        decoder_past=max(0, last // stride - frame),
        decoder_future=max(0, frame - first // stride),
        receptive_field=max(last - place for place, (_, last) in whole),
        look_ahead=max(place - first for place, (first, _) in whole),
    )
