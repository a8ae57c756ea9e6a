"""A switch for a parameter that is on or off; as large as a knob, and with the same signals."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QWidget

from rtae.params import Parameter

from ..theme import BACKGROUND, EDGE, FAINT, HOVER, LINE, RAISED, TEXT, WET
from .cell import Cell
from .knob import OPENING

WIDE, HIGH = 0.8, 0.55  # of the pill, as a share of the dial that a knob would have; and of that width
WIDEST = 54.0


class SwitchButton(Cell, QAbstractButton):
    """Pressed by mouse, Space or Enter."""

    HINTS = "Click, Space or Enter. Right-click for MIDI."

    def __init__(self, parameter: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.place(parameter)
        self.clicked.connect(lambda on: self.change_once(float(on)))

    def _show_value(self) -> None:
        self.setChecked(bool(self._value))
        super()._show_value()

    def event(self, event: QEvent) -> bool:
        """Space is likely to be the window's shortcut for play; on a focused switch it is ours."""
        if event.type() == QEvent.Type.ShortcutOverride and self._is_ours(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter does what Space does."""
        if event.key() in OPENING and self._is_ours(event):
            if not event.isAutoRepeat():
                self.click()
        elif self._is_ours(event):
            super().keyPressEvent(event)
        else:
            event.ignore()  # QAbstractButton would take the arrows for itself

    @staticmethod
    def _is_ours(event: QKeyEvent) -> bool:
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        return plain and (event.key() == Qt.Key.Key_Space or event.key() in OPENING)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The pill with its thumb, then the texts."""
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            enabled, on = self.isEnabled(), self.isChecked()
            over = self.underMouse() and enabled
            painter.setPen(QPen(QColor(WET if on and enabled else EDGE if over else LINE), 1))
            painter.setBrush(QColor((WET if enabled else LINE) if on else HOVER if over else RAISED))
            dial = self.places.dial
            wide = min(WIDE * dial.width(), WIDEST)
            pill = QRectF(0, 0, wide, HIGH * wide)
            pill.moveCenter(dial.center())
            painter.drawRoundedRect(pill, pill.height() / 2, pill.height() / 2)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor((BACKGROUND if on else TEXT) if enabled else FAINT))
            away = (pill.width() - pill.height()) / 2
            radius = pill.height() / 2 - 4
            painter.drawEllipse(pill.center() + QPointF(away if on else -away, 0), radius, radius)
            self.paint_cell(painter)
