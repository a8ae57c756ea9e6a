"""The commands for research: what latents look like, and experiments on them. What they do is in `show_research`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rtae.cli_options import Model, require_extra

Out = Annotated[Path, typer.Option("--out", help="Folder for what is written; it is made if need be.")]
Start = Annotated[float, typer.Option(min=0, help="Begin so many seconds into the songs.")]
Seconds = Annotated[
    float | None, typer.Option(min=0.1, max=600, help="Take so much of them [default: all, up to 600].")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")]


def ready(*modules: str, train: bool = False) -> None:
    """Raise MissingExtraError unless what the command needs is installed."""
    require_extra("analysis", "matplotlib", *modules)
    if train:
        require_extra("train", "torch", "lightning", "auraloss", "safetensors")


def analyze(
    folder: Annotated[Path, typer.Argument(help="A folder of songs, nested, or one song.")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model; repeat it for more [default: large, small and tiny]."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
    out: Out = Path("analysis"),
    clips: Annotated[int | None, typer.Option(min=2, help="Take so many clips at most, evenly [default: all].")] = None,
    most_clusters: Annotated[int, typer.Option(min=2, max=50, help="Try up to so many clusters.")] = 10,
    sounds: Annotated[
        int, typer.Option(min=0, max=100, help="Also write so many clips of each cluster, those nearest to its centre.")
    ] = 0,
    format: Annotated[str, typer.Option("--format", help="Of the pictures: png or svg.")] = "png",
    seed: Seed = 0,
) -> None:
    """Look at latents of 5 s clips: components, clusters, elbow, silhouette. Ctrl-C stops; the same again goes on."""
    if format not in ("png", "svg"):
        raise typer.BadParameter(f"{format!r}; it is png or svg", param_hint="--format")
    ready("sklearn")
    from rtae.show_research import analysing

    names = [*(model or []), *(more or [])] or ["large", "small", "tiny"]
    analysing(folder, names, out, clips, most_clusters, sounds, format, seed)


def interpolate(
    first: Annotated[Path, typer.Argument(metavar="A", help="The song to begin with.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The song to end with.")],
    steps: Annotated[int, typer.Option(min=2, max=101, help="Steps, with both ends.")] = 5,
    out: Out = Path("interpolation"),
    model: Model = "small",
    start: Start = 0,
    seconds: Seconds = None,
) -> None:
    """Walk from one song to another in the latents, in a straight line and on a circle: sounds and a picture."""
    ready()
    from rtae.show_research import interpolating

    interpolating(first, second, steps, out, model, start, seconds)


def perturb(
    song: Annotated[Path, typer.Argument(help="An audio file, or 'demo' for the demo track.")],
    out: Annotated[Path, typer.Option("--out", help="A .wav or .flac file.")],
    dimensions: Annotated[
        str, typer.Option(help="Latent dimensions, from 0, like 0-3,7, or all [default: the last half].")
    ] = "",
    amount: Annotated[float, typer.Option(min=0, max=100, help="Largest value, in standard deviations.")] = 0.75,
    add: Annotated[bool, typer.Option("--add", help="Add the values, in place of replacing what is there.")] = False,
    model: Model = "small",
    start: Start = 0,
    seconds: Seconds = None,
    seed: Seed = 0,
) -> None:
    """Put random values into some latent dimensions of a song."""
    from rtae.show_research import perturbing

    perturbing(song, out, dimensions, amount, add, model, start, seconds, seed)


def compare_decoders(
    folder: Annotated[Path, typer.Argument(help="A folder of two songs or more to train on.")],
    out: Out = Path("decoders"),
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Train each for so long [default: 3].")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Train each for so many steps.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Preset: large, small or tiny.")] = "small",
    loss: Annotated[str, typer.Option(help="mse, the paper's, or spectral.")] = "mse",
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Processor cores to use [default: all].")] = None,
) -> None:
    """Train a network with four decoders: max unpooling, unpooling, straight lines, transposed convolutions."""
    ready(train=True)
    from rtae.show_comparisons import comparing_decoders

    comparing_decoders(
        folder, out, 3 if minutes is None and steps is None else minutes, steps, model, loss, seed, threads
    )


def compare_vae(
    folder: Annotated[Path, typer.Argument(help="A folder of two songs or more to train on.")],
    out: Out = Path("vaes"),
    steps: Annotated[int, typer.Option(min=2, max=10_000_000, help="Train each for so many steps.")] = 1200,
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Processor cores to use [default: all].")] = None,
) -> None:
    """Train the paper's variational autoencoder, which collapses, beside one that does not: figures and sounds."""
    ready(train=True)
    from rtae.show_comparisons import comparing_vaes

    comparing_vaes(folder, out, steps, seed, threads)


def carried(
    model: Annotated[str, typer.Argument(help="A variational model that holds its checkpoint, or a run's folder.")],
    on: Annotated[Path, typer.Option(help="Folder of songs to measure on.")],
    json: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
) -> None:
    """Measure what each latent dimension of a variational model carries, and whether it has collapsed."""
    require_extra("train", "torch", "lightning", "auraloss", "safetensors")
    from rtae.show_comparisons import showing_carried

    showing_carried(model, on, json)


def report(
    songs: Annotated[list[Path], typer.Argument(help="Songs, or folders of songs.")],
    out: Out = Path("report"),
    seconds: Annotated[float, typer.Option(min=1, max=30, help="Length of the examples to hear.")] = 5,
    clips: Annotated[int, typer.Option(min=2, help="Take so many clips at most for the clusters.")] = 500,
    seed: Seed = 0,
) -> None:
    """Redo the paper's experiments on your songs, as one web page with pictures, figures and sounds."""
    ready("sklearn")
    from rtae.show_research import reporting

    reporting(songs, out, seconds, clips, seed)


COMMANDS: dict[str, Callable[..., None]] = {
    "analyze": analyze,
    "interpolate": interpolate,
    "perturb": perturb,
    "compare-decoders": compare_decoders,
    "compare-vae": compare_vae,
    "carried": carried,
    "report": report,
}
