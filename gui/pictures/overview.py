"""The whole song at a glance: where it is, where to go, and the part that is looped."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import QApplication, QWidget

from ..theme import DIM, DRY, SPACE, TEXT, WET
from .envelope import FloatArray, narrowed
from .picture import Picture, draw_wave, label_font

HINT = "Drop a song here, or press O"
KEY_SECONDS, KEY_LOOP_SECONDS = 5.0, 1.0
GRIP = 6  # pixels beside a handle that still take hold of it
HANDLE = 2  # pixels of its line
SHADE = 40  # of 255: how much of the region's colour covers the wave


def clock(seconds: float) -> str:
    """Minutes and seconds.

    >>> clock(75.9)
    '1:15'
    """
    minutes, seconds = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes}:{seconds:02d}"


class Overview(Picture):
    """Click to go somewhere, drag to loop a part, drag its edges to change it, right-click or Esc for no loop."""

    below = side = False
    seek_requested = Signal(float)  # seconds
    region_changed = Signal(float, float)  # start and end, seconds
    region_cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        tip = (
            "Click to go there. Drag to loop a part; right-click or Esc ends the loop. Left and right arrow: 5 s; "
            "with Shift they loop a part from here on."
        )
        super().__init__("Song", tip, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.name, self.duration, self.position = "", 0.0, 0.0
        self.region: tuple[float, float] | None = None
        self._envelope = np.zeros((2, 0), np.float32)
        self._pressed: QPoint | None = None  # where the left button went down
        self._fixed: float | None = None  # the end of the region that stays, while the other follows the mouse
        self._time_text = ""

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(640, 96)

    def set_song(self, envelope: FloatArray | None, duration: float, name: str) -> None:
        """Another song: its envelope, (2, columns) or None until it is known, seconds, and what to call it.

        No duration means no song. The same song may be set again when its envelope is there: position and region stay.
        """
        if (name, duration) != (self.name, self.duration):
            self.name, self.duration = name, duration if math.isfinite(duration) else 0.0
            self.position, self.region, self._pressed, self._fixed = 0.0, None, None, None
        self._envelope = np.zeros((2, 0), np.float32) if envelope is None else envelope
        self._describe()
        self.redraw_all()

    def set_position(self, seconds: float) -> None:
        """Where the song is; redraws only what changes."""
        area, before = self.area(), self._x(self.position)
        self.position = self._inside(seconds)
        after = self._x(self.position)
        if after != before:
            self.update(before - 1, area.top(), 3, area.height())
            self.update(after - 1, area.top(), 3, area.height())
        if self._times() != self._time_text:
            self._describe()
            self.update(0, 0, self.width(), area.top())

    def set_region(self, region: tuple[float, float] | None) -> None:
        """Start and end of the loop in seconds, or None. Says nothing back; ignored while the mouse drags one."""
        if self._fixed is None:
            self._show_region(region)

    def _show_region(self, region: tuple[float, float] | None) -> None:
        if region is not None:
            start, end = sorted(self._inside(value) for value in region)
            region = (start, end) if end > start else None
        if region != self.region:
            self.region = region
            self.update()

    # Mouse and keys -------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left: a click or the start of a drag. Right: no loop."""
        if self.duration <= 0:
            return
        if event.button() == Qt.MouseButton.RightButton:
            self._clear_region()
        elif event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position().toPoint()
            self._fixed = self._other_end(self._pressed.x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag; else show what can be taken hold of."""
        x = event.position().toPoint().x()
        if self._pressed is None:
            held = self._other_end(x) is not None
            self.setCursor(Qt.CursorShape.SizeHorCursor if held else Qt.CursorShape.ArrowCursor)
            return
        if self._fixed is None and abs(x - self._pressed.x()) >= QApplication.startDragDistance():
            self._fixed = self._seconds(self._pressed.x())
        if self._fixed is not None:
            self._show_region((self._fixed, self._seconds(x)))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click goes there; a drag gives a region."""
        if event.button() != Qt.MouseButton.LeftButton or self._pressed is None:
            return
        dragged, self._pressed, self._fixed = self._fixed is not None, None, None
        if not dragged:
            self._seek(self._seconds(event.position().toPoint().x()))
        elif self.region is None:
            self.region_cleared.emit()
        else:
            self.region_changed.emit(*self.region)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows seek, and with Shift move the loop's end; Home goes to the start, Esc ends the loop."""
        steps = {Qt.Key.Key_Left: -KEY_SECONDS, Qt.Key.Key_Right: KEY_SECONDS, Qt.Key.Key_Home: -math.inf}
        ends = {Qt.Key.Key_Left: -KEY_LOOP_SECONDS, Qt.Key.Key_Right: KEY_LOOP_SECONDS}
        if self.duration > 0 and event.key() in ends and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._move_end(ends[event.key()])
        elif self.duration > 0 and event.key() in steps:
            self._seek(self.position + steps[event.key()])
        elif event.key() == Qt.Key.Key_Escape and self.region is not None:
            self._clear_region()
        else:
            super().keyPressEvent(event)

    def _seek(self, seconds: float) -> None:
        self.set_position(seconds)  # at once, so that the next key goes on from there
        self.seek_requested.emit(self.position)

    def _move_end(self, seconds: float) -> None:
        """Of the loop, which begins where the song is if there is none; one of no length ends."""
        start, end = self.region or (self.position, self.position)
        if end + seconds <= start:
            self._clear_region()
            return
        self._show_region((start, end + seconds))
        if self.region is not None:
            self.region_changed.emit(*self.region)

    def _clear_region(self) -> None:
        self._pressed, self._fixed = None, None
        if self.region is not None:
            self.set_region(None)
            self.region_cleared.emit()

    def _other_end(self, x: int) -> float | None:
        """With a handle under x: the end of the region that is not held."""
        if self.region is None:
            return None
        start, end = self.region
        to_start, to_end = abs(x - self._x(start)), abs(x - self._x(end))
        if min(to_start, to_end) > GRIP:
            return None
        return end if to_start < to_end else start

    # Drawing --------------------------------------------------------------------------------------------------------

    def _hint(self) -> str:
        return f"{self.name}. {HINT}" if self.name else HINT

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """The wave and the name, or what to do."""
        if self.duration <= 0:
            painter.setPen(QColor(DIM))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._hint())
            return
        times = f"{clock(self.duration)} / {clock(self.duration)}"
        self.draw_title(painter, area, self.name, area.width() - painter.fontMetrics().horizontalAdvance(times) - SPACE)
        if self._envelope.shape[1]:
            ratio = self.devicePixelRatio()
            draw_wave(painter, area, narrowed(self._envelope, int(area.width() * ratio)), DRY, ratio)

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The region, the playhead and the time."""
        if self.duration <= 0:
            return
        if self.region is not None:
            start, end = (self._x(seconds) for seconds in self.region)
            shade = QColor(WET)
            shade.setAlpha(SHADE)
            painter.fillRect(start, area.top(), end - start, area.height(), shade)
            for x in (start, end - HANDLE):
                painter.fillRect(x, area.top(), HANDLE, area.height(), QColor(WET))
        painter.fillRect(self._x(self.position), area.top(), 1, area.height(), QColor(TEXT))
        painter.setFont(label_font(self))
        painter.setPen(QColor(DIM))
        line = QRect(area.left(), 0, area.width(), area.top() - SPACE // 4)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._time_text)

    def _inside(self, seconds: float) -> float:
        return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), self.duration)

    def _x(self, seconds: float) -> int:
        area = self.area()
        share = seconds / self.duration if self.duration > 0 else 0.0
        return area.left() + round(share * max(0, area.width() - 1))

    def _seconds(self, x: int) -> float:
        area = self.area()
        return self._inside((x - area.left()) / max(1, area.width() - 1) * self.duration)

    def _times(self) -> str:
        return f"{clock(self.position)} / {clock(self.duration)}"

    def _describe(self) -> None:
        self._time_text = self._times()
        self.setAccessibleDescription(f"{self.name}, {self._time_text}" if self.duration > 0 else self._hint())
