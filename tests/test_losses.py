import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rtae.nets.config import SMALL
from rtae.nets.linear import LinearCode
from rtae.training.config import TrainConfig
from rtae.training.losses import (
    BandEnergy,
    BelowLinear,
    OnsetStrength,
    TrainingLoss,
    mel_filters,
    waveform_error,
)

CROP = 4096
CONFIG = TrainConfig(SMALL, steps=1)


def test_the_energies_of_bands_are_compared():
    loss, noise = BandEnergy(), torch.Generator().manual_seed(0)
    target = torch.randn(2, 1, 1 << 16, generator=noise) * 0.1
    assert float(loss(target, target)) == 0
    for decibels in (-10, 0.9, 10):  # decades beyond the first decibel, and the divergence of the whole
        ratio = 10 ** (-decibels / 10)
        wanted = max(0, abs(decibels) / 10 - 0.1) + ratio - math.log(ratio) - 1
        assert float(loss(target * 10 ** (decibels / 20), target)) == pytest.approx(wanted, rel=2e-3)
    assert math.isfinite(float(loss(torch.zeros_like(target), target)))
    other_phase = torch.randn(2, 1, 1 << 16, generator=noise) * 0.1
    assert float(loss(other_phase, target)) < 0.06
    late = torch.cat([target[..., 1 << 15 :], torch.zeros(2, 1, 1 << 15)], dim=-1)
    early = torch.cat([torch.zeros(2, 1, 1 << 15), target[..., 1 << 15 :]], dim=-1)
    assert float(loss(late, early)) > 1  # the right energy at the wrong time


@pytest.mark.parametrize(("hz", "counts"), [(300, True), (8000, True), (9000, False)])
def test_energies_count_where_an_octave_is_measured(hz, counts):
    tone = torch.sin(2 * math.pi * hz / 22_050 * torch.arange(1 << 14))[None, None]
    noise = 0.01 * torch.randn(1, 1, 1 << 14, generator=torch.Generator().manual_seed(0))
    assert (float(BandEnergy()(noise + tone, noise)) > 0.1) == counts


def test_energies_that_cannot_be_foretold_are_met_in_their_mean():
    loss, noise = BandEnergy(), torch.Generator().manual_seed(0)
    soft, loud = (torch.randn(1, 1, 1 << 14, generator=noise) * level for level in (0.1, 0.4))
    levels = np.linspace(0.1, 0.4, 61)
    costs = [sum(float(loss(soft / 0.1 * level, target)) for target in (soft, loud)) for level in levels]
    best = levels[int(np.argmin(costs))]
    assert best > 0.75 * math.sqrt((0.1**2 + 0.4**2) / 2)  # and not between both in decades, 0.2


def test_onsets_are_compared_at_their_time_and_whatever_the_level():
    loss, noise = OnsetStrength(), torch.Generator().manual_seed(0)
    click = torch.randn(2, 1, 1 << 14, generator=noise)
    click[..., : 1 << 13] *= 0.01  # a rise of 40 dB in the middle
    assert float(loss(click, click)) == 0
    assert float(loss(0.5 * click, click)) < 1e-3  # the floor is that of the target
    softer = torch.cat([click[..., : 1 << 13] * 10, click[..., 1 << 13 :]], dim=-1)
    later = torch.roll(click, 1 << 11, dims=-1)
    other_phase = torch.randn(2, 1, 1 << 14, generator=noise)
    other_phase[..., : 1 << 13] *= 0.01
    assert float(loss(other_phase, click)) < 0.7 * float(loss(softer, click))
    assert float(loss(other_phase, click)) < 0.7 * float(loss(later, click))


def test_the_mel_filters_are_those_of_the_beat_tracker():
    librosa = pytest.importorskip("librosa")
    theirs = torch.from_numpy(librosa.filters.mel(sr=22_050, n_fft=2048, norm=None))
    assert torch.allclose(mel_filters(1025, 128, 22_050.0), theirs, atol=1e-4)


