"""Training as a job beside the program: a process that is started, watched by what it writes, stopped and continued.

    start --> preparing --> training --> exporting --> done
                  |            |             |
                  +------------+-------------+------> failed or cancelled --> resume, or export as it is

No torch here: `rtae train` and then `rtae export` run in processes of their own. Whoever watches calls `poll` a few
times a second; it reads what is new in a few small files, any of which may be missing, or half written.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import monotonic, time
from typing import Any

from platformdirs import user_data_path

from rtae.errors import MissingExtraError, TrainingError
from rtae.models.catalogue import CHECKPOINT_FILE, available, check_name, user_folder

FOLDER_VARIABLE = "RTAE_RUNS"
JOB_FILE = "job.json"
LOG_FILE = "log.txt"
# What the training writes; rtae.training.run has the same names, and needs torch.
METRICS_FILE = "metrics.csv"
PROGRESS_FILE = "progress.json"
PREVIEWS_FOLDER = "previews"

PROGRAM = (sys.executable, "-m", "rtae")
EXTRA = ("torch", "lightning", "auraloss", "torchmetrics", "safetensors", "onnx")
MISSING_EXTRA = "Training needs the extra 'train': pip install 'rtae[train]' (in a checkout: pip install '.[train]')"
RUNNING = ("preparing", "training", "exporting")
STOPPED = ("failed", "cancelled")
CANCEL_SECONDS = 20.0  # for a step, a checkpoint and a validation
ALIVE_SECONDS = 10.0  # a progress.json younger than this belongs to a process that runs
NICENESS = 10  # the sound and the window go first
SHORT_MINUTES = 20.0  # trainings up to so long validate more often, or there would be one point and no preview
SHORT_INTERVAL = 500  # steps
TUNING_RATE = 5e-4  # learning rate of what goes on from another model
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


@dataclass(frozen=True)
class Status:
    """Where a job stands.

    state: idle, preparing, training, exporting, done, failed or cancelled. progress: 0 to 1, None where unknown.
    losses: (step, loss), the curve. rows: validations. resumable: whether there is a checkpoint to go on from.
    model: the folder of the model, once it is done. error: what went wrong, in words.
    """

    state: str = "idle"
    progress: float | None = None
    step: int = 0
    steps_per_second: float | None = None
    seconds_left: float | None = None
    found: Found | None = None
    losses: tuple[tuple[int, float], ...] = ()
    rows: tuple[Row, ...] = ()
    previews: tuple[Preview, ...] = ()
    resumable: bool = False
    stopping: bool = False
    model: Path | None = None
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether a process is at work."""
        return self.state in RUNNING


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


