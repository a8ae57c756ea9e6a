import csv
import errno
import json
import math
import os
import signal
import stat
import threading
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from rtae.errors import AudioFileError, TrainingError
from rtae.metrics import METRICS
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import PRESETS, SMALL, NetConfig
from rtae.nets.linear import LinearCode
from rtae.training import data, watch
from rtae.training import optimizer as optimizers
from rtae.training import run as running
from rtae.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from rtae.training.config import CONFIG_FILE, TUNING_RATE, TrainConfig
from rtae.training.data import DATA_FILE, SCALE, Crops, Track, split, survey
from rtae.training.losses import (
    BelowLinear,
    TrainingLoss,
    quality,
    si_sdr,
    spectral_distance,
)
from rtae.training.module import FINAL_RATE, TrainingModule
from rtae.training.run import COLUMNS, FLOOR_SECONDS, fit_linear, linear_floors, prepare_run, train

RATE = 22_050
CROP = 4096


def slim(config: NetConfig) -> NetConfig:
    """The same kernels and strides, few channels wide."""
    stacks = {
        name: tuple(replace(layer, channels=3) if layer.channels else layer for layer in stack[:-1]) + stack[-1:]
        for name, stack in (("encoder", config.encoder), ("decoder", config.decoder))
    }
    return replace(config, **stacks)


