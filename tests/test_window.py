"""The real window, offscreen, with the audio process behind it: on the silent clock, and on a sound server."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.gui import theme
from rtae.gui.controller import Controller
from rtae.gui.dialogs import DeviceDialog, KeysDialog
from rtae.gui.kept import first_setup
from rtae.gui.main_window import MainWindow
from rtae.gui.panels import transport
from rtae.nets.config import SMALL, TINY
from rtae.params import TABLE, Snapshot
from rtae.setup import Setup

RATE = 44_100
PATIENCE_MS = 60_000  # a busy machine takes long to start a process
STALL_SECONDS = 5.0
STALLS = 3  # of the window, until nothing else disturbs the sound as well

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, files_of, store_model):
    place = tmp_path_factory.mktemp("window")
    store_model(place / "models" / "one", files_of(SMALL))
    store_model(place / "models" / "two", files_of(TINY))
    time_ = np.arange(20 * RATE) / RATE
    with AudioWriter(place / "song.wav", RATE, 2) as out:
        out.write((0.25 * np.sin(2 * np.pi * 441 * time_) * np.ones((2, 1))).astype(np.float32))
    (place / "broken.flac").write_bytes(b"fLaC" + bytes(100))
    return place


@pytest.fixture
def make(qtbot, qapp, tmp_path, monkeypatch, folder):
    """Opens a window, and closes it at the end."""
    theme.apply(qapp)
    places = {"RTAE_MODELS": folder / "models", "RTAE_PRESETS": tmp_path / "presets", "RTAE_RUNS": tmp_path / "runs"}
    for variable, place in places.items():
        monkeypatch.setenv(variable, str(place))
    monkeypatch.setattr(transport, "user_music_path", lambda: tmp_path)
    monkeypatch.setattr("rtae.gui.bridge.bindings_file", lambda: tmp_path / "midi.json")
    opened = []

    def build(output: str | None = "silent", song: str = "song.wav") -> MainWindow:
        setup = Setup(model=str(folder / "models" / "one"), source=str(folder / song), output=output)
        controller = Controller(QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat), setup)
        window = MainWindow(controller)
        opened.append(window)
        window.said = []
        controller.notice.connect(lambda text, is_error: window.said.append((text, is_error)))
        window.show()
        controller.start()
        qtbot.waitUntil(lambda: bool(controller.facts) or song == "missing.wav", timeout=PATIENCE_MS)
        return window

    yield build
    for window in opened:
        window.close()
        window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # or every later window is slower


@pytest.fixture
def window(make):
    return make()


@pytest.fixture
def on_server(sound_server, monkeypatch, make):
    """A window that plays on a sound server."""
    for name, value in sound_server.paths.items():
        monkeypatch.setenv(name, value)
    return make(None)


def play(window, qtbot):
    window.controller.set("mix", 0.0)
    qtbot.mouseClick(window.transport.play, Qt.MouseButton.LeftButton)
    goes_on(window, qtbot, 0.3)


def goes_on(window, qtbot, seconds=0.4):
    before = window.controller.status().position
    qtbot.waitUntil(lambda: window.controller.status().position > before + seconds, timeout=PATIENCE_MS)


def said(window, *words):
    return any(all(word in text for word in words) for text, _ in window.said)


# -- playing -----------------------------------------------------------------------------------------------------------
def test_a_song_plays_pauses_and_stops(window, qtbot):
    play(window, qtbot)
    assert window.transport.play.accessibleName() == "Pause"
    qtbot.mouseClick(window.transport.play, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.controller.setup.playing, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: window.controller.status().output_peak == 0, timeout=PATIENCE_MS)  # it has faded out
    held = window.controller.status().position
    qtbot.wait(300)
    assert window.controller.status().position == held > 0
    qtbot.mouseClick(window.transport.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.controller.status().position == 0, timeout=PATIENCE_MS)


def test_the_space_bar_plays(window, qtbot):
    window.activateWindow()
    window.pictures.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: window.controller.setup.playing, timeout=PATIENCE_MS)


def test_the_waveform_shows_where_it_is_and_goes_where_it_is_told(window, qtbot):
    view = window.transport.first_view
    qtbot.waitUntil(lambda: view.duration == pytest.approx(20), timeout=PATIENCE_MS)
    view.seek_requested.emit(12.0)
    qtbot.waitUntil(lambda: window.controller.status().position == pytest.approx(12, abs=0.3), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: view.position == pytest.approx(12, abs=0.3), timeout=PATIENCE_MS)


def test_a_region_loops(window, qtbot):
    window.transport.first_view.region_changed.emit(2.0, 2.5)
    qtbot.waitUntil(lambda: window.controller.setup.loop == (2.0, 2.5), timeout=PATIENCE_MS)
    window.controller.seek(2.0)
    play(window, qtbot)
    for _ in range(10):
        qtbot.wait(100)
        assert 1.5 < window.controller.status().position < 2.6
    window.transport.first_view.region_cleared.emit()
    qtbot.waitUntil(lambda: window.controller.setup.loop is None, timeout=PATIENCE_MS)


def test_pictures_are_fed_while_it_plays(window, qtbot):
    play(window, qtbot)
    frames = window.frames
    qtbot.wait(600)
    assert window.frames > frames + 8
    assert window.transport.input.level_db > -20
    assert window.pictures.heatmap.dims == SMALL.latent_dim


def test_source_b(window, qtbot, folder):
    window.controller.open_second(str(folder / "song.wav"))
    qtbot.waitUntil(lambda: window.transport.second_view.isVisible(), timeout=PATIENCE_MS)
    play(window, qtbot)
    qtbot.waitUntil(lambda: window.transport.second_view.position > 0.1, timeout=PATIENCE_MS)
    qtbot.mouseClick(window.transport.no_second, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.transport.second_view.isVisible(), timeout=PATIENCE_MS)


# -- knobs -------------------------------------------------------------------------------------------------------------
def test_every_knob_reaches_the_audio_process(window):
    for id, knob in window.knobs.panel.knobs.items():
        parameter = TABLE[id]
        value = parameter.high if parameter.default != parameter.high else parameter.low
        knob.change_once(value)
        assert window.controller.client.shared.snapshot()[id] == pytest.approx(value)
        knob.change_once(parameter.default)
    assert window.controller.client.shared.snapshot() == Snapshot()


def test_undo_takes_back_a_turn_and_redo_repeats_it(window, qtbot):
    knob = window.knobs.panel.knobs["noise_amount"]
    knob.change_once(2.0)
    qtbot.mouseClick(window.knobs.undo, Qt.MouseButton.LeftButton)
    assert knob.value() == 0.0
    qtbot.mouseClick(window.knobs.redo, Qt.MouseButton.LeftButton)
    assert knob.value() == 2.0
    assert window.controller.client.shared.snapshot()["noise_amount"] == 2.0


def test_chance_presets_and_morphing(window, qtbot, monkeypatch):
    panel, knobs = window.knobs, window.controller.knobs
    qtbot.mouseClick(panel.store_a, Qt.MouseButton.LeftButton)
    panel.amount.setValue(100)
    qtbot.mouseClick(panel.dice, Qt.MouseButton.LeftButton)
    moved = knobs.values
    assert moved != Snapshot()
    assert moved["output_gain"] == 0
    qtbot.mouseClick(panel.store_b, Qt.MouseButton.LeftButton)
    panel.morph.setValue(0)
    assert knobs.values == Snapshot()
    panel.morph.setValue(panel.morph.maximum())
    assert knobs.values == moved
    monkeypatch.setattr("rtae.gui.panels.knobs.QInputDialog.getText", lambda *_: ("Mine", True))
    qtbot.mouseClick(panel.save, Qt.MouseButton.LeftButton)
    panel.choose("")
    assert knobs.values == Snapshot()
    panel.choose("Mine")
    for id, value in moved.items():
        assert knobs.values[id] == pytest.approx(value)
    assert panel.preset.count() > 10


def test_a_preset_leaves_gains_alone_and_is_no_more_what_is_chosen_once_a_knob_turned(window):
    window.controller.set("output_gain", -12.0)
    window.knobs.choose("Rain")
    assert window.controller.knobs.values["output_gain"] == -12
    assert window.knobs.preset.currentText() == "Rain"
    window.controller.set("blur", 0.4)
    assert window.knobs.preset.currentIndex() == -1


def test_the_map_pulls(window, qtbot):
    window.docks["Map"].raise_()
    window.map.map.place_chosen.emit(1.5, -0.5)
    values = window.controller.client.shared.snapshot()
    assert (values["map_x"], values["map_y"]) == (1.5, -0.5)
    assert values["map_pull"] > 0
    window.map.map.place_cleared.emit()
    assert window.controller.client.shared.snapshot()["map_pull"] == 0


def test_knobs_are_heard(window, qtbot, tmp_path):
    """Recorded from the window's own button, since the silent clock has no monitor."""
    levels = {}
    play(window, qtbot)
    for gain in (0.0, -20.0):
        window.knobs.panel.knobs["output_gain"].change_once(gain)
        goes_on(window, qtbot, 0.6)
        qtbot.mouseClick(window.transport.record, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: bool(window.controller.recording), timeout=PATIENCE_MS)
        goes_on(window, qtbot, 0.5)
        name = window.controller.recording
        qtbot.mouseClick(window.transport.record, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda name=name: said(window, "Recorded", name), timeout=PATIENCE_MS)
        levels[gain] = np.abs(read_audio(name)[0]).max()
    assert levels[0.0] / levels[-20.0] == pytest.approx(10, rel=0.02)
    assert Path(window.controller.settings.fileName()).parent == tmp_path


