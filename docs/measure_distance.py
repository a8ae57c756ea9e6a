"""Where the multi-resolution STFT distance of a model lies: by size of the windows and by band.

For each size the spectral convergence and, in bands, the mean difference of logarithmic magnitudes (in nepers), without
and with its sign; then each band's energy against the song's (dB) and its correlation with it. Two noises of equal
spectrum that have nothing to do with each other differ by ln 2 = 0.69 on average. Means over the middle ten seconds of
the songs. Run from the project's folder with the extra `train` installed:
python docs/measure_distance.py SONGS RUN
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from rtae.export.exporter import load_network
from rtae.training.data import survey
from rtae.training.losses import FFT_SIZES, MAGNITUDE_FLOOR
from rtae.training.run import HeldOut

EDGES = (0.0, 3000.0, 4000.0, 8000.0, math.inf)  # Hz


def in_bands(values: Tensor, rate: int) -> list[Tensor]:
    """(bins, ...), from 0 to rate / 2 -> those of each band."""
    frequencies = torch.linspace(0, rate / 2, len(values))
    return [values[(frequencies >= low) & (frequencies < high)] for low, high in pairwise(EDGES)]


def by_window(output: Tensor, target: Tensor, size: int, rate: int) -> list[float]:
    """(samples,) twice -> spectral convergence, then of each band the mean difference, then the mean with its sign."""
    window = torch.hann_window(size)
    ours, theirs = (
        torch.stft(audio, size, size // 4, window=window, return_complex=True).abs().clamp_min(MAGNITUDE_FLOOR)
        for audio in (output, target)
    )
    differences = in_bands(ours.log() - theirs.log(), rate)
    return [
        float((ours - theirs).norm() / theirs.norm()),
        *(float(difference.abs().mean()) for difference in differences),
        *(float(difference.mean()) for difference in differences),
    ]


def over_all(output: Tensor, target: Tensor, rate: int) -> list[float]:
    """(samples,) twice -> each band's energy against the target's, in dB, then its correlation with it."""
    pairs = list(zip(*(in_bands(torch.fft.rfft(audio), rate) for audio in (output, target)), strict=True))
    energies = [float(20 * torch.log10(ours.norm() / theirs.norm())) for ours, theirs in pairs]
    return energies + [
        float((ours * theirs.conj()).real.sum() / (ours.norm() * theirs.norm())) for ours, theirs in pairs
    ]


@torch.no_grad()
def main(songs: Path, run: Path) -> None:
    """Print both tables."""
    checkpoint, net = load_network(run)
    rate = checkpoint.config.net.sample_rate
    windows: dict[int, list[list[float]]] = {size: [] for size in FFT_SIZES}
    bands = []
    for _, target in HeldOut(survey(songs, rate, checkpoint.config.crop).tracks):
        pair = net(target[None])[0, 0], target[0]
        bands.append(over_all(*pair, rate))
        for size, rows in windows.items():
            rows.append(by_window(*pair, size, rate))
    edges = [f"{min(edge, rate / 2) / 1000:.0f}" for edge in EDGES]
    names = [f"{low}-{high}k" for low, high in pairwise(edges)]
    print(f"{'window':>8}{'convergence':>13}" + "".join(f"{name:>9}" for name in (*names, *names)))
    for size, rows in windows.items():
        mean = torch.tensor(rows).mean(dim=0)
        print(f"{size:8}{mean[0]:13.3f}" + "".join(f"{value:9.3f}" for value in mean[1:]))
    mean = torch.tensor(bands).mean(dim=0)
    print(f"{'energy, correlation':21}" + "".join(f"{value:9.3f}" for value in mean))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
