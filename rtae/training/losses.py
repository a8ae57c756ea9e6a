"""What training minimises and what validation reports."""

from __future__ import annotations

import math

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


def power_spectrum(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """(batch, 1, samples) -> (batch, bins, frames), of frames that lie within the audio; windows of that length."""
    spectrum = torch.stft(audio[:, 0], len(window), hop, window=window, center=False, return_complex=True)
    return spectrum.real.square() + spectrum.imag.square()


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
        power = power_spectrum(audio, self.window, self.HOP) / self.FFT**2
        return functional.avg_pool1d(self.bands @ power, self.FRAMES, self.FRAMES // 2)

    def beyond(self, output: Tensor, target: Tensor) -> Tensor:
        """Energies of one shape -> a scalar; -1 and 1 decade count alike."""
        decades = torch.log10((output + POWER_FLOOR) / (target + POWER_FLOOR)).abs()
        return (decades - self.TOLERANCE).clamp_min(0).mean()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        ours, theirs = self.energies(output), self.energies(target)
        return self.beyond(ours, theirs) + self.beyond(ours.mean(dim=-1), theirs.mean(dim=-1))


def mel_filters(bins: int, bands: int, rate: float) -> Tensor:
    """(bands, bins): triangles that are evenly spaced on Slaney's mel scale, linear up to 1 kHz, from 0 to rate / 2."""
    knee, per_hertz, per_e_fold = 1000.0, 3 / 200, 27 / math.log(6.4)
    top = knee * per_hertz + per_e_fold * math.log(rate / 2 / knee)
    mels = torch.linspace(0, top, bands + 2)
    above = (mels - knee * per_hertz).clamp_min(0)
    edges = torch.where(above > 0, knee * torch.exp(above / per_e_fold), mels / per_hertz)[:, None]
    bin_hz = torch.linspace(0, rate / 2, bins)
    rising = (bin_hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bin_hz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0)


class OnsetStrength(nn.Module):
    """Decades between the onset strengths of output and target: what a beat tracker goes by.

    The strength is how much a band has risen within LAG frames (23 ms), on a logarithmic scale, in the mean over
    bands. It is compared over all bands and in groups of them. A treble that does not rise as sharply as the music's
    costs little in a spectrum and loses a beat.
    """

    FFT, HOP, LAG = 2048, 256, 2
    BANDS, GROUPS = 128, 8
    RANGE = 1e-8  # below the loudest band, as power: what is softer does not count

    window: Tensor
    filters: Tensor

    def __init__(self, rate: float = 22_050.0) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.FFT))
        self.register_buffer("filters", mel_filters(self.FFT // 2 + 1, self.BANDS, rate))

    def power(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, BANDS, frames)."""
        return self.filters @ power_spectrum(audio, self.window, self.HOP)

    def strength(self, power: Tensor, floor: Tensor) -> Tensor:
        """(batch, BANDS, frames) -> (batch, GROUPS, frames - LAG)."""
        level = torch.log10(power + floor)
        rise = (level[..., self.LAG :] - level[..., : -self.LAG]).clamp_min(0)
        return rise.unflatten(1, (self.GROUPS, -1)).mean(dim=2)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        wanted = self.power(target)
        floor = self.RANGE * wanted.amax(dim=(1, 2), keepdim=True) + POWER_FLOOR
        difference = self.strength(self.power(output), floor) - self.strength(wanted, floor)
        return difference.abs().mean() + difference.mean(dim=1).abs().mean()


class TrainingLoss(nn.Module):
    """The loss of a configuration: "spectral", "mse" or "paper-vae" (see `TrainConfig`), without the KL divergence."""

    def __init__(
        self, kind: str, waveform_weight: float, energy_weight: float = 0.0, onset_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.spectral = spectral_distance() if kind == "spectral" else None
        self.sums = kind == "paper-vae"
        self.waveform_weight = waveform_weight
        self.energy_weight = energy_weight
        self.onset_weight = onset_weight
        self.energy = BandEnergy()
        self.onsets = OnsetStrength()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        if self.spectral is None:
            squares = (output - target).square()
            return squares.sum() if self.sums else squares.mean()
        loss: Tensor = self.spectral(output, target) + self.waveform_weight * waveform_error(output, target)
        if self.energy_weight:
            loss = loss + self.energy_weight * self.energy(output, target)
        if self.onset_weight:
            loss = loss + self.onset_weight * self.onsets(output, target)
        return loss


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
