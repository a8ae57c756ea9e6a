"""Compares two device callbacks: the one of this program, which is Python, and rtmixer's, which is C.

Each runs in a process of its own, as punctual as the audio process, on the same device and at the same time, in front
of the same worker: an engine with the model `small`. One row of the table is one block size beside one load:

    alone    nothing else
    hog      another process burns one core
    loading  a thread of the same process loads a model, four times a second
    stalls   a thread of the same process holds the interpreter for 30 ms, four times a second

flags: callbacks that the device flagged. dips: moments at which our own ring ran empty. late: samples that were missing
then; of rtmixer, which does not count them, by the clock, to within its buffer. cpu: share of a core of the process.

Run from the project's folder, with a sound device, after `pip install rtmixer`:
python docs/compare_callbacks.py [SECONDS [LOAD ...]]. What it found is in docs/callback.md.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import open_stream
from rtae.dsp import db_to_gain
from rtae.engine import Engine
from rtae.feed import FADE_SECONDS, Feed
from rtae.host import settle
from rtae.live_bench import hog
from rtae.models import find
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.setup import Setup

FloatArray = NDArray[np.float32]
RATE, CHANNELS, CHUNK = 44_100, 2, 512
BLOCKS = (64, 128, 256, 512)
STALL_SECONDS, EVERY_SECONDS = 0.03, 0.25
SETTLE_SECONDS = 2.0
PAUSE_SECONDS = 0.001
QUIET = Snapshot().replace(output_gain=-40)
CONTEXT = multiprocessing.get_context("spawn")


class Worker:
    """Renders noise through the engine, as much as is wanted."""

    def __init__(self, wanted: Callable[[], int], write: Callable[[FloatArray], object]) -> None:
        self.engine = Engine(OnnxModel.load(find("small")))
        self.engine.prepare(RATE, CHANNELS)
        self.noise = np.random.default_rng(0).normal(0, db_to_gain(-20), (CHANNELS, CHUNK)).astype(np.float32)
        self.wanted, self.write = wanted, write
        for _ in range(20):
            self.engine.process(self.noise, QUIET)

    def run(self) -> None:
        """For ever."""
        while True:
            count = min(self.wanted(), CHUNK)
            if count > 0:
                self.write(self.engine.process(self.noise[:, :count], QUIET))
            else:
                sleep(PAUSE_SECONDS)


def lead_of(setup: Setup, block: int) -> int:
    """As the audio process has it."""
    reserve = round(FADE_SECONDS * RATE)
    return block + max(block + reserve, round(setup.lead * RATE))


def python_callback(setup: Setup) -> tuple[Worker, Callable[[], tuple[int, int, int]]]:
    """The program's own: a ring behind a Python callback, which fades and catches up where the worker is late."""
    request = setup.request(RATE, CHANNELS, 0)
    feed = Feed(RATE, CHANNELS, 0, request.block, lead_of(setup, request.block))
    stream = open_stream(request, lambda out, block: feed.callback(out, block, stream.even))
    worker = Worker(feed.wanted, feed.output.write)
    stream.start()
    sleep(request.latency_seconds + 0.1)
    feed.armed = True
    return worker, lambda: (stream.flags, feed.dips, feed.late)


