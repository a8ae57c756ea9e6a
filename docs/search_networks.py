"""Compares networks of one latent size: one change at a time of what they are made of.

Each is trained for the same steps on the same examples from the same seed, and measured on the songs of the second
folder. Runs that are there already are not trained again, so that the same command goes on after Ctrl-C. Run from the
project's folder with the extra `train` installed:
python docs/search_networks.py TRAIN_FOLDER OTHER_FOLDER PRESET RUNS_FOLDER ["NAME OF A CHANGE" ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from rtae.decoders import measure, train_all
from rtae.nets.config import PRESETS, UPSAMPLING, Layer, NetConfig
from rtae.training.config import TrainConfig
from rtae.training.data import survey
from rtae.training.run import HeldOut

STEPS = 1000
WEIGHTS = {"waveform_weight": 1.0, "energy_weight": 1.0, "onset_weight": 1.0}
Change = Callable[[NetConfig], NetConfig]


class Snake(nn.Module):
    """x + sin(a x)^2 / a (Ziyin et al. 2020), with one a, which is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.log_a = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        a = self.log_a.exp()
        return x + torch.sin(a * x).square() / a


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"ELU": nn.ELU, "snake": Snake}


def each(change: Callable[[Layer], Layer], last: bool = True) -> Change:
    """Both stacks with every layer changed. last: also those whose output is the latent and the sound."""

    def changed(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        return (*map(change, layers[:-1]), change(layers[-1]) if last else layers[-1])

    return lambda net: replace(net, encoder=changed(net.encoder), decoder=changed(net.decoder))


def wider(factor: float) -> Change:
    """So many times the channels."""
    return each(lambda layer: replace(layer, channels=8 * round(layer.channels * factor / 8)), last=False)


def longer(frames: int) -> Change:
    """Kernels that are longer by so many of their strides, or shorter."""
    return each(
        lambda layer: (
            replace(layer, kernel=max(layer.stride, layer.kernel + frames * layer.stride)) if layer.channels else layer
        )
    )


def remembering(frames: int) -> Change:
    """A decoder whose first layer hears so many more of the past frames."""

    def changed(net: NetConfig) -> NetConfig:
        first, *rest = net.decoder
        return replace(net, decoder=(replace(first, kernel=first.kernel + frames), *rest))

    return changed


def pools(kind: str) -> Change:
    """One kind of pool."""
    return each(lambda layer: replace(layer, kind=kind) if layer.kind.endswith("_pool") else layer)


def early(net: NetConfig) -> NetConfig:
    """Twice the stride next to the sound, and half of it in the layer farthest from there that has one."""

    def moved(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        found = list(layers)
        far = max(n for n, layer in enumerate(found) if layer.channels and layer.stride == 2)
        found[0] = replace(found[0], stride=2 * found[0].stride, kernel=2 * found[0].kernel)
        found[far] = replace(found[far], stride=1)
        return tuple(found)

    return replace(net, encoder=moved(net.encoder), decoder=moved(net.decoder[::-1])[::-1])


CHANGES: dict[str, Change] = {
    "as it is": lambda net: net,
    "half as wide": wider(0.5),
    "half as wide again": wider(1.5),
    "kernels a stride shorter": longer(-1),
    "kernels a stride longer": longer(1),
    "max pools": pools("max_pool"),
    "average pools": pools("avg_pool"),
    "strides early": early,
    "ELU": lambda net: net,
    "snake": lambda net: net,
    "block shortcut": lambda net: replace(net, shortcut_frames=1),
    "shortcut of 6 frames": lambda net: replace(net, shortcut_frames=6),
    "no shortcut": lambda net: replace(net, shortcut_frames=0),
}


def activation(name: str) -> AbstractContextManager[object]:
    """Networks have another activation meanwhile, if the name is that of one."""
    return patch("torch.nn.LeakyReLU", lambda _: ACTIVATIONS[name]()) if name in ACTIVATIONS else nullcontext()


def operations(net: NetConfig) -> float:
    """Multiplications per sample of the sound."""
    total = 0.0
    for layers, inputs, samples in ((net.encoder, 1, 1.0), (net.decoder, net.latent_dim, float(net.stride))):
        for layer in layers:
            up = layer.kind in UPSAMPLING
            if layer.channels:
                total += inputs * layer.channels * layer.kernel / (samples if up else samples * layer.stride)
                inputs = layer.channels
            samples = samples / layer.stride if up else samples * layer.stride
    return total + 2 * net.latent_dim * net.shortcut_frames


def main(train: Path, other: Path, preset: str, runs: Path, names: list[str]) -> None:
    """Train, measure and print a row for each change, or for those that are named."""
    torch.set_num_threads(1)
    base = PRESETS[preset]
    material, held = survey(train, base.sample_rate, 8192), survey(other, base.sample_rate, 8192)
    print(f"{preset}, {STEPS} steps: SI-SDR dB, MR-STFT, 1000 weights of the decoder, multiplications per sample")
    for name, change in CHANGES.items():
        if names and name not in names:
            continue
        if name == "strides early" and preset != "tiny":
            continue  # the others have no layer to take them from
        net, run = change(base), name.replace(" ", "-")
        config = TrainConfig(net=net, steps=STEPS, **WEIGHTS, validate_every=1_000_000)
        with activation(name):
            if not train_all({run: config}, material, runs, held_out=held):
                return
            found = measure(run, runs / "runs" / run, HeldOut(held.tracks))
        print(
            f"{name:26}{found.si_sdr:7.2f}{found.mr_stft:8.3f}{found.weights / 1000:7.0f}{operations(net):8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
