"""What a training leaves in its folder, and how it is read by whoever watches it, while it is written.

No torch here. Any of the files may be missing, or half written.
"""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from rtae.errors import TrainingError
from rtae.models.catalogue import CHECKPOINT_FILE, available

FOLDER_VARIABLE = "RTAE_RUNS"
JOB_FILE = "job.json"
LOG_FILE = "log.txt"
# What the training writes; rtae.training.run has the same names, and needs torch.
METRICS_FILE = "metrics.csv"
PROGRESS_FILE = "progress.json"
PREVIEWS_FOLDER = "previews"
MOST_POINTS = 2000  # of a curve; then every other one is dropped
MOST_BYTES = 1 << 20  # read from a file at once
KEPT_LINES = 200
FOUND = re.compile(r".*: (\d+) files, ([\d.]+) minutes \(.*\); (\d+) skipped")
REMARK = re.compile(r"  (skipped \d+: |\d+ samples were not finite)")


def runs_folder() -> Path:
    """Where trainings are kept; the environment variable RTAE_RUNS puts it elsewhere."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else user_data_path("rtae") / "runs"


# -- what a training writes --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Order:
    """What is to be trained: `job.json` in the run's folder.

    start_from: folder of a model or a run with a checkpoint, whose network it then is; empty for a new one.
    done: whether it has become a model.
    """

    folder: str
    name: str
    minutes: float
    preset: str = "small"
    start_from: str = ""
    done: bool = False

    def save(self, run: Path) -> None:
        """Write it. Raises TrainingError."""
        beside = run / (JOB_FILE + ".part")
        try:
            beside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
            beside.replace(run / JOB_FILE)
        except OSError as error:
            raise TrainingError(f"{run} cannot be written ({error.strerror}); free or mend its place") from None

    @classmethod
    def load(cls, run: Path) -> Order:
        """Read it. Raises TrainingError."""
        try:
            order = cls(**json.loads((run / JOB_FILE).read_text(encoding="utf-8")))
            texts = (order.folder, order.name, order.preset, order.start_from)
            if not all(isinstance(text, str) for text in texts) or not (number(order.minutes) or 0) > 0:
                raise ValueError("it holds something else")
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise TrainingError(f"{run / JOB_FILE} does not say what was trained: {error}") from None
        return order


@dataclass(frozen=True)
class Found:
    """What the training found in the folder of songs. reasons: why files were skipped, as sentences."""

    files: int
    minutes: float
    skipped: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One validation: a line of metrics.csv. A loss that was not known is NaN."""

    step: int
    seconds: float
    loss: float
    si_sdr_db: float
    mr_stft: float


@dataclass(frozen=True)
class Preview:
    """A held-out song, and what the model makes of it: two wav files."""

    title: str
    input: Path
    output: Path


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


