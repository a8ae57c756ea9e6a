"""What an adversarial end of a training would add: discriminators that look at spectrograms, and their features.

From a model's checkpoint the decoder goes on for a while, its encoder as it is, in three ways: by the losses of the
training alone, with features of discriminators matched, and with the discriminators to be deceived as well (hinge
loss). All see the same examples; the learning rate falls along a cosine, and the average of the decoder's weights is
what is measured, on the middle of each song of the second folder. Run from the project's folder with the extras
`train`, `analysis` and `visqol` installed:
python docs/try_adversarial.py TRAIN_FOLDER OTHER_FOLDER MODEL_FOLDER [STEPS]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rtae.export.exporter import load_network
from rtae.metrics import METRICS
from rtae.nets.autoencoder import Autoencoder
from rtae.training.checkpoint import Checkpoint
from rtae.training.config import TrainConfig
from rtae.training.data import Crops, middle, survey
from rtae.training.losses import TrainingLoss

STEPS = 3000
FFTS = (1024, 512, 256)
CHANNELS = 24
RATE, WARMUP = 2e-4, 300  # peak for the decoder, constant for discriminators; steps in which only these learn
WAYS = {"training's losses": (0.0, 0.0), "and features": (0.0, 1.0), "and adversarial": (0.1, 1.0)}
FIGURES = ("si_sdr", "mr_stft", "log_mel", "visqol", "beat_f", "onset_f")
OCTAVES = ("1k-2k", "2k-4k", "4k-8k")


class Discriminator(nn.Module):
    """Convolutions over a logarithmic spectrogram, after EnCodec's (Defossez et al. 2022), small."""

    def __init__(self, fft: int) -> None:
        super().__init__()
        self.fft = fft
        self.register_buffer("window", torch.hann_window(fft))
        sizes = (1, CHANNELS, CHANNELS, CHANNELS)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(a, b, (7, 3), (3, 1), (3, 1))) for a, b in pairwise(sizes)
        )
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(CHANNELS, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(batch, 1, samples) -> how real each place is, and the features of each layer."""
        spectrum = torch.stft(audio[:, 0], self.fft, self.fft // 4, window=self.window, return_complex=True)
        x = torch.log10(spectrum.real.square() + spectrum.imag.square() + 1e-4)[:, None]
        features = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.last(x), features


def batches(crops: Crops, size: int) -> Iterator[Tensor]:
    """(size, 1, crop) each."""
    for first in range(0, len(crops) - size + 1, size):
        yield torch.stack([crops[first + n].audio for n in range(size)])


def matched(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Features, relative to what they are."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([(a - b).abs().mean() / a.abs().mean().clamp_min(1e-6) for a, b in pairs]).mean()


def go_on(start: Checkpoint, crops: Crops, adversarial: float, features: float) -> Autoencoder:
    """The network, averaged, after the steps that the crops are enough for, less WARMUP."""
    config: TrainConfig = start.config
    torch.manual_seed(0)
    net, judges = Autoencoder(config.net), nn.ModuleList(Discriminator(fft) for fft in FFTS)
    net.load_state_dict(start.average)
    net.eval()  # with batch norm as it will be exported
    loss_of = TrainingLoss(config)
    ours = torch.optim.Adam(net.decoder.parameters(), RATE, betas=(0.8, 0.99))
    theirs = torch.optim.Adam(judges.parameters(), RATE, betas=(0.8, 0.99))
    average = AveragedModel(net.decoder, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(ours, len(crops) // config.batch - WARMUP)
    for step, real in enumerate(batches(crops, config.batch)):
        with torch.no_grad():
            z = net.encoder(real)
        fake = net.decoder(z)[..., : real.shape[-1]]
        if adversarial or features:
            verdicts = [(judge(real)[0], judge(fake.detach())[0]) for judge in judges]
            loss = sum((functional.relu(1 - a) + functional.relu(1 + b)).mean() for a, b in verdicts)
            theirs.zero_grad()
            loss.backward()
            theirs.step()
        if step < WARMUP:
            continue
        loss = loss_of(fake, real)
        if adversarial or features:
            for judge in judges:
                with torch.no_grad():
                    known = judge(real)[1]
                verdict, seen = judge(fake)
                loss = loss + (features * matched(known, seen) - adversarial * verdict.mean()) / len(judges)
        ours.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.decoder.parameters(), config.clip_norm)
        ours.step()
        falling.step()
        average.update_parameters(net.decoder)
    net.decoder = average.module
    return net


@torch.no_grad()
def figures(net: Autoencoder, songs: list[np.ndarray]) -> list[float]:
    """Means over the songs, of FIGURES and then of OCTAVES."""
    rate, rows = net.config.sample_rate, []
    for song in songs:
        output = net(torch.from_numpy(song)[None, None])[0, 0].numpy()
        found = [METRICS[name].measure(song, output, rate) for name in FIGURES]
        bands = METRICS["octaves"].measure(song, output, rate)
        rows.append([np.nan if x is None else x for x in (*found, *map(bands.get, OCTAVES))])
    return np.nanmean(np.array(rows, float), axis=0).tolist()


def main(train: Path, other: Path, model: Path, steps: int) -> None:
    """Go on in each way and print a row."""
    torch.set_num_threads(1)
    start, before = load_network(model)
    config, rate = start.config, start.config.net.sample_rate
    tracks = survey(train, rate, config.crop).tracks
    songs = [middle(track, 30) for track in survey(other, rate, config.crop).tracks]
    print(f"{'':20}" + "".join(f"{name:>9}" for name in (*FIGURES, *OCTAVES)))
    print(f"{'before':20}" + "".join(f"{x:9.3f}" for x in figures(before, songs)), flush=True)
    for name, weights in WAYS.items():
        crops = Crops(tracks, config.crop, (WARMUP + steps) * config.batch, 1, config.gain_db)
        found = figures(go_on(start, crops, *weights), songs)
        print(f"{name:20}" + "".join(f"{x:9.3f}" for x in found), flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]) if len(sys.argv) > 4 else STEPS)
