"""Opens the window."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from platformdirs import user_config_path
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rtae.demo import DEMO_PATH
from rtae.errors import AudioFileError

from . import theme
from .controller import Controller, first_setup
from .main_window import MainWindow


def settings_file() -> Path:
    """Where the window remembers how it looked, and recent songs."""
    return user_config_path("rtae") / "window.ini"


def run(song: Path | None = None, model: str | None = None) -> int:
    """The window, until it is closed; returns the exit code. Raises RtaeError for an unknown model or missing fonts."""
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)  # noqa: S101 - for the type checker
    app.setApplicationName("RTAE")
    theme.apply(app)
    settings = QSettings(str(settings_file()), QSettings.Format.IniFormat)
    if song is not None and not song.is_file():
        raise AudioFileError(f"{song} is not a file; give a song, or none for the demo track")
    setup, knobs = first_setup(model, str(song or DEMO_PATH), settings)
    controller = Controller(settings, setup, knobs=knobs)
    window = MainWindow(controller)
    window.show()
    # Ctrl-C in the terminal ends it: Python looks at signals only when it runs, which the timer makes it do.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    ticking = QTimer()
    ticking.timeout.connect(lambda: None)
    ticking.start(200)
    QTimer.singleShot(0, controller.start)
    QTimer.singleShot(0, window.bridge.start)
    return int(app.exec())
