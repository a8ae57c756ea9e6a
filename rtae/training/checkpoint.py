"""A checkpoint: one safetensors file with the weights, their running average and the optimiser, and its facts as JSON.

Never a pickle. Written beside and renamed, so an interrupted run leaves the last good one.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rtae.errors import TrainingError
from rtae.training.config import TrainConfig

CHECKPOINT_FILE = "checkpoint.safetensors"
FORMAT = 1


def first_line(error: BaseException) -> str:
    """What an exception says, without the details that torch puts below."""
    return " ".join(str(error).split("\n")[:2]).strip()


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """A safetensors file with facts as JSON, beside and renamed. Raises OSError, of the file by its own name."""
    beside = path.with_name(path.name + ".part")
    try:
        # Not by save_file, whose files are for their owner alone.
        beside.write_bytes(save(tensors, metadata={"rtae": json.dumps(facts)}))
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        beside.unlink(missing_ok=True)


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    model: weights and buffers as they are trained; average: the same, averaged (what is exported); optimizer: what
    `rtae.training.optimizer.kept_state` takes; seconds: training time so far; earlier_steps, earlier_seconds: of the
    runs that this one was started from, all together.
    """

    config: TrainConfig
    step: int
    seconds: float
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    earlier_steps: int = 0
    earlier_seconds: float = 0.0

    def save(self, folder: Path, alone: bool = False) -> None:
        """Write `checkpoint.safetensors` and, unless `alone`, `config.json` into a run's folder. Raises OSError."""
        groups = {"model": self.model, "average": self.average, "optimizer": self.optimizer}
        tensors = {f"{group}/{name}": t.contiguous() for group, named in groups.items() for name, t in named.items()}
        facts = {"format": FORMAT, "step": self.step, "seconds": self.seconds, "config": asdict(self.config)}
        facts |= {"earlier_steps": self.earlier_steps, "earlier_seconds": self.earlier_seconds}
        write_tensors(folder / CHECKPOINT_FILE, tensors, facts)
        if not alone:
            self.config.save(folder)

    @classmethod
    def load(cls, run: Path) -> Checkpoint:
        """The checkpoint in a run's folder, or in a file. Raises TrainingError where there is none that can be read."""
        path = run / CHECKPOINT_FILE if run.is_dir() else run
        if not path.exists():
            raise TrainingError(f"No checkpoint at {path}. Make one with: rtae train FOLDER --out {run}")
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        try:
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {})["rtae"])
                for key in file.keys():  # noqa: SIM118 - not a dict
                    group, name = key.split("/", 1)
                    groups[group][name] = file.get_tensor(key)
            if facts["format"] > FORMAT:
                raise TrainingError(f"{path} was written by a later version of this program: update it")
            step, seconds = int(facts["step"]), float(facts["seconds"])
            earlier = int(facts.get("earlier_steps", 0)), float(facts.get("earlier_seconds", 0.0))
            if min(step, earlier[0]) < 0 or not (0 <= seconds < math.inf and 0 <= earlier[1] < math.inf):
                raise ValueError(f"it stands at step {step}, after {seconds} s")
            config = TrainConfig.from_dict(facts["config"])
            return cls(config, step, seconds, **groups, earlier_steps=earlier[0], earlier_seconds=earlier[1])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(f"{path} is not a checkpoint of this program, or is damaged: {error}") from None
