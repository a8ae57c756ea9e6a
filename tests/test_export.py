import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile as sf
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

from rtae.errors import ExportError, ModelError, RtaeError, TrainingError
from rtae.export import exporter
from rtae.export import verify as verifying
from rtae.export.exporter import SMALLEST_SHARE, export, latent_statistics, principal_components
from rtae.export.verify import Check, Verification, difference
from rtae.nets.config import PRESETS, SMALL, NetConfig
from rtae.nets.reach import computed_reach
from rtae.runtime import OnnxModel
from rtae.spec import CARD_FILE, COMPONENTS, DECODER_FILE, ENCODER_FILE, LINEAR_FILE, SPEC_FILE, ModelSpec
from rtae.training import data
from rtae.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from rtae.training.config import TrainConfig
from rtae.training.data import DATA_FILE, middle, split, survey
from rtae.training.run import describe_material, fit_linear, start_folder

RATE = 22_050
WRITTEN = {SPEC_FILE, ENCODER_FILE, DECODER_FILE, CARD_FILE, LINEAR_FILE}
UNIT_RTOL = 1e-4  # of a standard deviation; measured 2e-6


def slim(config: NetConfig) -> NetConfig:
    """The same kernels and strides, few channels wide."""
    stacks = {
        name: tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", config.encoder), ("decoder", config.decoder))
    }
    return replace(config, **stacks)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Decoded audio and songs."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(5)
    (folder / "songs" / "album").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "album/c")):
        seconds = np.arange(2 * RATE) / RATE
        audio = 0.3 * np.sin(2 * np.pi * 150 * (number + 1) * seconds) + 0.05 * rng.standard_normal(len(seconds))
        sf.write(folder / "songs" / f"{name}.wav", audio, RATE)
    return folder


@pytest.fixture(autouse=True)
def surroundings(place, monkeypatch):
    """Hardly any repetition of what is only timed."""
    monkeypatch.setattr(data, "cache_folder", lambda: place / "cache")
    monkeypatch.setattr(verifying, "COST_RUNS", 1)


@pytest.fixture
def make_run(tmp_path, place, net_of):
    """What training leaves, with weights that do something: the folder of a run."""

    def make(config: NetConfig = slim(SMALL), name: str = "run", loss: str = "spectral") -> Path:  # noqa: B008
        run = tmp_path / name
        run.mkdir()
        net = net_of(config)
        state = {key: value.clone() for key, value in net.state_dict().items()}
        average = {key: value.clone() for key, value in state.items()}
        settings = TrainConfig(config, steps=5, crop=4096, loss=loss)
        Checkpoint(settings, 5, 90.0, state, average, {}).save(run)
        material = survey(place / "songs", RATE, 4096)
        training, held = split(material.tracks, material.folder)
        record = describe_material(material, material, training, held)
        start_folder(run, fit_linear(training, settings), record, fresh=True)
        return run

    return make


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def latents_of(model, run, part="training"):
    record = json.loads((run / DATA_FILE).read_text())
    tracks = survey(Path(record["folder"]), RATE, 4096).tracks
    chosen = [track for track in tracks if track.path.relative_to(record["folder"]).as_posix() in record[part]]
    return np.concatenate([model.encode(middle(track, 20)[None])[0] for track in chosen], axis=1)


# -- what is written ---------------------------------------------------------------------------------------------------
VARIANTS = {
    **{name: slim(config) for name, config in PRESETS.items()},
    "symmetric": replace(slim(SMALL), causal=False),
    "plain": replace(slim(SMALL), shortcut_frames=0),
}


AT_THE_END = "behind the end of a file the engine hears silence, and the whole file in one go has no frames"


