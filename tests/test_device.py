import sys
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from rtae.audio import device, fallback, stream
from rtae.audio.clock import ClockStream
from rtae.audio.device import NO_CARD, NO_LIBRARY, Request, devices, find_device, open_stream
from rtae.errors import DeviceError, ParameterError

WAIT = 10  # seconds until a test gives up on something that takes a moment
FINE = SimpleNamespace(output_underflow=0, output_overflow=0, input_underflow=0, input_overflow=0)


class PortAudioError(Exception):
    pass


def row(name: str, outputs: int, inputs: int, rate: float = 44_100.0, host: int = 0) -> dict:
    return {
        "name": name,
        "hostapi": host,
        "max_output_channels": outputs,
        "max_input_channels": inputs,
        "default_samplerate": rate,
        "default_low_output_latency": 0.03,
        "default_low_input_latency": 0.02,
    }


TABLE = [
    row("Box: USB Audio", 2, 0),
    row("Box: USB", 2, 2, 96_000.0),
    row("Laptop", 2, 0, 48_000.0),
    row("Laptop microphone", 0, 1, 48_000.0),
    row("Studio 96", 8, 8, 96_000.0, host=1),
]


class FakeStream:
    """What sounddevice's streams show; `refuse` may raise for what is asked."""

    def __init__(self, module, kind: str, **asked) -> None:
        self.kind, self.asked = kind, asked
        module.attempts.append((kind, asked["samplerate"], asked["channels"]))
        module.refuse(kind, asked)
        self.module, self.active, self.closed = module, False, 0
        self.latency = (0.2, 0.1) if kind == "duplex" else 0.1
        module.streams.append(self)

    def start(self) -> None:
        self.module.starting()
        self.active = True

    def close(self, ignore_errors: bool) -> None:
        assert self.module.go_on.wait(WAIT)
        self.closed += 1
        self.active = False

    def call(self, frames: int = 512, delay: float = 0.15, age: float = 0.05, **flags) -> np.ndarray:
        """One block, of ones if nobody fills it, whose input is so many seconds old."""
        times = SimpleNamespace(outputBufferDacTime=5 + delay, currentTime=5.0, inputBufferAdcTime=5.0 - age)
        channels = self.asked["channels"]
        status = SimpleNamespace(**{**vars(FINE), **flags}) if flags else None
        if self.kind == "duplex":
            source, out = (np.ones((frames, count), np.float32) for count in channels)
            self.asked["callback"](source, out, frames, times, status)
        else:
            out = np.ones((frames, channels), np.float32)
            self.asked["callback"](out, frames, times, status)
        return out


class FakePortAudio:
    """The part of the module sounddevice that is used."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.table, self.attempts, self.streams = list(TABLE), [], []
        self.default = SimpleNamespace(device=[3, 2])
        self.refuse = refusing()
        self.starting = lambda: None
        self._initialized = 1
        self.go_on = threading.Event()
        self.go_on.set()
        for name, kind in (("OutputStream", "output"), ("InputStream", "input"), ("Stream", "duplex")):
            setattr(self, name, partial(FakeStream, self, kind))

    def query_devices(self) -> list[dict]:
        if not self._initialized:
            raise PortAudioError("PortAudio not initialized", -10000)
        return self.table

    def query_hostapis(self) -> list[dict]:
        return [{"name": "ALSA"}, {"name": "JACK"}]

    def _terminate(self) -> None:
        self._initialized -= 1

    def _initialize(self) -> None:
        self._initialized += 1
        self.table = TABLE[:2]


@pytest.fixture
def sd(monkeypatch) -> FakePortAudio:
    fake = FakePortAudio()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(device, "held", set())
    monkeypatch.setattr(fallback, "miniaudio", lambda: None)
    return fake


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The time that streams see."""
    fake = SimpleNamespace(now=100.0, monotonic=lambda: fake.now)
    monkeypatch.setattr(stream, "time", fake)
    return fake


def half(out: np.ndarray, source: np.ndarray | None) -> None:
    out[:] = 0.5


# -- what there is ---------------------------------------------------------------------------------------------------
def test_devices_are_listed(sd):
    found = devices()
    assert [d.index for d in found] == [0, 1, 2, 3, 4]
    assert (found[1].outputs, found[1].inputs, found[1].rate, found[4].host) == (2, 2, 96_000, "JACK")
    assert (found[0].latency, found[0].input_latency) == (0.03, 0.02)
    assert [d.default_output for d in found] == [False, False, True, False, False]
    assert [d.default_input for d in found] == [False, False, False, True, False]
    assert [d.default for d in found] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("wanted", "kind", "index"),
    [
        (None, "output", 2),
        ("", "output", 2),
        (None, "input", 3),
        ("1", "output", 1),
        ("1", "input", 1),
        ("Box: USB", "output", 1),  # the exact name, though an earlier one begins so
        ("usb audio", "output", 0),
        ("box", "output", 0),
        ("laptop", "input", 3),
        ("jack", "output", 4),
        ("Box: USB, ALSA", "output", 1),
    ],
)
def test_a_device_is_found(sd, wanted, kind, index):
    assert find_device(wanted, kind).index == index