# -- models ------------------------------------------------------------------------------------------------------------
def test_models_change_while_it_plays(window, qtbot, folder):
    play(window, qtbot)
    window.controller.choose_model(str(folder / "models" / "two"))
    qtbot.waitUntil(lambda: window.controller.spec.preset == "tiny", timeout=PATIENCE_MS)
    goes_on(window, qtbot)
    assert window.transport.model.currentText() == "two"
    window.controller.choose_model(str(folder))
    qtbot.waitUntil(lambda: said(window, "No model in"), timeout=PATIENCE_MS)
    goes_on(window, qtbot)


# -- what goes wrong ---------------------------------------------------------------------------------------------------
def drop(window, path):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    window.dropEvent(
        QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0))
    )


def test_a_broken_file_is_dropped(window, qtbot, folder):
    play(window, qtbot)
    drop(window, folder / "broken.flac")
    qtbot.waitUntil(lambda: said(window, "broken.flac"), timeout=PATIENCE_MS)
    goes_on(window, qtbot)
    drop(window, folder)
    assert said(window, "is a folder and no model")
    drop(window, folder / "song.wav")
    goes_on(window, qtbot)


def test_a_song_that_is_missing_at_the_start_is_no_dead_end(make, qtbot, folder):
    window = make(song="missing.wav")
    qtbot.waitUntil(lambda: said(window, "missing.wav"), timeout=PATIENCE_MS)
    drop(window, folder / "song.wav")
    qtbot.waitUntil(lambda: bool(window.controller.facts), timeout=PATIENCE_MS)
    play(window, qtbot)


