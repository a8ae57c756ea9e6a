"""Takes the pictures of the window that the documentation shows, from the real window while it plays.

    python docs/make_window_pictures.py [FOLDER] [--all-sizes]

Without a screen: QT_QPA_PLATFORM=offscreen. It plays on the silent clock, so nothing is heard. --all-sizes also takes
1920 x 1080 and, for sharp screens, 3840 x 2160 at scale 2 (each size in a process of its own).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rtae.demo import DEMO_PATH
from rtae.gui import theme
from rtae.gui.controller import Controller
from rtae.gui.kept import first_setup
from rtae.gui.main_window import MainWindow
from rtae.setup import Setup

SIZES = {"window": (1280, 800, 1), "window-1920": (1920, 1080, 1), "window-3840": (1920, 1080, 2)}
PLAY_MS = 9000
TABS = ("Knobs", "Map", "Models", "Train")


def take(folder: Path, name: str) -> None:
    """One size: the window with knobs turned, then each of its other tabs."""
    width, height, _ = SIZES[name]
    app = QApplication(sys.argv[:1])
    theme.apply(app)
    with tempfile.TemporaryDirectory() as place:
        settings = QSettings(str(Path(place) / "window.ini"), QSettings.Format.IniFormat)
        setup = Setup(model=first_setup("small", str(DEMO_PATH))[0].model, source=str(DEMO_PATH), output="silent")
        controller = Controller(settings, setup)
        window = MainWindow(controller)
        window.resize(width, height)
        window.show()
        controller.start()

        def play() -> None:
            if not controller.facts:
                QTimer.singleShot(100, play)
                return
            controller.play(True)
            controller.knobs.update({"noise_amount": 0.35, "noise_speed": 6, "echo": 0.4, "macro_2": -0.8})
            QTimer.singleShot(PLAY_MS, lambda: shoot(0))

        def shoot(tab: int) -> None:
            part = "" if tab == 0 else f"-{TABS[tab].lower()}"
            picture = folder / f"{name}{part}.png"
            if not window.grab().save(str(picture)):
                sys.exit(f"{picture} cannot be written")
            if tab + 1 < len(TABS) and name == "window":
                window.docks[TABS[tab + 1]].raise_()
                if TABS[tab + 1] == "Map":
                    window.map.map.place_chosen.emit(1.2, 0.8)
                QTimer.singleShot(2500, lambda: shoot(tab + 1))
                return
            window.close()
            app.quit()

        play()
        app.exec()


def main() -> None:
    """All pictures."""
    arguments = [word for word in sys.argv[1:] if not word.startswith("--")]
    if "--one" in sys.argv:
        take(Path(arguments[0]), arguments[1])
        return
    folder = arguments[0] if arguments else str(Path(__file__).parent)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in SIZES if "--all-sizes" in sys.argv else ("window",):
        scale = {"QT_SCALE_FACTOR": str(SIZES[name][2])}
        command = [sys.executable, __file__, "--one", folder, name]
        subprocess.run(command, check=True, env={**os.environ, **scale})  # noqa: S603 - this very file


if __name__ == "__main__":
    main()
