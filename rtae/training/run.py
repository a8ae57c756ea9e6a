"""One training run, from a folder of songs to a checkpoint."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rtae.audio.output import AudioWriter
from rtae.errors import RtaeError, TrainingError
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.linear import LinearCode
from rtae.spec import LINEAR_FILE
from rtae.training.checkpoint import CHECKPOINT_FILE, Checkpoint
from rtae.training.config import TrainConfig
from rtae.training.data import DATA_FILE, Crops, Survey, Track, middle, split, survey
from rtae.training.module import TrainingModule
from rtae.training.variational import kl_weight

FOREVER = 1 << 40
HELD_OUT_SECONDS = 10
FIT_SECONDS = 30
FLOOR_SECONDS = 60
PREVIEWS = 2
SAVE_SECONDS = 60.0
PROGRESS_SECONDS = 0.5
METRICS_FILE = "metrics.csv"
PROGRESS_FILE = "progress.json"
COLUMNS = ("step", "seconds", "loss", "si_sdr_db", "mr_stft", "learning_rate", "steps_per_second")


@dataclass(frozen=True)
class Report:
    """What is shown while training: after each step, and (with figures) after each validation."""

    step: int
    progress: float
    loss: float
    steps_per_second: float
    seconds_left: float
    si_sdr: float | None = None
    mr_stft: float | None = None
    warning: str = ""


def variational_columns(module: TrainingModule) -> dict[str, float]:
    """What metrics.csv says besides of a variational network: both parts of the loss, and its latents."""
    parts = np.mean(module.parts, axis=0) if module.parts else np.full(2, np.nan)
    weight = kl_weight(module.config, module.progress())
    training = {"reconstruction": float(parts[0]), "training_kl": float(parts[1]), "kl_weight": weight}
    return training | module.latents.columns()


class HeldOut(Dataset[tuple[str, Tensor]]):
    """The middle of each held-out track, up to ten seconds."""

    def __init__(self, tracks: list[Track]) -> None:
        self.tracks = tracks

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        """A name and (1, samples)."""
        track = self.tracks[index]
        return track.path.stem, torch.from_numpy(middle(track, HELD_OUT_SECONDS))[None]


class Keeper(Callback):
    """Writes checkpoints, metrics rows and previews; reports; stops on request."""

    def __init__(self, run: Path, report: Callable[[Report], None], stop: threading.Event) -> None:
        self.run, self.report, self.stop = run, report, stop
        self.saved = self.last = monotonic()
        self.told = -math.inf
        self.speed = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step; save now and then; stop if asked."""
        now = monotonic()
        speed = 1 / max(now - self.last, 1e-9)
        self.speed = speed if not self.speed else 0.98 * self.speed + 0.02 * speed
        self.last = now
        state = self.state(module)
        self.report(state)
        if now - self.told > PROGRESS_SECONDS:
            self.write_progress(state)
            self.told = now
        if now - self.saved > SAVE_SECONDS:
            self.save(module)
        if self.stop.is_set():
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """A metrics row, two previews, a checkpoint."""
        if trainer.sanity_checking or not module.results:
            return
        si_sdr = float(np.mean([r.si_sdr for r in module.results]))
        mr_stft = float(np.mean([r.mr_stft for r in module.results]))
        warning = module.latents.warning() if module.config.net.variational else ""
        state = replace(self.state(module), si_sdr=si_sdr, mr_stft=mr_stft, warning=warning)
        self.write_row(module, state)
        for number, result in enumerate(module.results[:PREVIEWS], 1):
            self.write_preview(
                f"{number}-{result.name[:60]}", result.target, result.output, module.config.net.sample_rate
            )
        module.losses.clear()
        module.parts.clear()
        self.save(module)
        self.report(state)
        self.last = monotonic()

    def state(self, module: TrainingModule) -> Report:
        """Where the run stands."""
        progress = module.progress()
        left = module.elapsed() * (1 - progress) / progress if progress > 0 else float("inf")
        recent = module.losses[-100:]
        return Report(module.step, progress, float(np.mean(recent)) if recent else 0.0, self.speed, left)

    def save(self, module: TrainingModule) -> None:
        """The checkpoint. Raises TrainingError rather than replace a good one by numbers that are none."""
        checkpoint = module.checkpoint()
        for value in (*checkpoint.model.values(), *checkpoint.average.values()):
            if not bool(torch.isfinite(value).all()):
                raise module.not_finite("The weights are not finite")
        checkpoint.save(self.run)
        self.saved = monotonic()

    def write_progress(self, state: Report) -> None:
        """progress.json, for whoever watches from another process; what is not known yet is null."""
        known = {name: value for name, value in asdict(state).items() if isinstance(value, int | float)}
        facts = {name: value if math.isfinite(value) else None for name, value in known.items()}
        beside = self.run / (PROGRESS_FILE + ".part")
        with suppress(OSError):  # a full disk, or a watcher that has it open (Windows), is no reason to end a training
            beside.write_text(json.dumps(facts))
            beside.replace(self.run / PROGRESS_FILE)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """progress.json is there for as long as the training runs."""
        try:
            yield
        finally:
            for name in (PROGRESS_FILE, PROGRESS_FILE + ".part"):
                with suppress(OSError):
                    (self.run / name).unlink(missing_ok=True)

    def write_row(self, module: TrainingModule, state: Report) -> None:
        """One line of metrics.csv."""
        path = self.run / METRICS_FILE
        new = not path.exists()
        loss = float(np.mean(module.losses)) if module.losses else float("nan")
        values = (module.step, module.elapsed(), loss, state.si_sdr, state.mr_stft, module.learning_rate(), self.speed)
        more = variational_columns(module) if module.config.net.variational else {}
        with path.open("a", newline="") as out:
            writer = csv.writer(out)
            if new:
                writer.writerow([*COLUMNS, *more])
            writer.writerow([values[0], *(f"{value:.6g}" for value in (*values[1:], *more.values()))])

    def write_preview(self, name: str, target: Tensor, output: Tensor, rate: int) -> None:
        """The track and what the model makes of it, as two files in previews/ that each validation replaces."""
        folder = self.run / "previews"
        folder.mkdir(exist_ok=True)
        for kind, audio in (("input", target), ("output", output)):
            with AudioWriter(folder / f"{name}-{kind}.wav", rate, 1) as out:
                out.write(audio[0].numpy())


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C ends the step that runs and no more; a second one ends the program.

    So does Ctrl-Break on Windows, where a process that is to survive its parent's Ctrl-C can get nothing else.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fit_linear(tracks: list[Track], config: TrainConfig) -> LinearCode:
    """The linear code of the training tracks, from up to half a minute in the middle of each."""
    pieces = (middle(track, FIT_SECONDS) for track in tracks)
    return LinearCode.fit(pieces, config.net.stride, config.net.latent_dim)