def test_a_number_is_kept_as_a_name(sd):
    """Since it means another device as soon as one is connected."""
    found = devices()
    for wanted, kind in (("1", "output"), ("4", "output"), ("3", "input")):
        name = stream.pin(found, wanted, kind)
        assert name == f"{found[int(wanted)].name}, {found[int(wanted)].host}"
        assert stream.choose(found, name, kind).index == int(wanted)
        assert stream.choose([*found[2:], *found[:2]], name, kind).index == int(wanted)
    assert stream.pin(found, None, "output") is None
    assert stream.pin(found, "usb", "output") == "usb"
    assert stream.pin(found, "silent", "output") == "silent"
    with pytest.raises(DeviceError, match="No output device '9'"):
        stream.pin(found, "9", "output")


def test_a_number_is_kept_where_the_name_means_two(sd):
    twin = replace(devices()[1], index=7)
    found = [*devices(), twin]
    assert stream.pin(found, "7", "output") == "7"
    assert stream.choose(found, "7", "output") is twin


@pytest.mark.parametrize(("wanted", "kind"), [("3", "output"), ("0", "input"), ("9", "output"), ("piano", "input")])
def test_a_wrong_device_is_answered_with_the_right_ones(sd, wanted, kind):
    with pytest.raises(DeviceError) as raised:
        find_device(wanted, kind)
    assert f"No {kind} device '{wanted}'; there are" in str(raised.value)
    assert ("2 Laptop," in str(raised.value)) == (kind == "output")
    assert ("3 Laptop microphone" in str(raised.value)) == (kind == "input")


def test_without_a_default_the_first_will_do(sd):
    sd.default.device = [-1, -1]
    assert (find_device(None, "output").index, find_device(None, "input").index) == (0, 1)


def test_without_any_device(sd):
    sd.table = TABLE[2:3]
    with pytest.raises(DeviceError, match="No sound input"):
        find_device(None, "input")
    sd.table = []
    assert devices() == []
    with pytest.raises(DeviceError, match=NO_CARD.split(".")[0]):
        open_stream(Request(44_100, 2), half)
    silent = open_stream(Request(44_100, 2), half, silent=True)
    assert isinstance(silent, ClockStream)
    assert silent.reason == NO_CARD
    with pytest.raises(DeviceError):
        open_stream(Request(44_100, 2, output="Box"), half, silent=True)


def test_looking_again_is_for_when_all_is_closed(sd):
    playing = open_stream(Request(44_100, 2), half)
    with pytest.raises(DeviceError, match="stop first"):
        devices(rescan=True)
    assert playing.close()
    sd._initialized = 2
    assert len(devices(rescan=True)) == 2
    assert sd._initialized == 1


def test_without_portaudio(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(fallback, "miniaudio", lambda: None)
    for action in (devices, partial(open_stream, Request(44_100, 2), half)):
        with pytest.raises(DeviceError) as raised:
            action()
        assert str(raised.value) == NO_LIBRARY
    assert isinstance(open_stream(Request(44_100, 2), half, silent=True), ClockStream)


def test_a_portaudio_that_does_not_start(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise RuntimeError('Internal error')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(DeviceError, match="Internal error"):
        device.portaudio()


# -- asking ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"outputs": -1},
        {"outputs": 0},
        {"inputs": 1000},
        {"block": 0},
        {"latency_seconds": 1e9},
        {"latency_seconds": float("nan")},
    ],
)
def test_impossible_requests(wrong):
    with pytest.raises(ParameterError):
        Request(**{"rate": 44_100, "outputs": 2, **wrong})


def refusing(rates=(), outputs=(), both=(), code=-9997):
    def refuse(kind: str, asked: dict) -> None:
        channels = asked["channels"][1] if kind == "duplex" else asked["channels"]
        if asked["samplerate"] in rates or channels in outputs or (asked["samplerate"], channels) in both:
            raise PortAudioError("Refused", code)

    return refuse


