"""What training minimises and what validation reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from auraloss.freq import MultiResolutionSTFTLoss
from torch import Tensor, nn
from torch.nn import functional

from rtae.training.config import TrainConfig

Term = Callable[[Tensor, Tensor], Tensor]  # (batch, 1, samples) of output and target -> a scalar
FFT_SIZES = (2048, 1024, 512, 256, 128, 64)
MAGNITUDE_FLOOR = 1e-3
POWER_FLOOR = 1e-9  # -90 dBFS: below it neither signal nor error counts
UNKNOWN_FLOOR = torch.zeros(1)  # of songs that nothing is known of


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
    """How far the energies of output and target are apart in third-octave bands.

    Where a phase cannot be known, the waveform term asks for nothing and the logarithmic magnitudes for their median,
    both less than the music has: treble gets dull. What it has in sum, over a band and some time, can be matched. It is
    compared in stretches of 70 ms, in decades, of which the first decibel is free, so that it comes and goes with the
    music; and over the whole example by the divergence of Itakura and Saito (1968), which is least where the output has
    the mean of the energies that the latents leave possible. The least mean difference in decades would be at their
    median, and music whose treble cannot be foretold would lose most of it. Above 8.4 kHz energy of unknown phase costs
    as much waveform error as below, and is heard least: there the spectral terms are left to themselves.
    """

    FFT, HOP, FRAMES = 512, 128, 12
    BANDS_FROM, BANDS_TO = 4, 195  # bins: 172 Hz to 8.4 kHz at 22 050; below them a bin is wider than a band
    TOLERANCE = 0.1  # decades
    LARGEST_RATIO = 30.0  # of energies; beyond it the stretches tell the way

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        bins = self.FFT // 2 + 1
        edges = [self.BANDS_FROM]
        while edges[-1] < self.BANDS_TO:
            edges.append(max(edges[-1] + 1, round(edges[-1] * 2 ** (1 / 3))))
        bands = torch.zeros(len(edges) - 1, bins)
        for row, low, high in zip(bands, edges, edges[1:], strict=False):
            row[low:high] = 1
        self.register_buffer("window", torch.hann_window(self.FFT))
        self.register_buffer("bands", bands)

    def energies(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, bands, stretches), the mean power in each."""
        power = power_spectrum(audio, self.window, self.HOP) / self.FFT**2
        return functional.avg_pool1d(self.bands @ power, self.FRAMES, self.FRAMES // 2)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, 1, samples) twice -> a scalar."""
        ours, theirs = self.energies(output), self.energies(target)
        decades = torch.log10((ours + POWER_FLOOR) / (theirs + POWER_FLOOR)).abs()
        ratio = (theirs.mean(dim=-1) + POWER_FLOOR) / (ours.mean(dim=-1) + POWER_FLOOR)
        ratio = ratio.clamp_max(self.LARGEST_RATIO)
        return (decades - self.TOLERANCE).clamp_min(0).mean() + (ratio - ratio.log() - 1).mean()


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


class BelowLinear(nn.Module):
    """Decades by which the waveform error exceeds that of the best linear code of the model's size, beyond a tolerance.

    All that a network adds above the band edge of its linear code costs waveform error, as long as its phase is not
    that of the music. This says how much may be spent: nothing counts while an example is as exact as the linear code,
    less the tolerance, and everything after that. What is asked for is that of a song, of which a loud stretch makes
    more than a soft one: examples count by what the linear code leaves of them, next to what it leaves of their song.
    """

    START = 512  # samples: the first ones have no past to be told from, which the linear code does not need
    LARGEST_SHARE = 4.0  # of one example, next to the mean of its song: the steps of fewer would decide the rest

    basis: Tensor

    def __init__(self, basis: Tensor, tolerance_db: float = 0.0) -> None:
        """basis: (latent_dim, stride), as of `rtae.nets.linear.LinearCode`."""
        super().__init__()
        self.register_buffer("basis", basis)
        self.tolerance = tolerance_db / 10

    def linear(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> the whole frames of it, through the linear code."""
        frames = audio.unfold(-1, self.basis.shape[1], self.basis.shape[1])
        return (frames @ self.basis.T @ self.basis).flatten(-2)

    def forward(self, output: Tensor, target: Tensor, song_floor: Tensor = UNKNOWN_FLOOR) -> Tensor:
        """(batch, 1, samples) twice -> a scalar.

        song_floor: (batch,), mean square of what the linear code leaves of the song that each is of; where it is 0, an
        example counts as much as its song.
        """
        linear = self.linear(target)
        heard = slice(self.START, linear.shape[-1])
        floor = (linear - target[..., : linear.shape[-1]])[..., heard].square().mean(dim=-1)
        error = (output - target)[..., heard].square().mean(dim=-1)
        decades = torch.log10((error + POWER_FLOOR) / (floor + POWER_FLOOR))
        beyond = (decades - self.tolerance).clamp_min(0)
        share = (floor + POWER_FLOOR) / (song_floor[:, None] + POWER_FLOOR)
        share = torch.where(song_floor[:, None] > 0, share.clamp_max(self.LARGEST_SHARE), 1.0)
        return (share * beyond).mean()


class TrainingLoss(nn.Module):
    """The loss of a configuration: "spectral", "mse" or "paper-vae", without the KL divergence.

    basis: the linear code's, which the floor of the waveform's accuracy is computed with. Without it there is no floor;
    nor is there beside the paper's losses, or for variational networks, which the draws of their latents keep away
    from it.
    """

    def __init__(self, config: TrainConfig, basis: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.spectral = spectral_distance() if config.loss == "spectral" else None
        self.energy = BandEnergy()
        self.onsets = OnsetStrength()
        floored = config.loss == "spectral" and not config.net.variational
        self.below = BelowLinear(basis, config.floor_db) if floored and basis is not None else None

    def terms(self, song_floor: Tensor = UNKNOWN_FLOOR) -> dict[str, tuple[float, Term]]:
        """What "spectral" is the sum of, with the weights of what counts. song_floor: see `BelowLinear`."""
        config = self.config
        below = partial(self.below, song_floor=song_floor) if self.below is not None else None
        known: dict[str, tuple[float, Term | None]] = {
            "spectral": (1.0, self.spectral),
            "waveform": (config.waveform_weight, waveform_error),
            "energy": (config.energy_weight, self.energy),
            "onset": (config.onset_weight, self.onsets),
            "floor": (config.floor_weight, below),
        }
        return {name: (weight, term) for name, (weight, term) in known.items() if weight and term is not None}

    def forward(self, output: Tensor, target: Tensor, song_floor: Tensor = UNKNOWN_FLOOR) -> Tensor:
        """(batch, 1, samples) twice -> a scalar. song_floor: see `BelowLinear`."""
        if self.spectral is None:
            squares = (output - target).square()
            return squares.sum() if self.config.loss == "paper-vae" else squares.mean()
        parts = [weight * term(output, target) for weight, term in self.terms(song_floor).values()]
        return sum(parts[1:], parts[0])


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
