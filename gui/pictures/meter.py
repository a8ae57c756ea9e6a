"""A level meter: peaks in dB, with falloff, peak hold and a clip light that stays on."""

from __future__ import annotations

import math

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from ..theme import ALERT, BACKGROUND, PANEL, RAISED, SPACE, TEXT, WET
from .picture import MINUS, Picture

LOWEST_DB = -60.0
FALL_DB = 24.0  # per second
HOLD_SECONDS = 1.5
CLIP_PEAK = 1.0  # full scale
LIGHT = 10  # pixels of the clip light along the bar
LABELS = (0, -60, -20, -40, -10)  # dB; the most wanted first


class Meter(Picture):
    """Peaks from -60 to 0 dB, from left to right or from bottom to top."""

    header = side = False
    clip_cleared = Signal()

    def __init__(
        self,
        name: str,
        color: str = WET,
        orientation: Qt.Orientation = Qt.Orientation.Horizontal,
        parent: QWidget | None = None,
    ) -> None:
        self.upright = orientation == Qt.Orientation.Vertical
        tip = f"{name}: peaks in dB below full scale. The red light stays on after clipping; click to put it out."
        super().__init__(name, tip, parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._color = QColor(color)
        self.level_db = self.held_db = -math.inf
        self.clipped = False
        self._held_for = 0.0
        self._drawn: tuple[int, int, bool] = (0, 0, False)
        self._describe()

    def sizeHint(self) -> QSize:
        """Room for the bar and its labels."""
        thin, long = self.line_height() + 2 * SPACE + 4, 240
        return QSize(3 * SPACE + 24, long) if self.upright else QSize(long, thin)

    def minimumSizeHint(self) -> QSize:
        """Room for the bar."""
        return QSize(SPACE, 48) if self.upright else QSize(48, SPACE)

    def feed(self, peak: float, elapsed: float) -> None:
        """The highest level, full scale 1, of the seconds since the last call."""
        peak = abs(peak) if math.isfinite(peak) else (1.0 if math.isinf(peak) else 0.0)
        new_db = 20 * math.log10(peak) if peak > 0 else -math.inf
        fall = FALL_DB * max(0.0, elapsed)
        self.level_db = max(new_db, self.level_db - fall)
        self._held_for += max(0.0, elapsed)
        if new_db >= self.held_db:
            self.held_db, self._held_for = new_db, 0.0
        elif self._held_for > HOLD_SECONDS:
            self.held_db = max(self.level_db, self.held_db - fall)
        self.clipped = self.clipped or peak >= CLIP_PEAK
        self._refresh()

    def clear_clip(self) -> None:
        """Put the light out."""
        if self.clipped:
            self.clipped = False
            self._refresh()
            self.clip_cleared.emit()

    def _refresh(self) -> None:
        self._describe()
        lengths = self._lengths()
        if lengths != self._drawn:
            self._drawn = lengths
            self.update()

    def value_text(self) -> str:
        """The held peak in words."""
        level = f"{round(self.held_db)} dB".replace("-", MINUS) if self.held_db >= LOWEST_DB else "silent"
        return f"{level}, has clipped" if self.clipped else level

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click puts the light out."""
        self.clear_clip()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """So do Space and Enter."""
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.clipped:
            self.clear_clip()
        else:
            super().keyPressEvent(event)

    # Drawing --------------------------------------------------------------------------------------------------------

    def area(self) -> QRect:
        """The bar with its light; labels are left out where there is no room."""
        line, wide = self.line_height(), self._metrics().horizontalAdvance(f"{MINUS}60") + SPACE // 2
        if self.upright:
            return self.rect().adjusted(wide if self.width() >= wide + SPACE else 0, 0, 0, 0)
        return self.rect().adjusted(0, 0, 0, -line if self.height() >= line + SPACE else 0)

    def bar(self) -> QRect:
        """The part of the area that shows levels."""
        gap = LIGHT + 2
        return self.area().adjusted(0, gap, 0, 0) if self.upright else self.area().adjusted(0, 0, -gap, 0)

    def light(self) -> QRect:
        """The clip light, at the loud end."""
        area = self.area()
        if self.upright:
            return QRect(area.left(), area.top(), area.width(), LIGHT)
        return QRect(area.right() + 1 - LIGHT, area.top(), LIGHT, area.height())

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """The empty bar, the dark light, and the scale."""
        bar = self.bar()
        painter.fillRect(area, QColor(PANEL))
        painter.fillRect(bar, QColor(BACKGROUND))
        painter.fillRect(self.light(), QColor(RAISED))
        texts = [(1 - level / LOWEST_DB, str(level).replace("-", MINUS)) for level in LABELS]
        if self.upright:
            self.draw_side(painter, bar, [(bar.bottom() + 1 - share * bar.height(), text) for share, text in texts])
        else:
            self.draw_below(painter, bar, [(bar.left() + share * bar.width(), text) for share, text in texts])

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The level, a line at the held peak, and the light."""
        bar, (level, held, clipped) = self.bar(), self._drawn
        painter.fillRect(self._part(bar, 0, level), self._color)
        if held:
            painter.fillRect(self._part(bar, held - 2, held), QColor(TEXT))
        if clipped:
            painter.fillRect(self.light(), QColor(ALERT))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Levels are other lengths now."""
        self._drawn = self._lengths()
        super().resizeEvent(event)

    def _part(self, bar: QRect, start: int, stop: int) -> QRect:
        """The part of the bar between two lengths."""
        start = max(0, start)
        if self.upright:
            return QRect(bar.left(), bar.bottom() + 1 - stop, bar.width(), stop - start)
        return QRect(bar.left() + start, bar.top(), stop - start, bar.height())

    def _lengths(self) -> tuple[int, int, bool]:
        """Level and held peak in pixels, and the light: the picture changes when they do."""
        bar = self.bar()
        whole = max(0, bar.height() if self.upright else bar.width())
        level, held = (
            round(min(max(1 - value / LOWEST_DB, 0.0), 1.0) * whole) for value in (self.level_db, self.held_db)
        )
        return level, held, self.clipped

    def _describe(self) -> None:
        text = self.value_text()
        if text != self.accessibleDescription():
            self.setAccessibleDescription(text)
