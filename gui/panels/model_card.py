"""A model's card, and the figures above it."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import (
    QColor,
    QDesktopServices,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import QLabel, QTextBrowser, QWidget

from rtae.spec import ModelSpec

from ..theme import DIM, LINE, SPACE, TEXT

FIGURE_WIDTH = 108


def figures(spec: ModelSpec) -> list[tuple[str, str]]:
    """What tells models apart at a glance: values and what they are."""
    found = [
        (f"{spec.latent_dim} × {spec.frame_rate:.0f} /s", "latents"),
        (f"{spec.sample_rate / 1000:g} kHz", "sample rate"),
    ]
    if spec.reach is not None:
        found.append((f"{1000 * spec.reach.receptive_field / spec.sample_rate:.0f} ms", "sees back"))
        found.append((f"{1000 * spec.reach.look_ahead / spec.sample_rate:.1f} ms", "looks ahead"))
    for key, unit, words in (("si_sdr_db", " dB", "SI-SDR"), ("mr_stft", "", "MR-STFT")):
        value = spec.training.get(key)
        if isinstance(value, int | float):
            found.append((f"{value:.{1 if unit else 2 if value >= 0.1 else 3}f}{unit}", words))
    return found


def figure(value: str, words: str) -> QLabel:
    """A value over what it is."""
    label = QLabel(f'<span style="font-size: large">{value}</span><br><span style="color: {DIM}">{words}</span>')
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setFixedWidth(FIGURE_WIDTH)
    label.setAccessibleName(f"{words}: {value}")
    return label


class Card(QTextBrowser):
    """A model's card. It may be a stranger's: nothing is loaded for it, and links open in the browser only."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setOpenLinks(False)
        self.setAccessibleName("The model's card")
        self.anchorClicked.connect(self._open)

    def loadResource(self, kind: int, name: QUrl | str) -> object:
        """No pictures, no files."""
        return ""

    def show_card(self, text: str) -> None:
        """Markdown, in the colours of the window."""
        document = self.document()
        document.setMarkdown(
            text, QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML
        )
        document.setDocumentMargin(SPACE)
        block = document.begin()
        while block.isValid():
            level = block.blockFormat().headingLevel()
            if level:
                cursor = QTextCursor(block)
                cursor.select(QTextCursor.SelectionType.BlockUnderCursor)
                looks = QTextCharFormat()
                looks.setProperty(QTextFormat.Property.FontSizeAdjustment, 1 if level == 1 else 0)  # in steps of HTML
                looks.setForeground(QColor(TEXT if level == 1 else DIM))
                cursor.mergeCharFormat(looks)
                space = QTextBlockFormat()
                space.setTopMargin(0 if level == 1 else 2 * SPACE)
                space.setBottomMargin(SPACE / 2)
                cursor.mergeBlockFormat(space)
            block = block.next()
        for frame in document.rootFrame().childFrames():
            if isinstance(frame, QTextTable):
                self._tidy(frame)
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def _tidy(self, table: QTextTable) -> None:
        if all(not table.cellAt(0, column).firstCursorPosition().block().text() for column in range(table.columns())):
            table.removeRows(0, 1)  # the empty head that markdown demands
        looks = table.format()
        looks.setBorder(1)
        looks.setBorderBrush(QColor(LINE))
        looks.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
        looks.setBorderCollapse(True)
        looks.setCellPadding(4)
        looks.setCellSpacing(0)
        looks.setTopMargin(SPACE)
        looks.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
        table.setFormat(looks)

    def _open(self, link: QUrl) -> None:
        if link.scheme() in ("http", "https"):
            QDesktopServices.openUrl(link)
