"""Knobs turned from outside: a MIDI controller, or another program that speaks OSC. It knows no window.

MIDI needs the optional extra `remote`, and nothing listens until it is asked to. Everything arrives in the callbacks of
`Remote`, which are called from the threads of the MIDI system and of the OSC server: whoever has a window hands over
to its own thread. What comes over a wire is not trusted; whatever it is, it is used or ignored, and nothing is raised.

    /rtae/mix 0.5              a value in the parameter's own unit; beyond its range is the nearest end
    /rtae/mix/position 0.5     a place on the knob, from 0 to 1
    /rtae/preset "Underwater"  a preset by its name
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_config_path

from rtae.audio.quiet import quiet_stderr
from rtae.errors import DeviceError, MissingExtraError, PresetError
from rtae.knobs import from_position, known
from rtae.params import TABLE
from rtae.presets import FORMAT, MAX_NAME, read_json, reason_of, shown, write_text
from rtae.spec import is_whole

if TYPE_CHECKING:
    from types import ModuleType

HOST = "127.0.0.1"
PORT = 9000
PACKET_BYTES = 65_536
POLL_SECONDS = 0.05
WHAT = "a set of controller bindings"
MAX_BYTES = 256 * 1024
BUNDLE = b"#bundle\0"
NUMBERS = {"i": ">i", "f": ">f", "h": ">q", "d": ">d"}
CHANNELS, CONTROLLERS = 16, 128
FINE = 32  # controller n < 32 may be refined by controller n + 32

Controller = tuple[int, int]  # the channel, 0 to 15, and the number of a MIDI controller


class Remote:
    """What is controlled from outside.

    on_change: called with id and value; on_preset: with a preset's name, which is to be looked up by name only, never
    as a path; on_learned: with id and controller, when `learn` has found one. All from foreign threads.
    preset_names: what program changes choose from, the first with program 0.
    bindings: ids by controller; never changed but replaced, so that any thread may read it.
    ignored: messages so far that meant nothing here, were broken, or whose callback failed.
    """

    def __init__(
        self,
        on_change: Callable[[str, float], None],
        on_preset: Callable[[str], None] = lambda _: None,
        on_learned: Callable[[str, Controller], None] = lambda *_: None,
    ) -> None:
        self.on_change, self.on_preset, self.on_learned = on_change, on_preset, on_learned
        self.preset_names: Sequence[str] = ()
        self.bindings: Mapping[Controller, str] = {}
        self.learning: str | None = None
        self.ignored = 0
        self._coarse: dict[Controller, int] = {}
        self._midi: Any = None
        self._osc: OscServer | None = None

    def close(self) -> None:
        """Let go of everything; it may be opened again."""
        self.close_midi()
        self.close_osc()

    # -- MIDI ----------------------------------------------------------------------------------------------------------
    def open_midi(self, name: str) -> str:
        """Listen to a MIDI input, by its name or a part of it, instead of the one before; returns its whole name.

        Raises DeviceError where there is none, MissingExtraError without the extra.
        """
        ports = midi_ports()
        found = [port for port in ports if port == name] or [port for port in ports if name.lower() in port.lower()]
        if not found:
            there = f"there are {', '.join(map(repr, ports))}" if ports else "none is connected"
            raise DeviceError(f"No MIDI input {name!r}; {there}")
        self.close_midi()
        self._midi = midi_call(lambda mido: mido.open_input(found[0], callback=self.handle))
        return found[0]

    def close_midi(self) -> None:
        """Stop listening to MIDI; nothing happens if it did not."""
        port, self._midi = self._midi, None
        self._coarse = {}
        if port is not None:
            with contextlib.suppress(Exception):  # rtmidi has its own kinds of errors, and the port may be unplugged
                port.close()

    def learn(self, id: str | None) -> None:
        """Bind the next controller that moves to this parameter; None ends the waiting. Raises ParameterError."""
        self.learning = None if id is None else known(id).id

    def bind(self, controller: Controller, id: str) -> None:
        """A controller turns this knob, and no other does. Raises ParameterError for an unknown id."""
        id = known(id).id
        kept = {place: other for place, other in self.bindings.items() if other != id}
        self.bindings = {**kept, controller: id}

    def unbind(self, id: str) -> None:
        """No controller turns this knob."""
        self.bindings = {place: other for place, other in self.bindings.items() if other != id}

    def handle(self, message: Any) -> None:
        """A message of mido's, from its thread. Never raises."""
        try:
            if message.type == "control_change":
                self.control((int(message.channel), int(message.control)), int(message.value))
            elif message.type == "program_change" and message.program < len(self.preset_names):
                self.on_preset(self.preset_names[message.program])
            else:
                self.ignored += 1
        except Exception:  # a callback's defect must not end the MIDI system's thread
            self.ignored += 1

    def control(self, controller: Controller, value: int) -> None:
        """A controller moved to a value from 0 to 127."""
        channel, number = controller
        coarse = (channel, number - FINE)
        if controller not in self.bindings and self._coarse.get(coarse) is not None and coarse in self.bindings:
            # The low half of a value of 14 bits follows its high half.
            self.turn(self.bindings[coarse], midi_position(self._coarse[coarse] << 7 | value, 14))
            return
        learning, self.learning = self.learning, None
        if learning is not None:
            self.bind(controller, learning)
            self.on_learned(learning, controller)
        if controller not in self.bindings:
            self.ignored += 1
            return
        if number < FINE:
            self._coarse[controller] = value
        self.turn(self.bindings[controller], midi_position(value, 7))

    def turn(self, id: str, position: float) -> None:
        """A place on a knob, as its value."""
        self.on_change(id, from_position(TABLE[id], position))

    # -- OSC -----------------------------------------------------------------------------------------------------------
    def open_osc(self, port: int = PORT) -> int:
        """Listen to OSC on this machine's own address, instead of the port before; returns the port.

        port: 1 to 65535, or 0 for any that is free. Raises DeviceError if it is in use.
        """
        server = OscServer(port, self.packet)
        self.close_osc()
        self._osc = server
        return server.port

    def close_osc(self) -> None:
        """Stop listening to OSC; the port is free when this returns. Nothing happens if it did not listen."""
        server, self._osc = self._osc, None
        if server is not None:
            server.close()

    def packet(self, data: bytes) -> None:
        """One packet, from the server's thread. Never raises."""
        try:
            messages = osc_messages(data)
        except Exception:  # whatever the parser stumbles over
            self.ignored += 1
            return
        for address, arguments in messages:
            try:
                used = self.message(address, arguments)
            except Exception:  # a callback's defect must not end the server's thread
                used = False
            self.ignored += not used

    def message(self, address: str, arguments: Sequence[object]) -> bool:
        """One OSC message; False if it means nothing here."""
        parts = address.split("/")
        if len(arguments) != 1 or len(parts) not in (3, 4) or parts[:2] != ["", "rtae"]:
            return False
        value, name = arguments[0], parts[2]
        if parts[2:] == ["preset"]:
            if not isinstance(value, str) or len(value) > MAX_NAME:
                return False
            self.on_preset(value)
            return True
        if name not in TABLE or not isinstance(value, int | float) or math.isnan(value):
            return False
        if len(parts) == 3:
            parameter = TABLE[name]
            self.on_change(name, parameter.nearest(min(max(value, parameter.low), parameter.high)))
        elif parts[3] == "position":
            self.turn(name, value)
        else:
            return False
        return True


