"""Dropouts and memory of the live audio process, on the sound device that this machine has.

    hog           burns one core
    window        this process: holds its interpreter for 500 ms every second, like a window that is slow to draw
    pass-through  a process whose callback only copies a prepared buffer: what device and machine allow at all
    model, ...    one audio process per model, which plays a looped song

All of them run at the same time, so what disturbs one disturbs the others.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import open_stream
from rtae.client import Client
from rtae.demo import DEMO_PATH, RATE
from rtae.errors import DeviceError, RtaeError
from rtae.params import PARAMETERS, Snapshot
from rtae.setup import Setup

FloatArray = NDArray[np.float32]
MODE = "relaxed"
FLOOR = "pass-through"
CONTEXT = multiprocessing.get_context("spawn")
STALL_SECONDS, STALL_EVERY_SECONDS = 0.5, 1.0
SETTLE_SECONDS = 3.0  # after everything has been opened, until dropouts count
DIP_SECONDS = 0.1  # samples that are late within such a time of each other belong to one dip
POLL_SECONDS = 0.01
START_SECONDS = 20.0
QUIET_DB = -20.0  # the test may be heard

RSS_SECONDS = 10.0
FIRST_SECONDS = 60.0  # until memory is taken for what it will be
KNOB_SECONDS = 0.02
SLOWEST_SWEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Dropouts:
    """What one stream lost. None where a pass-through has no such thing.

    flags: callbacks that the device flagged. late: samples that were missing in our own ring, and dips: at how many
    moments. load: share of real time that the worker was busy, on average. restarts: of the audio process.
    """

    name: str
    flags: int
    late: int | None = None
    dips: int | None = None
    load: float | None = None
    restarts: int | None = None


@dataclass(frozen=True)
class LiveBench:
    """One block size. seconds: as long as it really took; device_latency_ms: as it was asked for."""

    device: str
    rate: int
    block: int
    device_latency_ms: float
    seconds: float
    streams: tuple[Dropouts, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Soak:
    """Memory of an audio process over time, in MiB; NaN for what was not reached.

    minute_mb: after the first minute, and growth_mb from then on. readings: seconds and MiB.
    """

    seconds: float
    start_mb: float
    minute_mb: float
    end_mb: float
    growth_mb: float
    stream: Dropouts
    readings: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


Progress = Callable[[float, Sequence[Dropouts]], None]  # seconds so far


# -- dropouts --------------------------------------------------------------------------------------------------------
def live_bench(
    folders: Sequence[Path],
    block: int,
    seconds: float,
    stop: threading.Event,
    progress: Progress = lambda *_: None,
    output: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> LiveBench:
    """Count dropouts of these models at one block size until `stop` is set. Raises RtaeError's children."""
    setups = [playing(folder, block, output) for folder in folders]
    with ExitStack() as stack:
        tallies: list[Tally | PassThrough] = [stack.enter_context(PassThrough(block, output))]
        facts: dict[str, Any] = {}
        for setup in setups:
            client = stack.enter_context(Client(notify))
            client.set(Snapshot().replace(output_gain=QUIET_DB))
            facts = client.configure(setup)
            tallies.append(Tally(Path(setup.model).name, client))
        stack.enter_context(hog())
        stop.wait(SETTLE_SECONDS)
        for tally in tallies:
            tally.begin()
        passed = disturb(tallies, seconds, stop, progress)
        streams = tuple(tally.dropouts() for tally in tallies)
    latency_ms = round(1000 * setups[0].request(RATE, 2, 0).latency_seconds, 1)
    return LiveBench(facts["device"], facts["rate"], facts["block"], latency_ms, round(passed, 1), streams)


def playing(folder: Path, block: int, output: str | None) -> Setup:
    """The demo track in a loop."""
    return Setup(
        model=str(folder.resolve()),
        source=str(DEMO_PATH),
        output=output,
        mode=MODE,
        block=block,
        loop=(0.0, 0.0),
        playing=True,
    )


def disturb(tallies: Sequence[Tally | PassThrough], seconds: float, stop: threading.Event, progress: Progress) -> float:
    """Stall again and again, and read the meters all the while. Answers with the seconds that have passed."""
    begin = monotonic()
    while (passed := monotonic() - begin) < seconds and not stop.is_set():
        stalled = monotonic() + min(STALL_SECONDS, seconds - passed)
        while monotonic() < stalled:
            for tally in tallies:
                tally.read()
        progress(monotonic() - begin, [tally.dropouts() for tally in tallies])
        rest = stalled + STALL_EVERY_SECONDS - STALL_SECONDS
        while monotonic() < min(rest, begin + seconds) and not stop.wait(POLL_SECONDS):
            for tally in tallies:
                tally.read()
    return monotonic() - begin


class Tally:
    """What one audio process has lost since `begin`. Its own counts start at 0 with each device that it opens."""

    def __init__(self, name: str, client: Client) -> None:
        self.name, self.client = name, client
        self.begin()

    def begin(self) -> None:
        """From now on."""
        self.last = self.client.status()
        self.restarts = self.client.restarts
        self.flags = self.late = self.dips = 0
        self.late_at = -math.inf
        self.begun = self.read_at = monotonic()
        self.busy = 0.0  # seconds

    def read(self) -> None:
        """Add what is new."""
        before, self.last = self.last, self.client.status()
        now = monotonic()
        self.busy += self.last.load * (now - self.read_at)
        self.read_at = now
        self.flags += growth(before.flags, self.last.flags)
        late = growth(before.late, self.last.late)
        if late:
            self.dips += now - self.late_at > DIP_SECONDS
            self.late += late
            self.late_at = now

    def dropouts(self) -> Dropouts:
        """So far."""
        load = round(self.busy / max(POLL_SECONDS, self.read_at - self.begun), 3)
        return Dropouts(self.name, self.flags, self.late, self.dips, load, self.client.restarts - self.restarts)