NET = slim(SMALL)
QUICK = TrainConfig(
    NET, steps=8, crop=CROP, batch=2, validate_every=3, warmup=4, freeze_norm_at=0.5, learning_rate=0.01
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Decoded audio goes here; one thread, as another number of them may round otherwise."""
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path / "cache"
    torch.set_num_threads(threads)


def tone(rng, seconds, rate=RATE, pitch=220.0):
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * pitch * time) + 0.03 * rng.standard_normal(len(time))


@pytest.fixture
def songs(rng, tmp_path):
    folder = tmp_path / "songs"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "c", "deep/d")):
        sf.write(folder / f"{name}.wav", tone(rng, 1.0, RATE, 150.0 * (number + 1)), RATE)
    return folder


@pytest.fixture
def material(songs):
    return survey(songs, RATE, CROP)


def leftovers(folder):
    return [str(path) for path in folder.rglob("*") if ".part" in path.name]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rows_of(run):
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def after(steps, act):
    """A report that acts once, after so many steps of a run."""
    seen = []

    def report(at):
        if at.si_sdr is None:
            seen.append(at)
            if len(seen) == steps:
                act()

    return report


@pytest.fixture
def losses(monkeypatch):
    """The loss of every step, by its number, as the runs of a test make them."""
    seen = []
    step = TrainingModule.training_step

    def recorded(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        seen.append((self.step, float(loss.detach())))
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    return seen


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert len(first) > 10
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


# -- a run -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("loss", "optimizer"), [("spectral", "soap"), ("spectral", "adam"), ("mse", "adam")])
@pytest.mark.parametrize("half", [2, 5], ids=["before batch norm is frozen", "after"])
def test_a_resumed_run_is_the_same_to_the_bit(tmp_path, material, losses, half, loss, optimizer, monkeypatch):
    monkeypatch.setattr(optimizers, "SOAP_EVERY", 2)
    config = replace(QUICK, loss=loss, optimizer=optimizer)
    train(config, material, tmp_path / "whole")
    whole = list(losses)
    losses.clear()
    stop = threading.Event()
    train(config, material, tmp_path / "parts", after(half, stop.set), stop=stop)
    assert Checkpoint.load(tmp_path / "parts").step == half == len(losses)
    train(config, material, tmp_path / "parts", resume=True)
    assert losses == whole
    assert [step for step, _ in whole] == list(range(8))
    first, second = Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "parts")
    assert (first.step, second.step) == (8, 8)
    assert_same(first.model, second.model)
    assert_same(first.average, second.average)
    assert_same(first.optimizer, second.optimizer)
    start = Autoencoder(NET).state_dict()
    assert all(not torch.equal(first.model[name], value) for name, value in start.items() if name.endswith("weight"))


def test_a_checkpoint_between_two_validations_continues_to_the_bit(tmp_path, material, monkeypatch):
    class Killed(BaseException):
        """What nobody catches."""

    def kill():
        raise Killed

    config = replace(QUICK, validate_every=100)
    train(config, material, tmp_path / "whole")
    monkeypatch.setattr(running, "SAVE_SECONDS", -1)  # a save after each step
    with pytest.raises(Killed):
        train(config, material, tmp_path / "parts", after(6, kill))
    assert 4 <= Checkpoint.load(tmp_path / "parts").step <= 5
    train(config, material, tmp_path / "parts", resume=True)
    first, second = Checkpoint.load(tmp_path / "whole"), Checkpoint.load(tmp_path / "parts")
    assert_same(first.model, second.model)
    assert_same(first.average, second.average)


def test_another_seed_is_another_run(tmp_path, material):
    for seed in (0, 1):
        train(replace(QUICK, steps=2, seed=seed), material, tmp_path / str(seed))
    first, second = (Checkpoint.load(tmp_path / name).model for name in "01")
    assert not torch.equal(first["encoder.stack.0.conv.weight"], second["encoder.stack.0.conv.weight"])


def test_a_run_leaves_what_it_should(tmp_path, material):
    run = tmp_path / "run"
    seen = []
    module = train(QUICK, material, run, seen.append)
    assert {path.name for path in run.iterdir()} == {
        CHECKPOINT_FILE,
        CONFIG_FILE,
        DATA_FILE,
        "linear.npy",
        "metrics.csv",
        "previews",
    }
    assert leftovers(run) == []
    rows = rows_of(run)
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [3, 6, 8]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert [float(row["seconds"]) for row in rows] == sorted(float(row["seconds"]) for row in rows)
    validations = [at for at in seen if at.si_sdr is not None]
    assert [at.step for at in validations] == [3, 6, 8]
    assert sum(at.si_sdr is None for at in seen) == 8
    for row, at in zip(rows, validations, strict=True):
        assert float(row["si_sdr_db"]) == pytest.approx(at.si_sdr, rel=1e-5)
        assert float(row["mr_stft"]) == pytest.approx(at.mr_stft, rel=1e-5)
    assert (module.step, module.progress()) == (8, 1)
    assert TrainConfig.load(run) == Checkpoint.load(run).config == QUICK


def test_previews_are_a_held_out_track_and_what_the_average_makes_of_it(tmp_path, material):
    run = tmp_path / "run"
    train(QUICK, material, run)
    (held,) = split(material.tracks, material.folder)[1]
    name = held.path.stem
    assert {path.name for path in (run / "previews").iterdir()} == {f"1-{name}-input.wav", f"1-{name}-output.wav"}
    target, rate = sf.read(run / "previews" / f"1-{name}-input.wav", dtype="float32")
    output, _ = sf.read(run / "previews" / f"1-{name}-output.wav", dtype="float32")
    assert rate == RATE
    assert np.abs(target - held.read(0, held.samples)).max() <= 2**-23
    net = Autoencoder(NET).eval()
    net.load_state_dict(Checkpoint.load(run).average)
    with torch.no_grad():
        expected = net(torch.from_numpy(held.read(0, held.samples))[None, None])[0, 0].numpy()
    assert np.abs(output - expected.clip(-1, 1)).max() < 1e-5
    figures = quality(torch.from_numpy(expected)[None, None], torch.from_numpy(target)[None, None], spectral_distance())
    last = rows_of(run)[-1]
    assert float(last["si_sdr_db"]) == pytest.approx(figures[0], abs=1e-2)
    assert float(last["mr_stft"]) == pytest.approx(figures[1], rel=1e-3)


@pytest.mark.parametrize("error", [0.01, 1.0])
def test_si_sdr_is_what_others_compute(rng, error):
    target = rng.standard_normal((2, 1, 5000)).astype(np.float32)
    output = 0.3 * target + error * rng.standard_normal(target.shape).astype(np.float32)
    figures = si_sdr(torch.from_numpy(output), torch.from_numpy(target))
    expected = scale_invariant_signal_distortion_ratio(torch.from_numpy(output), torch.from_numpy(target))
    assert figures.shape == (2, 1)
    torch.testing.assert_close(figures, expected)
    assert float(figures[0]) == pytest.approx(METRICS["si_sdr"].measure(target[0, 0], output[0, 0], RATE), abs=1e-3)


def test_what_was_trained_on_is_written_down(tmp_path, material, songs):
    (songs / "broken.wav").write_text("no audio")
    material = survey(songs, RATE, CROP)
    module = train(replace(QUICK, steps=1), material, tmp_path / "run")
    record = json.loads((tmp_path / "run" / DATA_FILE).read_text())
    training, held = split(material.tracks, songs)
    assert record["training"] == [track.path.relative_to(songs).as_posix() for track in training]
    assert record["held_out"] == [track.path.relative_to(songs).as_posix() for track in held]
    assert sorted(record["training"] + record["held_out"]) == ["a.wav", "b.wav", "c.wav", "deep/d.wav"]
    assert record["folder"] == record["held_out_folder"] == str(songs)
    assert list(record["skipped"]) == [str(songs / "broken.wav")]
    basis = np.load(tmp_path / "run" / "linear.npy")
    assert np.array_equal(basis, fit_linear(training, QUICK).basis)
    assert isinstance(module, TrainingModule)


def test_held_out_songs_of_their_own(rng, tmp_path, material):
    (tmp_path / "held").mkdir()
    sf.write(tmp_path / "held" / "z.wav", tone(rng, 0.5), RATE)
    train(replace(QUICK, steps=1), material, tmp_path / "run", held_out=survey(tmp_path / "held", RATE, CROP))
    record = json.loads((tmp_path / "run" / DATA_FILE).read_text())
    assert (len(record["training"]), record["held_out"]) == (4, ["z.wav"])
    assert record["held_out_folder"] == str(tmp_path / "held")
    assert (tmp_path / "run" / "previews" / "1-z-output.wav").is_file()


def test_training_starts_from_the_linear_code(tmp_path, material, monkeypatch):
    start = []

    def look(self):
        start.append({name: value.clone() for name, value in self.net.state_dict().items()})

    monkeypatch.setattr(TrainingModule, "on_train_start", look)
    train(replace(QUICK, steps=1), material, tmp_path / "run")
    net = Autoencoder(NET).eval()
    net.load_state_dict(start[0])
    training, held = split(material.tracks, material.folder)
    audio = held[0].read(0, 48 * 100)[None]
    with torch.no_grad():
        output = net(torch.from_numpy(audio)[None])[0].numpy()
    assert np.abs(output - fit_linear(training, QUICK).reconstruct(audio)).max() < 1e-5


def test_batch_norm_keeps_its_statistics_once_frozen(tmp_path, material, monkeypatch):
    means = []
    end = TrainingModule.on_train_batch_end

    def watch(self, *given):
        norm = next(module for module in self.net.modules() if isinstance(module, nn.BatchNorm1d))
        means.append((norm.running_mean.clone(), norm.running_var.clone(), norm.weight.detach().clone()))
        end(self, *given)

    monkeypatch.setattr(TrainingModule, "on_train_batch_end", watch)
    train(QUICK, material, tmp_path / "run")  # freezes at step 4; validates, which changes modes, at 3 and 6
    moved = [not torch.equal(before[0], now[0]) for before, now in pairwise(means)]
    assert moved == [True, True, True, False, False, False, False]
    assert torch.equal(means[3][1], means[7][1])
    assert not torch.equal(means[6][2], means[7][2])  # its weights are trained on


# -- ends --------------------------------------------------------------------------------------------------------------
def test_a_signal_ends_the_run_and_keeps_it(tmp_path, material):
    before = signal.getsignal(signal.SIGINT)

    module = train(QUICK, material, tmp_path / "run", after(2, lambda: signal.raise_signal(signal.SIGINT)))
    assert (module.step, module.progress()) == (2, 2 / 8)
    assert Checkpoint.load(tmp_path / "run").step == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert [int(row["step"]) for row in rows_of(tmp_path / "run")] == [2]
    assert leftovers(tmp_path / "run") == []


def test_a_second_signal_ends_the_program(tmp_path, material):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(QUICK, material, tmp_path / "run", after(5, twice))
    assert Checkpoint.load(tmp_path / "run").step == 3  # the last validation's
    assert leftovers(tmp_path / "run") == []


def broken_at(step, make):
    """The loss, changed at one step of a run."""
    forward, calls = TrainingLoss.forward, []

    def loss(self, output, target, *song_floor):
        calls.append(1)
        value = forward(self, output, target, *song_floor)
        return make(value, output) if len(calls) == step + 1 else value

    return loss


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path, material, monkeypatch, value):
    monkeypatch.setattr(TrainingLoss, "forward", broken_at(4, lambda loss, _: loss * value))
    with pytest.raises(TrainingError, match=r"The loss is -?(nan|inf) at step 4\. .* lower --learning-rate than 0\.01"):
        train(QUICK, material, tmp_path / "run")
    kept = Checkpoint.load(tmp_path / "run")
    assert kept.step == 3
    assert all(torch.isfinite(value).all() for value in kept.model.values())
    assert leftovers(tmp_path / "run") == []
    monkeypatch.undo()
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    assert train(QUICK, material, tmp_path / "run", resume=True).step == 8


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, material, monkeypatch):
    # A finite loss whose gradient is not: the square root at 0.
    monkeypatch.setattr(
        TrainingLoss, "forward", broken_at(5, lambda loss, output: loss + (output * 0).abs().sum().sqrt())
    )
    with pytest.raises(TrainingError):
        train(QUICK, material, tmp_path / "run")
    kept = Checkpoint.load(tmp_path / "run")
    assert kept.step == 3
    assert all(torch.isfinite(value).all() for value in kept.model.values())


@pytest.fixture
def every_warning():
    """Torch warns of most things only once."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def test_a_loss_that_is_no_number_gives_no_other_warning(tmp_path, material, monkeypatch, every_warning):
    monkeypatch.setattr(TrainingLoss, "forward", broken_at(1, lambda loss, _: loss * math.nan))
    with pytest.raises(TrainingError, match="The loss is nan"):
        train(QUICK, material, tmp_path / "run")


def test_minutes_are_a_budget_too(tmp_path, material):
    module = train(replace(QUICK, steps=None, minutes=0.01), material, tmp_path / "run")
    assert module.step >= 1
    assert Checkpoint.load(tmp_path / "run").seconds >= 0.6


# -- starting and going on ---------------------------------------------------------------------------------------------
def test_a_run_is_never_overwritten(tmp_path, material):
    train(replace(QUICK, steps=1), material, tmp_path / "run")
    before = files_of(tmp_path / "run")
    with pytest.raises(TrainingError, match="holds a training run already: continue it with --resume"):
        train(QUICK, material, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"is of another network \(small\); choose another --out"):
        train(replace(QUICK, net=slim(PRESETS["tiny"])), material, tmp_path / "run", resume=True)
    assert files_of(tmp_path / "run") == before


def test_resuming_nothing(tmp_path, material):
    with pytest.raises(TrainingError, match=r"No checkpoint at .* Make one with: rtae train FOLDER --out"):
        train(QUICK, material, tmp_path / "run", resume=True)


def test_a_budget_that_is_used_up(tmp_path, material):
    train(replace(QUICK, steps=1), material, tmp_path / "run")
    before = Checkpoint.load(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"The budget of this run is used up \(1 steps\): give more"):
        train(replace(QUICK, steps=1), material, tmp_path / "run", resume=True)
    assert_same(Checkpoint.load(tmp_path / "run").model, before.model)
    assert train(replace(QUICK, steps=3), material, tmp_path / "run", resume=True).step == 3


def test_a_run_that_cannot_go_on_is_left_alone(rng, tmp_path, material):
    train(replace(QUICK, steps=1), material, tmp_path / "run")
    (tmp_path / "others").mkdir()
    for name in "xy":
        sf.write(tmp_path / "others" / f"{name}.wav", tone(rng, 0.5), RATE)
    before = files_of(tmp_path / "run")
    with pytest.raises(TrainingError, match="used up"):
        train(replace(QUICK, steps=1), survey(tmp_path / "others", RATE, CROP), tmp_path / "run", resume=True)
    assert files_of(tmp_path / "run") == before


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_folder_that_cannot_be_made(tmp_path, material, out):
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match=r"cannot be made .*Choose another --out"):
        train(QUICK, material, tmp_path / out)
    assert (tmp_path / "file").read_text() == "x"


