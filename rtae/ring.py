"""A ring buffer of audio: `(channels, samples)` in, `(channels, samples)` out.

    |--free--|=====stored=====|------free------|
             ^ read           ^ written            both count up for ever; their place is the count modulo capacity

Threads: exactly one writer and one reader. Each moves only its own count, after the samples are copied, so neither
needs a lock. `clear` only while both are quiet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Ring:
    """Room for `capacity` samples of `channels` channels."""

    def __init__(self, channels: int, capacity: int) -> None:
        self.data: FloatArray = np.zeros((channels, capacity), np.float32)
        self.capacity = capacity
        self.written = 0
        self.taken = 0

    @property
    def stored(self) -> int:
        """Samples that can be read."""
        return self.written - self.taken

    @property
    def free(self) -> int:
        """Samples that can be written."""
        return self.capacity - self.stored

    def write(self, block: FloatArray) -> int:
        """Store as much of a block as fits; returns how many samples that was."""
        count: int = min(block.shape[1], self.free)
        place = self.written % self.capacity
        first = min(count, self.capacity - place)
        self.data[:, place : place + first] = block[:, :first]
        if first < count:
            self.data[:, : count - first] = block[:, first:count]
        self.written += count
        return count

    def read_into(self, out: FloatArray) -> int:
        """Fill as much of `out` (channels, n) as is stored; returns how many samples that was."""
        count: int = min(out.shape[1], self.stored)
        place = self.taken % self.capacity
        first = min(count, self.capacity - place)
        out[:, :first] = self.data[:, place : place + first]
        if first < count:
            out[:, first:count] = self.data[:, : count - first]
        self.taken += count
        return count

    def read(self, count: int) -> FloatArray:
        """The oldest samples, at most `count`, removed."""
        out = np.empty((self.data.shape[0], min(count, self.stored)), np.float32)
        self.read_into(out)
        return out

    def clear(self, silence: int = 0) -> None:
        """Forget everything; then store so many samples of silence."""
        self.data[:] = 0
        self.taken = 0
        self.written = silence
