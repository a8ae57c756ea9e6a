"""The window's menus, and with them its keys: each is one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu

from rtae.demo import DEMO_PATH

if TYPE_CHECKING:
    from .main_window import MainWindow

STEP_SECONDS = 5


class Menus:
    """The menu bar of a window.

    keys: of each action that has one, as the system writes it, and what it does. recent, midi: listed when opened.
    """

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.keys: list[tuple[str, str]] = []
        self._file()
        self._play()
        self._knobs()
        self._sound()
        self._view()
        self.add(self.menu("&Help"), "Keys and mouse", "F1", window.show_keys)

    def menu(self, title: str) -> QMenu:
        """A new one, at the end of the bar."""
        return self.window.menuBar().addMenu(title)

    def add(self, menu: QMenu, words: str, keys: str, action: Callable[[], object]) -> None:
        """A line of a menu. keys: as Qt writes them; none if empty."""
        made = QAction(words, self.window)
        if keys:
            made.setShortcut(QKeySequence(keys))
            self.keys.append((made.shortcut().toString(QKeySequence.SequenceFormat.NativeText), words.rstrip(".")))
        made.triggered.connect(lambda *_: action())
        menu.addAction(made)

    def _file(self) -> None:
        window, ask, menu = self.window, self.window.controller, self.menu("&File")
        self.add(menu, "Open a song...", "O", window.open_song)
        self.recent = menu.addMenu("Recent songs")
        self.recent.aboutToShow.connect(self._list_recent)
        self.add(menu, "Play the demo track", "", lambda: ask.open(str(DEMO_PATH)))
        self.add(menu, "Microphone", "M", window.transport.microphone.click)
        self.add(menu, "Dream", "I", window.transport.dream.click)
        self.add(menu, "Open song B...", "B", window.open_second)
        menu.addSeparator()
        self.add(menu, "Render the song with these knobs...", "Ctrl+E", window.render_song)
        self.add(menu, "Render a performance...", "", window.render_performance)
        self.add(menu, "Import a model's folder...", "", window.import_model)
        menu.addSeparator()
        self.add(menu, "Quit", "Ctrl+Q", window.close)

    def _play(self) -> None:
        window, ask, menu = self.window, self.window.controller, self.menu("&Play")
        self.add(menu, "Play or pause", "Space", ask.toggle)
        self.add(menu, "Stop", "Home", ask.stop)
        self.add(menu, f"Back {STEP_SECONDS} s", ",", lambda: ask.seek(ask.status().position - STEP_SECONDS))
        self.add(menu, f"On {STEP_SECONDS} s", ".", lambda: ask.seek(ask.status().position + STEP_SECONDS))
        self.add(menu, "Loop the whole song", "L", window.transport.loop.click)
        self.add(menu, "Record what is heard", "R", window.transport.record.click)
        self.add(menu, "Perform: note every turn of a knob", "P", window.transport.perform.click)
        menu.addSeparator()
        self.add(menu, "Next model", "]", lambda: window.models.step(1))
        self.add(menu, "Previous model", "[", lambda: window.models.step(-1))
        self.add(menu, "Bypass: the song itself", "Y", lambda: window.flip("bypass"))
        self.add(menu, "Hear the difference", "H", lambda: window.flip("difference"))
        self.add(menu, "Match level", "", lambda: window.flip("match"))
        self.add(menu, "Freeze", "F", lambda: window.flip("freeze"))

    def _knobs(self) -> None:
        window, knobs, menu = self.window, self.window.controller.knobs, self.menu("&Knobs")
        self.add(menu, "Undo", "Ctrl+Z", knobs.undo)
        self.add(menu, "Redo", "Ctrl+Shift+Z", knobs.redo)
        self.add(menu, "Move the knobs by chance", "D", window.knobs.roll)
        self.add(menu, "All to their defaults", "Ctrl+0", lambda: window.knobs.choose(""))
        self.add(menu, "Next preset", "N", lambda: window.knobs.step(1))
        self.add(menu, "Previous preset", "Shift+N", lambda: window.knobs.step(-1))

    def _sound(self) -> None:
        window, menu = self.window, self.menu("&Sound")
        self.add(menu, "Sound device...", "Ctrl+,", window.choose_device)
        self.add(menu, "Play a test tone", "", window.controller.test_tone)
        self.midi = menu.addMenu("MIDI controller")
        self.midi.aboutToShow.connect(self._list_midi)
        self.add(menu, "OSC...", "", window.choose_osc)

    def _view(self) -> None:
        menu = self.menu("&View")
        for number, (name, dock) in enumerate(self.window.docks.items(), 1):
            self.add(menu, f"Show {name.lower()}", f"Ctrl+{number}", dock.raise_)
        menu.addSeparator()
        self.add(menu, "Put all panels back", "", self.window.beside.put_back)

    def _list_recent(self) -> None:
        ask = self.window.controller
        self.recent.clear()
        for name in ask.recent():
            self.recent.addAction(Path(name).name, lambda name=name: ask.open(name))
        self.recent.setEnabled(bool(ask.recent()))

    def _list_midi(self) -> None:
        bridge = self.window.bridge
        self.midi.clear()
        for name in ["", *bridge.ports()]:
            action = self.midi.addAction(name or "None", lambda name=name: bridge.open_midi(name))
            action.setCheckable(True)
            action.setChecked(name == bridge.midi_name)