def test_prepare_run_makes_nothing(tmp_path):
    assert prepare_run(QUICK, tmp_path / "deep" / "run", resume=False) is None
    assert list(tmp_path.iterdir()) == []


def test_a_song_with_a_long_name(tmp_path, material):
    (held,) = split(material.tracks, material.folder)[1]
    long = held.path.with_name("x" * 250 + ".wav")
    held.path.rename(long)
    found = survey(material.folder, RATE, CROP)
    inner = replace(found, tracks=[track for track in found.tracks if track.path == long])
    outer = replace(found, tracks=[track for track in found.tracks if track.path != long])
    train(replace(QUICK, steps=1), outer, tmp_path / "run", held_out=inner)


def test_two_held_out_songs_of_one_name(rng, tmp_path, material):
    for place in ("one", "two"):
        (tmp_path / "held" / place).mkdir(parents=True)
        sf.write(tmp_path / "held" / place / "same.wav", tone(rng, 0.5), RATE)
    train(replace(QUICK, steps=1), material, tmp_path / "run", held_out=survey(tmp_path / "held", RATE, CROP))
    assert len(rows_of(tmp_path / "run")) == 1
    names = {path.name for path in (tmp_path / "run" / "previews").glob("*-input.wav")}
    assert names == {"1-same-input.wav", "2-same-input.wav"}