# -- the job -----------------------------------------------------------------------------------------------------------
class TrainingJob:
    """One training, over all its processes. Not for several threads.

    command: the program that knows `train` and `export`.
    """

    def __init__(self, command: Sequence[str] = PROGRAM) -> None:
        self.command = tuple(command)
        self.order: Order | None = None
        self.run: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.watch: Watch | None = None
        self.deadline: float | None = None  # set while it is being cancelled
        self.status = Status()

    @classmethod
    def reopen(cls, run: Path, command: Sequence[str] = PROGRAM) -> TrainingJob:
        """A job that was stopped, perhaps by an earlier session. Raises TrainingError where there is none."""
        job = cls(command)
        job.order, job.run, job.watch = Order.load(run), run, Watch(run)
        job.watch.look()
        job._show("done" if job.order.done else "cancelled")
        return job

    # -- what it is told ---------------------------------------------------------------------------------------------
    def start(
        self, folder: Path, name: str, minutes: float = 60.0, preset: str = "small", start_from: Path | None = None
    ) -> None:
        """Train on a folder of songs, then export the model as `name` to the user's own.

        start_from: folder of a model or run with a checkpoint, which then decides the network. Raises TrainingError,
        ModelError (the name) or MissingExtraError.
        """
        self._require_rest()
        require_extra()
        if not folder.is_dir():
            raise TrainingError(f"{folder} is not a folder; choose one with songs in it")
        if not 0 < minutes < math.inf:
            raise TrainingError(f"{minutes} minutes are no training; choose more than 0")
        check_name(name)
        check_free(name)
        order = Order(str(folder.absolute()), name, float(minutes), preset, str(start_from or ""))
        words = [*network_of(order), "--minutes", f"{minutes:g}", "--threads", str(threads())]
        if minutes <= SHORT_MINUTES:
            words += ["--validate-every", str(SHORT_INTERVAL)]
        run = make_run(name)
        order.save(run)
        self.order, self.run = order, run
        self._launch("preparing", "train", order.folder, "--out", str(run), *words)

    def resume(self, minutes: float | None = None) -> None:
        """Go on from the checkpoint; if the training was at its end, export. minutes: in all, instead of as before."""
        self._require_rest()
        require_extra()
        order, run = self._ordered()
        facts = checkpoint_facts(run)
        if minutes is not None:
            order = replace(order, minutes=float(minutes), done=False)
        if order.done:
            raise TrainingError(f"{order.name} is done; to train it longer, start from it")
        require_silence(run)
        order.save(run)
        self.order = order
        if share_of(facts, order.minutes) >= 1:
            self.export()
            return
        budget = ["--minutes", f"{order.minutes:g}"] if minutes is not None else []
        words = ["--out", str(run), "--resume", *budget, "--threads", str(threads())]
        self._launch("preparing", "train", order.folder, *words)

    def export(self) -> None:
        """Make a model of the checkpoint as it is. Raises TrainingError or ModelError."""
        self._require_rest()
        require_extra()
        order, run = self._ordered()
        checkpoint_facts(run)
        check_free(order.name)
        self._launch("exporting", "export", str(run), "--name", order.name, "--into", str(user_folder().absolute()))

    def cancel(self) -> None:
        """Ask it to stop, which leaves a checkpoint; `poll` says when it has, and ends it by force after a while."""
        if self.process is None or self.deadline is not None:
            return
        self.deadline = monotonic() + CANCEL_SECONDS
        self.status = replace(self.status, stopping=True)
        with suppress(OSError):  # it has just ended; or, on Windows, there is no console to send this through
            self.process.send_signal(interruption())

    def close(self, seconds: float = CANCEL_SECONDS) -> None:
        """Cancel, and wait until it has ended: at most so long."""
        self.cancel()
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.poll()

    # -- what it tells -------------------------------------------------------------------------------------------------
    def poll(self) -> Status:
        """Where it stands now. Goes from training to exporting."""
        if self.process is None or self.watch is None:
            return self.status
        code = self.process.poll()
        self.watch.look()
        if code is None:
            if self.deadline is not None and monotonic() > self.deadline:
                self.process.kill()
            begun = self.status.state == "preparing" and self.watch.facts
            self._show("training" if begun else self.status.state)
        else:
            self._ended(code, self.watch)
        return self.status

    def _ended(self, code: int, watch: Watch) -> None:
        cancelled, exporting = self.deadline is not None, self.status.state == "exporting"
        self.process = self.deadline = None
        order, run = self._ordered()
        if exporting and code == 0:
            self.order = replace(order, done=True)
            with suppress(TrainingError):
                self.order.save(run)
            self._show("done", model=user_folder() / order.name)
        elif cancelled:
            self._show("cancelled")
        elif code == 0:
            try:
                self.export()
            except (TrainingError, MissingExtraError, ValueError) as error:
                self._show("failed", error=str(error))
        else:
            self._show("failed", error=reason(code, run, watch))

    def _show(self, state: str, model: Path | None = None, error: str = "") -> None:
        watch, (order, run) = self.watch, self._ordered()
        assert watch is not None  # noqa: S101 - set with the run
        progress = number(watch.facts.get("progress"))
        step = max(int(number(watch.facts.get("step")) or 0), watch.rows[-1].step if watch.rows else 0)
        if state in STOPPED:
            with suppress(TrainingError):  # where it goes on from
                facts = checkpoint_facts(run)
                step, progress = int(facts["step"]), share_of(facts, order.minutes)
        self.status = Status(
            state=state,
            progress={"preparing": None, "exporting": None, "done": 1.0}.get(state, progress),
            step=step,
            steps_per_second=number(watch.facts.get("steps_per_second")) if state == "training" else None,
            seconds_left=number(watch.facts.get("seconds_left")) if state == "training" else None,
            found=watch.found,
            losses=tuple(watch.losses),
            rows=tuple(watch.rows),
            previews=watch.previews(),
            resumable=state in STOPPED and (run / CHECKPOINT_FILE).is_file(),
            stopping=self.deadline is not None,
            model=model,
            error=error,
        )

    # -- the process ---------------------------------------------------------------------------------------------------
    def _ordered(self) -> tuple[Order, Path]:
        if self.order is None or self.run is None:
            raise TrainingError("Nothing was trained yet; start a training")
        return self.order, self.run

    def _require_rest(self) -> None:
        if self.process is not None:
            raise TrainingError("A training is running; stop it first")

    def _launch(self, state: str, *words: str) -> None:
        _, run = self._ordered()
        # Text comes at once and in UTF-8, wherever this is.
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        try:
            with suppress(FileNotFoundError):
                (run / PROGRESS_FILE).unlink()  # what a killed process left would be taken for news
            with (run / LOG_FILE).open("ab") as log:
                place = log.tell()
                self.process = subprocess.Popen(  # noqa: S603 - our own program
                    [*self.command, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=run.parent,
                    env=environment,
                    **apart(),
                )
        except OSError as error:
            raise TrainingError(f"The training cannot be started in {run} ({error.strerror})") from None
        if sys.platform != "win32":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.process.pid, NICENESS)
        before, self.watch = self.watch, Watch(run, place)
        if before is not None and before.run == run:
            self.watch.found, self.watch.losses = before.found, before.losses
        self.deadline = None
        self.watch.look()
        self._show(state)


