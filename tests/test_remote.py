import json
import math
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise

import mido
import pytest
from pythonosc.osc_bundle_builder import OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from rtae.errors import DeviceError, MissingExtraError, ParameterError, PresetError
from rtae.params import PARAMETERS, TABLE
from rtae.remote import HOST, Remote, load_bindings, midi_ports, midi_position, save_bindings

PATIENCE = 5.0  # seconds, for a packet on a busy machine
FREED = 1.0  # seconds until a port is free


class Heard:
    def __init__(self):
        self.changes, self.presets, self.learned = [], [], []
        self.threads = set()

    def change(self, id, value):
        self.changes.append((id, value))
        self.threads.add(threading.get_ident())


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def remote(heard):
    remote = Remote(heard.change, heard.presets.append, lambda *what: heard.learned.append(what))
    yield remote
    remote.close()


def move(remote, controller, value, channel=0):
    remote.handle(mido.Message("control_change", channel=channel, control=controller, value=value))


# -- MIDI --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bits", [7, 14])
def test_a_controllers_ends_and_middle_are_those_of_the_knob(bits):
    places = [midi_position(value, bits) for value in range(1 << bits)]
    assert (places[0], places[1 << (bits - 1)], places[-1]) == (0, 0.5, 1)
    assert all(a < b for a, b in pairwise(places))


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
def test_every_knob_can_be_turned_from_end_to_end(remote, heard, parameter):
    remote.bind((3, 74), parameter.id)
    for value in (0, 127):
        move(remote, 74, value, channel=3)
    assert heard.changes == [(parameter.id, parameter.low), (parameter.id, parameter.high)]
    for value in range(128):
        move(remote, 74, value, channel=3)
        assert parameter.check(heard.changes[-1][1]) == heard.changes[-1][1]


def test_the_next_controller_that_moves_is_learned(remote, heard):
    move(remote, 20, 100)
    assert (heard.changes, remote.ignored) == ([], 1)
    remote.learn("mix")
    remote.handle(mido.Message("note_on", note=60))
    remote.handle(mido.Message("clock"))
    assert remote.learning == "mix"
    move(remote, 20, 127, channel=5)
    assert heard.learned == [("mix", (5, 20))]
    assert (remote.learning, heard.changes) == (None, [("mix", 1)])
    move(remote, 20, 0, channel=4)
    move(remote, 21, 0, channel=5)
    assert heard.changes == [("mix", 1)]
    move(remote, 20, 0, channel=5)
    assert heard.changes[-1] == ("mix", 0)


def test_a_knob_has_one_controller_and_a_controller_one_knob(remote):
    remote.bind((0, 1), "mix")
    remote.bind((0, 2), "mix")
    assert remote.bindings == {(0, 2): "mix"}
    before = remote.bindings
    remote.bind((0, 2), "drop")
    assert remote.bindings == {(0, 2): "drop"}
    assert before == {(0, 2): "mix"}
    remote.unbind("drop")
    assert remote.bindings == {}


def test_learning_can_be_given_up_and_needs_a_parameter(remote, heard):
    remote.learn("mix")
    remote.learn(None)
    move(remote, 20, 100)
    assert (remote.bindings, heard.changes) == ({}, [])
    for wrong in (lambda: remote.learn("nosuch"), lambda: remote.bind((0, 1), "nosuch")):
        with pytest.raises(ParameterError, match="'nosuch'"):
            wrong()


def test_a_fine_controller_moves_by_the_16383rd(remote, heard):
    remote.bind((0, 7), "mix")
    for coarse, fine in ((64, 0), (64, 1), (127, 127)):
        move(remote, 7, coarse)
        move(remote, 39, fine)
    values = [value for _, value in heard.changes]
    assert (values[1], values[5]) == (0.5, 1)
    assert 0.5 < values[3] < 0.5001
    move(remote, 39, 5, channel=1)
    assert len(heard.changes) == 6
    # A controller of its own where it is bound.
    remote.bind((0, 39), "drop")
    move(remote, 39, 127)
    assert heard.changes[-1] == ("drop", 1)


def test_program_changes_choose_presets(remote, heard):
    remote.preset_names = ["a", "b"]
    for program in (1, 2, 127, 0):
        remote.handle(mido.Message("program_change", program=program))
    assert heard.presets == ["b", "a"]


def test_what_is_no_message_and_a_failing_callback_raise_nothing(remote):
    remote.on_change = lambda *_: 1 / 0
    remote.bind((0, 7), "mix")
    for message in (None, object(), "x", mido.Message("sysex", data=[1, 2]), mido.MetaMessage("end_of_track")):
        remote.handle(message)
    move(remote, 7, 1)
    assert remote.ignored == 6


