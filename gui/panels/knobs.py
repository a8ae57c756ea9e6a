"""All knobs, and what is done with them together: presets, chance, undo, two snapshots and the way between them."""

from __future__ import annotations

import random
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from rtae.params import Snapshot
from rtae.presets import listing, named

from ..controller import Controller
from ..theme import SPACE
from ..widgets.buttons import IconButton
from ..widgets.knob_panel import GROUPS, KnobPanel

MORPH_STEPS = 1000
CHANGED = "As you turned them"
PLAIN = "Plain (all at their defaults)"


class KnobsPanel(QWidget):
    """The knobs, with a bar above them.

    learn_requested, forget_requested: of a knob, for a MIDI controller. saved: there is a preset more.
    """

    learn_requested = Signal(str)
    forget_requested = Signal(str)
    saved = Signal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.panel = KnobPanel()
        self.preset = QComboBox()
        self.preset.setAccessibleName("Preset")
        self.preset.setToolTip("Presets: all knobs at once")
        self.save = QPushButton("Save...")
        self.save.setToolTip("Keep the knobs as a preset of your own")
        self.undo = IconButton("undo", "Undo", keys="Ctrl+Z")
        self.redo = IconButton("redo", "Redo", keys="Ctrl+Shift+Z")
        self.dice = IconButton("dice", "Move the knobs by chance", keys="D")
        self.amount = slider("How far chance moves them", 30, 100)
        self.store_a, self.store_b = (QPushButton(f"Keep {slot}") for slot in "AB")
        for button in (self.save, self.store_a, self.store_b):
            button.setAutoDefault(True)  # Enter presses it, as Space plays the song in the whole window
        self.morph = slider("Morph from snapshot A to B", 0, MORPH_STEPS)
        self.morph.setEnabled(False)
        for button, slot in ((self.store_a, "A"), (self.store_b, "B")):
            button.setToolTip(f"Keep the knobs as snapshot {slot}; the slider between morphs from A to B")
        for button in (self.save, self.store_a, self.store_b):
            button.setProperty("role", "slim")
        self._lay_out()
        self._connect()
        self.place = 0  # in the list, of the preset that was chosen last
        self.loading = False  # a preset moves the knobs, and nobody else
        self.preset.setPlaceholderText(CHANGED)
        self.list_presets()
        self._history()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(SPACE, SPACE // 2, SPACE, 0)
        head.setSpacing(SPACE // 2)
        head.addWidget(self.preset, 4)
        for widget in (self.save, self.undo, self.redo):
            head.addWidget(widget)
        head.addSpacing(SPACE)
        head.addWidget(self.dice)
        head.addWidget(self.amount, 1)
        head.addSpacing(SPACE)
        head.addWidget(self.store_a)
        head.addWidget(self.morph, 2)
        head.addWidget(self.store_b)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self.panel, 1)

    def _connect(self) -> None:
        ask, knobs = self.controller, self.controller.knobs
        self.panel.value_changed.connect(ask.set)
        self.panel.gesture_began.connect(lambda _: knobs.begin())
        self.panel.gesture_ended.connect(lambda _: self._gesture_ended())
        self.panel.learn_requested.connect(self.learn_requested)
        self.panel.forget_requested.connect(self.forget_requested)
        self.undo.clicked.connect(lambda: knobs.undo())
        self.redo.clicked.connect(lambda: knobs.redo())
        self.dice.clicked.connect(self.roll)
        self.store_a.clicked.connect(partial(self._store, "A"))
        self.store_b.clicked.connect(partial(self._store, "B"))
        self.morph.sliderPressed.connect(knobs.begin)
        self.morph.sliderReleased.connect(self._gesture_ended)
        self.morph.valueChanged.connect(lambda place: ask.attempt(lambda: knobs.morph(place / MORPH_STEPS)))
        self.preset.activated.connect(self._choose)
        self.save.clicked.connect(self._save)
        ask.knobs_changed.connect(self._moved)
        ask.setup_changed.connect(self._model)

    def _moved(self, ids: tuple[str, ...]) -> None:
        values = self.controller.knobs.values
        for id in ids:
            if id in self.panel.knobs:
                self.panel.knobs[id].set_value(values[id])
        self._history()
        if self.preset.currentIndex() >= 0 and not self.loading:
            self.preset.setCurrentIndex(-1)  # it is not that preset any more

    def _model(self) -> None:
        reason = self.controller.why_no_dream()
        for id in GROUPS["Dream"]:
            if self.panel.knobs[id].reason != reason:
                self.panel.knobs[id].set_reason(reason)

    def _gesture_ended(self) -> None:
        self.controller.knobs.end()
        self._history()

    def _history(self) -> None:
        self.undo.setEnabled(self.controller.knobs.can_undo)
        self.redo.setEnabled(self.controller.knobs.can_redo)

    def roll(self) -> None:
        """Chance."""
        amount, seed = self.amount.value() / 100, random.randrange(1 << 31)  # noqa: S311 - not for secrets
        self.controller.attempt(lambda: self.controller.knobs.randomise(amount, seed))

    def _store(self, slot: str) -> None:
        knobs = self.controller.knobs
        knobs.store(slot)
        both = knobs.stored("A") is not None and knobs.stored("B") is not None
        self.morph.setEnabled(both)
        self.morph.blockSignals(True)
        self.morph.setValue(0 if slot == "A" else MORPH_STEPS)
        self.morph.blockSignals(False)
        self.controller.notice.emit(f"Snapshot {slot} is kept" + ("; the slider morphs between A and B" * both), False)

    # -- presets -------------------------------------------------------------------------------------------------------
    def list_presets(self, current: str = "") -> None:
        """Factory's and the user's own."""
        entries, problems = listing()
        self.preset.clear()
        self.preset.addItem(PLAIN, "")
        for entry in entries:
            self.preset.addItem(entry.preset.name, entry.preset.name)
            tip = entry.preset.description
            self.preset.setItemData(self.preset.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.place = max(0, self.preset.findData(current))
        self.preset.setCurrentIndex(self.place)
        for problem in problems:
            self.controller.notice.emit(problem, True)

    def _choose(self, place: int) -> None:
        self.choose(self.preset.itemData(place))

    def choose(self, name: str) -> None:
        """A preset by name; "" is plain."""
        self.loading = True
        if name:
            self.controller.attempt(lambda: self.controller.load_preset(named(name)))
        else:
            self.controller.knobs.load(Snapshot())
        self.loading = False
        self.place = max(0, self.preset.findData(name))
        self.preset.setCurrentIndex(self.place)

    def step(self, step: int) -> None:
        """The next or previous preset, from the one that was chosen last."""
        self.choose(self.preset.itemData((self.place + step) % self.preset.count()))

    def _save(self) -> None:
        name, good = QInputDialog.getText(self, "Save a preset", "Name:")
        if good and name.strip() and self.controller.save_preset(name.strip()) is not None:
            self.list_presets(name.strip())
            self.saved.emit()


def slider(name: str, value: int, most: int) -> QSlider:
    """A horizontal one."""
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(0, most)
    made.setValue(value)
    made.setToolTip(name)
    made.setAccessibleName(name)
    return made


def dim(text: str) -> QLabel:
    """A quiet label."""
    label = QLabel(text)
    label.setProperty("role", "dim")
    return label
