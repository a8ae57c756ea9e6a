"""The feedback guard: where loudspeakers reach the microphone, the output grows with every turn of the loop. It is
found by that, and ducked.

    microphone --> engine --> guard --> device --> loudspeaker --+
         ^                                                       |
         +--------------------- the loop's delay ----------------+

Loud music and crescendos are no feedback. Suspicious is growth over several turns by an input that resembles the
output of one turn earlier, and growth that ends pinned at the ceiling, since a model may change the sound past
recognition. A suspicion is tested: the output goes down by 10 dB or more for a moment, and it is a loop only if the
input follows one turn later. How far it follows within that turn tells a loop from a howling room that will not get
louder: of a tone that a loop of gain 0.7 made 10 dB louder, 3/10 are the tone itself and stay.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import db_to_gain, finite

FloatArray = NDArray[np.float32]
SHORTEST_TURN = 0.06  # seconds; levels are taken over one turn of the loop, at least so long
AUDIBLE_DB = -40.0  # growth below this is none of our business
GROWTH_DB = 8.0  # per second: a crescendo grows by about 6, a loop of gain 1.3 and 250 ms by 9
LEAST_GROWTH_DB = 6.0  # in all
TURNS = 4
GROWTH_SECONDS = 0.3
LIKENESS = 0.7  # of input and earlier output, as a correlation; at most 1
NEAR_CEILING = 0.89  # -1 dB
PINNED_SECONDS = 0.6
PINNED_GROWTH_DB = 8.0  # before it was pinned
MEMORY_SECONDS = 8.0
TEST_DB = -10.0
TEST_FALL_DB = 7.0  # of the input's level, if that is a loop; at a loop gain of 0.7 it is about 6
PATIENCE_SECONDS = (1.5, 30.0)  # after a test that found no loop, until the next one: doubles up to the second
AIR_SECONDS = 0.03  # the loop may be longer than what the devices state: 10 m of air

DUCK_DB = -30.0
HOLD_SECONDS = 0.7
RELEASE_DB = 20.0  # per second
STEP_DB = 6.0  # each time it happens, so much less gain is given back
LOWEST_DB = -36.0
RECOVERY_DB = 0.5  # per second, of what was not given back
ATTACK_SECONDS = 0.01


class Guard:
    """For one stream.

    turn: samples of the whole loop; lag: samples from the output to the input, without what is between them here.
    count: how often it ducked; gain_db: what it does now, 0 at rest.
    """

    def __init__(self, rate: int, turn: int, lag: int) -> None:
        self.rate = rate
        self.count = 0
        self.gain_db = self.allowed_db = 0.0
        self.gain = 1.0
        self.hold = 0.0  # seconds that it still ducks
        self.dip_db = self.level_before = 0.0
        self.waiting, self.patience = 0.0, PATIENCE_SECONDS[0]
        self.set_loop(turn, lag)

    def set_loop(self, turn: int, lag: int) -> None:
        """The loop's delays, which are known better once the device runs. What was heard so far is forgotten."""
        self.length = max(turn, round(SHORTEST_TURN * self.rate))
        self.lag = lag
        self.air = round(AIR_SECONDS * self.rate)
        self.testing = False
        self.tested = 0  # samples since the test began
        self.levels: deque[tuple[float, bool]] = deque(maxlen=max(8, round(MEMORY_SECONDS * self.rate / self.length)))
        self.seen = 0
        self.peak, self.pinned = 0.0, True
        room = self.length + lag + self.air
        self.heard: FloatArray = np.zeros(room, np.float32)
        self.sent: FloatArray = np.zeros(room, np.float32)

    def process(self, dry: FloatArray, out: FloatArray, ceiling: float) -> FloatArray:
        """Input and output (channels, n) of the same time; returns the output, ducked if need be."""
        # Levels are those before the guard's own gain: its way back up is no growth.
        peak = float(np.abs(out).max(initial=0.0))
        out = self.duck(out)
        count = out.shape[1]
        self.heard = np.concatenate([self.heard, finite(dry)[0].mean(axis=0)])[-len(self.heard) :]
        self.sent = np.concatenate([self.sent, out.mean(axis=0)])[-len(self.sent) :]
        self.peak = max(self.peak, peak)
        self.pinned = self.pinned and peak >= NEAR_CEILING * ceiling
        self.seen += count
        if self.testing:
            self.tested += count
            if self.tested >= self.lag + self.length:
                self.judge()
        elif self.seen >= self.length:
            self.levels.append((20 * np.log10(max(self.peak, 1e-6)), self.pinned))
            self.seen, self.peak, self.pinned = 0, 0.0, True
            free = self.hold <= 0 and self.waiting <= 0
            if free and (self.grows_like_a_loop() or self.is_pinned_after_growth()):
                self.begin_test()
        return out

    def input_level(self, begin: int, end: int) -> float:
        """In dB, from so many samples ago to so many."""
        heard = self.heard[len(self.heard) - begin : len(self.heard) - end]
        return 20 * float(np.log10(np.sqrt(np.mean(heard**2)) + 1e-9))

    def begin_test(self) -> None:
        """Go down by so much that a loop's input falls by 10 dB though it grows on meanwhile."""
        self.level_before = self.input_level(self.length, 0)
        self.testing, self.tested = True, 0
        (before, _), (now, _) = list(self.levels)[-2:]
        grown = max(0.0, now - before) * (1 + (self.lag + self.air / 2) / self.length)
        self.dip_db = max(DUCK_DB, TEST_DB - grown)

    def judge(self) -> None:
        """The end of a test: did the input go down as well, within one turn?

        output   _________                    dips here
                          |_______________________________________________
        input    _______________________ . . .                              one lag later; air may delay it further
                          |<--- lag --->|<air>|<- looked at ->|
                                        |<----- one turn ---->|
        """
        self.testing = False
        self.levels.clear()
        self.seen, self.peak, self.pinned = 0, 0.0, True
        since, until = self.tested - self.lag - self.air, self.tested - self.lag - self.length
        fall = self.level_before - self.input_level(since, until)
        if fall >= TEST_FALL_DB:
            self.count += 1
            self.allowed_db = max(LOWEST_DB, self.allowed_db - STEP_DB)
            self.hold = HOLD_SECONDS
            self.patience = PATIENCE_SECONDS[0]
        else:
            self.waiting = self.patience
            self.patience = min(2 * self.patience, PATIENCE_SECONDS[1])

    def grows_like_a_loop(self) -> bool:
        """Every turn louder than the one before, fast enough, and the input is what went out."""
        turns = max(TURNS, -(-round(GROWTH_SECONDS * self.rate) // self.length))
        if len(self.levels) <= turns:
            return False
        recent = [level for level, _ in self.levels][-turns - 1 :]
        grown = recent[-1] - recent[0]
        steady = all(after > before for before, after in pairwise(recent))
        fast = grown >= max(LEAST_GROWTH_DB, GROWTH_DB * turns * self.length / self.rate)
        return steady and fast and recent[-1] > AUDIBLE_DB and self.likeness() >= LIKENESS

    def is_pinned_after_growth(self) -> bool:
        """At the ceiling all the time, after it came up from far below."""
        turns = max(TURNS, -(-round(PINNED_SECONDS * self.rate) // self.length))
        levels = list(self.levels)
        if len(levels) < turns + 2 or not all(pinned for _, pinned in levels[-turns:]):
            return False
        before = [level for level, _ in levels[:-turns]]
        return levels[-1][0] - min(before) >= PINNED_GROWTH_DB

    def likeness(self) -> float:
        """How well the newest input is explained by the output of one turn earlier: the best correlation there is."""
        size = self.length
        first = max(0, self.lag - round(AIR_SECONDS / 3 * self.rate))
        recent = self.heard[-size:]
        earlier = self.sent[: len(self.sent) - first] if first else self.sent
        lags = len(earlier) - size
        if lags <= 0 or not recent.any():
            return 0.0
        length = 1 << (len(earlier) + size - 1).bit_length()
        product = np.fft.rfft(earlier, length) * np.fft.rfft(recent, length).conj()
        crossed = np.abs(np.fft.irfft(product, length)[: lags + 1])
        energies = np.concatenate([[0.0], np.cumsum(earlier.astype(np.float64) ** 2)])
        norms = np.sqrt((energies[size:] - energies[:-size]) * float(np.sum(recent.astype(np.float64) ** 2)))
        return float(np.max(crossed / np.maximum(norms, 1e-9)))

    def duck(self, out: FloatArray) -> FloatArray:
        """The output at the guard's gain, which moves without a click."""
        seconds = out.shape[1] / self.rate
        self.waiting -= seconds
        if self.hold > 0 or self.testing:
            self.hold -= seconds
            lowest = DUCK_DB if self.hold > 0 else self.allowed_db + self.dip_db
            target = max(lowest, self.gain_db + DUCK_DB / ATTACK_SECONDS * seconds)
        else:
            self.allowed_db = min(0.0, self.allowed_db + RECOVERY_DB * seconds)
            target = min(self.allowed_db, self.gain_db + RELEASE_DB * seconds)
        start, self.gain_db = self.gain, target
        self.gain = db_to_gain(target)
        if start == self.gain == 1.0:
            return out
        ramp = np.linspace(start, self.gain, out.shape[1] + 1, dtype=np.float32)[1:]
        return np.asarray(out * ramp, np.float32)
