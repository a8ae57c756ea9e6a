"""What `rtae train` and `rtae export` print: the survey of a folder, progress, the table of a verification."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from rtae import show
from rtae.show import bar, clock, say

if TYPE_CHECKING:
    from rtae.export.verify import Verification
    from rtae.training.checkpoint import Checkpoint
    from rtae.training.config import TrainConfig
    from rtae.training.data import Survey
    from rtae.training.run import Report


def survey_folder(folder: Path, rate: int, crop: int) -> Survey:
    """Decode a folder with a progress bar, and say what was found."""
    from rtae.training.data import survey

    with bar(TextColumn("Reading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        found = survey(
            folder,
            rate,
            crop,
            lambda done, total, name: progress.update(task, completed=done, total=total, description=escape(name)),
        )
    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(found.rates().items()))
    say(f"{folder}: {len(found.tracks)} files, {found.minutes:.1f} minutes ({rates}); {len(found.skipped)} skipped")
    for reason, count in Counter(found.skipped.values()).most_common(8):
        say(f"  skipped {count}: {reason}")
    if found.cut:
        say(f"  {len(found.cut)} cut short or damaged, used as far as they go: {some_names(found.cut)}")
    if found.repaired:
        say(f"  {found.repaired} samples were not finite and were silenced")
    return found


def some_names(paths: Sequence[Path], most: int = 3) -> str:
    """The first ones, and how many more there are.

    >>> some_names([Path("a/b.wav"), Path("c.wav")], most=1)
    'b.wav and 1 more'
    """
    rest = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(path.name for path in paths[:most]) + rest


def training(
    config: TrainConfig,
    folder: Path,
    out: Path,
    held_out: Path | None,
    resume: bool,
    threads: int | None,
    begin: Checkpoint | None = None,
) -> None:
    """`rtae train`."""
    import torch

    from rtae.training.run import prepare_run, train

    prepare_run(config, out, resume)
    if threads is not None:
        torch.set_num_threads(min(threads, os.cpu_count() or 1))
    rate, crop = config.net.sample_rate, config.crop
    material = survey_folder(folder, rate, crop)
    held = survey_folder(held_out, rate, crop) if held_out else None
    columns = (BarColumn(), TextColumn("{task.description}"))
    with bar(*columns) as progress:
        task = progress.add_task("starting", total=1.0)

        def report(at: Report) -> None:
            line = (
                f"step {at.step}, loss {at.loss:.3f}, {at.steps_per_second:.1f} steps/s, {clock(at.seconds_left)} left"
            )
            progress.update(task, completed=at.progress, description=line)
            if at.si_sdr is not None:
                say(f"step {at.step}: loss {at.loss:.3f}, SI-SDR {at.si_sdr:.2f} dB, MR-STFT {at.mr_stft:.3f}")
            if at.warning:
                say(f"  warning: {at.warning}")

        module = train(config, material, out, report, resume, held, start=begin)
    done = module.progress() >= 1
    say(f"{'Trained' if done else 'Stopped after'} {module.step} steps, {clock(module.elapsed())}; checkpoint in {out}")
    say(
        f"Next: rtae export {out} --name NAME"
        if done
        else f"Continue with the same command and --resume, or: rtae export {out} --name NAME"
    )


def verification_table(verification: Verification) -> None:
    """Checks and cost of an export."""
    checks = Table("check", "measured", "allowed", "")
    for check in verification.checks:
        checks.add_row(check.name, f"{check.value:.2g}", f"{check.limit:.2g}", "ok" if check.passed else "FAILED")
    show.console.print(checks)
    cost = Table("hop", "ms", "times real time", title="cost, one thread, mono")
    for row in verification.cost:
        cost.add_row(f"{row['hop']:.0f}", f"{row['milliseconds']:.2f}", f"{row['real_time_factor']:.0f}")
    show.console.print(cost)


def exporting(
    run: Path,
    name: str,
    into: Path | None,
    data: Path | None,
    licence: str,
    overwrite: bool,
    notes: Path | None,
    checkpoint: bool,
) -> None:
    """`rtae export`."""
    from rtae.export.exporter import export
    from rtae.models import user_folder

    target = into or user_folder()
    with bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        done = export(
            run,
            name,
            target,
            data,
            licence,
            overwrite,
            notes,
            checkpoint,
            say=lambda text: progress.update(task, description=text.capitalize()),
            show=verification_table,
        )
    facts = done.spec.training
    say(
        f"On {facts['held_out_tracks']} held-out songs: SI-SDR {facts['si_sdr_db']:.2f} dB (linear code "
        f"{facts['linear_si_sdr_db']:.2f}), MR-STFT {facts['mr_stft']:.3f} (linear code {facts['linear_mr_stft']:.3f})"
    )
    own = into is None
    say(f"Wrote {done.folder}. Play it: rtae play SONG --model {name if own else done.folder}")
