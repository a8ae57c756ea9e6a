"""The commands that measure: what models and the engine cost, and how well a model copies music."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rtae.cli_options import Json, require_extra


def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all of them if none is named.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Count dropouts on the sound device instead, beside a slow window and a hog.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="With --live: for each block [default: 10]; with --window [default: 1]."),
    ] = None,
    blocks: Annotated[
        str | None,
        typer.Option(help="With --live: samples per device callback, in turns [default: 256,512]."),
    ] = None,
    soak: Annotated[
        float | None,
        typer.Option("--soak", min=0.01, help="Watch the memory for so many minutes instead, all knobs turning."),
    ] = None,
    window: Annotated[
        bool, typer.Option("--window", help="Measure the window instead: its start, and its work while it plays.")
    ] = False,
    json: Json = None,
) -> None:
    """Measure what each model and the engine cost on this machine, or how the live sound holds up. Ctrl-C sums up."""
    from rtae.show_bench import bench_table, live_bench_table, soak_table, window_table

    if minutes is not None and not (live or window):
        raise typer.BadParameter("it goes with --live or --window", param_hint="--minutes")
    if blocks is not None and not live:
        raise typer.BadParameter("it goes with --live", param_hint="--blocks")
    if window:
        if live or soak is not None or names:
            raise typer.BadParameter("it goes with nothing but --minutes and --json", param_hint="--window")
        window_table(minutes or 1, json)
    elif soak is not None:
        if live or len(names or []) > 1:
            raise typer.BadParameter("it goes with one model, and not with --live", param_hint="--soak")
        soak_table((names or ["small"])[0], soak, json)
    elif live:
        live_bench_table(names or [], minutes or 10, block_sizes(blocks or "256,512"), json)
    else:
        bench_table(names or [], json)


def block_sizes(text: str) -> list[int]:
    """Numbers with commas between them."""
    sizes = [int(word) if word.strip().isdecimal() else 0 for word in text.split(",")]
    if not all(16 <= size <= 8192 for size in sizes):
        raise typer.BadParameter(f"{text!r}; give numbers from 16 to 8192, like 256,512", param_hint="--blocks")
    return sizes


def evaluate(
    names: Annotated[list[str], typer.Argument(help="Models.")],
    on: Annotated[Path, typer.Option(help="Folder of songs to measure on.")],
    json: Json = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the figures, and three tracks, to this .png.")] = None,
    tracks: Annotated[bool, typer.Option("--tracks", help="Also print the figures of every track.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured before.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Also write the figures into each model's CARD.md.")] = False,
) -> None:
    """Measure models on songs, beside the best linear code of their size. Ctrl-C stops; the same command goes on."""
    if picture is not None:
        require_extra("analysis", "matplotlib")
    from rtae.evaluation_report import report

    report(names, on, json, picture, tracks, fresh, card)


COMMANDS: dict[str, Callable[..., None]] = {"bench": bench, "evaluate": evaluate}
