"""Opens the window."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_config_path
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rtae.client import Client
from rtae.demo import DEMO_PATH
from rtae.errors import AudioFileError

from . import theme
from .ahead import Ahead
from .controller import Controller
from .kept import first_setup

if TYPE_CHECKING:
    from .main_window import MainWindow

COLLECT_MS = 3000  # after the beginning, of which nothing is garbage


def settings_file() -> Path:
    """Where the window remembers how it looked, and recent songs."""
    return user_config_path("rtae") / "window.ini"


def run(
    song: Path | None = None,
    model: str | None = None,
    ahead: Ahead | None = None,
    kept: Path | None = None,
    opened: Callable[[MainWindow], object] = lambda _: None,
) -> int:
    """The window, until it is closed; returns the exit code. Raises RtaeError for an unknown model or missing fonts.

    ahead: where the audio process is under way. kept: the file of settings, if not the user's own. opened: told of the
    window, before anything happens in it.
    """
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)  # noqa: S101 - for the type checker
    app.setApplicationName("RTAE")
    theme.apply(app)
    settings = QSettings(str(kept or settings_file()), QSettings.Format.IniFormat)
    if song is not None and not song.is_file():
        raise AudioFileError(f"{song} is not a file; give a song, or none for the demo track")
    setup, knobs = first_setup(model, str(song or DEMO_PATH), settings)
    controller = Controller(settings, setup, knobs=knobs, connect=ahead.take if ahead else Client)
    controller.start()
    from .main_window import MainWindow  # here: it takes a while, in which the audio process opens model and device

    window = MainWindow(controller)
    window.show()
    # Ctrl-C in the terminal ends it: Python looks at signals only when it runs, which the timer makes it do.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    ticking = QTimer()
    ticking.timeout.connect(lambda: None)
    ticking.start(200)
    QTimer.singleShot(0, window.bridge.start)
    QTimer.singleShot(COLLECT_MS, collect)
    opened(window)
    return int(app.exec())


def collect() -> None:
    """Python's garbage collection, from now on; what a window is made of is left out of it, which keeps it short."""
    gc.freeze()
    gc.enable()
