"""The real window without a mouse: hotkeys and their sheet, what Tab reaches, Enter, and names that are read out."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import re
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialog,
    QDockWidget,
    QFileDialog,
    QLabel,
    QMenu,
    QScrollBar,
    QTabBar,
    QWidget,
)

from rtae.gui.dialogs import DeviceDialog, KeysDialog
from rtae.params import Snapshot

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "keys.md"
NO, SHIFT, CTRL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
MOST_TABS = 500

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


def all_actions(menu: QMenu) -> list:
    return [action for action in menu.actions() if not action.isSeparator()]


# -- hotkeys -----------------------------------------------------------------------------------------------------------
def test_the_sheet_and_the_guide_list_every_key_and_no_key_is_used_twice(stage):
    keys = stage.window.menus.keys
    actions = [action for menu in stage.window.menuBar().actions() for action in all_actions(menu.menu())]
    bound = [action.shortcut().toString(QKeySequence.SequenceFormat.NativeText) for action in actions]
    assert sorted(filter(None, bound)) == sorted(key for key, _ in keys)
    assert len({key for key, _ in keys}) == len(keys) > 20
    dialog = KeysDialog(keys, stage.window)
    stage.qtbot.addWidget(dialog)
    words = {label.text() for label in dialog.findChildren(QLabel)}
    assert words >= {text for pair in keys for text in pair}
    listed = re.findall(r"^\| (.*?) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {key for row in listed for key in re.split(r", | and | to ", row)} | {"Ctrl+2", "Ctrl+3", "Ctrl+,", ",", "."}
    assert {key for key, _ in keys} <= told


@pytest.mark.parametrize(
    ("key", "id"), [(Qt.Key.Key_Y, "bypass"), (Qt.Key.Key_H, "difference"), (Qt.Key.Key_F, "freeze")]
)
def test_a_key_flips_a_switch_and_back(stage, key, id):
    for value in (1, 0):
        stage.key(key)
        assert stage.controller.client.shared.snapshot()[id] == stage.knobs[id].value() == value


def test_keys_play_seek_stop_loop_record_and_perform(stage):
    control, transport = stage.controller, stage.window.transport
    stage.key(Qt.Key.Key_Space)
    stage.wait(lambda: control.setup.playing)
    stage.key(Qt.Key.Key_Period)
    stage.wait(lambda: stage.status.position > 5)
    stage.key(Qt.Key.Key_L)
    stage.wait(lambda: control.setup.loop == (0.0, 0.0))
    stage.key(Qt.Key.Key_R)
    stage.wait(lambda: control.recording)
    stage.wait(lambda: Path(control.recording).name in transport.noted.text())
    stage.wait(lambda: stage.status.recorded_seconds > 0)
    stage.key(Qt.Key.Key_R)
    stage.hears("Recorded")
    stage.key(Qt.Key.Key_P)
    stage.wait(lambda: control.performing)
    stage.key(Qt.Key.Key_Comma)
    stage.wait(lambda: stage.status.position < 5)
    stage.key(Qt.Key.Key_Home)
    stage.wait(lambda: not stage.status.playing and stage.status.position == 0)


def test_keys_open_dialogs(stage, stage_folder, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(stage_folder / "song.wav"), ""))
    stage.key(Qt.Key.Key_B)
    stage.wait(stage.window.transport.second_view.isVisible)
    stage.key(Qt.Key.Key_O)
    stage.wait(lambda: stage.controller.recent() == [str(stage_folder / "song.wav")])
    seen = []
    monkeypatch.setattr(QDialog, "exec", lambda dialog: seen.append(type(dialog)))
    stage.key(Qt.Key.Key_F1)
    stage.key(Qt.Key.Key_Comma, CTRL)
    assert seen == [KeysDialog, DeviceDialog]


def test_keys_change_all_knobs(stage):
    box, values, names = stage.window.knobs.preset, [stage.controller.knobs.values], []
    stage.window.knobs.amount.setValue(100)
    for key, modifiers in (
        (Qt.Key.Key_D, NO),
        (Qt.Key.Key_N, NO),
        (Qt.Key.Key_N, NO),
        (Qt.Key.Key_Z, CTRL),
        (Qt.Key.Key_Z, CTRL | SHIFT),
        (Qt.Key.Key_N, SHIFT),
    ):
        stage.key(key, modifiers)
        values.append(stage.controller.knobs.values)
        names.append(box.currentText())
    start, chance, first, second, undone, redone, _ = values
    assert len({start, chance, first, second}) == 4
    assert (undone, redone) == (first, second)
    assert names == ["", box.itemText(1), box.itemText(2), "", "", box.itemText(1)]
    stage.key(Qt.Key.Key_0, CTRL)
    assert stage.controller.knobs.values == Snapshot()


def test_keys_show_the_tabs(stage):
    for number, dock in enumerate(stage.window.docks.values(), 1):
        stage.key(Qt.Key(Qt.Key.Key_0 + number), CTRL)
        stage.wait(lambda dock=dock: not dock.visibleRegion().isEmpty())


# -- Tab and Enter -----------------------------------------------------------------------------------------------------
def dock_of(widget: QWidget | None) -> QWidget | None:
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def wants_focus(widget: QWidget) -> bool:
    behind = isinstance(dock_of(widget), QDockWidget) and dock_of(widget).visibleRegion().isEmpty()
    usable = widget.isVisible() and not behind and widget.isEnabled() and widget.focusProxy() is None
    return usable and bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus) and not isinstance(widget, QScrollBar)


def walk(stage) -> list[QWidget]:
    """What has the focus, one Tab after another, until it comes round."""
    stage.window.activateWindow()
    stage.window.transport.play.setFocus()
    seen = []
    for _ in range(MOST_TABS):
        widget = QApplication.focusWidget()
        if widget in seen:
            return seen
        seen.append(widget)
        stage.qtbot.keyClick(widget, Qt.Key.Key_Tab)
    raise AssertionError("Tab does not come round")


@pytest.fixture
def full(stage, stage_folder):
    """With source B, and snapshots to morph between: all that there may be."""
    stage.controller.open_second(str(stage_folder / "song.wav"))
    stage.wait(stage.window.transport.second_view.isVisible)
    stage.click(stage.window.knobs.store_a)
    stage.click(stage.window.knobs.store_b)
    return stage


def test_tab_reaches_all_that_can_be_used_and_all_of_it_has_a_name(full):
    reached = set()
    for dock in full.window.docks.values():
        dock.raise_()
        full.wait(lambda dock=dock: not dock.visibleRegion().isEmpty())
        seen = set(walk(full))
        wanted = {widget for widget in full.window.findChildren(QWidget) if wants_focus(widget)}
        missed = {widget for widget in wanted - seen if not isinstance(widget, QTabBar)}
        assert not missed
        assert {dock_of(widget) for widget in seen} & set(full.window.docks.values()) == {dock}  # none that is behind
        reached |= seen
    transport, knobs = full.window.transport, full.window.knobs
    shown = {knob for id, knob in full.knobs.items() if not id.startswith("dream")}  # those are for dreams
    assert reached >= {*shown, transport.no_second, transport.model, knobs.morph, knobs.preset}
    assert reached >= {full.window.map.map, full.window.map.pull, transport.first_view, transport.second_view}
    reached = {widget for widget in reached if not isinstance(widget, QTabBar)}  # whose tabs have names
    nameless = [w for w in reached if not (w.accessibleName() or (isinstance(w, QAbstractButton) and w.text()))]
    assert not nameless


def test_enter_presses_every_button(full, monkeypatch):
    """Space plays the song, wherever the focus is but on a switch."""
    for dialog in ("getOpenFileName", "getSaveFileName"):
        monkeypatch.setattr(QFileDialog, dialog, lambda *_: ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    monkeypatch.setattr("rtae.gui.panels.knobs.QInputDialog.getText", lambda *_: ("", False))
    monkeypatch.setattr(QDialog, "exec", lambda _: 0)
    buttons = [one for one in walk(full) if isinstance(one, QAbstractButton) and one not in full.knobs.values()]
    assert len(buttons) > 12
    for button in buttons:
        pressed = []
        button.clicked.connect(lambda *_, pressed=pressed: pressed.append(True))
        button.setFocus()
        full.qtbot.keyClick(button, Qt.Key.Key_Return)
        assert pressed or not button.isEnabled(), button.accessibleName() or button.text()
    full.wait(lambda: full.controller.tasks.waiting == 0)
    playing = full.controller.setup.playing
    full.window.transport.open.setFocus()
    full.qtbot.keyClick(full.window.transport.open, Qt.Key.Key_Space)
    full.wait(lambda: full.controller.setup.playing != playing)
