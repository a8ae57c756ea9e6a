"""The waveforms of the last seconds: the output over the input."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from ..theme import DIM, DRY, LINE, SPACE, TEXT, WET
from ..widgets.buttons import EnterButton
from .envelope import FloatArray, newest
from .picture import MINUS, Picture, draw_wave, label_font

SWITCHES = (("input", DRY, "Show what goes in"), ("output", WET, "Show what comes out"))
SQUARE = 9  # pixels of a colour in the legend


class LegendSwitch(EnterButton):
    """A word with its colour: a full square shows the wave, an empty one hides it."""

    def __init__(self, text: str, color: str, tip: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setCheckable(True)
        self.setChecked(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._color = QColor(color)

    def sizeHint(self) -> QSize:
        """The square and the word."""
        metrics = QFontMetrics(label_font(self))
        return QSize(SQUARE + SPACE // 2 + metrics.horizontalAdvance(self.text()) + 1, metrics.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it; underlined with the keyboard on it."""
        painter = QPainter(self)
        font = label_font(self)
        font.setUnderline(self.hasFocus())
        painter.setFont(font)
        top = (self.height() - SQUARE) // 2
        painter.setPen(self._color)
        painter.setBrush(self._color if self.isChecked() else Qt.BrushStyle.NoBrush)
        painter.drawRect(0, top, SQUARE - 1, SQUARE - 1)
        painter.setPen(QColor(TEXT if self.isChecked() else DIM))
        painter.drawText(self.rect().adjusted(SQUARE + SPACE // 2, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text())


class Scope(Picture):
    """Input and output, newest at the right, full scale from bottom to top."""

    def __init__(self, seconds: float = 3.0, parent: QWidget | None = None) -> None:
        super().__init__("Waveforms", "The last seconds of sound: what goes in, and over it what comes out.", parent)
        self.seconds = seconds
        self._audio: tuple[FloatArray, FloatArray] = (np.zeros(0, np.float32), np.zeros(0, np.float32))
        self._rate, self._end = 1.0, 0
        self._legend = QWidget(self)
        layout = QHBoxLayout(self._legend)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        self.switches = [LegendSwitch(*switch, self._legend) for switch in SWITCHES]
        for switch in self.switches:
            switch.toggled.connect(lambda: self.update(self.area()))
            layout.addWidget(switch)

    def set_audio(self, dry: FloatArray, wet: FloatArray, rate: float, end: int | None = None) -> None:
        """The newest samples of input and output, (samples,) each.

        end: number of samples played so far, if known; with it the waves glide, without they flicker a little.
        """
        self._audio, self._rate = (dry, wet), rate
        self._end = len(dry) if end is None else end
        self.update(self.area())

    def set_seconds(self, seconds: float) -> None:
        """How much time fits in the picture."""
        self.seconds = seconds
        self.redraw_all()

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """Levels and seconds."""
        middle, half = area.top() + area.height() / 2, area.height() / 2
        levels = ((0.0, "0"), (1.0, "1"), (-1.0, f"{MINUS}1"), (0.5, "0.5"), (-0.5, f"{MINUS}0.5"))
        self.draw_side(painter, area, [(middle - level * half, text) for level, text in levels])
        for level in (0.5, 0.0, -0.5):
            painter.fillRect(area.left(), round(middle - level * half), area.width(), 1, QColor(LINE))
        self.draw_time(painter, area, self.seconds, grid=True)

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The waves: one column per pixel of the screen, from the lowest to the highest sample."""
        ratio = self.devicePixelRatio()
        columns = int(area.width() * ratio)
        per_column = self.seconds * self._rate / columns
        for samples, switch, (_, color, _) in zip(self._audio, self.switches, SWITCHES, strict=True):
            if switch.isChecked():
                draw_wave(painter, area, newest(samples, columns, per_column, self._end), color, ratio)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The legend stays at the right, above the waves."""
        super().resizeEvent(event)
        self._place_legend()

    def _place_legend(self) -> None:
        size = self._legend.sizeHint()
        area = self.area()
        self._legend.setGeometry(area.right() + 1 - size.width(), 0, size.width(), area.top())
