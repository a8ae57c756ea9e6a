"""What the optimiser, and small batches of short crops cut from decoded audio, are worth: ten minutes of training.

`rtae train` as it is; with Adam; with large batches of long crops besides; and with each example decoded from its file
too. Measured is how many steps that makes and how good the model is on the songs of the second folder. Run from the
project's folder with the extra `train` installed, one way at a time or several at once, each has one thread:
python docs/compare_loops.py TRAIN_FOLDER OTHER_FOLDER PRESET RUNS_FOLDER {soap,small,large,decoding} [MINUTES]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray

from rtae import cli_train
from rtae.nets.config import PRESETS
from rtae.training.config import TrainConfig
from rtae.training.data import SCALE, Crops, Track, survey
from rtae.training.run import train

WEIGHTS = ("waveform_weight", "energy_weight", "onset_weight", "floor_weight", "floor_db")
WAYS = {  # optimiser, batch, crop
    "soap": ("soap", 4, 8192),
    "small": ("adam", 4, 8192),
    "large": ("adam", 16, 16_384),
    "decoding": ("adam", 16, 16_384),
}


class Decoded:
    """A file that is decoded whole for each stretch of it; of the model's rate and one channel."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        """As the copy has it."""
        audio: NDArray[np.float32] = sf.read(self.path, dtype="float32")[0][part] * SCALE
        return audio


class Decoding(Crops):
    """The same examples, without the decoded copy."""

    def __init__(self, tracks: Sequence[Track], *args: object) -> None:
        super().__init__(tracks, *args)  # type: ignore[arg-type]
        self.audio = [Decoded(track.path) for track in tracks]  # type: ignore[misc]


def main(folder: Path, other: Path, preset: str, runs: Path, way: str, minutes: float) -> None:
    """Train in one way and print its row."""
    torch.set_num_threads(1)
    optimizer, batch, crop = WAYS[way]
    weights = {name: signature(cli_train.train).parameters[name].default for name in WEIGHTS}
    config = TrainConfig(
        PRESETS[preset],
        minutes=minutes,
        optimizer=optimizer,
        batch=batch,
        crop=crop,
        validate_every=1 << 40,
        **weights,
    )
    rate = config.net.sample_rate
    material, held_out = survey(folder, rate, crop), survey(other, rate, crop)
    with patch("rtae.training.run.Crops", Decoding if way == "decoding" else Crops):
        module = train(config, material, runs / way, held_out=held_out)
    si_sdr, mr_stft = (np.mean([getattr(found, name) for found in module.results]) for name in ("si_sdr", "mr_stft"))
    speed = module.step / minutes / 60
    print(f"{way}: {batch} x {crop}: {module.step} steps, {speed:.2f} a second, {si_sdr:.2f} dB, {mr_stft:.3f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), sys.argv[3], Path(sys.argv[4]), sys.argv[5], float((sys.argv[6:] or ["10"])[0]))
