"""The command line. Every import of a library is inside of the command that needs it, so that help is instant."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtae import __version__
from rtae.cli_research import COMMANDS as RESEARCH
from rtae.errors import MissingExtraError, RtaeError
from rtae.params import PARAMETERS, Snapshot

if TYPE_CHECKING:
    from rtae.engine import Engine
    from rtae.setup import Setup

ABOUT = "Play music through a neural autoencoder, and bend its latent space while it sounds."
COMMANDS: dict[str, Callable[..., None]] = {}  # by name, in the order in which help lists them
SOURCE = "An audio file (wav, flac, ogg, mp3, aiff, ...), or 'demo' for the demo track."

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


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command of the program, by the function's name. If it takes `values`, see `with_parameters`."""
    COMMANDS[function.__name__] = function
    return function


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


def is_typed(context: typer.Context, option: str) -> bool:
    """Whether an option was given, and is not at its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


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


def find_source(name: Path) -> Path:
    """The file, or the demo track."""
    from rtae.demo import DEMO_PATH

    return DEMO_PATH if str(name) == "demo" and not name.exists() else name


def is_dream(song: Path) -> bool:
    """Whether the model is to make the music up."""
    from rtae.setup import DREAM

    return str(song) == DREAM and not song.exists()


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
) -> Setup:
    """What the audio process is to do, but for the sound itself."""
    from rtae.models import find
    from rtae.setup import Setup

    return Setup(
        model=str(find(model).resolve()),
        second=str(find_source(Path(second)).resolve()) if second else "",
        output=device,
        input=source,
        mode=mode,
        block=block,
        hop=hop,
        loop=(0.0, 0.0) if loop else None,
        guard=guard,
    )


@command
def play(
    songs: Annotated[list[Path] | None, typer.Argument(help=SOURCE + " 'dream': made up.")] = None,
    model: Model = "small",
    second: Second = None,
    device: Device = None,
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

    found = [song if is_dream(song) else find_source(song).resolve() for song in songs or [Path("demo")]]
    setup = make_setup(model, second, device, None, mode, block, hop, loop)
    try:
        play_songs(setup, found, values, record, dry)
    except DeviceError as error:
        if str(error) not in (NO_CARD, NO_LIBRARY):
            raise
        raise DeviceError(
            f"{error}. Without a sound card, write what you would hear to a file: rtae render "
            f"{'demo' if not songs else songs[0]} out.wav --model {model}"
        ) from None


@command
def live(
    model: Model = "small",
    second: Second = None,
    device: Device = None,
    source: Annotated[str | None, typer.Option("--input", help="Input device: its number or part of its name.")] = None,
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

    setup = make_setup(model, second, device, source, mode, block, hop, guard=not no_guard)
    play_live(setup, values, record, dry)


@command
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


@command
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

    from rich.progress import BarColumn, TextColumn

    from rtae.errors import AudioFileError
    from rtae.performance import load
    from rtae.render import render_performance
    from rtae.setup import MICROPHONE
    from rtae.show import bar, clock, say

    played = load(file)
    for note in played.notes:
        say(f"Note: {note}")
    played = replace(played.holding(held), **{key: value for key, value in chosen.items() if value is not None})
    if song is None and played.song == MICROPHONE:
        raise AudioFileError(f"{file} was played on a microphone; give a recording of it before {target}")
    found = find_source(song or Path(played.song))
    second = find_source(Path(played.second)) if played.second else None
    with bar(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")) as progress:
        engine = make_engine(played.model, played.hop, False, played.quality)
        task = progress.add_task(f"Replaying through {engine.model.spec.name}")
        done = render_performance(
            played,
            found,
            target,
            engine,
            lambda done, total: progress.update(task, completed=done, total=total),
            second=second,
        )
    say(f"Wrote {target}: {clock(done.samples / done.rate)}, {len(played.events)} changes of the knobs, from {found}")
    if done.truncated:
        say(f"Note: {found} ends earlier than it says, or is damaged; silence follows")
    if done.repaired:
        say(f"Note: {done.repaired} samples were not finite and were silenced")
    if done.silent:
        say("Note: the result is silent")


@command
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


@command
def models() -> None:
    """List the models: those that are shipped, and your own."""
    from rtae.show import model_table

    model_table()


@command
def devices() -> None:
    """List the sound devices."""
    from rtae.show import device_table

    device_table()


@command
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
    from rtae.show import bench_table, live_bench_table, soak_table, window_table

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


@command
def train(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder of songs, nested, in any format and rate.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, metrics.csv, previews.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Preset: large, small, tiny or vae.")] = "small",
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Train for so long [default: 60].")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Train for so many steps.")] = None,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Folder to measure on, instead of a tenth of the songs.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly.")] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start from another run's folder, or a model that holds its checkpoint."),
    ] = None,
    shortcut_frames: Annotated[
        int, typer.Option(min=0, max=16, help="Length of the linear shortcut, in latent frames; 0 leaves it out.")
    ] = 3,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="Pad on both sides: sees ahead, adds latency.")
    ] = False,
    loss: Annotated[
        str,
        typer.Option(
            help="spectral, mse, or paper-vae (of --model vae); these two with --shortcut-frames 0 are the paper's."
        ),
    ] = "spectral",
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 4,
    crop: Annotated[int, typer.Option(min=4096, help="Samples per example.")] = 8192,
    waveform_weight: Annotated[float, typer.Option(help="Weight of the waveform term beside the spectral one.")] = 0.5,
    energy_weight: Annotated[float, typer.Option(help="Weight of the term that keeps the energy of each band.")] = 0.0,
    kl_weight: Annotated[float, typer.Option(help="With --model vae: weight of the KL divergence, once up.")] = 0.01,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two validations.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and examples.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Processor cores to use [default: all].")] = None,
) -> None:
    """Train a model on a folder of songs. Ctrl-C stops and keeps a checkpoint that --resume continues."""
    require_extra("train", "torch", "lightning", "auraloss", "torchmetrics", "safetensors")
    from dataclasses import replace

    from rtae.nets.config import preset
    from rtae.show import training
    from rtae.training.checkpoint import Checkpoint
    from rtae.training.config import TrainConfig

    config = TrainConfig(
        net=replace(preset(model), shortcut_frames=shortcut_frames, causal=not symmetric),
        steps=steps,
        minutes=60 if minutes is None and steps is None else minutes,
        crop=crop,
        batch=batch,
        loss=loss,
        waveform_weight=waveform_weight,
        energy_weight=energy_weight,
        kl_weight=kl_weight,
        learning_rate=learning_rate,
        validate_every=validate_every,
        seed=seed,
    )
    if resume:
        typed = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}
        config = Checkpoint.load(out).config.continued(config, typed)
    training(config, folder, out, held_out, resume, threads, start)


@command
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    name: Annotated[str, typer.Option(help="What the model shall be called.")],
    into: Annotated[Path | None, typer.Option(help="Folder of models [default: your own].")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of songs, if it has moved.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the model, for its card.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
) -> None:
    """Export a trained model to ONNX, if it verifies."""
    require_extra("train", "torch", "lightning", "auraloss", "torchmetrics", "onnx", "safetensors")
    from rtae.show import exporting

    exporting(run, name, into, data, licence, overwrite)


@command
def evaluate(
    names: Annotated[list[str], typer.Argument(help="Models.")],
    on: Annotated[Path, typer.Option(help="Folder of songs to measure on.")],
    json: Json = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the figures, and three tracks, to this .png.")] = None,
    tracks: Annotated[bool, typer.Option("--tracks", help="Also print the figures of every track.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured before.")] = False,
) -> None:
    """Measure models on songs, beside the best linear code of their size. Ctrl-C stops; the same command goes on."""
    if picture is not None:
        require_extra("analysis", "matplotlib")
    from rtae.evaluation_report import report

    report(names, on, json, picture, tracks, fresh)


@command
def prior(
    folder: Annotated[Path, typer.Argument(help="A folder of songs, nested, in any format and rate.")],
    out: Annotated[Path, typer.Option(help="Folder of the training: its checkpoint.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model whose latents are learned.")] = "tiny",
    minutes: Annotated[float, typer.Option(min=0.01, help="Train for so long.")] = 15.0,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Folder to measure on, instead of a tenth of the songs.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    into: Annotated[Path | None, typer.Option(help="Folder to write it to [default: the model's own].")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and examples.")] = 0,
) -> None:
    """Train what a model dreams with: how its latents move. Ctrl-C stops and keeps what was learned."""
    require_extra("train", "torch", "lightning", "auraloss", "torchmetrics", "onnx", "safetensors")
    from rtae.dreaming import training_prior
    from rtae.training.prior import PriorConfig

    training_prior(folder, model, out, PriorConfig(minutes=minutes, seed=seed), held_out, resume, into)


@command
def sample(
    target: Annotated[Path, typer.Argument(help="A .wav or .flac file.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model that has a prior: its name or folder.")] = "vae",
    seconds: Annotated[float, typer.Option(help="Length.")] = 20.0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0: no chance at all; 1: as in music.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, max=65_535, help="The same seed makes the same music.")] = 0,
    song: Annotated[Path | None, typer.Option("--continue", help="A song to go on from the end of.")] = None,
    prior: Annotated[str, typer.Option(help="network, gaussian, or independent, the paper's.")] = "network",
) -> None:
    """Write music that a model makes up."""
    from rtae.dreaming import sampling

    sampling(target, model, prior, seconds, temperature, seed, find_source(song) if song else None)


@command
def priors(
    model: Annotated[str, typer.Argument(help="A model that has a prior, by its name or folder.")],
    on: Annotated[Path, typer.Option(help="Folder of music that neither has met.")],
    clips: Annotated[int, typer.Option(min=4, max=1000, help="Clips of 5 s of each kind.")] = 60,
    seed: Annotated[int, typer.Option(min=0, max=65_535, help="Seed of the dreams.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of the dreams.")] = 0.95,
    json: Json = None,
) -> None:
    """Measure how far what a model makes up is from music."""
    from rtae.dreaming import prior_table

    prior_table(model, on, clips, seed, temperature, json)


def require_extra(extra: str, *modules: str) -> None:
    """Raise MissingExtraError unless all of an extra's modules are installed."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"This needs {', '.join(missing)}. Install the extra '{extra}'; in a checkout: pip install '.[{extra}]'"
        )


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


@command
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
    from rtae.gui.begin import begin

    sys.exit(begin(find_source(song) if song is not None else None, model))


COMMANDS.update(RESEARCH)

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
