"""Spectrograms of the last seconds, of input and output."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QRect
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ..theme import BACKGROUND, SECOND, TEXT, WET
from .envelope import FLOOR_DB, HIGHEST_HZ, LOWEST_HZ, FloatArray, SpectrumColumns
from .picture import Picture, ScrollingImage, ramp

COLUMNS, ROWS = 512, 160
LABELS = ((1000.0, "1k"), (200.0, "200"), (5000.0, "5k"), (50.0, "50"))  # Hz; the most wanted first


class SpectrogramView(Picture):
    """How loud each frequency is, -80 to 0 dB from dark to bright, newest at the right."""

    def __init__(self, title: str, seconds: float = 4.0, time_axis: bool = True, parent: QWidget | None = None) -> None:
        tip = f"Which frequencies are in the {title}, in Hz: the brighter, the louder. Newest at the right."
        super().__init__(f"Spectrogram of the {title}", tip, parent)
        self.title, self.seconds = title, seconds
        self.below = time_axis
        self._colors = ramp(BACKGROUND, SECOND, WET, TEXT, even=True)
        self._rate = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._source: SpectrumColumns | None = None
        self.image = ScrollingImage(ROWS, COLUMNS, int(self._colors[0]))
        self.update()

    def feed(self, samples: FloatArray, rate: float) -> None:
        """New samples, (n,), each once. Another rate starts anew."""
        if self._source is None or rate != self._rate:
            self.reset()
            self._rate = rate
            self._source = SpectrumColumns(rate, max(1, round(rate * self.seconds / COLUMNS)), ROWS)
        levels = self._source.feed(samples, COLUMNS)
        if levels.shape[1]:
            shares = 1 - levels / FLOOR_DB
            self.image.push(self._colors[np.rint(shares * (len(self._colors) - 1)).astype(np.uint8)])
            self.update(self.area())

    def height_of(self, frequency_hz: float, area: QRect) -> float:
        """Where a frequency is drawn, in the widget's coordinates: the middle of its row."""
        row = math.log(frequency_hz / LOWEST_HZ) / math.log(HIGHEST_HZ / LOWEST_HZ) * (ROWS - 1)
        return area.top() + area.height() * (1 - (row + 0.5) / ROWS)

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """Frequencies, seconds and the title."""
        self.draw_title(painter, area, self.title)
        self.draw_side(painter, area, [(self.height_of(frequency, area), text) for frequency, text in LABELS])
        self.draw_time(painter, area, self.seconds)

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The image, smoothed unless its cells are small beside it: no row may vanish where pixels are few."""
        self.image.draw(painter, area, smooth=area.height() * self.devicePixelRatio() < 2 * ROWS)


class Spectrograms(QWidget):
    """Input above output, on the same scales."""

    def __init__(self, seconds: float = 4.0, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Spectrograms")
        self.dry = SpectrogramView("input", seconds, time_axis=False)
        self.wet = SpectrogramView("output", seconds)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.dry)
        layout.addWidget(self.wet)

    def feed(self, dry: FloatArray, wet: FloatArray, rate: float) -> None:
        """New samples of input and output, each once."""
        self.dry.feed(dry, rate)
        self.wet.feed(wet, rate)

    def reset(self) -> None:
        """Forget everything."""
        self.dry.reset()
        self.wet.reset()
