"""The window: its parts, its menus and keys, and what is dropped on it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QByteArray, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QDockWidget, QFileDialog, QInputDialog, QMainWindow, QVBoxLayout, QWidget

from rtae.demo import DEMO_PATH
from rtae.setup import MICROPHONE, SOURCES
from rtae.shared import Status
from rtae.spec import SPEC_FILE

from .bridge import Bridge
from .controller import Controller
from .docks import Docks
from .live import Live
from .menus import Menus
from .panels.knobs import KnobsPanel
from .panels.map import MapPanel
from .panels.pictures import PicturesPanel
from .panels.status import StatusPanel
from .panels.transport import TransportPanel
from .renders import Renders

if TYPE_CHECKING:
    from .panels.models import ModelsPanel
    from .panels.training import TrainingPanel

SONGS = "Songs (*.wav *.flac *.ogg *.oga *.opus *.mp3 *.aif *.aiff *.caf *.au);;All files (*)"
SOUNDS = "Sound (*.wav *.flac)"
PERFORMANCES = "Performances (*.json)"
REST_MS = 300  # from when the window is ready until the tabs are made that are not in sight
LOW_WINDOW = 760  # pixels; below, the song is drawn lower, for the sake of the knobs


class MainWindow(QMainWindow):
    """Everything in one screen: transport above, pictures on the left, docks on the right, a line of status below.

    frames: how many were drawn. slowest: the longest work of one, longest_gap: the longest time between two,
    in seconds.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller, self.live = controller, Live()
        self.status = StatusPanel(controller)  # the first, since others may have something to say
        self.bridge, self.renders = Bridge(controller, self), Renders(controller, self)
        self.transport, self.pictures = TransportPanel(controller), PicturesPanel()
        self.knobs, self.map = KnobsPanel(controller), MapPanel(controller)
        self.slowest, self.longest_gap, self.frames = 0.0, 0.0, 0
        self.before = monotonic()
        self.restored = False  # its panels are where they were the last time
        self.setWindowTitle("RTAE")
        self.setAcceptDrops(True)
        self.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.GroupedDragging
        )
        self._lay_out()
        self.menus = Menus(self)
        self._connect()
        self.setMinimumSize(960, 560)
        self.resize(1280, 800)
        self.knobs.panel.set_values(controller.knobs.values)
        self._restore()

    # -- building ------------------------------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.pictures, 1)
        self.setCentralWidget(page)
        top = QDockWidget("Transport", self)
        top.setObjectName("transport")
        top.setTitleBarWidget(QWidget())
        top.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        top.setWidget(self.transport)
        self.addDockWidget(Qt.DockWidgetArea.TopDockWidgetArea, top)
        panels = {"Knobs": self.knobs, "Map": self.map, "Models": QWidget(), "Train": QWidget()}
        self.beside = Docks(self, panels)
        self.docks = self.beside.by_name
        for name in ("Models", "Train"):
            self.docks[name].visibilityChanged.connect(lambda seen: self._make_rest() if seen else None)
        self.rest = QTimer(self, singleShot=True, interval=REST_MS)
        self.rest.timeout.connect(self._make_rest)
        self.statusBar().addWidget(self.status, 1)
        self.statusBar().setSizeGripEnabled(False)

    def _connect(self) -> None:
        ask = self.controller
        ask.ticked.connect(self._frame)
        ask.setup_changed.connect(self._setup_changed)
        self.transport.open_requested.connect(self.open_song)
        self.transport.second_requested.connect(self.open_second)
        self.transport.perform.clicked.connect(lambda *_: self._perform())
        self.status.device.clicked.connect(self.choose_device)
        self.knobs.learn_requested.connect(self.bridge.learn)
        self.knobs.forget_requested.connect(self.bridge.forget)
        self.knobs.saved.connect(self.bridge.name_presets)
        self.bridge.bound.connect(self._show_bound)
        self.bridge.learning.connect(self._show_learning)
        self.bridge.preset.connect(self.knobs.choose)

    @cached_property
    def models(self) -> ModelsPanel:
        """The tab of models, made when it is wanted, or once the window is ready."""
        from .panels.models import ModelsPanel

        panel = ModelsPanel()
        panel.model_chosen.connect(self.controller.choose_model)
        panel.listed.connect(self.transport.list_models)
        panel.set_current(Path(self.controller.setup.model))
        self._fill("Models", panel)
        return panel

    @cached_property
    def training(self) -> TrainingPanel:
        """The tab of training; likewise."""
        from .panels.training import TrainingPanel

        panel = TrainingPanel()
        panel.model_ready.connect(self._model_ready)
        panel.preview_requested.connect(self.controller.listen)
        self._fill("Train", panel)
        return panel

    def _fill(self, name: str, panel: QWidget) -> None:
        empty = self.docks[name].widget()
        self.docks[name].setWidget(panel)
        empty.deleteLater()

    def _make_rest(self) -> None:
        self.models, self.training  # noqa: B018 - to have looked is to have them

    def _made(self) -> list[ModelsPanel | TrainingPanel]:
        return [self.__dict__[name] for name in ("models", "training") if name in self.__dict__]

    def _model_ready(self, folder: str) -> None:
        self.models.refresh()
        self.controller.choose_model(folder)

    # -- 30 times a second -----------------------------------------------------------------------------------------
    def _frame(self, status: Status) -> None:
        begun = monotonic()
        self.longest_gap = max(self.longest_gap, begun - self.before)
        client, spec, facts = self.controller.client, self.controller.spec, self.controller.facts
        if client is None or not facts or spec is None:
            self.before = begun
            return
        shared, rate = client.shared, facts["rate"]
        self.live.latency = facts["engine_latency"]
        dry, wet = self.live.audio(shared, rate)
        if len(wet):
            self.transport.show_levels(float(np.abs(dry).max()), float(np.abs(wet).max()), begun - self.before)
            if self.pictures.isVisible():
                self.pictures.scope.set_audio(*self.live.scope(shared, rate)[:2], rate, shared.count("scope"))
                self.pictures.spectrograms.feed(dry, wet, rate)
        else:
            self.transport.show_levels(0.0, 0.0, begun - self.before)
        frames = self.live.latents(shared, spec)
        if frames.shape[1]:
            self.pictures.heatmap.feed(frames, spec.frame_rate)
            if self.map.isVisible() and self.frames % 2 == 0:
                trail = self.live.trail(shared, spec)
                self.map.map.show_trail(trail)
                if self.frames % 30 == 0 and status.playing:
                    self.map.map.set_cloud(self.live.grow_cloud(trail))
        self.before = begun
        self.frames += 1
        self.slowest = max(self.slowest, monotonic() - begun)

    def _setup_changed(self) -> None:
        setup = self.controller.setup
        self.setWindowTitle(f"{Path(setup.source).name if setup.source else 'RTAE'} - {Path(setup.model).name} - RTAE")
        if "models" in self.__dict__:
            self.models.set_current(Path(setup.model))
        self.rest.start()
        self.live.new_model()

    # -- asking the user -------------------------------------------------------------------------------------------
    def open_song(self) -> None:
        """Source A."""
        name, _ = QFileDialog.getOpenFileName(self, "Open a song", self._folder(), SONGS)
        if name:
            self.controller.open(name)

    def open_second(self) -> None:
        """Source B."""
        name, _ = QFileDialog.getOpenFileName(self, "Open song B", self._folder(), SONGS)
        if name:
            self.controller.open_second(name)

    def render_song(self) -> None:
        """The whole song into a file."""
        source = self.controller.setup.source
        if source in SOURCES:
            what = "A microphone" if source == MICROPHONE else "What plays"
            self.controller.notice.emit(f"{what} has no end; record it instead (R)", True)
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Render to", f"{self._folder()}/{Path(source).stem}-rtae.wav", SOUNDS
        )
        if name:
            self.controller.attempt(lambda: self.renders.song(Path(with_suffix(name, ".wav"))))

    def render_performance(self) -> None:
        """A performance into a file."""
        source, _ = QFileDialog.getOpenFileName(self, "Which performance", self._folder(), PERFORMANCES)
        name = (
            QFileDialog.getSaveFileName(self, "Render to", f"{self._folder()}/performance.wav", SOUNDS)[0]
            if source
            else ""
        )
        if name:
            self.controller.attempt(lambda: self.renders.performance(Path(source), Path(with_suffix(name, ".wav"))))

    def import_model(self) -> None:
        """A model's folder into the user's own."""
        name = QFileDialog.getExistingDirectory(self, "A model's folder", self._folder())
        if name:
            self._import(Path(name))

    def _import(self, folder: Path) -> None:
        self.docks["Models"].raise_()
        self.models.import_folder(folder)

    def choose_device(self) -> None:
        """The sound device."""
        from .dialogs import DeviceDialog

        show(DeviceDialog(self.controller, self))

    def show_keys(self) -> None:
        """The sheet of keys."""
        from .dialogs import KeysDialog

        show(KeysDialog(self.menus.keys, self))

    def choose_osc(self) -> None:
        """The port."""
        port, good = QInputDialog.getInt(
            self, "OSC", "Port of this computer to listen on; 0 is off:", self.bridge.osc_port or 9000, 0, 65_535
        )
        if good:
            self.bridge.open_osc(port)

    def _perform(self) -> None:
        self.transport.perform.setChecked(self.controller.performing)  # it shows what is, not what is asked for
        if not self.controller.performing:
            self.controller.perform()
            return
        place = f"{self._folder()}/performance.json"
        name, _ = QFileDialog.getSaveFileName(self, "Keep the performance as", place, PERFORMANCES)
        if name:
            self.controller.stop_performing(with_suffix(name, ".json"))

    def flip(self, id: str) -> None:
        """A switch, the other way."""
        self.controller.set(id, 1.0 - self.controller.knobs.values[id])

    def _folder(self) -> str:
        recent = [name for name in self.controller.recent() if name != str(DEMO_PATH)]
        return str(Path(recent[0]).parent if recent else Path.home())

    def _show_bound(self, names: dict[str, str]) -> None:
        for id, knob in self.knobs.panel.knobs.items():
            knob.set_controller(names.get(id, ""))

    def _show_learning(self, learning: str) -> None:
        for id, knob in self.knobs.panel.knobs.items():
            knob.set_learning(id == learning)

    # -- dropping, opening and closing -----------------------------------------------------------------------------
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files are welcome."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """A song is played, a model's folder imported."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.drop(paths[0])

    def drop(self, path: Path) -> None:
        """What was dropped."""
        if not path.is_dir():
            self.controller.open(str(path))
        elif (path / SPEC_FILE).is_file():
            self._import(path)
        else:
            self.controller.notice.emit(f"{path} is a folder and no model; drop a song, or a model's folder", True)

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Tab leaves out what lies behind another dock: Qt has it for visible."""
        while moved := super().focusNextPrevChild(forward):
            focus = self.focusWidget()
            behind = [dock for dock in self.docks.values() if dock.visibleRegion().isEmpty()]
            if not any(dock.isAncestorOf(focus) for dock in behind):
                break
        return moved

    def _restore(self) -> None:
        for key, restore in (("geometry", self.restoreGeometry), ("state", self.restoreState)):
            value = self.controller.settings.value(key)
            if isinstance(value, QByteArray):
                self.restored = bool(restore(value))

    def showEvent(self, event: QShowEvent) -> None:
        """The panels have their usual width, unless another one was kept."""
        super().showEvent(event)
        if not self.restored:
            self.restored = True
            self.beside.usual()
        self.setFocus()  # and not the first little button there is

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Panels and pictures share what is won or lost."""
        super().resizeEvent(event)
        self.transport.set_low(event.size().height() < LOW_WINDOW)
        if self.isVisible() and event.oldSize().width() != event.size().width():
            self.beside.follow(event.oldSize().width(), event.size().width())

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember how it looked; end what runs."""
        settings = self.controller.settings
        settings.setValue("geometry", self.saveGeometry())
        settings.setValue("state", self.saveState())
        self.controller.keep_setup()
        settings.sync()
        self.hide()
        self.rest.stop()
        for panel in self._made():
            panel.shutdown()
        self.renders.close()
        self.bridge.close()
        self.transport.close_tasks()
        self.controller.close()
        super().closeEvent(event)


def show(dialog: QDialog) -> None:
    """Until it is closed; nothing of it is left then."""
    dialog.exec()
    dialog.deleteLater()


def with_suffix(name: str, suffix: str) -> str:
    """A file's name, with a suffix if it has none.

    >>> with_suffix("take", ".wav"), with_suffix("take.flac", ".wav")
    ('take.wav', 'take.flac')
    """
    return name if Path(name).suffix else name + suffix
