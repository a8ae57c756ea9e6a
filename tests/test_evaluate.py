import hashlib
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from rtae import bench, metrics, systems
from rtae import evaluate as module
from rtae.errors import AudioFileError, ModelError, RtaeError
from rtae.evaluate import BELOW_EDGE, Evaluation, evaluate, resampled
from rtae.evaluation_card import write_cards
from rtae.metrics import METRICS
from rtae.models import shipped_folder
from rtae.nets.config import SMALL, TINY
from rtae.nets.linear import LinearCode
from rtae.runtime import OnnxModel
from rtae.spec import CARD_FILE, DECODER_FILE, ENCODER_FILE, LINEAR_FILE, SPEC_FILE
from rtae.systems import band_edge, linear_code
from rtae.training.losses import spectral_distance

RATE = 22_050
DECIBEL_ATOL = 0.01
DISTANCE_RTOL = 1e-3
QUICK = {name: METRICS[name] for name in ("snr", "si_sdr", "mr_stft", "octaves")}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """A cache of the test's own, and a cost that is not measured."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "hop_costs", lambda *_: ())


def run(*given, **options):
    """Without the figures that take long; tests/test_metrics.py has them all."""
    return evaluate(*given, metrics=QUICK, **options)


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


def names_of(result):
    return tuple(system.name for system in result.systems)


def test_models_are_scored_beside_their_linear_code(small, tiny, songs, basis):
    result = run([small, tiny], songs)
    assert names_of(result) == ("input", "linear 48 to 16", "small", "tiny")
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
            assert result.scores[track][name]["si_sdr"] == pytest.approx(si_sdr, abs=DECIBEL_ATOL), (track, name)
            assert result.scores[track][name]["mr_stft"] == pytest.approx(distance, rel=DISTANCE_RTOL), (track, name)


def test_the_mean_is_over_the_tracks_where_a_figure_is_defined():
    rows = {
        "a": {"x": {"si_sdr": 1.0, "beat_f": None, "octaves": {"62-125": 1.0, "8k-11k": None}}},
        "b": {"x": {"si_sdr": 4.0, "beat_f": 0.5, "octaves": {"62-125": 2.0, "8k-11k": -4.0}}},
    }
    result = Evaluation((), rows, {})
    assert result.mean("x") == {"si_sdr": 2.5, "beat_f": 0.5, "octaves": {"62-125": 1.5, "8k-11k": -4.0}}
    assert result.undefined("x") == {"beat_f": 1}


def test_a_linear_code_keeps_what_lies_in_it(small, basis, tmp_path):
    # Frames that the code holds exactly: it is all but perfect on them.
    inside = (np.random.default_rng(3).standard_normal((400, 16)).astype(np.float32) @ basis).reshape(-1)
    (tmp_path / "exact").mkdir()
    sf.write(tmp_path / "exact" / "x.wav", inside / np.abs(inside).max(), RATE, subtype="FLOAT")
    (row,) = run([small], tmp_path / "exact").scores.values()
    assert row["linear 48 to 16"]["si_sdr"] > 90  # measured 97: the rounding of float32
    assert row["small"]["si_sdr"] < 20


def test_what_is_known_of_models_as_such(small, songs, monkeypatch):
    monkeypatch.setattr(bench, "RUNS", 1)
    monkeypatch.setattr(module, "hop_costs", bench.hop_costs)
    facts = run([small], songs).facts
    assert facts["small"]["values_per_second"] == facts["linear 48 to 16"]["values_per_second"] == 16 * RATE / 48
    assert facts["small"]["streamed_difference"] < 1e-4  # measured 1e-7
    assert [cost["hop"] for cost in facts["small"]["cost"]] == [240, 2064]
    assert "cost" not in facts["linear 48 to 16"]


def test_a_stream_that_is_not_the_whole_is_found(small, monkeypatch):
    monkeypatch.setattr(OnnxModel, "decode", forgetful(OnnxModel.decode))
    audio = np.random.default_rng(1).normal(0, 0.1, (1, RATE)).astype(np.float32)
    assert systems.streamed_difference(OnnxModel.load(small), audio) > 1e-3


def forgetful(decode):
    """A decoder whose output depends on how much it is given."""
    return lambda model, z: decode(model, z) * np.float32(1 + z.shape[2] / 1000)


def test_long_files_are_computed_in_pieces(model_of, monkeypatch):
    model = model_of(TINY)
    audio = np.random.default_rng(2).normal(0, 0.1, (1, 3 * RATE + 17)).astype(np.float32)
    whole = model.decode(model.encode(audio))[:, : audio.shape[1]]
    monkeypatch.setattr(systems, "PIECE_SECONDS", 1)
    lengths = []
    encode = OnnxModel.encode
    monkeypatch.setattr(OnnxModel, "encode", lambda self, x: lengths.append(x.shape[1]) or encode(self, x))
    pieces = systems.through(model, audio)
    assert pieces.shape == audio.shape
    assert np.abs(pieces - whole).max() < 1e-5  # full scale; measured 4e-7
    assert len(lengths) == 3
    assert max(lengths) < 2 * RATE


def test_files_that_cannot_be_measured_are_named(rng, tiny, songs):
    (songs / "broken.wav").write_text("no audio" * 100)
    (songs / "empty.flac").touch()
    sf.write(songs / "short.wav", 0.1 * rng.standard_normal(4000), RATE)
    sf.write(songs / "silent.wav", np.zeros(RATE), RATE)
    seen = []
    result = run([tiny], songs, lambda *at: seen.append(at))
    assert list(result.scores) == ["a.wav", "deep/b.wav"]
    assert result.skipped.keys() == {"broken.wav", "empty.flac", "short.wav", "silent.wav"}
    assert "not audio that can be read" in result.skipped["broken.wav"]
    assert "is empty" in result.skipped["empty.flac"]
    assert result.skipped["short.wav"] == result.skipped["silent.wav"] == "too short or too quiet to be measured"
    files = ["a.wav", "broken.wav", "deep/b.wav", "empty.flac", "short.wav", "silent.wav"]
    assert list(dict.fromkeys((at, total, text.split()[0]) for at, total, text in seen[:-1])) == [
        (number, 6, name) for number, name in enumerate(files)
    ]
    assert (0, 6, "a.wav through tiny") in seen


def test_nothing_to_measure(tiny, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(AudioFileError, match="No audio files in"):
        run([tiny], tmp_path / "none")
    (tmp_path / "none" / "x.wav").write_text("x" * 1000)
    with pytest.raises(AudioFileError, match=r"None of the files in .* could be measured: .*not audio"):
        run([tiny], tmp_path / "none")
    with pytest.raises(AudioFileError, match="does not exist"):
        run([tiny], tmp_path / "nowhere")


def test_only_the_start_of_a_long_file_is_measured(tiny, songs, monkeypatch):
    whole = run([tiny], songs).scores["a.wav"]["tiny"]
    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.5)
    assert run([tiny], songs).scores["a.wav"]["tiny"] != whole


def test_two_models_of_one_name_are_two(tmp_path, files_of, songs):
    places = []
    for place, config in (("one", SMALL), ("two", TINY)):
        (tmp_path / place).mkdir()
        places.append(store_model(tmp_path / place / "mine", files_of(config)))
    assert names_of(run(places, songs)) == ("input", "mine", str(places[1]))


def test_absurdly_loud_audio_is_left_out_of_the_mean(rng, tiny, songs):
    sf.write(songs / "loud.wav", (1e30 * rng.standard_normal(RATE)).astype(np.float32), RATE, subtype="FLOAT")
    result = run([tiny], songs)
    assert result.skipped == {"loud.wav": "so loud that its figures are not finite"}
    assert np.isfinite(result.mean("tiny")["si_sdr"])


def test_figures_without_their_packages_are_left_out_and_said(tiny, songs, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(metrics, "find_spec", lambda name: None if name == "auraloss" else object())
        result = run([tiny], songs)
    assert "mr_stft" not in result.mean("tiny")
    assert result.mean("tiny")["snr"] is not None
    assert result.missing == (
        "MR-STFT needs auraloss. Install the extra 'train'; in a checkout: pip install '.[train]'",
    )
    assert "mr_stft" in run([tiny], songs).mean("tiny")


# -- going on ----------------------------------------------------------------------------------------------------------
def counted(monkeypatch):
    """The names of the systems that are run, as they are."""
    seen = []
    plain = module.measure
    monkeypatch.setattr(module, "measure", lambda system, *rest: seen.append(system.name) or plain(system, *rest))
    return seen


def test_what_was_measured_is_not_measured_again(small, tiny, songs, monkeypatch):
    seen = counted(monkeypatch)
    first = run([tiny], songs)
    assert seen == ["tiny", "tiny"]
    seen.clear()
    second = run([tiny], songs)
    assert seen == []
    assert second.scores == first.scores
    assert run([small, tiny], songs).scores["a.wav"]["tiny"] == first.scores["a.wav"]["tiny"]
    assert seen == ["linear 48 to 16", "small"] * 2  # only what is new
    seen.clear()
    sf.write(songs / "new.wav", np.sin(np.arange(RATE)), RATE)
    (songs / "a.wav").rename(songs / "renamed.wav")
    assert run([tiny], songs).scores["renamed.wav"] == first.scores["a.wav"]
    assert seen == ["tiny"]
    seen.clear()
    run([tiny], songs, fresh=True)
    assert seen == ["tiny"] * 3


def test_an_interrupted_run_goes_on(tiny, songs, monkeypatch):
    def stop(number, total, text):
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([tiny], songs, stop)
    seen = counted(monkeypatch)
    assert list(run([tiny], songs).scores) == ["a.wav", "deep/b.wav"]
    assert seen == ["tiny"]


def test_kept_figures_that_are_damaged_are_measured_again(tiny, songs, monkeypatch):
    first = run([tiny], songs)
    (kept,) = module.cache_folder().glob("*.jsonl")
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join([lines[1], lines[3][:40], "[]", "7", "\0", '{"track": {}, "figures": 3}']))
    seen = counted(monkeypatch)
    assert run([tiny], songs).scores == first.scores
    assert seen == ["tiny"]
    seen.clear()
    assert run([tiny], songs).scores == first.scores
    assert seen == []


def test_a_cache_that_cannot_be_written_is_one_line(tiny, songs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "file" / "cache")
    with pytest.raises(RtaeError, match="cannot be written: Not a directory; free or mend it"):
        run([tiny], songs)


# -- baselines ---------------------------------------------------------------------------------------------------------
def test_the_recipe_of_the_paper_is_measured_where_it_is(small, files_of, songs):
    store_model(small / "paper", files_of(TINY))
    result = run([small], songs)
    assert names_of(result) == ("input", "linear 48 to 16", "paper (small)", "small")
    assert [system.kind for system in result.systems] == ["input", "linear", "paper", "model"]
    assert result.mean("paper (small)") != result.mean("small")
    (small / "paper" / DECODER_FILE).write_bytes(b"junk")
    with pytest.raises(ModelError):
        run([small], songs)


def test_a_card_gets_the_figures_of_its_model_and_its_baselines(small, tiny, songs):
    card = small / CARD_FILE
    card.write_text("# small\n\n## Training\n\nlong\n\n## Data\n\n* songs\n")
    result = run([small, tiny], songs)
    for _ in range(2):  # the second time it takes the place of the first
        assert write_cards(result, [small]) == [card]
        text = card.read_text()
        assert [line for line in text.splitlines() if line.startswith("#")] == [
            "# small",
            "## Training",
            "## Measured",
            "## Data",
        ]
        assert f"| small | {result.mean('small')['snr']:.1f} |" in text
        assert "| linear 48 to 16 |" in text
        assert "tiny" not in text
    assert text.endswith("* songs\n")
    card.unlink()
    with pytest.raises(ModelError, match="cannot be completed"):
        write_cards(result, [small])
    assert {path.name for path in small.iterdir()} == {ENCODER_FILE, DECODER_FILE, SPEC_FILE, LINEAR_FILE}


def test_linear_codes_of_one_size_and_other_content_are_two(tmp_path, files_of, small, basis, songs):
    store_model(tmp_path / "same", files_of(SMALL), basis)
    store_model(tmp_path / "other", files_of(SMALL), basis[::-1] * 0.5)
    names = names_of(run([small, tmp_path / "same", tmp_path / "other"], songs))
    assert names == ("input", "linear 48 to 16", "small", "same", f"linear 48 to 16 of {tmp_path / 'other'}", "other")


def test_the_edge_of_a_linear_code():
    frequencies = np.arange(16)  # the first 16 of 48 cosines: up to a third of half the rate
    cosines = np.cos(np.pi * (np.arange(48)[None] + 0.5) * frequencies[:, None] / 48)
    cosines /= np.linalg.norm(cosines, axis=1, keepdims=True)
    assert band_edge(cosines, RATE) == pytest.approx(15.5 / 48 * RATE / 2, rel=0.02)
    assert band_edge(np.eye(24), RATE) is None  # loses nothing
    assert band_edge(np.zeros((16, 48)), RATE) is None


@pytest.mark.parametrize(("name", "edge"), [("small", 3600), ("tiny", 900), ("large", None)])
def test_the_edges_of_what_is_shipped(name, edge):
    folder = shipped_folder() / name
    code = linear_code(folder, OnnxModel.load(folder))
    assert band_edge(code.basis, RATE) == (edge and pytest.approx(edge, rel=0.02))


def test_below_its_edge_a_model_is_measured_as_well(tmp_path, files_of, songs):
    folder = store_model(tmp_path / "m", files_of(SMALL), np.load(shipped_folder() / "small" / LINEAR_FILE))
    result = run([folder], songs)
    assert result.mean("linear 48 to 16")[BELOW_EDGE] > result.mean("linear 48 to 16")["si_sdr"] + 3
    assert result.mean("m")[BELOW_EDGE] is not None


# -- linear codes ------------------------------------------------------------------------------------------------------
def test_a_model_without_a_linear_code(tiny, songs):
    assert linear_code(tiny, OnnxModel.load(tiny)) is None
    assert names_of(run([tiny], songs)) == ("input", "tiny")


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
        run([small], songs)


@pytest.mark.parametrize("change", SUBTLE.values(), ids=SUBTLE)
def test_a_linear_code_with_something_wrong_of_the_subtle_kind(small, songs, change):
    change(small / LINEAR_FILE)
    with pytest.raises(ModelError):
        run([small], songs)


def test_a_broken_model_is_not_measured(small, tiny, songs):
    (tiny / DECODER_FILE).write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"is not the file that model\.json describes"):
        run([small, tiny], songs)


@pytest.mark.parametrize(("samples", "peak", "enough"), [(4096, 1e-3, True), (4095, 1e-3, False), (4096, 9e-5, False)])
def test_what_is_enough_to_measure(samples, peak, enough):
    audio = np.full((2, samples), peak, np.float32)
    if enough:
        assert resampled(audio, RATE, RATE).shape == (1, samples)
    else:
        with pytest.raises(AudioFileError, match="too short or too quiet"):
            resampled(audio, RATE, RATE)
