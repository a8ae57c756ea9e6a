"""What training minimises and what validation reports."""

from __future__ import annotations

import torch
from auraloss.freq import MultiResolutionSTFTLoss
from torch import Tensor, nn
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

FFT_SIZES = (2048, 1024, 512, 256, 128, 64)
MAGNITUDE_FLOOR = 1e-3
POWER_FLOOR = 1e-9  # -90 dBFS: below it neither signal nor error counts


def spectral_distance() -> MultiResolutionSTFTLoss:
    """Spectral convergence and log-magnitude L1 (Yamamoto et al. 2020), the mean over six sizes of hop n / 4."""
    return MultiResolutionSTFTLoss(
        fft_sizes=list(FFT_SIZES),
        hop_sizes=[n // 4 for n in FFT_SIZES],
        win_lengths=list(FFT_SIZES),
        eps=MAGNITUDE_FLOOR**2,
    )


def waveform_error(output: Tensor, target: Tensor) -> Tensor:
    """Decades of error energy over signal energy, per example (batch, 1, samples), then the mean: -2 is -20 dB.

    On a logarithmic scale a decibel weighs the same at 5 dB as at 60 dB, so one weight serves every model.
    """
    error = (output - target).square().mean(dim=-1) + POWER_FLOOR
    signal = target.square().mean(dim=-1) + POWER_FLOOR
    return torch.log10(error / signal).mean()


class TrainingLoss(nn.Module):
    """The loss of a configuration: "spectral" or "mse" (see `TrainConfig`)."""

    def __init__(self, kind: str, waveform_weight: float) -> None:
        super().__init__()
        self.spectral = spectral_distance() if kind == "spectral" else None
        self.waveform_weight = waveform_weight

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        if self.spectral is None:
            return (output - target).square().mean()
        return self.spectral(output, target) + self.waveform_weight * waveform_error(output, target)


@torch.no_grad()
def quality(output: Tensor, target: Tensor, distance: MultiResolutionSTFTLoss) -> tuple[float, float]:
    """SI-SDR in dB (Le Roux et al. 2019) and multi-resolution STFT distance of one track, (1, 1, samples) twice."""
    si_sdr = scale_invariant_signal_distortion_ratio(output, target)
    return float(si_sdr), float(distance(output, target))