def test_the_audio_process_is_killed(window, qtbot):
    play(window, qtbot)
    os.kill(window.controller.facts["pid"], signal.SIGKILL)
    qtbot.waitUntil(lambda: said(window, "started again where it was"), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: window.controller.client.restarts == 1, timeout=PATIENCE_MS)
    goes_on(window, qtbot)
    window.knobs.panel.knobs["noise_amount"].change_once(1.0)
    assert window.controller.client.shared.snapshot()["noise_amount"] == 1.0


def test_the_sound_server_goes_away_and_comes_back(on_server, sound_server, qtbot):
    play(on_server, qtbot)
    sound_server.kill()
    qtbot.waitUntil(lambda: said(on_server, "is gone"), timeout=PATIENCE_MS)
    qtbot.mouseClick(on_server.transport.stop, Qt.MouseButton.LeftButton)  # an error in words, and no traceback
    assert sound_server.start()
    qtbot.waitUntil(lambda: said(on_server, "Playing again"), timeout=PATIENCE_MS)
    assert on_server.isVisible()


def test_the_sound_goes_on_while_the_window_stands_still(on_server, qtbot):
    play(on_server, qtbot)
    for _ in range(STALLS):
        before = on_server.controller.status()
        begun = time.monotonic()
        time.sleep(STALL_SECONDS)
        after, passed = on_server.controller.status(), time.monotonic() - begun
        if after.late == before.late and after.flags == before.flags:
            break  # nothing else took the machine away from the sound
    assert after.position - before.position == pytest.approx(passed, abs=0.3)
    assert after.late == before.late