def test_ports_are_found_by_part_of_their_name_and_let_go(remote, heard, monkeypatch):
    opened = []

    class Port:
        def __init__(self, name, callback):
            self.name, self.callback, self.closed = name, callback, False
            opened.append(self)

        def close(self):
            self.closed = True

    monkeypatch.setattr(mido, "get_input_names", lambda: ["nanoKONTROL:0", "Launch:0", "Launch:0"])
    monkeypatch.setattr(mido, "open_input", Port)
    assert midi_ports() == ["nanoKONTROL:0", "Launch:0"]
    assert remote.open_midi("kontrol") == "nanoKONTROL:0"
    remote.bind((0, 7), "mix")
    opened[0].callback(mido.Message("control_change", control=7, value=0))
    assert heard.changes == [("mix", 0)]
    with pytest.raises(DeviceError, match="No MIDI input 'x'; there are 'nanoKONTROL:0', 'Launch:0'"):
        remote.open_midi("x")
    assert not opened[0].closed
    remote.open_midi("Launch:0")
    assert (opened[0].closed, opened[1].closed) == (True, False)
    remote.close()
    assert opened[1].closed


def test_without_a_midi_system_or_the_extra_it_says_so(remote, monkeypatch, capfd):
    def fail(*_, **__):
        raise OSError("no sequencer.")

    monkeypatch.setattr(mido, "get_input_names", fail)
    with pytest.raises(DeviceError, match=r"^MIDI cannot be used here \(no sequencer\); "):
        remote.open_midi("x")
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(MissingExtraError, match=r"mido.*extra 'remote'"):
        midi_ports()


def test_looking_for_ports_on_this_machine_prints_nothing(capfd):
    with suppress(DeviceError):
        assert all(isinstance(name, str) for name in midi_ports())
    assert capfd.readouterr().err == ""


def test_nothing_is_loaded_before_it_is_used():
    code = "import sys, rtae.remote; print([m for m in ('mido', 'rtmidi', 'pythonosc', 'PySide6') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# -- OSC ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def send(remote):
    """Packets to the server; then a last one, whose arrival shows that those before it were dealt with."""
    port = remote.open_osc(0)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    arrived = threading.Event()
    plain = remote.on_preset

    def on_preset(name):
        if name == "the last":
            arrived.set()
        else:
            plain(name)

    remote.on_preset = on_preset

    def call(*packets):
        arrived.clear()
        for packet in (*packets, message("/rtae/preset", "the last")):
            out.sendto(packet, (HOST, port))
        assert arrived.wait(PATIENCE)

    yield call
    out.close()


def message(address, *arguments):
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return builder.build().dgram


def bundle(seconds, *packets):
    builder = OscBundleBuilder(seconds)
    for packet in packets:
        builder.add_content(OscMessage(packet))
    return builder.build().dgram


def test_values_positions_and_presets_arrive_from_a_thread(remote, heard, send):
    send(
        message("/rtae/mix", 0.5),
        message("/rtae/input_gain", -6),
        message("/rtae/macro_1/position", 0.75),
        message("/rtae/bypass", True),
        message("/rtae/noise_seed", 12.4),
        message("/rtae/preset", "Underwater"),
    )
    assert heard.changes == [("mix", 0.5), ("input_gain", -6), ("macro_1", 2), ("bypass", 1), ("noise_seed", 12)]
    assert heard.presets == ["Underwater"]
    assert threading.get_ident() not in heard.threads
    assert remote.ignored == 0


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
def test_beyond_a_range_is_its_end_and_no_number_is_nothing(remote, heard, parameter):
    for value in (-1e30, 1e30, -math.inf, math.inf):
        remote.packet(message(f"/rtae/{parameter.id}", value))
        remote.packet(message(f"/rtae/{parameter.id}/position", value))
    assert [value for _, value in heard.changes] == [parameter.low, parameter.low, parameter.high, parameter.high] * 2
    heard.changes.clear()
    for ending in ("", "/position"):
        remote.packet(message(f"/rtae/{parameter.id}{ending}", math.nan))
    assert (heard.changes, remote.ignored) == ([], 2)


def nested(depth):
    packet = message("/rtae/mix", 0.5)
    for _ in range(depth):
        packet = b"#bundle\0" + struct.pack(">Q", 1) + struct.pack(">i", len(packet)) + packet
    return packet


HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "zeros": bytes(1000),
    "large": b"/rtae/mix\0\0\0" + b"x" * 60_000,
    "no arguments": b"/rtae/mix\0\0\0",
    "cut": message("/rtae/mix", 0.5)[:-2],
    "a text": message("/rtae/mix", "0.5"),
    "two": message("/rtae/mix", 0.5, 0.6),
    "a blob": message("/rtae/mix", b"\0" * 16),
    "an array": message("/rtae/mix", [0.5, [0.5]]),
    "unknown": message("/rtae/nosuch", 0.5),
    "unknown kind": message("/rtae/mix/nosuch", 0.5),
    "longer": message("/rtae/mix/position/x", 0.5),
    "another program's": message("/live/mix", 0.5),
    "a pattern": message("/rtae/*", 0.5),
    "a preset of 5": message("/rtae/preset", 5),
    "a long preset": message("/rtae/preset", "x" * 5000),
    "a negative length": b"#bundle\0" + struct.pack(">Qi", 1, -4) + b"abcd",
    "an endless length": b"#bundle\0" + struct.pack(">Qi", 1, 2**31 - 1) + b"abcd",
    "an empty bundle": b"#bundle\0" + struct.pack(">Q", 1),
    "a bad tag": b"/rtae/mix\0\0\0,Z\0\0",
    "not utf-8": b"/rtae/\xff\xfe\0\0\0\0,f\0\0\0\0\0\0",
}


