"""What the commands print and write that train several networks and compare them: decoders, and losses of a VAE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from rtae import show
from rtae.errors import RtaeError
from rtae.show import bar, check_json, say, write_json
from rtae.show_research import prepare_folder, write_sound
from rtae.show_training import survey_folder

if TYPE_CHECKING:
    from rtae.collapse import Courses
    from rtae.decoders import Comparison
    from rtae.training.config import TrainConfig
    from rtae.training.data import Survey
    from rtae.training.run import Report

Found = TypeVar("Found", "Comparison", "Courses")
STOPPED = "Stopped; what was trained is kept in {}, and the same command goes on"


def read_songs(folder: Path, configs: dict[str, TrainConfig], out: Path, threads: int | None) -> Survey:
    """The songs to train on, and a folder for the runs. Raises TrainingError, AudioFileError."""
    import torch

    from rtae.training.data import split, survey

    if threads is not None:
        torch.set_num_threads(threads)
    config = next(iter(configs.values()))
    with bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as progress:
        task = progress.add_task("Reading")
        material = survey(
            folder,
            config.net.sample_rate,
            config.crop,
            lambda done, total, _: progress.update(task, completed=done, total=total),
        )
    split(material.tracks, folder)  # one song is not enough, which is to be said before the training
    prepare_folder(out)
    return material


@contextmanager
def training_bar() -> Iterator[Callable[[str, Report], None]]:
    """A bar, and what moves it."""
    with bar(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")) as progress:
        task = progress.add_task("", total=1)

        def tell(name: str, state: Report) -> None:
            progress.update(task, description=f"{name}: loss {state.loss:.3g}", completed=state.progress)

        yield tell


def trained(
    compare: Callable[[dict[str, TrainConfig], Survey, Path, Callable[[str, Report], None]], Found | None],
    configs: dict[str, TrainConfig],
    folder: Path,
    out: Path,
    threads: int | None,
) -> Found:
    """What a comparison found, its original written as a sound. Raises RtaeError where it was interrupted."""
    material = read_songs(folder, configs, out, threads)
    with training_bar() as tell:
        found = compare(configs, material, out, tell)
    if found is None:
        raise RtaeError(STOPPED.format(out))
    write_sound(out / "original.wav", found.original[0], found.rate)
    return found


def comparing_decoders(
    folder: Path,
    out: Path,
    minutes: float | None,
    steps: int | None,
    model: str,
    loss: str,
    seed: int,
    threads: int | None,
) -> None:
    """`rtae compare-decoders`."""
    from rtae import plots
    from rtae.decoders import compare, configurations

    comparison = trained(compare, configurations(model, minutes, steps, loss, seed), folder, out, threads)
    table = Table("decoder", "weights", "steps", "minutes", "SI-SDR", "STFT distance", title=f"{model}, loss {loss}")
    for result in comparison.results:
        write_sound(out / f"{result.name}.wav", result.output[0], comparison.rate)
        table.add_row(
            result.name,
            str(result.weights),
            str(result.steps),
            f"{result.minutes:.1f}",
            f"{result.si_sdr:.2f} dB",
            f"{result.mr_stft:.3f}",
        )
    outputs = [(result.name, result.output[0]) for result in comparison.results]
    plots.save(plots.decoders(comparison.original[0], outputs, comparison.rate, comparison.song), out / "decoders.png")
    show.console.print(table)
    rows = [{key: value for key, value in vars(result).items() if key != "output"} for result in comparison.results]
    write_json(out / "decoders.json", {"song": comparison.song, "decoders": rows})
    say(f"Wrote {len(rows) + 1} sounds and a picture to {out}")


def comparing_vaes(folder: Path, out: Path, steps: int, seed: int, threads: int | None) -> None:
    """`rtae compare-vae`."""
    from rtae import plots
    from rtae.collapse import TITLES, compare, configurations, figures, words

    found = trained(compare, configurations(steps, seed), folder, out, threads)
    table = Table("training", "loss", "nats per frame", "dimensions that move", "SI-SDR", "STFT distance")
    for course in found.courses:
        write_sound(out / f"{course.name}.wav", course.output[0], found.rate)
        table.add_row(
            escape(TITLES[course.name]),
            course.fall,
            f"{course.kl[-1]:.1f}",
            f"{course.active[-1]:.0f} of {course.dimensions.shape[1]}",
            f"{course.si_sdr[-1]:.2f} dB",
            f"{course.mr_stft[-1]:.3f}",
        )
    sounds = {"the song": found.original[0], **{TITLES[one.name]: one.output[0] for one in found.courses}}
    plots.save(plots.courses(found.courses, TITLES), out / "courses.png")
    plots.save(plots.waves(sounds, found.rate, f"{found.song}, held out"), out / "sounds.png")
    show.console.print(table)
    for course in found.courses:
        say(words(course))
    write_json(out / "vae.json", {"song": found.song, "courses": [figures(course) for course in found.courses]})
    say(f"Wrote {len(found.courses) + 1} sounds and 2 pictures to {out}")


def showing_carried(model: str, on: Path, target: Path | None) -> None:
    """`rtae carried`."""
    from rtae.carried import carried, load_variational
    from rtae.models import find

    check_json(target)
    net = load_variational(Path(model) if Path(model).exists() else find(model))
    songs = survey_folder(on, net.config.sample_rate, net.config.stride)
    found = carried(net, songs.tracks)
    table = Table("dimension", "nats per frame", "deviation", title=model)
    for number, (nats, deviation) in enumerate(zip(found.nats, found.deviations, strict=True), 1):
        table.add_row(str(number), f"{nats:.2f}", f"{deviation:.2f}")
    show.console.print(table)
    say(found.words)
    if target is not None:
        write_json(target, asdict(found))
