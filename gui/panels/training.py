"""Training: a folder of songs becomes a model of the user's own, in a process beside the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from rtae.errors import RtaeError
from rtae.job_files import Preview, startable, unfinished
from rtae.jobs import PROGRAM, Status, TrainingJob
from rtae.models.catalogue import free_name

from ..theme import SECOND, SPACE, WET
from ..widgets.flow import FlowLayout
from .curve import Curve
from .training_words import duration, found_words, words_of

POLL_MS = 500
CLOSE_SECONDS = 8.0  # for a checkpoint, when the window is closed
WIDE = 640  # from so many pixels on the curves stand side by side
STEPS_OF_BAR = 1000
PRESETS = {
    "small": "48 samples become 16 values. Close to the original: the one to begin with.",
    "tiny": "192 samples become 16 values. Trains and plays with the least work, and sounds rough.",
    "large": "24 samples become 32 values. The most faithful; give it hours.",
    "vae": "As tiny, with latents that are spread as evenly as chance would spread them.",
}
FROM_WORDS = "Goes on from {name}, and keeps its network: it gets used to your songs sooner."
NO_FOLDER = "Choose a folder of songs first."


class TrainingPanel(QWidget):
    """model_ready: the folder of a model that was trained. preview_requested: a sound file to play.

    command: the program that trains; see `TrainingJob`.
    """

    model_ready = Signal(str)
    preview_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None, command: Sequence[str] = PROGRAM) -> None:
        super().__init__(parent)
        self.job = TrainingJob(command)
        self.command = command
        self.named = False  # whether the user has chosen the name
        self.previews: tuple[Preview, ...] = ()
        self.timer = QTimer(self)
        self.timer.setInterval(POLL_MS)
        self.setAcceptDrops(True)
        self._make_form()
        self._make_display()
        self._lay_out()
        self._connect()
        self.refresh()
        self._describe()
        self._show(self.job.status)
        self._reopen()

    # -- building ------------------------------------------------------------------------------------------------------
    def _make_form(self) -> None:
        self.folder, self.browse = QLineEdit(), QPushButton("Choose...")
        self.folder.setPlaceholderText("A folder, nested, in any audio format")
        self.start_with, self.hint = QComboBox(), text_label("dim")
        self.start_with.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.minutes, self.name = QSpinBox(), QLineEdit()
        self.minutes.setRange(1, 100_000)
        self.minutes.setValue(60)
        self.minutes.setSuffix(" minutes")
        self.minutes.lineEdit().setTextMargins(SPACE // 2, 0, 0, 0)  # the style sheet's padding does not reach it
        self.name.setMaxLength(64)
        self.start, self.stop = QPushButton("Start"), QPushButton("Stop")
        self.resume, self.export = QPushButton("Resume"), QPushButton("Export")
        self.stop.setToolTip("Stop at the next step, and keep a checkpoint")
        self.resume.setToolTip("Go on with the training that was stopped")
        self.export.setToolTip("Make a model of what was stopped, as it is")
        for widget, words in (
            (self.folder, "Folder of songs"),
            (self.browse, "Choose the folder of songs"),
            (self.start_with, "Start with"),
            (self.minutes, "Minutes to train for"),
            (self.name, "Name of the model"),
        ):
            widget.setAccessibleName(words)
        for widget in (self.start_with, self.minutes):
            widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            widget.installEventFilter(self)

    def _make_display(self) -> None:
        self.words, self.found, self.figures = text_label(), text_label("dim"), text_label("dim")
        self.words.setAccessibleName("State of the training")
        self.bar = QProgressBar()
        self.bar.setAccessibleName("Progress of the training")
        self.loss, self.quality = Curve("Loss", SECOND), Curve("SI-SDR of the held-out songs, dB", WET, dots=True)
        self.listen = QWidget()
        self.listen_rows = QVBoxLayout(self.listen)
        self.listen_rows.setContentsMargins(0, 0, 0, 0)
        self.listen_rows.setSpacing(SPACE)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(SPACE)
        row.addWidget(self.folder, 1)
        row.addWidget(self.browse)
        self.form = QFrame()
        self.form.setProperty("role", "section")
        lines = QGridLayout(self.form)
        lines.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        lines.setSpacing(SPACE)
        lines.setColumnStretch(1, 1)
        rows = (("Songs", row), ("Start with", self.start_with), ("", self.hint), ("Train for", self.minutes))
        for place, (title, field) in enumerate((*rows, ("Call it", self.name))):
            lines.addWidget(QLabel(title), place, 0)
            if isinstance(field, QWidget):
                lines.addWidget(field, place, 1)
            else:
                lines.addLayout(field, place, 1)
        buttons = QWidget()
        flow = FlowLayout(buttons, space=SPACE, fill=True)
        for button in (self.start, self.stop, self.resume, self.export):
            flow.addWidget(button)
        for button in (self.browse, self.start, self.stop, self.resume, self.export):
            button.setAutoDefault(True)  # Enter presses it, as Space plays the song in the whole window
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        buttons.setSizePolicy(policy)
        self.curves = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self.curves.setSpacing(SPACE)
        self.curves.addWidget(self.loss, 1)
        self.curves.addWidget(self.quality, 1)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        column.setSpacing(SPACE)
        for widget in (self.form, buttons, self.words, self.bar, self.found):
            column.addWidget(widget)
        column.addLayout(self.curves)
        column.addWidget(self.figures)
        column.addWidget(self.listen)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(page)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)

    def _connect(self) -> None:
        self.timer.timeout.connect(self._poll)
        self.browse.clicked.connect(self._ask_folder)
        self.folder.textChanged.connect(self._suggest_name)
        self.name.textEdited.connect(self._named)
        self.start_with.currentIndexChanged.connect(self._describe)
        self.start.clicked.connect(self._start)
        self.stop.clicked.connect(self._stop)
        self.resume.clicked.connect(lambda: self._do(self.job.resume))
        self.export.clicked.connect(lambda: self._do(self.job.export))
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shutdown)

    # -- what the window tells it --------------------------------------------------------------------------------------
    def set_folder(self, folder: Path) -> None:
        """The songs to train on; the name follows, unless it was typed."""
        self.folder.setText(str(folder))

    def refresh(self) -> None:
        """Look again what there is to start from; the choice stays."""
        chosen = self.start_with.currentData()
        self.start_with.blockSignals(True)
        self.start_with.clear()
        for name in PRESETS:
            self.start_with.addItem(f"A new {name} one", ("preset", name))
        models = startable()
        if models:
            self.start_with.insertSeparator(self.start_with.count())
        for name, folder in models.items():
            self.start_with.addItem(f"What {name} has learned", ("from", str(folder)))
        places = [self.start_with.itemData(place) for place in range(self.start_with.count())]
        self.start_with.setCurrentIndex(places.index(chosen) if chosen and chosen in places else 0)
        self.start_with.blockSignals(False)
        self._describe()

    def shutdown(self) -> None:
        """At the end of the window: stop, and keep a checkpoint, which is offered the next time. Takes a moment."""
        self.timer.stop()
        self.job.close(CLOSE_SECONDS)

    # -- doing ---------------------------------------------------------------------------------------------------------
    def _start(self) -> None:
        folder = self.folder.text().strip()
        if not folder:
            self._fail(NO_FOLDER)
            self.folder.setFocus()
            return
        kind, what = self.start_with.currentData()
        job = TrainingJob(self.command)
        preset, begin = (what, None) if kind == "preset" else ("small", Path(what))
        arguments = (Path(folder).expanduser(), self.name.text().strip(), self.minutes.value(), preset, begin)
        before, self.job = self.job, job
        if not self._do(lambda: job.start(*arguments)):
            self.job = before

    def _do(self, action: Callable[[], None]) -> bool:
        """Start a process, or say why not."""
        try:
            action()
        except RtaeError as error:
            self._fail(str(error))
            return False
        self.timer.start()
        self._show(self.job.status)
        return True

    def _stop(self) -> None:
        self.job.cancel()
        self._show(self.job.status)

    def _poll(self) -> None:
        status = self.job.poll()
        self._show(status)
        if status.running:
            return
        self.timer.stop()
        self.refresh()
        if status.state == "done" and status.model is not None:
            self.named = False
            self._suggest_name()
            self.model_ready.emit(str(status.model))

    def _reopen(self) -> None:
        """A training that an earlier session stopped."""
        run = unfinished()
        if run is None:
            return
        try:
            self.job = TrainingJob.reopen(run, self.command)
        except RtaeError:
            return
        order = self.job.order
        if order is not None:
            self.named = True
            self.folder.setText(order.folder)
            self.name.setText(order.name)
            self.minutes.setValue(round(order.minutes))
        self._show(self.job.status)

    def _ask_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "The folder of songs to train on", self.folder.text()):
            self.set_folder(Path(folder))

    def _suggest_name(self) -> None:
        folder = self.folder.text().strip()
        if folder and not self.named:
            self.name.setText(free_name(Path(folder).name))

    def _named(self, text: str) -> None:
        self.named = bool(text)

    # -- showing -------------------------------------------------------------------------------------------------------
    def _describe(self) -> None:
        kind, what = self.start_with.currentData() or ("preset", "small")
        self.hint.setText(PRESETS[what] if kind == "preset" else FROM_WORDS.format(name=Path(what).name))

    def _show(self, status: Status) -> None:
        self.form.setEnabled(not status.running)
        self.start.setEnabled(not status.running)
        self.stop.setEnabled(status.running and not status.stopping)
        self.resume.setEnabled(status.resumable)
        self.export.setEnabled(status.resumable)
        self._say(words_of(status, self.job.order), "alert" if status.error else "")
        self._show_progress(status)
        self.found.setText(found_words(status))
        self.found.setVisible(status.found is not None)
        self.loss.show_points(*columns(status.losses))
        self.quality.show_points(*columns([(row.step, row.si_sdr_db) for row in status.rows]))
        self.figures.setVisible(bool(status.rows))
        if status.rows:
            last = status.rows[-1]
            self.figures.setText(f"At step {last.step}: SI-SDR {last.si_sdr_db:.1f} dB, MR-STFT {last.mr_stft:.2f}.")
        if status.previews != self.previews:
            self.previews = status.previews
            self._list_previews()
        self.listen.setVisible(bool(self.previews))

    def _show_progress(self, status: Status) -> None:
        self.bar.setVisible(status.state != "idle")
        if status.running and status.progress is None:
            self.bar.setRange(0, 0)
            self.bar.setFormat("")
            return
        share = status.progress or 0.0
        self.bar.setRange(0, STEPS_OF_BAR)
        self.bar.setValue(round(share * STEPS_OF_BAR))
        left = f"  ·  {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
        self.bar.setFormat(f"{100 * share:.0f} %{left}")

    def _list_previews(self) -> None:
        while self.listen_rows.count():
            widget = self.listen_rows.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        for preview in self.previews:
            row = QWidget()
            flow = QHBoxLayout(row)
            flow.setContentsMargins(0, 0, 0, 0)
            flow.setSpacing(SPACE)
            title = text_label("dim")
            title.setText(preview.title)
            title.setMinimumWidth(60)
            flow.addWidget(title, 1)
            for words, path in (("Original", preview.input), ("Through the model", preview.output)):
                button = QPushButton(words)
                button.setAutoDefault(True)
                button.setAccessibleName(f"Listen: {preview.title}, {words.lower()}")
                button.setToolTip("Play it in the window")
                button.clicked.connect(lambda _=False, path=path: self.preview_requested.emit(str(path)))
                flow.addWidget(button)
            self.listen_rows.addWidget(row)

    def _say(self, text: str, role: str) -> None:
        self.words.setText(text)
        if self.words.property("role") != role:
            self.words.setProperty("role", role)
            self.words.style().unpolish(self.words)
            self.words.style().polish(self.words)

    def _fail(self, text: str) -> None:
        self._say(text, "alert")

    # -- events --------------------------------------------------------------------------------------------------------
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The wheel scrolls the panel; it turns a field only once that has the focus."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def showEvent(self, event: QShowEvent) -> None:
        """There may be other models by now."""
        super().showEvent(event)
        if not self.job.status.running:
            self.refresh()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Curves side by side where there is room."""
        super().resizeEvent(event)
        wide = event.size().width() >= WIDE
        self.curves.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """A folder, unless a training runs; files are for the window."""
        if dropped(event) and not self.job.status.running:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """The first of them."""
        self.set_folder(dropped(event)[0])
        event.acceptProposedAction()


def text_label(role: str = "") -> QLabel:
    """Words that wrap; names of files in them are no mark-up."""
    label = QLabel()
    label.setProperty("role", role)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """Steps and values."""
    return [step for step, _ in points], [value for _, value in points]


def dropped(event: QDropEvent) -> list[Path]:
    """The folders that are dropped."""
    paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
    return [path for path in paths if path.is_dir()]
