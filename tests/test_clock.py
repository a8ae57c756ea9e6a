import time
from types import SimpleNamespace

import numpy as np
import pytest

from rtae.audio.clock import ClockStream
from rtae.audio.device import Request, open_stream

WAIT = 10  # seconds until a test gives up on something that takes a moment


def half(out: np.ndarray, source: np.ndarray | None) -> None:
    out[:] = 0.5


def broken(out: np.ndarray, source: np.ndarray | None) -> None:
    out[0] = 1
    raise KeyError("a defect")


def until(condition) -> bool:
    end = time.monotonic() + WAIT
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


def test_the_clock_calls_back():
    shapes = []
    got = open_stream(
        Request(8000, 2, 1, output="silent", block=16), lambda *arrays: shapes.append([a.shape for a in arrays])
    )
    assert (got.name, got.rate, got.outputs, got.inputs, got.block) == ("silent", 8000, 2, 1, 16)
    start = time.monotonic()
    got.start()
    assert until(lambda: got.callbacks >= 100)
    # Never before they are due; how much later is up to the machine.
    assert got.callbacks <= 1 + (time.monotonic() - start) * 8000 / 16
    assert shapes[0] == shapes[-1] == [(16, 2), (16, 1)]
    assert (got.active, got.failed, got.output_latency, got.input_latency) == (True, None, 0, 0)
    assert got.close(timeout=WAIT)
    assert not got.thread.is_alive()
    assert not got.active


def test_the_clock_catches_up_a_little_and_skips_a_lot(monkeypatch):
    now = SimpleNamespace(value=50.0, monotonic=lambda: now.value)
    monkeypatch.setattr("rtae.audio.clock.time", now)
    got = ClockStream(Request(1000, 1, block=100), half)  # 10 blocks a second
    naps = iter([0.0] + [0.5] + [0.0] * 5 + [5.05] + [0.0] * 3)
    waits = []

    def wait(seconds: float) -> bool:
        """Waits as long as it should, and longer; stops after the last nap."""
        waits.append(seconds)
        nap = next(naps, None)
        now.value += seconds + (nap or 0.0)
        return nap is None

    monkeypatch.setattr(got.stopping, "wait", wait)
    got.tick()
    # Block 1 is 0.5 s late, 2 to 5 follow at once, 6 waits again; block 7 is 5 s late: the lost ones are left out.
    assert got.underflows == 1
    assert got.callbacks == 11
    # The beat goes on where it was: half of a period after the skip, not a whole one.
    assert waits[8] == pytest.approx(0.05)
    assert [wait > 0 for wait in waits] == [False, True] + 4 * [False] + 3 * [True] + 3 * [True]


def test_the_clock_survives_a_broken_callback():
    got = open_stream(Request(8000, 1, output="silent", block=8), broken)
    got.start()
    assert until(lambda: got.callbacks > 3)
    assert "KeyError" in got.failed
    assert got.close(timeout=WAIT)


def test_closing_what_never_started():
    got = open_stream(Request(8000, 1, output="silent"), half)
    assert got.close(timeout=WAIT)
    assert (got.error, got.failed) == (None, None)
