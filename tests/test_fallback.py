import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rtae.audio import fallback
from rtae.audio.device import Request, devices, open_stream
from rtae.errors import DeviceError

WAIT = 10  # seconds until a test gives up on something that takes a moment


def broken(out: np.ndarray, source: np.ndarray | None) -> None:
    out[0] = 1
    raise KeyError("a defect")


def until(condition) -> bool:
    end = time.monotonic() + WAIT
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


@pytest.fixture
def null(monkeypatch):
    """miniaudio's device for tests, PortAudio being missing."""
    ma = pytest.importorskip("miniaudio")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr(fallback, "backends", lambda ma: [ma.Backend.NULL])
    return ma


def test_the_pretended_device_is_never_a_fallback():
    ma = pytest.importorskip("miniaudio")
    found = fallback.backends(ma)
    assert found
    assert ma.Backend.NULL not in found


def test_miniaudio_lists(null):
    names = [(d.name, d.host, d.outputs, d.inputs, d.default) for d in devices()]
    assert names == [
        ("default", "Null", 2, 2, True),
        ("NULL Playback Device", "Null", 2, 0, False),
        ("NULL Capture Device", "Null", 0, 2, False),
    ]


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 0), (2, 0), (0, 1), (1, 2)])
@pytest.mark.parametrize("named", [False, True])
def test_miniaudio_runs(null, outputs, inputs, named):
    shapes = set()

    def callback(out: np.ndarray, source: np.ndarray | None) -> None:
        out[:] = 0.5
        shapes.add((out.shape, None if source is None else source.shape))

    which = {"output": "playback", "input": "capture"} if named else {}
    got = open_stream(Request(44_100, outputs, inputs, **which), callback)
    assert (got.rate, got.outputs, got.inputs, got.host) == (44_100, outputs, inputs, "Null (miniaudio)")
    assert abs(got.block - 512) <= 23  # whole milliseconds
    assert ("NULL" in got.name) == named
    got.start()
    assert until(lambda: got.callbacks >= 5)
    assert (got.active, got.failed, got.error) == (True, None, None)
    assert shapes == {((got.block, outputs), (got.block, inputs) if inputs else None)}
    assert got.close(timeout=WAIT)
    assert not got.active


def test_miniaudio_serves_where_portaudio_finds_nothing(null, monkeypatch):
    empty = SimpleNamespace(
        PortAudioError=OSError,
        default=SimpleNamespace(device=[-1, -1]),
        query_hostapis=lambda: [{"name": "ALSA"}],
        query_devices=list,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", empty)
    assert [d.name for d in devices()][:1] == ["default"]
    got = open_stream(Request(44_100, 2), broken)
    assert got.host == "Null (miniaudio)"
    assert got.close(timeout=WAIT)


def test_miniaudio_may_ask_for_more_than_a_block(null):
    got = open_stream(Request(44_100, 2), lambda out, _: out.fill(0.5))
    moving = got.move()
    next(moving)
    for count in (5, 3 * got.block, 7):
        assert np.array_equal(np.frombuffer(moving.send(count), np.float32), np.full(2 * count, 0.5))
    assert got.close(timeout=WAIT)


def test_miniaudio_fails_as_others_do(null):
    got = open_stream(Request(44_100, 2), broken)
    got.start()
    assert until(lambda: got.callbacks >= 3)
    assert "KeyError" in got.failed
    assert got.close(timeout=WAIT)
    with pytest.raises(DeviceError, match="No output device 'piano'; there are 0 default"):
        open_stream(Request(44_100, 2, output="piano"), broken)
