"""Dialogs: the sound device, and the sheet of keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid

from rtae.audio.stream import lasting_name
from rtae.setup import MODES, Setup

from .controller import SILENT, Controller
from .theme import SPACE

DEFAULT, NONE = "The system's default", "None: in silence, by the clock"
MODE_WORDS = {"relaxed": "Relaxed: safe, for songs", "live": "Live: quick, for a microphone or an instrument"}


class DeviceDialog(QDialog):
    """Where the sound comes from and goes to, in plain words."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.setWindowTitle("Sound device")
        setup = controller.setup
        self.output, self.input, self.mode = QComboBox(), QComboBox(), QComboBox()
        for name, words in MODE_WORDS.items():
            self.mode.addItem(words, name)
        self.mode.setCurrentIndex(list(MODE_WORDS).index(setup.mode))
        self.hop = QSpinBox()
        self.hop.setRange(0, 16_384)
        self.hop.setSingleStep(240)
        self.hop.setSpecialValueText("The smallest that this machine keeps up with")
        self.hop.setSuffix(" samples")
        self.hop.setValue(setup.hop)
        self.hop.lineEdit().setTextMargins(SPACE // 2, 0, 0, 0)  # the style sheet's padding does not reach it
        self.hop.setToolTip("New samples per call of the model: fewer mean less delay and more work. 0 measures it.")
        self.follow = QCheckBox("Go on with the default device if this one goes away")
        self.follow.setChecked(setup.follow_default)
        self.guard = QCheckBox("Turn the output down when the microphone hears the loudspeakers")
        self.guard.setChecked(setup.guard)
        self.tone, self.rescan = QPushButton("Play a test tone"), QPushButton("Look for devices again")
        self.words = QLabel("")
        self.words.setWordWrap(True)
        self.words.setProperty("role", "dim")
        form = QFormLayout()
        form.setSpacing(SPACE)
        for label, widget in (
            ("Output", self.output),
            ("Input", self.input),
            ("Mode", self.mode),
            ("Hop", self.hop),
            ("", self.follow),
            ("", self.guard),
        ):
            form.addRow(label, widget)
        tries = QHBoxLayout()
        tries.addWidget(self.tone)
        tries.addWidget(self.rescan)
        form.addRow("", tries)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Apply | QDialogButtonBox.StandardButton.Close, parent=self
        )
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.words)
        column.addWidget(buttons)
        self.setMinimumWidth(520)
        buttons.button(QDialogButtonBox.StandardButton.Apply).setDefault(True)
        buttons.button(QDialogButtonBox.StandardButton.Apply).clicked.connect(self.apply)
        buttons.rejected.connect(self.reject)
        self.tone.clicked.connect(controller.test_tone)
        self.rescan.clicked.connect(self.look)
        controller.setup_changed.connect(self._facts)
        self.fill([])
        self._facts()
        self.look()

    def look(self) -> None:
        """Ask for the devices; new ones are found only while none is open, so what plays is interrupted for that."""
        self.controller.ask("devices", done=self.fill)

    def fill(self, found: list[Any]) -> None:
        """Devices to choose from; they may be known only after the dialog was closed."""
        if not isValid(self):
            return
        setup = self.controller.setup
        for box, kind, chosen in ((self.output, "output", setup.output), (self.input, "input", setup.input)):
            box.clear()
            box.addItem(DEFAULT, None)
            for device in found:
                if device.serves(kind):
                    mark = "  (default)" if device.is_default(kind) else ""
                    box.addItem(f"{device.name}  [{device.host}, {device.rate} Hz]{mark}", lasting_name(device, found))
            if kind == "output":
                box.addItem(NONE, SILENT)
            place = box.findData(chosen)
            if place < 0:
                box.addItem(str(chosen), chosen)
                place = box.count() - 1
            box.setCurrentIndex(place)

    def wanted(self) -> Setup:
        """The setup as the dialog stands."""
        return replace(
            self.controller.setup,
            output=self.output.currentData(),
            input=self.input.currentData(),
            mode=self.mode.currentData(),
            hop=self.hop.value(),
            follow_default=self.follow.isChecked(),
            guard=self.guard.isChecked(),
            position=self.controller.status().position,
        )

    def apply(self) -> None:
        """Open what was chosen."""
        self.controller.configure(self.wanted())

    def _facts(self) -> None:
        facts = self.controller.facts
        if facts:
            total = 1000 * sum(facts["latency"].values()) / facts["rate"]
            _, latency, lead = MODES[self.controller.setup.mode]
            self.words.setText(
                f"Now: {facts['device']}, {facts['rate']} Hz, {facts['channels']} channels, "
                f"blocks of {facts['block']}, hops of {facts['hop']}; "
                f"{total:.0f} ms from the source to the loudspeaker. This mode asks for a device buffer "
                f"of {1000 * latency:.0f} ms and keeps {1000 * lead:.0f} ms ready."
            )


class KeysDialog(QDialog):
    """What the keys and the mouse do."""

    MOUSE = (
        ("Drag a knob", "turn it; with Shift ten times finer"),
        ("Wheel over a knob", "turn it by a fiftieth; with Shift finer"),
        ("Double-click a knob", "back to its default"),
        ("Ctrl+click or Enter on a knob", "type a value"),
        ("Right-click a knob", "MIDI learn"),
        ("Click the song", "go there; drag to loop a part"),
        ("Click the map", "pull the sound there; double-click lets go"),
        ("Drop a song on the window", "play it; a model's folder: import it"),
        ("Tab, then Enter", "from one control to the next; press it"),
        ("Arrows on a knob", "turn it; with Shift finer; Home resets"),
        ("Arrows on the song", "5 s back or on; with Shift loop a part, Esc ends it"),
        ("Arrows on the map", "move the place; Esc lets go"),
    )

    def __init__(self, keys: list[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys and mouse")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, parent=self)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setSpacing(2 * SPACE)
        for title, rows, side_by_side in (("Keys", keys, 3), ("Mouse", self.MOUSE, 2)):
            head = QLabel(title)
            head.setProperty("role", "title")
            column.addWidget(head)
            column.addLayout(self._sheet(rows, side_by_side))
        column.addWidget(buttons)

    @staticmethod
    def _sheet(rows: Sequence[tuple[str, str]], side_by_side: int) -> QGridLayout:
        """What is pressed, and what it does, in so many columns."""
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * SPACE)
        high = -(-len(rows) // side_by_side)
        for place, (key, words) in enumerate(rows):
            across, down = divmod(place, high)
            grid.addWidget(QLabel(key), down, 2 * across)
            does = QLabel(words)
            does.setProperty("role", "dim")
            grid.addWidget(does, down, 2 * across + 1)
            grid.setColumnStretch(2 * across + 1, 1)
        return grid
