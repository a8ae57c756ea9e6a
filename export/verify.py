"""The proof that an export is right: everything is measured, and nothing is written unless all of it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from rtae.engine import Engine
from rtae.errors import ExportError
from rtae.latent import apply_effects
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.reach import computed_reach, measured_reach
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.window import Windows

FloatArray = NDArray[np.float32]
PARITY_LIMIT = 1e-4  # full scale; latents: standard deviations
COST_HOPS = (240, 480, 960, 2048)
COST_RUNS = 40
ODD_LENGTHS = (1, 47, 1000, 9_999, 110_251)


@dataclass(frozen=True)
class Check:
    """One figure and what it may be at most."""

    name: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """Also false for NaN."""
        return self.value <= self.limit


@dataclass
class Verification:
    """All checks of one export, and what a hop costs on this machine."""

    checks: list[Check] = field(default_factory=list)
    cost: list[dict[str, float]] = field(default_factory=list)

    def require(self) -> None:
        """Raise ExportError, which names the figures that failed, unless all checks passed."""
        failed = [f"{c.name} is {c.value:.3g}, allowed is {c.limit:.3g}" for c in self.checks if not c.passed]
        if failed:
            raise ExportError(f"The export does not verify, nothing was written: {'; '.join(failed)}")

    def to_dict(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)


def difference(first: FloatArray, second: FloatArray) -> float:
    """Largest absolute difference; infinite where shapes differ or a value is not finite."""
    if first.shape != second.shape:
        return float("inf")
    largest = float(np.abs(first - second).max()) if first.size else 0.0
    return largest if np.isfinite(largest) else float("inf")


def check_graphs(encoder: bytes, decoder: bytes) -> None:
    """Raise ExportError where the ONNX checker objects."""
    for name, content in (("encoder", encoder), ("decoder", decoder)):
        try:
            onnx.checker.check_model(content, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"The ONNX checker refuses the {name}, nothing was written: {error}") from None


@torch.no_grad()
def parity(net: Autoencoder, model: OnnxModel, audio: FloatArray) -> tuple[float, float]:
    """Largest difference between torch and onnxruntime for audio (channels, samples): latents, audio."""
    std = np.array(model.spec.latent_std, np.float32)[:, None]
    z = net.encoder(torch.from_numpy(audio)[:, None])
    expected = net.decoder(z)[:, 0].numpy()
    latents = model.encode(audio)
    return difference(latents, z.numpy() / std), difference(model.decode(latents), expected)


def parity_checks(net: Autoencoder, model: OnnxModel, music: FloatArray, noise: FloatArray) -> list[Check]:
    """torch against onnxruntime on music and noise, whole and at awkward lengths."""
    checks = []
    for name, audio in (("music", music), ("noise", noise)):
        pieces = [audio, audio[:, : model.spec.window], *(audio[:, :length] for length in ODD_LENGTHS)]
        figures = [parity(net, model, np.ascontiguousarray(piece)) for piece in pieces]
        for kind, values in zip(("latents", "audio"), zip(*figures, strict=True), strict=True):
            checks.append(Check(f"torch against ONNX, {kind}, {name}", max(values), PARITY_LIMIT))
    return checks


def stream(engine: Engine, audio: FloatArray, values: Snapshot, block: int) -> FloatArray:
    """Audio through the engine, without its latency."""
    engine.prepare(engine.model.spec.sample_rate, audio.shape[0])
    padded = np.pad(audio, ((0, 0), (0, engine.latency.total)))
    out = [engine.process(padded[:, i : i + block], values) for i in range(0, padded.shape[1], block)]
    return np.concatenate(out, axis=1)[:, engine.latency.total :]


def streaming_checks(model: OnnxModel, music: FloatArray) -> list[Check]:
    """The engine against the whole file in one go, with latent noise on; slices, and full windows."""
    values = Snapshot().replace(noise_amount=0.5, noise_speed=30)
    music = music * np.float32(0.25)  # clear of the limiter
    checks = []
    for name, full, seconds in (("slices", False, 10), ("full windows", True, 3)):
        audio = music[:, : seconds * model.spec.sample_rate]
        engine = Engine(model, full_window=full)
        # The stream goes on in silence, which a network that looks ahead can tell from an end.
        silence = np.zeros((1, engine.latency.total), np.float32)
        z = model.encode(np.concatenate([audio, silence], axis=1))
        whole = model.decode(apply_effects(z, 0, values, model.spec))[:, : audio.shape[1]]
        streamed = stream(engine, audio, values, 1023)
        checks.append(Check(f"streamed against whole file, {name}", difference(streamed, whole), PARITY_LIMIT))
    return checks


def reach_checks(net: Autoencoder) -> list[Check]:
    """What is measured of the network's reach, against what its layers say; any difference is a failure."""
    computed, measured = asdict(computed_reach(net.config)), asdict(measured_reach(net))
    return [
        Check(f"{name.replace('_', ' ')} ({value} by the layers), difference", abs(measured[name] - value), 0)
        for name, value in computed.items()
    ]


def hop_cost(model: OnnxModel, hop: int, full: bool = False, runs: int = COST_RUNS) -> float:
    """Median seconds that one hop of mono takes, everything that the engine does with the model included."""
    windows = Windows(model, 1, model.spec.hop(hop), 0, full)
    block = np.random.default_rng(0).normal(0, 0.1, (1, windows.hop)).astype(np.float32)
    while windows.end < model.spec.window + windows.hop and (full or windows.end < 40 * windows.hop):
        windows.step(block, Snapshot())
    times = []
    for _ in range(runs):
        start = perf_counter()
        windows.step(block, Snapshot())
        times.append(perf_counter() - start)
    return float(np.median(times))


def cost_table(model: OnnxModel) -> list[dict[str, float]]:
    """Cost per hop: samples, milliseconds, times faster than real time."""
    table = []
    for wanted in COST_HOPS:
        hop, seconds = model.spec.hop(wanted), hop_cost(model, wanted)
        real_time = hop / model.spec.sample_rate / seconds
        table.append({"hop": hop, "milliseconds": round(1000 * seconds, 3), "real_time_factor": round(real_time, 1)})
    return table


def verify(net: Autoencoder, model: OnnxModel, music: FloatArray) -> Verification:
    """Measure everything; `require` of the result says whether it holds. music: (1, samples), ten seconds or so."""
    noise = np.random.default_rng(0).uniform(-1, 1, music.shape).astype(np.float32)
    checks = parity_checks(net, model, music, noise) + streaming_checks(model, music) + reach_checks(net)
    return Verification(checks, cost_table(model))
