"""What the commands share: options that several have, and how what is typed becomes a file, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtae.errors import MissingExtraError

SOURCE = "An audio file (wav, flac, ogg, mp3, aiff, ...), or 'demo' for the demo track."
MADE = " Or without a file: 'tone', 'noise', 'silence', or 'dream', which the model makes up."

Model = Annotated[str, typer.Option("--model", "-m", help="A model's name (see 'rtae models') or its folder.")]
Hop = Annotated[int, typer.Option(min=1, max=110_250, help="Samples per model call, at the model's rate.")]
LiveHop = Annotated[
    int,
    typer.Option(
        "--hop",
        min=0,
        max=110_250,
        help="Samples per model call, at the model's rate; 0: the smallest that this machine keeps up with.",
    ),
]
FullWindow = Annotated[bool, typer.Option("--full-window", help="Compute whole windows: the slow reference.")]
Second = Annotated[str | None, typer.Option("--second", help="Source B, a song: --interpolation mixes its latents in.")]
Device = Annotated[str | None, typer.Option("--device", help="Output device: its number or part of its name.")]
Follow = Annotated[
    bool,
    typer.Option("--follow-default", help="If the chosen device goes away, go on with the system's default one."),
]
Mode = Annotated[str, typer.Option("--mode", help="live: little latency; relaxed: safe on a busy machine.")]
Block = Annotated[int, typer.Option("--block", min=0, max=8192, help="Samples per device callback; 0: by the mode.")]
Record = Annotated[Path | None, typer.Option("--record", help="Record what is heard to this .wav or .flac file.")]
Dry = Annotated[bool, typer.Option("--dry", help="Record the input, before the model, instead.")]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset", help="Start from a preset: its name (see 'rtae presets') or file. Other options go on top."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]


def is_typed(context: typer.Context, option: str) -> bool:
    """Whether an option was given, and is not at its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def find_source(name: Path) -> Path:
    """The file, or the demo track."""
    from rtae.demo import DEMO_PATH

    return DEMO_PATH if str(name) == "demo" and not name.exists() else name


def source_name(song: Path) -> str:
    """What the audio process knows a source by: a generator's name, unless a file is called so, or the file's path."""
    from rtae.setup import GENERATORS

    return str(song) if str(song) in GENERATORS and not song.exists() else str(find_source(song).resolve())


def require_extra(extra: str, *modules: str) -> None:
    """Raise MissingExtraError unless all of an extra's modules are installed."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"This needs {', '.join(missing)}. Install the extra '{extra}'; in a checkout: pip install '.[{extra}]'"
        )
