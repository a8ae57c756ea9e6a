"""A knob for one parameter, and `Cell`: what it has in common with a switch, so that both fit in one grid."""

from __future__ import annotations

import html
import math
import time

from PySide6.QtCore import QEvent, QPointF, QRectF, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QFontMetricsF,
    QHideEvent,
    QKeyEvent,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QDial, QLineEdit, QMenu, QToolTip, QWidget

from rtae.errors import ParameterError
from rtae.knobs import allowed, from_position, parse, text, to_position
from rtae.params import Parameter

from ..theme import ALERT, BACKGROUND, DIM, EDGE, FAINT, HOVER, LINE, RAISED, TEXT, WARM, WET

WIDTH, HEIGHT = 84, 96
CENTRE = QPointF(WIDTH / 2, 32)  # of the round part
LABEL = QRectF(2, 59, WIDTH - 4, 15)
VALUE = QRectF(2, 75, WIDTH - 4, 16)
MARK = QPointF(WIDTH - 14, 14)  # a MIDI controller is bound
FONT_SIZES = (11, 10)  # pixels; the first in which a text fits
SETTLE_MS = 500  # turns of the wheel and strokes of keys closer than this are one gesture, and so one undo step

TRACK, LIT = QRectF(CENTRE.x() - 25, CENTRE.y() - 25, 50, 50), 4.0  # the arc and its thickness
BODY = QRectF(CENTRE.x() - 18, CENTRE.y() - 18, 36, 36)
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


def range_words(parameter: Parameter) -> str:
    """What is allowed, as a sentence."""
    words = allowed(parameter)
    return f"{words[0].upper()}{words[1:]}."


def fitting(font: QFont, words: str, width: float) -> tuple[QFont, str]:
    """A font of FONT_SIZES, and the words as they fit: smaller, then in two lines, then cut short by an ellipsis."""
    small = QFont(font)
    for lines in (words, in_two_lines(words)):
        for size in FONT_SIZES:
            small.setPixelSize(size)
            if max(map(QFontMetricsF(small).horizontalAdvance, lines.split("\n"))) <= width:
                return small, lines
    return small, QFontMetricsF(small).elidedText(words, Qt.TextElideMode.ElideRight, width)


def in_two_lines(words: str) -> str:
    """Broken at the space that leaves the shorter lines.

    >>> in_two_lines("Hear the difference")
    'Hear the\\ndifference'
    """
    places = [place for place, letter in enumerate(words) if letter == " "]
    if not places:
        return words
    best = min(places, key=lambda place: max(place, len(words) - place))
    return f"{words[:best]}\n{words[best + 1 :]}"


def round_pen(colour: QColor, width: float) -> QPen:
    """A pen whose strokes end round."""
    return QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)


