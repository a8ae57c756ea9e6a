"""`rtae evaluate`: runs the evaluation with a progress bar, and prints its tables, which fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtae import show
from rtae.errors import AudioFileError
from rtae.evaluate import BELOW_EDGE, Evaluation, Figures, evaluate
from rtae.metrics import METRICS
from rtae.models import find
from rtae.show import bar, check_json, say, write_json

# What a column is called, and how many digits it has: short, since eight of them stand beside a name in 80 columns.
COLUMNS = {
    "snr": ("SNR\ndB", 1),
    "si_sdr": ("SI-SDR\ndB", 1),
    BELOW_EDGE: ("below\nedge", 1),
    "mr_stft": ("MR-\nSTFT", 3),
    "log_mel": ("log-\nmel dB", 1),
    "visqol": ("ViS-\nQOL", 2),
    "beat_f": ("beats\nF", 2),
    "onset_f": ("onsets\nF", 2),
}
STREAM_LIMIT = 1e-4


def report(
    names: Sequence[str],
    songs: Path,
    target: Path | None,
    picture: Path | None,
    tracks: bool,
    fresh: bool,
    card: bool = False,
) -> None:
    """Measure, print, write. Raises AudioFileError at the end if a file was left out."""
    check_json(target)
    if picture is not None and (picture.suffix.lower() != ".png" or not picture.absolute().parent.is_dir()):
        raise AudioFileError(f"{picture} cannot be drawn: its name must end in .png, and its folder must exist")
    folders = [find(name) for name in names]
    at = [0, 0]
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    try:
        with bar(*columns) as progress:
            task = progress.add_task("")

            def step(done: int, total: int, text: str) -> None:
                at[:] = done, total
                progress.update(task, completed=done, total=total, description=escape(text))

            result = evaluate(folders, songs, step, fresh=fresh)
    except KeyboardInterrupt:
        say(f"Stopped with {at[0]} of {at[1]} files measured; the same command goes on from there")
        raise
    print_report(result, tracks)
    if target is not None:
        write_json(target, result.to_dict())
    if card:
        from rtae.evaluation_card import write_cards

        for path in write_cards(result, folders):
            say(f"Wrote {path}")
    if picture is not None:
        from rtae.evaluation_picture import draw

        with bar(TextColumn("Drawing")) as progress:
            progress.add_task("")
            draw(result, songs, picture)
        say(f"Wrote {picture}")
    for name, reason in result.skipped.items():
        say(f"Not measured: {name}: {reason}")
    if result.skipped:
        raise AudioFileError(f"{len(result.skipped)} of {len(result.skipped) + len(result.scores)} files were left out")


def print_report(result: Evaluation, tracks: bool) -> None:
    """The means, the octaves, the facts; with `tracks`, one table a system before them."""
    names = [system.name for system in result.systems]
    if tracks:
        for name in names:
            show.console.print(figures_table(name, {t: row[name] for t, row in result.scores.items()}))
    means = {name: result.mean(name) for name in names}
    count = len(result.scores)
    show.console.print(figures_table(f"Mean over {count} track{'s' if count > 1 else ''}", means))
    for name in names:
        for metric, missing in result.undefined(name).items():
            if missing < count and metric in COLUMNS:
                label = METRICS[metric].label if metric in METRICS else metric
                say(f"{label} of {name} is undefined for {missing} of {count} tracks, which its mean leaves out")
    show.console.print(octave_table(means))
    show.console.print(facts_table(result))
    for sentence in result.missing:
        say(f"Missing: {sentence}")


def new_table(title: str, first: str, *columns: str) -> Table:
    """Names on the left, numbers on the right."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def number(value: Any, digits: int) -> str:
    """With so many digits, a dash where there is none."""
    # 0.0 is added, as there is no use in "-0.0".
    return f"{round(value, digits) + 0.0:.{digits}f}" if isinstance(value, int | float) else "-"


def figures_table(title: str, rows: dict[str, Figures]) -> Table:
    """One row for each name, and those columns that any row has."""
    shown = [metric for metric in COLUMNS if any(metric in row for row in rows.values())]
    table = new_table(escape(title), "", *(COLUMNS[metric][0] for metric in shown))
    for name, row in rows.items():
        table.add_row(escape(name), *(number(row.get(metric), COLUMNS[metric][1]) for metric in shown))
    return table


def octave_table(means: dict[str, Figures]) -> Table:
    """Energy of the output against the input."""
    bands = dict.fromkeys(band for row in means.values() for band in row.get("octaves") or {})
    columns = (band.replace("-", "-\n") for band in bands)
    table = new_table("Energy of the output against the input, dB per octave (Hz)", "", *columns)
    for name, row in means.items():
        if row.get("octaves"):
            table.add_row(escape(name), *(number(row["octaves"].get(band), 1) for band in bands))
    return table


def facts_table(result: Evaluation) -> Table:
    """What is known of each model and baseline as such."""
    table = new_table(
        "Models and baselines: size, stream against whole file, cost on one thread",
        "",
        "values\nper s",
        "linear code's\nedge, Hz",
        "stream\n= whole",
        "x real time\n10 ms hop",
        "x real time\n2048 hop",
    )
    for name, facts in result.facts.items():
        if facts["kind"] == "input":
            continue
        difference = facts.get("streamed_difference")
        same = "-" if difference is None else f"{'yes' if difference <= STREAM_LIMIT else 'NO'}, {difference:.0e}"
        costs = [number(cost["real_time_factor"], 0) for cost in facts.get("cost", ())] or ["-", "-"]
        table.add_row(escape(name), number(facts["values_per_second"], 0), number(facts["edge_hz"], 0), same, *costs)
    return table
