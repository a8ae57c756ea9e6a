"""Training as a job beside the program: a process that is started, watched by what it writes, stopped and continued.

    start --> preparing --> training --> exporting --> done
                  |            |             |
                  +------------+-------------+------> failed or cancelled --> resume, or export as it is

No torch here: `rtae train` and then `rtae export` run in processes of their own. Whoever watches calls `poll` a few
times a second; it reads what is new in a few small files, any of which may be missing, or half written.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from time import monotonic, time
from typing import Any

from rtae.errors import MissingExtraError, TrainingError
from rtae.job_files import (
    LOG_FILE,
    PROGRESS_FILE,
    Found,
    Order,
    Preview,
    Row,
    Watch,
    checkpoint_facts,
    number,
    runs_folder,
    share_of,
)
from rtae.models.catalogue import CHECKPOINT_FILE, available, check_name, user_folder

PROGRAM = (sys.executable, "-m", "rtae")
EXTRA = ("torch", "lightning", "auraloss", "pytorch_optimizer", "safetensors", "onnx")
MISSING_EXTRA = "Training needs the extra 'train': pip install 'rtae[train]' (in a checkout: pip install '.[train]')"
RUNNING = ("preparing", "training", "exporting")
STOPPED = ("failed", "cancelled")
CANCEL_SECONDS = 20.0  # for a step, a checkpoint and a validation
ALIVE_SECONDS = 10.0  # a progress.json younger than this belongs to a process that runs
NICENESS = 10  # the sound and the window go first
SHORT_MINUTES = 20.0  # trainings up to so long validate more often, or there would be one point and no preview
SHORT_INTERVAL = 500  # steps


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
    checkpoint_facts(folder)  # or it is no checkpoint
    return ["--from", str(folder)]


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