def ring(painter: QPainter, colour: QColor, inset: float) -> None:
    """Around the whole cell; inset: pixels from its edge."""
    painter.setPen(QPen(colour, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(QRectF(0, 0, WIDTH, HEIGHT).adjusted(inset, inset, -inset, -inset), 5, 5)


class Cell:
    """A control of one parameter in a cell of the grid: label, value, tool tip, menu, MIDI mark and gestures.

    A mixin of QWidgets, which call `place` at the end of `__init__`. Everything between `gesture_began` and
    `gesture_ended` is one step of undo. `set_value` emits nothing: it shows what others did.
    """

    value_changed = Signal(str, float)
    gesture_began = Signal(str)
    gesture_ended = Signal(str)
    learn_requested = Signal(str)
    forget_requested = Signal(str)

    HINTS = ""

    def place(self, parameter: Parameter) -> None:
        """Ties this widget to the parameter, at its default."""
        self.parameter = parameter
        self.controller = ""
        self._value = float(parameter.default)
        self._in_gesture = False
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self.end_gesture)
        self._pulse = QTimer(self, interval=50)
        self._pulse.timeout.connect(self.update)
        self._learning = False
        self.setFixedSize(WIDTH, HEIGHT)
        self.setObjectName(parameter.id)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setAccessibleName(parameter.label)
        self.set_controller("")
        self._fit()

    def value(self) -> float:
        """The parameter's value, in its unit."""
        return self._value

    def set_value(self, value: float) -> None:
        """Shows a value that was set elsewhere; emits nothing."""
        value = self.parameter.nearest(value)
        if value != self._value:
            self._value = value
            self._show_value()

    def set_controller(self, name: str) -> None:
        """name: what turns this from outside, such as "CC 21"; "" for nothing."""
        self.controller = name
        bound = f"<p>Follows {html.escape(name)}.</p>" if name else ""
        default = text(self.parameter, self.parameter.default)
        self.setToolTip(
            f"<p><b>{self.parameter.label}</b><br>{html.escape(self.parameter.help, quote=False)}</p>"
            f"<p>{range_words(self.parameter)} The default is {default}.</p>"
            f"{bound}<p style='color: {DIM}'>{self.HINTS}</p>"
        )
        self.update()

    def set_learning(self, learning: bool) -> None:
        """Pulses for as long as a MIDI controller is awaited."""
        self._learning = learning
        self._pulse_if_seen(self.isVisible())

    def is_learning(self) -> bool:
        """A MIDI controller is awaited."""
        return self._learning

    def reset(self) -> None:
        """Back to the default, as one gesture."""
        self.change_once(float(self.parameter.default))

    def change_once(self, value: float) -> None:
        """A gesture of its own; none where nothing changes."""
        self.end_gesture()
        self.change(value)
        self.end_gesture()

    def change(self, value: float) -> None:
        """What the user's hand does; begins a gesture if none is going on."""
        value = self.parameter.nearest(value)
        if value == self._value:
            return
        if not self._in_gesture:
            self._in_gesture = True
            self.gesture_began.emit(self.parameter.id)
        self.set_value(value)
        self.value_changed.emit(self.parameter.id, value)

    def end_gesture(self) -> None:
        """Ends the gesture, if there is one."""
        self._settle.stop()
        if self._in_gesture:
            self._in_gesture = False
            self.gesture_ended.emit(self.parameter.id)

    def menu(self) -> QMenu:
        """The context menu; deletes itself when closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.fill_menu(menu)
        menu.addAction("Reset", self.reset).setEnabled(self._value != self.parameter.default)
        menu.addSeparator()
        learn = "Stop MIDI learn" if self._learning else "MIDI learn"
        menu.addAction(learn, lambda: self.learn_requested.emit(self.parameter.id))
        forget = menu.addAction("Forget MIDI", lambda: self.forget_requested.emit(self.parameter.id))
        forget.setEnabled(bool(self.controller))
        return menu

    def fill_menu(self, menu: QMenu) -> None:
        """Puts what only this kind of control can do at the top of its menu."""

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Opens the menu; the keyboard's menu key comes here too."""
        self.end_gesture()
        self.menu().popup(event.globalPos())

    def hideEvent(self, event: QHideEvent) -> None:
        """Nobody turns what is not seen."""
        self.end_gesture()
        self._pulse_if_seen(False)
        super().hideEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """Pulses again, if a controller is still awaited."""
        self._pulse_if_seen(True)
        super().showEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Keys and wheel are done."""
        self.end_gesture()
        super().focusOutEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Disabled in mid-gesture, or in another font."""
        if event.type() == QEvent.Type.EnabledChange:
            self.end_gesture()
        elif event.type() == QEvent.Type.FontChange:
            self._fit()
        super().changeEvent(event)

    def paint_cell(self, painter: QPainter) -> None:
        """Everything but the control itself."""
        enabled = self.isEnabled()
        lower = 5 if "\n" in self._label[1] else 0
        label, value = LABEL.adjusted(0, -lower, 0, lower), VALUE.adjusted(0, lower, 0, lower - 1)
        for (font, words), place, colour in ((self._label, label, DIM), (self._text, value, TEXT)):
            painter.setFont(font)
            painter.setPen(QColor(colour if enabled else FAINT))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)
        mark = QColor(WARM)
        if self._learning:
            mark.setAlphaF(0.6 + 0.4 * math.cos(2 * math.pi * time.monotonic()))
            ring(painter, mark, inset=4)
        if self.controller or self._learning:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(mark)
            painter.drawEllipse(MARK, 3.5, 3.5)
        if self.hasFocus():
            ring(painter, QColor(WET), inset=1.5)

    def _pulse_if_seen(self, seen: bool) -> None:
        if self._learning and seen:
            self._pulse.start()
        else:
            self._pulse.stop()
        self.update()

    def _show_value(self) -> None:
        self.setAccessibleDescription(f"{text(self.parameter, self._value)}. {self.parameter.help}")
        self._text = fitting(self.font(), text(self.parameter, self._value), VALUE.width())
        self.update()

    def _fit(self) -> None:
        self._label = fitting(self.font(), self.parameter.label, LABEL.width())
        self._show_value()


class ValueEdit(QLineEdit):
    """The field in which a value is typed."""

    left = Signal()
    cancelled = Signal()

    def event(self, event: QEvent) -> bool:
        """Escape may be a shortcut of the window; here it is ours."""
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter takes the value, Escape does not."""
        if event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.returnPressed.emit()  # and no further: in a dialog it would press the default button
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Elsewhere is done; not for a menu or another program's window."""
        super().focusOutEvent(event)
        if event.reason() not in (Qt.FocusReason.PopupFocusReason, Qt.FocusReason.ActiveWindowFocusReason):
            self.left.emit()


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
            self.editor.setGeometry(VALUE.adjusted(0, -2, 0, 2).toRect())
            self.editor.setFont(self._text[0])
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

    def _take(self, editor: ValueEdit) -> bool:
        """Takes what was typed. The rounded value that the field began with is not a change."""
        try:
            value = parse(self.parameter, editor.text()) if editor.isModified() else self._value
        except ParameterError:
            QToolTip.showText(self.mapToGlobal(VALUE.bottomLeft().toPoint()), range_words(self.parameter), self)
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
        enabled = self.isEnabled()
        origin = START - SWEEP * to_position(self.parameter, self.parameter.default)
        here = START - SWEEP * to_position(self.parameter, self._value)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(round_pen(QColor(LINE), LIT))
        painter.drawArc(TRACK, round(16 * (START - SWEEP)), round(16 * SWEEP))
        colour = QColor((WET if here != origin else EDGE) if enabled else FAINT)
        painter.setPen(round_pen(colour, LIT))
        painter.drawArc(TRACK, round(16 * origin), round(16 * (here - origin)) or 1)

    def _paint_body(self, painter: QPainter) -> None:
        enabled = self.isEnabled()
        shade = QLinearGradient(BODY.topLeft(), BODY.bottomLeft())
        shade.setColorAt(0, QColor(LINE if self.underMouse() and enabled else HOVER))
        shade.setColorAt(1, QColor(RAISED))
        painter.setPen(QPen(QColor(BACKGROUND), 1))
        painter.setBrush(shade)
        painter.drawEllipse(BODY)
        angle = math.radians(START - SWEEP * to_position(self.parameter, self._value))
        ray = QPointF(math.cos(angle), -math.sin(angle))
        painter.setPen(round_pen(QColor(TEXT if enabled else FAINT), 2.5))
        painter.drawLine(CENTRE + 8 * ray, CENTRE + 14.5 * ray)
