"""Knobs of the real window turned from outside: a MIDI controller that is learned by a right click, and OSC."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import socket
import threading
from typing import ClassVar

import mido
import pytest
from PySide6.QtCore import QPoint, QSettings
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QInputDialog, QMenu
from pythonosc.osc_message_builder import OscMessageBuilder
from stage import LEFT

from rtae.params import TABLE
from rtae.remote import HOST

pytestmark = pytest.mark.qt_log_level_fail("CRITICAL")


class Port:
    """A MIDI input."""

    opened: ClassVar[list] = []

    def __init__(self, name, callback):
        self.name, self.callback = name, callback
        Port.opened.append(self)

    def close(self):
        Port.opened.clear()
        raise OSError("it was unplugged")  # which keeps no window from closing

    def send(self, **what):
        """As the MIDI system does: from a thread of its own."""
        thread = threading.Thread(target=self.callback, args=(mido.Message(**what),))
        thread.start()
        thread.join()


@pytest.fixture
def controller(monkeypatch):
    """A MIDI controller is plugged in."""
    Port.opened.clear()
    monkeypatch.setattr(mido, "get_input_names", lambda: ["nanoKONTROL:0"])
    monkeypatch.setattr(mido, "open_input", Port)


def right_click(stage, id, entry):
    """Open a knob's menu and choose an entry."""
    knob, place = stage.knobs[id], QPoint(20, 20)
    QApplication.sendEvent(knob, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, knob.mapToGlobal(place)))
    menu = knob.findChild(QMenu)
    stage.wait(menu.isVisible)
    action = next(action for action in menu.actions() if action.text() == entry)
    stage.qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())
    stage.wait(lambda: knob.findChild(QMenu) is None)


def control(value):
    return {"type": "control_change", "channel": 2, "control": 21, "value": value}


def is_at(stage, id, value):
    """Shown on the knob, and known to the audio process."""
    return stage.knobs[id].value() == stage.controller.client.shared.snapshot()[id] == value


def test_a_knob_learns_a_controller_and_keeps_it(make_stage, controller):
    stage = make_stage()
    knob, high, low = stage.knobs["macro_2"], TABLE["macro_2"].high, TABLE["macro_2"].low
    right_click(stage, "macro_2", "MIDI learn")
    assert knob.is_learning()
    assert stage.heard("MIDI: nanoKONTROL:0")
    Port.opened[0].send(**control(127))
    stage.wait(lambda: is_at(stage, "macro_2", high))
    assert not knob.is_learning()
    assert "Follows CC 21" in knob.toolTip()
    Port.opened[0].send(**control(0))
    stage.wait(lambda: is_at(stage, "macro_2", low))
    stage.click(stage.window.knobs.undo)  # a controller's turns are steps like any other
    assert knob.value() in (high, TABLE["macro_2"].default)
    stage.window.close()
    assert not Port.opened
    again = make_stage()
    assert "Follows CC 21" in again.knobs["macro_2"].toolTip()
    Port.opened[0].send(**control(127))
    again.wait(lambda: is_at(again, "macro_2", high))
    Port.opened[0].send(type="program_change", program=0)
    again.wait(lambda: again.window.knobs.preset.currentText() == again.window.bridge.remote.preset_names[0])
    right_click(again, "macro_2", "Forget MIDI")
    assert "Follows" not in again.knobs["macro_2"].toolTip()
    before = again.knobs["macro_2"].value()
    ignored = again.window.bridge.remote.ignored
    Port.opened[0].send(**control(64))
    assert again.window.bridge.remote.ignored == ignored + 1
    assert again.knobs["macro_2"].value() == before


def test_learning_is_given_up(stage, controller):
    right_click(stage, "blur", "MIDI learn")
    right_click(stage, "blur", "Stop MIDI learn")
    assert not stage.knobs["blur"].is_learning()
    Port.opened[0].send(**control(127))
    right_click(stage, "echo", "MIDI learn")
    Port.opened[0].send(**control(127))
    stage.wait(lambda: is_at(stage, "echo", TABLE["echo"].high))
    assert stage.knobs["blur"].value() == TABLE["blur"].default


def test_without_a_controller_it_says_so(stage, monkeypatch):
    monkeypatch.setattr(mido, "get_input_names", list)
    right_click(stage, "echo", "MIDI learn")
    assert stage.heard("No MIDI controller was found")
    assert not stage.knobs["echo"].is_learning()
    stage.window.menus.midi.aboutToShow.emit()
    assert [action.text() for action in stage.window.menus.midi.actions()] == ["None"]


def test_broken_bindings_are_told_and_the_window_opens(make_stage, tmp_path):
    (tmp_path / "midi.json").write_text('{"format": 1, "controllers"')
    stage = make_stage()
    assert stage.heard("midi.json")
    stage.play()


def message(address, value):
    builder = OscMessageBuilder(address)
    builder.add_arg(value)
    return builder.build().dgram


def test_osc_turns_knobs_and_chooses_presets(make_stage, monkeypatch, tmp_path):
    stage = make_stage()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (port, True))
        stage.window.choose_osc()
        assert stage.heard("OSC cannot listen on port", str(port))
    stage.window.choose_osc()
    assert stage.heard("listening on 127.0.0.1", str(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:

        def send(*packets):
            for packet in packets:
                out.sendto(packet, (HOST, port))

        send(message("/rtae/macro_2", -1.5))
        stage.wait(lambda: is_at(stage, "macro_2", -1.5))
        send(b"\0 no message", message("/rtae/nothing", 1.0), message("/rtae/mix/position", 0.25))
        stage.wait(lambda: is_at(stage, "mix", 0.25))
        send(message("/rtae/freeze", 1))
        stage.wait(lambda: stage.knobs["freeze"].isChecked())
        send(message("/rtae/preset", "Rain"))
        stage.wait(lambda: stage.window.knobs.preset.currentText() == "Rain")
        send(message("/rtae/preset", "../Rain"))
        stage.hears("No preset '../Rain'")
        stage.window.close()
        again = make_stage()  # it is remembered
        send(message("/rtae/blur", 0.5))
        again.wait(lambda: is_at(again, "blur", 0.5))
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (0, True))
    again.window.choose_osc()
    assert again.heard("OSC: off")
    assert QSettings(str(tmp_path / "w.ini"), QSettings.Format.IniFormat).value("osc_port", 1, int) == 0
