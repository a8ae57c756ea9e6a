"""What the window costs on this machine: until it can be used, and while everything is drawn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from typing import Any

from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtWidgets import QApplication

from rtae.demo import DEMO_PATH
from rtae.errors import RtaeError

from . import theme
from .controller import Controller
from .kept import first_setup
from .main_window import MainWindow

STARTS = 5
SETTLE_SECONDS = 3.0
BLOCKED_SECONDS = 0.05
BEAT_MS = 5
# Each says a word as soon as its window can be used, and ends.
EMPTY = """
import pyqtgraph
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
app = QApplication([])
window = QMainWindow()
window.setCentralWidget(pyqtgraph.PlotWidget())
window.resize(1280, 800)
window.show()
QTimer.singleShot(0, lambda: (print("usable", flush=True), app.quit()))
app.exec()
"""
OURS = """
import sys
from pathlib import Path
import rtae.__main__
import rtae.gui.begin
def opened(window):
    from rtae.gui.usable import say_when_usable
    say_when_usable(window)
rtae.gui.begin.begin(kept=Path(sys.argv[1]), opened=opened)
"""


def start_seconds(script: str, *arguments: str) -> float:
    """From the start of Python to a window that can be used."""
    begun = perf_counter()
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None  # noqa: S101 - for the type checker
        said = process.stdout.readline()
        passed = perf_counter() - begun
        process.stdout.read()
    if said.strip() != "usable":
        raise RtaeError("The window did not open; start `rtae` from a terminal to see why")
    return passed


def measure_start() -> dict[str, float]:
    """Medians in seconds, of an empty window with an empty plot and of ours, taken in turn."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(start_seconds(EMPTY), start_seconds(OURS, f"{folder}/{number}.ini")) for number in range(STARTS)]
    return {"empty": median(a for a, _ in pairs), "ours": median(b for _, b in pairs)}


class Stretches:
    """How long the window's thread is busy at a stretch: by how much a timer is late that it has to look at.

    longest: in seconds; blocked: how many were over BLOCKED_SECONDS. work: the most time of a processor that it had in
    one, in seconds: the rest of `longest` is what others had.
    """

    def __init__(self) -> None:
        self.longest, self.work, self.blocked = 0.0, 0.0, 0
        self.seen, self.used = perf_counter(), thread_time()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(self._beat)
        self.timer.start(BEAT_MS)

    def _beat(self) -> None:
        now = perf_counter()
        busy, self.seen = now - self.seen - BEAT_MS / 1000, now
        work, self.used = thread_time() - self.used, thread_time()
        self.longest, self.work = max(self.longest, busy), max(self.work, work)
        self.blocked += busy > BLOCKED_SECONDS


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
        window.docks["Map"].setFloating(True)  # to be drawn beside the knobs
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
            window.slowest, window.longest_gap, window.frames = 0.0, 0.0, 0
            found["stretches"] = Stretches()
            found.update(cpu=process_time(), begun=perf_counter(), late=controller.status().late)
            QTimer.singleShot(round(1000 * seconds), end)

        def end() -> None:
            passed = perf_counter() - found["begun"]
            found.update(
                cpu=(process_time() - found["cpu"]) / passed,
                frames_per_second=window.frames / passed,
                slowest_frame_ms=1000 * window.slowest,
                longest_gap_ms=1000 * window.longest_gap,
                longest_block_ms=1000 * found["stretches"].longest,
                longest_work_ms=1000 * found["stretches"].work,
                blocked_over_50_ms=found["stretches"].blocked,
                late=controller.status().late - found["late"],
                flags=controller.status().flags,
                seconds=passed,
            )
            window.close()
            app.quit()

        play()
        app.exec()
    del found["begun"], found["stretches"]
    return found
