"""The variational autoencoder: its loss, its start, its figures, and that a run of it goes on exactly."""

import csv
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch
from torch.distributions import Normal, kl_divergence

from rtae.nets.autoencoder import START_LOG_VARIANCE, Autoencoder
from rtae.nets.config import TINY, VAE, NetConfig
from rtae.nets.linear import LinearCode
from rtae.training import data
from rtae.training.checkpoint import Checkpoint
from rtae.training.config import TrainConfig
from rtae.training.data import survey
from rtae.training.losses import TrainingLoss
from rtae.training.module import TrainingModule
from rtae.training.run import COLUMNS, train
from rtae.training.variational import FIRST_WEIGHT, LatentFigures, divergence, draw, kl_weight

RATE, CROP = 22_050, 4096
LINEAR_ATOL = 1e-5  # full scale; measured 3e-6


def slim(config: NetConfig) -> NetConfig:
    stacks = {
        name: tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", config.encoder), ("decoder", config.decoder))
    }
    return replace(config, **stacks)


QUICK = TrainConfig(
    slim(VAE), steps=6, crop=CROP, batch=2, validate_every=3, warmup=2, freeze_norm_at=0.5, learning_rate=0.01
)


@pytest.fixture
def material(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "songs").mkdir()
    for name in "abc":
        sf.write(tmp_path / "songs" / f"{name}.wav", 0.2 * rng.standard_normal(RATE), RATE)
    return survey(tmp_path / "songs", RATE, CROP)


def test_it_is_tiny_with_a_second_head(net_of):
    assert replace(VAE, preset="tiny", variational=False) == TINY
    net = net_of(slim(VAE))
    names = {name for name in net.state_dict() if ".spread." in name}
    assert names == {"encoder.spread.conv.weight", "encoder.spread.conv.bias"}
    assert net.state_dict().keys() - names == net_of(slim(TINY)).state_dict().keys()
    audio = torch.randn(2, 1, 5000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, log_variance = net.encoder.distribution(audio)
        assert torch.equal(mean, net.encoder(audio))
    assert mean.shape == log_variance.shape == (2, 16, 27)
    assert (log_variance == START_LOG_VARIANCE).all()


def test_the_divergence_is_that_of_normal_distributions():
    mean, log_variance = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0, 1))
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-5)


def test_a_draw_has_its_distribution_and_repeats():
    mean, log_variance = torch.full((1, 16, 2000), 3.0), torch.full((1, 16, 2000), -2.0)
    z = draw(mean, log_variance, 1, 5)
    assert float(z.mean()) == pytest.approx(3, abs=0.02)
    assert float(z.std()) == pytest.approx(np.exp(-1), rel=0.02)
    assert torch.equal(z, draw(mean, log_variance, 1, 5))
    assert not torch.equal(z, draw(mean, log_variance, 1, 6))
    assert not torch.equal(z, draw(mean, log_variance, 2, 5))


def test_the_weight_rises_log_linearly():
    config = replace(QUICK, kl_weight=0.5, kl_warmup=0.2)
    assert kl_weight(config, 0) == pytest.approx(0.5 * FIRST_WEIGHT)
    assert kl_weight(config, 0.1) == pytest.approx(0.5 * FIRST_WEIGHT**0.5)
    assert [kl_weight(config, share) for share in (0.2, 0.7, 1)] == [0.5] * 3
    assert kl_weight(replace(config, kl_warmup=0), 0) == 0.5
    assert kl_weight(replace(config, loss="paper-vae"), 0) == 1


def test_it_starts_at_the_linear_code_with_latents_of_unit_variance(rng):
    audio = np.convolve(rng.standard_normal(96_000), np.exp(-np.arange(40) / 8), "same").astype(np.float32) / 40
    code = LinearCode.fit([audio], VAE.stride, VAE.latent_dim)
    net = Autoencoder(slim(VAE)).eval()
    net.start_from_linear(torch.from_numpy(code.basis), torch.from_numpy(code.deviation))
    with torch.no_grad():
        z = net.encoder(torch.from_numpy(audio)[None, None])
        output = net.decoder(z)[0, 0].numpy()
    assert z[0].std(dim=1).numpy() == pytest.approx(np.ones(16), abs=0.01)
    assert np.abs(output[: len(audio)] - code.reconstruct(audio)).max() <= LINEAR_ATOL


