"""Finds the smallest hop that a machine keeps up with, by measuring: the least latency without dropouts."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from rtae.engine import Engine
from rtae.params import Snapshot
from rtae.runtime import OnnxModel

HOPS = (240, 480, 960, 2048, 4096)  # samples at the model's rate: 11 ms to 186 ms
TRIALS = 40
LOAD = 0.3  # of real time, on average: the rest is for other programs
# A chunk must be done within the ring's lead, less what the system may take for itself: even the slowest of the trial.
SHARE_OF_LEAD = 0.8


def smallest_hop(model: OnnxModel, rate: int, channels: int, lead_seconds: float, quality: str) -> int:
    """Samples at the model's rate. lead_seconds: by how much the device's ring is ahead of the device.

    Each hop is tried on noise; takes a fraction of a second. If none is fast enough it is the longest.
    """
    for hop in HOPS:
        engine = Engine(model, hop=hop, quality=quality)
        engine.prepare(rate, channels)
        mean, slowest = time_chunks(engine)
        if mean <= LOAD * engine.hop / model.spec.sample_rate and slowest <= SHARE_OF_LEAD * lead_seconds:
            return engine.hop
    return engine.hop


def time_chunks(engine: Engine) -> tuple[float, float]:
    """Seconds that a chunk takes: on average, and the slowest but one of the trial."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.1, 0.1, (engine.channels, engine.longest_chunk)).astype(np.float32)
    times = []
    for _ in range(TRIALS):
        start = perf_counter()
        engine.process(noise, Snapshot())
        times.append(perf_counter() - start)
    return sum(times) / len(times), sorted(times)[-2]
