"""The real window on a stage: what tests of the window do to it and ask of it, and an ear at a sound server."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, QSettings, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from rtae.audio.file import read_audio
from rtae.gui import theme
from rtae.gui.controller import Controller
from rtae.gui.main_window import MainWindow
from rtae.setup import Setup
from rtae.shared import Status

PATIENCE_MS = 60_000  # a busy machine takes long to start a process
SERVER_RATE = 44_100
LEFT = Qt.MouseButton.LeftButton


class Stage:
    """A window, and the hands and eyes of its user.

    said: every notice so far, and whether it was an error.
    """

    def __init__(self, window, qtbot) -> None:
        self.window, self.qtbot = window, qtbot
        self.controller = window.controller
        self.said: list[tuple[str, bool]] = []
        self.controller.notice.connect(lambda text, is_error: self.said.append((text, is_error)))

    @property
    def status(self) -> Status:
        return self.controller.status()

    @property
    def knobs(self) -> dict[str, QWidget]:
        return self.window.knobs.panel.knobs

    def wait(self, condition: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    def heard(self, *words: str) -> bool:
        """Whether a notice held all these words."""
        return any(all(word in text for word in words) for text, _ in self.said)

    def hears(self, *words: str) -> None:
        self.wait(lambda: self.heard(*words))

    def click(self, widget: QWidget) -> None:
        self.qtbot.mouseClick(widget, LEFT)

    def key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """As if no knob had the focus."""
        self.window.activateWindow()
        self.window.pictures.setFocus()
        self.qtbot.keyClick(self.window, key, modifiers)

    def play(self, dry: bool = True) -> None:
        if dry:
            self.controller.set("mix", 0.0)
        self.click(self.window.transport.play)
        self.goes_on(0.3)

    def goes_on(self, seconds: float = 0.4) -> None:
        before = self.status.position
        self.wait(lambda: self.status.position > before + seconds)

    def drop(self, path: Path) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        copy, plain = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
        self.window.dropEvent(QDropEvent(QPointF(5, 5), copy, data, LEFT, plain))

    def turn(self, id: str, typed: str) -> None:
        """Turn a knob, or press a switch, as a user does: keys on its widget."""
        widget = self.knobs[id]
        if widget.parameter.curve == "switch":
            if bool(widget.value()) != (typed == "1"):
                self.click(widget)
            return
        self.window.activateWindow()
        widget.setFocus()
        self.qtbot.keyClicks(widget, typed[0])
        self.qtbot.keyClicks(widget.editor, typed[1:])
        self.qtbot.keyClick(widget.editor, Qt.Key.Key_Return)

    @contextmanager
    def recording(self):
        """Record what is heard by the window's button; gives a list that holds the sound at the end."""
        sound: list[np.ndarray] = []
        self.click(self.window.transport.record)
        self.wait(lambda: self.controller.recording)
        name = self.controller.recording
        yield sound
        self.click(self.window.transport.record)
        self.hears("Recorded", name)
        sound.append(read_audio(name)[0])


@contextmanager
def stages(request, folder: Path, home: Path):
    """Gives a function that opens a window, and closes all at the end. What windows keep is in the folder `home`.

    folder: with the models and the song that they begin with.
    """
    theme.apply(QApplication.instance())
    models = home / "models"
    if not models.exists():
        shutil.copytree(folder / "models", models)
    opened = []

    def build(output: str | None = "silent", song: str = "song.wav", **more) -> Stage:
        setup = Setup(**{"model": str(models / "one"), "source": str(folder / song), "output": output, **more})
        settings = QSettings(str(home / "w.ini"), QSettings.Format.IniFormat)
        stage = Stage(MainWindow(Controller(settings, setup)), QtBot(request))
        opened.append(stage.window)
        stage.window.show()
        stage.controller.start()
        stage.window.bridge.start()
        stage.wait(lambda: stage.controller.facts or song == "missing.wav")
        return stage

    with pytest.MonkeyPatch.context() as patch:
        for variable, place in (("MODELS", models), ("PRESETS", home / "presets"), ("RUNS", home / "runs")):
            patch.setenv(f"RTAE_{variable}", str(place))
        patch.setattr("rtae.gui.panels.transport.user_music_path", lambda: home)
        patch.setattr("rtae.gui.bridge.bindings_file", lambda: home / "midi.json")
        yield build
        for window in opened:
            window.close()
            window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # or every later window is slower


class Ear:
    """Records the monitor of a sound server's sink."""

    def __init__(self, server, path: Path) -> None:
        command = f"parec --device=test.monitor --format=float32le --rate={SERVER_RATE} --channels=2 --latency-msec=20"
        self.path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(command.split(), stdout=out, env=server.environment)
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not path.stat().st_size:
            assert time.monotonic() < deadline, "the monitor cannot be recorded"
            time.sleep(0.01)

    @property
    def seconds(self) -> float:
        return self.path.stat().st_size / 8 / SERVER_RATE

    def stop(self) -> np.ndarray:
        """The left channel."""
        self.process.terminate()
        self.process.wait()
        raw = np.fromfile(self.path, "<f4")
        return raw[: len(raw) // 2 * 2].reshape(-1, 2)[:, 0]