def linear_floors(tracks: list[Track], linear: LinearCode) -> list[float]:
    """Mean square of what a linear code leaves of each track."""
    block = FLOOR_SECONDS * tracks[0].model_rate // linear.basis.shape[1] * linear.basis.shape[1]
    return [linear.error(t.read(start, block) for start in range(0, t.samples, block)) for t in tracks]


def describe_material(material: Survey, held_out: Survey, training: list[Track], held: list[Track]) -> dict[str, Any]:
    """The content of data.json: which files are trained on and which are held out."""

    def names(tracks: list[Track], folder: Path) -> list[str]:
        return [track.path.relative_to(folder).as_posix() for track in tracks]

    return {
        "folder": str(material.folder.resolve()),
        "held_out_folder": str(held_out.folder.resolve()),
        "minutes": round(sum(track.samples for track in training) / material.rate / 60, 1),
        "training": names(training, material.folder),
        "held_out": names(held, held_out.folder),
        "skipped": {str(path): reason for path, reason in material.skipped.items()},
    }


def check_same_songs(run: Path, record: dict[str, Any]) -> None:
    """Raise TrainingError where a run is continued with other songs: neither exact nor well described."""
    try:
        before = json.loads((run / DATA_FILE).read_text())
        songs = {key: [str(name) for name in before[key]] for key in ("training", "held_out")}
    except (OSError, ValueError, KeyError, TypeError):
        return  # a checkpoint alone can be continued
    for key, what in (("training", "trains on"), ("held_out", "holds out")):
        if songs[key] != record[key]:
            raise TrainingError(
                f"This run {what} {len(songs[key])} songs, which are not the {len(record[key])} that are "
                "found now: give it the same folders, or start another run with --from"
            )


