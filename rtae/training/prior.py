"""A network that foresees latents, trained on those of a model: mixtures of normal distributions, given the past.

    past --> autoregression -----------------------------------------+
      |                                                              v
      +--> recent frames, level, rhythm --> GRU --> mixture --> level * L e --> (+) --> next latent
      |                                               ^
      +--> rhythm ------- straight to the scales -----+

The autoregression is the Gaussian process that fits the latents best (Yule and Walker; as a vector process, Whittle
1963), so training starts at what is linearly possible. What it cannot foresee is taken relative to the level of the
past, which makes one network serve loud and quiet music.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rtae.errors import TrainingError
from rtae.prior import REACH
from rtae.runtime import OnnxModel
from rtae.training.checkpoint import write_tensors
from rtae.training.config import refuse_broken
from rtae.training.data import Track, middle
from rtae.training.rhythm import CONTEXT, Rhythm

FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]
RUN_FILE = "prior.safetensors"
FORMAT = 1
TRACK_SECONDS = 90.0
RIDGE = 1e-4
LEVEL_FLOOR = 1e-2  # standard deviations
LOG_SCALES = (-7.0, 3.0)
# Levels of what is made up, between which it neither dies away nor gets ever louder. Those of music are 1 on average;
# nine tenths of it lie between these.
LEVELS = (0.4, 2.4)
WARM_FRAMES = 16  # of each stretch, in which the state fills and nothing is learned
NOISE_STREAM = 2
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class PriorConfig:
    """One training of a prior.

    order: frames of the autoregression, of which the network sees the latest `recent`; state: of the GRU; parts: of the
    mixture. rhythm: whether it also sees what comes next if the rhythm of the last four seconds goes on. pulse: how
    much more than it learned this accents what is made up, which is less regular than music, so that the network trusts
    it less than would keep it going; depth: by how much at most, nats of amplitude. stretch: frames per example. blur:
    deviation of the noise on what the network sees, as a share of the level, against the errors that add up when it
    hears nothing but itself.
    """

    minutes: float = 15.0
    order: int = 32
    recent: int = 12
    state: int = 192
    parts: int = 8
    rhythm: bool = True
    pulse: float = 4.0
    depth: float = 0.2
    batch: int = 16
    stretch: int = 192
    learning_rate: float = 2e-3
    blur: float = 0.05
    clip_norm: float = 1.0
    seed: int = 0

    @property
    def context(self) -> int:
        """Frames of the past that a frame depends on, but for the state."""
        return max(self.order, CONTEXT) if self.rhythm else self.order

    def __post_init__(self) -> None:
        checks = {
            "minutes must be above 0 and finite": 0 < self.minutes < math.inf,
            "order must lie in [1, 512]": 1 <= self.order <= 512,
            "recent must lie in [1, order]": 1 <= self.recent <= self.order,
            "pulse must lie in [1, 16]": 1 <= self.pulse <= 16,
            "depth must lie in (0, 4]": 0 < self.depth <= 4,
            "state must lie in [1, 4096]": 1 <= self.state <= 4096,
            "parts must lie in [1, 64]": 1 <= self.parts <= 64,
            "stretch must be above 16": self.stretch > WARM_FRAMES,
            "learning_rate must lie in (0, 1)": 0 < self.learning_rate < 1,
            "seed must lie in [0, 2^32)": 0 <= self.seed < 2**32,
        }
        refuse_broken(checks)


def latents_of(
    model: OnnxModel, tracks: Sequence[Track], progress: Callable[[int, int], None] = lambda *_: None
) -> list[FloatArray]:
    """Latents of up to a minute and a half of each track, (latent_dim, frames) each."""
    pieces = []
    for number, track in enumerate(tracks):
        progress(number, len(tracks))
        audio = middle(track, TRACK_SECONDS)
        whole = len(audio) // model.spec.stride
        pieces.append(model.encode(audio[None])[0][:, :whole])
    return pieces


@dataclass(frozen=True)
class Process:
    """The Gaussian process of some latents: see `rtae.prior.PriorSpec` for the tables.

    relative: as `innovation`, of what is left once it is divided by the level of the past.
    """

    mean: FloatArray64
    coefficients: FloatArray64
    innovation: FloatArray64
    relative: FloatArray64

    @classmethod
    def fit(cls, pieces: Sequence[FloatArray], order: int) -> Process:
        """The autoregression of this order with the pieces' covariances. Raises TrainingError if they are too few."""
        pieces = [piece for piece in pieces if piece.shape[1] > 2 * order]
        frames = sum(piece.shape[1] for piece in pieces)
        dims = pieces[0].shape[0] if pieces else 0
        if frames <= 4 * order * max(dims, 1):
            raise TrainingError(f"{frames} frames of latents are too few for a prior of order {order}: give more songs")
        mean = np.sum([piece.sum(axis=1, dtype=np.float64) for piece in pieces], axis=0) / frames
        lags = np.zeros((order + 1, dims, dims))  # E[x(t) x(t - k)']
        for piece in pieces:
            x = piece - mean[:, None]
            for lag in range(order + 1):
                lags[lag] += x[:, lag:] @ x[:, : x.shape[1] - lag].T
        lags /= frames
        lags[0] += RIDGE * np.trace(lags[0]) / dims * np.eye(dims)
        rows = [[lags[k - i] if k >= i else lags[i - k].T for k in range(order)] for i in range(order)]
        toeplitz, wanted = np.block(rows), np.concatenate(list(lags[1:]), axis=1)  # A T = wanted
        solved = np.linalg.solve(toeplitz.T, wanted.T).T
        coefficients = solved.reshape(dims, order, dims).transpose(1, 0, 2)
        left = lags[0] - solved @ wanted.T
        innovation = np.linalg.cholesky((left + left.T) / 2)
        relative = relative_innovation(pieces, mean, coefficients)
        return cls(mean, coefficients, innovation, relative)


