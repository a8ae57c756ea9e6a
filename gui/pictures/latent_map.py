"""The map of latent space: where music has been, where it is now, and the place it is drawn to."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QWidget

from ..theme import BACKGROUND, DRY, LINE, TEXT, WARM, WET
from .envelope import FloatArray
from .picture import MINUS, Picture, ramp

EDGE = 4.0  # standard deviations
KEY_STEP = 0.25
CELL = 2  # pixels of one dot of the cloud
TRAIL_POINTS, TRAIL_SHADES = 256, 8
RING = 11  # radius in pixels of the ring around the chosen place, less on a small map
DOT = 4  # radius in pixels of the playing point


class LatentMap(Picture):
    """Two directions of latent space, in standard deviations. Click or drag to draw the music to a place."""

    header = False
    place_chosen = Signal(float, float)
    place_cleared = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        tip = (
            "The two main directions in which music moves. Bright: where it is now. "
            "Click or drag to draw it to a place, double-click to let it go; arrow keys move the place."
        )
        super().__init__("Latent map", tip, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.target: tuple[float, float, float] | None = None
        self._cloud = np.zeros((0, 2), np.float32)
        self._trail = np.zeros((0, 2), np.float32)
        self._dragging = False
        self._ring: QPixmap | None = None
        self._dot: QPixmap | None = None
        self._pens = [QPen() for _ in range(TRAIL_SHADES)]
        for shade, pen in enumerate(self._pens, 1):
            color = QColor(WET)
            color.setAlphaF(shade / TRAIL_SHADES)
            pen.setColor(color)
        self._cloud_colors = ramp(BACKGROUND, DRY)
        self._describe()

    def sizeHint(self) -> QSize:
        """About square."""
        return QSize(280, 280)

    def set_cloud(self, points: FloatArray) -> None:
        """Where music has been, (n, 2); drawn once."""
        self._cloud = points
        self.redraw_all()

    def show_trail(self, points: FloatArray) -> None:
        """Where the music was in the last seconds, (n, 2), the newest last."""
        self._trail = points
        self.update(self.area())

    def set_target(self, x: float, y: float, pull: float) -> None:
        """The chosen place, and how firmly the music is drawn to it, 0 to 1. Says nothing back."""
        x, y, pull = (0.0 if math.isnan(value) else value for value in (x, y, pull))
        target = (min(max(x, -EDGE), EDGE), min(max(y, -EDGE), EDGE), min(max(pull, 0.0), 1.0))
        if target != self.target:
            self.target, self._ring = target, None
            self._describe()
            self.update(self.area())

    def clear_target(self) -> None:
        """No place is chosen. Says nothing back."""
        self.target = None
        self._describe()
        self.update(self.area())

    def redraw_all(self) -> None:
        """Another size or screen has other stamps."""
        self._ring = self._dot = None
        super().redraw_all()

    # Mouse and keys -------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the place under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton and not self.area().isEmpty():
            self._dragging = True
            self._choose(*self._place(event.position()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag it."""
        if self._dragging:
            self._choose(*self._place(event.position()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Leave it there."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragging = False

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """No place any more."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragging = False
            self._clear()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move the place, Esc and Delete clear it."""
        steps = {
            Qt.Key.Key_Left: (-KEY_STEP, 0.0),
            Qt.Key.Key_Right: (KEY_STEP, 0.0),
            Qt.Key.Key_Down: (0.0, -KEY_STEP),
            Qt.Key.Key_Up: (0.0, KEY_STEP),
        }
        if event.key() in steps:
            x, y, _ = self.target or (0.0, 0.0, 0.0)
            right, up = steps[Qt.Key(event.key())]
            self._choose(x + right, y + up)
        elif event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Delete) and self.target is not None:
            self._clear()
        else:
            super().keyPressEvent(event)

    def _choose(self, x: float, y: float) -> None:
        self.set_target(x, y, self.target[2] if self.target else 0.0)
        if self.target:
            self.place_chosen.emit(*self.target[:2])

    def _clear(self) -> None:
        self.clear_target()
        self.place_cleared.emit()

    # Drawing --------------------------------------------------------------------------------------------------------

    def area(self) -> QRect:
        """A square: a standard deviation is as long in both directions."""
        room = super().area()
        side = min(room.width(), room.height())
        return QRect(room.left() + (room.width() - side) // 2, room.top() + (room.height() - side) // 2, side, side)

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """The cloud and the axes."""
        painter.drawImage(area, self._cloud_image(area))
        numbers = [(value, str(value).replace("-", MINUS)) for value in (0, -4, 4, -2, 2)]
        self.draw_side(painter, area, [(self._point(0, value, area).y(), text) for value, text in numbers])
        self.draw_below(painter, area, [(self._point(value, 0, area).x(), text) for value, text in numbers])
        middle = self._point(0, 0, area).toPoint()
        painter.fillRect(area.left(), middle.y(), area.width(), 1, QColor(LINE))
        painter.fillRect(middle.x(), area.top(), 1, area.height(), QColor(LINE))

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The trail, older parts darker, the place with its ring, and the playing point."""
        painter.setClipRect(area)
        step = max(1, math.ceil(len(self._trail) / TRAIL_POINTS))
        newest_first = self._trail[::-1][::step]
        trail = newest_first[np.isfinite(newest_first).all(axis=1)][::-1]
        if len(trail):
            scale = area.width() / (2 * EDGE)
            x = (area.left() + area.width() / 2 + np.clip(trail[:, 0], -99, 99) * scale).astype(np.float64)
            y = (area.top() + area.height() / 2 - np.clip(trail[:, 1], -99, 99) * scale).astype(np.float64)
            points = [QPointF(*point) for point in zip(x, y, strict=True)]
            edges = np.linspace(0, len(trail) - 1, TRAIL_SHADES + 1).astype(int)
            for pen, start, stop in zip(self._pens, edges[:-1], edges[1:], strict=True):
                if stop > start:
                    painter.setPen(pen)
                    painter.drawPolyline(points[start : stop + 1])
        if self.target is not None:
            self._ring = self._ring or self._drawn_ring(self.target[2], min(RING, area.width() // 10 + 1))
            self._put(painter, self._ring, self._point(*self.target[:2], area))
        if len(trail):
            self._dot = self._dot or self._drawn_dot()
            self._put(painter, self._dot, QPointF(x[-1], y[-1]))
        painter.setClipping(False)

    def _cloud_image(self, area: QRect) -> QImage:
        """How often each place was visited, from dark to the colour of the input."""
        cells = max(1, area.width() // CELL)
        counts, _, _ = np.histogram2d(
            -self._cloud[:, 1], self._cloud[:, 0], bins=cells, range=((-EDGE, EDGE), (-EDGE, EDGE))
        )
        shades = np.where(counts > 0, 0.25 + 0.55 * (1 - np.exp(-counts / 3)), 0)
        colors = np.ascontiguousarray(self._cloud_colors[np.rint(shades * 255).astype(np.uint8)])
        return QImage(colors.data, cells, cells, 4 * cells, QImage.Format.Format_RGB32).copy()

    def _drawn_ring(self, pull: float, radius: int) -> QPixmap:
        """A cross, and a ring around it that closes as the pull rises; smooth, since it is drawn once per change."""
        pixmap, painter = self._stamp(radius + 3)
        painter.setPen(QPen(QColor(TEXT), 1))
        arm = radius // 2 - 1
        painter.drawLine(-arm, 0, arm, 0)
        painter.drawLine(0, -arm, 0, arm)
        circle = QRectF(-radius, -radius, 2 * radius, 2 * radius)
        faint = QColor(WARM)
        faint.setAlpha(90)
        painter.setPen(QPen(faint, 1.5))
        painter.drawEllipse(circle)
        painter.setPen(QPen(QColor(WARM), 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        painter.drawArc(circle, 90 * 16, round(-360 * 16 * pull))
        painter.end()
        return pixmap

    def _drawn_dot(self) -> QPixmap:
        pixmap, painter = self._stamp(DOT + 2)
        painter.setPen(QPen(QColor(BACKGROUND), 1.5))
        painter.setBrush(QColor(TEXT))
        painter.drawEllipse(QPointF(0, 0), DOT, DOT)
        painter.end()
        return pixmap

    def _stamp(self, radius: int) -> tuple[QPixmap, QPainter]:
        ratio = self.devicePixelRatio()
        pixmap = QPixmap(round(2 * radius * ratio), round(2 * radius * ratio))
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(radius, radius)
        return pixmap, painter

    @staticmethod
    def _put(painter: QPainter, stamp: QPixmap, place: QPointF) -> None:
        size = stamp.deviceIndependentSize()
        painter.drawPixmap(QPointF(place.x() - size.width() / 2, place.y() - size.height() / 2), stamp)

    @staticmethod
    def _point(x: float, y: float, area: QRect) -> QPointF:
        scale = area.width() / (2 * EDGE)
        return QPointF(area.left() + area.width() / 2 + x * scale, area.top() + area.height() / 2 - y * scale)

    def _place(self, point: QPointF) -> tuple[float, float]:
        area = self.area()
        scale = 2 * EDGE / area.width()
        return (
            (point.x() - area.left() - area.width() / 2) * scale,
            (area.top() + area.height() / 2 - point.y()) * scale,
        )

    def _describe(self) -> None:
        text = "no place chosen"
        if self.target is not None:
            x, y, pull = self.target
            text = f"drawn to {x:.2f}, {y:.2f} by {pull:.0%}".replace("-", MINUS)
        self.setAccessibleDescription(text)
