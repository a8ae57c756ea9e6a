"""The way into the window: what takes long is begun first."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtae.errors import RtaeError

from .ahead import Ahead

if TYPE_CHECKING:
    from pathlib import Path

    from .main_window import MainWindow

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def begin(
    song: Path | None = None,
    model: str | None = None,
    kept: Path | None = None,
    opened: Callable[[MainWindow], object] = lambda _: None,
) -> int:
    """The window, until it is closed; its exit code. Raises RtaeError where it cannot be had.

    kept, opened: see `rtae.gui.app.run`.
    """
    if sys.platform.startswith("linux") and not any(map(os.environ.get, SCREENS)):
        # Qt would abort the process.
        raise RtaeError("There is no screen to open the window on; `rtae --help` lists what can be done without one")
    gc.disable()  # it would look through all that is being imported, again and again; the window takes it up again
    ahead = Ahead()
    try:
        from .app import run

        return run(song, model, ahead, kept, opened)
    except ImportError as error:
        raise RtaeError(
            f"The window cannot be opened: {error}. On Debian and Ubuntu install its libraries with: "
            "apt install libegl1 libxkbcommon0 libxcb-cursor0 libfontconfig1 libdbus-1-3"
        ) from None
    finally:
        gc.enable()
        ahead.close()
