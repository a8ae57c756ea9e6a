"""The models: those that come with the program and the user's own, what their cards say, and the way in and out."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QLabel,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from rtae.models.catalogue import import_model, remove_model, user_folder
from rtae.spec import SPEC_FILE

from ..tasks import Tasks
from ..theme import SPACE
from ..widgets.flow import FlowLayout
from .model_card import Card, figure, figures
from .model_list import ENTRY_ROLE, PLAYS_ROLE, Entry, Lines, ModelList, listing

WIDE = 640  # from so many pixels on the card stands beside the list
LIST_WIDTH, LIST_HEIGHT = 300, 190  # of the list, beside the card or above it
WELCOME = "Choose a model, or drop a model's folder here to import it."


def key(path: Path | str) -> str:
    """The same for all ways to write a folder."""
    return str(Path(path).resolve())


class ModelsPanel(QWidget):
    """model_chosen: the folder of the model to play. listed: the list is up to date."""

    model_chosen = Signal(str)
    listed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tasks = Tasks(self)
        self.entries: list[Entry] = []
        self.current = self.wanted = self.selected = ""  # what plays, what was chosen last, and what the card is of
        self.setAcceptDrops(True)
        self.list = ModelList()
        self.list.setItemDelegate(Lines(self.list))
        self.list.setAccessibleName("Models")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.card = Card()
        self.figures = QWidget()
        self.notice = QLabel(WELCOME)
        self.notice.setWordWrap(True)
        self.notice.setTextFormat(Qt.TextFormat.PlainText)
        self.notice.setAccessibleName("What happened last")
        self.notice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.play = QPushButton("Play this")
        self.add = QPushButton("Import...")
        self.away = QPushButton("Remove")
        self.again = QPushButton("Refresh")
        self.play.setToolTip("Play the sound through this model (Enter, or a double click)")
        self.add.setToolTip("Copy a model's folder to your own models, after a check; or drop it here")
        self.away.setToolTip("Move this model, if it is your own, into a folder of removed ones")
        self.again.setToolTip("Look again which models there are")
        self._lay_out()
        self._connect()
        self._say(WELCOME)
        self._show(None)
        self.refresh()

    def _lay_out(self) -> None:
        beside = QWidget()
        self.right = QVBoxLayout(beside)
        self.right.setContentsMargins(0, SPACE // 2, 0, 0)
        self.right.setSpacing(SPACE)
        FlowLayout(self.figures, space=SPACE)
        self.right.addWidget(self.figures)
        self.right.addWidget(self.card, 1)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.list)
        self.splitter.addWidget(beside)
        self.splitter.setSizes([LIST_HEIGHT, 2 * LIST_HEIGHT])
        self.list.setMinimumSize(160, 96)
        self.card.setMinimumSize(160, 96)
        buttons = QWidget()
        flow = FlowLayout(buttons, space=SPACE, fill=True)
        for button in (self.play, self.add, self.away, self.again):
            button.setAutoDefault(True)  # Enter presses it, as Space plays the song in the whole window
            flow.addWidget(button)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        for widget in (self.figures, buttons):
            widget.setSizePolicy(policy)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        column.setSpacing(SPACE)
        column.addWidget(self.splitter, 1)
        column.addWidget(buttons)
        column.addWidget(self.notice)

    def _connect(self) -> None:
        self.list.currentItemChanged.connect(lambda item, _: self._show(item.data(ENTRY_ROLE) if item else None))
        self.list.itemDoubleClicked.connect(lambda item: self._choose(item.data(ENTRY_ROLE)))
        self.play.clicked.connect(lambda: self._choose(self.chosen()))
        self.add.clicked.connect(self._ask_folder)
        self.away.clicked.connect(self._ask_remove)
        self.again.clicked.connect(self.refresh)

    # -- what the window tells it --------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Look again what there is; the list is changed as soon as that is known."""
        self.tasks.run(listing, self._list, self._fail)

    def set_current(self, path: Path | str) -> None:
        """Mark the model that plays; none if it is not in the list. Emits nothing.

        The card follows, unless the user looks at another one.
        """
        follows = not self.current or self.selected in ("", self.current)
        self.current = self.wanted = key(path)
        for row in range(self.list.count()):
            self._mark(self.list.item(row))
            if follows and key(self.list.item(row).data(ENTRY_ROLE).folder) == self.current:
                self.list.setCurrentRow(row)
        self._allow()

    def step(self, by: int) -> None:
        """Choose the next (+1) or the previous (-1) model that can be used; after the last comes the first."""
        rows = [row for row, entry in enumerate(self.entries) if entry.spec is not None]
        if not rows:
            return
        from_here = [place for place, row in enumerate(rows) if key(self.entries[row].folder) == self.wanted]
        row = rows[(from_here[0] + by if from_here else min(by, 0)) % len(rows)]
        self.list.setCurrentRow(row)
        self._choose(self.entries[row])

    def import_folder(self, path: Path) -> None:
        """Check a model's folder and copy it to the user's own; it says how that went."""
        self.add.setEnabled(False)
        self._say(f"Checking {path.name} ...")
        self.tasks.run(lambda: import_model(path), lambda folder: self._imported(path, folder), self._fail)

    def chosen(self) -> Entry | None:
        """The model that the card is of."""
        item = self.list.currentItem()
        return item.data(ENTRY_ROLE) if item is not None else None

    def shutdown(self) -> None:
        """At the end of the window; an import that runs is finished."""
        self.tasks.close()

    # -- showing -------------------------------------------------------------------------------------------------------
    def _list(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)
        wanted = self.selected or self.current
        before = self.list.currentRow()
        self.list.blockSignals(True)
        self.list.clear()
        for entry in self.entries:
            item = QListWidgetItem()
            item.setData(ENTRY_ROLE, entry)
            item.setToolTip(f"<p>{html.escape(entry.problem or str(entry.folder))}</p>")
            self._mark(item)
            self.list.addItem(item)
        folders = [key(entry.folder) for entry in self.entries]
        row = folders.index(wanted) if wanted in folders else max(0, before)
        self.list.setCurrentRow(min(row, len(folders) - 1))
        self.list.blockSignals(False)
        self._show(self.chosen())
        self.listed.emit()

    def _mark(self, item: QListWidgetItem) -> None:
        entry: Entry = item.data(ENTRY_ROLE)
        plays = key(entry.folder) == self.current
        item.setData(PLAYS_ROLE, plays)
        item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry.name}, {entry.line}{', plays' if plays else ''}")

    def _show(self, entry: Entry | None) -> None:
        self.selected = key(entry.folder) if entry else ""
        flow = self.figures.layout()
        while flow.count():
            widget = flow.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        for value, words in figures(entry.spec) if entry and entry.spec else ():
            flow.addWidget(figure(value, words))
        self.figures.setVisible(flow.count() > 0)
        if entry is None:
            self.card.show_card("")
        elif entry.spec is None:
            self.card.setPlainText(f"{entry.name} cannot be used.\n\n{entry.problem}")
        else:
            self.card.show_card(entry.card)
        self._allow()

    def _allow(self) -> None:
        entry = self.chosen()
        self.play.setEnabled(entry is not None and entry.spec is not None)
        self.away.setEnabled(entry is not None and entry.own and key(entry.folder) != self.current)

    def _say(self, text: str, role: str = "dim") -> None:
        self.notice.setText(text)
        self.notice.setProperty("role", role)
        self.notice.style().unpolish(self.notice)
        self.notice.style().polish(self.notice)

    def _fail(self, text: str) -> None:
        self.add.setEnabled(True)
        self._say(text, "alert")

    # -- doing ---------------------------------------------------------------------------------------------------------
    def _choose(self, entry: Entry | None) -> None:
        if entry is None:
            return
        if entry.spec is None:
            self._say(entry.problem, "alert")
            return
        self.wanted = key(entry.folder)  # it plays when `set_current` says so
        self.model_chosen.emit(str(entry.folder))

    def _ask_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, f"Import a model: the folder that its {SPEC_FILE} is in"):
            self.import_folder(Path(folder))

    def _imported(self, source: Path, folder: Path) -> None:
        self.add.setEnabled(True)
        self.selected = key(folder)
        renamed = "" if folder.name == source.resolve().name else ", as that name was taken or not possible"
        self._say(f"Imported as {folder.name}{renamed}.")
        self.refresh()

    def _ask_remove(self) -> None:
        entry = self.chosen()
        if entry is None or not entry.own:
            return
        question = f"Remove {entry.name}? Its files are moved to {user_folder() / 'removed'}, and not deleted."
        if self._confirm(question):
            self.tasks.run(lambda: remove_model(entry.folder), self._removed, self._fail)

    def _confirm(self, question: str) -> bool:
        box = QMessageBox(QMessageBox.Icon.Question, "Remove a model", question, parent=self)
        box.setTextFormat(Qt.TextFormat.PlainText)  # a folder's name may look like mark-up
        yes = box.addButton("Remove", QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.exec()
        return box.clickedButton() is yes

    def _removed(self, place: Path) -> None:
        self._say(f"Removed. Its files are in {place}.")
        self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The card goes beside the list where there is room."""
        super().resizeEvent(event)
        wide = event.size().width() >= WIDE
        way = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if self.splitter.orientation() != way:
            self.splitter.setOrientation(way)
            most, whole = (LIST_WIDTH, event.size().width()) if wide else (LIST_HEIGHT, event.size().height())
            self.splitter.setSizes([most, whole - most])
            self.right.setContentsMargins(*((SPACE // 2, 0) if wide else (0, SPACE // 2)), 0, 0)
        self.list.scrollToItem(self.list.currentItem())

    # -- what is dropped on it -----------------------------------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Folders, and a model.json, which stands for its folder."""
        if dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Imports them, one after another."""
        for path in dropped(event):
            self.import_folder(path)
        event.acceptProposedAction()


def dropped(event: QDropEvent) -> list[Path]:
    """The folders that are dropped."""
    paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
    return [
        path.parent if path.name == SPEC_FILE else path for path in paths if path.is_dir() or path.name == SPEC_FILE
    ]