# -- configuration -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_survives_its_file(tmp_path, preset):
    config = TrainConfig(PRESETS[preset], steps=5, minutes=1.5, loss="mse", seed=7, ema=0.5)
    config.save(tmp_path)
    assert TrainConfig.load(tmp_path) == config
    assert TrainConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [CONFIG_FILE]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": None}, "give a budget: steps or minutes"),
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"minutes": math.nan}, "minutes must be above 0"),
        ({"crop": 4095}, "crop must be at least 4096"),
        ({"batch": 0}, "batch must lie in"),
        ({"loss": "huh"}, "loss must be 'spectral', 'mse' or 'paper-vae'"),
        ({"loss": "paper-vae"}, "loss 'paper-vae' needs a network that is variational"),
        ({"kl_weight": -1}, "kl_weight must lie in"),
        ({"learning_rate": 0.0}, r"learning_rate must lie in \(0, 1\)"),
        ({"learning_rate": 1.0}, r"learning_rate must lie in \(0, 1\)"),
        ({"learning_rate": math.nan}, r"learning_rate must lie in \(0, 1\)"),
        ({"ema": 1.0}, r"ema must lie in \[0, 1\)"),
        ({"validate_every": 0}, "validate_every must be at least 1"),
    ],
    ids=str,
)
def test_an_impossible_configuration_is_refused(changes, rule):
    with pytest.raises(TrainingError, match=f"This cannot be trained: {rule}"):
        replace(QUICK, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"waveform_weight": math.nan}, {"waveform_weight": -1.0}, {"minutes": math.inf}, {"seed": -1}, {"seed": 2**64}],
    ids=str,
)
def test_impossible_configurations_of_the_subtle_kind(changes):
    with pytest.raises(TrainingError, match="This cannot be trained"):
        replace(QUICK, **changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no training run in .*: it has no config.json"),
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "This is not the configuration of a training run"),
        ("{}", "This is not the configuration of a training run: 'net'"),
        ('{"net": {}}', "not the configuration of a network"),
        (b"\xff\xfe", "cannot be read"),
    ],
    ids=str,
)
def test_a_configuration_file_that_is_none(tmp_path, text, message):
    if text is not None:
        (tmp_path / CONFIG_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TrainingError, match=message):
        TrainConfig.load(tmp_path)


def test_an_unknown_setting_is_named():
    with pytest.raises(TrainingError, match="colour"):
        TrainConfig.from_dict(asdict(QUICK) | {"colour": 1})


def test_runs_from_before_there_was_a_choice_of_optimiser_had_adam():
    before = {name: value for name, value in asdict(QUICK).items() if name != "optimizer"}
    assert TrainConfig.from_dict(before).optimizer == "adam"


def test_a_run_goes_on_with_its_own_configuration():
    later = replace(QUICK, steps=20, crop=8192, seed=3, validate_every=7)
    assert QUICK.continued(later, set()) == QUICK
    assert QUICK.continued(later, {"steps"}) == replace(QUICK, steps=20)
    assert QUICK.continued(replace(later, steps=None, minutes=2), {"minutes"}) == replace(QUICK, steps=None, minutes=2)
    assert QUICK.continued(later, {"validate_every"}) == replace(QUICK, validate_every=7)
    assert QUICK.continued(QUICK, {"crop", "model", "symmetric", "folder", "out"}) == QUICK


@pytest.mark.parametrize(
    ("changes", "named", "message"),
    [
        ({"crop": 8192}, "crop", "crop 4096, not 8192"),
        ({"loss": "mse"}, "loss", "loss spectral, not mse"),
        ({"learning_rate": 0.5}, "learning_rate", "learning_rate 0.01, not 0.5"),
        ({"optimizer": "soap"}, "optimizer", "optimizer adam, not soap"),
        ({"seed": 3}, "seed", "seed 0, not 3"),
        ({"net": slim(PRESETS["tiny"])}, "model", "model small, not tiny"),
        ({"net": replace(NET, causal=False)}, "symmetric", "symmetric False, not True"),
        ({"net": replace(NET, shortcut_frames=0)}, "shortcut_frames", "shortcut_frames 3, not 0"),
    ],
    ids=str,
)
def test_what_cannot_change_in_a_run_is_refused(changes, named, message):
    with pytest.raises(TrainingError, match=f"The run was started with {message}: leave the option out"):
        QUICK.continued(replace(QUICK, **changes), {named})


def test_a_run_from_another_one_takes_over_its_network_and_what_it_cared_for():
    first = replace(QUICK, energy_weight=2.0, onset_weight=3.0, waveform_weight=0.7, floor_weight=7.0, floor_db=1.0)
    wanted = TrainConfig(net=PRESETS["tiny"], steps=9, crop=8192, learning_rate=0.3, waveform_weight=0.1)
    kept = first.further(wanted, set())
    assert (kept.net, kept.waveform_weight, kept.energy_weight, kept.onset_weight) == (NET, 0.7, 2.0, 3.0)
    assert (kept.floor_weight, kept.floor_db) == (wanted.floor_weight, wanted.floor_db), "the command's own promise"
    assert (kept.steps, kept.crop, kept.learning_rate) == (9, 8192, TUNING_RATE)
    assert kept.freeze_norm_at == 0, "the statistics are known already"
    named = first.further(wanted, {"model", "waveform_weight", "learning_rate"})
    assert (named.net, named.waveform_weight, named.learning_rate) == (PRESETS["tiny"], 0.1, 0.3)
    assert named.energy_weight == 2.0


