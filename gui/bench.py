"""What the window costs on this machine: until it can be used, and while everything is drawn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rtae.demo import DEMO_PATH

from . import theme
from .controller import Controller, first_setup
from .main_window import MainWindow

STARTS = 5
SETTLE_SECONDS = 3.0
# Each prints nothing and ends once its window has been painted.
EMPTY = """
import pyqtgraph
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
app = QApplication([])
window = QMainWindow()
window.setCentralWidget(pyqtgraph.PlotWidget())
window.resize(1280, 800)
window.show()
QTimer.singleShot(0, app.quit)
app.exec()
"""
OURS = """
import sys
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication
from rtae.gui import theme
from rtae.gui.controller import Controller, first_setup
from rtae.gui.main_window import MainWindow
app = QApplication([])
theme.apply(app)
controller = Controller(QSettings(sys.argv[1], QSettings.Format.IniFormat), first_setup(None, sys.argv[2])[0])
window = MainWindow(controller)
window.show()
QTimer.singleShot(0, app.quit)
app.exec()
"""


def start_seconds(script: str, *arguments: str) -> float:
    """From the start of Python to a window that is there."""
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)  # noqa: S603 - ours
    return perf_counter() - begun


def measure_start() -> dict[str, float]:
    """Medians in seconds, of an empty window with an empty plot and of ours, taken in turn."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [
            (start_seconds(EMPTY), start_seconds(OURS, f"{folder}/window.ini", str(DEMO_PATH))) for _ in range(STARTS)
        ]
    return {"empty": median(a for a, _ in pairs), "ours": median(b for _, b in pairs)}


def measure_playing(seconds: float) -> dict[str, Any]:
    """The window's thread while the demo track plays in a loop and everything is drawn."""
    app = QApplication.instance() or QApplication(sys.argv[:1])
    theme.apply(app)  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "window.ini"), QSettings.Format.IniFormat)
        window = MainWindow(Controller(settings, first_setup(None, str(DEMO_PATH))[0]))
        controller = window.controller
        window.show()
        controller.start()

        def play() -> None:
            if not controller.facts:
                QTimer.singleShot(100, play)
                return
            controller.loop((0.0, 0.0))
            controller.play(True)
            controller.set("noise_amount", 0.3)
            QTimer.singleShot(round(1000 * SETTLE_SECONDS), begin)

        def begin() -> None:
            window.slowest, window.slow_frames, window.longest_gap, window.frames = 0.0, 0, 0.0, 0
            found.update(cpu=process_time(), begun=perf_counter(), late=controller.status().late)
            QTimer.singleShot(round(1000 * seconds), end)

        def end() -> None:
            passed = perf_counter() - found["begun"]
            found.update(
                cpu=(process_time() - found["cpu"]) / passed,
                frames_per_second=window.frames / passed,
                slowest_frame_ms=1000 * window.slowest,
                longest_gap_ms=1000 * window.longest_gap,
                frames_over_50_ms=window.slow_frames,
                late=controller.status().late - found["late"],
                flags=controller.status().flags,
                seconds=passed,
            )
            window.close()
            app.quit()

        play()
        app.exec()
    del found["begun"]
    return found
