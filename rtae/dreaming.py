"""What `rtae prior`, `rtae sample` and `rtae priors` do and print."""

from __future__ import annotations

import signal
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.table import Table

from rtae import show
from rtae.models import find
from rtae.show import bar, check_json, clock, say, write_json
from rtae.show_training import survey_folder

if TYPE_CHECKING:
    from rtae.training.prior import PriorConfig


def training_prior(
    folder: Path, model: str, out: Path, config: PriorConfig, held_out: Path | None, resume: bool, into: Path | None
) -> None:
    """`rtae prior`."""
    import torch

    from rtae.errors import TrainingError
    from rtae.export.prior import export_prior
    from rtae.runtime import OnnxModel
    from rtae.spec import ENCODER_FILE
    from rtae.training.data import split
    from rtae.training.prior import RUN_FILE, PriorRun, Process, latents_of, train_prior

    place = find(model)
    runtime = OnnxModel.load(place)
    encoder = runtime.spec.files[ENCODER_FILE]
    if (out / RUN_FILE).exists() and not resume:
        raise TrainingError(f"{out} holds the training of a prior already: add --resume, or choose another --out")
    prior = PriorRun.load(out) if resume else None
    if prior is not None and prior.encoder != encoder:
        raise TrainingError(f"The prior in {out} is of another model than {model}; choose another --out")
    if prior is not None:
        longer = max(config.minutes, prior.config.minutes)
        prior.config = prior.net.config = replace(prior.config, minutes=longer, pulse=config.pulse, depth=config.depth)
    torch.set_num_threads(1)
    shortest = (config.context + config.stretch + 1) * runtime.spec.stride
    material = survey_folder(folder, runtime.spec.sample_rate, shortest)
    others = survey_folder(held_out, runtime.spec.sample_rate, shortest) if held_out else None
    tracks, held = (material.tracks, others.tracks) if others else split(material.tracks, folder)
    with bar(BarColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("encoding the songs")
        training, checked = (
            latents_of(runtime, group, lambda done, total: progress.update(task, completed=done, total=total))
            for group in (tracks, held)
        )
        if prior is None:
            progress.update(task, description="fitting the Gaussian process")
            prior = PriorRun.start(config, Process.fit(training, config.order), encoder)
        stop = threading.Event()
        before = signal.signal(signal.SIGINT, lambda *_: stop.set())

        def report(share: float, step: int, loss: float) -> None:
            progress.update(task, completed=share, total=1.0, description=f"step {step}, {loss:.3f} nats per frame")

        try:
            train_prior(prior, training, checked, out, report, stop.is_set)
        finally:
            signal.signal(signal.SIGINT, before)
    figures = prior.figures
    say(
        f"{prior.step} steps in {clock(prior.seconds)}; held-out latents: {figures['nats']:.2f} nats per frame, "
        f"{figures['start_nats']:.2f} before; checkpoint in {out}"
    )
    worst = export_prior(prior, into or place)
    say(
        f"Wrote the prior to {into or place}; torch against ONNX {worst:.1g}. "
        f"Hear it: rtae sample out.wav --model {model}"
    )


def sampling(
    target: Path, model: str, kind: str, seconds: float, temperature: float, seed: int, song: Path | None
) -> None:
    """`rtae sample`."""
    from rtae.sample import sample_to_file

    with bar(BarColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("dreaming")
        turned_down = sample_to_file(
            find(model),
            target,
            kind,
            seconds,
            temperature,
            seed,
            song,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    say(
        f"Wrote {target}: {clock(seconds)} out of the {kind} prior of {model}, seed {seed}, temperature {temperature:g}"
    )
    if turned_down > 0:
        say(f"Note: it was turned down by {turned_down:.1f} dB, since it went over full scale")


def prior_table(model: str, on: Path, clips: int, seed: int, temperature: float, target: Path | None) -> None:
    """`rtae priors`."""
    from rtae.yardsticks import STATISTICS, compare

    check_json(target)
    with bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        done = compare(find(model), on, clips, seed, temperature, lambda text: progress.update(task, description=text))
    table = Table("what sounds", "clips", *STATISTICS, title=f"distance to music, in its standard deviations: {model}")
    for name, row in done.distances.items():
        table.add_row(escape(name), str(done.clips[name]), *(f"{row[kind]:.2f}" for kind in STATISTICS))
    for name, ratios in (("network nearer than independent", done.nearer), ("in the worst set of seeds", done.least)):
        table.add_row(name, "", *(f"{ratios[kind]:.2f} x" for kind in STATISTICS))
    show.console.print(table)
    speeds = ", ".join(f"{kind} {speed:.0f}" for kind, speed in done.speed.items())
    say(f"All at temperature {temperature:g}. Seconds of sound for a second of one processor core, decoded: {speeds}")
    if target is not None:
        write_json(target, asdict(done) | {"model": model, "seed": seed, "temperature": temperature})
