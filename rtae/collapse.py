"""The paper's variational autoencoder beside one that learns: the same songs, steps and seed, and where each gets to.

The paper's loss is a sum of squared errors and a sum of KL divergences, at a weight of 1. A latent direction is worth
its nats there only if it saves more than half a unit of squared error in each frame, which of quiet or high sounds
none does. Needs the extra `train`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.decoders import measure, train_all
from rtae.errors import TrainingError
from rtae.nets.config import WINDOW, preset
from rtae.training.config import TrainConfig
from rtae.training.data import Survey, split
from rtae.training.run import METRICS_FILE, HeldOut, Report
from rtae.training.variational import FAINT_NATS, warning

FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]
VALIDATIONS = 12
MOST_HELD_OUT = 8  # songs: they are measured often
ENERGY_WEIGHT = 0.5  # as in the training of the shipped model
TITLES = {
    "paper": "the paper: sums, weight 1",
    "paper-loss": "its loss on our network",
    "cure": "ours",
}


@dataclass(frozen=True)
class Course:
    """One training, validation by validation, and what became of the first held-out song.

    loss: per validation, the mean since the one before; the paper's counts sums over a window of 5 s. kl: nats per
    frame, active: dimensions whose means move, dimensions_95: components with 95 % of their variance, si_sdr: dB.
    dimensions: nats per frame of each dimension, (validations, latent_dim). minutes: of training; output: (1, samples).
    """

    name: str
    steps: FloatArray64
    loss: FloatArray64
    kl: FloatArray64
    active: FloatArray64
    dimensions_95: FloatArray64
    si_sdr: FloatArray64
    mr_stft: FloatArray64
    dimensions: FloatArray64
    minutes: float
    output: FloatArray

    @property
    def fall(self) -> str:
        """The first loss and the last, in a few digits."""
        first, last = (f"{value:.0f}" if value >= 1000 else f"{value:.3g}" for value in self.loss[[0, -1]])
        return f"{first} to {last}"

    @property
    def rises(self) -> int:
        """How many validations found a higher loss than the one before."""
        return int((np.diff(self.loss) > 0).sum())

    @property
    def warned_at(self) -> int | None:
        """The step of the first warning that dimensions are about to be ignored."""
        return next(
            (int(step) for step, kl in zip(self.steps, self.dimensions, strict=True) if warning(kl)),
            None,
        )

    @property
    def collapsed(self) -> bool:
        """Whether more than half of the dimensions have come to carry next to nothing."""
        return int((self.dimensions[-1] >= FAINT_NATS).sum()) < self.dimensions.shape[1] / 2


@dataclass(frozen=True)
class Courses:
    """All trainings, and the song whose outputs they hold: its name and audio, (1, samples)."""

    song: str
    rate: int
    original: FloatArray
    courses: tuple[Course, ...]


def configurations(steps: int, seed: int, crop: int = 8192) -> dict[str, TrainConfig]:
    """The paper's training, its loss on our network, and ours, by name. Raises TrainingError."""
    net = preset("vae")
    common = TrainConfig(net=net, steps=steps, seed=seed, crop=crop, validate_every=max(1, -(-steps // VALIDATIONS)))
    return {
        "paper": replace(common, net=replace(net, shortcut_frames=0), loss="paper-vae"),
        "paper-loss": replace(common, loss="paper-vae"),
        "cure": replace(common, energy_weight=ENERGY_WEIGHT),
    }


def read_course(run: Path) -> tuple[list[str], FloatArray64]:
    """The columns of a run's metrics.csv and its rows, (validations, columns). Raises TrainingError."""
    try:
        header, *rows = csv.reader((run / METRICS_FILE).read_text().splitlines())
        table = np.array([[float(value) for value in row] for row in rows if len(row) == len(header)])
        if not len(table):
            raise ValueError("it has no rows")
    except (OSError, ValueError) as error:
        raise TrainingError(f"{run / METRICS_FILE} cannot be used ({error}); remove {run} and train again") from None
    return header, table


def course_of(name: str, run: Path, config: TrainConfig, held: HeldOut) -> Course:
    """What a finished run has written down. Raises TrainingError."""
    header, table = read_course(run)
    column = dict(zip(header, table.T, strict=True))
    scale = WINDOW / (config.crop * config.batch) if config.loss == "paper-vae" else 1.0
    result = measure(name, run, held)
    return Course(
        name,
        steps=column["step"],
        loss=scale * column["loss"],
        kl=column["kl"],
        active=column["active_dimensions"],
        dimensions_95=column["dimensions_95"],
        si_sdr=column["si_sdr_db"],
        mr_stft=column["mr_stft"],
        dimensions=np.stack([column[f"kl_{number}"] for number in range(1, config.net.latent_dim + 1)], axis=1),
        minutes=result.minutes,
        output=result.output,
    )


def compare(
    configs: dict[str, TrainConfig],
    material: Survey,
    out: Path,
    report: Callable[[str, Report], None] = lambda *_: None,
) -> Courses | None:
    """Train and read the figures; None if it was interrupted: the same again goes on. Raises TrainingError."""
    training, held = split(material.tracks, material.folder)
    songs, others = (replace(material, tracks=tracks) for tracks in (training, held[:MOST_HELD_OUT]))
    if not train_all(configs, songs, out, report, others):
        return None
    measured = HeldOut(others.tracks)
    courses = tuple(course_of(name, out / "runs" / name, config, measured) for name, config in configs.items())
    name, original = measured[0]
    return Courses(name, material.rate, original.numpy(), courses)


def words(course: Course) -> str:
    """What is seen in a course, as a sentence or three that follow from its figures."""
    dims, last = course.dimensions.shape[1], course.dimensions[-1]
    carrying = int((last >= FAINT_NATS).sum())
    fall = course.loss[0] - course.loss[-1]
    quarter = len(course.loss) // 4
    moving = "" if len(course.loss) < 2 else f", higher than at the validation before in {course.rises} of "
    moving += f"{len(course.loss) - 1}" if moving else ""
    text = f"{TITLES[course.name]}: the loss goes from {course.fall}{moving}"
    if quarter and fall > 0:
        early = (course.loss[0] - course.loss[quarter]) / fall
        text += f"; {100 * early:.0f} % of that by step {course.steps[quarter]:.0f} of {course.steps[-1]:.0f}"
    text += (
        f". {carrying} of {dims} dimensions carry {FAINT_NATS} nats or more at the end, {course.kl[-1]:.1f} nats per "
        f"frame in all; {course.active[-1]:.0f} move, and {course.dimensions_95[-1]:.0f} components hold 95 % of the "
        f"variance. SI-SDR {course.si_sdr[-1]:.1f} dB."
    )
    if course.collapsed:
        text += " It has collapsed."
    at = course.warned_at
    return text + (f" The warning came at step {at}." if at is not None else " There was no warning.")


def figures(course: Course) -> dict[str, object]:
    """For the JSON."""
    listed = {key: value.tolist() for key, value in vars(course).items() if isinstance(value, np.ndarray)}
    del listed["output"]
    facts = {"rises": course.rises, "warned_at": course.warned_at, "collapsed": course.collapsed}
    return {"name": course.name, "minutes": course.minutes, **facts, "words": words(course), **listed}