def apart() -> dict[str, Any]:
    """How a process is started so that a Ctrl-C in the terminal of the window is not its own as well."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    return {"start_new_session": True}


def interruption() -> int:
    """The signal that asks a training to stop; on Windows the only one that a process group of its own can get."""
    if sys.platform == "win32":
        return signal.CTRL_BREAK_EVENT
    return signal.SIGINT


def threads() -> int:
    """All cores but one, which is for the sound."""
    return max(1, (os.cpu_count() or 1) - 1)


def network_of(order: Order) -> list[str]:
    """The options for the network of an order. Raises TrainingError."""
    if not order.start_from:
        return ["--model", order.preset]
    folder = Path(order.start_from).absolute()
    net = checkpoint_facts(folder)["config"]["net"]
    words = ["--from", str(folder), "--model", net["preset"], "--shortcut-frames", str(net.get("shortcut_frames", 3))]
    return [*words, *([] if net.get("causal", True) else ["--symmetric"]), "--learning-rate", f"{TUNING_RATE:g}"]


def make_run(name: str) -> Path:
    """A new folder for a run of this name. Raises TrainingError."""
    folder = runs_folder().absolute()
    for attempt in count(1):
        run = folder / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            if not folder.is_dir():
                raise TrainingError(f"{folder} is not a folder; move that file away") from None
        except OSError as error:
            raise TrainingError(f"{run} cannot be made ({error.strerror}); free or mend its place") from None
    raise AssertionError  # count does not end


def check_free(name: str) -> None:
    """Raise TrainingError where there is a model of that name."""
    taken = {other.lower() for other in available()}
    if name.lower() in taken or os.path.lexists(user_folder() / name):
        raise TrainingError(f"There is a model {name!r} already; choose another name")


def require_extra() -> None:
    """Raise MissingExtraError unless training is installed; nothing is imported."""
    if any(find_spec(module) is None for module in EXTRA):
        raise MissingExtraError(MISSING_EXTRA)


def require_silence(run: Path) -> None:
    """Raise TrainingError where another process trains this run, as one that outlived its window."""
    with suppress(OSError):
        if time() - (run / PROGRESS_FILE).stat().st_mtime < ALIVE_SECONDS:
            raise TrainingError(f"{run.name} is still being trained by another process; wait, or end that one")


def reason(code: int, run: Path, watch: Watch) -> str:
    """Why a process ended, in words."""
    if not run.is_dir():
        return f"The folder of this training, {run}, is gone; start anew"
    if said := watch.last_error():
        return said
    if code < 0:
        return f"The training was ended from outside (signal {-code}), as systems do when memory runs out"
    return f"The training ended by a fault of the program: {watch.last_words()}. All it said is in {run / LOG_FILE}"
