"""Icons and the buttons that bear them, drawn with paths: sharp at any scale, coloured by the theme, no files."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QIcon,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPainterPath,
    QPainterPathStroker,
    QPaintEvent,
    QPen,
    QPixmap,
    QTransform,
)
from PySide6.QtWidgets import QAbstractButton, QWidget

from ..theme import BACKGROUND, EDGE, FAINT, HOVER, LINE, PANEL, RADIUS, RAISED, TEXT, WET

GRID = 24  # icons are drawn on a grid of 24 x 24, with a margin of about 4
SIDE = 34  # of a button, in pixels


class EnterButton(QAbstractButton):
    """A button that Enter presses, as Space plays the song in the whole window."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space as well, where it is no shortcut."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.isAutoRepeat():
            self.click()
        else:
            super().keyPressEvent(event)


class IconButton(EnterButton):
    """A square button with an icon.

    name: of the icon, a key of ICONS. label: for the tool tip and screen readers. keys: shown in the tool tip; the
    shortcut itself is the window's. colour: of the icon while checked.
    """

    def __init__(
        self,
        name: str,
        label: str,
        parent: QWidget | None = None,
        *,
        keys: str = "",
        checkable: bool = False,
        colour: str = WET,
    ) -> None:
        super().__init__(parent)
        self.colour = colour
        self.keys = keys
        self.setCheckable(checkable)
        self.setFixedSize(SIDE, SIDE)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the focus with the knob that had it
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.set_icon(name, label)

    def set_icon(self, name: str, label: str) -> None:
        """Shows another icon, as when play becomes pause. Raises KeyError for a name that is not in ICONS."""
        self.path = icon_path(name)
        self.name = name
        keys = QKeySequence(self.keys).toString(QKeySequence.SequenceFormat.NativeText)
        self.setToolTip(f"{label} ({keys})" if keys else label)
        self.setAccessibleName(label)
        self.update()

    def sizeHint(self) -> QSize:
        """Square."""
        return QSize(SIDE, SIDE)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The body, then the icon."""
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            icon, body, edge = self._colours()
            painter.setPen(QPen(QColor(edge), 1.5 if self.hasFocus() else 1))
            painter.setBrush(QColor(body))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), RADIUS, RADIUS)
            painter.translate((SIDE - GRID) / 2, (SIDE - GRID) / 2)
            painter.fillPath(self.path, QColor(icon))

    def _colours(self) -> tuple[str, str, str]:
        """Of the icon, the body and the edge."""
        if not self.isEnabled():
            return FAINT, PANEL, RAISED
        icon = self.colour if self.isChecked() else TEXT
        body = BACKGROUND if self.isDown() or self.isChecked() else HOVER if self.underMouse() else RAISED
        edge = WET if self.hasFocus() else self.colour if self.isChecked() else EDGE if self.underMouse() else LINE
        return icon, body, edge


def icon(name: str, colour: str = TEXT) -> QIcon:
    """The icon for menus and for buttons of Qt's own. Raises KeyError for a name that is not in ICONS."""
    result = QIcon()
    for mode, paint in ((QIcon.Mode.Normal, colour), (QIcon.Mode.Disabled, FAINT), (QIcon.Mode.Selected, BACKGROUND)):
        for scale in (1, 2, 3):
            pixmap = QPixmap(GRID * scale, GRID * scale)
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.scale(scale, scale)
            painter.fillPath(icon_path(name), QColor(paint))
            painter.end()
            pixmap.setDevicePixelRatio(scale)
            result.addPixmap(pixmap, mode)
    return result


@cache
def icon_path(name: str) -> QPainterPath:
    """The outline of an icon, to be filled. Raises KeyError for a name that is not in ICONS."""
    return ICONS[name]()


def _play() -> QPainterPath:
    return _polygon((7, 4), (20, 12), (7, 20))


def _pause() -> QPainterPath:
    return _bars((6, 4.5, 4.2, 15), (13.8, 4.5, 4.2, 15))


def _stop() -> QPainterPath:
    return _bars((5.5, 5.5, 13, 13))


def _record() -> QPainterPath:
    path = QPainterPath()
    path.addEllipse(QPointF(12, 12), 7, 7)
    return path


def _next() -> QPainterPath:
    return _polygon((5, 5), (15, 12), (5, 19)).united(_bars((16, 5, 3, 14)))


def _previous() -> QPainterPath:
    return _mirrored(_next())


def _loop() -> QPainterPath:
    """Two halves of a ring, each with the head of an arrow."""
    line = QPainterPath(QPointF(4.5, 12.5))
    line.lineTo(4.5, 11)
    line.arcTo(QRectF(4.5, 7, 8, 8), 180, -90)
    line.lineTo(15, 7)
    half = _stroked(line).united(_polygon((15, 2.8), (20.5, 7), (15, 11.2)))
    return half.united(QTransform(-1, 0, 0, -1, GRID, GRID).map(half))


def _undo() -> QPainterPath:
    line = QPainterPath(QPointF(8, 8.5))
    line.lineTo(14, 8.5)
    line.arcTo(QRectF(9, 8.5, 10, 10), 90, -180)
    line.lineTo(8, 18.5)
    return _stroked(line).united(_polygon((9.5, 3.8), (9.5, 13.2), (3.5, 8.5)))


def _redo() -> QPainterPath:
    return _mirrored(_undo())


def _dice() -> QPainterPath:
    """A die that shows five."""
    path = _bars((3.5, 3.5, 17, 17), radius=3.5)
    for x, y in ((8, 8), (16, 8), (12, 12), (8, 16), (16, 16)):
        eye = QPainterPath()
        eye.addEllipse(QPointF(x, y), 1.7, 1.7)
        path = path.subtracted(eye)
    return path


def _polygon(*points: tuple[float, float]) -> QPainterPath:
    """With corners that are a little rounded, by an outline of its own."""
    path = QPainterPath()
    path.addPolygon([QPointF(*point) for point in points])
    path.closeSubpath()
    return path.united(_stroked(path, 1))


def _bars(*bars: tuple[float, float, float, float], radius: float = 1.2) -> QPainterPath:
    path = QPainterPath()
    for bar in bars:
        path.addRoundedRect(*bar, radius, radius)
    return path


def _stroked(line: QPainterPath, width: float = 2.2) -> QPainterPath:
    stroker = QPainterPathStroker()
    stroker.setWidth(width)
    stroker.setCapStyle(Qt.PenCapStyle.RoundCap)
    stroker.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return stroker.createStroke(line)


def _mirrored(path: QPainterPath) -> QPainterPath:
    return QTransform(-1, 0, 0, 1, GRID, 0).map(path)


ICONS = {
    "play": _play,
    "pause": _pause,
    "stop": _stop,
    "loop": _loop,
    "record": _record,
    "previous": _previous,
    "next": _next,
    "undo": _undo,
    "redo": _redo,
    "dice": _dice,
}
