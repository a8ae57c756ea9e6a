"""What each latent dimension of a variational autoencoder carries, on songs: whether it learned, or has collapsed.

Needs the extra `train`, and the checkpoint of a training, since a model that is played has no variances. A checkout
has those of the shipped models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rtae.errors import TrainingError
from rtae.nets.autoencoder import Autoencoder
from rtae.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from rtae.training.data import Track
from rtae.training.losses import quality, spectral_distance
from rtae.training.run import HeldOut
from rtae.training.variational import ACTIVE_VARIANCE, LatentFigures


@dataclass(frozen=True)
class Carried:
    """nats: per frame, by dimension; deviations: of the means, by dimension; active: how many of them move.

    dimensions_95: principal components with 95 % of the variance of the means; si_sdr: dB; warning: that a collapse
    begins, or nothing.
    """

    songs: int
    nats: tuple[float, ...]
    deviations: tuple[float, ...]
    active: int
    dimensions_95: int
    si_sdr: float
    mr_stft: float
    warning: str

    @property
    def words(self) -> str:
        """The figures in a sentence."""
        count = len(self.nats)
        half = "at least half" if 2 * self.active >= count else "less than half"
        return (
            f"{self.active} of {count} dimensions move ({half}; a variance above {ACTIVE_VARIANCE:g}), and carry "
            f"{sum(self.nats):.1f} nats per frame, {min(self.nats):.2f} to {max(self.nats):.2f} each; "
            f"{self.dimensions_95} components hold 95 % of the variance. SI-SDR {self.si_sdr:.2f} dB over {self.songs} "
            f"songs, STFT distance {self.mr_stft:.3f}. "
            + (f"Warning: {self.warning}." if self.warning else "No warning.")
        )


def load_variational(folder: Path) -> Autoencoder:
    """The averaged network of a run, or of a model that holds its checkpoint. Raises TrainingError."""
    if folder.is_dir() and not (folder / CHECKPOINT_FILE).exists():
        raise TrainingError(
            f"{folder} has no {CHECKPOINT_FILE}: give the folder of a training run, or a model with one"
        )
    checkpoint = Checkpoint.load(folder)
    if not checkpoint.config.net.variational:
        raise TrainingError(f"{folder} is not variational: its latents have no variances; train one with --model vae")
    net = Autoencoder(checkpoint.config.net)
    try:
        net.load_state_dict(checkpoint.average)
    except RuntimeError:
        raise TrainingError(f"The checkpoint in {folder} does not fit its own configuration") from None
    return net.eval()


@torch.no_grad()
def carried(net: Autoencoder, tracks: list[Track]) -> Carried:
    """Measure a variational network on the middle of each track."""
    figures, distance, found = LatentFigures(), spectral_distance(), []
    for _, audio in (HeldOut(tracks)[number] for number in range(len(tracks))):
        piece = audio[None]
        mean, log_variance = net.encoder.distribution(piece)
        figures.add(mean, log_variance)
        found.append(quality(net.decoder(mean)[..., : piece.shape[-1]], piece, distance))
    si_sdr, mr_stft = np.mean(found, axis=0)
    deviations = np.sqrt(np.maximum(np.diag(figures.covariance), 0))
    return Carried(
        len(tracks),
        tuple(figures.kl.tolist()),
        tuple(deviations.tolist()),
        figures.active,
        figures.dimensions_95,
        float(si_sdr),
        float(mr_stft),
        figures.warning(),
    )