def test_waveform_error_is_in_decades():
    target = torch.sin(torch.arange(8000) / 10)[None, None]
    assert float(waveform_error(1.1 * target, target)) == pytest.approx(-2, abs=1e-3)
    assert float(waveform_error(1.01 * target, target)) == pytest.approx(-4, abs=1e-3)
    assert float(waveform_error(0.011 * target, 0.01 * target)) == pytest.approx(-2, abs=1e-2)
    both = torch.cat([1.1 * target, 1.01 * target])
    assert float(waveform_error(both, torch.cat([target, target]))) == pytest.approx(-3, abs=1e-3)
    silence = torch.zeros_like(target)
    assert float(waveform_error(silence, silence)) == 0


@pytest.mark.parametrize("kind", ["spectral", "mse"])
def test_losses_are_least_where_nothing_is_wrong(rng, kind):
    target = torch.from_numpy(rng.standard_normal((2, 1, CROP)).astype(np.float32) * 0.1)
    loss = TrainingLoss(replace(CONFIG, loss=kind))
    figures = [float(loss(target * gain, target)) for gain in (1.0, 1.01, 1.1, 2.0)]
    assert figures == sorted(figures)
    assert figures[0] < figures[1]
    if kind == "mse":
        assert figures[3] == pytest.approx(float(target.square().mean()), rel=1e-5)


def test_a_floor_counts_what_is_less_exact_than_the_linear_code(rng):
    basis = torch.from_numpy(np.linalg.qr(rng.standard_normal((48, 48)))[0][:16].astype(np.float32))
    target = torch.from_numpy(rng.standard_normal((2, 1, CROP)).astype(np.float32) * 0.1)
    floor = BelowLinear(basis)
    linear = floor.linear(target)
    coded = LinearCode(basis.numpy()).reconstruct(target.numpy())[..., : linear.shape[-1]]
    np.testing.assert_allclose(linear.numpy(), coded, atol=1e-6)
    rest = target[..., linear.shape[-1] :]
    wrong = torch.cat([linear - target[..., : linear.shape[-1]], 0.1 * rest], dim=-1)
    assert float(floor(target + 0.99 * wrong, target)) == 0
    assert float(floor(target + 10 * wrong, target)) == pytest.approx(2, abs=1e-3)
    assert float(BelowLinear(basis, 3.0)(target + 10 * wrong, target)) == pytest.approx(1.7, abs=1e-3)
    started = wrong.clone()
    started[..., :100] = 10
    assert float(floor(target + started, target)) == pytest.approx(0, abs=1e-3), "a start without a past is free"
    loud = float((linear - target[..., : linear.shape[-1]])[:1, :, BelowLinear.START :].square().mean())
    shares = torch.tensor([2 * loud, loud / 99])  # half of its song's, and far more than that
    apart = [float(floor(target[n:][:1] + gain * wrong[n:][:1], target[n:][:1])) for n, gain in ((0, 10), (1, 2))]
    both = target + torch.tensor([10.0, 2.0])[:, None, None] * wrong
    shared = (0.5 * apart[0] + BelowLinear.LARGEST_SHARE * apart[1]) / 2
    assert float(floor(both, target, shares)) == pytest.approx(shared, rel=1e-3)
    assert float(floor(both, target, torch.zeros(2))) == float(floor(both, target))
    config = replace(CONFIG, floor_weight=2.0, floor_db=3.0)
    with_floor, without = (float(TrainingLoss(c, basis)(target + 10 * wrong, target)) for c in (config, CONFIG))
    assert with_floor - without == pytest.approx(2 * 1.7, abs=1e-2)


def test_the_loss_of_silence_has_a_gradient():
    output = torch.zeros(1, 1, CROP, requires_grad=True)
    loss = TrainingLoss(CONFIG)(output, torch.zeros(1, 1, CROP))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()
