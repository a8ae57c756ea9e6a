"""MIDI and OSC in the window: what arrives in foreign threads is handed over to the window's."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from rtae.errors import RtaeError
from rtae.presets import listing
from rtae.remote import Remote, bindings_file, load_bindings, midi_ports, save_bindings

from .controller import Controller

OSC_KEY, MIDI_KEY = "osc_port", "midi_port"


class Bridge(QObject):
    """A `Remote` whose callbacks are signals.

    bound: the controllers' names by parameter changed; learning: an id, or "" for none.
    """

    changed = Signal(str, float)
    preset = Signal(str)
    learned = Signal(str, object)
    bound = Signal(dict)
    learning = Signal(str)

    def __init__(self, controller: Controller, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.remote = Remote(self.changed.emit, self.preset.emit, self.learned.emit)
        self.changed.connect(controller.set)
        self.learned.connect(self._learned)
        self.osc_port = 0
        self.midi_name = ""

    def start(self) -> None:
        """What was bound and open last time; a controller that is not there now is no error."""
        path = bindings_file()
        if path.exists():
            try:
                self.remote.bindings, notes = load_bindings(path)
            except RtaeError as error:
                self.controller.notice.emit(str(error), True)
            else:
                for note in notes:
                    self.controller.notice.emit(note, False)
        self.name_presets()
        settings = self.controller.settings
        port = settings.value(OSC_KEY, 0, int)
        if isinstance(port, int) and port:
            self.open_osc(port)
        name = settings.value(MIDI_KEY, "", str)
        if isinstance(name, str) and name:
            self.open_midi(name, quiet=True)
        self.bound.emit(self.names())

    def name_presets(self) -> None:
        """What program changes choose from is the list of presets."""
        self.remote.preset_names = [entry.preset.name for entry in listing()[0]]

    def names(self) -> dict[str, str]:
        """What turns which parameter, by id."""
        return {id: f"CC {number}" for (_, number), id in self.remote.bindings.items()}

    def ports(self) -> list[str]:
        """MIDI inputs. Where there are none, or no MIDI, it says so."""
        try:
            ports = midi_ports()
        except RtaeError as error:
            self.controller.notice.emit(str(error), True)
            return []
        if not ports:
            self.controller.notice.emit("No MIDI controller was found; connect one, and try again", True)
        return ports

    def open_midi(self, name: str, quiet: bool = False) -> None:
        """Listen to a controller; "" to none."""
        try:
            self.midi_name = self.remote.open_midi(name) if name else ""
            if not name:
                self.remote.close_midi()
        except RtaeError as error:
            if not quiet:
                self.controller.notice.emit(str(error), True)
            return
        self.controller.settings.setValue(MIDI_KEY, self.midi_name)
        self.controller.notice.emit(f"MIDI: {self.midi_name or 'off'}", False)

    def open_osc(self, port: int) -> None:
        """Listen to OSC on this port of this computer; 0 for not at all."""
        try:
            if port:
                self.osc_port = self.remote.open_osc(port)
            else:
                self.remote.close_osc()
                self.osc_port = 0
        except RtaeError as error:
            self.controller.notice.emit(str(error), True)
            return
        self.controller.settings.setValue(OSC_KEY, self.osc_port)
        where = f"listening on 127.0.0.1, port {port}: /rtae/noise_amount 0.5" if port else "off"
        self.controller.notice.emit(f"OSC: {where}", False)

    def learn(self, id: str) -> None:
        """The next controller that moves turns this knob."""
        if self.remote.learning == id:  # the menu says "Stop MIDI learn" then
            self.remote.learn(None)
            self.learning.emit("")
            return
        if not self.midi_name:
            ports = self.ports()
            if not ports:
                return
            self.open_midi(ports[0])
        self.remote.learn(id)
        self.learning.emit(id)

    def forget(self, id: str) -> None:
        """No controller turns it any more."""
        self.remote.unbind(id)
        self._keep()

    def _learned(self, id: str, _: object) -> None:
        self.learning.emit("")
        self._keep()

    def _keep(self) -> None:
        self.bound.emit(self.names())
        self.controller.attempt(lambda: save_bindings(bindings_file(), self.remote.bindings))

    def close(self) -> None:
        """Let go of ports."""
        self.remote.close()
