"""One line at the bottom: the device, the delay in its parts, the load, dropouts; and what happened last."""

from __future__ import annotations

from time import monotonic

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from rtae.shared import Status

from ..controller import Controller
from ..theme import ALERT, SPACE, TEXT

NOTICE_SECONDS, ERROR_SECONDS = 12.0, 40.0


class StatusPanel(QWidget):
    """Notices on the left, figures on the right."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.notice = QLabel("")
        self.notice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.notice.setAccessibleName("What happened last")
        self.figures = QLabel("")
        self.figures.setProperty("role", "dim")
        self.device = QPushButton("Sound device...")
        self.device.setAutoDefault(True)  # Enter presses it, as Space plays the song in the whole window
        self.until = 0.0
        self.history: list[tuple[str, bool]] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE, 2, SPACE, 2)
        row.addWidget(self.notice, 1)
        row.addWidget(self.figures)
        row.addWidget(self.device)
        controller.notice.connect(self.say)
        controller.setup_changed.connect(self._latency)
        controller.ticked.connect(self.show_status)
        self.latency = ""

    def say(self, text: str, is_error: bool) -> None:
        """A sentence, for a while; an error for longer."""
        self.history.append((text, is_error))
        self.notice.setText(text)
        self.notice.setToolTip(text)
        self.notice.setStyleSheet(f"color: {ALERT if is_error else TEXT}")
        self.until = monotonic() + (ERROR_SECONDS if is_error else NOTICE_SECONDS)

    def _latency(self) -> None:
        facts = self.controller.facts
        if not facts:
            return
        rate, parts = facts["rate"], {name: n for name, n in facts["latency"].items() if n}
        total = 1000 * sum(parts.values()) / rate
        words = "\n".join(f"{name.replace('_', ' ')}: {1000 * n / rate:.1f} ms" for name, n in parts.items())
        self.figures.setToolTip(
            f"{facts['device']}, {rate} Hz, blocks of {facts['block']}, hops of {facts['hop']}\n{words}"
        )
        self.latency = f"{facts['device']}  {rate / 1000:g} kHz  {total:.0f} ms"

    def show_status(self, status: Status) -> None:
        """30 times a second."""
        drops = int(status.flags)
        late = f"  {status.late:.0f} late" if status.late else ""
        guard = f"  feedback guard {status.guard_db:.0f} dB" if status.guard_db < -1 else ""
        text = f"{self.latency}   load {100 * status.load:3.0f} %   {drops} dropouts{late}{guard}"
        if text != self.figures.text():
            self.figures.setText(text)
        if monotonic() > self.until:
            self.notice.setText("")
            self.until = float("inf")
