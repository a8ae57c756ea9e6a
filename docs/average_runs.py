"""The mean of the weights of runs of which each was started from the one before, which can be better than any.

After Wortsman et al. 2022 ("model soups"). What is written is a run like the last one, to be exported or to start from;
its training counts as that of the last one. A run that is named twice weighs twice. Run from the project's folder with
the extra `train` installed:
python docs/average_runs.py OUT RUN RUN ...
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from rtae.spec import LINEAR_FILE
from rtae.training.checkpoint import Checkpoint
from rtae.training.data import DATA_FILE


def mean(values: list[Tensor]) -> Tensor:
    """Of weights; what only counts is that of the last run."""
    return sum(values[1:], values[0]) / len(values) if values[0].is_floating_point() else values[-1]


def write(out: Path, checkpoint: Checkpoint, beside: Path) -> None:
    """A run's folder with this checkpoint, and what is known of the songs beside another one."""
    out.mkdir(parents=True)
    for name in (DATA_FILE, LINEAR_FILE):
        if (beside / name).exists():  # a shipped model has no list of its songs
            shutil.copy(beside / name, out / name)
    checkpoint.save(out)


def main(out: Path, runs: list[Path]) -> None:
    """Write the run."""
    checkpoints = [Checkpoint.load(run) for run in runs]
    last = checkpoints[-1]
    weights = {name: mean([checkpoint.average[name] for checkpoint in checkpoints]) for name in last.average}
    write(out, replace(last, average=weights), runs[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(map(Path, sys.argv[2:])))