def relative_innovation(pieces: Sequence[FloatArray], mean: FloatArray64, coefficients: FloatArray64) -> FloatArray64:
    """The triangle of what the autoregression cannot foresee, divided by the level of the past."""
    order, dims, _ = coefficients.shape
    table = coefficients[::-1].transpose(0, 2, 1).reshape(-1, dims)
    total, count = RIDGE * np.eye(dims), 1
    for piece in pieces[:: max(1, len(pieces) // 64)]:
        x = (piece - mean[:, None]).T
        windows = np.lib.stride_tricks.sliding_window_view(x[:-1], order, axis=0)  # (frames, dims, order)
        past = windows.transpose(0, 2, 1).reshape(len(windows), -1)
        level = np.sqrt(np.mean(past**2, axis=1) + LEVEL_FLOOR**2)
        rest = (x[order:] - past @ table) / level[:, None]
        total, count = total + rest.T @ rest, count + len(rest)
    return np.linalg.cholesky(total / count)


class PriorNet(nn.Module):
    """The network, and the process that it stands on."""

    mean: Tensor
    table: Tensor
    triangle: Tensor

    def __init__(self, config: PriorConfig, process: Process) -> None:
        super().__init__()
        self.config = config
        self.dims = dims = len(process.mean)
        table = process.coefficients[::-1].transpose(0, 2, 1).reshape(-1, dims)
        self.register_buffer("mean", torch.from_numpy(process.mean).float())
        self.register_buffer("table", torch.from_numpy(np.ascontiguousarray(table)).float())
        self.register_buffer("triangle", torch.from_numpy(process.relative).float())
        self.rhythm = Rhythm(dims) if config.rhythm else None
        more = self.rhythm.size if self.rhythm is not None else 0
        self.gru = nn.GRU(config.recent * dims + 1 + more, config.state, batch_first=True)
        self.head = nn.Linear(config.state, config.parts * (1 + 2 * dims))
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.beat = nn.Linear(more, dims, bias=False) if self.rhythm is not None else None
        with torch.no_grad():  # parts of different width, as music has loud and quiet surprises
            widths = torch.linspace(-1.5, 0.5, config.parts)[:, None].expand(-1, dims)
            self.head.bias[-config.parts * dims :] = widths.reshape(-1)
            if self.rhythm is not None and self.beat is not None:
                self.beat.weight.copy_(self.rhythm.first_guess())

    def features(self, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the past (..., order, dims): what the GRU sees, what the process foresees, and the level (..., 1)."""
        x = past - self.mean
        flat = x.flatten(-2)
        level = torch.sqrt(flat.square().mean(-1, keepdim=True) + LEVEL_FLOOR**2)
        recent = flat[..., -self.config.recent * self.dims :] / level
        return torch.cat([recent, level.log()], -1), flat @ self.table, level

    def beats(self, z: Tensor) -> Tensor:
        """What the rhythm of z (batch, context - 1 + n, dims) says of each newest frame, (batch, n, values)."""
        if self.rhythm is None:
            return z.new_zeros(len(z), z.shape[1] - self.config.context + 1, 0)
        values: Tensor = self.rhythm(z[:, self.config.context - CONTEXT :] - self.mean)
        return values

    def mixture(self, state: Tensor, beats: Tensor, pulse: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Of states (..., state): logits (..., parts), means and logarithms of scales (..., parts, dims)."""
        parts, dims = self.config.parts, self.dims
        logits, means, scales = self.head(state).split([parts, parts * dims, parts * dims], -1)
        scales = scales.unflatten(-1, (parts, dims))
        if self.beat is not None:
            follows = self.beat(beats)[..., None, :]
            depth = self.config.depth
            scales = scales + follows + depth * torch.tanh((pulse - 1) / depth * follows.clamp(min=0))
        return logits, means.unflatten(-1, (parts, dims)), scales.clamp(*LOG_SCALES)

    def loss(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """Negative log-likelihood per frame, in nats, of stretches (batch, context + frames, dims).

        noise: (batch, frames, recent * dims), which blurs what the network sees.
        """
        config = self.config
        windows = z[:, config.context - config.order :].unfold(1, config.order, 1)[:, :-1].transpose(2, 3)
        seen, foreseen, level = self.features(windows)
        if noise is not None:
            seen = torch.cat([seen[..., :-1] + noise, seen[..., -1:]], -1)
        beats = self.beats(z[:, :-1])
        states, _ = self.gru(torch.cat([seen, beats], -1))
        rest = (z[:, config.context :] - self.mean - foreseen) / level
        e = torch.linalg.solve_triangular(self.triangle, rest.transpose(1, 2), upper=False).transpose(1, 2)
        logits, means, scales = self.mixture(states, beats)
        quadratic = ((e[..., None, :] - means) * torch.exp(-scales)).square()
        logs = -0.5 * (quadratic + math.log(2 * math.pi)).sum(-1) - scales.sum(-1)
        nats = -torch.logsumexp(logs + logits.log_softmax(-1), -1) + self.dims * level.log()[..., 0]
        return (nats[:, WARM_FRAMES:]).mean() + torch.log(self.triangle.diagonal()).sum()

    def step(
        self, past: Tensor, state: Tensor, gumbel: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One frame: (1, context, dims), (1, state), (1, parts), (1, dims), (1, 1) to a latent and a state."""
        seen, foreseen, level = self.features(past[:, -self.config.order :])
        beats = self.beats(past)
        _, following = self.gru(torch.cat([seen[:, None], beats], -1), state[None])
        logits, means, scales = self.mixture(following[0], beats[:, 0], self.config.pulse)
        chosen = (logits + temperature * gumbel).argmax(-1)
        rows = torch.arange(len(chosen))
        e = means[rows, chosen] + temperature * torch.exp(scales[rows, chosen]) * noise
        x = (foreseen + level.clamp(*LEVELS) * (e @ self.triangle.T)).clamp(-REACH, REACH)
        return self.mean + x, following[0]


@dataclass
class PriorRun:
    """A prior in training, and where it stands. losses: nats per frame since the last report."""

    config: PriorConfig
    process: Process
    encoder: str
    net: PriorNet
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, config: PriorConfig, process: Process, encoder: str) -> PriorRun:
        """A new one."""
        torch.manual_seed(config.seed)
        net = PriorNet(config, process)
        return cls(config, process, encoder, net, torch.optim.Adam(net.parameters(), config.learning_rate))

    def save(self, run: Path) -> None:
        """Write `prior.safetensors`, beside and renamed. Raises TrainingError."""
        tensors = {f"net/{name}": value.contiguous() for name, value in self.net.state_dict().items()}
        for name, value in asdict(self.process).items():
            tensors[f"process/{name}"] = torch.from_numpy(np.ascontiguousarray(value))
        for name, weight in self.net.named_parameters():
            state = self.optimizer.state.get(weight, {})
            tensors.update({f"{moment}/{name}": state[moment] for moment in ("exp_avg", "exp_avg_sq") if state})
        facts = {"format": FORMAT, "step": self.step, "seconds": self.seconds, "config": asdict(self.config)}
        facts |= {"encoder": self.encoder, "figures": self.figures}
        try:
            run.mkdir(parents=True, exist_ok=True)
            write_tensors(run / RUN_FILE, tensors, facts)
        except OSError as error:
            raise TrainingError(f"{run} cannot be written ({error}); choose another --out") from None

    @classmethod
    def load(cls, run: Path) -> PriorRun:
        """The one in a folder. Raises TrainingError."""
        path = run / RUN_FILE
        if not path.exists():
            raise TrainingError(f"There is no training of a prior in {run}: it has no {RUN_FILE}")
        groups: dict[str, dict[str, Tensor]] = {}
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {})["rtae"])
                for key in file.keys():  # noqa: SIM118 - not a dict
                    group, name = key.split("/", 1)
                    groups.setdefault(group, {})[name] = file.get_tensor(key)
            process = Process(**{name: value.numpy() for name, value in groups["process"].items()})
            result = cls.start(PriorConfig(**{"rhythm": False, **facts["config"]}), process, str(facts["encoder"]))
            result.net.load_state_dict(groups["net"])
            result.step, result.seconds, result.figures = int(facts["step"]), float(facts["seconds"]), facts["figures"]
            for name, weight in result.net.named_parameters():
                if "exp_avg" in groups:
                    moments = {moment: groups[moment][name] for moment in ("exp_avg", "exp_avg_sq")}
                    result.optimizer.state[weight] = {"step": torch.tensor(float(result.step)), **moments}
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(f"{path} is not a prior of this program, or is damaged: {error}") from None
        return result


def example(pieces: Sequence[FloatArray], ends: NDArray[np.int64], length: int, rng: np.random.Generator) -> FloatArray:
    """A stretch of some piece, (length, latent_dim), each frame as likely as any other."""
    place = int(rng.integers(ends[-1]))
    number = int(np.searchsorted(ends, place, side="right"))
    start = place - int(ends[number - 1] if number else 0)
    return pieces[number][:, start : start + length].T


class Examples:
    """Batches of stretches; batch i is a function of (seed, i) and nothing else, so that a resumed run goes on exactly.

    Raises TrainingError where no piece is long enough.
    """

    def __init__(self, pieces: Sequence[FloatArray], config: PriorConfig, dims: int) -> None:
        self.config, self.dims, self.length = config, dims, config.context + config.stretch
        self.pieces = [piece for piece in pieces if piece.shape[1] >= self.length]
        if not self.pieces:
            raise TrainingError(f"No song is long enough: a prior needs stretches of {self.length} latent frames")
        self.ends = np.cumsum([piece.shape[1] - self.length + 1 for piece in self.pieces], dtype=np.int64)

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Latents (batch, length, dims), and noise for what the network sees."""
        config, rng = self.config, np.random.default_rng([self.config.seed, number, NOISE_STREAM])
        z = np.stack([example(self.pieces, self.ends, self.length, rng) for _ in range(config.batch)])
        signs = rng.choice([-1.0, 1.0], (config.batch, 1, 1))
        noise = config.blur * rng.standard_normal((config.batch, config.stretch, config.recent * self.dims))
        return torch.from_numpy((z * signs).astype(np.float32)), torch.from_numpy(noise.astype(np.float32))


def train_prior(
    prior: PriorRun,
    training: Sequence[FloatArray],
    held: Sequence[FloatArray],
    run: Path,
    report: Callable[[float, int, float], None] = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Go on until the budget ends or `stopped` says so; saved either way. report: told progress, step and loss.

    Raises TrainingError.
    """
    config, net = prior.config, prior.net
    examples, checked = Examples(training, config, net.dims), Examples(held, config, net.dims)
    started = saved = monotonic()
    before, smoothed = prior.seconds, math.nan
    if "start_nats" not in prior.figures:
        prior.figures["start_nats"] = measure(net, checked)
    while (progress := prior.seconds / 60 / config.minutes) < 1 and not stopped():
        rate = (
            config.learning_rate * min(1.0, (prior.step + 1) / 100) * (0.02 + 0.98 * math.cos(progress * math.pi / 2))
        )
        for group in prior.optimizer.param_groups:
            group["lr"] = rate
        loss = net.loss(*examples.batch(prior.step))
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss is {float(loss.detach())} at step {prior.step}: use a lower --learning-rate")
        prior.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
        prior.optimizer.step()
        prior.step += 1
        value = float(loss.detach())
        smoothed = value if math.isnan(smoothed) else 0.98 * smoothed + 0.02 * value
        prior.seconds = before + monotonic() - started
        report(min(1.0, prior.seconds / 60 / config.minutes), prior.step, smoothed)
        if monotonic() - saved > SAVE_SECONDS:
            prior.save(run)
            saved = monotonic()
    prior.figures |= {"nats": measure(net, checked), "steps": prior.step, "minutes": round(prior.seconds / 60, 1)}
    prior.save(run)


@torch.no_grad()
def measure(net: PriorNet, examples: Examples, batches: int = 8) -> float:
    """Nats per frame on held-out latents; the same examples each time."""
    return float(np.mean([float(net.loss(examples.batch(number)[0])) for number in range(batches)]))
