"""A knob for one parameter."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QPointF, QRectF, QSignalBlocker, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QDial, QMenu, QToolTip, QWidget

from rtae.errors import ParameterError
from rtae.knobs import from_position, parse, text, to_position
from rtae.params import Parameter

from ..theme import ALERT, BACKGROUND, EDGE, FAINT, HOVER, LINE, RAISED, TEXT, WET
from .cell import Cell, range_words
from .value_edit import ValueEdit

LIT = 0.08  # thickness of the arc, as a share of the dial
BODY = 0.67  # of the dial: the round part that turns
START, SWEEP = 225.0, 270.0  # degrees; from half past seven to half past four
TRAVEL = 200.0  # pixels of drag from one end to the other
SLACK = 3  # pixels before a click becomes a drag
NOTCHES = 50  # steps of the wheel from one end to the other
FINE = 10
KEYS = {
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Down: -1,
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_PageUp: 5,
    Qt.Key.Key_PageDown: -5,
}
OPENING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2)
SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
NO_TYPING = CTRL | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier


def round_pen(colour: QColor, width: float) -> QPen:
    """A pen whose strokes end round."""
    return QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)


class Knob(Cell, QDial):
    """Turned by mouse, wheel or keys. A QDial only to screen readers, who see the turn in percent as its value."""

    HINTS = (
        "Drag, wheel or arrow keys; Shift for fine steps.<br>"
        "Double-click resets. Ctrl+click or type to enter a value. Right-click for MIDI."
    )

    def __init__(self, parameter: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(0, 100)
        self.editor: ValueEdit | None = None
        self._turn = 0.0  # where the hand is; more exact than the value, which may be a whole number
        self._pressed: QPointF | None = None
        self._dragging = False
        self.place(parameter)
        self.valueChanged.connect(lambda percent: self.change_once(from_position(parameter, percent / 100)))

    def fill_menu(self, menu: QMenu) -> None:
        """See `Cell`."""
        menu.addAction("Type a value…", lambda: self.open_editor())

    def _show_value(self) -> None:
        with QSignalBlocker(self):
            self.setValue(round(100 * to_position(self.parameter, self._value)))
        super()._show_value()

    def _turn_to(self, position: float) -> None:
        default = self.parameter.default
        self._turn = min(max(position, 0.0), 1.0)
        at_default = math.isclose(self._turn, to_position(self.parameter, default), abs_tol=1e-6)
        self.change(default if at_default else from_position(self.parameter, self._turn))

    def _step(self, notches: float, fine: bool) -> None:
        """By so many notches, or whole numbers; gathers what is less than one of these."""
        low, high = self.parameter.low, self.parameter.high
        size = 1 / (high - low) if self.parameter.curve == "whole" else 1 / NOTCHES / (FINE if fine else 1)
        here = to_position(self.parameter, self._value)
        if abs(self._turn - here) >= size:  # moved by something else since
            self._turn = here
        self._turn_to(self._turn + notches * size)
        self._settle.start()

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """The start of a drag; with Ctrl, of typing."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self.end_gesture()
        if event.modifiers() & CTRL:
            self.open_editor()
            return
        self._pressed, self._dragging = event.position(), False
        self._turn = to_position(self.parameter, self._value)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Up and right is more."""
        if self._pressed is None:
            return
        moved = event.position() - self._pressed
        if not self._dragging and moved.manhattanLength() < SLACK:
            return
        self._dragging, self._pressed = True, event.position()
        travel = TRAVEL * (FINE if event.modifiers() & SHIFT else 1)
        self._turn_to(self._turn + (moved.x() - moved.y()) / travel)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """The end of a drag."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._dragging = None, False
            self.end_gesture()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Back to the default."""
        if event.button() == Qt.MouseButton.LeftButton and not event.modifiers() & CTRL:
            self.reset()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Turns, and keeps the page from scrolling, even at the end of the range."""
        if not (self.underMouse() or self.hasFocus()):
            event.ignore()  # the page that scrolls under the mouse takes it
            return
        turned = event.angleDelta().y() or event.angleDelta().x()  # macOS turns it sideways while Shift is held
        if self._pressed is None and turned:
            self._step(turned / 120, bool(event.modifiers() & SHIFT))
        event.accept()

    # Keys

    def event(self, event: QEvent) -> bool:
        """What turns a focused knob must not be a shortcut of the window meanwhile."""
        if event.type() == QEvent.Type.ShortcutOverride and self._is_ours(event):
            event.accept()
            return True
        return super().event(event)

    def _is_ours(self, event: QKeyEvent) -> bool:
        if event.modifiers() & NO_TYPING:
            return False
        key = event.key()
        return key in KEYS or key in OPENING or key == Qt.Key.Key_Home or self._is_number(event.text())

    @staticmethod
    def _is_number(typed: str) -> bool:
        return len(typed) == 1 and typed in "0123456789+-−.,"

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Turns, resets or types."""
        if not self._is_ours(event):
            event.ignore()
        elif event.key() in KEYS:
            self._step(KEYS[event.key()], bool(event.modifiers() & SHIFT))
        elif event.key() == Qt.Key.Key_Home:
            self.reset()
        elif event.key() in OPENING:
            self.open_editor()
        else:
            self.open_editor(event.text())

    # A typed value

    def open_editor(self, typed: str = "") -> None:
        """Opens the field in place of the value. typed: what it begins with; "" for the value, selected."""
        self.end_gesture()
        if self.editor is None:
            self.editor = ValueEdit(self, alignment=Qt.AlignmentFlag.AlignCenter)
            self.editor.setProperty("role", "value")
            self.editor.setAccessibleName(f"{self.parameter.label}, value")
            self._place_editor(self.editor)
            self.editor.returnPressed.connect(self._entered)
            self.editor.cancelled.connect(self._close_editor)
            self.editor.left.connect(self._left_editor)
            QWidget.setTabOrder(self, self.editor)
        self.editor.setText(typed or text(self.parameter, self._value))
        if not typed:
            self.editor.selectAll()
        self.editor.setModified(bool(typed))
        self.editor.show()
        self.editor.setFocus()

    def set_size(self, size: QSize) -> None:
        """See `Cell`."""
        super().set_size(size)
        if self.editor is not None:
            self._place_editor(self.editor)

    def _place_editor(self, editor: ValueEdit) -> None:
        editor.setGeometry(self.places.value.adjusted(0, -2, 0, 2).toRect())
        editor.setFont(self._text[0])

    def _take(self, editor: ValueEdit) -> bool:
        """Takes what was typed. The rounded value that the field began with is not a change."""
        try:
            value = parse(self.parameter, editor.text()) if editor.isModified() else self._value
        except ParameterError:
            QToolTip.showText(
                self.mapToGlobal(self.places.value.bottomLeft().toPoint()), range_words(self.parameter), self
            )
            return False
        self.change_once(value)
        return True

    def _entered(self) -> None:
        if self._take(self.editor):
            self._close_editor()
            return
        self.editor.setStyleSheet(f"border-color: {ALERT};")
        self.editor.setAccessibleDescription(range_words(self.parameter))
        self.editor.selectAll()

    def _left_editor(self) -> None:
        if self.editor is not None:
            self._take(self.editor)
            self._close_editor()

    def _close_editor(self) -> None:
        editor, self.editor = self.editor, None  # first: to hide it takes its focus, which would close it again
        had_focus = editor.hasFocus()
        editor.hide()
        editor.deleteLater()
        if had_focus:
            self.setFocus()

    # Looks

    def paintEvent(self, event: QPaintEvent) -> None:
        """The arc, the knob, the texts."""
        with QPainter(self) as painter:  # ends it even after an error, which would be a crash else
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_arc(painter)
            self._paint_body(painter)
            self.paint_cell(painter)

    def _paint_arc(self, painter: QPainter) -> None:
        """Lit from the default to the value, so that one glance tells what bends the sound."""
        enabled, dial = self.isEnabled(), self.places.dial
        width = max(3.0, LIT * dial.width())
        track = dial.adjusted(width / 2, width / 2, -width / 2, -width / 2)
        origin = START - SWEEP * to_position(self.parameter, self.parameter.default)
        here = START - SWEEP * to_position(self.parameter, self._value)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(round_pen(QColor(LINE), width))
        painter.drawArc(track, round(16 * (START - SWEEP)), round(16 * SWEEP))
        colour = QColor((WET if here != origin else EDGE) if enabled else FAINT)
        painter.setPen(round_pen(colour, width))
        painter.drawArc(track, round(16 * origin), round(16 * (here - origin)) or 1)

    def _paint_body(self, painter: QPainter) -> None:
        enabled, centre = self.isEnabled(), self.places.dial.center()
        radius = BODY * self.places.dial.width() / 2
        body = QRectF(centre.x() - radius, centre.y() - radius, 2 * radius, 2 * radius)
        shade = QLinearGradient(body.topLeft(), body.bottomLeft())
        shade.setColorAt(0, QColor(LINE if self.underMouse() and enabled else HOVER))
        shade.setColorAt(1, QColor(RAISED))
        painter.setPen(QPen(QColor(BACKGROUND), 1))
        painter.setBrush(shade)
        painter.drawEllipse(body)
        angle = math.radians(START - SWEEP * to_position(self.parameter, self._value))
        ray = radius * QPointF(math.cos(angle), -math.sin(angle))
        painter.setPen(round_pen(QColor(TEXT if enabled else FAINT), max(2.0, 0.14 * radius)))
        painter.drawLine(centre + 0.44 * ray, centre + 0.81 * ray)
