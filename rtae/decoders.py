"""The first finding of the paper, made again: one network with four kinds of upsampling in its decoder.

Each is trained for the same short time on the same examples, from the same seed, without a linear shortcut, which would
carry the sound past what is compared. Needs the extra `train`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rtae.errors import TrainingError
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import preset
from rtae.nets.fixed import DECODERS, with_decoder
from rtae.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from rtae.training.config import TrainConfig
from rtae.training.data import Survey, split
from rtae.training.losses import quality, spectral_distance
from rtae.training.run import HeldOut, Report, train

FloatArray = NDArray[np.float32]
ALONE = "-alone"  # of a decoder that is not told the places which it learned with: what becomes of latents of chance


@dataclass(frozen=True)
class DecoderResult:
    """One decoder: what it has learned in its time, over the held-out songs, and its output for the first of them.

    weights: how many its decoder has; si_sdr: dB; mr_stft: multi-resolution STFT distance; output: (1, samples).
    """

    name: str
    weights: int
    steps: int
    minutes: float
    si_sdr: float
    mr_stft: float
    output: FloatArray


@dataclass(frozen=True)
class Comparison:
    """All decoders, and the song whose outputs they hold: its name and audio, (1, samples)."""

    song: str
    rate: int
    original: FloatArray
    results: tuple[DecoderResult, ...]


def configurations(
    model: str, minutes: float | None, steps: int | None, loss: str, seed: int, crop: int = 8192
) -> dict[str, TrainConfig]:
    """A training of a preset with each of the decoders, by name. Raises ModelError, TrainingError."""
    net = replace(preset(model), shortcut_frames=0)
    nets = {name: with_decoder(net, name) for name in DECODERS}
    return {
        name: TrainConfig(
            net=net, minutes=minutes, steps=steps, loss=loss, seed=seed, crop=crop, validate_every=1_000_000
        )
        for name, net in nets.items()
    }


def unfinished(run: Path, config: TrainConfig) -> bool:
    """Whether a run still has to be trained. Raises TrainingError where its folder holds another one."""
    if not (run / CHECKPOINT_FILE).exists():
        return True
    checkpoint = Checkpoint.load(run)
    if replace(checkpoint.config, minutes=config.minutes, steps=config.steps) != config:
        raise TrainingError(f"{run} holds another training; choose another --out, or remove it")
    in_time = config.minutes is None or checkpoint.seconds < 60 * config.minutes
    return in_time and (config.steps is None or checkpoint.step < config.steps)


def train_all(
    configs: dict[str, TrainConfig],
    material: Survey,
    out: Path,
    report: Callable[[str, Report], None] = lambda *_: None,
    held_out: Survey | None = None,
) -> bool:
    """Train what is not trained yet, in out/runs/NAME: whether all are, or it was interrupted.

    held_out: what is measured on, instead of a tenth of the material. Raises TrainingError.
    """
    stop = threading.Event()
    left = {name: config for name, config in configs.items() if unfinished(out / "runs" / name, config)}
    for name, config in left.items():
        run = out / "runs" / name
        train(
            config,
            material,
            run,
            lambda state, name=name: report(name, state),  # type: ignore[misc]
            resume=(run / CHECKPOINT_FILE).exists(),
            held_out=held_out,
            stop=stop,
        )
        if stop.is_set():
            return False
    return True


@torch.no_grad()
def measure(name: str, run: Path, held: HeldOut, alone: bool = False) -> DecoderResult:
    """The averaged network of a run on the held-out songs. alone: its decoder gets the latents and nothing else."""
    checkpoint = Checkpoint.load(run)
    net = Autoencoder(checkpoint.config.net)
    try:
        net.load_state_dict(checkpoint.average)
    except RuntimeError:
        raise TrainingError(f"The checkpoint in {run} does not fit its own configuration; remove it") from None
    net.eval()
    distance = spectral_distance()
    pieces = [held[number][1][None] for number in range(len(held))]
    outputs = [net.decoder(net.encoder(p))[..., : p.shape[-1]] if alone else net(p) for p in pieces]
    si_sdr, mr_stft = np.mean([quality(*pair, distance) for pair in zip(outputs, pieces, strict=True)], axis=0)
    weights = sum(weight.numel() for weight in net.decoder.parameters())
    minutes = checkpoint.seconds / 60
    return DecoderResult(name, weights, checkpoint.step, minutes, float(si_sdr), float(mr_stft), outputs[0][0].numpy())


def compare(
    configs: dict[str, TrainConfig],
    material: Survey,
    out: Path,
    report: Callable[[str, Report], None] = lambda *_: None,
) -> Comparison | None:
    """Train and measure; None if it was interrupted: the same again goes on. Raises TrainingError."""
    if not train_all(configs, material, out, report):
        return None
    held = HeldOut(split(material.tracks, material.folder)[1])
    results: list[DecoderResult] = []
    for name, config in configs.items():
        results.append(measure(name, out / "runs" / name, held))
        if config.net.placed:
            results.append(measure(name + ALONE, out / "runs" / name, held, alone=True))
    name, original = held[0]
    return Comparison(name, material.rate, original.numpy(), tuple(results))
