"""What goes wrong in the real window: a message in words each time, and the window alive."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from stage import SERVER_RATE, Ear

from rtae.setup import MICROPHONE

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
HZ = 1000
PIECES = 20  # a second: 50 ms each
PLENTY = 0.05  # full scale: half of what the microphone hears

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


# -- files and models --------------------------------------------------------------------------------------------------
def test_a_broken_file_is_dropped(stage, stage_folder):
    stage.play()
    stage.drop(stage_folder / "broken.flac")
    stage.hears("broken.flac")
    stage.goes_on()
    stage.drop(stage_folder)
    assert stage.heard("is a folder and no model")
    stage.drop(stage_folder / "song.wav")
    stage.goes_on()


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_song_that_is_cut_short_says_so_beside_its_name(stage, stage_folder, tmp_path, suffix):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    sf.write(whole, *sf.read(stage_folder / "song.wav"))
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    view = stage.window.transport.first_view
    for path, title in ((whole, whole.name), (cut, f"{cut.name} (cut short or damaged)")):
        stage.drop(path)
        stage.wait(lambda title=title: view.name == title and view.duration > 0)
    stage.play()


def test_a_song_that_is_missing_at_the_start_is_no_dead_end(make_stage, stage_folder):
    stage = make_stage(song="missing.wav")
    stage.hears("missing.wav")
    stage.drop(stage_folder / "song.wav")
    stage.wait(lambda: bool(stage.controller.facts))
    stage.play()


def test_a_broken_model_is_dropped_and_then_a_good_one(stage, stage_folder, tmp_path):
    models, box = stage.window.models, stage.window.transport.model
    broken = shutil.copytree(stage_folder / "models" / "two", tmp_path / "broken")
    (broken / "decoder.onnx").write_bytes(b"no network")
    stage.play()
    stage.drop(broken)
    stage.wait(lambda: models.notice.property("role") == "alert")
    assert "decoder.onnx" in models.notice.text()
    assert models.isVisible()  # where the words are
    stage.goes_on()
    stage.drop(shutil.copytree(stage_folder / "models" / "two", tmp_path / "good"))
    stage.wait(lambda: box.findText("good") >= 0)
    assert box.findText("broken") < 0
    models.model_chosen.emit(box.itemData(box.findText("good")))
    stage.wait(lambda: box.currentText() == "good")
    stage.goes_on()


def test_a_training_is_cancelled(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("RTAE_FAKE", json.dumps({"steps": 100_000, "pause": 0.01}))
    panel = stage.window.training
    panel.command = FAKE
    (tmp_path / "songs").mkdir()
    stage.window.docks["Train"].raise_()
    panel.set_folder(tmp_path / "songs")
    stage.play()
    stage.click(panel.start)
    stage.wait(lambda: panel.job.status.step > 1)
    assert "step" in panel.words.text()
    stage.click(panel.stop)
    stage.wait(lambda: panel.job.status.state == "cancelled")
    stage.wait(lambda: panel.words.text().startswith("Stopped: songs, at step"))
    assert panel.resume.isEnabled()
    stage.goes_on()


def test_what_was_trained_plays(stage, tmp_path):
    stage.play()
    stage.window.training.model_ready.emit(str(tmp_path / "models" / "two"))
    stage.wait(lambda: stage.controller.spec.preset == "tiny")
    stage.goes_on()


# -- processes and disks -----------------------------------------------------------------------------------------------
def test_the_audio_process_is_killed(stage):
    stage.play()
    os.kill(stage.controller.facts["pid"], signal.SIGKILL)
    stage.hears("started again where it was")
    stage.wait(lambda: stage.controller.client.restarts == 1)
    stage.goes_on()
    stage.knobs["noise_amount"].change_once(1.0)
    assert stage.controller.client.shared.snapshot()["noise_amount"] == 1.0


def test_a_performance_that_the_audio_process_took_with_it_is_told_and_another_begun(stage, tmp_path, monkeypatch):
    stage.play()
    stage.click(stage.window.transport.perform)
    stage.wait(lambda: stage.controller.performing)
    os.kill(stage.controller.facts["pid"], signal.SIGKILL)
    stage.wait(lambda: stage.controller.client.restarts == 1)
    stage.goes_on()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "played.json"), ""))
    stage.click(stage.window.transport.perform)
    stage.hears("performance was lost")
    assert not stage.window.transport.perform.isChecked()
    stage.click(stage.window.transport.perform)
    stage.wait(lambda: stage.controller.performing)


def test_a_recording_that_cannot_be_written_leaves_no_button_pressed(stage, tmp_path):
    (tmp_path / "RTAE").write_text("a file in the place of the folder")
    stage.click(stage.window.transport.record)
    stage.hears("Nothing can be recorded to", "RTAE")
    assert not stage.window.transport.record.isChecked()
    stage.play()


# -- devices -----------------------------------------------------------------------------------------------------------
def test_the_sound_server_goes_away_and_comes_back(stage_on_server, sound_server):
    stage = stage_on_server
    stage.play()
    sound_server.kill()
    stage.hears("is gone")
    stage.click(stage.window.transport.stop)  # an error in words, and no traceback
    assert sound_server.start()
    stage.hears("Playing again")
    assert stage.window.isVisible()


def test_the_only_sink_is_unplugged_and_plugged_in_again(stage_on_server, sound_server):
    stage = stage_on_server
    stage.play()
    modules = sound_server.control("list", "short", "modules").stdout
    number = next(line.split()[0] for line in modules.splitlines() if "null-sink" in line)
    sound_server.control("unload-module", number)
    stage.hears("is gone", "waiting for it")
    stage.knobs["echo"].change_once(0.5)  # it still is an instrument
    assert stage.window.knobs.undo.isEnabled()
    sound_server.control("load-module", *sound_server.sink.split())
    sound_server.control("set-default-sink", "test")
    stage.hears("Playing again")
    stage.goes_on()


def test_without_any_device_it_says_so_and_goes_on_in_silence(make_stage, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere/native")
    stage = make_stage(None)
    if stage.controller.setup.output != "silent":
        pytest.skip("this machine has a sound card")
    assert stage.heard("runs in silence")
    stage.play()


def test_a_microphone_without_a_device_is_told(stage):
    microphone = stage.window.transport.microphone
    stage.click(microphone)
    assert stage.heard("no sound device to listen to")
    assert not microphone.isChecked()
    stage.play()


def test_the_microphone_is_heard_and_then_the_song_again(stage_on_server, sound_server, tmp_path):
    """What it hears is a tone in a sink of its own; nothing comes back to it from the loudspeakers."""
    stage, transport = stage_on_server, stage_on_server.window.transport
    sink = sound_server.sink.replace("sink_name=test", "sink_name=voice")
    sound_server.control("load-module", *sink.split())
    sound_server.control("set-default-source", "voice.monitor")
    time_ = np.arange(60 * SERVER_RATE) / SERVER_RATE
    tone = 0.1 * np.sin(2 * np.pi * HZ * time_)
    (tmp_path / "voice").write_bytes(np.repeat(tone.astype("<f4"), 2).tobytes())
    command = f"pacat --device=voice --format=float32le --rate={SERVER_RATE} --channels=2 {tmp_path / 'voice'}"
    stage.controller.set("mix", 0.0)
    with subprocess.Popen(command.split(), env=sound_server.environment) as voice:
        try:
            stage.click(transport.microphone)
            stage.wait(lambda: stage.controller.setup.source == MICROPHONE)
            assert stage.controller.setup.mode == "live"
            stage.wait(lambda: transport.input.level_db > -24)
            ear = Ear(sound_server, tmp_path / "raw")
            stage.wait(lambda: ear.seconds > 1.5)
            sound = ear.stop()[-SERVER_RATE:]
        finally:
            voice.kill()
    # A busy machine may leave a gap, which moves the peak of all of it; most of the pieces have none.
    pieces = sound.reshape(-1, SERVER_RATE // PIECES)
    peaks = np.abs(np.fft.rfft(pieces * np.hanning(pieces.shape[1]), SERVER_RATE // 2)).argmax(axis=1)
    assert np.median(peaks) == pytest.approx(HZ / 2, abs=1)
    assert np.abs(sound).max() > PLENTY
    assert transport.microphone.isChecked()
    stage.key(Qt.Key.Key_M)
    stage.wait(lambda: stage.controller.setup.source.endswith("song.wav"))
    assert stage.controller.setup.mode == "relaxed"
    stage.goes_on()
