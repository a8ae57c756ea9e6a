"""Plays a file through the engine on a sound card.

A worker thread reads, runs the engine and keeps a ring filled ahead; the card's callback only takes from that ring.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import OutputStream, find_output
from rtae.audio.file import AudioReader
from rtae.engine import Engine
from rtae.errors import AudioFileError, DeviceError, RtaeError
from rtae.params import Snapshot
from rtae.ring import Ring

FloatArray = NDArray[np.float32]
LEAD_SECONDS = 0.25
BLOCK = 1024
POLL_SECONDS = 0.01
FADE_SECONDS = 0.01


@dataclass(frozen=True)
class Position:
    """Where playing stands: seconds of the file heard so far and in all, dropouts, and the last peak of the output."""

    seconds: float
    total: float
    dropouts: int
    peak: float


class Player:
    """One file, one engine, one device.

    device: index or part of a name, or None for the system's default. Raises AudioFileError, DeviceError.
    """

    def __init__(self, source: Path, engine: Engine, values: Snapshot, device: str | None = None, loop: bool = False):
        self.device = find_output(device)
        self.reader = AudioReader(source)
        self.engine, self.values, self.loop = engine, values, loop
        # A mono file plays on both speakers; more channels than the device has are left out.
        self.outputs = min(2, self.device.outputs) if self.reader.channels == 1 else self.reader.channels
        self.outputs = min(self.outputs, self.device.outputs)
        engine.prepare(self.reader.rate, self.reader.channels)
        lead = int(LEAD_SECONDS * self.reader.rate) + engine.longest_chunk
        self.ring = Ring(self.outputs, lead + 2 * BLOCK)
        self.lead = lead
        self.ended = threading.Event()
        self.stopping = threading.Event()
        self.dropouts = 0
        self.heard = 0
        self.error: RtaeError | None = None

    def play(self, report: Callable[[Position], None] = lambda _: None) -> None:
        """Play to the end, or until `stop`. Raises DeviceError where the device goes away."""
        worker = threading.Thread(target=self.work, name="rtae-worker", daemon=True)
        worker.start()
        while self.ring.stored < self.lead and worker.is_alive():
            self.stopping.wait(POLL_SECONDS)
        stream = OutputStream(self.device, self.reader.rate, self.outputs, self.fill)
        try:
            while not (self.ended.is_set() and self.ring.stored == 0) and not self.stopping.is_set():
                if not stream.active:
                    raise DeviceError(f"'{self.device.name}' went away while it played; play again, or choose another")
                report(self.position())
                self.stopping.wait(POLL_SECONDS * 5)
            if not self.stopping.is_set():
                self.stopping.wait(stream.latency)
        finally:
            self.stopping.set()
            worker.join()
            stream.close()
            self.reader.close()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Fade out and end `play`; may be called from any thread."""
        self.stopping.set()

    def position(self) -> Position:
        """Where it stands."""
        rate = self.reader.rate
        return Position(self.heard / rate, self.reader.info.seconds, self.dropouts, self.engine.meters.output_peak)

    # -- the worker --------------------------------------------------------------------------------------------------
    def work(self) -> None:
        """Keep the ring full until the file ends."""
        try:
            left = self.engine.latency.total
            skip, first = left, True
            while left and not self.stopping.is_set():
                block = self.reader.read(BLOCK)
                if block.shape[1] == 0 and self.loop and not first:
                    self.reader.seek(0)
                    block = self.reader.read(BLOCK)
                if block.shape[1] == 0:
                    if first:
                        raise AudioFileError(f"{self.reader.info.path} holds no samples; choose a file with sound")
                    block = np.zeros((self.reader.channels, min(left, BLOCK)), np.float32)
                    left -= block.shape[1]
                first = False
                out = self.engine.process(block, self.values)
                self.put(out[:, min(skip, out.shape[1]) :])
                skip -= min(skip, out.shape[1])
        except RtaeError as error:
            self.error = error
            self.stopping.set()
        finally:
            self.ended.set()

    def put(self, block: FloatArray) -> None:
        """Into the ring, as its room allows."""
        block = np.repeat(block, self.outputs, axis=0) if block.shape[0] == 1 else block[: self.outputs]
        while block.shape[1] and not self.stopping.is_set():
            block = block[:, self.ring.write(block) :]
            if block.shape[1]:
                self.stopping.wait(POLL_SECONDS)

    # -- the card's thread -------------------------------------------------------------------------------------------
    def fill(self, out: FloatArray) -> None:
        """(samples, channels) for the card: from the ring, else silence."""
        count = self.ring.read_into(out.T)
        out[count:] = 0
        self.heard += count
        if count < len(out) and not self.ended.is_set():
            self.dropouts += 1
        if self.stopping.is_set():
            out *= np.linspace(1, 0, len(out), dtype=np.float32)[:, None]
            self.ring.taken = self.ring.written
