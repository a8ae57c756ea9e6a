"""All knobs and switches, in titled sections: as large as lets all of them be seen at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from rtae.params import MACROS, PARAMETERS, Parameter

from ..theme import SPACE
from .cell import HEIGHT, LEAST, MOST, WIDTH
from .flow import FlowLayout
from .knob import Knob
from .switch import SwitchButton

# What belongs together, in reading order. A parameter that is not in the table yet is skipped.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Macros": tuple(f"macro_{number}" for number in range(1, MACROS + 1)),
    "Noise": ("noise_amount", "noise_share", "noise_speed", "noise_seed", "random_mix", "gain_noise"),
    "Dream": ("dream_temperature", "dream_seed"),
    "Time": ("freeze", "freeze_length", "blur", "echo", "echo_time"),
    "Shape": ("latent_scale", "quantise", "drop", "permute"),
    "Output": ("mix", "bypass", "difference", "match", "input_gain", "output_gain", "ceiling"),
    "Blend": ("interpolation",),
}
MAP = ("map_x", "map_y", "map_pull")  # these are moved on the latent map
# Where the title of the section says the rest.
LABELS = {"noise_share": "Share", "noise_speed": "Speed", "dream_temperature": "Temperature", "dream_seed": "Seed"}
REST = "More"  # the section of whatever is in no group
GAP = 6  # between sections, and around all of them
PADDING = 6  # of a section, left and right
TALLEST = 1.6  # of a cell, as a share of its width


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
        self.sections: list[Section] = []
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        page = QWidget()
        flow = FlowLayout(page, space=GAP, fill=True)
        flow.setContentsMargins(GAP, GAP, GAP, GAP)
        for title, parameters in grouped(PARAMETERS).items():
            self.sections.append(self._section(title, parameters))
            flow.addWidget(self.sections[-1])
        self.setWidget(page)
        self.setMinimumWidth(LEAST.width() + 2 * (GAP + PADDING + 1) + self.verticalScrollBar().sizeHint().width())

    def set_values(self, values: Mapping[str, float]) -> None:
        """Shows the values of a snapshot; emits nothing."""
        for name, knob in self.knobs.items():
            knob.set_value(values[name])

    def sizeHint(self) -> QSize:
        """Wide enough for the longest section and one more knob."""
        return QSize(10 * WIDTH, 5 * HEIGHT)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The knobs grow and shrink with the room there is."""
        super().resizeEvent(event)
        room = self.maximumViewportSize()
        counts = [section.flow.count() for section in self.sections]
        size, fits = cell_size(counts, room, self.sections[0].chrome())
        for knob in self.knobs.values():
            knob.set_size(size)
        # Else a bar that was needed before takes the width without which it is needed.
        policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOff if fits else Qt.ScrollBarPolicy.ScrollBarAsNeeded
        if policy != self.verticalScrollBarPolicy():
            self.setVerticalScrollBarPolicy(policy)

    def _section(self, title: str, parameters: tuple[Parameter, ...]) -> Section:
        section = Section(title)
        for parameter in parameters:
            kind = SwitchButton if parameter.curve == "switch" else Knob
            knob = kind(parameter, section)
            knob.set_label(LABELS.get(parameter.id, parameter.label))
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


@dataclass(frozen=True)
class Chrome:
    """What a section needs besides its cells, in pixels."""

    width: int
    height: int


def cell_size(counts: Sequence[int], room: QSize, chrome: Chrome) -> tuple[QSize, bool]:
    """The size of cells with which all sections fit into a room without scrolling, as large as can be; if there is one.

    Rows that are less than half full, and look torn, count for less. counts: cells of each section. Where even the
    smallest do not fit, it is the size of a cell in comfort, as far as the width has room for one; then it scrolls.
    """
    best, found = 0.0, QSize(max(LEAST.width(), min(WIDTH, room.width() - 2 * GAP - chrome.width)), HEIGHT)
    for width in range(MOST.width(), LEAST.width() - 1, -1):
        rows = rows_of(counts, width, room.width() - 2 * GAP, chrome.width)
        lines, cells = sum(row.lines for row in rows), [row.cells for row in rows]
        height = (room.height() - 2 * GAP - (len(rows) - 1) * GAP - len(rows) * chrome.height) // lines
        score = min(width / WIDTH, height / HEIGHT) * min(1.0, 2 * min(cells) / max(cells))
        if height >= LEAST.height() and score > best:
            best, found = score, QSize(width, min(height, MOST.height(), round(TALLEST * width)))
    return found, best > 0


@dataclass
class Row:
    """Sections side by side: how many cells they have, and in how many lines below each other."""

    cells: int
    lines: int


def rows_of(counts: Sequence[int], width: int, room: int, chrome: int) -> list[Row]:
    """Rows of sections, as `FlowLayout` puts them into a room of that width.

    >>> rows_of([8, 6, 2], 70, 600, 10)
    [Row(cells=8, lines=1), Row(cells=8, lines=1)]
    """
    rows: list[Row] = []
    left = 0
    for count in counts:
        needed = count * width + chrome
        lines = math.ceil(count / max(1, (room - chrome) // width))
        if rows and needed <= left:
            rows[-1] = Row(rows[-1].cells + count, max(rows[-1].lines, lines))
            left -= needed + GAP
        else:
            rows.append(Row(count, lines))
            left = room - needed - GAP
    return rows


class Section(QFrame):
    """A title over knobs; as wide as all of them in one row, if there is room."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "section")
        self.setAccessibleName(title)
        self.title = QLabel(title)
        self.title.setProperty("role", "title")
        self.title.setIndent(SPACE // 2)
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(PADDING, SPACE // 2, PADDING, SPACE // 4)
        self.rows.setSpacing(0)
        self.rows.addWidget(self.title)
        self.flow = FlowLayout(fill=True, even=True)
        self.rows.addLayout(self.flow)
        self.rows.addStretch()

    def add(self, widget: QWidget) -> None:
        """One more at the end, in the middle of its share of the row."""
        self.flow.addWidget(widget)
        self.flow.itemAt(self.flow.count() - 1).setAlignment(Qt.AlignmentFlag.AlignHCenter)

    def chrome(self) -> Chrome:
        """The title, margins and edges."""
        margins, edges = self.rows.contentsMargins(), 2  # of one pixel each, by the style sheet
        return Chrome(
            margins.left() + margins.right() + edges,
            margins.top() + margins.bottom() + self.title.sizeHint().height() + edges,
        )
