"""Between the worker and the device's callback: two rings, a constant delay, and what happens when the worker is late.

The output ring starts with `lead` samples of silence, and the worker puts in as much as the callback takes out: so a
sample waits exactly `lead` samples. If the worker is late the callback fades out within the reserve that it always
keeps, counts what it could not deliver, and once the worker is back drops as many samples and fades in: the delay is
again what it was. (After anira, which counts missing samples and discards as many.) After a stall too long for the
rings everything starts as at first.

Threads: one callback, one worker. The callback allocates nothing on purpose, takes no lock and never raises. That it is
Python and not C was measured: docs/callback.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import fade_in
from rtae.ring import Ring

FloatArray = NDArray[np.float32]
FADE_SECONDS = 0.005


class Feed:
    """Rings for one stream.

    lead: samples of delay, at least a block and the reserve; block: the longest block of the device.
    late: samples that were missing so far; overflows: samples of input that found no room; dips: how often it faded.
    armed: set by the owner once the device runs evenly. At its start a device fills all of its own buffer at once;
        until then it gets silence, and its input is dropped, so that the delay holds from the first sample on. The
        same is done when it fills its buffer anew after it ran dry (`even`): the sound pauses, and nothing is late.
    """

    def __init__(self, rate: int, outputs: int, inputs: int, block: int, lead: int) -> None:
        self.reserve = max(8, round(FADE_SECONDS * rate))
        self.lead = max(lead, block + self.reserve)
        room = 4 * (self.lead + block) + rate // 2
        self.output = Ring(outputs, room)
        self.input = Ring(inputs, room) if inputs else None
        self.up = fade_in(self.reserve)[:, None]
        self.down = self.up[::-1].copy()
        self.output.clear(silence=self.lead)
        self.longest_stall = rate // 2
        self.missing = 0
        self.silent = False
        self.falling = self.rising = 0  # samples of a fade that are still to come
        self.afresh = False  # set by the callback after a long stall, for the worker to begin anew
        self.armed = False
        self.late = self.overflows = self.dips = 0

    def wanted(self) -> int:
        """Worker: samples to deliver now."""
        if self.afresh:
            if self.input is not None:
                self.input.taken = self.input.written
            self.output.write(np.zeros((len(self.output.data), self.lead), np.float32))
            self.afresh = False
        return max(0, self.lead + self.missing - self.output.stored)

    def callback(self, out: FloatArray, block: FloatArray | None, even: bool = True) -> None:
        """Device: fill `out` (samples, outputs), store `block` (samples, inputs)."""
        if not (self.armed and even):
            out[:] = 0
            if not self.silent:
                self.rising, self.falling = self.reserve, 0
            return
        if self.input is not None and block is not None:
            self.overflows += len(block) - self.input.write(block.T)
        count = len(out)
        if self.silent and not self.caught_up(count):
            out[:] = 0
            self.late += count
            self.missing += 0 if self.afresh else count
            if self.missing > self.longest_stall:
                self.begin_afresh()
        elif self.falling or self.output.stored < count + self.reserve:
            self.fade_out(out)
        else:
            self.output.read_into(out.T)
            self.fade_up(out)

    def caught_up(self, count: int) -> bool:
        """Drop what is missed, if it has come; whether there is enough behind it to go on."""
        if self.afresh or self.output.stored < self.missing + count + self.reserve:
            return False
        self.output.taken += self.missing
        self.missing = 0
        self.silent, self.rising = False, self.reserve
        return True

    def begin_afresh(self) -> None:
        """After a stall so long that the rings cannot hold what was missed: forget all of it, and start as at first."""
        self.output.taken = self.output.written
        self.missing = 0
        self.afresh = True

    def fade_up(self, out: FloatArray) -> None:
        """What is left of a fade in, over as many blocks as it takes."""
        if self.rising:
            count = min(len(out), self.rising)
            start = self.reserve - self.rising
            out[:count] *= self.up[start : start + count]
            self.rising -= count

    def fade_out(self, out: FloatArray) -> None:
        """The worker is late: end within the reserve, over as many blocks as it takes, and be silent."""
        if not self.falling:
            # A fade in that is cut short goes down from where it was.
            self.falling = self.reserve - self.rising if self.rising else self.reserve
            self.rising = 0
            self.dips += 1
        count = min(len(out), self.falling)
        got = self.output.read_into(out[:count].T)
        start = self.reserve - self.falling
        out[:got] *= self.down[start : start + got]
        out[got:] = 0
        self.falling -= count
        if self.falling == 0:
            self.missing += len(out) - got
            self.late += len(out) - got
            self.silent = True
