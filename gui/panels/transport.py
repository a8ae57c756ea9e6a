"""Sources and transport: what plays, from where to where, and how loud; the whole song's waveform, and source B's."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_music_path
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from rtae.audio.file import AudioReader
from rtae.audio.recorder import default_name
from rtae.demo import DEMO_PATH
from rtae.errors import AudioFileError
from rtae.models.catalogue import available
from rtae.setup import DREAM, GENERATORS, MICROPHONE, SOURCES
from rtae.shared import Status

from ..controller import Controller
from ..pictures.envelope import overview
from ..pictures.meter import Meter
from ..pictures.overview import Overview, clock
from ..tasks import Tasks
from ..theme import ALERT, DRY, SPACE, WET
from ..widgets.buttons import IconButton

FloatArray = NDArray[np.float32]
COLUMNS = 4000  # of an overview: sharp on the widest screen
METER_WIDTH, BETWEEN = 220, 4
TALL, LOW = 92, 58  # pixels, of source A and B; A is as low as B in a low window
GENERATOR_NAMES = {"silence": "Silence", "tone": "A tone of 440 Hz", "noise": "White noise", DREAM: "A dream"}
DREAM_TIP = "Let the model make music up; the knobs under Dream say how wild, and which (I)"


class SongView(Overview):
    """An overview that computes its envelope by itself, in another thread."""

    def __init__(self, tasks: Tasks, prefix: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tasks, self.prefix = tasks, prefix
        self.cancel = threading.Event()
        self.song = ""
        self.stamp: tuple[str, float] = ("", 0.0)

    def show_source(self, source: str) -> None:
        """A file, or what has no waveform."""
        stamp = (source, changed_at(source))
        if stamp == self.stamp:
            return
        self.cancel.set()
        self.stamp, self.song, cancel = stamp, source, threading.Event()
        self.cancel = cancel
        if not source or source in (*GENERATORS, MICROPHONE):
            self.set_song(None, 0.0, self.prefix + source_name(source))
            return
        title = self.prefix + source_name(source)
        self.set_song(None, 0.0, title)

        def look() -> tuple[float, FloatArray | None, bool]:
            with AudioReader(source) as reader:
                return reader.info.seconds, overview(reader, COLUMNS, cancelled=cancel.is_set), reader.truncated

        def done(found: tuple[float, FloatArray | None, bool]) -> None:
            seconds, columns, truncated = found
            if columns is not None and self.song == source:
                self.set_song(columns, seconds, f"{title} (cut short or damaged)" if truncated else title)

        self.tasks.run(look, done)


def changed_at(source: str) -> float:
    """When a file was written last; 0 for what is no file."""
    try:
        return Path(source).stat().st_mtime
    except OSError:
        return 0.0


def source_name(source: str) -> str:
    """A source in words."""
    if source == MICROPHONE:
        return "Microphone"
    if source == str(DEMO_PATH):
        return "Demo track"
    return GENERATOR_NAMES.get(source) or Path(source).name


class TransportPanel(QWidget):
    """The upper part of the window. It asks the window for dialogs by its signals."""

    open_requested = Signal()
    second_requested = Signal()

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.before_dream = ""  # the song
        self.drawing = Tasks(self)
        self.play = IconButton("play", "Play", keys="Space")
        self.stop = IconButton("stop", "Stop: hold, and go to the start", keys="Home")
        self.loop = IconButton("loop", "Loop the whole song", checkable=True, keys="L")
        self.record = IconButton("record", "Record what is heard", checkable=True, colour=ALERT, keys="R")
        self.perform = QPushButton("Perform")
        self.perform.setCheckable(True)
        self.perform.setToolTip("Note every turn of a knob, to render it later exactly as it was heard")
        self.time = QLabel("0:00")
        self.time.setMinimumWidth(110)
        self.noted = QLabel("")
        self.open = QPushButton("Open a song...")
        self.microphone = QPushButton("Microphone")
        self.microphone.setCheckable(True)
        self.microphone.setToolTip("Play the microphone through the model; use headphones (M)")
        self.dream = QPushButton("Dream")
        self.dream.setCheckable(True)
        self.second = QPushButton("Song B...")
        self.second.setToolTip("A second song, to interpolate with: turn the knob 'A to B' (B)")
        self.no_second = QPushButton("Remove B")
        for button in (self.perform, self.open, self.microphone, self.second, self.no_second):
            button.setAutoDefault(True)  # Enter presses it, as Space plays the song in the whole window
        self.model = QComboBox()
        self.model.setToolTip("The autoencoder that the sound goes through ([ and ])")
        self.model.setAccessibleName("Model")
        self.model.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.model.setMinimumWidth(120)
        self.input, self.output = Meter("Input", DRY), Meter("Output", WET)
        self.first_view, self.second_view = SongView(self.drawing), SongView(self.drawing, "B: ")
        self._set_heights(TALL)
        self.second_view.setFixedHeight(LOW)
        self.second_view.setAccessibleName("Source B")
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(SPACE // 2)
        for widget in (self.play, self.stop, self.loop, self.record, self.perform, self.time, self.noted):
            row.addWidget(widget)
        row.addStretch(1)
        for widget in (self.open, self.microphone, self.dream, self.second, self.no_second):
            widget.setProperty("role", "slim")
            row.addWidget(widget)
        row.addSpacing(SPACE)
        label = QLabel("Model")
        label.setProperty("role", "dim")
        row.addWidget(label)
        row.addWidget(self.model)
        meters = QGridLayout()
        meters.setHorizontalSpacing(SPACE)
        meters.setVerticalSpacing(BETWEEN)
        for place, (name, meter) in enumerate((("In", self.input), ("Out", self.output))):
            words = QLabel(name)
            words.setProperty("role", "dim")
            meters.addWidget(words, place, 0)
            meters.addWidget(meter, place, 1)
            meter.setFixedWidth(METER_WIDTH)
        lower = QHBoxLayout()
        views = QVBoxLayout()
        views.setSpacing(2)
        views.addWidget(self.first_view)
        views.addWidget(self.second_view)
        lower.addLayout(views, 1)
        lower.addLayout(meters)
        lower.setAlignment(meters, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, SPACE, 0)
        column.setSpacing(SPACE)
        column.addLayout(row)
        column.addLayout(lower)

    def _connect(self) -> None:
        ask = self.controller
        self.play.clicked.connect(ask.toggle)
        self.stop.clicked.connect(ask.stop)
        self.loop.clicked.connect(lambda on: ask.loop((0.0, 0.0) if on else None))
        self.record.clicked.connect(self._record)
        self.open.clicked.connect(self.open_requested)
        self.second.clicked.connect(self.second_requested)
        self.no_second.clicked.connect(lambda: ask.open_second(""))
        self.microphone.clicked.connect(self._microphone)
        self.dream.clicked.connect(self._dream)
        self.model.activated.connect(lambda place: ask.choose_model(self.model.itemData(place)))
        self.first_view.seek_requested.connect(ask.seek)
        self.first_view.region_changed.connect(lambda start, end: ask.loop((start, end)))
        self.second_view.seek_requested.connect(lambda seconds: ask.ask("seek_second", seconds))
        self.first_view.region_cleared.connect(lambda: ask.loop(None))
        self.second_view.region_changed.connect(lambda *_: self._no_loop())
        ask.setup_changed.connect(self.refresh)
        ask.ticked.connect(self.show_status)
        ask.recording_changed.connect(self._recording)
        ask.performing_changed.connect(self.perform.setChecked)
        ask.refused.connect(self._refused)

    def set_low(self, low: bool) -> None:
        """For a window in which there is little room."""
        height = LOW if low else TALL
        if self.first_view.height() != height:
            self._set_heights(height)
            self._fit()

    def _fit(self) -> None:
        """As high as its parts, which the layout has to be told first."""
        self.layout().activate()
        self.setFixedHeight(self.sizeHint().height())

    def _set_heights(self, height: int) -> None:
        self.first_view.setFixedHeight(height)
        for meter in (self.input, self.output):
            meter.setFixedHeight((height - BETWEEN) // 2)

    # -- showing -------------------------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """After a change of the setup."""
        setup = self.controller.setup
        self.first_view.show_source(setup.source)
        region = setup.loop
        self.first_view.set_region(region if region is not None and region[1] > 0 else None)
        self.loop.setChecked(region is not None)
        self.second_view.setVisible(bool(setup.second))
        self.no_second.setVisible(bool(setup.second))
        if setup.second:
            self.second_view.show_source(setup.second)
        self.microphone.setChecked(setup.source == MICROPHONE)
        reason = self.controller.why_no_dream()
        self.dream.setChecked(setup.source == DREAM)
        self.dream.setEnabled(not reason or setup.source == DREAM)
        self.dream.setToolTip(reason or DREAM_TIP)
        self.list_models()
        self._fit()

    def list_models(self) -> None:
        """What there is to choose from."""
        folders = {name: str(path) for name, path in available().items()}
        current = self.controller.setup.model
        if current not in folders.values():
            folders[Path(current).name] = current
        self.model.blockSignals(True)
        self.model.clear()
        for name, folder in folders.items():
            self.model.addItem(name, folder)
        self.model.setCurrentIndex(list(folders.values()).index(current))
        self.model.blockSignals(False)

    def show_status(self, status: Status) -> None:
        """30 times a second."""
        at = f"{clock(status.position)}"
        self.time.setText(f"{at} / {clock(status.duration)}" if status.duration else at)
        self.first_view.set_position(status.position)
        self.second_view.set_position(status.second_position)
        if self.controller.recording:
            self.noted.setText(f"● {clock(status.recorded_seconds)}  {Path(self.controller.recording).name}")
        sounding = self.controller.setup.playing and not status.ended
        if (self.play.name == "pause") != sounding:
            self.play.set_icon(*(("pause", "Pause") if sounding else ("play", "Play")))

    def show_levels(self, dry: float, wet: float, elapsed: float) -> None:
        """Peaks since the last call."""
        self.input.feed(dry, elapsed)
        self.output.feed(wet, elapsed)

    # -- asking --------------------------------------------------------------------------------------------------------
    def _microphone(self, on: bool) -> None:
        if on:
            self.controller.open_microphone()
        else:
            self.controller.open(self.controller.song, keep=False)

    def _dream(self, on: bool) -> None:
        source = self.controller.setup.source
        if on:
            self.before_dream = source if source not in SOURCES else ""
        self.controller.open(DREAM if on else self.before_dream or str(DEMO_PATH), keep=False)
        self.controller.play(True)

    def _record(self, on: bool) -> None:
        if not on:
            self.controller.stop_recording()
            return
        self.controller.attempt(lambda: self.controller.record(str(recording_path())))

    def _no_loop(self) -> None:
        self.second_view.set_region(None)
        self.controller.notice.emit("Only the song above can be looped; song B goes on beside it", False)

    def _refused(self) -> None:
        """Show what is, not what was asked for."""
        self.refresh()
        self.record.setChecked(bool(self.controller.recording))
        self.perform.setChecked(self.controller.performing)

    def _recording(self, name: str) -> None:
        self.record.setChecked(bool(name))
        self.noted.setText("")
        self.noted.setStyleSheet(f"color: {ALERT}")

    def close_tasks(self) -> None:
        """At the end of the window."""
        self.first_view.cancel.set()
        self.second_view.cancel.set()
        self.drawing.close()


def recording_path() -> Path:
    """A free name in the user's music folder. Raises AudioFileError where there can be none."""
    folder = user_music_path() / "RTAE"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioFileError(f"Nothing can be recorded to {folder} ({error.strerror}); make room for it") from None
    return default_name(folder, datetime.now())
