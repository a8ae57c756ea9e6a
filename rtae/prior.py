"""Latents that nobody encoded: what a model's prior makes up, frame by frame, for the decoder to play.

Three kinds, each knowing more of how latents of music move: independent values (noise, whatever decodes them), a
Gaussian process with the covariance of real latents from frame to frame, and a small recurrent network on top of it.
What is random is a function of (seed, absolute frame), so the same seed dreams the same music again.

A model that has a prior keeps two more files in its folder: `prior.json` and `prior.onnx`. The network is one step of
time: the latents of the past and a state go in, the next latent and a new state come out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.dsp import uniform
from rtae.errors import ModelError
from rtae.runtime import open_session, read_checked, run_session
from rtae.spec import ENCODER_FILE, PRIOR_FILE, PRIOR_NETWORK_FILE, ModelSpec, floats, is_whole

FloatArray = NDArray[np.float32]
FORMAT = 2  # 1 had no context, which is the order then
MOST_BYTES = 16 << 20
LONGEST_ORDER = 512
LONGEST_CONTEXT = 4096
LARGEST_STATE = 4096
MOST_PARTS = 64
HEARD_FRAMES = 256  # through which a state is taken; it forgets what was before, and a live dream must not wait for it
REACH = 12.0  # standard deviations: latents are kept within
DREAM_KEY = 3 << 48  # see the keys in rtae.effects


@dataclass(frozen=True)
class PriorSpec:
    """A prior, but for its network.

    mean: (latent_dim,) of the latents of the training songs. coefficients: (order, latent_dim, latent_dim), of an
    autoregression: the first one is that of the latest frame. innovation: (latent_dim, latent_dim), the lower triangle
    L of what it cannot foresee, whose covariance is L L'. context: frames of the past that the network looks at, the
    order or more; 0 stands for the order. state, parts: the network's size, and how many normal
    distributions its output is a mixture of. encoder: SHA-256 of the encoder whose latents these are. figures: of the
    training; nothing depends on them.
    """

    latent_dim: int
    mean: tuple[float, ...]
    coefficients: tuple[tuple[tuple[float, ...], ...], ...]
    innovation: tuple[tuple[float, ...], ...]
    state: int
    parts: int
    encoder: str
    files: dict[str, str]
    context: int = 0
    format: int = FORMAT
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> int:
        """Frames of the past that the autoregression looks at."""
        return len(self.coefficients)

    @property
    def memory(self) -> int:
        """Frames of the past that are kept."""
        return self.context or self.order

    @classmethod
    def from_json(cls, text: str, where: str) -> PriorSpec:
        """Parse `prior.json`. Raises ModelError."""
        try:
            values = json.loads(text)
            if not isinstance(values, dict) or not is_whole(values.get("format")):
                raise ValueError("it has no format number")
            if values["format"] > FORMAT:
                raise ValueError(f"it has format {values['format']}, this program knows up to {FORMAT}")
            chosen = {key: values[key] for key in (f.name for f in fields(cls)) if key in values}
            chosen["mean"] = floats(chosen["mean"], "mean")
            chosen["coefficients"] = tuple(rows_of(rows, "coefficients") for rows in chosen["coefficients"])
            chosen["innovation"] = rows_of(chosen["innovation"], "innovation")
            spec = cls(**chosen)
            spec.check()
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{where} does not describe a prior ({error}); train or copy it again") from None
        return spec

    def check(self) -> None:
        """Raise ValueError where numbers are impossible."""
        sizes = ((self.latent_dim, 65_536), (self.state, LARGEST_STATE), (self.parts, MOST_PARTS))
        if not all(is_whole(size) and 1 <= size <= most for size, most in sizes):
            raise ValueError("latent_dim, state or parts is out of range")
        if not 1 <= self.order <= LONGEST_ORDER:
            raise ValueError(f"its order must lie in 1 to {LONGEST_ORDER}")
        if not is_whole(self.context) or (self.context and not self.order <= self.context <= LONGEST_CONTEXT):
            raise ValueError(f"its context must be 0, or lie in its order to {LONGEST_CONTEXT}")
        squares = (self.innovation, *self.coefficients)
        if len(self.mean) != self.latent_dim or any(
            len(rows) != self.latent_dim or any(len(row) != self.latent_dim for row in rows) for rows in squares
        ):
            raise ValueError("its tables do not have one value per latent dimension")
        if not all(np.isfinite(np.array(table)).all() for table in (self.mean, *squares)):
            raise ValueError("its tables hold values that are not finite")
        if not (isinstance(self.files, dict) and isinstance(self.files.get(PRIOR_NETWORK_FILE), str)):
            raise ValueError(f"there is no checksum for {PRIOR_NETWORK_FILE}")
        if not (isinstance(self.encoder, str) and isinstance(self.figures, dict)):
            raise ValueError("encoder must be a text and figures an object")

    def to_json(self) -> str:
        """The text of `prior.json`."""
        return json.dumps(asdict(self)) + "\n"


def rows_of(table: object, key: str) -> tuple[tuple[float, ...], ...]:
    """A table of numbers. Raises ValueError, which names the key."""
    if not isinstance(table, list):
        raise ValueError(f"{key} must be made of tables")
    return tuple(floats(row, f"each row of {key}") for row in table)


class Prior:
    """Makes latents up, one frame after another.

    past: (memory, latent_dim), the latest frame last; what it starts from, and where it is.
    """

    def __init__(self, spec: PriorSpec) -> None:
        self.spec = spec
        self.mean = np.array(spec.mean, np.float32)
        self.restart()

    def restart(self) -> None:
        """Nothing has sounded yet: all that is past is the mean, and a state of zeros."""
        self.past: FloatArray = np.repeat(self.mean[None], self.spec.memory, axis=0)

    def listen(self, z: FloatArray) -> None:
        """Go on behind these latents, (latent_dim, frames)."""
        self.past = np.concatenate([self.past, z.T.astype(np.float32)])[-self.spec.memory :]

    def draw(self, random: NDArray[np.float64], temperature: float) -> FloatArray:
        """The next latent, (latent_dim,). random: `randoms` values in [-1, 1)."""
        raise NotImplementedError

    @property
    def randoms(self) -> int:
        """How many random values a frame takes."""
        return self.spec.latent_dim


class Independent(Prior):
    """Values that have nothing to do with each other, of the music's variance: what a random latent is in the paper."""

    def draw(self, random: NDArray[np.float64], temperature: float) -> FloatArray:
        """See `Prior`."""
        return np.asarray(self.mean + math.sqrt(3) * temperature * random, np.float32)


