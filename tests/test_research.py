import json
import shutil

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console

from rtae import clips, decoders, show
from rtae.decoders import compare, configurations, train_all
from rtae.errors import TrainingError
from rtae.models import catalogue
from rtae.nets.config import SMALL, TINY
from rtae.training import data
from rtae.training.data import survey

RATE = 22_050
DECODED = ["max-unpool", "max-unpool-alone", "unpool", "linear", "transposed"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, files_of, store_model):
    """Two models; a folder with two songs of three clips each, one with tones and one with noise."""
    place = tmp_path_factory.mktemp("research")
    store_model(place / "models" / "small", files_of(SMALL))
    store_model(place / "models" / "tiny", files_of(TINY))
    (place / "songs").mkdir()
    (place / "silence").mkdir()
    (place / "one").mkdir()
    (place / "empty").mkdir()
    seconds, rng = np.arange(15 * RATE) / RATE, np.random.default_rng(5)
    tone = 0.3 * np.sin(2 * np.pi * 220 * seconds) * (1 + 0.5 * np.sin(seconds))
    sf.write(place / "songs" / "tone.flac", tone, RATE)
    sf.write(place / "songs" / "noise.flac", 0.1 * rng.standard_normal(15 * RATE).clip(-4, 4), RATE)
    sf.write(place / "one" / "tone.flac", tone, RATE)
    sf.write(place / "short.wav", tone[: 2 * RATE], RATE)
    sf.write(place / "silence" / "quiet.wav", 0 * tone, RATE)
    (place / "text.wav").write_text("no audio" * 100)
    return place


@pytest.fixture
def work(prepared, tmp_path, monkeypatch):
    place = shutil.copytree(prepared, tmp_path / "work")
    monkeypatch.chdir(place)
    monkeypatch.setenv("RTAE_MODELS", str(place / "models"))
    monkeypatch.setattr(catalogue, "shipped_folder", lambda: place / "empty")
    monkeypatch.setattr(clips, "cache_folder", lambda: tmp_path / "latents")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "audio")
    monkeypatch.setattr(show, "console", Console(highlight=False, width=200))
    return place


def test_an_analysis_writes_pictures_figures_and_sounds(work, rtae):
    done = rtae("analyze", "songs", "--model", "small", "tiny", "--out", "a", "--most-clusters", 4, "--sounds", 1)
    assert done.code == 0, done.err
    found = json.loads((work / "a" / "analysis.json").read_text())
    assert found["clips"] == 6
    assert found["songs"] == 2
    assert list(found["models"]) == ["small", "tiny"]
    pooled = found["models"]["small"]["pooled"]
    assert [one["clusters"] for one in pooled["tried"]] == [1, 2, 3, 4]
    assert pooled["tried"][0]["silhouette"] is None
    placed = sorted((clip["file"], clip["seconds"]) for cluster in pooled["clusters"] for clip in cluster["clips"])
    assert placed == [(f"songs/{name}.flac", s) for name in ("noise", "tone") for s in (0.0, 5.0, 10.0)]
    assert pooled["elbow"] == 2
    assert pooled["same_song_together"] == 1
    assert all((work / "a" / f"{view}-{kind}.png").read_bytes().startswith(b"\x89PNG") for view in ("flat", "pooled")
               for kind in ("scatter", "elbows", "silhouettes", "clusters"))  # fmt: skip
    heard, rate = sf.read(work / "a" / "sounds" / "pooled" / "tiny" / "cluster-1.wav")
    assert (len(heard), rate) == (5 * RATE, RATE)


