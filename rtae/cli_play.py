"""The commands that make sound, and those that list what there is to make it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtae.cli_options import (
    MADE,
    SOURCE,
    Block,
    Device,
    Dry,
    Follow,
    FullWindow,
    Hop,
    LiveHop,
    Mode,
    Model,
    Record,
    Second,
    find_source,
    is_typed,
    source_name,
)
from rtae.params import Snapshot

if TYPE_CHECKING:
    from rtae.engine import Engine
    from rtae.setup import Setup


def make_engine(model: str, hop: int, full_window: bool, quality: str = "HQ") -> Engine:
    """An engine with a model by name or path; quality: of the resampler."""
    from rtae.engine import Engine
    from rtae.models import find
    from rtae.runtime import OnnxModel

    return Engine(OnnxModel.load(find(model)), hop=hop, full_window=full_window, quality=quality)


def make_setup(
    model: str,
    second: str | None,
    device: str | None,
    source: str | None,
    mode: str,
    block: int,
    hop: int,
    loop: bool = False,
    guard: bool = True,
    follow_default: bool = False,
) -> Setup:
    """What the audio process is to do, but for the sound itself."""
    from rtae.models import find
    from rtae.setup import Setup

    return Setup(
        model=str(find(model).resolve()),
        second=source_name(Path(second)) if second else "",
        output=device,
        input=source,
        mode=mode,
        block=block,
        hop=hop,
        loop=(0.0, 0.0) if loop else None,
        guard=guard,
        follow_default=follow_default,
    )


def play(
    songs: Annotated[list[Path] | None, typer.Argument(help=SOURCE + MADE)] = None,
    model: Model = "small",
    second: Second = None,
    device: Device = None,
    follow_default: Follow = False,
    mode: Mode = "relaxed",
    block: Block = 0,
    hop: Hop = 2048,
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False,
    record: Record = None,
    dry: Dry = False,
    *,
    values: Snapshot,
) -> None:
    """Play songs through a model on the speakers. Ctrl-C stops."""
    from rtae.audio.device import NO_CARD, NO_LIBRARY
    from rtae.errors import DeviceError
    from rtae.live import play_songs
    from rtae.setup import DREAM, GENERATORS

    found = [source_name(song) for song in songs or [Path("demo")]]
    setup = make_setup(model, second, device, None, mode, block, hop, loop, follow_default=follow_default)
    try:
        play_songs(setup, found, values, record, dry)
    except DeviceError as error:
        if str(error) not in (NO_CARD, NO_LIBRARY):
            raise
        song = songs[0] if songs and found[0] not in GENERATORS else "demo"
        instead = "sample" if found[0] == DREAM else f"render {song}"
        raise DeviceError(
            f"{error}. Without a sound card, write what you would hear to a file: "
            f"rtae {instead} out.wav --model {model}"
        ) from None


def live(
    model: Model = "small",
    second: Second = None,
    device: Device = None,
    source: Annotated[str | None, typer.Option("--input", help="Input device: its number or part of its name.")] = None,
    follow_default: Follow = False,
    mode: Mode = "live",
    block: Block = 0,
    hop: LiveHop = 0,
    no_guard: Annotated[bool, typer.Option("--no-guard", help="Do not turn feedback down by itself.")] = False,
    record: Record = None,
    dry: Dry = False,
    *,
    values: Snapshot,
) -> None:
    """Play the microphone through a model, live. Use headphones. Ctrl-C stops."""
    from rtae.live import play_live

    guard = not no_guard
    setup = make_setup(model, second, device, source, mode, block, hop, guard=guard, follow_default=follow_default)
    play_live(setup, values, record, dry)


def latency(
    model: Model = "small",
    device: Device = None,
    source: Annotated[str | None, typer.Option("--input", help="Input device: its number or part of its name.")] = None,
    mode: Mode = "live",
    block: Block = 0,
    hop: LiveHop = 0,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also play a chirp and find it at the input: needs a cable, or a monitor.")
    ] = False,
) -> None:
    """Show the latency in its parts, for songs and for the microphone, on this machine's devices."""
    from rtae.live import latency_report

    latency_report(make_setup(model, None, device, source, mode, block, hop), measure)


def render(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help=SOURCE)],
    target: Annotated[
        Path | None, typer.Argument(help="A .wav or .flac file; it gets the source's rate and channels.")
    ] = None,
    model: Model = "small",
    second: Second = None,
    hop: Hop = 2048,
    full_window: FullWindow = False,
    performance: Annotated[
        Path | None,
        typer.Option(
            "--performance", help="Replay what was played, exactly; SOURCE may be left out. Options are held."
        ),
    ] = None,
    *,
    preset: str | None,
    values: Snapshot,
    held: dict[str, float],
) -> None:
    """Write a file as it sounds through a model."""
    if performance is not None:
        if preset is not None or full_window:
            raise typer.BadParameter("it goes with neither --preset nor --full-window", param_hint="--performance")
        song, target = (None, source) if target is None else (source, target)
        chosen = {"model": model, "second": second, "hop": hop}
        render_played(performance, song, target, held, {k: v for k, v in chosen.items() if is_typed(context, k)})
        return
    if target is None:
        raise typer.BadParameter("give the file to write after the song", param_hint="TARGET")
    from rtae.audio.output import check_output
    from rtae.show import rendering

    found = find_source(source)
    check_output(found, target)
    rendering(
        found, target, make_engine(model, hop, full_window), values, find_source(Path(second)) if second else None
    )


def render_played(file: Path, song: Path | None, target: Path, held: dict[str, float], chosen: dict[str, Any]) -> None:
    """`rtae render --performance`. chosen: options that take the place of what the performance says."""
    from dataclasses import replace

    from rtae.errors import AudioFileError
    from rtae.performance import load
    from rtae.render import render_performance
    from rtae.setup import MICROPHONE
    from rtae.show import clock, say, say_notes, shares

    played = load(file)
    for note in played.notes:
        say(f"Note: {note}")
    played = replace(played.holding(held), **{key: value for key, value in chosen.items() if value is not None})
    if song is None and played.song == MICROPHONE:
        raise AudioFileError(f"{file} was played on a microphone; give a recording of it before {target}")
    found = find_source(song or Path(played.song))
    second = find_source(Path(played.second)) if played.second else None
    engine = make_engine(played.model, played.hop, False, played.quality)
    with shares(f"Replaying through {engine.model.spec.name}") as progress:
        done = render_performance(played, found, target, engine, progress, second=second)
    say(f"Wrote {target}: {clock(done.samples / done.rate)}, {len(played.events)} changes of the knobs, from {found}")
    say_notes(done, found)


def presets() -> None:
    """List the presets: those that are shipped, and your own."""
    from rich.markup import escape
    from rich.table import Table

    from rtae.presets import listing
    from rtae.show import console, say

    entries, problems = listing()
    table = Table("preset", "what it does", "from")
    for entry in entries:
        preset = entry.preset
        table.add_row(escape(preset.name), escape(preset.description), "yours" if entry.own else "shipped")
    console.print(table)
    for problem in problems:
        say(f"Not usable: {problem}")


def models() -> None:
    """List the models: those that are shipped, and your own."""
    from rtae.show import model_table

    model_table()


def devices() -> None:
    """List the sound devices."""
    from rtae.show import device_table

    device_table()


COMMANDS: dict[str, Callable[..., None]] = {
    "play": play,
    "live": live,
    "latency": latency,
    "render": render,
    "presets": presets,
    "models": models,
    "devices": devices,
}