@pytest.mark.parametrize(
    "config",
    [pytest.param(config, id=name) for name, config in VARIANTS.items()],
)
def test_a_run_becomes_a_model_that_verifies(tmp_path, make_run, net_of, config):
    run, said, shown = make_run(config), [], []
    done = export(run, "mine", tmp_path / "models", licence="CC0", say=said.append, show=shown.append)
    assert done.folder == tmp_path / "models" / "mine"
    assert {path.name for path in done.folder.iterdir()} == WRITTEN
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]
    model = OnnxModel.load(done.folder)
    assert model.spec == done.spec == ModelSpec.load(done.folder)
    spec = model.spec
    assert (spec.name, spec.preset, spec.licence, spec.sample_rate) == ("mine", config.preset, "CC0", RATE)
    assert (spec.stride, spec.latent_dim, spec.extra_frames) == (config.stride, config.latent_dim, config.extra_frames)
    assert spec.reach == computed_reach(config)
    assert shown == [done.verification]
    assert said == sorted(set(said), key=said.index)
    assert done.verification.to_dict() == spec.verification
    assert all(check.passed for check in done.verification.checks)
    assert {check.limit for check in done.verification.checks} == {0, verifying.PARITY_LIMIT}
    # What it promises, measured anew.
    net = net_of(config)
    audio = np.random.default_rng(1).uniform(-1, 1, (2, 5001)).astype(np.float32)
    with torch.no_grad():
        z = net.encoder(torch.from_numpy(audio)[:, None])
        expected = net.decoder(z)[:, 0].numpy()
    own = model.encode(audio)
    assert np.abs(own - z.numpy() / np.array(spec.latent_std)[:, None]).max() < verifying.PARITY_LIMIT
    assert np.abs(model.decode(own) - expected).max() < verifying.PARITY_LIMIT


def test_latents_have_unit_variance_on_what_was_trained_on(tmp_path, make_run):
    run = make_run()
    spec = export(run, "mine", tmp_path).spec
    z = latents_of(OnnxModel.load(tmp_path / "mine"), run)
    assert z.std(axis=1) == pytest.approx(np.ones(16), rel=UNIT_RTOL)
    assert z.mean(axis=1) == pytest.approx(np.array(spec.latent_mean), rel=1e-3, abs=1e-4)
    held = latents_of(OnnxModel.load(tmp_path / "mine"), run, "held_out")
    assert np.abs(held.std(axis=1) - 1).max() > 10 * UNIT_RTOL


def test_a_latent_that_never_moves_is_left_as_it_is(net_of, place):
    config = slim(SMALL)
    net = net_of(replace(config, shortcut_frames=0))
    net = type(net)(net.config)
    net.load_state_dict(net_of(net.config).state_dict())
    with torch.no_grad():
        net.encoder.stack[-1].conv.weight[3] = 0
        net.encoder.stack[-1].conv.bias[3] = 2.5
    statistics = latent_statistics(net.eval(), survey(place / "songs", RATE, 4096).tracks)
    assert (statistics.mean[3], statistics.std[3]) == (pytest.approx(2.5), 1)
    assert np.delete(statistics.std, 3).min() > 1e-3
    assert np.abs(statistics.components[:, 3]).max() < 1e-6


def test_a_latent_that_hardly_moves_is_not_blown_up(net_of, place):
    net = net_of(slim(SMALL))
    net = type(net)(net.config)
    net.load_state_dict(net_of(net.config).state_dict())
    with torch.no_grad():
        for weights in net.encoder.parameters():
            if weights.shape[:1] == (16,):
                weights[3] *= 1e-3
    statistics = latent_statistics(net.eval(), survey(place / "songs", RATE, 4096).tracks)
    assert statistics.std[3] == pytest.approx(SMALLEST_SHARE * statistics.std.max())


def test_components_are_those_of_the_latents_that_were_trained_on(tmp_path, make_run):
    run = make_run()
    spec = export(run, "mine", tmp_path).spec
    z = latents_of(OnnxModel.load(tmp_path / "mine"), run).astype(np.float64)
    centred = z - z.mean(axis=1, keepdims=True)
    deviations = np.linalg.svd(centred / np.sqrt(z.shape[1]), compute_uv=False)
    deviations = deviations[deviations > 1e-2 * deviations[0]]
    count = min(COMPONENTS, len(deviations))
    assert count > 2
    assert np.array(spec.component_std)[:count] == pytest.approx(deviations[:count], rel=1e-3)
    components = np.array(spec.components)
    assert components @ components.T == pytest.approx(np.eye(len(components)), abs=1e-5)
    assert (components @ centred).std(axis=1)[:count] == pytest.approx(deviations[:count], rel=1e-3)
    share = (deviations**2 / (centred**2).mean(axis=1).sum())[:count]
    assert spec.training["component_share"][:count] == pytest.approx(share, abs=1e-3)
    again = export(run, "again", tmp_path).spec
    assert (again.components, again.component_std) == (spec.components, spec.component_std)
    card = (tmp_path / "mine" / CARD_FILE).read_text()
    total = sum(spec.training["component_share"])
    assert f"| principal components | {len(components)}, {total:.0%} of the variance of the latents |" in card


