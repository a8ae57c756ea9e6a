"""Distances between what sounds and music: what is nearer measures nearer."""

import json

import numpy as np
import pytest
import soundfile as sf

from rtae import yardsticks
from rtae.errors import AudioFileError
from rtae.nets.config import TINY
from rtae.yardsticks import STATISTICS, beat_strength, describe, distances, mel_bands, music_clips, wasserstein

RATE = 22_050


def clicks(per_second, seconds=5, jitter=0.0, seed=0):
    """Short bursts of noise over a quiet floor."""
    rng = np.random.default_rng(seed)
    audio = 0.001 * rng.standard_normal(seconds * RATE)
    for number in range(seconds * per_second):
        start = round((number + 0.2 + jitter * rng.uniform(-0.5, 0.5)) / per_second * RATE)
        length = min(600, len(audio) - start)
        audio[start : start + length] += rng.standard_normal(length) * np.exp(-np.arange(length) / 100)
    return audio.astype(np.float32)


@pytest.mark.parametrize("per_second", [2, 4])
def test_onsets_are_counted(per_second):
    assert describe(clicks(per_second), RATE)["onset density"][0] == pytest.approx(per_second, abs=0.5)


def test_a_regular_beat_is_stronger_than_an_irregular_one():
    regular, irregular = (describe(clicks(3, jitter=j), RATE)["beat strength"][0] for j in (0.0, 1.5))
    assert regular > irregular + 0.15
    assert regular > 0.6
    assert beat_strength(np.zeros(400), RATE) == 0


def test_noise_is_flat_and_a_tone_is_not():
    time = np.arange(5 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    flatness = [describe(clip, RATE)["spectral flatness"][0] for clip in (noise, tone)]
    assert flatness[0] > -3.5
    assert flatness[1] < -30
    levels = describe(tone, RATE)["log-mel level"]
    low, high = (mel_bands(RATE) @ (np.abs(np.arange(513) - hz * 1024 / RATE) < 1) for hz in (440, 5000))
    assert levels[low.argmax()] > levels[high.argmax()] + 10


def test_loudness_does_not_matter():
    for first, second in zip(describe(clicks(3), RATE).values(), describe(0.1 * clicks(3), RATE).values(), strict=True):
        assert np.abs(first - second).max() < 1e-3


def test_the_distance_of_wasserstein(rng):
    x = rng.standard_normal((500, 2))
    assert wasserstein(x, x + np.array([1, -2])) == pytest.approx([1, 2], rel=1e-6)
    assert wasserstein(x, x[::-1]) == pytest.approx([0, 0], abs=1e-12)
    assert wasserstein(x, 2 * x)[0] == pytest.approx(np.abs(x[:, 0]).mean(), rel=0.05)


def test_what_is_alike_is_near():
    music = [describe(clicks(3, seed=seed, jitter=0.2), RATE) for seed in range(6)]
    alike = [describe(clicks(3, seed=seed, jitter=0.2), RATE) for seed in range(6, 12)]
    noise = [describe(np.random.default_rng(s).standard_normal(5 * RATE).astype(np.float32), RATE) for s in range(6)]
    near, far = distances(alike, music), distances(noise, music)
    assert set(near) == set(STATISTICS)
    assert all(near[name] < far[name] for name in STATISTICS)


def test_clips_are_of_songs_that_sound(tmp_path):
    sf.write(tmp_path / "a.wav", clicks(3, seconds=12), RATE)
    sf.write(tmp_path / "silent.wav", np.zeros(12 * RATE), RATE)
    sf.write(tmp_path / "short.wav", clicks(3, seconds=4), RATE)
    (tmp_path / "broken.wav").write_text("no audio")
    clips = music_clips(sorted(tmp_path.iterdir()), RATE, 10)
    assert [len(clip) for clip in clips] == [5 * RATE] * 4
    with pytest.raises(AudioFileError, match="too few songs"):
        yardsticks.compare(yardsticks_model(), tmp_path, 4, 0, 1.0)


def yardsticks_model():
    from rtae.models import find

    return find("tiny")


def test_the_command(tmp_path, monkeypatch, capsys):
    from rtae import dreaming

    row = dict.fromkeys(STATISTICS, 0.5)
    ratios = dict.fromkeys(STATISTICS, 2.0)
    done = yardsticks.Comparison({"network": 4}, {"network": row}, ratios, ratios | {"beat strength": 1.5}, {"x": 12.3})
    monkeypatch.setattr(yardsticks, "compare", lambda *_: done)
    dreaming.prior_table("tiny", tmp_path, 4, 0, 1.0, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["distances"]["network"]["beat strength"] == 0.5
    printed = capsys.readouterr().out
    assert "2.00 x" in printed
    assert "1.50 x" in printed
    assert "x 12" in printed


def test_dreams_are_measured_in_sets_of_other_seeds_at_one_temperature(tmp_path, monkeypatch, model_of):
    for name in "abcd":
        sf.write(tmp_path / f"{name}.wav", clicks(3, seconds=8, seed=ord(name)), RATE)
    asked = []

    def dreams(model, folder, kind, count, temperature, seed):
        asked.append((kind, temperature, seed))
        bursts = 6 if kind == "independent" else 3 if seed != 8 else 4
        return [clicks(bursts, seed=seed + number) for number in range(4)], 20.0

    monkeypatch.setattr(yardsticks, "dream_clips", dreams)
    monkeypatch.setattr(yardsticks.OnnxModel, "load", lambda _: model_of(TINY))
    done = yardsticks.compare(tmp_path, tmp_path, 4, 0, 0.9)
    assert {temperature for _, temperature, _ in asked} == {0.9}
    assert [seed for kind, _, seed in asked if kind == "network"] == [0, 4, 8]
    assert done.clips["network"] == 12
    assert done.nearer["onset density"] > 1
    # The third set is farther off, and the least ratio is its own.
    assert done.least["onset density"] < done.nearer["onset density"]
    assert all(speed > 0 for speed in done.speed.values())
