"""Between the worker and the device's callback: two rings, a constant delay, and what happens when the worker is late.

The output ring starts with `lead` samples of silence, and the worker puts in as much as the callback takes out: so a
sample waits exactly `lead` samples. If the worker is late the callback fades out within the RESERVE that it always
keeps, counts what it could not deliver, and once the worker is back drops as many samples and fades in: the delay is
again what it was. (After anira, which counts missing samples and discards as many.)

Threads: one callback, one worker. The callback allocates nothing on purpose, takes no lock and never raises.
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
        until then it gets silence, and its input is dropped, so that the delay holds from the first sample on.
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
        self.missing = 0
        self.silent = False
        self.armed = False
        self.late = self.overflows = self.dips = 0

    def wanted(self) -> int:
        """Worker: samples to deliver now."""
        return max(0, self.lead + self.missing - self.output.stored)

    def callback(self, out: FloatArray, block: FloatArray | None) -> None:
        """Device: fill `out` (samples, outputs), store `block` (samples, inputs)."""
        if not self.armed:
            out[:] = 0
            return
        if self.input is not None and block is not None:
            self.overflows += len(block) - self.input.write(block.T)
        count = len(out)
        if self.silent and not self.caught_up(count):
            out[:] = 0
            self.missing += count
            self.late += count
            return
        if self.output.stored >= count + self.reserve:
            self.output.read_into(out.T)
            if self.silent:
                self.silent = False
                fade = min(count, self.reserve)
                out[:fade] *= self.up[:fade]
            return
        self.fade_out(out)

    def caught_up(self, count: int) -> bool:
        """Drop what is missed, if it has come; whether there is enough behind it to go on."""
        if self.output.stored < self.missing + count + self.reserve:
            return False
        self.output.taken += self.missing
        self.missing = 0
        return True

    def fade_out(self, out: FloatArray) -> None:
        """The worker is late: end what there is, within the reserve, and be silent."""
        got = self.output.read_into(out.T)
        fade = min(got, self.reserve)
        out[got - fade : got] *= self.down[self.reserve - fade :]
        out[got:] = 0
        self.missing = len(out) - got
        self.late += self.missing
        self.dips += 1
        self.silent = True