class CRing:
    """rtmixer's: it stops playing a ring that is empty, so that has to be begun anew once the ring is full again."""

    def __init__(self, setup: Setup) -> None:
        import rtmixer

        request = setup.request(RATE, CHANNELS, 0)
        self.lead = lead_of(setup, request.block)
        self.mixer = rtmixer.Mixer(
            channels=CHANNELS, samplerate=RATE, blocksize=request.block, latency=request.latency_seconds
        )
        self.ring = rtmixer.RingBuffer(4 * CHANNELS, 1 << (8 * self.lead).bit_length())
        self.actions: list[Any] = []
        self.mixer.start()
        self.begun = monotonic()

    def write(self, block: FloatArray) -> None:
        """(channels, samples)."""
        self.ring.write(np.ascontiguousarray(block.T))

    def wanted(self) -> int:
        """Samples to deliver now."""
        stored: int = self.ring.read_available
        if stored >= self.lead and not self.mixer.actions:
            self.actions.append(self.mixer.play_ringbuffer(self.ring, CHANNELS))
        return self.lead - stored

    def counts(self) -> tuple[int, int, int]:
        """Flags, dips and late samples so far; these by the clock, to within the device's buffer."""
        played = sum(action.done_frames for action in self.actions)
        flags = sum(action.stats.output_underflows for action in self.actions)
        return flags, len(self.actions), round((monotonic() - self.begun) * RATE) - played


def c_callback(setup: Setup) -> tuple[Worker, Callable[[], tuple[int, int, int]]]:
    """The other one."""
    ring = CRing(setup)
    return Worker(ring.wanted, ring.write), ring.counts


CALLBACKS = {"python": python_callback, "rtmixer": c_callback}


def stall() -> None:
    """Hold the interpreter again and again: one call that never lets go of it."""
    count = 100_000
    begin = perf_counter()
    sum(range(count))
    count = round(count * STALL_SECONDS / (perf_counter() - begin))
    while True:
        sum(range(count))
        sleep(EVERY_SECONDS - STALL_SECONDS)


def load_models() -> None:
    """Load a model again and again."""
    while True:
        OnnxModel.load(find("large"))
        sleep(EVERY_SECONDS)


# What disturbs: a thread of the same process, if any.
LOADS: dict[str, Callable[[], None] | None] = {"alone": None, "hog": None, "loading": load_models, "stalls": stall}


def play(connection: Connection, name: str, block: int, load: str, seconds: float) -> None:
    """The main function of one process: sends what was lost."""
    settle()
    worker, counts = CALLBACKS[name](Setup(model="", mode="live", block=block))
    threading.Thread(target=worker.run, daemon=True).start()
    disturbance = LOADS[load]
    if disturbance is not None:
        threading.Thread(target=disturbance, daemon=True).start()
    sleep(SETTLE_SECONDS)
    connection.send("ready")
    connection.recv()
    before, used = counts(), resource.getrusage(resource.RUSAGE_SELF)
    sleep(seconds)
    after, now = counts(), resource.getrusage(resource.RUSAGE_SELF)
    busy = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    connection.send((*(max(0, b - a) for a, b in zip(before, after, strict=True)), busy / seconds))
    connection.recv()
    os._exit(0)


def compare(block: int, load: str, seconds: float) -> dict[str, tuple[int, int, int, float]]:
    """Both at the same time: flags, dips, late and CPU of each."""
    pipes, processes = {}, []
    for name in CALLBACKS:
        pipes[name], theirs = CONTEXT.Pipe()
        processes.append(CONTEXT.Process(target=play, args=(theirs, name, block, load, seconds), daemon=True))
        processes[-1].start()
    try:
        for step in range(2):
            found = {name: pipe.recv() for name, pipe in pipes.items()}
            for pipe in pipes.values():
                pipe.send(step)
    finally:
        for process in processes:
            process.kill()
    return found


def main() -> None:
    """All rows."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    say = sys.stdout.write
    say("| block | load | flags python / C | dips python / C | late python / C | cpu python / C |\n")
    say("|---:|---|---:|---:|---:|---:|\n")
    for load in sys.argv[2:] or LOADS:
        for block in BLOCKS:
            with hog() if load == "hog" else nullcontext():
                found = compare(block, load, seconds)
            ours, theirs = found["python"], found["rtmixer"]
            columns = [f"{a} / {b}" for a, b in zip(ours[:3], theirs[:3], strict=True)]
            say(f"| {block} | {load} | {' | '.join(columns)} | {ours[3]:.0%} / {theirs[3]:.0%} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
