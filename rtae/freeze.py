"""The effect that holds the latents of a moment and loops them; the only one that remembers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtae.effects import Effect, frames_of
from rtae.params import TABLE, Snapshot
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]
SEAM_SECONDS = 0.01  # of the crossfade where a frozen loop starts again


@dataclass
class Loop:
    """Latents that are held and repeated.

        ...| held -------------------| after |            `after` is what came then; the loop's start is faded out of
           |          |-- loop ------|-- loop ------|     it, so that no repetition begins with a step

    start: absolute number of the first frame that is replaced.
    """

    start: int
    held: FloatArray
    after: FloatArray

    def take_after(self, z: FloatArray, frame: int, seen: int) -> None:
        """Keep what comes right after the start, as far as it is new: what was seen before stays as it was."""
        first, end = max(self.start, seen, frame), min(self.start + self.after.shape[2], frame + z.shape[2])
        if first < end:
            self.after[:, :, first - self.start : end - self.start] = z[:, :, first - frame : end - frame]

    def replace(self, z: FloatArray, frame: int, length: int) -> FloatArray:
        """z with the loop, `length` frames or all that are held, in place of all frames from the start on."""
        length = min(length, self.held.shape[2])
        untouched = min(max(0, self.start - frame), z.shape[2])
        loop = self.held[:, :, -length:].copy()
        seam = min(self.after.shape[2], length // 2)
        # Earlier and later latents have little in common: weights whose squares sum to 1 keep their level.
        angle = ((np.arange(seam) + 0.5) / max(seam, 1) * (math.pi / 2)).astype(np.float32)
        loop[:, :, :seam] = loop[:, :, :seam] * np.sin(angle) + self.after[:, :, :seam] * np.cos(angle)
        place = (np.arange(frame + untouched, frame + z.shape[2]) - self.start) % length
        return np.concatenate([z[:, :, :untouched], loop[:, :, place]], axis=2)


class Freeze(Effect):
    """Holds the latents before a moment, and loops them from then on.

    The moment is the first frame that was not there before the switch was turned, or the first one with a whole loop
    before it. As much is held as the longest loop needs, so that the length can be changed while it plays.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.first: int | None = None  # frame of the stream
        self.seen = 0  # the frame behind the newest one so far
        self.asked: int | None = None  # the frame at which the switch was turned
        self.loop: Loop | None = None

    def neutral(self, values: Snapshot, spec: ModelSpec) -> bool:
        """Never: it counts the frames. Unless it is switched on, it gives back the very array that it was given."""
        return False

    def past(self, values: Snapshot, spec: ModelSpec) -> int:
        """Only at the start, when it fills its memory."""
        return self.longest_past(spec) if values["freeze"] and self.loop is None else 0

    def longest_past(self, spec: ModelSpec) -> int:
        """The longest loop."""
        return frames_of(TABLE["freeze_length"].high, spec)

    def apply(self, z: FloatArray, frame: int, values: Snapshot, spec: ModelSpec) -> FloatArray:
        """See `Effect`."""
        past = self.past(values, spec)
        fresh = z[:, :, past:] if past else z
        if self.first is None:
            self.first = self.seen = frame
        seen, self.seen = self.seen, max(self.seen, frame + fresh.shape[2])
        if not values["freeze"]:
            self.asked = self.loop = None
            return z
        length = frames_of(values["freeze_length"], spec)
        self.asked = seen if self.asked is None else self.asked
        if self.loop is None:
            # Before the stream there are only zeros.
            self.loop = hold(z, frame - past, max(self.first, frame - past), self.asked, length, spec)
        if self.loop is None:
            return fresh
        self.loop.take_after(fresh, frame, seen)
        return self.loop.replace(fresh, frame, length)


def hold(z: FloatArray, frame: int, oldest: int, asked: int, length: int, spec: ModelSpec) -> Loop | None:
    """A loop out of z, whose first frame is `frame`; None if there are no `length` frames from the oldest on yet."""
    start = max(asked, oldest + length)
    if start > frame + z.shape[2]:
        return None
    longest = frames_of(TABLE["freeze_length"].high, spec)
    held = z[:, :, max(oldest, start - longest) - frame : start - frame].copy()
    return Loop(start, held, np.zeros((*z.shape[:2], frames_of(SEAM_SECONDS, spec)), np.float32))
