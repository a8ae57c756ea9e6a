"""What the dimensions of a variational autoencoder carry, by a command."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from rtae import cli
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import TINY, VAE
from rtae.nets.linear import LinearCode
from rtae.training import data
from rtae.training.checkpoint import Checkpoint
from rtae.training.config import TrainConfig

RATE = 22_050


def store(folder, net, config):
    folder.mkdir(exist_ok=True)
    weights = net.state_dict()
    copies = {name: value.clone() for name, value in weights.items()}
    Checkpoint(TrainConfig(config, steps=1), 1, 1.0, weights, copies, {}).save(folder)


@pytest.fixture
def place(rng, tmp_path, monkeypatch):
    """Songs, a variational network at its start, which is the linear code, and one whose encoder says nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "songs").mkdir()
    song = np.convolve(rng.standard_normal(2 * RATE), np.exp(-np.arange(40) / 8), "same").astype(np.float32) / 40
    for name in "ab":
        sf.write(tmp_path / "songs" / f"{name}.wav", song if name == "a" else song[::-1], RATE)
    thin = {
        name: tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", VAE.encoder), ("decoder", VAE.decoder))
    }
    config = replace(VAE, **thin)
    net, code = Autoencoder(config), LinearCode.fit([song], VAE.stride, VAE.latent_dim)
    net.start_from_linear(*(data.torch.from_numpy(table) for table in (code.basis, code.deviation)))
    store(tmp_path / "run", net, config)
    net.encoder.analysis.conv.weight.data[4:] = 0
    net.encoder.spread.conv.bias.data[4:] = 0
    store(tmp_path / "fallen", net, config)
    store(tmp_path / "plain", Autoencoder(replace(TINY, **thin)), replace(TINY, **thin))
    (tmp_path / "nothing").mkdir()
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["rtae", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code
    return 0


def test_it_says_what_each_dimension_carries(place, monkeypatch, capsys):
    assert run(monkeypatch, "carried", "run", "--on", "songs", "--json", "out.json") == 0
    found = json.loads((place / "out.json").read_text())
    assert (found["songs"], found["active"], found["warning"]) == (2, 16, "")
    assert found["deviations"] == pytest.approx([1] * 16, abs=0.1)
    # Unit variance, and a deviation of a tenth in the noise: 0.5 (1 + 0.01 - 1 + 4.6) nats.
    assert found["nats"] == pytest.approx([2.3] * 16, abs=0.1)
    assert found["si_sdr"] > 3
    printed = " ".join(capsys.readouterr().out.split())
    assert "16 of 16 dimensions move (at least half" in printed
    assert printed.count("No warning.") == 1


def test_it_says_that_it_has_collapsed(place, monkeypatch, capsys):
    assert run(monkeypatch, "carried", "fallen", "--on", "songs") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 of 16 dimensions move (less than half" in printed
    assert "Warning: 12 of 16 latent dimensions carry less than 0.1 nats" in printed


@pytest.mark.parametrize(
    ("model", "on", "message"),
    [
        ("plain", "songs", "is not variational"),
        ("nothing", "songs", "has no checkpoint.safetensors"),
        ("nowhere", "songs", "No model 'nowhere'"),
        ("run", "nothing", "No audio files in nothing"),
    ],
)
def test_a_mistake_is_one_line(place, monkeypatch, capsys, model, on, message):
    assert run(monkeypatch, "carried", model, "--on", on) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert message in error