def test_components_of_a_known_covariance(rng):
    directions = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    variances = np.array([1e-9, 5, 0.2, 3, 0, 0.7, 2, 0.5, 0.1, 0.3, 1, 0.05])
    components, std, share = principal_components((directions * variances) @ directions.T)
    order = np.argsort(variances)[::-1][:COMPONENTS]
    assert std**2 == pytest.approx(variances[order], rel=1e-9)
    assert np.abs(np.sum(components * directions[:, order].T, axis=1)) == pytest.approx(np.ones(COMPONENTS))
    assert share == pytest.approx(variances[order] / variances.sum())
    assert np.all(np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1) > 0)


@pytest.mark.parametrize(("covariance", "count"), [(np.zeros((4, 4)), 0), (np.eye(3), 3), (np.diag([1.0, 0, 0]), 1)])
def test_what_does_not_move_has_no_component(covariance, count):
    components, std, share = principal_components(covariance)
    assert components.shape == (count, len(covariance))
    assert len(std) == len(share) == count


@pytest.mark.parametrize("loss", ["spectral", "mse"])
def test_the_card_says_what_was_measured(tmp_path, make_run, loss):
    run = make_run(loss=loss)
    done = export(run, "mine", tmp_path, licence="CC BY 4.0")
    text = (tmp_path / "mine" / CARD_FILE).read_text()
    facts = done.spec.training
    record = json.loads((run / DATA_FILE).read_text())
    assert facts["files"] == record["training"]
    assert (facts["steps"], facts["minutes"], facts["loss"], facts["tracks"]) == (5, 1.5, loss, 2)
    assert facts["held_out_tracks"] == 1
    for wanted in ("# mine", "CC BY 4.0", f"{facts['si_sdr_db']:.2f} dB", f"{facts['linear_mr_stft']:.3f}", "5 steps"):
        assert wanted in text
    for check in done.verification.checks:
        assert f"| {check.name} | {check.value:.2g} | {check.limit:.2g} |" in text
    for name in record["training"]:
        assert Path(name).stem in text.split("## Data")[1]
    assert "mean squared error" in text or loss == "spectral"


def test_a_model_carries_notes_a_checkpoint_and_what_it_came_from(tmp_path, make_run):
    run, notes = make_run(), tmp_path / "notes.md"
    notes.write_text("## How it sounds\n\nLike a bell.\n")
    mine = tmp_path / "mine"
    (mine / "paper").mkdir(parents=True)
    (mine / "paper" / "model.json").write_text("{}")
    (mine / "prior.json").write_text("{}")  # of the model that was there before
    start = Checkpoint.load(run)
    replace(start, earlier_steps=700, earlier_seconds=180.0).save(run)
    export(run, "mine", tmp_path, overwrite=True, notes=notes, keep_checkpoint=True)
    text = (mine / CARD_FILE).read_text()
    assert text.index("Like a bell.") < text.index("## Training")
    assert "after 700 steps in 3 minutes of the runs that it was started from" in text
    again = Checkpoint.load(mine)
    assert (again.step, again.earlier_steps, again.earlier_seconds) == (5, 700, 180.0)
    files = {path.name for path in mine.iterdir()}
    assert files >= {"paper", CARD_FILE, "checkpoint.safetensors"}
    assert not files & {"prior.json", "config.json"}
    assert (mine / "paper" / "model.json").is_file()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a" * (1 << 17)])
def test_notes_that_are_none(tmp_path, make_run, content):
    notes = tmp_path / "notes.md"
    if content is not None:
        notes.write_bytes(content)
    with pytest.raises(ExportError, match=r"notes\.md"):
        export(make_run(), "mine", tmp_path, notes=notes)
    assert not (tmp_path / "mine").exists()


def test_quality_is_that_of_the_models_own_files(tmp_path, make_run):
    run = make_run()
    done = export(run, "mine", tmp_path)
    model = OnnxModel.load(tmp_path / "mine")
    record = json.loads((run / DATA_FILE).read_text())
    audio, _ = sf.read(Path(record["folder"]) / record["held_out"][0], dtype="float32")
    target = np.rint(audio * data.SCALE) / data.SCALE  # as the cache keeps it
    output = model.decode(model.encode(target[None].astype(np.float32)))[0, : len(target)].astype(np.float64)
    wanted = target * (output @ target) / (target @ target)
    si_sdr = 10 * np.log10((wanted @ wanted) / ((output - wanted) @ (output - wanted)))
    assert done.spec.training["si_sdr_db"] == pytest.approx(si_sdr, abs=0.1)


