"""What is measured: models, and beside each the best linear code of its size and, if there is one, the paper's recipe.

A system is a function from audio to audio at a rate of its own, with what is known of it without listening.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import db_to_gain
from rtae.engine import Engine
from rtae.metrics import middle
from rtae.nets.linear import LinearCode
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.spec import DECODER_FILE, ENCODER_FILE, LINEAR_FILE, PAPER_FOLDER, SPEC_FILE

FloatArray = NDArray[np.float32]
PIECE_SECONDS = 20  # what is computed at once: memory does not grow with the song
LOWEST_EDGE_HZ = 50.0
STREAM_SECONDS = 5.0
STREAM_BLOCK = 1023
STREAM_PEAK = 0.25  # turned down to this where it is louder, clear of the limiter, and up again afterwards
LOWEST_GAIN_DB = -60.0


@dataclass(frozen=True)
class System:
    """One thing that is measured.

    kind: "input", "linear", "paper" or "model". edge_hz: where the linear code of its size ends, None if that is
    nowhere or not known. values_per_second: of what lies between encoder and decoder. checksum: of all that decides
    its output. model: None but for models and the paper's recipe. metrics: the only ones that say anything about it;
    all of them if it is empty.
    """

    name: str
    kind: str
    rate: int
    run: Callable[[FloatArray], FloatArray]
    checksum: str
    edge_hz: float | None = None
    values_per_second: float = 0.0
    model: OnnxModel | None = None
    metrics: tuple[str, ...] = ()


def linear_code(folder: Path, model: OnnxModel) -> LinearCode | None:
    """The linear code that came with a model, if one did. Raises ModelError where it is not one of its size."""
    path = folder / LINEAR_FILE
    if not path.exists():
        return None
    return LinearCode.load(path, model.spec.latent_dim, model.spec.stride)


def band_edge(basis: FloatArray, rate: int) -> float | None:
    """Hz where a linear code ends: from there on, upwards from 0, it passes less than half of a sine's energy.

    basis: (latent_dim, stride). What it passes at a frequency, over all phases, is the energy of its rows' spectra
    there over the stride. None where it ends nowhere, as a code that loses nothing, or near 0, as a random one may.
    """
    size = 16 * max(512, basis.shape[1])
    passed = (np.abs(np.fft.rfft(basis.astype(np.float64), size, axis=1)) ** 2).sum(axis=0) / basis.shape[1]
    below = np.flatnonzero(passed < 0.5)
    edge = float(below[0] * rate / size) if len(below) else 0.0
    return edge if edge >= LOWEST_EDGE_HZ else None


def through(model: OnnxModel, audio: FloatArray) -> FloatArray:
    """The whole of (1, samples) through a model, in pieces that overlap by all that it sees; as many samples."""
    spec, samples = model.spec, audio.shape[1]
    past = future = spec.window
    if spec.reach is not None:
        past, future = spec.reach.receptive_field, spec.reach.look_ahead
    past, future, piece = (-(-n // spec.stride) * spec.stride for n in (past, future, PIECE_SECONDS * spec.sample_rate))
    parts = []
    for start in range(0, samples, piece):
        first, last = max(0, start - past), min(samples, start + piece + future)
        out = model.decode(model.encode(audio[:, first:last]))
        parts.append(out[:, start - first : min(start + piece, samples) - first])
    return np.concatenate(parts, axis=1)


def streamed_difference(model: OnnxModel, audio: FloatArray) -> float:
    """The largest difference, in full scale, between a stretch through the engine and the same in one go.

    audio: (1, samples) at the model's rate, of which STREAM_SECONDS around the middle are taken.
    """
    stretch = middle(audio[0], model.spec.sample_rate, STREAM_SECONDS)[None]
    engine = Engine(model)
    engine.prepare(model.spec.sample_rate, 1)
    latency = engine.latency.total
    padded = np.pad(stretch, ((0, 0), (0, latency)))  # the stream goes on in silence
    whole = model.decode(model.encode(padded))[:, : stretch.shape[1]]
    gain_db = float(np.clip(20 * np.log10(STREAM_PEAK / max(float(np.abs(whole).max()), 1e-9)), LOWEST_GAIN_DB, 0))
    values = Snapshot().replace(output_gain=gain_db)
    blocks = range(0, padded.shape[1], STREAM_BLOCK)
    streamed = [engine.process(padded[:, at : at + STREAM_BLOCK], values) for at in blocks]
    restored = np.concatenate(streamed, axis=1)[:, latency:] / db_to_gain(values["output_gain"])
    return float(np.abs(restored - whole).max())


def checksum_of(*facts: object) -> str:
    """Of facts that JSON can hold."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def systems_of(folders: Sequence[Path]) -> tuple[System, ...]:
    """The input, and each model after its baselines; what is there twice is measured once.

    Raises ModelError for a model, a linear code or a model by the paper's recipe that is broken.
    """
    found: dict[str, System] = {}
    for folder in folders:
        model = OnnxModel.load(folder)
        spec = model.spec
        rates = {system.rate for system in found.values()}
        if spec.sample_rate not in rates:
            name = "input" if not rates else f"input at {spec.sample_rate} Hz"
            keep(found, System(name, "input", spec.sample_rate, np.copy, "input", metrics=("visqol",)))
        linear, edge = linear_code(folder, model), None
        if linear is not None:
            edge = band_edge(linear.basis, spec.sample_rate)
            content = hashlib.sha256(linear.basis.tobytes()).hexdigest()
            keep(
                found,
                System(
                    f"linear {spec.stride} to {spec.latent_dim}",
                    "linear",
                    spec.sample_rate,
                    linear.reconstruct,
                    checksum_of("linear", content, spec.sample_rate, edge),
                    edge,
                    spec.frame_rate * spec.latent_dim,
                ),
                folder,
            )
        if (folder / PAPER_FOLDER / SPEC_FILE).is_file():
            paper = OnnxModel.load(folder / PAPER_FOLDER)
            keep(found, model_system(paper, f"paper ({folder.name})", "paper", edge), folder)
        keep(found, model_system(model, folder.name, "model", edge), folder)
    return tuple(found.values())


def model_system(model: OnnxModel, name: str, kind: str, edge: float | None) -> System:
    """A model, low-passed where its linear code ends."""
    spec = model.spec
    files = [spec.files[name] for name in (ENCODER_FILE, DECODER_FILE)]
    return System(
        name,
        kind,
        spec.sample_rate,
        lambda audio: through(model, audio),
        checksum_of("model", files, spec.sample_rate, edge),
        edge,
        spec.frame_rate * spec.latent_dim,
        model,
    )


def keep(found: dict[str, System], system: System, folder: Path | None = None) -> None:
    """Add a system, unless the same is there; another one of the same name is told apart by its folder."""
    same = found.get(system.name)
    if same is None:
        found[system.name] = system
    elif same.checksum != system.checksum:
        name = f"{system.name} of {folder}" if system.kind != "model" else str(folder)
        found[name] = System(**{**vars(system), "name": name})
