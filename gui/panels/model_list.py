"""The list of models: what their files say in short, and which one plays."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QKeyEvent, QPainter
from PySide6.QtWidgets import QApplication, QListWidget, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from rtae.errors import ModelError
from rtae.models.catalogue import available, user_folder
from rtae.spec import CARD_FILE, ModelSpec

from ..theme import BACKGROUND, DIM, FAINT, SPACE, TEXT, WET
from ..widgets.buttons import GRID, icon_path

LONGEST_CARD = 1 << 16  # characters that are shown
ENTRY_ROLE = Qt.ItemDataRole.UserRole
PLAYS_ROLE = Qt.ItemDataRole.UserRole + 1
NO_CARD = "*This model has no card.*"


@dataclass(frozen=True)
class Entry:
    """One model of the list. own: the user's, not the program's. problem: why it cannot be used, or nothing."""

    name: str
    folder: Path
    own: bool
    spec: ModelSpec | None
    problem: str
    card: str

    @property
    def line(self) -> str:
        """What stands below the name."""
        origin = "yours" if self.own else "shipped"
        if self.spec is None:
            return f"not usable  ·  {origin}"
        quality = self.spec.training.get("si_sdr_db")
        figures = [f"{self.spec.latent_dim} × {self.spec.frame_rate:.0f} a second"]
        if isinstance(quality, int | float):
            figures.append(f"{quality:.1f} dB")
        return "  ·  ".join([*figures, origin])


def listing() -> list[Entry]:
    """All models, with what their files say."""
    return [look_at(name, folder) for name, folder in available().items()]


def look_at(name: str, folder: Path) -> Entry:
    """One model, usable or not."""
    own = folder.parent == user_folder()
    try:
        return Entry(name, folder, own, ModelSpec.load(folder), "", read_card(folder))
    except ModelError as error:
        return Entry(name, folder, own, None, str(error), "")


def read_card(folder: Path) -> str:
    """The card, or words in place of it."""
    path = folder / CARD_FILE
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return NO_CARD
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(LONGEST_CARD + 1)
    except OSError:
        return NO_CARD
    return text if len(text) <= LONGEST_CARD else f"{text[:LONGEST_CARD]}\n\n*The rest is left out.*"


class Lines(QStyledItemDelegate):
    """A model in two lines: its name, and figures; a mark on the right if it plays."""

    MARK = 14

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        """Two lines and some air."""
        height = option.fontMetrics.height()
        return QSize(120, round(2.0 * height + 2.2 * SPACE))

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """The style draws what lies behind."""
        shown = QStyleOptionViewItem(option)
        self.initStyleOption(shown, index)
        shown.text = ""
        QApplication.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, shown, painter, shown.widget)
        entry: Entry = index.data(ENTRY_ROLE)
        selected = bool(shown.state & QStyle.StateFlag.State_Selected)
        active = bool(shown.state & QStyle.StateFlag.State_Active)
        ink = (BACKGROUND if active else "#ffffff") if selected else TEXT if entry.spec else FAINT
        pale = ink if selected else DIM if entry.spec else FAINT
        area = shown.rect.adjusted(SPACE + 2, SPACE, -SPACE - 2, -SPACE)
        painter.save()
        if index.data(PLAYS_ROLE):
            self._mark(painter, area, ink if selected else WET)
        area.setRight(area.right() - self.MARK - SPACE)
        bold = QFont(shown.font)
        bold.setBold(True)
        top = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        bottom = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
        for font, colour, place, text in ((bold, ink, top, entry.name), (shown.font, pale, bottom, entry.line)):
            painter.setFont(font)
            painter.setPen(QColor(colour))
            fitting = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, area.width())
            painter.drawText(area, place, fitting)
        painter.restore()

    def _mark(self, painter: QPainter, area: QRect, colour: str) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(area.right() - self.MARK, area.center().y() - self.MARK / 2)
        painter.scale(self.MARK / GRID, self.MARK / GRID)
        painter.fillPath(icon_path("play"), QColor(colour))
        painter.restore()


class ModelList(QListWidget):
    """Enter plays, as a double click does."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """On some systems Enter would mean to rename."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentItem() is not None:
            self.itemDoubleClicked.emit(self.currentItem())
        else:
            super().keyPressEvent(event)