def test_the_losses_are_the_ones_they_say(rng):
    batch = torch.from_numpy(0.1 * rng.standard_normal((2, 1, CROP)).astype(np.float32))
    for loss in ("spectral", "mse", "paper-vae"):
        module = TrainingModule(replace(QUICK, loss=loss, kl_weight=0.25, kl_warmup=0), Autoencoder(QUICK.net))
        module.net.eval()
        total = float(module.variational_loss(batch).detach())
        with torch.no_grad():
            mean, log_variance = module.net.encoder.distribution(batch)
            output = module.net.decoder(draw(mean, log_variance, 0, 0))[..., :CROP]
            nats = divergence(mean, log_variance)
            expected = {
                "spectral": TrainingLoss(QUICK)(output, batch) + 0.25 * nats.sum(1).mean(),
                "mse": (output - batch).square().mean() + 0.25 * nats.sum(1).mean(),
                "paper-vae": (output - batch).square().sum() + nats.sum(),
            }[loss]
        assert total == pytest.approx(float(expected), rel=1e-5)


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path, material):
    train(QUICK, material, tmp_path / "whole")
    stop, seen = threading.Event(), []

    def report(at):
        seen.append(at)
        if len(seen) == 2:
            stop.set()

    train(QUICK, material, tmp_path / "parts", report, stop=stop)
    train(QUICK, material, tmp_path / "parts", resume=True)
    first, second = Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "parts")
    assert first.config == second.config == QUICK
    assert first.model.keys() == second.model.keys()
    for name, value in first.model.items():
        assert torch.equal(value, second.model[name]), name
    start = Autoencoder(QUICK.net).state_dict()
    assert not torch.equal(first.model["encoder.spread.conv.bias"], start["encoder.spread.conv.bias"])


def test_metrics_say_what_each_dimension_carries(tmp_path, material):
    train(QUICK, material, tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 2
    more = ["reconstruction", "training_kl", "kl_weight", "kl", "active_dimensions", "dimensions_95"]
    assert list(rows[0]) == [*COLUMNS, *more, *(f"kl_{number}" for number in range(1, 17))]
    for row in rows:
        assert float(row["kl"]) == pytest.approx(sum(float(row[f"kl_{n}"]) for n in range(1, 17)), rel=1e-3)
        assert 0 < float(row["active_dimensions"]) <= 16
        assert 0 < float(row["dimensions_95"]) <= 16
        assert float(row["loss"]) > float(row["reconstruction"])


def figures_of(deviations, log_variance=-2.0, frames=4000):
    noise = torch.randn(1, len(deviations), frames, generator=torch.Generator().manual_seed(0))
    figures = LatentFigures()
    mean = noise * torch.tensor(deviations)[:, None]
    for part in mean.split(1000, dim=2):
        spread = torch.where(torch.tensor(deviations)[:, None] > 0, torch.tensor(log_variance), torch.tensor(0.0))
        figures.add(part, spread.expand_as(part))
    return figures


def test_dimensions_are_counted():
    figures = figures_of([1.0, 1.0, 1.0, 0.05, 0.0, 0.0])
    assert figures.active == 3
    assert figures.dimensions_95 == 3
    assert figures.kl[:3] == pytest.approx(np.full(3, 0.5 * (1 + np.exp(-2) - 1 + 2)), rel=0.05)
    assert figures.kl[4:] == pytest.approx(np.zeros(2))
    nothing = figures_of([0.0, 0.0])
    assert (nothing.active, nothing.dimensions_95) == (0, 0)


def test_a_warning_comes_before_the_collapse():
    assert figures_of([1.0] * 6 + [0.0] * 2).warning() == ""
    # These still move enough to count as active, and carry next to nothing.
    fading = figures_of([1.0] * 5 + [0.2] * 3, log_variance=-0.1)
    assert fading.active == 8
    assert "of 8 latent dimensions carry less than 0.1 nats" in figures_of([1.0] * 5 + [0.0] * 3).warning()
    assert "lower --kl-weight" in fading.warning()


def test_the_warning_is_shown(tmp_path, material, monkeypatch):
    from rtae import show_training

    said = []
    monkeypatch.setattr(show_training, "say", said.append)
    monkeypatch.setattr(show_training, "survey_folder", lambda *_: material)
    monkeypatch.setattr(LatentFigures, "warning", lambda _: "fading")
    show_training.training(replace(QUICK, steps=1), tmp_path, tmp_path / "run", None, False, 1)
    assert any(line == "  warning: fading" for line in said)
