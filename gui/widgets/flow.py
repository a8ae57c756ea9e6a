"""A layout that flows like words: left to right, in as many rows as it takes."""

from __future__ import annotations

import math

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget


class FlowLayout(QLayout):
    """Left to right in as many rows as it takes, like words.

    space: between things, in pixels. fill: what stands in a row shares the room that is left, in proportion to what
    each wants, so that both edges are straight. even: things are of one size, and stand in rows of one length, but for
    the last.
    """

    def __init__(self, parent: QWidget | None = None, space: int = 0, fill: bool = False, even: bool = False) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(space)
        self.fill, self.even = fill, even
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
        rows = self._rows(rect.width())
        for row in rows:
            widths = self._widths(row, rect.width(), len(rows[0]))
            height = max(height_of(item, width) for item, width in zip(row, widths, strict=True))
            x = rect.x()
            for item, width in zip(row, widths, strict=True):
                if move:
                    item.setGeometry(QRect(QPoint(x, y), QSize(width, height)))
                x += width + self.spacing()
            y += height + self.spacing()
        return max(0, y - rect.y() - self.spacing())

    def _rows(self, width: int) -> list[list[QLayoutItem]]:
        """As few as possible."""
        rows = self._wrapped(width, len(self.items))
        return self._wrapped(width, math.ceil(len(self.items) / len(rows))) if self.even and rows else rows

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

    def _widths(self, row: list[QLayoutItem], width: int, columns: int) -> list[int]:
        """columns: things in the first row, with which those below stand in line if all are of one size."""
        widths = [min(item.sizeHint().width(), width) for item in row]
        if not self.fill:
            return widths
        wanted = widths if not self.even else widths + widths[:1] * (columns - len(row))
        over = width - sum(wanted) - self.spacing() * (len(wanted) - 1)
        edges = [over * sum(wanted[:place]) // sum(wanted) for place in range(len(wanted) + 1)]
        return [each + edges[place + 1] - edges[place] for place, each in enumerate(widths)]


def height_of(item: QLayoutItem, width: int) -> int:
    """What an item needs at this width."""
    return item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