# -- checkpoints -------------------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path):
    """A run's folder with a checkpoint of a network that was never trained."""
    run = tmp_path / "saved"
    run.mkdir()
    state = Autoencoder(NET).state_dict()
    average = {name: value.clone() for name, value in state.items()}
    moments = {f"{kind}.w": torch.ones(2) for kind in ("exp_avg", "exp_avg_sq")}
    Checkpoint(QUICK, 3, 1.5, state, average, moments).save(run)
    return run


def rewrite(run, change):
    """Tensors, facts and metadata of the checkpoint, changed in place."""
    with safe_open(run / CHECKPOINT_FILE, "pt") as file:
        facts = json.loads(file.metadata()["rtae"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    content = SimpleNamespace(facts=facts, tensors=tensors, metadata=None)
    change(content)
    save_file(tensors, run / CHECKPOINT_FILE, metadata=content.metadata or {"rtae": json.dumps(facts)})


def test_a_checkpoint_survives_its_file(saved):
    loaded = Checkpoint.load(saved)
    assert (loaded.config, loaded.step, loaded.seconds) == (QUICK, 3, 1.5)
    assert_same(loaded.model, loaded.average)
    assert loaded.optimizer.keys() == {"exp_avg.w", "exp_avg_sq.w"}
    assert_same(Checkpoint.load(saved / CHECKPOINT_FILE).model, loaded.model)
    assert {path.name for path in saved.iterdir()} == {CHECKPOINT_FILE, CONFIG_FILE}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No checkpoint at"),
        (b"", "not a checkpoint of this program, or is damaged"),
        (b"junk" * 1000, "not a checkpoint of this program, or is damaged"),
        (b"\x80\x04cos\nsystem\n", "not a checkpoint of this program, or is damaged"),
    ],
    ids=["missing", "empty", "junk", "pickle"],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content, message):
    if content is not None:
        (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize("keep", [7, 1000, -1])
def test_a_checkpoint_that_was_cut_short(saved, keep):
    path = saved / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrainingError, match="not a checkpoint of this program, or is damaged"):
        Checkpoint.load(saved)


def setting(**metadata):
    return lambda content: setattr(content, "metadata", metadata)


