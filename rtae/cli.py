"""The command line. Every import of a library is inside of the command that needs it, so that help is instant."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rtae import __version__
from rtae.cli_measure import COMMANDS as MEASURING
from rtae.cli_options import Preset, find_source, is_typed
from rtae.cli_play import COMMANDS as PLAYING
from rtae.cli_research import COMMANDS as RESEARCH
from rtae.cli_train import COMMANDS as TRAINING
from rtae.errors import RtaeError
from rtae.params import PARAMETERS, Snapshot

ABOUT = "Play music through a neural autoencoder, and bend its latent space while it sounds."
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def build(wanted: str | None = None) -> typer.Typer:
    """The command line: all of it, or of all commands but one only what help lists of them.

    That one is `wanted`; "" is none. To make the options of all takes longer than all else that help does.
    """
    app = typer.Typer(
        name="rtae",
        help=ABOUT,
        rich_markup_mode=None,  # the rich kind of help doubles the time that help takes
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback(invoke_without_command=True)(root)
    for name, function in COMMANDS.items():
        if wanted not in (None, name):
            app.command(name, help=inspect.getdoc(function))(lambda: None)
        elif "values" in inspect.signature(function).parameters:
            app.command(name)(with_parameters(function))
        else:
            app.command(name)(function)
    return app


def with_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each parameter of the engine, and --preset; it gets `values`, one Snapshot.

    If it has an argument `context`, it gets that too; `preset`, the preset's name; `held`, the values that were typed.
    """
    signature = inspect.signature(command, eval_str=True).parameters
    own = [p for p in signature.values() if p.name not in ("context", "preset", "values", "held")]
    options = [
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Preset),
    ]
    for parameter in PARAMETERS:
        kind = int if parameter.curve in ("whole", "switch") else float
        unit = f" In {parameter.unit}." if parameter.unit else ""
        option = typer.Option(
            f"--{parameter.id.replace('_', '-')}",
            min=kind(parameter.low),
            max=kind(parameter.high),
            help=parameter.help + unit,
        )
        options.append(
            inspect.Parameter(
                parameter.id,
                inspect.Parameter.KEYWORD_ONLY,
                default=kind(parameter.default),
                annotation=Annotated[kind, option],
            )
        )

    def run(context: typer.Context, preset: str | None, **given: Any) -> None:
        options = {parameter.id: given.pop(parameter.id) for parameter in PARAMETERS}
        typed = {id: value for id, value in options.items() if is_typed(context, id)}
        given |= {"context": context, "preset": preset, "held": typed, "values": preset_values(preset).replace(**typed)}
        command(**{name: value for name, value in given.items() if name in signature})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + options
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in keyword}
    return run


def preset_values(name: str | None) -> Snapshot:
    """The values of a preset by its name or path; the defaults if there is none."""
    if name is None:
        return Snapshot()
    from rtae.presets import find
    from rtae.show import say

    preset = find(name)
    for note in preset.notes:
        say(f"Note: {note}")
    return preset.values


def version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(f"rtae {__version__}")
        raise typer.Exit


def root(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Play music through a neural autoencoder, and bend its latent space while it sounds.

    Without a command it opens the window.
    """
    if context.invoked_subcommand is None:
        open_window()


def window(
    song: Annotated[Path | None, typer.Argument(help="A song to begin with; the demo track if none is given.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name or folder of a model [default: the last one].")
    ] = None,
) -> None:
    """Open the window, which is what happens without a command too."""
    open_window(song, model)


def open_window(song: Path | None = None, model: str | None = None) -> None:
    """The window, if it can be had here."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, SCREENS)):
        # Qt would abort the process.
        raise RtaeError("There is no screen to open the window on; `rtae --help` lists what can be done without one")
    from rtae.gui.ahead import Ahead

    found = find_source(song) if song is not None else None
    ahead = Ahead()
    try:
        from rtae.gui.app import run

        code = run(found, model, ahead)
    except ImportError as error:
        raise RtaeError(
            f"The window cannot be opened: {error}. On Debian and Ubuntu install its libraries with: "
            "apt install libegl1 libxkbcommon0 libxcb-cursor0 libfontconfig1 libdbus-1-3"
        ) from None
    finally:
        ahead.close()
    sys.exit(code)


# By name, in the order in which help lists them.
COMMANDS: dict[str, Callable[..., None]] = {**PLAYING, **TRAINING, **MEASURING, **RESEARCH, "window": window}

# What typer raises for a wrong option. It has this name in no version, and its child in all.
UsageError: Any = typer.BadParameter.__base__


def one_line(error: Any) -> str:
    """A wrong option, what it may be, and where that is explained."""
    text = " ".join(error.format_message().split()).rstrip(".")
    limits = [getattr(getattr(error, "param", None), name, None) for name in ("min", "max")]
    if None not in limits:
        text += f"; allowed are {limits[0]:g} to {limits[1]:g}"
    place = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
    return f"Error: {text}{place}"


def main() -> None:
    """Run; an error of the outside world is one line and exit code 1, a wrong option one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a file name may hold what the terminal cannot show
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        code = build(wanted)(standalone_mode=False)
    except RtaeError as error:
        typer.echo(f"Error: {error}", err=True)
        code = 1
    except UsageError as error:
        typer.echo(one_line(error), err=True)
        code = error.exit_code
    except typer.Abort:
        code = 130
    if code:
        sys.exit(code)