# -- MIDI --------------------------------------------------------------------------------------------------------------
def midi_position(value: int, bits: int) -> float:
    """A controller's value as a place from 0 to 1. The middle of a controller, 64 of 127, is the middle of the knob.

    >>> midi_position(0, 7), midi_position(64, 7), midi_position(127, 7)
    (0.0, 0.5, 1.0)
    """
    middle = 1 << (bits - 1)
    return value / (2 * middle) if value <= middle else 0.5 + (value - middle) / (2 * (middle - 1))


def midi_ports() -> list[str]:
    """The names of the MIDI inputs. Raises DeviceError without a MIDI system, MissingExtraError without the extra."""
    names: Iterable[str] = midi_call(lambda mido: mido.get_input_names())
    return list(dict.fromkeys(names))


def midi_call(action: Callable[[ModuleType], Any]) -> Any:
    """Something done with mido, its ways to fail made ours; ALSA's own words on the terminal are kept away."""
    try:
        import mido

        with quiet_stderr():
            return action(mido)
    except ImportError as error:  # mido loads its backend, python-rtmidi, when it is first used
        raise missing(error) from None
    except Exception as error:  # rtmidi has its own kinds of errors
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise DeviceError(f"MIDI cannot be used here ({reason}); connect a controller, or use OSC") from None


def missing(error: ImportError) -> MissingExtraError:
    """What to install."""
    return MissingExtraError(
        f"This needs {error.name or 'mido'}. Install the extra 'remote'; in a checkout: pip install '.[remote]'"
    )


# -- OSC ---------------------------------------------------------------------------------------------------------------
class OscServer:
    """UDP packets on this machine's own address, each given to `handle` on a thread of its own."""

    def __init__(self, port: int, handle: Callable[[bytes], None]) -> None:
        if not (is_whole(port) and 0 <= port <= 65_535):
            raise DeviceError(f"The OSC port is {port}; allowed are 1 to 65535, and 0 for any that is free")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            reason = reason_of(error)
            raise DeviceError(
                f"OSC cannot listen on port {port} ({reason}); close what uses it, or choose another"
            ) from None
        self._socket.settimeout(POLL_SECONDS)
        self.port: int = self._socket.getsockname()[1]
        self._handle = handle
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="rtae-osc", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                data, _ = self._socket.recvfrom(PACKET_BYTES)
            except TimeoutError:
                continue
            except OSError:  # on Windows, an answer of ours that nobody took; elsewhere nothing that should repeat
                self._stopping.wait(POLL_SECONDS)
                continue
            self._handle(data)

    def close(self) -> None:
        """Stop, and free the port. May be called from a callback, too."""
        self._stopping.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket.close()