class Gaussian(Prior):
    """A stationary Gaussian process with the music's covariances over `order` frames, which are its spectrum too."""

    def __init__(self, spec: PriorSpec) -> None:
        table = np.array(spec.coefficients)[::-1]  # the oldest first, as in the past
        self.weights = table.transpose(0, 2, 1).reshape(-1, spec.latent_dim)
        self.triangle = np.array(spec.innovation)
        super().__init__(spec)

    @property
    def randoms(self) -> int:
        """See `Prior`."""
        return 2 * self.spec.latent_dim

    def draw(self, random: NDArray[np.float64], temperature: float) -> FloatArray:
        """See `Prior`."""
        foreseen = (self.past[-self.spec.order :] - self.mean).reshape(-1) @ self.weights
        z = foreseen + temperature * (self.triangle @ normal(random))
        made: FloatArray = np.asarray(self.mean + np.clip(z, -REACH, REACH), np.float32)
        self.past = np.concatenate([self.past[1:], made[None]])
        return made


class Network(Prior):
    """A recurrent network, which knows what comes after what. Raises ModelError where it is not what its spec says."""

    def __init__(self, spec: PriorSpec, content: bytes, where: str) -> None:
        self.session, self.where = open_session(content, where), where
        super().__init__(spec)
        for _ in range(2):
            z = self.draw(np.zeros(self.randoms), 1.0)
        if z.shape != (spec.latent_dim,) or self.past.shape != (spec.memory, spec.latent_dim):
            raise ModelError(f"{where} does not belong to its {PRIOR_FILE}; train or copy it again")
        self.restart()

    def restart(self) -> None:
        """See `Prior`."""
        super().restart()
        self.state = np.zeros((1, self.spec.state), np.float32)

    @property
    def randoms(self) -> int:
        """See `Prior`."""
        return self.spec.parts + 2 * self.spec.latent_dim

    def step(self, gumbel: FloatArray, noise: FloatArray, temperature: float) -> FloatArray:
        """One frame of the network, (latent_dim,), which becomes part of the past."""
        inputs = {
            "past": self.past[None],
            "state": self.state,
            "gumbel": gumbel[None],
            "noise": noise[None],
            "temperature": np.full((1, 1), temperature, np.float32),
        }
        z, self.state = run_session(self.session, ["latent", "next_state"], inputs, self.where)
        if np.shape(z) != (1, self.spec.latent_dim):
            raise ModelError(f"{self.where} does not belong to its {PRIOR_FILE}; train or copy it again")
        self.past = np.concatenate([self.past[1:], z])
        return np.asarray(z[0], np.float32)

    def listen(self, z: FloatArray) -> None:
        """See `Prior`. The state hears each of the latest frames as it would hear its own."""
        silent = np.zeros(self.spec.parts, np.float32), np.zeros(self.spec.latent_dim, np.float32)
        latest = max(0, z.shape[1] - HEARD_FRAMES)
        super().listen(z[:, :latest])
        for frame in z[:, latest:].T.astype(np.float32):
            self.step(*silent, 0.0)
            self.past[-1] = frame

    def draw(self, random: NDArray[np.float64], temperature: float) -> FloatArray:
        """See `Prior`."""
        parts = self.spec.parts
        chance = np.clip(0.5 + 0.5 * random[:parts], 1e-12, 1 - 1e-12)
        gumbel = -np.log(-np.log(chance))
        return self.step(gumbel.astype(np.float32), normal(random[parts:]).astype(np.float32), temperature)