@pytest.mark.parametrize(
    ("asked", "refuse", "agreed"),
    [
        ({"outputs": 2}, refusing(), (22_050, 2, 0)),
        ({"outputs": 6}, refusing(), (22_050, 2, 0)),
        ({"outputs": 1}, refusing(outputs=[1]), (22_050, 2, 0)),
        ({"outputs": 2}, refusing(outputs=[2]), (22_050, 1, 0)),
        ({"outputs": 2, "output": "Studio"}, refusing(outputs=[1, 2]), (22_050, 8, 0)),
        ({"outputs": 2, "output": "Studio"}, refusing(outputs=[2]), (22_050, 8, 0)),
        ({"outputs": 2, "output": "Studio"}, refusing(both=[(22_050, 2)]), (22_050, 8, 0)),
        ({"outputs": 2}, refusing(both=[(22_050, 2)]), (48_000, 2, 0)),  # rather than mono
        ({"outputs": 2, "output": "Studio"}, refusing(rates=[22_050]), (96_000, 2, 0)),
        ({"outputs": 2, "output": "Studio"}, refusing(rates=[22_050, 96_000]), (48_000, 2, 0)),
        ({"outputs": 1, "output": "Studio"}, refusing([22_050, 96_000, 48_000], [1]), (44_100, 2, 0)),
        ({"outputs": 2, "inputs": 2}, refusing(), (22_050, 2, 1)),
        ({"outputs": 0, "inputs": 1}, refusing(), (22_050, 0, 1)),
        ({"outputs": 2, "inputs": 2, "input": "Box"}, refusing(rates=[22_050, 48_000]), (96_000, 2, 2)),
    ],
)
def test_agreeing(sd, asked, refuse, agreed):
    sd.refuse = refuse
    got = open_stream(Request(rate=22_050, **asked), half)
    assert (got.rate, got.outputs, got.inputs) == agreed
    assert sd.streams[-1].asked["samplerate"] == got.rate
    assert got.block == sd.streams[-1].asked["blocksize"] == 512
    assert len(sd.streams) == 1
    assert got.close()


def test_devices_are_handed_over_in_portaudio_s_order(sd):
    got = open_stream(Request(48_000, 2, 1, output="Laptop", input="Box: USB"), half)
    assert (sd.streams[0].asked["device"], sd.streams[0].asked["channels"]) == ((1, 2), (1, 2))
    assert (got.name, got.host) == ("Laptop / Box: USB", "ALSA")
    assert (got.input_latency, got.output_latency) == (0.2, 0.1)


def test_what_nothing_works_with(sd):
    sd.refuse = refusing(rates=range(10**6))
    with pytest.raises(DeviceError, match=r"'Laptop' \(ALSA\) cannot be opened.*Refused.*rtae devices"):
        open_stream(Request(22_050, 2), half)
    assert {rate for _, rate, _ in sd.attempts} == {22_050, 48_000, 44_100}
    assert isinstance(open_stream(Request(22_050, 2), half, silent=True), ClockStream)


def test_a_device_in_use_is_not_asked_again_and_again(sd):
    sd.refuse = refusing(rates=range(10**6), code=-9985)
    with pytest.raises(DeviceError):
        open_stream(Request(22_050, 2), half)
    assert len(sd.attempts) == 1


def test_two_sound_systems(sd):
    sd.refuse = refusing(rates=range(10**6), code=-9993)
    with pytest.raises(DeviceError, match="of the same sound system"):
        open_stream(Request(44_100, 2, 2, output="Studio", input="Box"), half)


def test_a_device_that_does_not_start(sd):
    def starting() -> None:
        raise PortAudioError("Unanticipated host error", -9999)

    sd.starting = starting
    with pytest.raises(DeviceError, match="'Laptop' does not start"):
        open_stream(Request(44_100, 2), half).start()


# -- running ---------------------------------------------------------------------------------------------------------
def test_a_stream_counts_and_measures(sd, clock):
    def double(out: np.ndarray, source: np.ndarray | None) -> None:
        assert source is not None
        out[:] = 2 * source

    got = open_stream(Request(44_100, 1, 1), double)
    assert (got.active, got.failed, got.callbacks, got.output_latency) == (False, None, 0, 0.1)
    got.start()
    fake = sd.streams[0]
    for delay in (0.15, 0.15, 0.9, -3.0, 0.15):
        clock.now += 0.01
        assert np.all(fake.call(delay=delay) == 2)
    assert (got.active, got.failed, got.callbacks, got.last_callback) == (True, None, 5, clock.now)
    assert got.output_latency == pytest.approx(0.15)
    assert got.input_latency == pytest.approx(0.05)  # the round trip's rest, not the full buffer that is stated: 0.2
    fake.call(output_underflow=1, input_overflow=1)
    fake.call(output_underflow=1)
    fake.call(priming_output=1)  # no dropout
    assert (got.underflows, got.overflows, got.flags) == (2, 1, 3)