def osc_messages(data: bytes) -> list[tuple[str, list[float | str]]]:
    """Addresses and arguments of all messages in a packet, those in bundles at once whatever their time.

    Source: the OSC 1.0 specification. Not with python-osc, which (1.10.2) never returns from a bundle that holds an
    element of negative length. Raises ValueError, struct.error for what is broken, or has arguments of no use here.
    """
    found, waiting = [], [data]
    while waiting:
        part = waiting.pop()
        if part.startswith(BUNDLE):
            waiting += reversed(osc_elements(part))
        else:
            found.append(osc_message(part))
    return found


def osc_elements(data: bytes) -> list[bytes]:
    """The messages and bundles in a bundle: its name and time, then each with its length in front."""
    elements, index = [], 16
    while index < len(data):
        (length,) = struct.unpack_from(">i", data, index)
        index += 4
        if not 0 < length <= len(data) - index:
            raise ValueError("an element longer than its bundle, or with nothing in it")
        elements.append(data[index : index + length])
        index += length
    return elements


def osc_message(data: bytes) -> tuple[str, list[float | str]]:
    """Address and arguments of one message: both texts first, then what the second one names, a letter each."""
    address, index = osc_text(data, 0)
    tags, index = osc_text(data, index)
    if not address.startswith("/") or not tags.startswith(","):
        raise ValueError("no address, or no types")
    arguments: list[float | str] = []
    for tag in tags[1:]:
        if tag in NUMBERS:
            arguments += struct.unpack_from(NUMBERS[tag], data, index)
            index += struct.calcsize(NUMBERS[tag])
        elif tag == "s":
            text, index = osc_text(data, index)
            arguments.append(text)
        elif tag in "TF":
            arguments.append(float(tag == "T"))
        else:
            raise ValueError(f"an argument of type {tag}")
    if index != len(data):
        raise ValueError("more than its arguments")
    return address, arguments


def osc_text(data: bytes, index: int) -> tuple[str, int]:
    """A text that ends with zeros, up to the next multiple of 4, and where it ends."""
    end = data.index(b"\0", index)
    return data[index:end].decode(), end // 4 * 4 + 4


# -- bindings as a file ------------------------------------------------------------------------------------------------
def bindings_file() -> Path:
    """Where the user's bindings are kept."""
    return user_config_path("rtae") / "midi.json"


def save_bindings(path: Path, bindings: Mapping[Controller, str]) -> None:
    """Write bindings, whole or not at all; channels count from 1, as on controllers. Raises PresetError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PresetError(f"{path.parent} cannot be used ({reason_of(error)}); choose another folder") from None
    listed = [{"channel": c + 1, "controller": n, "id": id} for (c, n), id in sorted(bindings.items())]
    write_text(path, json.dumps({"format": FORMAT, "bindings": listed}, indent=1) + "\n", "the bindings")


def load_bindings(path: Path) -> tuple[dict[Controller, str], list[str]]:
    """Bindings, and a sentence for each parameter that this program does not know. Raises PresetError."""
    listed = read_json(path, MAX_BYTES, WHAT).get("bindings")
    if not isinstance(listed, list):
        raise PresetError(f"{path}: its bindings must be a list, not {shown(listed)}")
    bindings: dict[Controller, str] = {}
    notes = []
    for number, entry in enumerate(listed, 1):
        where = f"{path}, binding {number}"
        entry = entry if isinstance(entry, dict) else {}
        keys: tuple[Any, ...] = tuple(entry.get(key) for key in ("channel", "controller", "id"))
        channel, controller, id = keys
        if not (is_whole(channel) and 1 <= channel <= CHANNELS):
            raise PresetError(f"{where}: its channel is {shown(channel)}; allowed are 1 to {CHANNELS}")
        if not (is_whole(controller) and 0 <= controller < CONTROLLERS):
            raise PresetError(f"{where}: its controller is {shown(controller)}; allowed are 0 to {CONTROLLERS - 1}")
        if not isinstance(id, str):
            raise PresetError(f"{where}: its id is {shown(id)}; it must be a parameter's")
        if id not in TABLE:
            notes.append(f"Skipped, since this version does not know it: {shown(id)}")
        elif (channel - 1, controller) in bindings or id in bindings.values():
            raise PresetError(f"{where}: {id}, or its controller, is bound twice")
        else:
            bindings[channel - 1, controller] = id
    return bindings, notes
