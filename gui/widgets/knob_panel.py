"""All knobs and switches, in titled sections that wrap to the width there is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtWidgets import QFrame, QLabel, QLayout, QLayoutItem, QScrollArea, QVBoxLayout, QWidget

from rtae.params import MACROS, PARAMETERS, Parameter

from ..theme import SPACE
from .knob import Knob
from .switch import SwitchButton

# What belongs together, in reading order. A parameter that is not in the table yet is skipped.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Output": ("mix", "bypass", "input_gain", "output_gain", "ceiling", "difference", "match"),
    "Noise": ("noise_amount", "noise_share", "noise_speed", "noise_seed", "random_mix", "gain_noise"),
    "Time": ("freeze", "freeze_length", "blur", "echo", "echo_time"),
    "Blend": ("interpolation",),
    "Dream": ("dream_temperature", "dream_seed"),
    "Shape": ("latent_scale", "quantise", "drop", "permute"),
    "Macros": tuple(f"macro_{number}" for number in range(1, MACROS + 1)),
}
MAP = ("map_x", "map_y", "map_pull")  # these are moved on the latent map
REST = "More"  # the section of whatever is in no group


class KnobPanel(QScrollArea):
    """Signals as of one knob, for all of them; `knobs` has them by the id of the parameter."""

    value_changed = Signal(str, float)
    gesture_began = Signal(str)
    gesture_ended = Signal(str)
    learn_requested = Signal(str)
    forget_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.knobs: dict[str, Knob | SwitchButton] = {}
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        page = QWidget()
        flow = FlowLayout(page, space=SPACE, fill=True)
        flow.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        for title, parameters in grouped(PARAMETERS).items():
            flow.addWidget(self._section(title, parameters))
        self.setWidget(page)
        self.setMinimumWidth(page.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width())

    def set_values(self, values: Mapping[str, float]) -> None:
        """Shows the values of a snapshot; emits nothing."""
        for name, knob in self.knobs.items():
            knob.set_value(values[name])

    def sizeHint(self) -> QSize:
        """Wide enough for the longest section."""
        width = 1200
        return QSize(width, self.widget().heightForWidth(width))

    def _section(self, title: str, parameters: tuple[Parameter, ...]) -> Section:
        section = Section(title)
        for parameter in parameters:
            kind = SwitchButton if parameter.curve == "switch" else Knob
            knob = kind(parameter, section)
            knob.value_changed.connect(self.value_changed)
            knob.gesture_began.connect(self.gesture_began)
            knob.gesture_ended.connect(self.gesture_ended)
            knob.learn_requested.connect(self.learn_requested)
            knob.forget_requested.connect(self.forget_requested)
            section.add(knob)
            self.knobs[parameter.id] = knob
        return section


def grouped(parameters: tuple[Parameter, ...]) -> dict[str, tuple[Parameter, ...]]:
    """Sections in order, none of them empty; what is in no group comes last, what is on the map not at all."""
    table = {parameter.id: parameter for parameter in parameters}
    named = {*MAP, *(name for names in GROUPS.values() for name in names)}
    groups = {**GROUPS, REST: tuple(name for name in table if name not in named)}
    found = {title: tuple(table[name] for name in names if name in table) for title, names in groups.items()}
    return {title: members for title, members in found.items() if members}


class Section(QFrame):
    """A title over knobs; as wide as all of them in one row, if there is room."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "section")
        self.setAccessibleName(title)
        label = QLabel(title)
        label.setProperty("role", "title")
        label.setIndent(SPACE)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(SPACE, SPACE, SPACE, SPACE // 2)
        rows.setSpacing(SPACE // 2)
        rows.addWidget(label)
        self.flow = FlowLayout()
        rows.addLayout(self.flow)
        rows.addStretch()

    def add(self, widget: QWidget) -> None:
        """One more at the end."""
        self.flow.addWidget(widget)


class FlowLayout(QLayout):
    """Left to right in as many rows as it takes, like words.

    space: between things, in pixels. fill: what stands in a row shares the room that is left, so that both edges are
    straight.
    """

    def __init__(self, parent: QWidget | None = None, space: int = 0, fill: bool = False) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(space)
        self.fill = fill
        self.items: list[QLayoutItem] = []

    def addItem(self, item: QLayoutItem) -> None:
        """Called by Qt for `addWidget`."""
        self.items.append(item)

    def count(self) -> int:
        """How many things."""
        return len(self.items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """None beyond the end."""
        return self.items[index] if 0 <= index < len(self.items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Removes it; None beyond the end."""
        return self.items.pop(index) if 0 <= index < len(self.items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """Takes all the width there is."""
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        """The narrower, the higher."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Of all rows."""
        margins = self.contentsMargins()
        inner = width - margins.left() - margins.right()
        return self._flow(QRect(0, 0, inner, 0), move=False) + margins.top() + margins.bottom()

    def setGeometry(self, rect: QRect) -> None:
        """Puts everything in its place."""
        super().setGeometry(rect)
        self._flow(rect.marginsRemoved(self.contentsMargins()), move=True)

    def sizeHint(self) -> QSize:
        """All in one row."""
        sizes = [item.sizeHint() for item in self.items]
        width = sum(size.width() for size in sizes) + self.spacing() * max(0, len(sizes) - 1)
        return self._with_margins(width, sizes)

    def minimumSize(self) -> QSize:
        """One thing in each row."""
        sizes = [item.minimumSize() for item in self.items]
        width = max((size.width() for size in sizes), default=0)
        return self._with_margins(width, sizes)

    def _with_margins(self, width: int, sizes: list[QSize]) -> QSize:
        height = max((size.height() for size in sizes), default=0)
        return QSize(width, height).grownBy(self.contentsMargins())

    def _flow(self, rect: QRect, move: bool) -> int:
        """The height that it takes."""
        y = rect.y()
        for row in self._rows(rect.width()):
            widths = self._widths(row, rect.width())
            height = max(height_of(item, width) for item, width in zip(row, widths, strict=True))
            x = rect.x()
            for item, width in zip(row, widths, strict=True):
                if move:
                    item.setGeometry(QRect(QPoint(x, y), QSize(width, height)))
                x += width + self.spacing()
            y += height + self.spacing()
        return max(0, y - rect.y() - self.spacing())

    def _rows(self, width: int) -> list[list[QLayoutItem]]:
        """As few as possible; without `fill` things are of one size, and rows of one length, but for the last."""
        rows = self._wrapped(width, len(self.items))
        return rows if self.fill or not rows else self._wrapped(width, math.ceil(len(self.items) / len(rows)))

    def _wrapped(self, width: int, most: int) -> list[list[QLayoutItem]]:
        """most: this many in a row."""
        rows: list[list[QLayoutItem]] = []
        left = 0
        for item in self.items:
            needed = item.sizeHint().width()
            if rows and needed <= left and len(rows[-1]) < most:
                rows[-1].append(item)
                left -= needed + self.spacing()
            else:
                rows.append([item])
                left = width - needed - self.spacing()
        return rows

    def _widths(self, row: list[QLayoutItem], width: int) -> list[int]:
        widths = [min(item.sizeHint().width(), width) for item in row]
        if self.fill:
            over = width - sum(widths) - self.spacing() * (len(row) - 1)
            widths = [each + over // len(row) for each in widths]
            widths[-1] += over % len(row)
        return widths


def height_of(item: QLayoutItem, width: int) -> int:
    """What an item needs at this width."""
    return item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
