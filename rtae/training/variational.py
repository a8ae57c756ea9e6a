"""What a variational autoencoder adds to training: the noise, the KL divergence, and figures that show a collapse."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtae.training.config import TrainConfig

FloatArray = NDArray[np.float64]
NOISE_STREAM = 1  # beside that of the examples, which starts from (seed, example)
ACTIVE_VARIANCE = 0.01  # of the means over the data; Burda, Grosse and Salakhutdinov 2016, section 5.2
FAINT_NATS = 0.1  # a dimension that carries less is about to be ignored
FAINT_SHARE = 0.25
SHARE_OF_VARIANCE = 0.95
FIRST_WEIGHT = 1e-3  # of the KL weight, at the start of the warm-up


def draw(mean: Tensor, log_variance: Tensor, seed: int, step: int) -> Tensor:
    """A latent from its distribution; the noise is a function of (seed, step), so that a resumed run repeats it."""
    noise = np.random.default_rng([seed, step, NOISE_STREAM]).standard_normal(mean.shape, np.float32)
    return mean + torch.exp(0.5 * log_variance) * torch.from_numpy(noise)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of each latent value from the standard normal distribution, in nats (Kingma and Welling 2014)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def kl_weight(config: TrainConfig, progress: float) -> float:
    """The weight of the KL divergence at this share of the budget: it rises log-linearly from a thousandth.

    >>> from rtae.nets.config import VAE
    >>> [kl_weight(TrainConfig(VAE, steps=1, kl_weight=0.01, kl_warmup=0.2), p) for p in (0.2, 1)]
    [0.01, 0.01]
    """
    if config.loss == "paper-vae":
        return 1.0
    done = min(1.0, progress / config.kl_warmup) if config.kl_warmup else 1.0
    return float(config.kl_weight * FIRST_WEIGHT ** (1 - done))


def warning(kl: FloatArray) -> str:
    """A sentence where too many dimensions carry next to nothing, or nothing. kl: nats per frame of each dimension."""
    faint = int((kl < FAINT_NATS).sum())
    if faint <= FAINT_SHARE * len(kl):
        return ""
    return (
        f"{faint} of {len(kl)} latent dimensions carry less than {FAINT_NATS} nats, which is how a collapse "
        "begins: start again with a lower --kl-weight if there are more at the next validation"
    )


@dataclass
class LatentFigures:
    """Statistics of the distributions of latents over held-out music, dimension by dimension."""

    frames: int = 0
    kl_sum: FloatArray = field(default_factory=lambda: np.zeros(()))
    sums: FloatArray = field(default_factory=lambda: np.zeros(()))
    products: FloatArray = field(default_factory=lambda: np.zeros(()))

    def add(self, mean: Tensor, log_variance: Tensor) -> None:
        """One track, (1, latent_dim, frames) twice."""
        m = mean[0].double().numpy()
        self.frames += m.shape[1]
        self.kl_sum = self.kl_sum + divergence(mean, log_variance)[0].double().sum(dim=1).numpy()
        self.sums = self.sums + m.sum(axis=1)
        self.products = self.products + m @ m.T

    @property
    def kl(self) -> FloatArray:
        """Nats per frame that each dimension carries."""
        return self.kl_sum / max(self.frames, 1)

    @property
    def covariance(self) -> FloatArray:
        """Of the means."""
        mean = self.sums / max(self.frames, 1)
        return self.products / max(self.frames, 1) - np.outer(mean, mean)

    @property
    def active(self) -> int:
        """Dimensions whose means move with the music."""
        return int((np.diag(self.covariance) > ACTIVE_VARIANCE).sum())

    @property
    def dimensions_95(self) -> int:
        """Principal components that hold 95 % of the variance of the means; 0 if nothing moves."""
        variances = np.maximum(np.linalg.eigvalsh(self.covariance)[::-1], 0)
        if not variances.sum() > 0:
            return 0
        return int(np.searchsorted(np.cumsum(variances) / variances.sum(), SHARE_OF_VARIANCE) + 1)

    def warning(self) -> str:
        """A sentence where dimensions are about to be ignored, which is how a collapse begins; or nothing."""
        return warning(self.kl)

    def columns(self) -> dict[str, float]:
        """The figures by the names of their columns in metrics.csv."""
        named = {"kl": float(self.kl.sum()), "active_dimensions": self.active, "dimensions_95": self.dimensions_95}
        return named | {f"kl_{number}": float(value) for number, value in enumerate(self.kl, 1)}
