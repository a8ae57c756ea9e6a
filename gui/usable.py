"""Says when the window can be used, to whoever times its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer

if TYPE_CHECKING:
    from .main_window import MainWindow


def say_when_usable(window: MainWindow) -> None:
    """Usable: it is drawn, and the audio process has opened model, song and device, so that a key press is heard."""

    def look() -> None:
        if window.controller.facts:
            QTimer.singleShot(0, lambda: (print("usable", flush=True), window.close()))  # noqa: T201 - to its parent

    window.controller.setup_changed.connect(look)
