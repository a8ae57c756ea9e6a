"""What all pictures have in common: a backdrop that is drawn once per size, colour ramps, an image that scrolls.

Waves and images are made in numpy and drawn by a plain QPainter, not in a QGraphicsScene: two envelopes at 1280 x 200
take 0.5 ms instead of 1.7 ms, and labels can be laid out to fit a picture of any size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QWidget

from ..theme import BACKGROUND, DIM, LINE, PANEL, SPACE, TEXT, WET
from .envelope import FloatArray, inked

MINUS = "\N{MINUS SIGN}"
LABEL_SIZE = 0.85  # of the window's font
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)  # seconds between two labels of a time axis


def label_font(widget: QWidget) -> QFont:
    """A widget's font, a little smaller."""
    font = QFont(widget.font())
    if font.pointSizeF() > 0:
        font.setPointSizeF(font.pointSizeF() * LABEL_SIZE)
    else:
        font.setPixelSize(max(1, round(font.pixelSize() * LABEL_SIZE)))
    return font


class Picture(QWidget):
    """A widget with a drawing area, labels around it, and everything that stays the same kept in a pixmap.

    A subclass draws what stays in `paint_backdrop`, and what moves in `paint_live`; both get the area, in the
    widget's coordinates, and it is never empty.
    """

    header = True  # a line of text above the area
    below = True  # labels below the area, where the height allows
    side = True  # labels left of the area

    def __init__(self, name: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setToolTip(tip)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._backdrop: QPixmap | None = None

    def sizeHint(self) -> QSize:
        """A size at which everything can be read."""
        return QSize(480, 160)

    def minimumSizeHint(self) -> QSize:
        """Below this nothing can be made out."""
        return QSize(120, 48)

    def line_height(self) -> int:
        """Height of a line of labels."""
        return self._metrics().height()

    def area(self) -> QRect:
        """Where the picture is drawn; the labels are around it."""
        line = self.line_height()
        left = self._metrics().horizontalAdvance(f"{MINUS}0.5") + SPACE if self.side else SPACE
        top = line + SPACE // 2 if self.header else SPACE
        bottom = line + SPACE // 4 if self.below and self.height() > 4 * line else SPACE
        return self.rect().adjusted(left, top, -SPACE, -bottom)

    def redraw_all(self) -> None:
        """Draw the backdrop anew, and the rest with it."""
        self._backdrop = None
        self.update()

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """Draw what stays."""

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """Draw what moves."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """The backdrop, then what moves."""
        area = self.area()
        if self._backdrop is None or self._backdrop.devicePixelRatio() != self.devicePixelRatio():
            self._backdrop = self._drawn_backdrop(area)
        painter = QPainter(self)
        try:
            painter.drawPixmap(0, 0, self._backdrop)
            if not area.isEmpty():
                self.paint_live(painter, area)
                if self.hasFocus():
                    outline(painter, area, WET)
        finally:
            painter.end()  # an error above must not leave it open: Qt would draw nothing more

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The backdrop no longer fits."""
        self.redraw_all()

    def changeEvent(self, event: QEvent) -> None:
        """Another font, style or language changes the labels."""
        self.redraw_all()
        super().changeEvent(event)

    def _metrics(self) -> QFontMetrics:
        return QFontMetrics(label_font(self))

    def _drawn_backdrop(self, area: QRect) -> QPixmap:
        ratio = self.devicePixelRatio()
        pixmap = QPixmap(self.size() * ratio)
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(QColor(PANEL))
        if not area.isEmpty():
            painter = QPainter(pixmap)
            try:
                painter.setFont(label_font(self))
                painter.fillRect(area, QColor(BACKGROUND))
                self.paint_backdrop(painter, area)
            finally:
                painter.end()
        return pixmap

    # Labels ---------------------------------------------------------------------------------------------------------

    def draw_title(self, painter: QPainter, area: QRect, text: str, room: int | None = None) -> None:
        """Text above the area, cut to the room there is."""
        room = area.width() if room is None else room
        line = QRect(area.left(), 0, max(0, room), area.top() - SPACE // 4)
        painter.setPen(QColor(TEXT))
        text = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, line.width())
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)

    def draw_side(
        self, painter: QPainter, area: QRect, labels: Iterable[tuple[float, str]], grid: bool = False
    ) -> None:
        """Labels left of the area, each at a height; the first come first, and what would touch them is left out."""
        height = painter.fontMetrics().height()
        taken: list[int] = []
        for y, text in labels:
            top = min(max(round(y - height / 2), 0), self.height() - height)
            if any(abs(top - other) < height for other in taken):
                continue
            taken.append(top)
            line = QRect(0, top, area.left() - SPACE // 2, height)
            painter.setPen(QColor(DIM))
            painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
            if grid:
                painter.fillRect(QRectF(area.left(), round(y), area.width(), 1), QColor(LINE))

    def draw_below(
        self, painter: QPainter, area: QRect, labels: Iterable[tuple[float, str]], grid: bool = False
    ) -> None:
        """Labels below the area, each at a place from the left, like `draw_side`."""
        metrics, taken = painter.fontMetrics(), []
        height = metrics.height()
        room = self.height() - area.bottom() - 1 >= height
        for x, text in labels:
            width = metrics.horizontalAdvance(text)
            left = min(max(round(x - width / 2), area.left()), self.width() - width)
            if room and all(left + width + SPACE <= start or left >= stop + SPACE for start, stop in taken):
                taken.append((left, left + width))
                painter.setPen(QColor(DIM))
                painter.drawText(left, area.bottom() + 1 + metrics.ascent(), text)
            if grid and area.left() < x < area.right():
                painter.fillRect(QRectF(round(x), area.top(), 1, area.height()), QColor(LINE))

    def draw_time(self, painter: QPainter, area: QRect, seconds: float, grid: bool = False) -> None:
        """A time axis that ends now, at the right."""
        widest = painter.fontMetrics().horizontalAdvance(f"{MINUS}0.5 s") + 5 * SPACE
        fitting = (step for step in STEPS if step / seconds * area.width() >= widest)
        step = next(fitting, seconds)
        labels = []
        for number in range(int(seconds / step + 1e-9) + 1):
            text = f"{MINUS}{number * step:g} s" if number else "now"
            labels.append((area.left() + area.width() * (1 - number * step / seconds), text))
        self.draw_below(painter, area, labels, grid)


def outline(painter: QPainter, area: QRect, color: str) -> None:
    """A line around the inside of an area."""
    painter.setPen(QColor(color))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(area.adjusted(0, 0, -1, -1))


# Colours ------------------------------------------------------------------------------------------------------------

# Oklab, where equal steps look equal: https://bottosson.github.io/posts/oklab/
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(colors: Iterable[str]) -> NDArray[np.float64]:
    """Colours such as "#14161a": lightness 0 to 1, green to red, blue to yellow; (colours, 3)."""
    rgb = np.array([QColor(color).getRgbF()[:3] for color in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def ramp(*colors: str, count: int = 256, even: bool = False) -> NDArray[np.uint32]:
    """Colours in between, as 0xffRRGGBB, (count,). even: lightness rises evenly from the first colour to the last."""
    stops = oklab(colors)
    if even:
        stops[:, 0] = np.linspace(stops[0, 0], stops[-1, 0], len(stops))
    places = np.linspace(0, len(stops) - 1, count)
    lab = np.stack([np.interp(places, np.arange(len(stops)), part) for part in stops.T], axis=1)
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.round(rgb * 255).astype(np.uint32).T
    return 0xFF000000 | red << 16 | green << 8 | blue


# Images -------------------------------------------------------------------------------------------------------------


def draw_wave(painter: QPainter, area: QRect, wave: FloatArray, color: str, ratio: float) -> None:
    """An envelope with a column per pixel of the screen; it ends at the area's right edge.

    ratio: pixels of the screen per pixel of the area.
    """
    count, height = wave.shape[1], int(area.height() * ratio)
    if count:
        pixels = inked(wave, height) * np.uint32(QColor(color).rgba())
        image = QImage(pixels.data, count, height, 4 * count, QImage.Format.Format_ARGB32_Premultiplied)
        image.setDevicePixelRatio(ratio)
        painter.drawImage(QPointF(area.right() + 1 - count / ratio, area.top()), image)


class ScrollingImage:
    """A picture of (rows, columns), row 0 at the bottom, that new columns push to the left."""

    def __init__(self, rows: int, columns: int, color: int) -> None:
        self.pixels = np.full((rows, columns), color, np.uint32)
        # The image is a view of the array: what is written there is what is drawn.
        self._image = QImage(self.pixels.data, columns, rows, 4 * columns, QImage.Format.Format_RGB32)

    def push(self, colors: NDArray[np.uint32]) -> None:
        """New columns, (rows, n)."""
        count = min(colors.shape[1], self.pixels.shape[1])
        if count:
            self.pixels[:, :-count] = self.pixels[:, count:]
            self.pixels[:, -count:] = colors[::-1, -count:]

    def draw(self, painter: QPainter, area: QRect, smooth: bool) -> None:
        """Fill an area with it."""
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.drawImage(area, self._image)
