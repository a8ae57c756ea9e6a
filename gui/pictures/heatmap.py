"""The latents of the last seconds as a heat map, one row per dimension."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QRect
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from ..theme import BACKGROUND, WARM, WET
from .envelope import FloatArray, LatentColumns
from .picture import MINUS, Picture, ScrollingImage, ramp

MOST_COLUMNS = 512
LARGEST = 3.0  # latents have unit variance: what is beyond is rare, and shown like it
COLORS = 255  # odd, so that zero has a colour of its own


class LatentHeatmap(Picture):
    """Latents from -3 to 3: orange below zero, dark at zero, teal above; dimension 0 at the bottom."""

    def __init__(self, seconds: float = 4.0, parent: QWidget | None = None) -> None:
        tip = (
            "The latents, one row per dimension, newest at the right: dark at zero, "
            f"teal up to +{LARGEST:g}, orange down to {MINUS}{LARGEST:g}."
        )
        super().__init__("Latents", tip, parent)
        self.seconds = seconds
        self._colors = ramp(WARM, BACKGROUND, WET, count=COLORS)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._rate = 0.0
        self._source: LatentColumns | None = None
        self.image = ScrollingImage(0, 0, 0)
        self.redraw_all()

    def feed(self, frames: FloatArray, frame_rate: float) -> None:
        """New frames, (dims, n), each once. Another number of dimensions, or frames per second, starts anew."""
        if len(frames) != self.dims or frame_rate != self._rate:
            self._start(len(frames), frame_rate)
        if self._source is None:
            return
        values = np.clip(self._source.feed(frames) / LARGEST, -1, 1)
        if values.shape[1]:
            self.image.push(self._colors[np.rint((values + 1) / 2 * (COLORS - 1)).astype(np.uint8)])
            self.update(self.area())

    @property
    def dims(self) -> int:
        """Dimensions shown."""
        return len(self.image.pixels)

    def _start(self, dims: int, frame_rate: float) -> None:
        self.reset()
        self._rate = frame_rate
        if dims:
            per_column = max(1, math.ceil(frame_rate * self.seconds / MOST_COLUMNS))
            columns = max(1, round(frame_rate * self.seconds / per_column))
            self._source = LatentColumns(dims, per_column)
            self.image = ScrollingImage(dims, columns, int(self._colors[COLORS // 2]))

    def paint_backdrop(self, painter: QPainter, area: QRect) -> None:
        """Dimensions, every 1st, 2nd, 4th ... as there is room, and seconds."""
        self.draw_title(painter, area, "latents")
        self.draw_time(painter, area, self.seconds)
        if self.dims:
            row = area.height() / self.dims
            steps = (2**power for power in range(12))
            step = next(step for step in steps if step * row >= self.line_height() or step >= self.dims)
            self.draw_side(
                painter, area, [(area.bottom() + 1 - (dim + 0.5) * row, str(dim)) for dim in range(0, self.dims, step)]
            )

    def paint_live(self, painter: QPainter, area: QRect) -> None:
        """The image, in sharp cells; smoothed only where there are fewer pixels than rows."""
        if self.dims:
            self.image.draw(painter, area, smooth=area.height() * self.devicePixelRatio() < self.dims)