STRANGE = "is not a checkpoint of this program, or is damaged"
CHANGES = {
    "no facts": (setting(other="x"), STRANGE),
    "a list of facts": (setting(rtae="[1]"), STRANGE),
    "no json": (setting(rtae="{"), STRANGE),
    "the future": (lambda content: content.facts.update(format=2), "was written by a later version"),
    "an odd format": (lambda content: content.facts.update(format="x"), STRANGE),
    "no step": (lambda content: content.facts.pop("step"), STRANGE),
    "an odd step": (lambda content: content.facts.update(step="x"), STRANGE),
    "a strange group": (lambda content: content.tensors.update({"x/y": torch.ones(1)}), STRANGE),
    "a strange name": (lambda content: content.tensors.update(x=torch.ones(1)), STRANGE),
    "an odd setting": (lambda content: content.facts["config"].update(crop=1), "crop must be at least 4096"),
    "no network": (lambda content: content.facts["config"].pop("net"), "not the configuration of a training run"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_with_something_wrong(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(TrainingError, match=message):
        Checkpoint.load(saved)


FIRST = "encoder.stack.0.conv.weight"
MISFITS = {
    "weights": lambda content: content.tensors.pop(f"model/{FIRST}"),
    "average": lambda content: content.tensors.update({f"average/{FIRST}": torch.ones(3)}),
    "moments": lambda content: content.tensors.pop(f"optimizer/exp_avg.{FIRST}"),
    "matrices": lambda content: content.tensors.update({f"optimizer/Q.0.{FIRST}": torch.ones(3, 2)}),
    "step": lambda content: content.facts.update(step=-5),
    "seconds": lambda content: content.facts.update(seconds=math.nan),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_checkpoint_that_does_not_fit_its_network(tmp_path, material, name):
    run = tmp_path / "run"
    config = replace(QUICK, optimizer="soap")
    train(replace(config, steps=1), material, run)
    rewrite(run, MISFITS[name])
    with pytest.raises(TrainingError):
        train(config, material, run, resume=True)


def test_a_training_that_diverges_stops_with_advice(material, tmp_path, monkeypatch):
    forward, calls = TrainingLoss.forward, []

    def growing(self, output, target, *song_floor):
        calls.append(self)
        rising = 1 if len(calls) <= 4 else 1000  # two steps, and silence in each
        return forward(self, output, target, *song_floor) * rising

    monkeypatch.setattr(watch, "STEPS", 2)
    monkeypatch.setattr(TrainingLoss, "forward", growing)
    with pytest.raises(TrainingError, match=r"risen from \S+ to \S+ by step \d: .* lower --learning-rate than 0.01"):
        train(replace(QUICK, validate_every=100), material, tmp_path / "run")
    assert len(calls) < 8


@pytest.mark.parametrize(
    ("optimizer", "what"), [("soap", "gradients are not finite at step 0"), ("adam", "loss is nan at step 1")]
)
def test_gradients_that_are_no_numbers_stop_a_training_with_advice(material, tmp_path, monkeypatch, optimizer, what):
    forward = TrainingLoss.forward
    monkeypatch.setattr(TrainingLoss, "forward", lambda *a: forward(*a) + (0 * a[1]).square().sum().sqrt())
    with pytest.raises(TrainingError, match=rf"The {what}\. .* lower --learning-rate than 0\.01"):
        train(replace(QUICK, optimizer=optimizer), material, tmp_path / "run")


def test_a_run_whose_previews_cannot_be_written_says_so(material, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "previews").touch()
    with pytest.raises(TrainingError, match=r"previews cannot be written \(.*go on with --resume"):
        train(QUICK, material, run)
    assert leftovers(run) == []


def test_a_full_disk_leaves_the_last_checkpoint_and_no_part_of_another(material, tmp_path, monkeypatch):
    def fail(path, content):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    run = tmp_path / "run"
    train(QUICK, material, run)
    before = (run / CHECKPOINT_FILE).read_bytes()
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(TrainingError, match=rf"{CHECKPOINT_FILE} cannot be written \(No space left on device\)"):
        train(replace(QUICK, steps=9), material, run, resume=True)
    assert (run / CHECKPOINT_FILE).read_bytes() == before
    assert leftovers(run) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights otherwise")
def test_a_checkpoint_can_be_read_by_whoever_can_read_the_rest_of_the_run(material, tmp_path):
    run = tmp_path / "run"
    train(QUICK, material, run)
    modes = {name: stat.filemode((run / name).stat().st_mode) for name in (CHECKPOINT_FILE, CONFIG_FILE)}
    assert modes[CHECKPOINT_FILE] == modes[CONFIG_FILE]


@pytest.mark.parametrize("record", ["[]", '{"training": 3, "held_out": []}', "{", '"x"'])
def test_a_run_whose_record_is_broken_can_be_continued(material, tmp_path, record):
    train(QUICK, material, tmp_path / "run")
    (tmp_path / "run" / DATA_FILE).write_text(record)
    assert train(replace(QUICK, steps=9), material, tmp_path / "run", resume=True).step == 9


# -- the folder of songs -----------------------------------------------------------------------------------------------
def test_a_folder_is_counted_and_what_is_left_out_has_its_reason(rng, tmp_path, songs):
    sf.write(songs / "short.wav", tone(rng, 0.1), RATE)
    sf.write(songs / "short too.wav", tone(rng, 0.15), RATE)
    sf.write(songs / "silent.wav", np.zeros(RATE), RATE)
    sf.write(songs / "fast.flac", np.stack([tone(rng, 1, 44_100)] * 2, 1), 44_100)
    sf.write(songs / "none.wav", np.zeros(0), RATE)
    (songs / "empty.mp3").touch()
    (songs / "text.wav").write_text("no audio" * 100)
    (songs / "notes.txt").write_text("not looked at")
    holes = tone(rng, 1)
    holes[:7] = np.nan
    sf.write(songs / "holes.wav", holes, RATE, subtype="FLOAT")
    seen = []
    found = survey(songs, RATE, CROP, lambda *at: seen.append(at))
    names = {track.path.name for track in found.tracks}
    assert names == {"a.wav", "b.wav", "c.wav", "d.wav", "fast.flac", "holes.wav"}
    assert found.repaired == 7
    assert found.minutes == pytest.approx(6 / 60, rel=1e-3)
    assert found.rates() == {RATE: 5, 44_100: 1}
    reasons = {path.name: reason for path, reason in found.skipped.items()}
    assert reasons.keys() == {"short.wav", "short too.wav", "silent.wav", "none.wav", "empty.mp3", "text.wav"}
    assert reasons["short.wav"] == reasons["short too.wav"] == "shorter than 0.2 s"
    assert reasons["silent.wav"] == "silent"
    assert "is empty" in reasons["empty.mp3"]
    assert "not audio that can be read" in reasons["text.wav"]
    assert found.cut == []
    assert [at[:2] for at in seen] == [(number, 12) for number in range(12)]


def test_files_of_which_a_part_is_missing_are_used_and_counted(rng, songs):
    for name, audio in (("long.wav", tone(rng, 2)), ("long.flac", tone(rng, 2)), ("long.ogg", tone(rng, 2))):
        sf.write(songs / name, audio, RATE)
        (songs / name).write_bytes((songs / name).read_bytes()[: (songs / name).stat().st_size * 6 // 10])
    found = survey(songs, RATE, CROP)
    assert {path.name for path in found.cut} == {"long.wav", "long.flac", "long.ogg"}
    assert all(0.2 * RATE < track.samples < 1.9 * RATE for track in found.tracks if track.cut)
    assert len(found.tracks) == 7
    again = survey(songs, RATE, CROP)  # decoded already
    assert again == found


@pytest.mark.parametrize("missing", ["nowhere", "a file"])
def test_a_folder_that_is_none(tmp_path, missing):
    (tmp_path / "a file").write_text("x")
    with pytest.raises(AudioFileError, match="give a folder with audio files"):
        survey(tmp_path / missing, RATE, CROP)


def test_a_folder_without_audio(tmp_path):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "notes.txt").write_text("x")
    with pytest.raises(TrainingError, match="No audio files in"):
        survey(tmp_path / "songs", RATE, CROP)


def test_a_folder_of_nothing_but_broken_audio_says_why(rng, tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    (folder / "text.wav").write_text("x" * 1000)
    sf.write(folder / "short.wav", tone(rng, 0.1), RATE)
    with pytest.raises(TrainingError, match=r"None of the 2 audio files in .* can be used: .*not audio.*shorter than"):
        survey(folder, RATE, CROP)


def test_one_song_is_too_few(material):
    with pytest.raises(TrainingError, match="one usable file, and one is held out to measure on: add a second"):
        split(material.tracks[:1], material.folder)


def test_audio_comes_back_mono_at_the_models_rate(rng, tmp_path):
    folder = tmp_path / "songs"
    folder.mkdir()
    audio = np.stack([tone(rng, 1), tone(rng, 1)], 1)
    audio[100] = 1.9  # a lossy file may decode to more than full scale
    sf.write(folder / "stereo.wav", audio, RATE, subtype="FLOAT")
    sf.write(folder / "fast.wav", tone(rng, 1.0, 44_100), 44_100, subtype="FLOAT")
    fast, stereo = survey(folder, RATE, CROP).tracks
    assert (stereo.rate, stereo.model_rate, stereo.samples) == (RATE, RATE, RATE)
    assert np.abs(stereo.read(0, RATE) - audio.mean(axis=1)).max() <= 0.51 / SCALE
    assert stereo.read(0, RATE).dtype == np.float32
    assert np.array_equal(stereo.read(500, 20), stereo.read(0, RATE)[500:520])
    assert (fast.rate, fast.model_rate) == (44_100, RATE)
    assert abs(fast.samples - RATE) <= 1
    spectrum = np.abs(np.fft.rfft(fast.read(0, RATE)))
    assert abs(int(np.argmax(spectrum)) - 220) <= 1


def test_a_file_is_decoded_once_until_it_changes(rng, songs, cache, monkeypatch):
    before = survey(songs, RATE, CROP)
    assert len(list(cache.iterdir())) == 4
    decode, calls = data.decode_into, []
    monkeypatch.setattr(data, "decode_into", lambda *given: calls.append(given) or decode(*given))
    assert survey(songs, RATE, CROP) == before
    assert calls == []
    sf.write(songs / "a.wav", tone(rng, 1.5), RATE)
    after = survey(songs, RATE, CROP)
    assert len(calls) == 1
    assert [track.samples for track in after.tracks] == [33_075, RATE, RATE, RATE]
    survey(songs, 11_025, CROP)
    assert len(calls) == 5


def test_an_interrupted_decoding_leaves_nothing(songs, cache, monkeypatch):
    def stop(reader, rate, target):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "decode_into", stop)
    with pytest.raises(KeyboardInterrupt):
        survey(songs, RATE, CROP)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path, songs, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "file" / "cache")
    with pytest.raises(TrainingError):
        survey(songs, RATE, CROP)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text(songs):
    (songs / "a.wav").rename(songs / os.fsdecode(b"\xff.wav"))
    assert len(survey(songs, RATE, CROP).tracks) == 4


def test_absurdly_loud_audio_does_no_harm(songs):
    sf.write(songs / "loud.wav", np.full(44_100, 3e38, np.float32), 44_100, subtype="FLOAT")
    survey(songs, RATE, CROP)


def tracks(folder, *names):
    return [Track(folder / name, RATE, RATE, 10_000, folder / "none") for name in names]


def test_held_out_songs_are_whole_files_and_a_tenth(tmp_path):
    for count, held_counts in ((2, {1}), (10, {1, 2, 3}), (400, set(range(25, 56)))):
        found = tracks(tmp_path, *(f"{number}.wav" for number in range(count)))
        training, held = split(found, tmp_path)
        assert len(held) in held_counts
        assert training
        assert sorted(training + held, key=str) == sorted(found, key=str)


def test_the_choice_is_by_name_and_not_by_order_or_place(tmp_path):
    names = [f"{number}.wav" for number in range(20)]
    held = split(tracks(tmp_path, *names), tmp_path)[1]
    there = split(tracks(tmp_path / "moved", *reversed(names)), tmp_path / "moved")[1]
    assert {track.path.name for track in held} == {track.path.name for track in there}


def test_a_new_song_moves_at_most_one(tmp_path):
    names = [f"{number}.wav" for number in range(20)]
    held = {track.path.name for track in split(tracks(tmp_path, *names), tmp_path)[1]}
    for number in range(50):
        new = f"new {number}.wav"
        now = {track.path.name for track in split(tracks(tmp_path, new, *names), tmp_path)[1]}
        assert now - {new} <= held
        assert len(held - now) <= 1


def test_no_held_out_song_is_trained_on_when_songs_are_added(tmp_path):
    names = [f"{number}.wav" for number in range(20)]
    held = {track.path.name for track in split(tracks(tmp_path, *names), tmp_path)[1]}
    for number in range(50):
        found = tracks(tmp_path, f"new {number}.wav", *names)
        assert not held & {track.path.name for track in split(found, tmp_path)[0]}


# -- examples ----------------------------------------------------------------------------------------------------------
def ramp_tracks(tmp_path, *lengths):
    """Tracks whose samples say where they are."""
    found = []
    for number, length in enumerate(lengths):
        path = tmp_path / f"{number}.s16"
        np.arange(1, length + 1, dtype="<i2").tofile(path)
        found.append(Track(path, RATE, RATE, length, path))
    return found


def test_an_example_depends_on_seed_and_number_alone(tmp_path):
    found = ramp_tracks(tmp_path, 5000, 9000)
    whole = Crops(found, CROP, 20, 3, 12.0)
    forward = [whole[index].audio for index in range(20)]
    assert all(torch.equal(whole[index].audio, forward[index]) for index in (7, 0, 19, 7))
    later = Crops(found, CROP, 15, 3, 12.0, first=5)
    assert all(torch.equal(later[index].audio, forward[5 + index]) for index in range(15))
    other = Crops(found, CROP, 20, 4, 12.0)
    assert not any(torch.equal(other[index].audio, forward[index]) for index in range(20))
    assert len({piece.numpy().tobytes() for piece in forward}) == 20


def test_an_example_is_a_stretch_of_one_track(tmp_path):
    crops = Crops(ramp_tracks(tmp_path, 5000, 9000), CROP, 300, 0, 0.0)
    starts = []
    for piece, _ in crops:
        assert (piece.shape, piece.dtype) == ((1, CROP), torch.float32)
        values = piece[0].numpy() * SCALE
        sign = np.sign(values[0])
        assert np.array_equal(np.diff(values), np.full(CROP - 1, sign))
        starts.append((int(sign), int(abs(values[0])) - 1))
    assert max(start for _, start in starts) > 4500
    # The starts that only the longer track has are as likely as any other.
    assert 0.7 < np.mean([start > 904 for _, start in starts]) / ((4905 - 905) / (4905 + 905)) < 1.3


def test_gain_and_polarity_have_their_ranges(tmp_path):
    path = tmp_path / "flat.s16"
    np.full(CROP, SCALE, "<i2").tofile(path)
    crops = Crops([Track(path, RATE, RATE, CROP, path)], CROP, 400, 0, 12.0)
    values = np.array([float(piece[0, 0]) for piece, _ in crops])
    loudness = 20 * np.log10(np.abs(values))
    assert loudness.max() <= 1e-6
    assert loudness.min() >= -12 - 1e-6
    assert (loudness.max(), loudness.min()) == (pytest.approx(0, abs=0.2), pytest.approx(-12, abs=0.2))
    assert loudness.mean() == pytest.approx(-6, abs=0.6)
    assert 160 < np.count_nonzero(values > 0) < 240
    still = Crops([Track(path, RATE, RATE, CROP, path)], CROP, 20, 0, 0.0)
    assert {abs(float(piece[0, 0])) for piece, _ in still} == {1.0}


def test_a_track_of_one_crop_and_the_ends(tmp_path):
    crops = Crops(ramp_tracks(tmp_path, CROP), CROP, 3, 0, 0.0)
    assert len(list(crops)) == len(crops) == 3
    assert {int(abs(piece[0, 0]) * SCALE) for piece, _ in crops} == {1}
    for index in (-1, 3):
        with pytest.raises(IndexError):
            crops[index]


def test_an_example_brings_what_the_linear_code_leaves_of_its_song(tmp_path, rng):
    linear = LinearCode(np.eye(48, dtype=np.float32)[:16])
    tracks = []
    for number, loudness in enumerate((0.02, 0.2)):
        path = tmp_path / f"{number}.s16"
        samples = RATE * 2 * FLOOR_SECONDS + 100  # more than is read at once
        noise = loudness * rng.standard_normal(samples)
        np.rint(SCALE * noise).astype("<i2").tofile(path)
        tracks.append(Track(path, RATE, RATE, samples, path))
    floors = linear_floors(tracks, linear)
    assert floors == pytest.approx([0.02**2 * 2 / 3, 0.2**2 * 2 / 3], rel=0.02)
    assert linear.error([]) == 0
    crops = Crops(tracks, CROP, 40, 0, 12.0, floors=floors)
    for audio, floor in crops:
        assert floor.shape == ()
        assert float(floor / audio.square().mean()) == pytest.approx(2 / 3, rel=0.15)
    batch = next(iter(DataLoader(crops, batch_size=4)))
    assert (batch.audio.shape, batch.floor.shape) == ((4, 1, CROP), (4,))
    assert float(Crops(tracks, CROP, 1, 0, 12.0)[0].floor) == 0


# -- steps -------------------------------------------------------------------------------------------------------------
def test_a_training_tells_the_floor_what_each_song_leaves(material, tmp_path, monkeypatch):
    forward, seen = BelowLinear.forward, []

    def recorded(self, output, target, song_floor):
        seen.append((self.linear(target) - target[..., : CROP // 48 * 48]).square().mean(dim=-1)[:, 0] / song_floor)
        return forward(self, output, target, song_floor)

    monkeypatch.setattr(BelowLinear, "forward", recorded)
    train(replace(QUICK, steps=6, floor_weight=1.0), material, tmp_path / "run")
    shares = torch.cat(seen)
    assert len(shares) >= 12
    assert 0.3 < float(shares.median()) < 3, "an example is like its song, and as loud"
    assert float(shares.max()) < 100


def test_the_rate_warms_up_and_falls():
    module = TrainingModule(replace(QUICK, steps=1000, warmup=10), Autoencoder(NET))
    rates = []
    for step in range(1001):
        module.step = step
        rates.append(module.learning_rate())
    assert rates[0] == pytest.approx(0.001, rel=1e-3)
    assert max(rates) == pytest.approx(0.01, rel=1e-3)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * FINAL_RATE)


def test_the_shortcut_learns_more_slowly():
    module = TrainingModule(QUICK, Autoencoder(NET))
    fast, slow = module.configure_optimizers().param_groups
    assert (fast["factor"], slow["factor"]) == (1.0, QUICK.shortcut_rate)
    banks = [module.net.encoder.analysis, module.net.decoder.synthesis]
    assert {id(weight) for weight in slow["params"]} == {id(w) for bank in banks for w in bank.parameters()}
    assert len(fast["params"]) + len(slow["params"]) == len(list(module.net.parameters()))


def test_a_network_without_a_shortcut_trains(tmp_path, material):
    net = replace(NET, shortcut_frames=0)
    assert train(replace(QUICK, net=net, steps=2), material, tmp_path / "run").step == 2
    assert LinearCode(np.load(tmp_path / "run" / "linear.npy")).basis.shape == (16, 48)


def test_the_heavy_part_of_a_run_is_not_done_for_a_used_up_budget(tmp_path, material, monkeypatch):
    train(replace(QUICK, steps=1), material, tmp_path / "run")
    monkeypatch.setattr(running.lightning, "Trainer", None)
    with pytest.raises(TrainingError, match="used up"):
        train(replace(QUICK, steps=1), material, tmp_path / "run", resume=True)