def test_times_that_cannot_be_are_not_believed(sd):
    got = open_stream(Request(44_100, 2), half)
    got.start()
    sd.streams[0].call(delay=-5.0)
    sd.streams[0].call(delay=0.0)
    assert got.output_latency == 0.1
    sd.streams[0].call(delay=0.3)
    assert got.output_latency == pytest.approx(0.3)


def test_a_time_of_recording_by_another_clock_is_not_believed(sd):
    got = open_stream(Request(44_100, 1, 1), half)
    got.start()
    sd.streams[0].call(age=5e6)
    assert got.input_latency == 0.2


def test_a_device_that_ran_dry_is_uneven_until_it_waits_again(sd, clock):
    seen = []

    def note(out: np.ndarray, source: np.ndarray | None) -> None:
        seen.append(got.even)
        out.fill(0)

    got = open_stream(Request(44_100, 2), note)
    got.start()
    # Two blocks at once are nothing special; after an underflow any number of them is.
    for pause, flags in (
        (0.02, {}),
        (0.0, {}),
        (0.4, {"output_underflow": 1}),
        (0.0, {}),
        (0.0001, {}),
        (0.04, {}),
        (0.0, {}),
    ):
        clock.now += pause
        sd.streams[0].call(**flags)
    assert seen == [True, True, False, False, False, True, True]


def test_recording_only(sd):
    heard = []
    got = open_stream(Request(44_100, 0, 1), lambda out, source: heard.append((out.shape, source.shape)))
    got.start()
    sd.streams[0].call()
    assert heard == [((512, 0), (512, 1))]
    assert (got.error, got.input_latency) == (None, 0.1)


@pytest.mark.parametrize("error", [KeyError("a defect"), SystemExit(1)])
def test_an_exception_in_the_callback_is_kept_and_silences(sd, error):
    calls = []

    def fail(out: np.ndarray, source: np.ndarray | None) -> None:
        calls.append(1)
        out[0] = 1
        raise error

    got = open_stream(Request(44_100, 2), fail)
    got.start()
    for _ in range(3):
        assert not sd.streams[0].call().any()
    assert (len(calls), got.callbacks) == (1, 3)
    assert got.error is error
    assert type(error).__name__ in got.failed


@pytest.mark.parametrize(
    ("block", "latency", "patience"), [(512, 0.1, 0.5), (8192, 0.1, 10 * 8192 / 44_100), (512, 1.5, 1.5)]
)
def test_the_watchdog(sd, clock, block, latency, patience):
    got = open_stream(Request(44_100, 2, block=block, latency_seconds=latency), half)
    got.start()
    clock.now += 1.9
    assert got.failed is None  # it may need a moment to wake up
    clock.now += 0.2
    assert ("no sound for 2.1 s" in got.failed) == (patience < 2)
    sd.streams[0].call()
    assert got.failed is None
    clock.now += 0.99 * patience
    assert got.failed is None
    clock.now += 0.02 * patience
    assert "hangs" in got.failed
    assert got.active
    sd.streams[0].call()
    assert got.failed is None


@pytest.mark.parametrize("way", ["finished", "inactive", "unknown"])
def test_a_device_that_goes_away(sd, monkeypatch, way):
    got = open_stream(Request(44_100, 2), half)
    got.start()
    sd.streams[0].call()
    assert got.failed is None
    if way == "finished":
        sd.streams[0].asked["finished_callback"]()
    elif way == "inactive":
        sd.streams[0].active = False
    else:  # PortAudio no longer knows the stream
        monkeypatch.setattr(got, "stream", SimpleNamespace())
        monkeypatch.setattr(got, "error_type", AttributeError)
    assert "'Laptop' went away" in got.failed
    assert not got.active


def test_closing(sd):
    got = open_stream(Request(44_100, 2), half)
    got.start()
    assert np.all(sd.streams[0].call() == 0.5)
    assert got.close()
    assert got.close()
    assert sd.streams[0].closed == 1
    assert not sd.streams[0].call().any()  # a last one that was under way no longer reaches the owner
    assert (got.active, got.failed) == (False, None)


def test_closing_that_hangs(sd):
    got = open_stream(Request(44_100, 2), half)
    got.start()
    sd.go_on.clear()
    assert not got.close(timeout=0.05)
    assert not got.close(timeout=0.05)
    with pytest.raises(DeviceError, match="stop first"):
        devices(rescan=True)
    sd.go_on.set()
    assert got.close(timeout=WAIT)
    assert sd.streams[0].closed == 1
