"""What the engine costs, as ratios taken in one run: against bare onnxruntime, against real time, against full windows.

The two sides of a ratio are run in turns, so that a noisy machine disturbs both alike, and medians are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.engine import Engine, Latency
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.window import Windows

FloatArray = NDArray[np.float32]
HOPS = (240, 480, 1024, 2048)
ENGINE_HOP = 2048
WINDOW_HOP = 2205
RUNS = 60
FULL_RUNS = 9
DEVICE_RATE = 44_100


@dataclass(frozen=True)
class HopCost:
    """Milliseconds of encode and decode for one hop's slice, and how many times faster than real time both are."""

    hop: int
    encode_ms: float
    decode_ms: float
    real_time_factor: float


@dataclass(frozen=True)
class ModelBench:
    """All figures of one model, for one thread and mono.

    engine_over_bare: engine time over bare onnxruntime calls on the same slices, at hops of about 2048 samples.
    real_time_factor: of the whole engine, there. full_over_slices: cost of full windows over slices, at 2205.
    latency: of the engine at DEVICE_RATE with its default hop, in samples.
    """

    model: str
    hops: tuple[HopCost, ...]
    engine_over_bare: float
    real_time_factor: float
    full_over_slices: float
    latency: Latency
    latency_ms: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def timed(runs: int, *calls: Callable[[], object]) -> list[float]:
    """Median seconds of each call, all called in turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for call, taken in zip(calls, times, strict=True):
            start = perf_counter()
            call()
            taken.append(perf_counter() - start)
    return [float(np.median(taken)) for taken in times]


def slices(model: OnnxModel, hop: int, crossfade: int) -> tuple[FloatArray, FloatArray]:
    """What a hop gives the encoder and the decoder in steady state."""
    windows, seen = Windows(model, 1, hop, crossfade), Recorder(model)
    windows.model = seen
    block = np.random.default_rng(0).normal(0, 0.1, (1, hop)).astype(np.float32)
    for _ in range(2 + model.spec.window // hop):
        windows.step(block, Snapshot())
    return seen.audio, seen.latents


class Recorder:
    """A model that keeps what it was last given."""

    def __init__(self, model: OnnxModel) -> None:
        self.model, self.spec = model, model.spec
        self.audio: FloatArray = np.zeros((1, 1), np.float32)
        self.latents: FloatArray = np.zeros((1, 1, 1), np.float32)

    def encode(self, audio: FloatArray) -> FloatArray:
        """As the model."""
        self.audio = audio.copy()
        return self.model.encode(audio)

    def decode(self, z: FloatArray) -> FloatArray:
        """As the model."""
        self.latents = z.copy()
        return self.model.decode(z)


def hop_costs(model: OnnxModel, hops: Sequence[int] = ()) -> tuple[HopCost, ...]:
    """Encode and decode at these hops, at HOPS if none are given."""
    costs = []
    for wanted in hops or HOPS:
        hop = model.spec.hop(wanted)
        audio, latents = slices(model, hop, 0)
        encode, decode = timed(RUNS, lambda a=audio: model.encode(a), lambda z=latents: model.decode(z))  # type: ignore[misc]
        factor = hop / model.spec.sample_rate / (encode + decode)
        costs.append(HopCost(hop, round(1000 * encode, 4), round(1000 * decode, 4), round(factor, 1)))
    return tuple(costs)


def running(model: OnnxModel, hop: int, full_window: bool = False) -> Callable[[], object]:
    """An engine in steady state, as a function that runs one hop."""
    engine = Engine(model, hop=hop, full_window=full_window)
    block = np.random.default_rng(0).normal(0, 0.1, (1, engine.hop)).astype(np.float32)
    for _ in range(2 + model.spec.window // engine.hop):
        engine.process(block, Snapshot())
    return lambda: engine.process(block, Snapshot())


def bench(model: OnnxModel) -> ModelBench:
    """Measure one model; about ten seconds."""
    engine = Engine(model, hop=ENGINE_HOP)
    audio, latents = slices(model, engine.hop, engine.crossfade)
    whole, bare = timed(RUNS, running(model, ENGINE_HOP), lambda: (model.encode(audio), model.decode(latents)))
    full, sliced = timed(FULL_RUNS, running(model, WINDOW_HOP, True), running(model, WINDOW_HOP))
    engine.prepare(DEVICE_RATE, 2)
    return ModelBench(
        model=model.spec.name,
        hops=hop_costs(model),
        engine_over_bare=round(whole / bare, 3),
        real_time_factor=round(engine.hop / model.spec.sample_rate / whole, 1),
        full_over_slices=round(full / sliced, 1),
        latency=engine.latency,
        latency_ms=round(1000 * engine.latency.total / DEVICE_RATE, 1),
    )
