import hashlib
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from rtae import evaluate as module
from rtae.errors import AudioFileError, ModelError
from rtae.evaluate import Evaluation, Score, evaluate, linear_code, resampled
from rtae.nets.config import SMALL, TINY
from rtae.nets.linear import LinearCode
from rtae.runtime import OnnxModel
from rtae.spec import DECODER_FILE, ENCODER_FILE, LINEAR_FILE, SPEC_FILE
from rtae.training.losses import spectral_distance

RATE = 22_050
DECIBEL_ATOL = 0.01
DISTANCE_RTOL = 1e-3


def store_model(folder, files, basis=None):
    folder.mkdir()
    contents = {ENCODER_FILE: files.encoder, DECODER_FILE: files.decoder}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (folder / SPEC_FILE).write_text(replace(files.spec, files=sums).to_json())
    if basis is not None:
        np.save(folder / LINEAR_FILE, basis)
    return folder


@pytest.fixture
def basis(rng):
    """Sixteen orthonormal directions of 48."""
    return np.linalg.qr(rng.standard_normal((48, 16)))[0].T.astype(np.float32)


@pytest.fixture
def small(tmp_path, files_of, basis):
    return store_model(tmp_path / "small", files_of(SMALL), basis)


@pytest.fixture
def tiny(tmp_path, files_of):
    return store_model(tmp_path / "tiny", files_of(TINY))


@pytest.fixture
def songs(rng, tmp_path):
    folder = tmp_path / "songs"
    (folder / "deep").mkdir(parents=True)
    sf.write(folder / "a.wav", 0.2 * rng.standard_normal((15_000, 2)).clip(-4, 4), RATE)
    sf.write(folder / "deep" / "b.wav", 0.2 * rng.standard_normal((30_000, 1)).clip(-4, 4), 44_100)
    return folder


def measured(output, target):
    """Both figures, from their definitions."""
    target, output = target.astype(np.float64), output.astype(np.float64)
    wanted = target * (output @ target) / (target @ target)
    si_sdr = 10 * np.log10((wanted @ wanted) / ((output - wanted) @ (output - wanted)))
    tensors = (torch.from_numpy(x.astype(np.float32))[None, None] for x in (output, target))
    return si_sdr, float(spectral_distance()(*tensors))


def test_models_are_scored_beside_their_linear_code(small, tiny, songs, basis):
    result = evaluate([small, tiny], songs)
    assert result.systems == ("linear 48 to 16", "small", "tiny")
    assert list(result.scores) == ["a.wav", "deep/b.wav"]
    assert result.skipped == {}
    stereo, _ = sf.read(songs / "a.wav", dtype="float32")
    fast, _ = sf.read(songs / "deep" / "b.wav", dtype="float32")
    inputs = {"a.wav": stereo.mean(axis=1), "deep/b.wav": soxr.resample(fast, 44_100, RATE)}
    models = {"small": OnnxModel.load(small), "tiny": OnnxModel.load(tiny)}
    for track, audio in inputs.items():
        outputs = {name: model.decode(model.encode(audio[None]))[0, : len(audio)] for name, model in models.items()}
        outputs["linear 48 to 16"] = LinearCode(basis).reconstruct(audio[None])[0]
        for name, output in outputs.items():
            si_sdr, distance = measured(output, audio)
            assert result.scores[track][name].si_sdr == pytest.approx(si_sdr, abs=DECIBEL_ATOL), (track, name)
            assert result.scores[track][name].mr_stft == pytest.approx(distance, rel=DISTANCE_RTOL), (track, name)


def test_the_mean_is_over_tracks():
    rows = {"a": {"x": Score(1.0, 0.5)}, "b": {"x": Score(4.0, 1.5)}}
    assert Evaluation(("x",), rows, {}).mean("x") == Score(2.5, 1.0)


def test_a_linear_code_keeps_what_lies_in_it(small, songs, basis, tmp_path):
    # Frames that the code holds exactly: it is all but perfect on them.
    inside = (np.random.default_rng(3).standard_normal((400, 16)).astype(np.float32) @ basis).reshape(-1)
    (tmp_path / "exact").mkdir()
    sf.write(tmp_path / "exact" / "x.wav", inside / np.abs(inside).max(), RATE, subtype="FLOAT")
    (row,) = evaluate([small], tmp_path / "exact").scores.values()
    assert row["linear 48 to 16"].si_sdr > 90  # measured 97: the rounding of float32
    assert row["small"].si_sdr < 20