class Tail:
    """The lines that were added to a file since it was last looked at, without one that is not finished."""

    def __init__(self, path: Path, place: int = 0) -> None:
        self.path, self.place = path, place

    def lines(self) -> list[str]:
        """None of them if the file is not there, or can no longer be read."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self.place:  # written anew
                    self.place = 0
                file.seek(self.place)
                content = file.read(MOST_BYTES)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        return [line.rstrip("\r") for line in whole.decode("utf-8", "replace").split("\n")[:-1]]


class Watch:
    """What is known of a run from its files.

    place: where in the log this process begins, which is what it says; the figures are those of the whole run.
    """

    def __init__(self, run: Path, place: int = 0) -> None:
        self.run = run
        self.log, self.metrics = Tail(run / LOG_FILE, place), Tail(run / METRICS_FILE)
        self.columns: list[str] = []
        self.said: list[str] = []
        self.rows: list[Row] = []
        self.losses: list[tuple[int, float]] = []
        self.found: Found | None = None
        self.facts: dict[str, Any] = {}

    def look(self) -> None:
        """Read what is new."""
        for line in self.log.lines():
            self._hear(line)
        for line in self.metrics.lines():
            self._add_row(line.split(","))
        with suppress(OSError, ValueError, RecursionError):
            facts = json.loads((self.run / PROGRESS_FILE).read_bytes())
            if isinstance(facts, dict):
                self.facts = facts
                self._add_loss(int(number(facts.get("step")) or 0), number(facts.get("loss")))

    def _hear(self, line: str) -> None:
        self.said = [*self.said, line][-KEPT_LINES:]
        if REMARK.match(line) and self.found is not None:
            self.found = replace(self.found, reasons=(*self.found.reasons, line.strip()))
        elif found := FOUND.fullmatch(line):
            self.found = Found(int(found[1]), float(found[2]), int(found[3]))

    def _add_row(self, values: list[str]) -> None:
        """A line that is broken, as by a process that was killed while it wrote, is left out."""
        if values[0] == "step":
            self.columns = values
        if values[0] == "step" or len(values) != len(self.columns):
            return
        named = dict(zip(self.columns, values, strict=True))
        try:
            figures = (float(named[name]) for name in ("seconds", "loss", "si_sdr_db", "mr_stft"))
            row = Row(int(named["step"]), *figures)
        except (KeyError, ValueError):
            return
        self.rows.append(row)
        self._add_loss(row.step, number(row.loss))

    def _add_loss(self, step: int, loss: float | None) -> None:
        if loss is not None and (not self.losses or step > self.losses[-1][0]):
            self.losses.append((step, loss))
        if len(self.losses) > MOST_POINTS:
            self.losses = self.losses[::2]

    def previews(self) -> tuple[Preview, ...]:
        """Those of the last validation."""
        found = []
        with suppress(OSError):
            for output in sorted((self.run / PREVIEWS_FOLDER).glob("*-output.wav")):
                stem = output.name.removesuffix("-output.wav")
                source = output.with_name(f"{stem}-input.wav")
                if source.exists():
                    found.append(Preview(stem.partition("-")[2] or stem, source, output))
        return tuple(found)

    def last_error(self) -> str:
        """What the program said was wrong; else its last words."""
        errors = [line.removeprefix("Error: ") for line in self.said if line.startswith("Error: ")]
        return errors[-1] if errors else ""

    def last_words(self) -> str:
        """The last line, as that of a traceback."""
        return next((line.strip() for line in reversed(self.said) if line.strip()), "it said nothing")


def checkpoint_facts(folder: Path) -> dict[str, Any]:
    """What the checkpoint in a folder says of itself: step, seconds, config. Raises TrainingError.

    A safetensors file begins with the length of its header (8 bytes) and the header (JSON); weights are not read.
    """
    path = folder / CHECKPOINT_FILE
    try:
        with path.open("rb") as file:
            header = file.read(min(int.from_bytes(file.read(8), "little"), MOST_BYTES))
        facts: dict[str, Any] = json.loads(json.loads(header)["__metadata__"]["rtae"])
        net = facts["config"]["net"]
        if not isinstance(net["preset"], str) or number(facts["step"]) is None or number(facts["seconds"]) is None:
            raise ValueError("it says nothing of a training")
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}); choose what has a checkpoint") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingError(f"{path} is not a checkpoint of this program, or is damaged: {error}") from None
    return facts


def share_of(facts: dict[str, Any], minutes: float) -> float:
    """How much of its training a checkpoint has behind it, if that is to take so many minutes; 0 to 1."""
    steps = number(facts["config"].get("steps"))
    return float(min(1.0, max(facts["seconds"] / 60 / minutes, facts["step"] / steps if steps else 0.0)))


# -- what there is -----------------------------------------------------------------------------------------------------
def earlier_runs() -> list[Path]:
    """Runs with a checkpoint, the latest first."""
    dated = []
    with suppress(OSError):
        for path in runs_folder().glob(f"*/{JOB_FILE}"):
            with suppress(OSError):
                if (path.parent / CHECKPOINT_FILE).is_file():
                    dated.append((path.stat().st_mtime, path.parent))
    return [run for _, run in sorted(dated, reverse=True)]


def startable() -> dict[str, Path]:
    """Folders to start from, by name: models that come with their checkpoint, then runs of other names."""
    found = {name: path for name, path in available().items() if (path / CHECKPOINT_FILE).is_file()}
    for run in earlier_runs():
        with suppress(TrainingError):
            found.setdefault(Order.load(run).name, run)
    return found


def unfinished() -> Path | None:
    """The latest run, if it was stopped before it became a model."""
    for run in earlier_runs()[:1]:
        with suppress(TrainingError):
            if not Order.load(run).done:
                return run
    return None
