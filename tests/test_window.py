"""The real window, offscreen, with the audio process behind it on the silent clock: what a user does all day."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtWidgets import QFileDialog
from stage import LEFT, SERVER_RATE

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.gui.controller import RECENT
from rtae.gui.dialogs import DeviceDialog
from rtae.gui.kept import first_setup
from rtae.nets.config import SMALL
from rtae.params import TABLE, Snapshot
from rtae.presets import Preset, save_own
from rtae.source import LEVEL

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


# -- playing -----------------------------------------------------------------------------------------------------------
def test_a_song_plays_pauses_and_stops(stage):
    transport, control = stage.window.transport, stage.controller
    stage.play()
    assert transport.play.accessibleName() == "Pause"
    stage.click(transport.play)
    stage.wait(lambda: not control.setup.playing)
    stage.wait(lambda: stage.status.output_peak == 0)  # it has faded out
    held = stage.status.position
    stage.qtbot.wait(300)
    assert stage.status.position == held > 0
    stage.click(transport.stop)
    stage.wait(lambda: stage.status.position == 0)


def test_the_waveform_shows_where_it_is_and_goes_where_it_is_told(stage):
    view = stage.window.transport.first_view
    stage.wait(lambda: view.duration == pytest.approx(20))
    area = view.area()
    stage.qtbot.mouseClick(view, LEFT, pos=QPoint(area.left() + round(0.6 * area.width()), area.center().y()))
    stage.wait(lambda: stage.status.position == pytest.approx(12, abs=0.3))
    stage.wait(lambda: view.position == pytest.approx(12, abs=0.3))


def test_a_region_loops_until_it_is_let_go(stage):
    """Dragged over the waveform with the mouse."""
    view = stage.window.transport.first_view
    stage.wait(lambda: view.duration == pytest.approx(20))
    area = view.area()
    ends = [QPoint(area.left() + round(share * area.width()), area.center().y()) for share in (0.1, 0.13)]
    stage.qtbot.mousePress(view, LEFT, pos=ends[0])
    stage.qtbot.mouseMove(view, ends[1])
    stage.qtbot.mouseRelease(view, LEFT, pos=ends[1])
    stage.wait(lambda: stage.controller.setup.loop is not None)
    start, end = stage.controller.setup.loop
    assert (start, end) == (pytest.approx(2.0, abs=0.1), pytest.approx(2.6, abs=0.1))
    assert stage.window.transport.loop.isChecked()
    stage.controller.seek(start)
    stage.wait(lambda: stage.status.position == pytest.approx(start, abs=0.01))
    stage.play()
    places = [stage.status.position]

    def turns():
        places.append(stage.status.position)
        assert start - 0.3 < places[-1] < end + 0.1
        return np.sum(np.diff(places) < 0) >= 2

    stage.wait(turns)
    stage.qtbot.mouseClick(view, Qt.MouseButton.RightButton, pos=ends[0])
    stage.wait(lambda: stage.controller.setup.loop is None)
    stage.wait(lambda: stage.status.position > end + 0.3)


def test_a_region_is_made_by_keys(stage):
    view, shift = stage.window.transport.first_view, Qt.KeyboardModifier.ShiftModifier
    stage.wait(lambda: view.duration == pytest.approx(20))
    view.setFocus()
    stage.qtbot.keyClick(view, Qt.Key.Key_Right)
    five = pytest.approx(5, abs=0.1)
    stage.wait(lambda: stage.status.position == five and view.position == five)
    for _ in range(2):
        stage.qtbot.keyClick(view, Qt.Key.Key_Right, shift)
        stage.controller.setup_changed.emit()  # as the answer to an earlier command does
    stage.wait(lambda: stage.controller.setup.loop == pytest.approx((5.0, 7.0), abs=0.1))
    for _ in range(2):
        stage.qtbot.keyClick(view, Qt.Key.Key_Left, shift)
        stage.controller.setup_changed.emit()  # as the answer to an earlier command does
    stage.wait(lambda: stage.controller.setup.loop is None)


def test_pictures_are_fed_while_it_plays(stage):
    stage.play()
    frames = stage.window.frames
    stage.wait(lambda: stage.window.frames > frames + 8)
    assert stage.window.transport.input.level_db > -20
    assert stage.window.pictures.heatmap.dims == SMALL.latent_dim


def test_source_b_plays_beside_it_and_is_heard(stage, stage_folder, tmp_path):
    """Dry, the knob from A to B mixes the songs: at 1, B alone is heard."""
    transport = stage.window.transport
    sound = read_audio(stage_folder / "song.wav")[0]
    with AudioWriter(tmp_path / "b.wav", SERVER_RATE, 2) as out:
        out.write(np.float32(0.25) * sound)
    stage.controller.open_second(str(tmp_path / "b.wav"))
    stage.wait(transport.second_view.isVisible)
    stage.wait(lambda: transport.second_view.duration == pytest.approx(20))
    stage.play()
    stage.turn("interpolation", "1")
    stage.goes_on(0.6)
    with stage.recording() as recorded:
        stage.goes_on(0.3)
    assert np.abs(recorded[0]).max() == pytest.approx(0.25 * np.abs(sound).max(), rel=0.01)
    transport.second_view.seek_requested.emit(10.0)
    stage.wait(lambda: transport.second_view.position > 10)
    stage.click(transport.no_second)
    stage.wait(lambda: not transport.second_view.isVisible())


def test_recent_songs_are_listed_and_opened(make_stage, stage_folder):
    stage = make_stage()
    menu = stage.window.menus.recent
    menu.aboutToShow.emit()
    assert not menu.actions()
    names = [str(stage_folder / "song.wav"), *(str(stage_folder / f"{number}.wav") for number in range(RECENT))]
    for name in names:
        stage.controller.remember(name)
    stage.drop(stage_folder / "song.wav")  # opened again: it comes first, and the oldest is left out
    stage.wait(lambda: stage.controller.recent()[0] == names[0])
    stage.window.close()
    later = make_stage(source="tone")
    menu = later.window.menus.recent
    menu.aboutToShow.emit()
    assert [action.text() for action in menu.actions()] == ["song.wav", *(f"{n}.wav" for n in range(RECENT - 1, 0, -1))]
    menu.actions()[0].trigger()
    later.wait(lambda: later.controller.setup.source == names[0])
    menu.aboutToShow.emit()
    menu.actions()[1].trigger()  # it was moved away since
    later.hears(f"{RECENT - 1}.wav", "does not exist")
    later.play()


def test_a_test_tone_twice_leaves_the_song_where_it_was(stage):
    """Past model and knobs, which would be heard: nothing comes out of the song at this output gain."""
    stage.controller.set("output_gain", -60.0)
    stage.play()
    dialog = DeviceDialog(stage.controller, stage.window)
    stage.qtbot.addWidget(dialog)
    stage.click(dialog.tone)
    stage.wait(lambda: stage.status.output_peak == pytest.approx(LEVEL, rel=0.01))
    stage.click(dialog.tone)
    places = []

    def is_over():
        at = stage.status
        if at.output_peak > LEVEL / 100:
            places.append(at.position)
        return at.output_peak < LEVEL / 100 and at.position > places[0]

    stage.wait(is_over)
    assert len(set(places)) == 1 < len(places)  # it stood still
    stage.goes_on(0.2)
    assert stage.controller.setup.source.endswith("song.wav")
    assert stage.heard("test tone")


def test_a_test_tone_of_a_song_that_is_held(stage):
    stage.controller.seek(7.0)
    stage.wait(lambda: stage.status.position == pytest.approx(7.0))
    stage.controller.test_tone()
    stage.wait(lambda: stage.status.output_peak == pytest.approx(LEVEL, rel=0.01))
    stage.wait(lambda: stage.status.output_peak == 0)
    assert stage.status.position == pytest.approx(7.0)
    assert not stage.status.playing


# -- knobs -------------------------------------------------------------------------------------------------------------
def test_every_knob_reaches_the_audio_process(stage):
    for id, knob in stage.knobs.items():
        parameter = TABLE[id]
        value = parameter.high if parameter.default != parameter.high else parameter.low
        knob.change_once(value)
        assert stage.controller.client.shared.snapshot()[id] == pytest.approx(value)
        knob.change_once(parameter.default)
    assert stage.controller.client.shared.snapshot() == Snapshot()


def test_undo_takes_back_a_turn_and_redo_repeats_it(stage):
    knob = stage.knobs["noise_amount"]
    assert not stage.window.knobs.undo.isEnabled()
    knob.change_once(2.0)
    stage.click(stage.window.knobs.undo)
    assert knob.value() == 0.0
    stage.click(stage.window.knobs.redo)
    assert knob.value() == 2.0
    assert stage.controller.client.shared.snapshot()["noise_amount"] == 2.0
    assert not stage.window.knobs.redo.isEnabled()


def test_bypass_is_as_loud_as_the_model_once_levels_are_matched(stage):
    def loudness():
        with stage.recording() as sound:
            stage.goes_on(1.0)
        return 10 * np.log10(np.mean(np.square(sound[0])))

    stage.controller.loop((0.0, 0.0))
    stage.turn("latent_scale", "0.4")
    stage.play(dry=False)
    found = {}
    for match in (False, True):
        for bypass in (False, True):
            stage.goes_on(1.0)  # what is matched follows slowly
            found[match, bypass] = loudness()
            stage.key(Qt.Key.Key_Y)
        stage.controller.set("match", 1.0)
    assert abs(found[False, True] - found[False, False]) > 3
    assert abs(found[True, True] - found[True, False]) < 1


def test_chance_moves_knobs_as_far_as_it_may(stage):
    panel, knobs = stage.window.knobs, stage.controller.knobs
    panel.amount.setValue(0)
    stage.click(panel.dice)
    assert knobs.values == Snapshot()
    panel.amount.setValue(100)
    stage.click(panel.dice)
    moved = [id for id, value in knobs.values.items() if value != TABLE[id].default]
    assert len(moved) > 5
    assert not {"output_gain", "mix", "bypass", "ceiling"} & set(moved)
    stage.click(panel.undo)
    assert knobs.values == Snapshot()


def test_the_slider_morphs_from_one_snapshot_to_the_other(stage):
    panel, knobs = stage.window.knobs, stage.controller.knobs
    assert not panel.morph.isEnabled()
    stage.click(panel.store_a)
    knobs.update({"echo": 0.8, "latent_scale": 3.0, "freeze": 1})
    assert not panel.morph.isEnabled()
    stage.click(panel.store_b)
    far = knobs.values
    panel.morph.setValue(panel.morph.maximum() // 2)
    half = knobs.values
    assert (half["echo"], half["latent_scale"], half["freeze"]) == (0.4, 2.0, 1)
    panel.morph.setValue(0)
    assert knobs.values == Snapshot()
    panel.morph.setValue(panel.morph.maximum())
    assert knobs.values == far
    assert stage.controller.client.shared.snapshot()["echo"] == pytest.approx(0.8)
    assert stage.knobs["echo"].value() == 0.8


def test_presets_are_saved_and_loaded(stage, monkeypatch):
    panel, knobs = stage.window.knobs, stage.controller.knobs
    shipped = panel.preset.count()
    assert shipped > 10
    knobs.update({"echo": 0.5, "macro_3": -2.0})
    kept = knobs.values
    monkeypatch.setattr("rtae.gui.panels.knobs.QInputDialog.getText", lambda *_: ("Mine", True))
    stage.click(panel.save)
    assert panel.preset.count() == shipped + 1
    assert "Mine" in stage.window.bridge.remote.preset_names  # for program changes
    panel.choose("")
    assert knobs.values == Snapshot()
    panel.choose("Mine")
    assert {id: knobs.values[id] for id in kept} == pytest.approx(dict(kept))
    monkeypatch.setattr("rtae.gui.panels.knobs.QInputDialog.getText", lambda *_: ("...", True))
    stage.click(panel.save)
    assert stage.heard("'...' cannot name a preset")
    panel.step(1)  # behind one's own comes the plain one
    assert knobs.values == Snapshot()
    panel.step(-1)
    assert knobs.values["macro_3"] == -2.0


def test_broken_presets_are_told_and_the_others_load(make_stage, tmp_path):
    own = tmp_path / "presets"
    own.mkdir()
    (own / "torn.json").write_text('{"format": 1, "name": "To')
    (own / "wild.json").write_text('{"format": 1, "name": "Wild", "values": {"mix": 99}}')
    stage = make_stage()
    save_own(Preset("Good", "", Snapshot().replace(blur=0.5)))
    stage.window.knobs.list_presets()
    told = [text for text, is_error in stage.window.status.history if is_error]
    for words in ("torn.json is not a preset", "wild.json: mix is 99; allowed are 0 to 1"):
        assert sum(words in text for text in told) == 2  # at the start, which nobody can miss, and now
    stage.window.knobs.choose("Good")
    assert stage.controller.knobs.values["blur"] == 0.5
    (own / "Good.json").write_text("{}")  # since it was listed
    stage.window.knobs.choose("Good")
    assert stage.heard("No preset 'Good'")
    assert stage.controller.knobs.values["blur"] == 0.5


def test_a_preset_leaves_gains_alone_and_is_no_more_what_is_chosen_once_a_knob_turned(stage):
    stage.controller.set("output_gain", -12.0)
    stage.window.knobs.choose("Rain")
    assert stage.controller.knobs.values["output_gain"] == -12
    assert stage.window.knobs.preset.currentText() == "Rain"
    stage.controller.set("blur", 0.4)
    assert stage.window.knobs.preset.currentIndex() == -1


def test_the_map_is_clicked_and_lets_go(stage):
    stage.window.docks["Map"].raise_()
    map_ = stage.window.map.map
    stage.wait(map_.isVisible)
    area = map_.area()
    place = QPoint(area.left() + round(0.75 * area.width()), area.top() + round(0.75 * area.height()))
    stage.qtbot.mouseClick(map_, LEFT, pos=place)
    values = stage.controller.client.shared.snapshot()
    assert (values["map_x"], values["map_y"]) == (pytest.approx(2, abs=0.1), pytest.approx(-2, abs=0.1))
    assert values["map_pull"] > 0
    map_.setFocus()
    stage.qtbot.keyClick(map_, Qt.Key.Key_Left)
    assert stage.controller.client.shared.snapshot()["map_x"] < values["map_x"]
    stage.qtbot.mouseDClick(map_, LEFT, pos=place)
    assert stage.controller.client.shared.snapshot()["map_pull"] == 0


# -- models ------------------------------------------------------------------------------------------------------------
def test_models_change_while_it_plays(stage, tmp_path):
    stage.play()
    box, folder = stage.window.transport.model, str(tmp_path / "models" / "two")
    box.setCurrentIndex(box.findData(folder))
    box.activated.emit(box.currentIndex())
    stage.wait(lambda: stage.controller.spec.preset == "tiny")
    stage.goes_on()
    assert box.currentText() == "two"
    assert stage.window.models.current == folder


def test_the_next_and_previous_model_leave_out_what_cannot_be_used(stage, tmp_path):
    broken = tmp_path / "models" / "three"
    broken.mkdir()
    (broken / "model.json").write_text("{}")
    stage.window.models.refresh()
    stage.wait(lambda: [entry.name for entry in stage.window.models.entries if entry.spec is None] == ["three"])
    stage.play()
    names = []
    for key in (Qt.Key.Key_BracketRight, Qt.Key.Key_BracketRight, Qt.Key.Key_BracketLeft):
        before = stage.controller.setup.model
        stage.key(key)
        stage.wait(lambda before=before: stage.controller.setup.model != before)
        names.append(Path(stage.controller.setup.model).name)
    assert names[0] == names[2] != names[1]
    assert "three" not in names
    stage.goes_on()
    # Chosen by name it is refused, and what is shown is what plays.
    box = stage.window.transport.model
    box.setCurrentIndex(box.findText("three"))
    box.activated.emit(box.currentIndex())
    stage.hears("model.json")
    stage.wait(lambda: box.currentText() == names[2])


# -- dialogs and habits ------------------------------------------------------------------------------------------------
def test_devices_can_be_chosen(stage):
    dialog = DeviceDialog(stage.controller, stage.window)
    stage.qtbot.addWidget(dialog)
    dialog.mode.setCurrentIndex(dialog.mode.findData("live"))
    dialog.hop.setValue(480)
    assert dialog.wanted().mode == "live"
    dialog.apply()
    stage.wait(lambda: stage.controller.facts["hop"] == 480)
    assert stage.controller.facts["block"] == 256


def test_a_song_is_rendered_with_the_knobs(stage, tmp_path):
    stage.controller.set("output_gain", -12.0)
    stage.controller.set("mix", 0.0)
    stage.window.renders.song(tmp_path / "out.wav")
    stage.window.renders.song(tmp_path / "too-soon.wav")
    assert stage.heard("being rendered already")
    stage.hears("Rendered")
    sound = read_audio(tmp_path / "out.wav")[0]
    assert np.abs(sound).max() == pytest.approx(0.25 * 10 ** (-12 / 20), rel=0.01)
    assert not (tmp_path / "too-soon.wav").exists()


def test_what_has_no_end_is_not_rendered(stage, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: pytest.fail("it asks where to"))
    stage.controller.open("noise")
    stage.wait(lambda: stage.controller.setup.source == "noise")
    stage.window.render_song()
    assert stage.heard("has no end; record it instead")


def test_knobs_and_device_are_remembered(stage, tmp_path):
    stage.controller.set("echo", 0.5)
    stage.controller.set("bypass", 1.0)
    stage.window.close()
    settings = QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat)
    setup, knobs = first_setup(None, "song.wav", settings)
    assert (setup.model, setup.output, setup.hop) == (stage.controller.setup.model, None, 2048)
    assert (knobs["echo"], knobs["bypass"]) == (0.5, 0)
    settings.setValue("setup", '{"hop": "x", "mode": 7}')
    settings.setValue("knobs", '{"echo": 1e999, "nothing": 1, "blur": null}')
    setup, knobs = first_setup(None, "song.wav", settings)
    assert (setup.hop, knobs["blur"]) == (2048, 0)


def test_docks_that_were_moved_stay_where_they_are(make_stage):
    window = make_stage().window
    assert window.dockWidgetArea(window.docks["Map"]) == Qt.DockWidgetArea.RightDockWidgetArea
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, window.docks["Map"])
    window.docks["Train"].setFloating(True)
    window.docks["Train"].move(100, 120)
    window.resize(window.width(), 640)
    window.close()
    again = make_stage().window
    assert again.dockWidgetArea(again.docks["Map"]) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert again.docks["Train"].isFloating()
    assert not again.docks["Map"].isFloating()
    assert again.height() == 640
    assert again.tabifiedDockWidgets(again.docks["Knobs"]) == [again.docks["Models"]]
