"""What knobs do to the sound of models, in figures: `python docs/measure_bending.py small tiny` prints a table of each.

Of 12 s of the demo track, against the same through the model with all knobs at rest: level; brightness, the centroid of
the spectrum; noisiness, the flatness of the spectrum, weighted by energy; rhythm, the correlation of the logarithm of
the energy in frames of 46 ms.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from rtae.audio.file import read_audio
from rtae.demo import DEMO_PATH
from rtae.engine import Engine
from rtae.models import find
from rtae.params import Snapshot
from rtae.runtime import OnnxModel

SECONDS, BLOCK, FRAME = 12, 4096, 1024
SETTINGS: tuple[dict[str, float], ...] = (
    {"noise_amount": 0.3},
    {"noise_amount": 1},
    {"noise_amount": 1, "noise_speed": 2},
    {"gain_noise": 1},
    {"random_mix": 0.5},
    {"drop": 0.25},
    {"drop": 0.5},
    {"permute": 0.5},
    {"quantise": 1},
    {"blur": 0.05},
    {"echo": 0.5},
    {"macro_1": 2},
    {"macro_2": 2},
    {"macro_3": 2},
)


@dataclass(frozen=True)
class Sound:
    """Figures of (samples,) of audio."""

    level_db: float
    centroid: float
    flatness: float
    energies: NDArray[np.float64]


def describe(audio: NDArray[np.float32]) -> Sound:
    """Measure it."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[:: FRAME // 2] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-10
    energies = power.sum(axis=1)
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    level = 10 * np.log10((audio.astype(np.float64) ** 2).mean() + 1e-12)
    centroid = (power * np.arange(power.shape[1])).sum() / power.sum()
    return Sound(float(level), float(centroid), float(np.average(flatness, weights=energies)), np.log(energies))


def run(model: OnnxModel, audio: NDArray[np.float32], values: dict[str, float]) -> NDArray[np.float32]:
    """(1, samples) through the engine -> (samples,), its latency taken off."""
    engine = Engine(model)
    engine.prepare(model.spec.sample_rate, 1)
    latency, knobs = engine.latency.total, Snapshot().replace(**values)
    padded = np.pad(audio, ((0, 0), (0, latency)))
    parts = [engine.process(padded[:, at : at + BLOCK], knobs) for at in range(0, padded.shape[1], BLOCK)]
    return np.concatenate(parts, axis=1)[0, latency:]


def main() -> None:
    """One table for each model that is named."""
    song, rate = read_audio(DEMO_PATH)
    for name in sys.argv[1:]:
        model = OnnxModel.load(find(name))
        mono = soxr.resample(song.mean(axis=0), rate, model.spec.sample_rate).astype(np.float32)
        audio = mono[None, : SECONDS * model.spec.sample_rate]
        rest = describe(run(model, audio, {}))
        print(f"{name}\n\n| knobs | level | brightness | noisiness | rhythm |\n|---|---:|---:|---:|---:|")
        for values in SETTINGS:
            bent = describe(run(model, audio, values))
            knobs = ", ".join(f"{id} {value:g}" for id, value in values.items())
            print(
                f"| {knobs} | {bent.level_db - rest.level_db:+.1f} dB "
                f"| x {bent.centroid / rest.centroid:.2f} | x {bent.flatness / rest.flatness:.1f} "
                f"| {np.corrcoef(bent.energies, rest.energies)[0, 1]:.2f} |"
            )
        print()


if __name__ == "__main__":
    main()
