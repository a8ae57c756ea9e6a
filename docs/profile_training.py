"""Where the time of a training step goes, and what batches and crops cost, in time of a processor.

Run from the project's folder with the extra `train` installed: python docs/profile_training.py FOLDER [PRESET ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
import soundfile as sf
import torch

from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import PRESETS
from rtae.training.config import TrainConfig
from rtae.training.data import Crops, survey
from rtae.training.losses import TrainingLoss
from rtae.training.optimizer import SOAP_EVERY, build_optimizer

SIZES = ((4, 8192), (1, 32_768), (16, 8192), (16, 32_768))  # batch, crop
TRIES = 12


def milliseconds(action: Callable[[], object]) -> float:
    """The median of some tries, of which the first does not count."""
    times = []
    for _ in range(TRIES):
        begun = process_time()
        action()
        times.append(1000 * (process_time() - begun))
    return float(np.median(times[1:]))


def step(preset: str, examples: torch.Tensor) -> tuple[float, ...]:
    """Milliseconds of network, loss, backward, SOAP and Adam."""
    config = TrainConfig(PRESETS[preset], steps=1, energy_weight=1.0, onset_weight=1.0, floor_weight=1.0)
    basis = torch.eye(config.net.stride)[: config.net.latent_dim]  # as costly as any other
    net, loss_of = Autoencoder(config.net), TrainingLoss(config, basis)
    soap, adam = (build_optimizer(replace(config, optimizer=name), net) for name in ("soap", "adam"))
    output = net(examples)
    forward = milliseconds(lambda: net(examples))
    loss = milliseconds(lambda: loss_of(output, examples))
    both = milliseconds(lambda: loss_of(net(examples), examples).backward())
    soap_ten = milliseconds(lambda: [soap.step() for _ in range(SOAP_EVERY)])  # one of them finds new axes
    return forward, loss, both - forward - loss, soap_ten / SOAP_EVERY, milliseconds(adam.step)


def main(folder: Path, presets: list[str]) -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    rate = PRESETS[presets[0]].sample_rate
    tracks = survey(folder, rate, max(crop for _, crop in SIZES)).tracks
    crops = {(batch, crop): Crops(tracks, crop, batch, 0, 12.0) for batch, crop in SIZES}
    longest = max(tracks, key=lambda track: track.samples)
    mapped = milliseconds(lambda: [crops[SIZES[0]][n] for n in range(SIZES[0][0])])
    decoded = milliseconds(lambda: [sf.read(longest.path, dtype="float32") for _ in range(SIZES[0][0])])
    print(f"four examples: {mapped:.2f} ms from the decoded copy, {decoded:.0f} ms if each decodes the longest file")
    print("milliseconds of a step: network, loss, backward, SOAP (or: Adam); all for a second of music")
    for preset in presets:
        for (batch, crop), found in crops.items():
            parts = step(preset, torch.stack([found[n].audio for n in range(batch)]))
            row = "".join(f"{part:10.1f}" for part in parts)
            print(f"{preset:6}{batch:4} x {crop:6}{row}{sum(parts[:4]) * rate / (batch * crop):14.0f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["large", "small", "tiny"])