def test_songs_that_moved(tmp_path, make_run, place):
    run = make_run()
    record = json.loads((run / DATA_FILE).read_text())
    record["folder"] = record["held_out_folder"] = str(tmp_path / "gone")
    (run / DATA_FILE).write_text(json.dumps(record))
    with pytest.raises(RtaeError, match="gone"):
        export(run, "mine", tmp_path / "models")
    assert export(run, "mine", tmp_path / "models", data=place / "songs").folder.is_dir()


def test_songs_that_moved_while_those_held_out_stay_where_they_were(tmp_path, make_run, place):
    run = make_run()
    record = json.loads((run / DATA_FILE).read_text())
    (other := tmp_path / "other").mkdir()
    shutil.copy(place / "songs" / "a.wav", other)
    record |= {"folder": str(tmp_path / "gone"), "held_out_folder": str(other), "held_out": ["a.wav"]}
    for name in ("b.wav", "album/c.wav"):
        (tmp_path / "moved" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / "songs" / name, tmp_path / "moved" / name)
    record["training"] = ["b.wav", "album/c.wav"]
    (run / DATA_FILE).write_text(json.dumps(record))
    assert export(run, "mine", tmp_path / "models", data=tmp_path / "moved").folder.is_dir()


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.fixture
def existing(tmp_path):
    """A model that is there already, and nothing else."""
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / SPEC_FILE).write_text("the old one")
    return tmp_path / "models"


@pytest.fixture
def untouched(existing):
    """Whatever goes wrong in a test with this, the old model is all there is afterwards."""
    before = contents(existing)
    yield existing
    assert contents(existing) == before


def shifted(graph: bytes) -> bytes:
    """A graph with one weight that is slightly wrong."""
    model = onnx.load_from_string(graph)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(weight).copy()
    values.flat[values.size // 2] += 0.05
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model.SerializeToString()


def test_a_limit_that_is_missed_is_named_and_nothing_is_written(make_run, untouched, monkeypatch):
    monkeypatch.setattr(verifying, "PARITY_LIMIT", 0)
    shown = []
    with pytest.raises(ExportError, match="nothing was written: torch against ONNX, latents, music is"):
        export(make_run(), "mine", untouched, overwrite=True, show=shown.append)
    assert not all(check.passed for check in shown[0].checks)


@pytest.mark.parametrize(
    ("graph", "figure"), [("encoder_graph", "ONNX, latents, noise is"), ("decoder_graph", "ONNX, audio, noise is")]
)
def test_a_wrong_weight_is_found(make_run, untouched, monkeypatch, graph, figure):
    right = getattr(exporter, graph)
    monkeypatch.setattr(exporter, graph, lambda net, std: shifted(right(net, std)))
    with pytest.raises(ExportError, match=figure):
        export(make_run(), "mine", untouched, overwrite=True)


def test_a_wrong_reach_is_found(make_run, untouched, monkeypatch):
    def wrong(config):
        reach = computed_reach(config)
        return replace(reach, decoder_past=reach.decoder_past - 3, receptive_field=reach.receptive_field - 100)

    monkeypatch.setattr(exporter, "computed_reach", wrong)
    monkeypatch.setattr(verifying, "computed_reach", wrong)
    with pytest.raises(ExportError) as caught:
        export(make_run(), "mine", untouched, overwrite=True)
    assert "decoder past (" in str(caught.value)
    assert "receptive field (" in str(caught.value)
    assert "encoder past (" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "..", ".hidden", "-x", "a b", "[b]", "x" * 65, "ü", "a\n"])
def test_what_cannot_be_a_name(tmp_path, untouched, name):
    with pytest.raises(ModelError, match="cannot name a model: use up to 64 letters, digits"):
        export(tmp_path / "no run", name, untouched, overwrite=True)


def test_a_model_is_not_replaced_unless_asked(tmp_path, untouched):
    with pytest.raises(ExportError, match=r"There is a model in .* already; choose another --name, or add --overwrite"):
        export(tmp_path / "no run", "mine", untouched)


