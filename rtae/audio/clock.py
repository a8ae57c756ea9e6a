"""A device that is none: silence, paced by the clock. For machines without a sound card, and for tests."""

from __future__ import annotations

import threading
import time

import numpy as np

from rtae.audio.stream import Callback, Request, Stream

SILENT = "silent"
BEHIND_SECONDS = 1.0  # how late it may be and still catch up


class ClockStream(Stream):
    """Calls back every `block` samples of a perfect clock. What is played is lost, what is recorded is silence.

    reason: why there is no better device, if that was not the wish.
    """

    def __init__(self, request: Request, callback: Callback, reason: str = "") -> None:
        super().__init__(callback, SILENT, "clock", request.rate, request.outputs, request.inputs, request.block)
        self.reason = reason
        self.patience = float("inf")  # a clock neither hangs nor comes off; late is only the machine
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.tick, name="rtae-clock", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self.thread.start()

    def end(self) -> None:
        """End the thread, which takes a block at most."""
        self.stopping.set()
        if self.thread.ident is not None:
            self.thread.join()

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self.thread.is_alive()

    @property
    def output_latency(self) -> float:
        """None: there is no buffer behind it."""
        return 0.0

    @property
    def input_latency(self) -> float:
        """None: there is no buffer before it."""
        return 0.0

    def tick(self) -> None:
        """The thread: block n is due at start + n periods, so waiting a little too long does not add up."""
        out = np.zeros((self.block, self.outputs), np.float32)
        source = np.zeros((self.block, self.inputs), np.float32) if self.inputs else None
        period = self.block / self.rate
        due = time.monotonic()
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            late = time.monotonic() - due
            if late > BEHIND_SECONDS:  # a computer that slept need not play the night
                due += late // period * period
                self.underflows += 1
            self.run(out, source)
            due += period
