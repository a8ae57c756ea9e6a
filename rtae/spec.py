"""What a trained model promises: `model.json`, read without torch or onnxruntime.

A model is a folder with `model.json`, `encoder.onnx`, `decoder.onnx` and `CARD.md`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rtae.errors import ModelError

SPEC_FILE = "model.json"
ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
CARD_FILE = "CARD.md"
LINEAR_FILE = "linear.npy"
PRIOR_FILE = "prior.json"
PRIOR_NETWORK_FILE = "prior.onnx"
PAPER_FOLDER = "paper"  # in a model's folder: a model of the same size by the paper's recipe, a plain stack and MSE
FORMAT = 1
WINDOW = 110_250
LARGEST_WINDOW = 100 * WINDOW
COMPONENTS = 8
UNIT_TOLERANCE = 1e-3  # by how much a direction's length may differ from 1


def is_whole(number: object) -> bool:
    """Whether it is a whole number, which `true` is not."""
    return isinstance(number, int) and not isinstance(number, bool)


def floats(values: object, key: str) -> tuple[float, ...]:
    """A list of numbers. Raises ValueError, which names the key, for anything else."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{key} must be a list of numbers")
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class Reach:
    """How far a model sees, in whole frames' terms, so that slices can be cut on the stride grid.

    encoder_past, encoder_future: samples before the start and after the end of a frame that its latent depends on.
    decoder_past, decoder_future: latent frames before and after a frame that its audio depends on.
    receptive_field, look_ahead: samples of past and of future that one output sample depends on, at most; the frame
        that the sample lies in is one of them, so a causal model of stride 48 has a look-ahead of 47: its first sample
        waits for the last one of its own frame, which is what a hop of whole frames waits for anyway.
    """

    encoder_past: int
    encoder_future: int
    decoder_past: int
    decoder_future: int
    receptive_field: int
    look_ahead: int


@dataclass(frozen=True)
class ModelSpec:
    """One model.

    reach: None where it is unknown; such a model always runs on full windows.
    latent_mean: of the latents over the training set, as the encoder gives them.
    latent_std: by what they were divided to get there, each dimension to unit variance.
    components: the first principal components of the latents over the training set, as the encoder gives them: at most
        COMPONENTS directions of unit length and latent_dim numbers; none in models from before there were any.
    component_std: standard deviation of the latents along each of them.
    files: SHA-256 by file name.
    verification, training: figures for the card; nothing depends on them.
    """

    name: str
    preset: str
    sample_rate: int
    stride: int
    latent_dim: int
    extra_frames: int
    reach: Reach | None
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    files: dict[str, str]
    licence: str
    window: int = WINDOW
    format: int = FORMAT
    components: tuple[tuple[float, ...], ...] = ()
    component_std: tuple[float, ...] = ()
    verification: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sample_rate / self.stride

    def hop(self, samples: int) -> int:
        """The whole number of strides nearest to so many samples, at least one."""
        return max(1, round(samples / self.stride)) * self.stride

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelSpec:
        """Parse `model.json`. Raises ModelError, which names `where` it was and what is wrong."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{where} is not valid JSON ({error}); export the model again") from None
        version = values.get("format") if isinstance(values, dict) else None
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ModelError(f"{where} does not describe a model: it has no format number")
        if version > FORMAT:
            raise ModelError(f"{where} has format {version}, this program knows up to {FORMAT}: update the program")
        known = {f.name for f in fields(cls)}
        try:
            reach = Reach(**values["reach"]) if values.get("reach") is not None else None
            chosen = {key: value for key, value in values.items() if key in known} | {"reach": reach}
            for key in ("latent_mean", "latent_std"):
                chosen[key] = floats(chosen[key], key)
            chosen["component_std"] = floats(chosen.get("component_std", []), "component_std")
            rows = chosen.get("components", [])
            if not isinstance(rows, list):
                raise ValueError("components must be a list of directions")
            chosen["components"] = tuple(floats(row, "each direction in components") for row in rows)
            spec = cls(**chosen)
            spec.check()
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise ModelError(f"{where} does not describe a model: {error}") from None
        return spec

    def check(self) -> None:
        """Raise ValueError where numbers are impossible."""
        if not all(is_whole(number) and number > 0 for number in (self.sample_rate, self.stride, self.latent_dim)):
            raise ValueError("sample_rate, stride and latent_dim must be whole numbers above 0")
        if not (is_whole(self.window) and self.stride <= self.window <= LARGEST_WINDOW):
            raise ValueError(f"its window must be a whole number from its stride to {LARGEST_WINDOW}")
        if self.sample_rate > 768_000 or self.latent_dim > 65_536:
            raise ValueError("its sample_rate or latent_dim is out of range")
        if not (is_whole(self.extra_frames) and 0 <= self.extra_frames <= self.window):
            raise ValueError("extra_frames must be a whole number from 0")
        if not len(self.latent_mean) == len(self.latent_std) == self.latent_dim:
            raise ValueError("the latent statistics do not have one value per dimension")
        if not all(map(math.isfinite, self.latent_mean)) or not all(0 < std < math.inf for std in self.latent_std):
            raise ValueError("the latent statistics are not finite, or a deviation is not above 0")
        self.check_components()
        reach = list(asdict(self.reach).values()) if self.reach else []
        if not all(is_whole(number) and 0 <= number <= self.window for number in reach):
            raise ValueError("its reach must be whole numbers within the window")
        if not all(isinstance(text, str) for text in (self.name, self.preset, self.licence)) or not self.name:
            raise ValueError("name, preset and licence must be texts, the name not an empty one")
        if not all(isinstance(facts, dict) for facts in (self.files, self.verification, self.training)):
            raise ValueError("files, verification and training must be objects")
        for name in (ENCODER_FILE, DECODER_FILE):
            if not isinstance(self.files.get(name), str):
                raise ValueError(f"there is no checksum for {name}")

    def check_components(self) -> None:
        """Raise ValueError where the principal components cannot be any."""
        if len(self.components) != len(self.component_std):
            raise ValueError("components and component_std do not have one entry per component")
        if len(self.components) > min(COMPONENTS, self.latent_dim):
            raise ValueError(f"there are {len(self.components)} components; at most {COMPONENTS} are allowed")
        if any(len(row) != self.latent_dim for row in self.components):
            raise ValueError("the components do not have one value per latent dimension")
        # Not finite or far too long: either fails here. hypot, since a sum of squares can overflow.
        if not all(abs(math.hypot(*row) - 1) <= UNIT_TOLERANCE for row in self.components):
            raise ValueError("the components must be directions of length 1")
        # Latents of unit variance cannot deviate by more than sqrt(latent_dim) along any direction.
        if not all(0 < std <= self.latent_dim for std in self.component_std):
            raise ValueError(f"component_std must lie above 0, and at most at latent_dim, {self.latent_dim}")

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, folder: Path) -> ModelSpec:
        """The spec in a model's folder. Raises ModelError where there is none."""
        path = folder / SPEC_FILE
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ModelError(f"No model in {folder}: {SPEC_FILE} cannot be read ({reason})") from None
