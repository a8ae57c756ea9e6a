"""The live pictures: waves, spectrograms and latents, one above the other."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from ..pictures.heatmap import LatentHeatmap
from ..pictures.scope import Scope
from ..pictures.spectrogram import Spectrograms
from ..theme import SPACE


class PicturesPanel(QWidget):
    """Scope, spectrograms and heat map, whose shares of the height can be dragged."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scope = Scope()
        self.spectrograms = Spectrograms()
        self.heatmap = LatentHeatmap()
        splitter = QSplitter(Qt.Orientation.Vertical)
        for widget, share in ((self.scope, 3), (self.spectrograms, 5), (self.heatmap, 3)):
            splitter.addWidget(widget)
            splitter.setStretchFactor(splitter.count() - 1, share)
        splitter.setChildrenCollapsible(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        column.addWidget(splitter)
        self.splitter = splitter

    def reset(self) -> None:
        """For another rate or model."""
        self.spectrograms.reset()
        self.heatmap.reset()
