"""What training minimises and what validation reports."""

from __future__ import annotations

import torch
from auraloss.freq import MultiResolutionSTFTLoss
from torch import Tensor, nn
from torch.nn import functional

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


class BandEnergy(nn.Module):
    """Decades between the energies of output and target in third-octave bands, beyond a tolerance.

    Where a phase cannot be known, the waveform term asks for nothing and the logarithmic magnitudes for their median,
    both less than the music has: treble gets dull. What it has in sum, over a band and some time, can be matched. It is
    compared in stretches of 70 ms, so that it comes and goes with the music, and over the whole example, in which the
    loud stretches decide, as they do for the ear. The first 2 dB are free: an energy of unknown phase costs waveform
    error, and nobody hears these 2 dB.
    """

    FFT, HOP, FRAMES = 512, 128, 12
    BANDS_FROM = 4  # bins: 172 Hz at 22 050; below it a bin is wider than a band
    TOLERANCE = 0.2  # decades

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = self.FFT // 2 + 1
        edges = [self.BANDS_FROM]
        while edges[-1] < bins:
            edges.append(min(bins, max(edges[-1] + 1, round(edges[-1] * 2 ** (1 / 3)))))
        bands = torch.zeros(len(edges) - 1, bins)
        for row, low, high in zip(bands, edges, edges[1:], strict=False):
            row[low:high] = 1
        self.register_buffer("window", torch.hann_window(self.FFT))
        self.register_buffer("bands", bands)

    def energies(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, bands, stretches), the mean power in each."""
        spectrum = torch.stft(audio[:, 0], self.FFT, self.HOP, window=self.window, center=False, return_complex=True)
        power = (spectrum.real.square() + spectrum.imag.square()) / self.FFT**2
        return functional.avg_pool1d(self.bands @ power, self.FRAMES, self.FRAMES // 2)

    def beyond(self, output: Tensor, target: Tensor) -> Tensor:
        """Energies of one shape -> a scalar; -1 and 1 decade count alike."""
        decades = torch.log10((output + POWER_FLOOR) / (target + POWER_FLOOR)).abs()
        return (decades - self.TOLERANCE).clamp_min(0).mean()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        ours, theirs = self.energies(output), self.energies(target)
        return self.beyond(ours, theirs) + self.beyond(ours.mean(dim=-1), theirs.mean(dim=-1))


class TrainingLoss(nn.Module):
    """The loss of a configuration: "spectral", "mse" or "paper-vae" (see `TrainConfig`), without the KL divergence."""

    def __init__(self, kind: str, waveform_weight: float, energy_weight: float = 0.0) -> None:
        super().__init__()
        self.spectral = spectral_distance() if kind == "spectral" else None
        self.sums = kind == "paper-vae"
        self.waveform_weight = waveform_weight
        self.energy_weight = energy_weight
        self.energy = BandEnergy()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        if self.spectral is None:
            squares = (output - target).square()
            return squares.sum() if self.sums else squares.mean()
        loss: Tensor = self.spectral(output, target) + self.waveform_weight * waveform_error(output, target)
        return loss + self.energy_weight * self.energy(output, target) if self.energy_weight else loss


def si_sdr(output: Tensor, target: Tensor) -> Tensor:
    """Decibels between target and error, for the scale of the target that fits best (Le Roux et al. 2019), (..., n)."""
    tiny = torch.finfo(output.dtype).eps
    scale = ((output * target).sum(-1, keepdim=True) + tiny) / (target.square().sum(-1, keepdim=True) + tiny)
    wanted = scale * target
    return 10 * torch.log10((wanted.square().sum(-1) + tiny) / ((wanted - output).square().sum(-1) + tiny))


@torch.no_grad()
def quality(output: Tensor, target: Tensor, distance: MultiResolutionSTFTLoss) -> tuple[float, float]:
    """SI-SDR in dB and multi-resolution STFT distance of one track, (1, 1, samples) twice."""
    return float(si_sdr(output, target)), float(distance(output, target))