def test_a_model_is_replaced_if_asked(make_run, existing):
    export(make_run(), "mine", existing, overwrite=True)
    assert {path.name for path in existing.iterdir()} == {"mine"}
    assert {path.name for path in (existing / "mine").iterdir()} == WRITTEN
    OnnxModel.load(existing / "mine")


@pytest.mark.parametrize("into", ["file", "file/below"])
def test_a_place_that_cannot_be_written(tmp_path, make_run, into):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match=r"cannot be made \(.*\); choose another --into"):
        export(make_run(), "mine", tmp_path / into)
    assert (tmp_path / "file").read_text() == "x"


def test_a_place_that_cannot_be_written_is_found_out_first(tmp_path, make_run):
    (tmp_path / "file").write_text("x")
    said = []
    with pytest.raises(ExportError):
        export(make_run(), "mine", tmp_path / "file", say=said.append)
    assert said == []


def failing_at(number, original, error):
    """A function that raises when it is called for the nth time."""
    calls = []

    def call(*given):
        calls.append(1)
        if len(calls) == number:
            raise error
        return original(*given)

    return call


@pytest.mark.parametrize("number", [1, 3])
def test_a_disk_that_fails_leaves_the_old_model(make_run, untouched, monkeypatch, number):
    run = make_run()
    write = Path.write_bytes
    calls = []

    def fail(self, content):
        if untouched in self.parents:
            calls.append(self)
            if len(calls) == number:
                raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ExportError, match=r"cannot be written \(No space left on device\)"):
        export(run, "mine", untouched, overwrite=True)
    assert len(calls) == number


def renames_of(folder, monkeypatch, number, error):
    """The nth renaming within a folder fails."""
    rename, calls = Path.replace, []

    def fail(self, target):
        if folder in self.parents:
            calls.append(self)
            if len(calls) == number:
                raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)


def test_a_first_renaming_that_fails_leaves_the_old_model(make_run, untouched, monkeypatch):
    run = make_run()
    renames_of(untouched, monkeypatch, 1, PermissionError(13, "Permission denied"))
    with pytest.raises(ExportError, match="Permission denied"):
        export(run, "mine", untouched, overwrite=True)


def test_a_second_renaming_that_fails_leaves_the_old_model(make_run, existing, monkeypatch):
    run, before = make_run(), contents(existing)
    renames_of(existing, monkeypatch, 2, PermissionError(13, "Permission denied"))
    with pytest.raises(ExportError, match="Permission denied"):
        export(run, "mine", existing, overwrite=True)
    assert contents(existing) == before


def test_an_interrupted_export_leaves_nothing(make_run, existing, monkeypatch):
    run, before = make_run(), contents(existing)
    renames_of(existing, monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        export(run, "mine", existing, overwrite=True)
    assert contents(existing) == before


def test_a_file_in_the_place_of_a_model(tmp_path, make_run):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").write_text("a file")
    with pytest.raises(ExportError, match="is a file"):
        export(make_run(), "mine", tmp_path / "models", overwrite=True)
    assert (tmp_path / "models" / "mine").read_text() == "a file"


# -- runs with something wrong -----------------------------------------------------------------------------------------
def edit_record(change):
    def edit(run):
        record = json.loads((run / DATA_FILE).read_text())
        change(record)
        (run / DATA_FILE).write_text(json.dumps(record))

    return edit


def edit_weights(change):
    def edit(run):
        path = run / CHECKPOINT_FILE
        checkpoint = Checkpoint.load(run)
        facts = {"format": 1, "step": 5, "seconds": 90.0, "config": asdict(checkpoint.config)}
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"rtae": json.dumps(facts)})

    return edit


