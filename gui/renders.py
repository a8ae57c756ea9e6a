"""Rendering, by a process of its own, since the window computes no sound: a song with these knobs, or a performance."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QObject, QProcess

from rtae.presets import Preset, save

from .controller import Controller

FAILED_WORDS = 300


class Renders(QObject):
    """Runs `rtae render`, one at a time."""

    def __init__(self, controller: Controller, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.process: QProcess | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    def song(self, target: Path) -> None:
        """The song that is open, whole, with the knobs as they are."""
        if self.busy():
            return
        setup = self.controller.setup
        self.folder = tempfile.TemporaryDirectory(prefix="rtae-")
        preset = Path(self.folder.name) / "knobs.json"
        save(preset, Preset("Rendered", "", self.controller.knobs.values))
        second = ["--second", setup.second] if setup.second else []
        self.start(
            ["render", setup.source, str(target), "--model", setup.model, "--preset", str(preset), *second], target
        )

    def performance(self, source: Path, target: Path) -> None:
        """What was performed, exactly as it was heard."""
        self.start(["render", str(target), "--performance", str(source)], target)

    def busy(self) -> bool:
        """Whether one is being rendered; then it says so."""
        if self.process is not None:
            self.controller.notice.emit("A song is being rendered already; wait for it", True)
        return self.process is not None

    def start(self, arguments: list[str], target: Path) -> None:
        """Begin, unless one is being rendered."""
        if self.busy():
            return
        process = QProcess(self)
        process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        process.finished.connect(lambda code, _: self._ended(code, target))
        process.errorOccurred.connect(lambda _: self._ended(-1, target))
        self.process = process
        self.controller.notice.emit(f"Rendering to {target}...", False)
        process.start(sys.executable, ["-m", "rtae", *arguments])

    def _ended(self, code: int, target: Path) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        words = bytes(process.readAll().data()).decode(errors="replace").strip()
        if self.folder is not None:
            self.folder.cleanup()
            self.folder = None
        if code == 0:
            self.controller.notice.emit(f"Rendered {target}", False)
        else:
            self.controller.notice.emit(words.splitlines()[-1][:FAILED_WORDS] if words else "Rendering failed", True)
        process.deleteLater()

    def close(self) -> None:
        """End what runs; half a file is never left behind."""
        if self.process is not None:
            process, self.process = self.process, None
            process.terminate()
            process.waitForFinished(2000)
