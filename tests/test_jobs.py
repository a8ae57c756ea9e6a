import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rtae import job_files, jobs
from rtae.errors import MissingExtraError, ModelError, TrainingError
from rtae.job_files import Found, Order, Row, Watch, checkpoint_facts, earlier_runs, startable, unfinished
from rtae.jobs import TrainingJob

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
PATIENCE = 30.0  # seconds, on a machine that is busy with something else


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The user's folders are this test's own."""
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("RTAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "songs").mkdir()
    return tmp_path


@pytest.fixture
def plan(monkeypatch):
    def plan(**what):
        monkeypatch.setenv("RTAE_FAKE", json.dumps(what))

    return plan


@pytest.fixture
def begun():
    """Jobs that end with the test."""
    started = []

    def begin(job):
        started.append(job)
        return job

    yield begin
    for job in started:
        job.close(0)


@pytest.fixture
def job(begun):
    return begun(TrainingJob(FAKE))


def until(job, *states, patience=PATIENCE):
    """Polls until one of these states, or the end; all states on the way."""
    seen = []
    end = time.monotonic() + patience
    while time.monotonic() < end:
        status = job.poll()
        if status.state not in seen[-1:]:
            seen.append(status.state)
        if status.state in states or not status.running:
            return seen
        time.sleep(0.02)
    raise AssertionError(f"it stays at {job.status}\n{(job.run / job_files.LOG_FILE).read_text()}")


def start(job, places, name="mine", **more):
    job.start(places / "songs", name, **more)


# -- a training from start to end --------------------------------------------------------------------------------------
def test_the_names_are_those_of_the_training():
    from rtae.cli_train import train as command
    from rtae.training import checkpoint, run

    assert job_files.METRICS_FILE == run.METRICS_FILE
    assert job_files.PROGRESS_FILE == run.PROGRESS_FILE
    assert job_files.CHECKPOINT_FILE == checkpoint.CHECKPOINT_FILE
    assert {"folder", "out", "minutes", "threads", "start", "resume"} <= command.__annotations__.keys()


def test_from_start_to_a_model(job, places, plan):
    plan(pause=0.05)
    assert job.poll() == job.status == jobs.Status()
    start(job, places)
    seen = until(job, "done")
    assert seen == [state for state in ("preparing", "training", "exporting", "done") if state in seen]
    assert seen[-2:] == ["exporting", "done"]
    status = job.status
    assert (status.model, status.progress, status.error) == (places / "models" / "mine", 1.0, "")
    assert status.found == Found(4, 12.5, 2, ("skipped 1: silent", "skipped 1: shorter than 0.4 s"))
    assert [row.step for row in status.rows] == [1, 2, 3]
    assert status.rows[-1] == Row(3, 18, 1, 9, 1.5)
    assert [step for step, _ in status.losses] == [1, 2, 3]
    (preview,) = status.previews
    assert (preview.title, preview.input.name) == ("a song", "1-a song-input.wav")
    assert preview.output.is_file()
    assert not status.resumable
    assert Order.load(job.run).done
    assert unfinished() is None


def test_progress_is_seen_while_it_trains(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    status = job.poll()
    assert status.running
    assert 0 < status.progress < 1
    assert 0 < status.seconds_left < 60
    assert status.steps_per_second == 10


def test_what_is_asked_of_the_program(job, places, plan, monkeypatch):
    said = []
    monkeypatch.setattr(TrainingJob, "_launch", lambda _, state, *words: said.append((state, words)))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    start(job, places, minutes=90, preset="large")
    assert said == [
        (
            "preparing",
            (
                *("train", str(places / "songs"), "--out", str(places / "runs" / "mine")),
                *("--model", "large", "--minutes", "90", "--threads", "3"),
            ),
        )
    ]
    job.start(places / "songs", "quick", 5)
    assert said[-1][1][-2:] == ("--validate-every", "500")


def test_a_start_from_a_model_takes_its_network(job, places, plan):
    plan()
    start(job, places)
    until(job, "done")
    assert "small" in startable()  # shipped with its checkpoint, in a checkout
    assert startable()["mine"] == job.run
    start(job, places, "second", start_from=startable()["mine"])
    assert Order.load(job.run).start_from == str(places / "runs" / "mine")
    assert jobs.network_of(Order.load(job.run)) == ["--from", str(places / "runs" / "mine")]
    until(job, "done")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "a b", "x" * 65, "con", "removed", "end."])
def test_names_that_are_none(job, places, name):
    with pytest.raises(ModelError, match="cannot name a model"):
        start(job, places, name)
    assert not (places / "runs").exists()


@pytest.mark.parametrize("name", ["small", "Small", "mine"])
def test_a_name_that_is_taken(job, places, name):
    (places / "models" / "mine").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"There is a model .* already; choose another name"):
        start(job, places, name)


def test_what_cannot_be_started(job, places, plan):
    with pytest.raises(TrainingError, match="is not a folder"):
        job.start(places / "nowhere", "mine")
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(TrainingError, match="are no training"):
            start(job, places, minutes=minutes)
    with pytest.raises(TrainingError, match=r"cannot be read .* choose what has a checkpoint"):
        start(job, places, start_from=places / "songs")
    for tell in (job.resume, job.export):
        with pytest.raises(TrainingError, match="Nothing was trained yet"):
            tell()
    job.cancel()
    job.close()
    assert job.status == jobs.Status()


def test_only_one_at_a_time(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    for tell in (lambda: start(job, places, "other"), job.resume, job.export):
        with pytest.raises(TrainingError, match="A training is running; stop it first"):
            tell()


@pytest.mark.parametrize("missing", ["torch", "pytorch_optimizer"])
def test_without_its_extra_it_says_how_to_install_it(job, places, monkeypatch, missing):
    monkeypatch.setattr(jobs, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MissingExtraError, match=r"Training needs the extra 'train': pip install 'rtae\[train\]'"):
        start(job, places)


def test_a_program_that_is_not_there(places, begun):
    job = begun(TrainingJob((str(places / "nothing"),)))
    with pytest.raises(TrainingError, match="cannot be started"):
        start(job, places)
    assert not job.status.running


@pytest.mark.parametrize("taken", ["file", "parent"])
def test_a_place_that_cannot_be_written(job, places, taken, monkeypatch):
    (places / "file").write_text("")
    monkeypatch.setenv("RTAE_RUNS", str(places / "file" / ("deep" if taken == "parent" else "")))
    with pytest.raises(TrainingError, match=r"move that file away|cannot be made"):
        start(job, places)


# -- stop and go on ----------------------------------------------------------------------------------------------------
def test_cancel_keeps_a_checkpoint_and_resume_goes_on(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    job.cancel()
    job.cancel()
    assert job.status.stopping
    assert until(job)[-1] == "cancelled"
    assert job.status.resumable
    assert not job.status.stopping
    assert job.status.found.files == 4
    stood = checkpoint_facts(job.run)["step"]
    assert 0 < stood < 1000
    plan(steps=stood + 2, pause=0.01)
    job.resume()
    assert until(job, "done")[-1] == "done"
    steps = [row.step for row in job.status.rows]
    assert steps == list(range(1, stood + 3))
    assert [step for step, _ in job.status.losses] == steps


def test_what_was_stopped_can_be_a_model(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    job.close()
    assert job.status.state == "cancelled"
    job.export()
    assert until(job, "done") == ["exporting", "done"]
    with pytest.raises(TrainingError, match="mine is done"):
        job.resume()


def test_a_training_that_was_at_its_end_is_exported(job, places, plan):
    plan(unfaithful=True)
    start(job, places)
    assert until(job)[-1] == "failed"
    assert job.status.error == "The export does not verify; nothing was written"
    assert job.status.resumable
    plan()
    job.resume()
    assert until(job, "done") == ["exporting", "done"]


def test_a_process_that_does_not_listen_is_ended(job, places, plan, monkeypatch):
    monkeypatch.setattr(jobs, "CANCEL_SECONDS", 0.3)
    plan(steps=1000, pause=0.02, deaf=True)
    start(job, places)
    until(job, "training")
    job.cancel()
    assert until(job)[-1] == "cancelled"
    assert job.status.resumable


def test_close_waits_and_then_ends_it(job, places, plan):
    plan(steps=1000, pause=0.02, deaf=True)
    start(job, places)
    until(job, "training")
    process = job.process
    job.close(0.2)
    assert process.returncode == -signal.SIGKILL
    assert job.status.state == "cancelled"
    job.close()


def test_another_session_finds_what_was_stopped(job, places, plan, begun):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    job.close()
    run = unfinished()
    assert run == job.run
    again = begun(TrainingJob.reopen(run, FAKE))
    assert again.order == job.order
    assert again.status.state == "cancelled"
    assert again.status.resumable
    assert 0 < again.status.progress < 1
    assert again.status.rows == job.status.rows
    assert again.status.found == job.status.found
    plan(steps=again.status.step + 1)
    again.resume()
    assert until(again, "done")[-1] == "done"
    assert unfinished() is None


def test_a_run_that_another_process_trains_is_left_alone(job, places, plan):
    plan(fail_at=1)
    start(job, places)
    until(job)
    assert (job.run / "progress.json").exists()  # it did not get to delete it
    with pytest.raises(TrainingError, match="mine is still being trained by another process"):
        job.resume()
    old = time.time() - 2 * jobs.ALIVE_SECONDS
    os.utime(job.run / "progress.json", (old, old))
    plan()
    job.resume()
    assert until(job, "done")[-1] == "done"


def test_the_same_name_again_is_another_run(job, places, plan):
    plan(fail_at=1)
    start(job, places)
    until(job)
    first = job.run
    plan()
    start(job, places)
    assert job.run == first.with_name("mine-2")
    until(job, "done")
    assert startable()["mine"] == job.run
    assert earlier_runs() == [job.run, first]


# -- what goes wrong ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"fail_at": 2}, r"The loss is nan at step 2\. The last good checkpoint is kept"),
        ({"crash_at": 2}, r"ended by a fault of the program: ZeroDivisionError: division by zero\. All it said is in"),
        ({"die_at": 2}, r"ended from outside \(signal 9\)"),
    ],
)
def test_errors_in_words(job, places, plan, way, words):
    import re

    plan(**way)
    start(job, places)
    until(job)
    assert job.status.state == "failed"
    assert re.search(words, job.status.error)
    assert job.status.resumable
    assert [row.step for row in job.status.rows] == [1, 2]


def test_a_killed_process(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    job.process.kill()
    assert until(job)[-1] == "failed"
    assert "ended from outside (signal 9)" in job.status.error


def test_a_folder_that_vanishes(job, places, plan):
    plan(steps=1000, pause=0.02)
    start(job, places)
    until(job, "training")
    job.run.rename(places / "elsewhere")
    assert until(job)[-1] == "failed"
    assert job.status.error == f"The folder of this training, {job.run}, is gone; start anew"
    assert not job.status.resumable
    with pytest.raises(TrainingError, match="choose what has a checkpoint"):
        job.resume()


def test_a_training_without_a_checkpoint_is_not_exported(job, places, plan):
    plan(steps=0)
    start(job, places)
    assert until(job)[-1] == "failed"
    assert "checkpoint.safetensors cannot be read" in job.status.error


# -- files -------------------------------------------------------------------------------------------------------------
HEADER = "step,seconds,loss,si_sdr_db,mr_stft,learning_rate,steps_per_second\n"


def add(path, text):
    with path.open("a", newline="") as out:
        out.write(text)


def test_a_half_written_line_waits_for_its_rest(tmp_path):
    watch = Watch(tmp_path)
    watch.look()
    assert watch.rows == []
    metrics = tmp_path / "metrics.csv"
    for part, rows in ((HEADER[:9], 0), (HEADER[9:], 0), ("10,1,2", 0), (",3,4,5,6\r", 0), ("\n20,1", 1)):
        add(metrics, part)
        watch.look()
        assert len(watch.rows) == rows
    assert watch.rows == [Row(10, 1, 2, 3, 4)]


def test_broken_lines_are_left_out(tmp_path):
    text = HEADER + "1,1,nan,3,4,5,6\n\n2,1,2\n3,1,2,3,4,5,6,7\nx,1,2,3,4,5,6\n4,1,2,x,4,5,6\n\0\n5,1,2,3,4,5,6\n"
    (tmp_path / "metrics.csv").write_text(text)
    watch = Watch(tmp_path)
    watch.look()
    assert [row.step for row in watch.rows] == [1, 5]
    assert watch.losses == [(5, 2.0)]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"loss": "x", "step": [], "progress": NaN}', "[" * 99_999])
def test_a_progress_that_is_none(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    watch = Watch(tmp_path)
    watch.look()
    assert watch.losses == []


def test_a_curve_stays_short(tmp_path, monkeypatch):
    monkeypatch.setattr(job_files, "MOST_POINTS", 10)
    watch = Watch(tmp_path)
    for step in range(1, 1000):
        (tmp_path / "progress.json").write_text(json.dumps({"step": step, "loss": 1.0}))
        watch.look()
    assert len(watch.losses) <= 10
    assert watch.losses[0][0] == 1
    assert watch.losses[-1][0] > 950


@pytest.mark.parametrize("content", [b"", b"junk" * 99, b"\xff" * 99, (2).to_bytes(8, "little") + b"{}"])
def test_a_checkpoint_that_is_none(tmp_path, content):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(TrainingError, match="is not a checkpoint of this program, or is damaged"):
        checkpoint_facts(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"folder": 1, "name": "a", "minutes": 1}'])
def test_a_job_file_that_is_none(places, text):
    run = places / "runs" / "odd"
    run.mkdir(parents=True)
    (run / "job.json").write_text(text)
    (run / "checkpoint.safetensors").write_text("")
    assert unfinished() is None
    assert "odd" not in startable()
    with pytest.raises(TrainingError, match="does not say what was trained"):
        TrainingJob.reopen(run)


# -- the training itself -----------------------------------------------------------------------------------------------
def test_the_training_writes_its_progress_and_takes_it_away(places):
    from rtae.training.run import Keeper, Report

    run = places / "songs"
    keeper = Keeper(run, lambda _: None, None)
    with keeper.watched():
        keeper.write_progress(Report(3, 0.5, 1.25, 10.0, float("inf")))
        assert [path.name for path in run.iterdir()] == ["progress.json"]
        facts = json.loads((run / "progress.json").read_text(), parse_constant=lambda word: pytest.fail(word))
        assert facts == {"step": 3, "progress": 0.5, "loss": 1.25, "steps_per_second": 10.0, "seconds_left": None}
    assert list(run.iterdir()) == []
    run.rmdir()
    with keeper.watched():
        keeper.write_progress(Report(3, 0.5, 1.25, 10.0, 1.0))  # no place to write is no reason to stop
    run.mkdir()


def test_a_real_training_is_cancelled_resumed_and_exported(begun, places, rng, monkeypatch):
    monkeypatch.setattr(jobs, "NICENESS", 0)  # or it would starve beside other tests
    for number in range(3):
        time_ = np.arange(3 * 22_050) / 22_050
        tone = 0.3 * np.sin(2 * np.pi * 220 * (number + 1) * time_) + 0.03 * rng.standard_normal(len(time_))
        sf.write(places / "songs" / f"{number}.wav", tone, 22_050)
    (places / "songs" / "broken.wav").write_text("no audio")
    job = begun(TrainingJob())
    job.start(places / "songs", "mine", 10, "tiny")
    assert until(job, "training", patience=300)[-1] == "training"
    assert (job.status.found.files, job.status.found.skipped) == (3, 1)
    assert job.status.progress < 0.2
    assert job.status.seconds_left > 60
    job.cancel()
    assert until(job, patience=300)[-1] == "cancelled"
    stood = checkpoint_facts(job.run)
    assert stood["step"] > 0
    (preview,) = job.status.previews
    assert sf.info(preview.output).samplerate == 22_050
    job.resume(minutes=(stood["seconds"] + 1) / 60)
    assert until(job, "done", patience=300)[-2:] == ["exporting", "done"], job.status.error
    assert job.status.rows[-1].step > stood["step"]
    assert (job.status.model / "encoder.onnx").is_file()
    assert not list(places.rglob("*.part"))
