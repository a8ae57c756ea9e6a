"""The latent map: where the music is in two principal components; a click pulls it elsewhere."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from rtae.params import TABLE

from ..controller import Controller
from ..pictures.latent_map import LatentMap
from ..theme import SPACE
from .knobs import dim, slider

STEPS = 100
FIRST_PULL = 0.7  # when a place is chosen while nothing pulls


class MapPanel(QWidget):
    """The map, and how firmly it pulls."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.map = LatentMap()
        self.pull = slider(TABLE["map_pull"].help, 0, STEPS)
        self.words = QLabel("")
        self.words.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(dim("Pull"))
        row.addWidget(self.pull, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        column.addWidget(self.map, 1)
        column.addLayout(row)
        column.addWidget(self.words)
        self.map.place_chosen.connect(self._go)
        self.map.place_cleared.connect(lambda: controller.set("map_pull", 0.0))
        self.pull.valueChanged.connect(lambda place: controller.set("map_pull", place / STEPS))
        controller.knobs_changed.connect(self._moved)
        controller.setup_changed.connect(self._model)

    def _go(self, x: float, y: float) -> None:
        knobs = self.controller.knobs
        pull = knobs.values["map_pull"] or FIRST_PULL
        self.controller.attempt(lambda: knobs.update({"map_x": x, "map_y": y, "map_pull": pull}))

    def _moved(self, ids: tuple[str, ...]) -> None:
        if not {"map_x", "map_y", "map_pull"} & set(ids):
            return
        values = self.controller.knobs.values
        self.pull.blockSignals(True)
        self.pull.setValue(round(values["map_pull"] * STEPS))
        self.pull.blockSignals(False)
        if values["map_pull"] > 0:
            self.map.set_target(values["map_x"], values["map_y"], values["map_pull"])
        else:
            self.map.clear_target()

    def _model(self) -> None:
        spec = self.controller.spec
        known = spec is not None and bool(spec.components)
        self.words.setText(
            "Each dot is a moment of the music. Click to pull it there; double-click lets go."
            if known
            else "This model has no map: it was exported without principal components. Export it again to have one."
        )