def normal(random: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal values out of twice as many uniform ones in [-1, 1) (Box and Muller 1958)."""
    half = len(random) // 2
    radius = np.sqrt(-2 * np.log(np.maximum(0.5 - 0.5 * random[:half], 1e-300)))
    values: NDArray[np.float64] = radius * np.cos(math.pi * random[half:])
    return values


def load_spec(folder: Path, model: ModelSpec) -> PriorSpec:
    """What the prior of a model's folder says. Raises ModelError where there is none, or it is another model's."""
    path = folder / PRIOR_FILE
    if not path.is_file():
        raise ModelError(
            f"The model '{model.name}' has no prior to dream with; make one with: "
            f"rtae prior FOLDER --model {model.name} --out RUN"
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(f"{path} is larger than {MOST_BYTES >> 20} MB, which no prior is")
        spec = PriorSpec.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if spec.latent_dim != model.latent_dim or spec.encoder != model.files[ENCODER_FILE]:
        raise ModelError(f"{path} belongs to another model than '{model.name}'; train its prior again")
    return spec


def load_network(folder: Path, model: ModelSpec) -> Network:
    """The prior network of a model's folder. Raises ModelError."""
    spec = load_spec(folder, model)
    path = folder / PRIOR_NETWORK_FILE
    try:
        content = read_checked(path, spec.files[PRIOR_NETWORK_FILE])
    except ModelError as error:
        raise ModelError(str(error).replace("model.json", PRIOR_FILE)) from None
    return Network(spec, content, str(path))


def load(kind: str, folder: Path, model: ModelSpec) -> Prior:
    """A prior by the name of its kind. Raises ModelError."""
    if kind not in KINDS:
        raise ModelError(f"No prior {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](folder, model)


class Dream:
    """A prior as a stream of latents, from frame 0 on, whatever is asked for together.

    It starts behind what it was told to listen to; asked for an earlier frame than the next one, it starts again.
    """

    def __init__(self, prior: Prior, heard: FloatArray | None = None) -> None:
        self.prior = prior
        self.heard = heard
        self.reset()

    def listen(self, heard: FloatArray) -> None:
        """Start afresh, behind these latents, (latent_dim, frames)."""
        self.heard = heard
        self.reset()

    def reset(self) -> None:
        """Frame 0 comes next."""
        self.frame = -1  # what was heard is heard again when the first frame is asked for

    def begin(self) -> None:
        """To the place before frame 0."""
        self.frame = 0
        self.prior.restart()
        if self.heard is not None and self.heard.shape[1]:
            self.prior.listen(self.heard)

    def latents(self, frame: int, count: int, temperature: float, seed: int) -> FloatArray:
        """Frames from this absolute number on, (latent_dim, count)."""
        if self.frame < 0 or frame < self.frame:
            self.begin()
        skipped = frame - self.frame
        random = uniform(seed ^ DREAM_KEY, self.frame, skipped + count, self.prior.randoms)
        z = [self.prior.draw(values, temperature) for values in random.T]
        self.frame = frame + count
        made: FloatArray = np.array(z[skipped:], np.float32).reshape(count, self.prior.spec.latent_dim).T
        return made


KINDS: dict[str, Callable[[Path, ModelSpec], Prior]] = {
    "independent": lambda folder, model: Independent(load_spec(folder, model)),
    "gaussian": lambda folder, model: Gaussian(load_spec(folder, model)),
    "network": load_network,
}
