"""Everything that decides a training run, saved whole beside what it produced."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rtae.errors import TrainingError
from rtae.nets.config import NetConfig

CONFIG_FILE = "config.json"
LARGEST_BATCH = 1024
LARGEST_CROP = 1 << 22
TUNING_RATE = 5e-4  # peak learning rate of a run that starts from another one's weights
WEIGHTS = ("loss", "waveform_weight", "energy_weight", "onset_weight", "kl_weight")  # what a training cares for


def refuse_broken(rules: dict[str, bool]) -> None:
    """Raise TrainingError for the first rule, in words, that does not hold."""
    for rule, holds in rules.items():
        if not holds:
            raise TrainingError(f"This cannot be trained: {rule}")


@dataclass(frozen=True)
class TrainConfig:
    """One run.

    steps, minutes: the budget; one of them may be None. Minutes count training time over all resumptions.
    crop: samples of one training example; batch: examples per step.
    loss: "spectral" is the multi-resolution STFT distance plus `waveform_weight` times the logarithmic waveform error,
        `energy_weight` times the error of the energies in bands, `onset_weight` times that of the onset strengths and
        `floor_weight` times what the waveform error exceeds that of the linear code by, beyond `floor_db`;
        "mse" is the paper's; "paper-vae" is that of its variational autoencoder, the sum of squared errors and KL, of
        variational networks only.
    kl_weight: in variational networks, of the KL divergence from the standard normal distribution, summed over
        dimensions, averaged over time and batch, beside the other losses. It rises log-linearly from a thousandth over
        the share `kl_warmup` of the budget, which can be short since the start is the linear code. Beside half a
        logarithmic waveform error, 0.002 would be the weight of an estimated observation noise (sigma-VAE, arXiv
        2006.13202) for frames of 192 samples.
    optimizer: "soap", or "adam", the paper's.
    learning_rate: the peak; it warms up over `warmup` steps and falls along a cosine to a twentieth.
    freeze_norm_at: share of the budget after which batch norm keeps its statistics, so that the rest of the training
        sees the very network that will be exported.
    ema: decay of the running average of the weights, which is what is validated and exported.
    gain_db: examples are turned down by up to so much; polarity is flipped half the time.
    validate_every: steps between two validations.
    """

    net: NetConfig
    steps: int | None = None
    minutes: float | None = None
    crop: int = 8192
    batch: int = 4
    loss: str = "spectral"
    waveform_weight: float = 0.5
    energy_weight: float = 0.0
    onset_weight: float = 0.0
    floor_weight: float = 0.0
    floor_db: float = 0.0
    kl_weight: float = 0.01
    kl_warmup: float = 0.02
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    shortcut_rate: float = 0.1
    warmup: int = 200
    freeze_norm_at: float = 0.1
    ema: float = 0.999
    clip_norm: float = 1.0
    gain_db: float = 12.0
    validate_every: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "steps must be at least 1": self.steps is None or self.steps >= 1,
            "minutes must be above 0 and finite": self.minutes is None or 0 < self.minutes < math.inf,
            "give a budget: steps or minutes": self.steps is not None or self.minutes is not None,
            "crop must be at least 4096 samples": self.crop >= 4096,
            f"batch must lie in [1, {LARGEST_BATCH}]": 1 <= self.batch <= LARGEST_BATCH,
            f"crop must be at most {LARGEST_CROP} samples": self.crop <= LARGEST_CROP,
            "waveform_weight must lie in [0, 1000]": 0 <= self.waveform_weight <= 1000,
            "energy_weight must lie in [0, 1000]": 0 <= self.energy_weight <= 1000,
            "onset_weight must lie in [0, 1000]": 0 <= self.onset_weight <= 1000,
            "floor_weight must lie in [0, 1000]": 0 <= self.floor_weight <= 1000,
            "floor_db must lie in [-60, 60]": -60 <= self.floor_db <= 60,
            "seed must lie in [0, 2^32)": isinstance(self.seed, int) and 0 <= self.seed < 2**32,
            "kl_weight must lie in [0, 1000]": 0 <= self.kl_weight <= 1000,
            "kl_warmup must lie in [0, 1]": 0 <= self.kl_warmup <= 1,
            "loss must be 'spectral', 'mse' or 'paper-vae'": self.loss in ("spectral", "mse", "paper-vae"),
            "loss 'paper-vae' needs a network that is variational, as of --model vae": self.net.variational
            or self.loss != "paper-vae",
            "optimizer must be 'soap' or 'adam'": self.optimizer in ("soap", "adam"),
            "learning_rate must lie in (0, 1)": 0 < self.learning_rate < 1,
            "ema must lie in [0, 1)": 0 <= self.ema < 1,
            "validate_every must be at least 1": self.validate_every >= 1,
        }
        refuse_broken(checks)

    def continued(self, wanted: TrainConfig, named: set[str]) -> TrainConfig:
        """This configuration, to go on with: only the budget and the interval of validations may change.

        wanted: what is asked for now; named: the options that were named explicitly, others do not count. Raises
        TrainingError where one of these differs from what the run was started with.
        """

        def options(config: TrainConfig) -> dict[str, Any]:
            net = config.net
            of_net = {"model": net.preset, "shortcut_frames": net.shortcut_frames, "symmetric": not net.causal}
            return asdict(config) | of_net

        before, now = options(self), options(wanted)
        for name in sorted(named & before.keys() - {"steps", "minutes", "validate_every"}):
            if before[name] != now[name]:
                raise TrainingError(
                    f"The run was started with {name} {before[name]}, not {now[name]}: leave the option out to go on "
                    "with it, or start another run"
                )
        budget = {"steps": wanted.steps, "minutes": wanted.minutes} if named & {"steps", "minutes"} else {}
        interval = {"validate_every": wanted.validate_every} if "validate_every" in named else {}
        return replace(self, **budget, **interval)

    def further(self, wanted: TrainConfig, named: set[str]) -> TrainConfig:
        """What is wanted, for a run that starts from the weights of this one.

        Its network and what it cared for are kept, and the learning rate is a lower one, unless they were named. The
        floor is that of the run that is wanted: what is told to stay above it may go on from what was not. Batch norm
        keeps the statistics that it has: those of a few examples are off by more than the floor allows, and the first
        tenth of the run would be spent on that.
        """
        kept: dict[str, Any] = {name: getattr(self, name) for name in WEIGHTS if name not in named}
        kept["freeze_norm_at"] = 0.0
        if not named & {"model", "shortcut_frames", "symmetric"}:
            kept["net"] = self.net
        if "learning_rate" not in named:
            kept["learning_rate"] = TUNING_RATE
        return replace(wanted, **kept)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The opposite of `dataclasses.asdict`."""
        try:
            return cls(**{**values, "net": NetConfig.from_dict(values["net"])})
        except (TypeError, KeyError) as error:
            raise TrainingError(f"This is not the configuration of a training run: {error}") from None

    def save(self, folder: Path) -> None:
        """Write the configuration into the folder of a run."""
        beside = folder / (CONFIG_FILE + ".part")
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n")
        beside.replace(folder / CONFIG_FILE)

    @classmethod
    def load(cls, folder: Path) -> TrainConfig:
        """The configuration of a run. Raises TrainingError where there is none."""
        path = folder / CONFIG_FILE
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except FileNotFoundError:
            raise TrainingError(f"There is no training run in {folder}: it has no {CONFIG_FILE}") from None
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path} cannot be read: {error}") from None
