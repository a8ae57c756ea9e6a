"""Measures what a linear shortcut can do alone: a block code, and lapped ones that are as small and reach further.

    z[k] = analysis (x[k - frames + 1] ... x[k])        y[k] = synthesis (z[k - frames + 1 + ahead] ... z[k + ahead])

where x[k] is a frame of audio. The block code (one frame) is `LinearCode`; the lapped ones start there and both their
filterbanks are made to have the least squared error on the songs of the first folder. Printed are means over the tracks
of the second. Run from the project's folder with the extra `train` installed:
python docs/measure_shortcut.py TRAIN_FOLDER OTHER_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from rtae.metrics import si_sdr
from rtae.nets.config import PRESETS, NetConfig
from rtae.nets.linear import LinearCode
from rtae.training.data import survey

SECONDS = 10  # of each song, from its middle, to fit to and to measure on
KINDS = {"block": (1, 0), "lapped, 3 frames": (3, 0), "lapped, 2 frames, 1 ahead": (2, 1)}  # frames, frames ahead
STEPS = 300


def pieces(folder: Path, rate: int) -> list[np.ndarray]:
    """The middle of each song, (samples,)."""
    count = SECONDS * rate
    return [track.read(max(0, track.samples // 2 - count // 2), count) for track in survey(folder, rate, count).tracks]


def spans(piece: np.ndarray, stride: int, frames: int) -> np.ndarray:
    """All stretches of so many frames, a frame apart: (n, frames * stride)."""
    count = len(piece) // stride
    whole = np.concatenate([np.zeros((frames - 1) * stride, np.float32), piece[: count * stride]])
    return np.lib.stride_tricks.sliding_window_view(whole, frames * stride)[::stride]


def fit(songs: list[np.ndarray], net: NetConfig, frames: int, ahead: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Analysis (latent_dim, frames, stride) and synthesis (frames, stride, latent_dim), the oldest frame first."""
    basis = torch.from_numpy(LinearCode.fit(songs, net.stride, net.latent_dim).basis).double()
    analysis = torch.zeros(net.latent_dim, frames, net.stride, dtype=torch.float64)
    analysis[:, -1 - ahead] = basis
    synthesis = torch.zeros(frames, net.stride, net.latent_dim, dtype=torch.float64)
    synthesis[-1] = basis.T
    if frames == 1:
        return analysis, synthesis
    seen = 2 * frames - 1
    covariance = sum(s.T.astype(np.float64) @ s for s in (spans(song, net.stride, seen) for song in songs))
    c = torch.from_numpy(covariance / np.trace(covariance) * seen)
    wanted = torch.zeros(net.stride, seen, net.stride, dtype=torch.float64)
    wanted[:, seen - 1 - ahead] = torch.eye(net.stride)
    for weights in (analysis, synthesis):
        weights.requires_grad_(True)
    optimizer = torch.optim.LBFGS((analysis, synthesis), max_iter=STEPS, line_search_fn="strong_wolfe")

    def error() -> torch.Tensor:
        optimizer.zero_grad()
        through = sum(
            torch.nn.functional.pad(
                torch.einsum("sd,dft->sft", synthesis[place], analysis), (0, 0, place, seen - frames - place)
            )
            for place in range(frames)
        )
        miss = (through - wanted).reshape(net.stride, -1)
        loss = ((miss @ c) * miss).sum()
        loss.backward()
        return loss

    optimizer.step(error)
    return analysis.detach(), synthesis.detach()


def through(piece: np.ndarray, net: NetConfig, analysis: torch.Tensor, synthesis: torch.Tensor, ahead: int) -> float:
    """SI-SDR in dB of a piece through a code, without its first and last few frames."""
    frames, edge = synthesis.shape[0], 4 * net.stride
    z = spans(piece, net.stride, frames) @ analysis.reshape(net.latent_dim, -1).numpy().T
    padded = np.concatenate([np.zeros((frames - 1, net.latent_dim)), z])
    y = sum(padded[place : place + len(z)] @ synthesis[place].numpy().T for place in range(frames)).reshape(-1)
    output = y[ahead * net.stride :]
    target = piece[: len(output)]
    return si_sdr(target[edge:-edge], output[edge : len(target) - edge].astype(np.float32), net.sample_rate)


def main(train: Path, other: Path) -> None:
    """Fit and print a table."""
    torch.set_num_threads(1)
    nets = [PRESETS[name] for name in ("small", "tiny")]
    songs, tracks = pieces(train, nets[0].sample_rate), pieces(other, nets[0].sample_rate)
    print(f"fitted to {len(songs)} songs, SI-SDR in dB on {len(tracks)} others")
    for net in nets:
        for name, (frames, ahead) in KINDS.items():
            code = fit(songs, net, frames, ahead)
            figures = [through(track, net, *code, ahead) for track in tracks]
            print(f"{net.preset:6}{name:28}{np.mean(figures):6.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