FIRST = "average/encoder.stack.0.conv.weight"
PICKLE = b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04exit\x94\x85."
BROKEN = {
    "no checkpoint": (lambda run: (run / CHECKPOINT_FILE).unlink(), "No checkpoint at"),
    "a junk checkpoint": (lambda run: (run / CHECKPOINT_FILE).write_bytes(b"junk" * 99), "is not a checkpoint"),
    "NaN weights": (edit_weights(lambda tensors: tensors[FIRST].fill_(float("nan"))), "that are not finite"),
    "a missing weight": (edit_weights(lambda tensors: tensors.pop(FIRST)), "does not fit its own configuration"),
    "a wrong weight": (edit_weights(lambda tensors: tensors.update({FIRST: torch.ones(3)})), "does not fit its own"),
    "no record": (lambda run: (run / DATA_FILE).unlink(), "is not usable"),
    "a broken record": (lambda run: (run / DATA_FILE).write_text("{"), "is not usable"),
    "a list as record": (lambda run: (run / DATA_FILE).write_text("[]"), "is not usable"),
    "a binary record": (lambda run: (run / DATA_FILE).write_bytes(b"\xff\x00"), "is not usable"),
    "a record without songs": (edit_record(lambda record: record.pop("training")), "is not usable"),
    "odd songs": (edit_record(lambda record: record.update(training=[{}])), "is not usable"),
    "other songs": (edit_record(lambda record: record.update(training=["x.wav"])), "say where with --data FOLDER"),
    "no held-out songs": (edit_record(lambda record: record.update(held_out=[])), "say where with --data FOLDER"),
    "no linear code": (lambda run: (run / LINEAR_FILE).unlink(), "linear.npy is not the linear code"),
    "a cut linear code": (
        lambda run: (run / LINEAR_FILE).write_bytes(b"\x93NUMPY\x01\x00"),
        "linear.npy is not the linear code",
    ),
    "a pickle as linear code": (
        lambda run: (run / LINEAR_FILE).write_bytes(PICKLE),
        "linear.npy is not the linear code",
    ),
}
SUBTLE = {
    "an empty linear code": lambda run: (run / LINEAR_FILE).write_bytes(b""),
    "a linear code of another shape": lambda run: np.save(run / LINEAR_FILE, np.zeros((3, 5), np.float32)),
    "a linear code of one dimension": lambda run: np.save(run / LINEAR_FILE, np.zeros(3, np.float32)),
    "a linear code of text": lambda run: np.save(run / LINEAR_FILE, np.zeros((16, 48), "U4")),
    "a linear code of NaN": lambda run: np.save(run / LINEAR_FILE, np.full((16, 48), np.nan, np.float32)),
    "a record without minutes": edit_record(lambda record: record.pop("minutes")),
    "a record with odd minutes": edit_record(lambda record: record.update(minutes="many")),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_a_run_with_something_wrong(make_run, untouched, change, message):
    run = make_run()
    change(run)
    with pytest.raises((ExportError, TrainingError), match=message):
        export(run, "mine", untouched, overwrite=True)


@pytest.mark.parametrize("change", SUBTLE.values(), ids=SUBTLE)
def test_a_run_with_something_wrong_of_the_subtle_kind(make_run, untouched, change):
    run = make_run()
    change(run)
    with pytest.raises((ExportError, TrainingError)):
        export(run, "mine", untouched, overwrite=True)


def test_a_misfit_is_one_line(make_run, tmp_path):
    run = make_run()
    edit_weights(lambda tensors: tensors.pop(FIRST))(run)
    with pytest.raises(TrainingError) as caught:
        export(run, "mine", tmp_path / "models")
    assert "\n" not in str(caught.value)


# -- figures -----------------------------------------------------------------------------------------------------------
def test_a_check_passes_up_to_its_limit():
    assert Check("", 1.0, 1.0).passed
    assert not Check("", 1.1, 1.0).passed
    assert not Check("", float("nan"), 1.0).passed
    assert not Check("", float("inf"), 1.0).passed


def test_all_that_failed_is_named():
    checks = [Check("one", 2, 1), Check("two", 0, 1), Check("three", float("nan"), 0.5)]
    with pytest.raises(ExportError, match=r": one is 2, allowed is 1; three is nan, allowed is 0\.5$"):
        Verification(checks).require()
    Verification([checks[1]]).require()


def test_a_difference_is_the_largest_one():
    first = np.array([[0.0, 1.0, -2.0]], np.float32)
    assert difference(first, first) == 0
    assert difference(first, first + np.array([0, 0.25, -0.5], np.float32)) == 0.5
    assert difference(first, first[:, :2]) == float("inf")
    assert difference(first, first * np.float32(np.nan)) == float("inf")
    assert difference(first[:, :0], first[:, :0]) == 0


def test_checksums_are_those_of_the_files(tmp_path, make_run):
    done = export(make_run(), "mine", tmp_path)
    for name in (ENCODER_FILE, DECODER_FILE):
        assert done.spec.files[name] == hashlib.sha256((done.folder / name).read_bytes()).hexdigest()
