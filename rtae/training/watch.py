"""Whether a training runs away, though its loss is still a number.

Compared is the median of the last steps with that of the first ones, as single examples are anything: near silence
the spectral loss of one may be a thousand times another's. To be beyond doubt the loss has to rise by ten times what
it was, and by ten times what silence would cost. Of variational networks the reconstruction is watched, since the rest
of their loss rises by design. Measured on all presets' losses, 250 to 400 steps: at the default learning rate the rise
is at most 0.6 of those ten; at 0.1 there is none, and at 0.3 and 0.9 the bound is passed by step 153 and 121.
"""

from __future__ import annotations

from collections import deque

import numpy as np

STEPS = 100  # that make up a median
OF_SILENCE = 10  # of them tell what silence costs
TIMES = 10.0


class LossWatch:
    """The losses of a run, one by one. start: the median of the first ones, once it is known."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.silence: list[float] = []
        self.last: deque[float] = deque(maxlen=STEPS)
        self.start, self.bound = 0.0, float("inf")

    @property
    def asks(self) -> bool:
        """Whether it wants to know what silence costs, with the next loss."""
        return STEPS - OF_SILENCE <= len(self.first) < STEPS

    def add(self, loss: float, silence: float | None = None) -> None:
        """The loss of a step; beside it, where it `asks`, that of silence in place of the output."""
        self.last.append(loss)
        if silence is not None:
            self.silence.append(silence)
        if len(self.first) < STEPS:
            self.first.append(loss)
            if len(self.first) == STEPS:
                self.start = float(np.median(self.first))
                self.bound = self.start + TIMES * max(abs(self.start), abs(float(np.median(self.silence))))

    @property
    def now(self) -> float:
        """The median of the last steps."""
        return float(np.median(self.last))

    @property
    def diverged(self) -> bool:
        """Whether the loss has risen beyond doubt."""
        return len(self.last) == STEPS and self.now > self.bound
