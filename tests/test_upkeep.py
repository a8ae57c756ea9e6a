"""What is done about devices that go away or fall behind, with devices that do what the test says."""

import threading
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest

from rtae import upkeep
from rtae.errors import DeviceError
from rtae.guard import Guard
from rtae.nets.config import TINY
from rtae.setup import Setup
from rtae.upkeep import DELAYS_SECONDS, GROWN_SECONDS, REOPEN_SECONDS, Upkeep

RATE = 44_100
ROUND_TRIP = 0.05  # seconds


@pytest.fixture
def clock(monkeypatch):
    """The time as the upkeep sees it; looking after goes on once a second."""
    fake = SimpleNamespace(now=100.0)
    monkeypatch.setattr(upkeep, "monotonic", lambda: fake.now)
    monkeypatch.setattr(upkeep, "devices", lambda **_: [])
    return fake


@pytest.fixture
def setup(tmp_path, files_of, store_model):
    return Setup(model=str(store_model(tmp_path / "tiny", files_of(TINY))), source="microphone", hop=480)


class FakeUpkeep(Upkeep):
    """Opens nothing, and remembers what it should have. missing: devices that are not there."""

    def __init__(self, setup):
        self.said, self.opened, self.missing = [], [], ()
        super().__init__(None, self.said.append)
        self.stopping.set()  # the worker's thread: there is nothing to work for
        self.setup = setup

    def open_session(self, setup, model):
        self.opened.append(setup)
        if setup.output in self.missing:
            raise DeviceError("it is not there")
        self.stream = SimpleNamespace(name=setup.output or "default", rate=RATE, round_trip=ROUND_TRIP, failed="")
        self.session = SimpleNamespace(
            microphone=True,
            rate=RATE,
            guard=Guard(RATE, 20_000, self.lag_of(ROUND_TRIP)),
            feed=SimpleNamespace(lead=1000),
            engine=SimpleNamespace(hop=480, latency=SimpleNamespace(total=2000)),
            lock=threading.Lock(),
            recorder=None,
            performed=None,
            position_seconds=lambda: 1.5,
        )

    def lag_of(self, round_trip):
        return 1000 + round(round_trip * RATE)

    def drop_session(self):
        self.stream = self.session = None


@pytest.fixture
def running(setup, clock):
    running = FakeUpkeep(setup)
    running.open_session(setup, None)
    running.opened.clear()
    return running


def look(running, clock, seconds, round_trip=None):
    """Some time passes with the device at such a delay."""
    for _ in range(round(seconds / DELAYS_SECONDS)):
        if round_trip is not None:
            running.stream.round_trip = round_trip
        clock.now += DELAYS_SECONDS + 0.01
        running.look_after()


# -- a device that is gone -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("follow", [False, True])
def test_the_default_is_used_only_if_that_is_wanted(running, clock, setup, follow):
    running.setup = replace(setup, output="USB", input="USB", follow_default=follow)
    running.missing = ("USB",)
    running.stream.failed = "unplugged"
    running.look_after()
    assert "'default' is gone (unplugged); waiting for it" in running.said[-1]
    look(running, clock, 3)
    tried = [(setup.output, setup.input) for setup in running.opened]
    if follow:
        assert tried == [("USB", "USB"), (None, None)]
        assert running.said[-1] == "Playing again on 'default'"
    else:
        assert tried == [("USB", "USB")] * 3
        assert running.session is None
    running.missing = ()
    look(running, clock, 1)
    assert running.session is not None
    assert running.said[-1] == f"Playing again on '{'default' if follow else 'USB'}'"
    assert running.setup.position == 1.5


# -- a device whose delay changes --------------------------------------------------------------------------------------
def test_the_guard_is_told_of_another_delay(running, clock):
    guard = running.session.guard
    look(running, clock, 3, ROUND_TRIP + 0.009)
    assert guard.lag == running.lag_of(ROUND_TRIP)  # near enough: what it heard so far is worth more
    look(running, clock, 1, ROUND_TRIP + 0.03)
    assert guard.lag == running.lag_of(ROUND_TRIP + 0.03)
    assert guard.length == running.lag_of(ROUND_TRIP + 0.03) + 2000
    assert running.opened == running.said == []


def test_a_song_needs_no_delay_of_an_input(running, clock):
    running.session.microphone = False
    look(running, clock, 3, 2.0)
    assert running.opened == running.said == []


def test_a_device_that_fell_behind_for_good_is_opened_again(running, clock):
    look(running, clock, 3)
    look(running, clock, 1, ROUND_TRIP + 0.2)  # for a moment
    look(running, clock, 5, ROUND_TRIP + 0.9 * GROWN_SECONDS)
    assert running.opened == running.said == []
    look(running, clock, 2, ROUND_TRIP + 0.2)
    assert running.said == ["'default' fell 200 ms behind when it ran dry; it is opened again"]
    (again,) = running.opened
    assert (again.hop, again.position) == (480, 1.5)
    assert running.stream.round_trip == ROUND_TRIP
    assert running.lost == "'default' could not be opened again"  # open_session, which is not here, empties it


def test_a_device_that_falls_behind_ever_again_is_opened_ever_more_rarely(running, clock):
    look(running, clock, 2)
    times = []
    while len(times) < 4:
        count = len(running.opened)
        look(running, clock, 1, ROUND_TRIP + 0.2)
        if len(running.opened) > count:
            times.append(clock.now)
    apart = [after - before for before, after in pairwise(times)]
    for pause, doubled in zip(apart, (1, 2, 4), strict=True):
        assert pause == pytest.approx(doubled * REOPEN_SECONDS[0], abs=2.1 * DELAYS_SECONDS)