def start_folder(run: Path, linear: LinearCode, record: dict[str, Any], fresh: bool) -> None:
    """The folder of a run, with what is known before the first step. Raises TrainingError."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        if fresh:
            (run / METRICS_FILE).unlink(missing_ok=True)
        linear.save(run / LINEAR_FILE)
        beside = run / (DATA_FILE + ".part")
        beside.write_text(json.dumps(record, indent=1) + "\n")
        beside.replace(run / DATA_FILE)
    except OSError as error:
        raise TrainingError(f"The folder {run} cannot be made: {error.strerror}. Choose another --out") from None


@contextmanager
def disk_errors(run: Path) -> Iterator[None]:
    """TrainingError in place of what the system says where a file of the run cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, RtaeError):
            raise
        raise TrainingError(
            f"{error.filename or run} cannot be written ({error.strerror or error}). The last checkpoint is kept: mend "
            "that, and go on with --resume"
        ) from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's hints are for its own users."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning.*")
            warnings.filterwarnings("ignore", message=r".*num_workers.*|.*`isinstance\(treespec.*")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def prepare_run(config: TrainConfig, run: Path, resume: bool) -> Checkpoint | None:
    """The checkpoint to continue from, if any; nothing is written. Raises TrainingError rather than overwrite a run."""
    existing = (run / CHECKPOINT_FILE).exists()
    if existing and not resume:
        raise TrainingError(f"{run} holds a training run already: continue it with --resume, or choose another --out")
    if not resume:
        place = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
        if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
            raise TrainingError(f"The folder {run} cannot be made in {place}. Choose another --out")
        return None
    checkpoint = Checkpoint.load(run)
    if checkpoint.config.net != config.net:
        raise TrainingError(
            f"The checkpoint in {run} is of another network ({checkpoint.config.net.preset}); choose another --out"
        )
    return checkpoint


def start_from(net: Autoencoder, start: Checkpoint) -> None:
    """Another run's weights. Raises TrainingError where they are those of another network."""
    if start.config.net != net.config:
        raise TrainingError(
            f"The model to start from is another network ({start.config.net.preset}): choose its --model, "
            "--shortcut-frames and --symmetric"
        )
    net.load_state_dict(start.average)


def train(
    config: TrainConfig,
    material: Survey,
    run: Path,
    report: Callable[[Report], None] = lambda _: None,
    resume: bool = False,
    held_out: Survey | None = None,
    stop: threading.Event | None = None,
    start: Checkpoint | None = None,
) -> TrainingModule:
    """Train until the budget ends or `stop` is set; either way the run's folder holds a checkpoint to go on from.

    held_out: tracks to validate on, instead of a tenth of the material. start: a checkpoint of the same network whose
    averaged weights are started from, instead of the linear code. Raises TrainingError.
    """
    stop = stop or threading.Event()
    checkpoint = prepare_run(config, run, resume)
    training, held = (material.tracks, held_out.tracks) if held_out else split(material.tracks, material.folder)
    record = describe_material(material, held_out or material, training, held)
    torch.manual_seed(config.seed)
    net = Autoencoder(config.net)
    linear = fit_linear(training, config)
    scaled = linear.deviation is not None and config.net.variational
    net.start_from_linear(torch.from_numpy(linear.basis), torch.from_numpy(linear.deviation) if scaled else None)
    if start is not None:
        start_from(net, start)
    module = TrainingModule(config, net, torch.from_numpy(linear.basis))
    if start is not None:
        module.earlier = (start.earlier_steps + start.step, start.earlier_seconds + start.seconds)
    if checkpoint is not None:
        module.resume(checkpoint)
    if module.progress() >= 1:
        raise TrainingError(f"The budget of this run is used up ({module.step} steps): give more --minutes or --steps")
    if checkpoint is not None:
        check_same_songs(run, record)
    start_folder(run, linear, record, fresh=checkpoint is None)
    first = module.step * config.batch
    floors = linear_floors(training, linear) if "floor" in module.loss.terms() else None
    crops = Crops(training, config.crop, FOREVER - first, config.seed, config.gain_db, first, floors)
    keeper = Keeper(run, report, stop)
    with quiet_lightning(), interruptible(stop), keeper.watched(), disk_errors(run):
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            check_val_every_n_epoch=None,
            val_check_interval=config.validate_every,
            num_sanity_val_steps=0,
            gradient_clip_val=config.clip_norm or None,
            callbacks=[keeper],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(
            module,
            DataLoader(crops, batch_size=config.batch),
            DataLoader(HeldOut(held), batch_size=1),
        )
        keeper.save(module)
        if not module.results or module.losses:
            trainer.validate(module, DataLoader(HeldOut(held), batch_size=1), verbose=False)
    return module


__all__ = ["Report", "fit_linear", "survey", "train"]
