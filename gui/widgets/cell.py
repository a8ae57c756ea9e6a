"""`Cell`: what controls of one parameter have in common, so that knobs and switches fit in one grid."""

from __future__ import annotations

import html
import math
import time
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QFontMetricsF,
    QHideEvent,
    QPainter,
    QPen,
    QShowEvent,
)
from PySide6.QtWidgets import QMenu

from rtae.knobs import allowed, text
from rtae.params import Parameter

from ..theme import DIM, FAINT, TEXT, WARM, WET

WIDTH, HEIGHT = 76, 88  # of a cell in comfort
LEAST, MOST = QSize(68, 66), QSize(112, 176)
FONT_SIZE = 11  # pixels, in comfort; it grows with the cell
SMALLEST, LARGEST = 10, 14
DIAL = 92  # the widest a dial gets
SETTLE_MS = 500  # turns of the wheel and strokes of keys closer than this are one gesture, and so one undo step


@dataclass(frozen=True)
class Places:
    """Where things are in a cell of some size, in pixels: the dial above, the label and the value below.

    dial: a square; of a knob the arc, of a switch the middle. font_size: of the texts, which may be one smaller.
    """

    dial: QRectF
    label: QRectF
    value: QRectF
    mark: QPointF
    font_size: int

    @classmethod
    def within(cls, size: QSize) -> Places:
        """As large as fits, in the middle of the height."""
        width, height = float(size.width()), float(size.height())
        scale = min(width / WIDTH, height / HEIGHT)
        font_size = min(max(round(FONT_SIZE * scale), FONT_SIZE), LARGEST)
        line = font_size + 4.0
        side = min(width - 18, height - 2 * line - 6, DIAL)
        top = (height - side - 2 * line) / 2 + 1
        dial = QRectF((width - side) / 2, top, side, side)
        label = QRectF(1, dial.bottom() - 0.06 * side, width - 2, line)
        value = label.translated(0, line)
        return cls(dial, label, value, QPointF(dial.right() - 1, dial.top() + 2), font_size)


def range_words(parameter: Parameter) -> str:
    """What is allowed, as a sentence."""
    words = allowed(parameter)
    return f"{words[0].upper()}{words[1:]}."


def fitting(font: QFont, words: str, width: float, size: int) -> tuple[QFont, str]:
    """A font of so many pixels, and the words as they fit: smaller, then cut short by an ellipsis."""
    small = QFont(font)
    for pixels in range(size, SMALLEST - 1, -1):
        small.setPixelSize(pixels)
        if QFontMetricsF(small).horizontalAdvance(words) <= width:
            return small, words
    return small, QFontMetricsF(small).elidedText(words, Qt.TextElideMode.ElideRight, width)


def ring(painter: QPainter, colour: QColor, size: QSize, inset: float) -> None:
    """Around the whole cell; inset: pixels from its edge."""
    painter.setPen(QPen(colour, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(QRectF(0, 0, size.width(), size.height()).adjusted(inset, inset, -inset, -inset), 5, 5)


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
        self.reason = ""
        self.label = parameter.label
        self.places = Places.within(QSize(WIDTH, HEIGHT))
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

    def set_label(self, label: str) -> None:
        """What stands below; to screen readers it goes by its full name."""
        self.label = label
        self._fit()

    def set_size(self, size: QSize) -> None:
        """All of it grows and shrinks with the cell."""
        if size != self.size():
            self.places = Places.within(size)
            self.setFixedSize(size)
            self._fit()

    def set_controller(self, name: str) -> None:
        """name: what turns this from outside, such as "CC 21"; "" for nothing."""
        self.controller = name
        self._explain()

    def set_reason(self, reason: str) -> None:
        """Why it would do nothing now, and is grey; "" where it does something."""
        self.reason = reason
        self.setEnabled(not reason)
        self._explain()

    def _explain(self) -> None:
        name = self.controller
        bound = f"<p>Follows {html.escape(name)}.</p>" if name else ""
        why = f"<p style='color: {WARM}'>{html.escape(self.reason)}.</p>" if self.reason else ""
        default = text(self.parameter, self.parameter.default)
        self.setToolTip(
            f"<p><b>{self.parameter.label}</b><br>{html.escape(self.parameter.help, quote=False)}</p>"
            f"<p>{range_words(self.parameter)} The default is {default}.</p>"
            f"{bound}{why}<p style='color: {DIM}'>{self.HINTS}</p>"
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
        colours = (DIM, TEXT) if self.isEnabled() else (FAINT, FAINT)
        texts, places = (self._label, self._text), (self.places.label, self.places.value)
        for (font, words), place, colour in zip(texts, places, colours, strict=True):
            painter.setFont(font)
            painter.setPen(QColor(colour))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)
        mark = QColor(WARM)
        if self._learning:
            mark.setAlphaF(0.6 + 0.4 * math.cos(2 * math.pi * time.monotonic()))
            ring(painter, mark, self.size(), inset=4)
        if self.controller or self._learning:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(mark)
            painter.drawEllipse(self.places.mark, 3.5, 3.5)
        if self.hasFocus():
            ring(painter, QColor(WET), self.size(), inset=1.5)

    def _pulse_if_seen(self, seen: bool) -> None:
        if self._learning and seen:
            self._pulse.start()
        else:
            self._pulse.stop()
        self.update()

    def _show_value(self) -> None:
        self.setAccessibleDescription(f"{text(self.parameter, self._value)}. {self.parameter.help}")
        places = self.places
        self._text = fitting(self.font(), text(self.parameter, self._value), places.value.width(), places.font_size)
        self.update()

    def _fit(self) -> None:
        self._label = fitting(self.font(), self.label, self.places.label.width(), self.places.font_size)
        self._show_value()