def test_pictures_can_be_svg(work, rtae):
    assert rtae("analyze", "songs", "-m", "tiny", "--out", "a", "--most-clusters", 2, "--format", "svg").code == 0
    assert b"<svg" in (work / "a" / "flat-scatter.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("analyze", "songs", "-m", "tiny"), "6 clips cannot be parted into up to 10 clusters: give more"),
        (("analyze", "short.wav", "-m", "tiny"), "No clips of 5 s to analyse: shorter than 5 s (2.0 s)"),
        (("analyze", "silence", "-m", "tiny"), "all 3 clips are silent"),
        (("analyze", "empty", "-m", "tiny"), "No audio files in empty"),
        (("analyze", "nowhere", "-m", "tiny"), "does not exist"),
        (("analyze", "text.wav", "-m", "tiny"), "is not audio that can be read"),
        (("analyze", "songs", "-m", "darbuka"), "No model 'darbuka'; there are small, tiny"),
        (("analyze", "songs", "-m", "tiny", "--out", "text.wav"), "The folder text.wav cannot be made"),
        (("interpolate", "songs/tone.flac", "text.wav", "--out", "o"), "is not audio that can be read"),
        (("interpolate", "songs/tone.flac", "silence/quiet.wav", "--out", "o"), "is silent there"),
        (("interpolate", "songs/tone.flac", "short.wav", "--start", "3", "--out", "o"), "choose an earlier start"),
        (("perturb", "short.wav", "--out", "o.mp3"), "must end in .wav or .flac"),
        (("perturb", "short.wav", "--out", "short.wav"), "it is the input file"),
        (("perturb", "short.wav", "--out", "o.wav", "--dimensions", "3-20"), "they are 0 to 15"),
        (("report", "silence", "--out", "o"), "No model 'large'"),
        (("report", "empty", "--out", "o"), "There are no audio files"),
        (("compare-decoders", "empty", "--out", "o"), "No audio files in empty"),
        (("compare-decoders", "silence", "--out", "o"), "can be used: silent"),
        (("compare-vae", "empty", "--out", "o"), "No audio files in empty"),
        (("compare-vae", "silence", "--out", "o"), "can be used: silent"),
        (("compare-vae", "one", "--out", "o"), "has one usable file, and one is held out"),
        (("compare-decoders", "songs", "--out", "o", "-m", "huge"), "No preset 'huge'"),
        (("compare-decoders", "songs", "--out", "o", "--loss", "l3"), "loss must be 'spectral', 'mse' or 'paper-vae'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(work, rtae, arguments, message):
    before = {path.name for path in work.iterdir()}
    done = rtae(*arguments)
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert message in done.err
    assert {path.name for path in work.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", "songs", "--format", "gif"),
        ("analyze", "songs", "--clips", "1"),
        ("interpolate", "a", "b", "--steps", "1"),
        ("perturb", "a"),
        ("compare-decoders", "songs", "--minutes", "0"),
    ],
)
def test_a_wrong_option_is_refused(work, rtae, arguments):
    done = rtae(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.mark.parametrize("missing", ["sklearn", "matplotlib"])
def test_without_its_extra_it_says_how_to_install_it(work, rtae, monkeypatch, missing):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == missing else real(name))
    done = rtae("analyze", "songs")
    assert done.code == 1
    assert f"This needs {missing}. Install the extra 'analysis'" in done.err


def test_a_walk_writes_sounds_and_pictures(work, rtae):
    done = rtae("interpolate", "songs/tone.flac", "songs/noise.flac", "--steps", 3, "--seconds", 1, "--out", "w")
    assert done.code == 0, done.err
    names = sorted(path.name for path in (work / "w").iterdir())
    shares = ("0.00", "0.50", "1.00")
    sounds = [f"{way}-{share}.wav" for way in ("linear", "spherical") for share in shares]
    assert names == sorted([*sounds, "interpolation.json", "linear.png", "spherical.png"])
    assert all(sf.info(work / "w" / name).frames == RATE for name in sounds)
    steps = json.loads((work / "w" / "interpolation.json").read_text())["steps"]
    assert [step["share"] for step in steps] == [0, 0.5, 1] * 2


def test_a_perturbed_song_is_written(work, rtae):
    done = rtae("perturb", "short.wav", "--out", "o.wav", "-m", "tiny", "--dimensions", "0-7", "--add", "--amount", 0)
    assert done.code == 0, done.err
    assert "added to 8 of 16 dimensions" in done.out
    kept = sf.read(work / "o.wav")[0]
    assert rtae("perturb", "short.wav", "--out", "o.wav", "-m", "tiny").code == 0
    assert len(kept) == 2 * RATE
    assert not np.array_equal(kept, sf.read(work / "o.wav")[0])


# -- decoders ----------------------------------------------------------------------------------------------------------
def test_decoders_are_trained_measured_and_not_trained_again(work, monkeypatch):
    configs = configurations("tiny", None, 2, "mse", 0, crop=4096)
    material = survey(work / "songs", RATE, 4096)
    seen = []
    comparison = compare(configs, material, work / "out", lambda name, state: seen.append((name, state.step)))
    assert [result.name for result in comparison.results] == DECODED
    assert {name for name, _ in seen} == set(configs) == set(DECODED) - {"max-unpool-alone"}
    for result in comparison.results:
        assert result.steps == 2
        assert result.output.shape == comparison.original.shape == (1, 10 * RATE)
        assert np.isfinite([result.si_sdr, result.mr_stft]).all()
    monkeypatch.setattr(decoders, "train", lambda *_, **__: pytest.fail("it was trained again"))
    again = compare(configs, material, work / "out")
    assert [result.si_sdr for result in again.results] == [result.si_sdr for result in comparison.results]
    with pytest.raises(TrainingError, match="holds another training; choose another --out"):
        compare(configurations("tiny", None, 2, "spectral", 0, crop=4096), material, work / "out")


def test_a_comparison_writes_sounds_and_a_picture(work, rtae):
    done = rtae("compare-decoders", "songs", "--steps", 1, "-m", "tiny", "--out", "d")
    assert done.code == 0, done.err
    found = json.loads((work / "d" / "decoders.json").read_text())
    names = [one["name"] for one in found["decoders"]]
    assert names == DECODED
    written = sorted(path.name for path in (work / "d").iterdir())
    assert written == sorted(["decoders.json", "decoders.png", "original.wav", "runs", *(f"{n}.wav" for n in names)])


def test_an_interrupted_comparison_ends_and_says_so(work, monkeypatch):
    configs = configurations("tiny", None, 2, "mse", 0, crop=4096)
    runs = []

    def train(config, material, run, report, stop, **_):
        runs.append(run.name)
        stop.set()

    monkeypatch.setattr(decoders, "train", train)
    assert not train_all(configs, None, work / "out")
    assert runs == ["max-unpool"]
    assert compare(configs, None, work / "out") is None
