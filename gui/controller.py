"""What the window's parts ask for things, and what tells them what happened. It draws nothing.

    panels --calls--> Controller --Tasks--> Client --pipe, shared memory--> the audio process
    panels <-signals- Controller <----------- notices, answers, status

Everything that may take time goes through `Tasks`; parameters are written to shared memory at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QSettings, QTimer, Signal

from rtae.client import Client
from rtae.errors import DeviceError, ParameterError, RtaeError
from rtae.knobs import NOT_RANDOM, Knobs
from rtae.models.catalogue import available
from rtae.params import TABLE, Snapshot
from rtae.presets import Preset, save_own
from rtae.setup import GENERATORS, MICROPHONE, Setup
from rtae.shared import Status
from rtae.spec import PRIOR_FILE, ModelSpec

from .kept import SILENT, keep
from .tasks import Tasks

FRAME_MS = 33
RECENT = 8
STARTING = "The audio process is still starting; try again in a moment"
LOST_PERFORMANCE = "The performance was lost when the audio process ended; begin it again"


class Controller(QObject):
    """The state of the window.

    notice: a sentence for the user, and whether it is an error. setup_changed: sources, model, device or mode.
    ticked: the audio process's status, 30 times a second. knobs_changed: ids of parameters. busy_changed: something
    is being done that takes time. recording_changed, performing_changed: of what, "" for nothing. refused: something
    asked for was not done, so that buttons have to show again what is.
    """

    notice = Signal(str, bool)
    setup_changed = Signal()
    ticked = Signal(object)
    knobs_changed = Signal(tuple)
    busy_changed = Signal(bool)
    recording_changed = Signal(str)
    performing_changed = Signal(bool)
    refused = Signal()
    heard = Signal(str)  # a notice from a thread of the client

    def __init__(
        self,
        settings: QSettings,
        setup: Setup,
        parent: QObject | None = None,
        knobs: Snapshot | None = None,
        connect: Callable[[], Client] = Client,
    ) -> None:
        super().__init__(parent)
        self.settings, self.setup, self.connect_client = settings, setup, connect
        self.tasks = Tasks(self)
        self.client: Client | None = None
        self.facts: dict[str, Any] = {}
        self.spec: ModelSpec | None = None
        self.knobs = Knobs(knobs)
        self.knobs.subscribe(self._knobs_moved)
        self.song = setup.source  # what played before the microphone
        self.recording = ""
        self.performing = False
        self.closed = False
        self.heard.connect(lambda text: self.notice.emit(text, False))
        self.timer = QTimer(self)
        self.timer.setInterval(FRAME_MS)
        self.timer.timeout.connect(self._tick)

    # -- beginning and end ---------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the audio process; the window is usable meanwhile."""
        self._begin(self.setup)
        self.timer.start()

    def begin_again(self, setup: Setup) -> None:
        """After a beginning that failed: with another song or model."""
        if self.client is not None:
            self.configure(setup)
        elif self.tasks.waiting == 0:
            self.setup = setup
            self._begin(setup)
        else:
            self.notice.emit(STARTING, True)

    def _begin(self, setup: Setup) -> None:
        self.do(lambda: self._start(setup), self._opened)

    def _start(self, setup: Setup) -> tuple[Setup, dict[str, Any]]:
        """All in one go: the window, which may still be drawing itself, is not waited for in between."""
        client = self.connect_client()
        client.notify = self.heard.emit
        client.set(self.knobs.values)
        self.client = client
        if self.closed:  # the window was closed meanwhile
            self.client = None
            client.close()
        return self._open(setup)

    def close(self) -> None:
        """End everything; takes as long as the audio process needs to fade out."""
        self.closed = True
        self.timer.stop()
        self.tasks.close()
        if self.client is not None:
            self.client.close()
            self.client = None

    # -- doing things --------------------------------------------------------------------------------------------------
    def do(self, function: Callable[[], Any], done: Callable[[Any], None] = lambda _: None) -> None:
        """Something that takes time; an error becomes a notice."""

        def ended(action: Callable[[], None]) -> None:
            self.busy_changed.emit(self.tasks.waiting > 0)
            action()

        self.tasks.run(
            function,
            lambda result: ended(lambda: done(result)),
            lambda text: ended(lambda: self._refuse(text)),
        )
        self.busy_changed.emit(True)

    def _refuse(self, text: str) -> None:
        self.notice.emit(text, True)
        self.refused.emit()

    def running(self) -> Client:
        """The client. Raises DeviceError while there is none yet."""
        if self.client is None:
            raise DeviceError(STARTING)
        return self.client

    def ask(self, name: str, *arguments: Any, done: Callable[[Any], None] = lambda _: None) -> None:
        """A command to the audio process, by the name of the client's method."""

        def call() -> Any:
            return getattr(self.running(), name)(*arguments)

        self.do(call, done)

    def configure(self, setup: Setup, words: str = "") -> None:
        """Open model, sources and devices, and say so; without any card go on in silence."""

        def done(answer: tuple[Setup, dict[str, Any]]) -> None:
            self._opened(answer)
            if words:
                self.notice.emit(words, False)

        self.do(lambda: self._open(setup), done)

    def _open(self, setup: Setup) -> tuple[Setup, dict[str, Any]]:
        client = self.running()
        try:
            return setup, client.configure(setup)
        except DeviceError as error:
            if setup.output is not None or setup.source == MICROPHONE:
                raise
            self.heard.emit(f"{error}. Until then all runs in silence")
            silent = replace(setup, output=SILENT)
            return silent, client.configure(silent)

    def _opened(self, answer: tuple[Setup, dict[str, Any]]) -> None:
        self.setup, self.facts = answer
        self._look_at_model()
        self.setup_changed.emit()

    def _changed(self, facts: Any = None, **changes: Any) -> None:
        """A command was carried out: take note."""
        self.setup = replace(self.setup, **changes)
        if isinstance(facts, dict):
            self.facts = facts
        self.setup_changed.emit()

    # -- sources and transport -----------------------------------------------------------------------------------------
    def open(self, source: str, keep: bool = True) -> None:
        """Source A: a file or a generator; it plays if the last one did. keep: among the recent songs."""
        if not self.facts:  # nothing could be opened so far
            self.begin_again(replace(self.setup, source=source, position=0.0))
            return
        if self.setup.source == MICROPHONE and source != MICROPHONE:  # back to what is safe
            self.configure(replace(self.setup, source=source, position=0.0, mode="relaxed", hop=Setup.hop, loop=None))
            return

        def done(facts: Any) -> None:
            self._look_at_model()
            self._changed(facts, source=source, loop=None)
            if keep and source not in (*GENERATORS, MICROPHONE):
                self.remember(source)

        def call() -> Any:
            client = self.running()
            if self.setup.loop is not None:
                client.loop(None)
            return client.open(source)

        self.do(call, done)

    def open_microphone(self) -> None:
        """Source A is the microphone, with the least delay that this machine keeps up with."""
        if self.setup.output == SILENT:
            self.notice.emit("There is no sound device to listen to; choose one under Sound", True)
            self.setup_changed.emit()
            return
        if self.setup.source != MICROPHONE:
            self.song = self.setup.source
        wanted = replace(self.setup, source=MICROPHONE, mode="live", hop=0, playing=True, loop=None)
        self.configure(wanted, "The microphone plays, with as little delay as this machine allows; use headphones")

    def listen(self, path: str) -> None:
        """Play a file as it is: bypassed, and not among the recent songs."""
        self.set("bypass", 1.0)
        self.open(path, keep=False)
        self.play(True)
        self.notice.emit("A preview plays as it is: bypass is on; Y turns it off", False)

    def open_second(self, source: str) -> None:
        """Source B; an empty name is none."""
        self.ask("second", source, done=lambda _: self._changed(second=source))

    def play(self, playing: bool) -> None:
        """Play or hold; a song that has ended starts again."""
        if playing and self.status().ended:
            self.ask("seek", 0.0)
        self.ask("play" if playing else "pause", done=lambda _: self._changed(playing=playing))

    def toggle(self) -> None:
        """Play or hold."""
        self.play(not self.setup.playing or bool(self.status().ended))

    def stop(self) -> None:
        """Hold, and go to the start."""
        self.play(False)
        self.seek(0.0)

    def seek(self, seconds: float) -> None:
        """Go to a place in the song."""
        self.ask("seek", max(0.0, seconds))

    def loop(self, region: tuple[float, float] | None) -> None:
        """Loop a region of the song, or none."""
        arguments = (None,) if region is None else region
        self._changed(loop=region)  # at once: the next key goes on from there, whatever is answered meanwhile
        self.ask("loop", *arguments)

    def test_tone(self) -> None:
        """A plain tone for a moment; then the song goes on where it was."""
        words = "A test tone, past the model and the knobs: 440 Hz at -12 dB, from every loudspeaker"
        self.ask("tone", done=lambda _: self.notice.emit(words, False))

    # -- models --------------------------------------------------------------------------------------------------------
    def choose_model(self, folder: str) -> None:
        """Another model; the sound goes on."""
        if not self.facts:
            self.begin_again(replace(self.setup, model=folder))
            return
        self.ask("model", folder, done=partial(self._model_chosen, folder))

    def _model_chosen(self, folder: str, facts: Any) -> None:
        self.setup = replace(self.setup, model=folder)
        self._look_at_model()
        self._changed(facts)

    def why_no_dream(self) -> str:
        """Why the model cannot dream; nothing if it can."""
        folder = Path(self.setup.model)
        if (folder / PRIOR_FILE).is_file():
            return ""
        able = [name for name, path in available().items() if (path / PRIOR_FILE).is_file()]
        others = f"; {' and '.join(able)} can" if able else ""
        return f"The model {folder.name} cannot dream: it has no prior{others}"

    def _look_at_model(self) -> None:
        try:
            self.spec = ModelSpec.load(Path(self.setup.model))
        except RtaeError:
            self.spec = None

    # -- knobs ---------------------------------------------------------------------------------------------------------
    def _knobs_moved(self, ids: tuple[str, ...]) -> None:
        if self.client is not None:
            self.client.set(self.knobs.values)
        self.knobs_changed.emit(ids)

    def set(self, id: str, value: float) -> None:
        """Turn a knob."""
        self.attempt(lambda: self.knobs.set(id, value))

    def attempt(self, action: Callable[[], Any]) -> None:
        """Something quick; an error becomes a notice."""
        try:
            action()
        except (RtaeError, OSError) as error:
            self._refuse(str(error))

    def load_preset(self, preset: Preset) -> None:
        """All knobs as in a preset; gains and what compares stay as they are unless it has a use for them."""
        present = self.knobs.values
        kept = {id: present[id] for id in NOT_RANDOM if preset.values[id] == TABLE[id].default}
        self.knobs.load(preset.values.replace(**kept))
        for note in preset.notes:
            self.notice.emit(note, False)
        self.notice.emit(f"{preset.name}: {preset.description}", False)

    def save_preset(self, name: str, description: str = "") -> Path | None:
        """The knobs as a preset of the user's own."""
        try:
            path = save_own(Preset(name, description, self.knobs.values), overwrite=True)
        except RtaeError as error:
            self.notice.emit(str(error), True)
            return None
        self.notice.emit(f"Saved {path}", False)
        return path

    # -- recording -----------------------------------------------------------------------------------------------------
    def record(self, path: str, dry: bool = False) -> None:
        """Record what is heard."""

        def done(name: str) -> None:
            self.recording = name
            self.recording_changed.emit(name)

        self.ask("record", path, dry, done=done)

    def stop_recording(self) -> None:
        """End the recording."""
        name, self.recording = self.recording, ""

        def done(seconds: float) -> None:
            self.notice.emit(f"Recorded {seconds:.1f} s to {name}", False)

        self.recording_changed.emit("")
        self.ask("stop_recording", done=done)

    def perform(self) -> None:
        """Note every turn of a knob from now on."""
        self.ask("perform", done=lambda _: self._performing(True))

    def stop_performing(self, path: str) -> None:
        """Write it to a file. Where that cannot be done it is kept, to be written elsewhere."""

        def call() -> str:
            try:
                return f"A performance of {self.running().stop_performing(path):.1f} s is in {path}"
            except ParameterError:  # the audio process was started again meanwhile
                return ""

        def done(words: str) -> None:
            self._performing(False)
            self.notice.emit(words or LOST_PERFORMANCE, not words)

        self.do(call, done)

    def _performing(self, performing: bool) -> None:
        self.performing = performing
        self.performing_changed.emit(performing)

    # -- what is remembered --------------------------------------------------------------------------------------------
    def recent(self) -> list[str]:
        """Songs that were opened, the latest first."""
        value = self.settings.value("recent", [])
        names = value if isinstance(value, list) else [value]
        return [name for name in names if isinstance(name, str) and name]

    def remember(self, song: str) -> None:
        """A song was opened."""
        self.settings.setValue("recent", [song, *(name for name in self.recent() if name != song)][:RECENT])

    def keep_setup(self) -> None:
        """Device, mode, model and knobs, for the next time."""
        keep(self.settings, self.setup, self.knobs.values)

    # -- status --------------------------------------------------------------------------------------------------------
    def status(self) -> Status:
        """Where the audio process stands."""
        client = self.client
        return client.status() if client is not None and not self.closed else Status()

    def _tick(self) -> None:
        if self.client is not None:
            self.ticked.emit(self.status())