def test_without_any_device_it_says_so_and_goes_on_in_silence(make, qtbot, monkeypatch):
    for name in ("PULSE_SERVER", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere/native")
    window = make(None)
    if window.controller.setup.output != "silent":
        pytest.skip("this machine has a sound card")
    assert said(window, "runs in silence")
    play(window, qtbot)


# -- dialogs and habits ------------------------------------------------------------------------------------------------
def test_devices_can_be_chosen(window, qtbot):
    dialog = DeviceDialog(window.controller, window)
    qtbot.addWidget(dialog)
    dialog.mode.setCurrentIndex(dialog.mode.findData("live"))
    dialog.hop.setValue(480)
    assert dialog.wanted().mode == "live"
    dialog.apply()
    qtbot.waitUntil(lambda: window.controller.facts["hop"] == 480, timeout=PATIENCE_MS)
    assert window.controller.facts["block"] == 256


def test_keys_are_listed(window, qtbot):
    dialog = KeysDialog(window.keys, window)
    qtbot.addWidget(dialog)
    assert len(window.keys) > 15
    assert len({key for key, _ in window.keys}) == len(window.keys)  # no two of them on the same key


def test_a_performance_is_kept_and_rendered(window, qtbot, tmp_path, monkeypatch):
    play(window, qtbot)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "played.json"), ""))
    qtbot.mouseClick(window.transport.perform, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.controller.performing, timeout=PATIENCE_MS)
    goes_on(window, qtbot, 0.3)
    window.knobs.panel.knobs["latent_scale"].change_once(2.0)
    goes_on(window, qtbot, 0.5)
    window.controller.seek(10.0)  # which ends it: the rest is not what was played before
    qtbot.waitUntil(lambda: said(window, "The performance ended here"), timeout=PATIENCE_MS)
    window.controller.open(str(tmp_path / "nothing.wav"))
    place = iter([str(tmp_path / "no folder" / "played.json"), str(tmp_path / "played")])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (next(place), ""))
    qtbot.mouseClick(window.transport.perform, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: said(window, "no folder"), timeout=PATIENCE_MS)
    assert window.controller.performing  # nothing is lost
    qtbot.mouseClick(window.transport.perform, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: said(window, "A performance of"), timeout=PATIENCE_MS)
    window.renders.performance(tmp_path / "played.json", tmp_path / "played.wav")
    qtbot.waitUntil(lambda: said(window, "Rendered"), timeout=60_000)
    assert read_audio(tmp_path / "played.wav")[0].shape[1] > 0.5 * RATE


def test_a_song_is_rendered_with_the_knobs(window, qtbot, tmp_path):
    window.controller.set("output_gain", -12.0)
    window.controller.set("mix", 0.0)
    window.renders.song(tmp_path / "out.wav")
    qtbot.waitUntil(lambda: said(window, "Rendered"), timeout=60_000)
    sound = read_audio(tmp_path / "out.wav")[0]
    assert np.abs(sound).max() == pytest.approx(0.25 * 10 ** (-12 / 20), rel=0.01)


def test_knobs_and_device_are_remembered(window, tmp_path):
    window.controller.set("echo", 0.5)
    window.controller.set("bypass", 1.0)
    window.close()
    settings = QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat)
    setup, knobs = first_setup(None, "song.wav", settings)
    assert (setup.model, setup.output, setup.hop) == (window.controller.setup.model, None, 2048)
    assert (knobs["echo"], knobs["bypass"]) == (0.5, 0)
    settings.setValue("setup", '{"hop": "x", "mode": 7}')
    settings.setValue("knobs", '{"echo": 1e999, "nothing": 1, "blur": null}')
    setup, knobs = first_setup(None, "song.wav", settings)
    assert (setup.hop, knobs["blur"]) == (2048, 0)


def test_how_it_looked_is_remembered(make, tmp_path):
    first = make()
    first.resize(first.width(), 640)
    first.close()
    settings = QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat)
    assert settings.value("geometry") is not None
    second = make()
    assert second.height() == 640
