import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import json
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QAccessible, QDragEnterEvent, QDropEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QPushButton

from rtae import jobs
from rtae.gui import theme
from rtae.gui.panels import training as panels
from rtae.gui.panels.training import NO_FOLDER, PRESETS, TrainingPanel
from rtae.gui.panels.training_words import WELCOME, words_of
from rtae.job_files import Order, checkpoint_facts
from rtae.jobs import Status

pytestmark = [
    pytest.mark.qt_log_level_fail("WARNING"),
    pytest.mark.qt_log_ignore("^This plugin does not support"),  # the offscreen platform, about any window
]
FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
PATIENCE_MS = 30_000
LONGEST_BLOCK = 0.5  # seconds that a click may take; measured 0.02, and processes start slowly on a busy machine
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The user's folders are this test's own."""
    monkeypatch.setenv("RTAE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("RTAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(panels, "POLL_MS", 20)
    (tmp_path / "my songs").mkdir()
    return tmp_path


@pytest.fixture
def plan(monkeypatch):
    def plan(**what):
        monkeypatch.setenv("RTAE_FAKE", json.dumps(what))

    plan(steps=3, pause=0.02)
    return plan


@pytest.fixture
def make(qtbot, qapp, plan):
    """Panels on the screen, which end with the test."""
    theme.apply(qapp)
    made = []

    def make():
        panel = TrainingPanel(command=FAKE)
        made.append(panel)
        panel.ready, panel.asked = [], []
        panel.model_ready.connect(panel.ready.append)
        panel.preview_requested.connect(panel.asked.append)
        qtbot.addWidget(panel)
        panel.resize(400, 760)
        with qtbot.waitExposed(panel):
            panel.show()
        return panel

    yield make
    for panel in made:
        panel.shutdown()


@pytest.fixture
def panel(make, places):
    panel = make()
    panel.set_folder(places / "my songs")
    return panel


def wait_for(qtbot, panel, *states):
    qtbot.waitUntil(lambda: panel.job.status.state in states, timeout=PATIENCE_MS)


def allowed(panel):
    buttons = {"start": panel.start, "stop": panel.stop, "resume": panel.resume, "export": panel.export}
    return {name for name, button in buttons.items() if button.isEnabled()}


def shown(panel):
    parts = ("bar", "found", "loss", "quality", "figures", "listen")
    return {name for name in parts if getattr(panel, name).isVisible()}


# -- from start to end -------------------------------------------------------------------------------------------------
def test_at_first(make):
    panel = make()
    assert panel.words.text() == WELCOME
    assert allowed(panel) == {"start"}
    assert shown(panel) == set()
    assert panel.start_with.currentText() == "A new small one"
    assert panel.hint.text() == PRESETS["small"]
    assert not panel.timer.isActive()


def test_a_training_becomes_a_model(panel, qtbot, places, plan):
    plan(steps=20, pause=0.1)  # long enough to be seen by a panel that looks twice a second
    panel.minutes.setValue(7)
    panel.start_with.setCurrentIndex(1)
    begin = time.perf_counter()
    qtbot.mouseClick(panel.start, LEFT)
    assert time.perf_counter() - begin < LONGEST_BLOCK
    assert allowed(panel) == {"stop"}
    assert not panel.form.isEnabled()
    assert panel.timer.isActive()
    assert panel.job.order == Order(str(places / "my songs"), "my-songs", 7, "tiny")
    wait_for(qtbot, panel, "training")
    qtbot.waitUntil(lambda: "left" in panel.bar.format(), timeout=PATIENCE_MS)
    assert "loss 1." in panel.words.text()
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    assert panel.ready == [str(places / "models" / "my-songs")]
    assert panel.words.text() == "Done: the model my-songs is ready to play."
    assert panel.bar.format() == "100 %"
    assert allowed(panel) == {"start"}
    assert not panel.timer.isActive()
    assert shown(panel) == {"bar", "found", "loss", "quality", "figures", "listen"}
    assert panel.found.text() == "4 songs, 12.5 minutes; 2 skipped\nskipped 1: silent\nskipped 1: shorter than 0.4 s"
    assert panel.figures.text() == "At step 20: SI-SDR 60.0 dB, MR-STFT 1.50."
    steps, values = panel.quality.line.getData()
    assert list(steps) == list(range(1, 21))
    assert list(values) == [3 * step for step in steps]
    assert panel.quality.accessibleName().endswith("60.000 at step 20")
    assert panel.name.text() == "my-songs-2"
    qtbot.wait(100)
    assert len(panel.ready) == 1


def test_previews_are_asked_for(panel, qtbot, places):
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    buttons = panel.listen.findChildren(QPushButton)
    assert [button.accessibleName() for button in buttons] == [
        "Listen: a song, original",
        "Listen: a song, through the model",
    ]
    for button in buttons:
        qtbot.mouseClick(button, LEFT)
    folder = places / "runs" / "my-songs" / "previews"
    assert panel.asked == [str(folder / f"1-a song-{kind}.wav") for kind in ("input", "output")]
    assert all(Path(path).is_file() for path in panel.asked)


def test_stop_and_resume(panel, qtbot, plan):
    plan(steps=1000, pause=0.02)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "training")
    qtbot.mouseClick(panel.stop, LEFT)
    assert panel.words.text().startswith("Stopping")
    assert allowed(panel) == set()
    wait_for(qtbot, panel, "cancelled")
    stood = checkpoint_facts(panel.job.run)["step"]
    assert panel.words.text().startswith(f"Stopped: my-songs, at step {stood}. Resume goes on from there; Export makes")
    assert allowed(panel) == {"start", "resume", "export"}
    assert panel.form.isEnabled()
    plan(steps=stood + 2)
    qtbot.mouseClick(panel.resume, LEFT)
    assert allowed(panel) == {"stop"}
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    assert [row.step for row in panel.job.status.rows] == list(range(1, stood + 3))


def test_what_was_stopped_is_exported_when_asked(panel, qtbot, places, plan):
    plan(steps=1000, pause=0.02)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "training")
    qtbot.mouseClick(panel.stop, LEFT)
    wait_for(qtbot, panel, "cancelled")
    qtbot.mouseClick(panel.export, LEFT)
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    assert panel.ready == [str(places / "models" / "my-songs")]


def test_closing_loses_nothing(panel, make, qtbot, places, plan):
    plan(steps=1000, pause=0.02)
    panel.minutes.setValue(33)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "training")
    process = panel.job.process
    panel.shutdown()
    panel.shutdown()
    assert process.poll() is not None
    assert not panel.timer.isActive()
    stood = checkpoint_facts(places / "runs" / "my-songs")["step"]
    again = make()
    assert again.words.text().startswith(f"Stopped: my-songs, at step {stood}. Resume goes on")
    assert (again.folder.text(), again.name.text(), again.minutes.value()) == (
        str(places / "my songs"),
        "my-songs",
        33,
    )
    assert allowed(again) == {"start", "resume", "export"}
    assert {"bar", "loss", "quality", "listen"} <= shown(again)
    plan(steps=stood + 1)
    qtbot.mouseClick(again.resume, LEFT)
    qtbot.waitUntil(lambda: bool(again.ready), timeout=PATIENCE_MS)
    assert make().words.text() == WELCOME


def test_a_hidden_panel_goes_on(panel, qtbot):
    qtbot.mouseClick(panel.start, LEFT)
    panel.close()
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)


def test_the_end_of_the_program_stops_it(panel, qtbot, qapp, plan):
    plan(steps=1000, pause=0.02)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "training")
    qapp.aboutToQuit.emit()
    assert panel.job.status.state == "cancelled"


# -- errors ------------------------------------------------------------------------------------------------------------
def test_errors_are_words_in_the_panel(panel, qtbot, places, monkeypatch):
    def say(words, change):
        change()
        qtbot.mouseClick(panel.start, LEFT)
        assert words in panel.words.text()
        assert panel.words.property("role") == "alert"
        assert allowed(panel) == {"start"}
        assert not panel.timer.isActive()

    say(NO_FOLDER, panel.folder.clear)
    say("is not a folder", lambda: panel.folder.setText(str(places / "nowhere")))
    say("cannot name a model", lambda: (panel.set_folder(places / "my songs"), panel.name.setText("a/b")))
    say("There is a model 'small' already", lambda: panel.name.setText("small"))
    with monkeypatch.context() as without:
        without.setattr(jobs, "find_spec", lambda _: None)
        say("Training needs the extra 'train': pip install", lambda: panel.name.setText("mine"))
    qtbot.mouseClick(panel.start, LEFT)
    assert panel.words.property("role") == ""


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"fail_at": 2}, "The loss is nan at step 2. The last good checkpoint is kept."),
        ({"die_at": 2}, "ended from outside (signal 9)"),
        ({"crash_at": 1}, "ZeroDivisionError"),
        ({"unfaithful": True}, "The export does not verify; nothing was written."),
    ],
)
def test_a_training_that_fails_says_why(panel, qtbot, plan, way, words):
    plan(steps=3, **way)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "failed")
    assert words in panel.words.text()
    assert panel.words.property("role") == "alert"
    assert allowed(panel) == {"start", "resume", "export"}
    assert panel.ready == []


def test_a_folder_that_vanishes(panel, qtbot, places, plan):
    plan(steps=1000, pause=0.02)
    qtbot.mouseClick(panel.start, LEFT)
    wait_for(qtbot, panel, "training")
    (places / "runs" / "my-songs").rename(places / "elsewhere")
    wait_for(qtbot, panel, "failed")
    assert "is gone; start anew" in panel.words.text()
    assert allowed(panel) == {"start"}


def test_stopped_before_there_was_anything():
    order = Order("/songs", "mine", 1)
    assert words_of(Status("cancelled"), order) == "Stopped: mine, at step 0. Nothing is kept."


# -- the form ----------------------------------------------------------------------------------------------------------
def test_the_name_follows_the_folder_until_it_is_typed(panel, qtbot, places):
    assert panel.name.text() == "my-songs"
    (places / "models" / "ABBA").mkdir(parents=True)
    panel.set_folder(places / "ABBA")
    assert panel.name.text() == "ABBA-2"
    panel.name.clear()
    qtbot.keyClicks(panel.name, "mine")
    panel.set_folder(places / "other")
    assert panel.name.text() == "mine"
    qtbot.keyClick(panel.name, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(panel.name, Qt.Key.Key_Delete)
    panel.set_folder(places / "more")
    assert panel.name.text() == "more"


def test_starting_from_a_model(panel, qtbot, places):
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    panel.start_with.setCurrentIndex(panel.start_with.findText("What my-songs has learned"))
    assert "Goes on from my-songs" in panel.hint.text()
    panel.refresh()
    assert panel.start_with.currentText() == "What my-songs has learned"
    qtbot.mouseClick(panel.start, LEFT)
    assert panel.job.order.start_from == str(places / "runs" / "my-songs")
    qtbot.waitUntil(lambda: len(panel.ready) == 2, timeout=PATIENCE_MS)


def test_the_folder_by_a_dialog(panel, qtbot, places, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(places / "other"))
    qtbot.mouseClick(panel.browse, LEFT)
    assert panel.folder.text() == str(places / "other")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    qtbot.mouseClick(panel.browse, LEFT)
    assert panel.folder.text() == str(places / "other")


def drop_on(widget, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, no_keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(9, 9), copy, data, LEFT, no_keys)
    enter.ignore()
    QApplication.sendEvent(widget, enter)
    if enter.isAccepted():
        QApplication.sendEvent(widget, QDropEvent(QPointF(9, 9), copy, data, LEFT, no_keys))
    return enter.isAccepted()


def test_the_folder_by_a_drop(panel, qtbot, places, plan):
    (places / "dropped").mkdir()
    (places / "song.wav").write_text("")
    assert not drop_on(panel, places / "song.wav")
    assert drop_on(panel, places / "song.wav", places / "dropped")
    assert panel.folder.text() == str(places / "dropped")
    plan(steps=1000, pause=0.02)
    qtbot.mouseClick(panel.start, LEFT)
    assert not drop_on(panel, places / "my songs")


def test_the_wheel_turns_no_field_in_passing(panel, qtbot):
    panel.folder.setFocus()
    none, phase = Qt.MouseButton.NoButton, Qt.ScrollPhase.NoScrollPhase
    before = (panel.minutes.value(), panel.start_with.currentIndex())
    for widget in (panel.minutes, panel.start_with):
        place = QPointF(widget.rect().center())
        turn = QWheelEvent(
            place,
            widget.mapToGlobal(place),
            QPoint(),
            QPoint(0, -120),
            none,
            Qt.KeyboardModifier.NoModifier,
            phase,
            False,
        )
        QApplication.sendEvent(widget, turn)
    assert (panel.minutes.value(), panel.start_with.currentIndex()) == before


# -- how it looks ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [360, 400, 640, 900])
def test_nothing_is_cut_at_any_width(panel, qtbot, width):
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(lambda: bool(panel.ready), timeout=PATIENCE_MS)
    panel.resize(width, 700)
    qtbot.wait(30)
    assert panel.width() == width
    for widget in panel.findChildren(QPushButton) + panel.findChildren(QLineEdit):
        if widget.isVisible():
            left = widget.mapTo(panel, QPoint(0, 0)).x()
            assert left >= 0
            assert left + widget.width() <= width
    for button in panel.findChildren(QPushButton):
        assert button.width() >= button.minimumSizeHint().width()
    beside = panel.quality.mapTo(panel, QPoint(0, 0)).y() == panel.loss.mapTo(panel, QPoint(0, 0)).y()
    assert beside == (width >= 640)


def test_every_field_has_a_name_and_is_reached_by_tab(panel, qtbot):
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    fields = (panel.folder, panel.browse, panel.start_with, panel.minutes, panel.name, panel.start)
    for widget in (*fields, panel.bar, panel.words):
        assert QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name)
    panel.folder.setFocus()
    for field in fields:
        assert field.hasFocus()
        qtbot.keyClick(field, Qt.Key.Key_Tab)
    panel.start.setFocus()
    qtbot.keyClick(panel.start, Qt.Key.Key_Return)
    assert panel.job.status.running
