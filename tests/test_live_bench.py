import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rtae import live_bench
from rtae.errors import DeviceError
from rtae.live_bench import Dropouts, PassThrough, Tally, disturb, hog, memory_mb, soak, summed_up, turning
from rtae.nets.config import SMALL, TINY
from rtae.params import PARAMETERS
from rtae.shared import Status

PATIENCE_SECONDS = 60.0  # a busy machine takes long to start a process


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, files_of, store_model):
    place = tmp_path_factory.mktemp("models")
    return [store_model(place / "one", files_of(SMALL)), store_model(place / "two", files_of(TINY))]


@pytest.fixture
def hasty(monkeypatch):
    """Nothing to wait for."""
    monkeypatch.setattr(live_bench, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(live_bench, "RSS_SECONDS", 0.3)
    monkeypatch.setattr(live_bench, "FIRST_SECONDS", 0.5)


class FakeClient:
    """Says what the test wants it to."""

    def __init__(self):
        self.at, self.restarts = Status(), 0

    def status(self):
        return self.at

    def says(self, **changes):
        self.at = Status(**{**vars(self.at), **changes})


# -- counting ----------------------------------------------------------------------------------------------------------
def test_counts_since_the_beginning():
    client = FakeClient()
    client.says(flags=3, late=100)
    client.restarts = 1
    tally = Tally("one", client)
    tally.read()
    assert tally.dropouts() == Dropouts("one", 0, 0, 0, 0.0, 0)
    client.says(flags=5, late=150)
    tally.read()
    tally.read()
    assert tally.dropouts() == Dropouts("one", 2, 50, 1, 0.0, 0)


def test_counts_that_begin_anew_with_another_device_or_process():
    client = FakeClient()
    client.says(flags=3, late=100)
    tally = Tally("one", client)
    client.says(flags=1, late=20)
    client.restarts = 2
    tally.read()
    assert tally.dropouts() == Dropouts("one", 1, 20, 1, 0.0, 2)


def test_late_samples_of_one_moment_are_one_dip(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(live_bench, "monotonic", lambda: now.seconds)
    client = FakeClient()
    tally = Tally("one", client)
    for at, late in ((1.0, 10), (1.05, 20), (1.1, 30), (2.0, 40), (2.5, 40), (3.0, 50)):
        now.seconds = at
        client.says(late=late)
        tally.read()
    assert (tally.dropouts().late, tally.dropouts().dips) == (50, 3)


def test_the_load_is_a_mean_over_time(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(live_bench, "monotonic", lambda: now.seconds)
    client = FakeClient()
    tally = Tally("one", client)
    for at, load in ((3.0, 0.1), (4.0, 0.5)):
        now.seconds = at
        client.says(load=load)
        for _ in range(5):  # however often it is read
            tally.read()
    assert tally.dropouts().load == pytest.approx(0.2)


# -- disturbance -------------------------------------------------------------------------------------------------------
def test_the_window_stalls_half_of_the_time(monkeypatch):
    """By a clock that goes on with each reading, and with each wait."""
    now = SimpleNamespace(seconds=0.0)

    def read():
        now.seconds += 0.001
        reads.append(now.seconds)

    def wait(seconds):
        now.seconds += seconds
        return False

    reads, told = [], []
    monkeypatch.setattr(live_bench, "monotonic", lambda: now.seconds)
    tally = SimpleNamespace(read=read, dropouts=lambda: Dropouts("one", 0))
    stop = SimpleNamespace(wait=wait, is_set=lambda: False)
    passed = disturb([tally], 1.6, stop, lambda seconds, streams: told.append((seconds, streams)))
    assert passed == pytest.approx(1.6, abs=0.03)
    assert [seconds for seconds, _ in told] == pytest.approx([0.5, 1.5], abs=0.03)
    assert told[0][1] == [Dropouts("one", 0)]
    apart = np.diff(reads)
    assert np.sum(apart[apart > 0.0015]) == pytest.approx(0.6, abs=0.05)  # the rest of the time nothing else could run


def test_it_ends_at_once_if_it_is_told_to():
    stop = threading.Event()
    threading.Timer(0.6, stop.set).start()
    tally = SimpleNamespace(read=lambda: None, dropouts=lambda: Dropouts("one", 0))
    assert disturb([tally], 60, stop, lambda *_: None) < 5


def test_the_hog_burns_a_core_and_ends():
    with hog():
        wait_for(lambda: live_bench.multiprocessing.active_children())
        (process,) = live_bench.multiprocessing.active_children()
        if sys.platform == "linux":

            def ticks():
                return int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11])

            wait_for(lambda: ticks() > 20)
    assert not process.is_alive()


# -- the pass-through --------------------------------------------------------------------------------------------------
def test_a_pass_through_plays_and_ends():
    with PassThrough(256, "silent") as stream:
        stream.begin()
        stream.read()
        assert stream.dropouts() == Dropouts("pass-through", 0)
        assert stream.process.is_alive()
    assert not stream.process.is_alive()


def test_a_pass_through_without_a_device_says_so():
    stream = PassThrough(256, "no such device")
    with pytest.raises(DeviceError, match="pass-through does not play"):
        stream.__enter__()
    assert not stream.process.is_alive()


def test_a_pass_through_counts_what_the_device_flags(sound_server, monkeypatch):
    for name, value in sound_server.paths.items():
        monkeypatch.setenv(name, value)
    with PassThrough(256) as stream:
        time.sleep(0.5)
        stream.begin()
        os.kill(stream.process.pid, signal.SIGSTOP)
        time.sleep(0.5)  # longer than its buffer
        os.kill(stream.process.pid, signal.SIGCONT)

        def flagged():
            stream.read()
            return stream.dropouts().flags > 0

        wait_for(flagged)


# -- all of it ---------------------------------------------------------------------------------------------------------
def test_models_and_a_pass_through_at_the_same_time(hasty, folders):
    told = []
    result = live_bench.live_bench(folders, 256, 1.2, threading.Event(), lambda *at: told.append(at), "silent")
    assert [stream.name for stream in result.streams] == ["pass-through", "one", "two"]
    assert (result.device, result.block, result.device_latency_ms) == ("silent", 256, 100.0)
    assert result.seconds == pytest.approx(1.2, abs=0.5)
    assert len(told) == 2
    for stream in result.streams[1:]:
        assert stream.load > 0
        assert (stream.flags, stream.restarts) == (0, 0)
    content = json.loads(json.dumps(result.to_dict()))
    assert content["streams"][0] == {"name": "pass-through", "flags": 0} | dict.fromkeys(
        ("late", "dips", "load", "restarts")
    )


def test_what_there_is_if_it_is_stopped(hasty, folders):
    stop = threading.Event()
    stop.set()
    result = live_bench.live_bench(folders[:1], 512, 600, stop, output="silent")
    assert result.seconds < 5
    assert [stream.flags for stream in result.streams] == [0, 0]


# -- memory ------------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_of_a_process():
    readings = []
    for held in (0, 40):  # in processes of their own: this one may have room left from other tests
        script = f"held = bytearray([1]) * ({held} << 20); print(flush=True); input()"
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            readings.append(memory_mb(process.pid))
            process.communicate(b"\n")
    assert readings[1] - readings[0] == pytest.approx(40, abs=5)
    assert math.isnan(memory_mb(2**22 + 1))  # there is no such process


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_soak(hasty, folders):
    told = []
    result = soak(folders[0], 1.5, threading.Event(), lambda *at: told.append(at), "silent")
    times = [at for at, _ in result.readings]
    assert times == sorted(times)
    assert len(result.readings) >= 4
    assert told == list(result.readings[:-1])
    assert min(result.start_mb, result.minute_mb, result.end_mb) > 20
    assert result.growth_mb == pytest.approx(result.end_mb - result.minute_mb)
    assert (result.stream.name, result.stream.restarts) == ("one", 0)
    json.dumps(result.to_dict())


def test_a_soak_needs_a_system_that_tells(monkeypatch, folders):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(DeviceError, match="Linux"):
        soak(folders[0], 1, threading.Event())


def test_memory_is_summed_up_from_the_first_minute_on():
    readings = [(0.0, 100.0), (10.0, 108.0), (60.1, 110.0), (70.0, 109.0), (3600.0, 110.5)]
    result = summed_up(Dropouts("one", 0), 3600.04, readings)
    assert (result.start_mb, result.minute_mb, result.end_mb, result.growth_mb) == (100, 110, 110.5, 0.5)
    short = summed_up(Dropouts("one", 0), 20, readings[:2])
    assert (short.start_mb, short.end_mb) == (100, 108)
    assert math.isnan(short.minute_mb)
    assert math.isnan(short.growth_mb)


def test_all_knobs_turn_all_the_time():
    values = np.array([turning(0.02 * number).values_ for number in range(3000)])
    for column, parameter in zip(values.T, PARAMETERS, strict=True):
        assert column.min() >= parameter.low
        assert column.max() <= parameter.high
        if parameter.id == "output_gain":
            assert column.max() <= live_bench.QUIET_DB
        else:
            assert column.max() - column.min() > 0.9 * (parameter.high - parameter.low)
        changes = np.flatnonzero(np.diff(column))
        assert parameter.curve == "switch" or np.diff(changes).max() < 250  # at least every 5 s
