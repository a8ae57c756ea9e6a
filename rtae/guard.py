"""A guard against feedback: microphone to speakers to microphone.

A loop that feeds back grows steadily, by as much each time around, where music rises and falls. So the level is
followed in steps of 50 ms, and once it has risen for RISES of them in a row, and is loud, the output is ducked at once;
it comes back slowly after a while.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
STEP_SECONDS = 0.05
RISES = 8
RISE = 1.02
LOUD = 10 ** (-20 / 20)
DUCKED = 10 ** (-40 / 20)
HOLD_SECONDS = 1.0
ATTACK_SECONDS = 0.005
RELEASE_SECONDS = 2.0


class FeedbackGuard:
    """Ducks the output while it howls. gain: what it applies now; events: how often it had to."""

    def __init__(self, rate: int) -> None:
        self.step = round(STEP_SECONDS * rate)
        self.attack, self.release = 1 / (ATTACK_SECONDS * rate), 1 / (RELEASE_SECONDS * rate)
        self.hold = round(HOLD_SECONDS * rate)
        self.gain = 1.0
        self.events = 0
        self.left = 0  # samples for which it stays ducked
        self.rises = 0
        self.level = 0.0
        self.peak = 0.0
        self.counted = 0

    def process(self, block: FloatArray) -> FloatArray:
        """(channels, n) in and out; the same object while there is nothing to do."""
        self.follow(block)
        count = block.shape[1]
        ducking = self.left > 0
        self.left = max(0, self.left - count)
        if self.gain == 1.0 and not ducking:
            return block
        speed = -self.attack if ducking else self.release
        gains = np.clip(self.gain + speed * np.arange(1, count + 1), DUCKED, 1.0)
        self.gain = float(gains[-1])
        return np.asarray(block * gains, np.float32)

    def follow(self, block: FloatArray) -> None:
        """Watch the level, step by step."""
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        self.counted += block.shape[1]
        if self.counted < self.step:
            return
        rising = self.peak > self.level * RISE and self.level > 0
        self.rises = self.rises + 1 if rising else 0
        if self.rises >= RISES and self.peak > LOUD:
            self.left = self.hold
            self.events += self.gain == 1.0
            self.rises = 0
        self.level, self.peak, self.counted = self.peak, 0.0, 0