@pytest.mark.parametrize("packet", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_packet_does_nothing(heard, send, packet):
    send(packet, message("/rtae/drop", 1.0))
    assert heard.changes == [("drop", 1)]
    assert heard.presets == []


def test_bundles_are_played_at_once_however_late_or_deep(heard, send):
    start = time.monotonic()
    send(bundle(time.time() + 3600, message("/rtae/mix", 0.5), message("/rtae/drop", 1.0)), nested(20), nested(3000))
    assert time.monotonic() - start < PATIENCE
    assert {("mix", 0.5), ("drop", 1)} <= set(heard.changes)


def test_a_failing_callback_does_not_end_the_server(remote, heard, send):
    plain, remote.on_change = remote.on_change, lambda *_: 1 / 0
    send(message("/rtae/mix", 0.5))
    remote.on_change = plain
    send(message("/rtae/mix", 0.25))
    assert (heard.changes, remote.ignored) == ([("mix", 0.25)], 1)


def test_a_port_in_use_is_one_clear_error_and_is_free_after_closing(remote):
    port = remote.open_osc(0)
    other = Remote(lambda *_: None)
    with pytest.raises(DeviceError, match=f"OSC cannot listen on port {port} .*choose another"):
        other.open_osc(port)
    start = time.monotonic()
    remote.close_osc()
    remote.close_osc()
    assert other.open_osc(port) == port
    other.close()
    assert time.monotonic() - start < FREED
    assert not [thread for thread in threading.enumerate() if thread.name == "rtae-osc"]


def test_a_server_that_cannot_move_stays_where_it_is(remote, heard, send):
    for port in (-1, 65_536, True, 1.5, "9000"):
        with pytest.raises(DeviceError, match="allowed are 1 to 65535"):
            remote.open_osc(port)
    send(message("/rtae/mix", 0.5))
    assert heard.changes == [("mix", 0.5)]


def test_it_listens_on_this_machine_only_and_not_unless_asked(remote):
    assert not [thread for thread in threading.enumerate() if thread.name == "rtae-osc"]
    remote.open_osc(0)
    assert remote._osc._socket.getsockname()[0] == "127.0.0.1"


# -- bindings as a file ------------------------------------------------------------------------------------------------
def test_bindings_are_kept_with_channels_as_on_controllers(tmp_path):
    path, bindings = tmp_path / "new" / "midi.json", {(15, 127): "mix", (0, 0): "drop"}
    save_bindings(path, bindings)
    assert load_bindings(path) == (bindings, [])
    assert json.loads(path.read_text())["bindings"][0] == {"channel": 1, "controller": 0, "id": "drop"}
    assert list(path.parent.iterdir()) == [path]


def test_bindings_of_the_future_are_skipped_and_told(tmp_path):
    bound = [{"channel": 1, "controller": 1, "id": "warp"}, {"channel": 1, "controller": 1, "id": "mix", "x": 1}]
    (tmp_path / "m.json").write_text(json.dumps({"format": 1, "bindings": bound}))
    bindings, notes = load_bindings(tmp_path / "m.json")
    assert bindings == {(0, 1): "mix"}
    assert len(notes) == 1
    assert "'warp'" in notes[0]
    assert "warp" not in TABLE


def bound(*entries):
    return json.dumps({"format": 1, "bindings": entries})


ENTRY = {"channel": 1, "controller": 7, "id": "mix"}
WRONG = {
    "no json": ("{", "not valid JSON"),
    "no list": ('{"format": 1, "bindings": {}}', "must be a list"),
    "no object": (bound(1), "binding 1: its channel is None"),
    "channel 0": (bound(ENTRY | {"channel": 0}), "its channel is 0; allowed are 1 to 16"),
    "channel 17": (bound(ENTRY | {"channel": 17}), "its channel is 17"),
    "channel true": (bound(ENTRY | {"channel": True}), "its channel is True"),
    "controller 128": (bound(ENTRY, ENTRY | {"controller": 128}), "binding 2: its controller is 128; allowed are 0 to"),
    "half a controller": (bound(ENTRY | {"controller": 0.5}), "its controller is 0.5"),
    "an id of 5": (bound(ENTRY | {"id": 5}), "its id is 5"),
    "a list as id": (bound(ENTRY | {"id": ["mix"]}), "its id is ['mix']"),
    "a controller twice": (bound(ENTRY, ENTRY | {"id": "drop"}), "binding 2: drop, or its controller, is bound twice"),
    "an id twice": (bound(ENTRY, ENTRY | {"controller": 8}), "binding 2: mix, or its controller, is bound twice"),
}


@pytest.mark.parametrize(("text", "problem"), WRONG.values(), ids=WRONG)
def test_wrong_bindings_are_one_clear_error(tmp_path, text, problem):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(PresetError) as caught:
        load_bindings(tmp_path / "m.json")
    assert problem in str(caught.value)
    assert str(tmp_path / "m.json") in str(caught.value)
