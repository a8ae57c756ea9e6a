"""A figure over the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from ..theme import DIM, LINE, PANEL

CURVE_HEIGHT = 150


class Curve(QWidget):
    """One figure over the steps of the training."""

    def __init__(self, title: str, colour: str, dots: bool = False) -> None:
        super().__init__()
        self.title, self.colour, self.dots = title, colour, dots
        self.line: Any = None
        label = QLabel(title)
        label.setProperty("role", "dim")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(2)
        self.column.addWidget(label)

    def _plot(self) -> Any:
        """The line in a plot. Only a training needs pyqtgraph, which is long to load: a third of a start."""
        import pyqtgraph as pg

        plot = pg.PlotWidget(background=PANEL)
        plot.setFixedHeight(CURVE_HEIGHT)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # the wheel scrolls the panel
        for side in ("left", "bottom"):
            plot.getAxis(side).setTextPen(DIM)
            plot.getAxis(side).setPen(LINE)
        plot.showGrid(y=True, alpha=0.15)
        symbol = {"symbol": "o", "symbolSize": 5, "symbolBrush": self.colour, "symbolPen": None} if self.dots else {}
        self.column.addWidget(plot)
        return plot.plot(pen=pg.mkPen(self.colour, width=1.5), antialias=True, **symbol)

    def show_points(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Draw it; hidden while there is nothing."""
        self.setVisible(len(steps) > 0)
        if len(steps):
            if self.line is None:
                self.line = self._plot()
            self.line.setData(list(steps), list(values))
            self.setAccessibleName(f"{self.title}: {values[-1]:.3f} at step {steps[-1]}")
