"""The paper's variational autoencoder beside ours: what is trained, what is read, and what is said of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf

from rtae import collapse, decoders, show_comparisons
from rtae.collapse import TITLES, Course, compare, configurations, course_of, figures, words
from rtae.errors import RtaeError, TrainingError
from rtae.training import data
from rtae.training.data import survey

RATE = 22_050


@pytest.fixture
def songs(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "songs").mkdir()
    for name in "abc":
        sf.write(tmp_path / "songs" / f"{name}.wav", 0.2 * rng.standard_normal(RATE).clip(-4, 4), RATE)
    return tmp_path / "songs"


def slim(config):
    """The same with three channels in each layer, which trains at once."""
    stacks = {
        name: tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", config.net.encoder), ("decoder", config.net.decoder))
    }
    return replace(config, net=replace(config.net, **stacks))


def quick(steps, seed=0):
    return {name: slim(config) for name, config in configurations(steps, seed, crop=4096).items()}


def course(loss=(4.0, 2.0, 1.0), last=(1.0,) * 4, first=(1.0,) * 4, name="cure"):
    count = len(loss)
    dimensions = np.linspace(first, last, count)
    flat = np.full(count, 3.0)
    steps = 10.0 * np.arange(1, count + 1)
    return Course(
        name, steps, np.array(loss), dimensions.sum(1), flat, flat, flat, flat, dimensions, 1.0, np.zeros((1, 9))
    )


def test_the_paper_and_ours_differ_in_what_they_should():
    configs = configurations(100, 7)
    assert list(configs) == list(TITLES)
    paper, mixed, cure = configs.values()
    assert (paper.loss, paper.net.shortcut_frames) == ("paper-vae", 0)
    assert (mixed.loss, mixed.net) == ("paper-vae", cure.net)
    assert (cure.loss, cure.net.shortcut_frames) == ("spectral", 3)
    assert replace(paper, net=cure.net) == mixed
    assert replace(mixed, loss=cure.loss, energy_weight=cure.energy_weight) == cure
    assert {config.seed for config in configs.values()} == {7}


def test_it_trains_reads_and_does_not_train_again(tmp_path, songs, monkeypatch):
    configs = quick(3)
    material = survey(songs, RATE, 4096)
    found = compare(configs, material, tmp_path / "out")
    assert [one.name for one in found.courses] == list(configs)
    for one in found.courses:
        assert one.steps.tolist() == [1, 2, 3]
        assert one.dimensions.shape == (3, 16)
        assert one.output.shape == found.original.shape
        assert one.kl == pytest.approx(one.dimensions.sum(axis=1), rel=1e-3)
    header, table = collapse.read_course(tmp_path / "out" / "runs" / "paper")
    raw = dict(zip(header, table.T, strict=True))["loss"]
    assert found.courses[0].loss == pytest.approx(raw * 110_250 / (4 * 4096))  # sums over a window of five seconds
    monkeypatch.setattr(decoders, "train", lambda *_, **__: pytest.fail("it was trained again"))
    again = compare(configs, material, tmp_path / "out")
    assert [one.loss.tolist() for one in again.courses] == [one.loss.tolist() for one in found.courses]


def test_the_words_follow_from_the_figures():
    well = course(loss=(6.0, 2.0, 1.5, 1.0))
    assert (well.rises, well.warned_at, well.collapsed) == (0, None, False)
    assert "from 6 to 1, higher than at the validation before in 0 of 3; 80 % of that by step 20 of 40" in words(well)
    assert "4 of 4 dimensions carry 0.1 nats or more at the end, 4.0 nats per frame" in words(well)
    assert "% of that" not in words(course(loss=(4.0, 2.0, 1.0)))
    assert course(loss=(28163.2, 1.0)).fall == "28163 to 1"
    assert words(well).endswith("There was no warning.")
    ill = course(loss=(4.0, 5.0, 5.5), last=(1.0, 0.0, 0.0, 0.0), name="paper")
    assert (ill.rises, ill.warned_at, ill.collapsed) == (2, 30, True)
    assert "in 2 of 2." in words(ill)
    assert "% of that" not in words(ill)
    assert words(ill).endswith("It has collapsed. The warning came at step 30.")
    assert not course(last=(1.0, 1.0, 0.0, 0.0)).collapsed
    assert "validation" not in words(course(loss=(4.0,)))


def test_a_damaged_run_is_said(tmp_path):
    for content in ("", "step,loss\n", "step,loss\n1,x\n"):
        (tmp_path / "metrics.csv").write_text(content)
        with pytest.raises(TrainingError, match="train again"):
            course_of("paper", tmp_path, configurations(3, 0)["paper"], None)


def test_the_command_writes_pictures_figures_and_sounds(tmp_path, songs, monkeypatch, capsys):
    out = tmp_path / "vaes"
    monkeypatch.setattr(collapse, "configurations", quick)
    show_comparisons.comparing_vaes(songs, out, 2, 0, 1)
    names = {"vae.json", "courses.png", "sounds.png", "original.wav", "runs", *(f"{name}.wav" for name in TITLES)}
    assert {path.name for path in out.iterdir()} == names
    listed = json.loads((out / "vae.json").read_text())["courses"]
    assert [one["name"] for one in listed] == list(TITLES)
    printed = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(one["words"].split()) in printed for one in listed)
    assert "output" not in figures(course())


def test_an_interrupted_comparison_says_that_it_goes_on(tmp_path, songs, monkeypatch):
    monkeypatch.setattr(decoders, "train", lambda *_, stop, **__: stop.set())
    with pytest.raises(RtaeError, match="the same command goes on"):
        show_comparisons.comparing_vaes(songs, tmp_path / "out", 2, 0, 1)