def growth(before: float, now: float) -> int:
    """By how much a count grew that may have begun anew.

    >>> growth(3, 5), growth(3, 1)
    (2, 1)
    """
    return round(now - before if now >= before else now)


# -- the other processes ---------------------------------------------------------------------------------------------
class PassThrough:
    """The process that only copies. Raises DeviceError where it cannot play."""

    def __init__(self, block: int, output: str | None = None) -> None:
        self.connection, theirs = CONTEXT.Pipe()
        self.counts = CONTEXT.Array("d", 1, lock=False)
        self.process = CONTEXT.Process(target=pass_through, args=(theirs, self.counts, block, output), daemon=True)
        self.process.start()
        theirs.close()
        self.before = self.now = 0.0

    def __enter__(self) -> PassThrough:
        answer = "it does not answer"
        if self.connection.poll(START_SECONDS):
            try:
                answer = self.connection.recv()
            except EOFError:
                answer = "it ended"
        if answer:
            self.close()
            raise DeviceError(f"The pass-through does not play: {answer}")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Count from now on."""
        self.read()
        self.before = self.now

    def read(self) -> None:
        """Note what there is."""
        self.now = self.counts[0]

    def dropouts(self) -> Dropouts:
        """So far."""
        return Dropouts(FLOOR, round(self.now - self.before))

    def close(self) -> None:
        """End the process, which may hang in its sound library."""
        self.connection.close()
        self.process.kill()
        self.process.join()


def pass_through(connection: Connection, counts: Any, block: int, output: str | None) -> None:
    """The main function of that process: as punctual as the audio process, and nothing to do."""
    from rtae.host import settle

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle()
    request = Setup(model="", output=output, mode=MODE, block=block).request(RATE, 2, 0)
    ready = np.random.default_rng(0).normal(0, 1e-4, (request.block, 2)).astype(np.float32)

    def callback(out: FloatArray, _: FloatArray | None) -> None:
        out[:] = ready[: len(out)]

    try:
        stream = open_stream(request, callback)
        stream.start()
        connection.send("")
    except RtaeError as error:
        connection.send(str(error))
        return
    while not connection.poll(POLL_SECONDS):  # the other end closes
        counts[0] = stream.flags
    os._exit(0)


@contextmanager
def hog() -> Iterator[None]:
    """A process that burns one core."""
    process = CONTEXT.Process(target=burn, args=(os.getpid(),), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def burn(parent: int) -> None:
    """Its main function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while os.getppid() == parent:  # where there is no such thing, it is a daemon
        sum(range(100_000))


# -- memory ----------------------------------------------------------------------------------------------------------
def soak(
    folder: Path,
    seconds: float,
    stop: threading.Event,
    progress: Callable[[float, float], None] = lambda *_: None,
    output: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Soak:
    """Play with all knobs turning, and watch the memory; progress: told seconds and MiB.

    Raises DeviceError where the system does not tell.
    """
    if not sys.platform.startswith("linux"):
        raise DeviceError("How much memory a process takes is read from /proc, which only Linux has; use Linux for it")
    readings: list[tuple[float, float]] = []
    due = 0.0
    with Client(notify) as client:
        client.configure(playing(folder, 0, output))
        tally, begin = Tally(folder.name, client), monotonic()
        while (passed := monotonic() - begin) < seconds and not stop.wait(KNOB_SECONDS):
            client.set(turning(passed))
            tally.read()
            if passed >= due:
                due += RSS_SECONDS
                readings.append((round(passed, 1), memory_mb(client.process.pid)))
                progress(*readings[-1])
        readings.append((round(passed, 1), memory_mb(client.process.pid)))
        stream = tally.dropouts()
    return summed_up(stream, passed, readings)


def summed_up(stream: Dropouts, seconds: float, readings: Sequence[tuple[float, float]]) -> Soak:
    """The first reading, the first one after a minute, and the last one."""
    minute = next((mb for at, mb in readings if at >= FIRST_SECONDS), math.nan)
    end = readings[-1][1]
    return Soak(round(seconds, 1), readings[0][1], minute, end, round(end - minute, 2), stream, tuple(readings))


def turning(seconds: float) -> Snapshot:
    """All parameters, each on its way between its ends at a pace of its own, at a level that may be listened to."""
    values = []
    for number, parameter in enumerate(PARAMETERS):
        turns = seconds / SLOWEST_SWEEP_SECONDS * (1 + number)
        share = 0.5 - 0.5 * math.cos(2 * math.pi * turns)
        high = QUIET_DB if parameter.id == "output_gain" else parameter.high
        values.append(parameter.nearest(parameter.low + share * (high - parameter.low)))
    return Snapshot(tuple(values))


def memory_mb(pid: int) -> float:
    """Resident memory of a process in MiB; NaN if it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return math.nan
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2)