def test_files_that_cannot_be_measured_are_named(rng, tiny, songs):
    (songs / "broken.wav").write_text("no audio" * 100)
    (songs / "empty.flac").touch()
    sf.write(songs / "short.wav", 0.1 * rng.standard_normal(4000), RATE)
    sf.write(songs / "silent.wav", np.zeros(RATE), RATE)
    seen = []
    result = evaluate([tiny], songs, lambda *at: seen.append(at))
    assert list(result.scores) == ["a.wav", "deep/b.wav"]
    assert result.skipped.keys() == {"broken.wav", "empty.flac", "short.wav", "silent.wav"}
    assert "not audio that can be read" in result.skipped["broken.wav"]
    assert "is empty" in result.skipped["empty.flac"]
    assert result.skipped["short.wav"] == result.skipped["silent.wav"] == "too short or too quiet to be measured"
    assert seen == [
        (number, 6, name)
        for number, name in enumerate(["a.wav", "broken.wav", "deep/b.wav", "empty.flac", "short.wav", "silent.wav"])
    ]


def test_nothing_to_measure(tiny, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(AudioFileError, match="No audio files in"):
        evaluate([tiny], tmp_path / "none")
    (tmp_path / "none" / "x.wav").write_text("x" * 1000)
    with pytest.raises(AudioFileError, match=r"None of the files in .* could be measured: .*not audio"):
        evaluate([tiny], tmp_path / "none")
    with pytest.raises(AudioFileError, match="does not exist"):
        evaluate([tiny], tmp_path / "nowhere")


def test_only_the_start_of_a_long_file_is_measured(tiny, songs, monkeypatch):
    whole = evaluate([tiny], songs).scores["a.wav"]["tiny"]
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.5)
    assert evaluate([tiny], songs).scores["a.wav"]["tiny"] != whole


def test_two_models_of_one_name_are_two(tmp_path, files_of, songs):
    places = []
    for place, config in (("one", SMALL), ("two", TINY)):
        (tmp_path / place).mkdir()
        places.append(store_model(tmp_path / place / "mine", files_of(config)))
    assert len(evaluate(places, songs).systems) == 2


def test_absurdly_loud_audio_is_left_out_of_the_mean(rng, tiny, songs):
    sf.write(songs / "loud.wav", (1e30 * rng.standard_normal(RATE)).astype(np.float32), RATE, subtype="FLOAT")
    assert np.isfinite(evaluate([tiny], songs).mean("tiny").si_sdr)


# -- linear codes ------------------------------------------------------------------------------------------------------
def test_a_model_without_a_linear_code(tiny, songs):
    assert linear_code(tiny, OnnxModel.load(tiny)) is None
    assert evaluate([tiny], songs).systems == ("tiny",)


BROKEN = {
    "junk": (lambda path: path.write_bytes(b"junk"), "is not the linear code"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:90]), "is not the linear code"),
    "objects": (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "is not the linear code"),
    "another size": (lambda path: np.save(path, np.zeros((16, 24))), "is not the linear code"),
    "one dimension": (lambda path: np.save(path, np.zeros(16)), "is not the linear code"),
}
SUBTLE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: np.save(path, np.zeros((16, 48), "U4")),
    "NaN": lambda path: np.save(path, np.full((16, 48), np.nan)),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_linear_code_with_something_wrong(small, songs, change, message):
    change(small / LINEAR_FILE)
    with pytest.raises(ModelError, match=message):
        evaluate([small], songs)


@pytest.mark.parametrize("change", SUBTLE.values(), ids=SUBTLE)
def test_a_linear_code_with_something_wrong_of_the_subtle_kind(small, songs, change):
    change(small / LINEAR_FILE)
    with pytest.raises(ModelError):
        evaluate([small], songs)


def test_a_broken_model_is_not_measured(small, tiny, songs):
    (tiny / DECODER_FILE).write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"is not the file that model\.json describes"):
        evaluate([small, tiny], songs)


@pytest.mark.parametrize(("samples", "peak", "enough"), [(4096, 1e-3, True), (4095, 1e-3, False), (4096, 9e-5, False)])
def test_what_is_enough_to_measure(samples, peak, enough):
    audio = np.full((2, samples), peak, np.float32)
    if enough:
        assert resampled(audio, RATE, RATE).shape == (1, samples)
    else:
        with pytest.raises(AudioFileError, match="too short or too quiet"):
            resampled(audio, RATE, RATE)
