"""What the commands for research print and write: tables, progress, pictures, sounds, figures as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtae import show
from rtae.audio.output import AudioWriter, check_output, folder_problem
from rtae.cli_options import find_source
from rtae.errors import AudioFileError
from rtae.models import find
from rtae.runtime import OnnxModel
from rtae.show import bar, clock, say, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtae.analysis import Analysis
    from rtae.clips import Clip, Material

VIEW_TITLES = {"flat": "all latents of a clip, as in the paper", "pooled": "mean and deviation over time"}
MOST_LISTED = 3


def prepare_folder(out: Path) -> None:
    """Make the folder that things are written to. Raises AudioFileError."""
    problem = folder_problem(out)
    if problem:
        raise AudioFileError(f"{problem}; choose another --out")


@contextmanager
def output_folder(out: Path) -> Iterator[None]:
    """The folder is there; if it was made for this and nothing came of it, it is gone again."""
    new = not out.exists()
    prepare_folder(out)
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                out.rmdir()


def write_sound(path: Path, audio: NDArray[np.float32], rate: int) -> None:
    """Mono, turned down if it would clip."""
    peak = float(np.abs(audio).max(initial=0))
    with AudioWriter(path, rate, 1, "PCM_16") as out:
        out.write((audio / max(1.0, peak))[None].astype(np.float32))


def load_models(names: Sequence[str]) -> dict[str, OnnxModel]:
    """By name; a model that is named twice is there once."""
    return {Path(name).name: OnnxModel.load(find(name)) for name in names}


# -- rtae analyze ------------------------------------------------------------------------------------------------------
def gather_material(paths: Sequence[Path], models: dict[str, OnnxModel], most: int | None) -> Material:
    """Clips and latents, with a bar, and what was left out."""
    from rtae.clips import gather

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bar(*columns) as progress:
        task = progress.add_task("Encoding")
        material = gather(
            paths, models, most, lambda done, total, _: progress.update(task, completed=done, total=total)
        )
    for path, reason in list(material.skipped.items())[:MOST_LISTED]:
        say(f"Left out: {path}: {reason}")
    if len(material.skipped) > MOST_LISTED:
        say(f"Left out: {len(material.skipped) - MOST_LISTED} more files")
    if material.silent:
        say(f"Left out: {material.silent} silent clips")
    return material


def analysing(
    folder: Path,
    names: Sequence[str],
    out: Path,
    most: int | None,
    most_clusters: int,
    sounds: int,
    format: str,
    seed: int,
) -> None:
    """`rtae analyze`."""
    from rtae.analysis import VIEWS, check_enough
    from rtae.audio.file import find_audio

    models = load_models(names)
    paths = [find_source(folder)] if not folder.is_dir() else find_audio(folder)
    if not paths:
        raise AudioFileError(f"No audio files in {folder}; give a folder with songs in it or below it")
    with output_folder(out):
        material = gather_material(paths, models, most)
        check_enough(len(material.clips), most_clusters)
        songs = len({clip.path for clip in material.clips})
        if songs == 1:
            say("Note: all clips are of one song; the clusters are of its parts")
        content: dict[str, Any] = {"clip_seconds": 5, "clips": len(material.clips), "songs": songs, "models": {}}
        content["skipped"] = {str(path): reason for path, reason in material.skipped.items()}
        content["silent"] = material.silent
        for view in VIEWS:
            analyses = analyse_all(material, view, most_clusters, seed)
            draw(analyses, view, out, format)
            show.console.print(cluster_table(analyses, view))
            for name, analysis in analyses.items():
                content["models"].setdefault(name, {})[view] = figures(analysis, material.clips)
                if sounds:
                    write_clusters(analysis, material.clips, models[name], out / "sounds" / view / name, sounds)
        write_json(out / "analysis.json", content)
    say(f"Wrote pictures to {out}: {len(material.clips)} clips of {songs} songs; analysis.json says which are together")


def analyse_all(material: Material, view: str, most_clusters: int, seed: int) -> dict[str, Analysis]:
    """All models in one view."""
    from rtae.analysis import analyse

    analyses = {}
    with bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        for name, latents in material.latents.items():
            progress.update(task, description=f"{name}: components and clusters, {VIEW_TITLES[view]}")
            analyses[name] = analyse(latents, view, most_clusters, seed)
    return analyses


def draw(analyses: dict[str, Analysis], view: str, out: Path, format: str) -> None:
    """The four pictures of a view."""
    from rtae import plots

    title = VIEW_TITLES[view]
    for kind in (plots.scatter, plots.elbows, plots.silhouettes, plots.clusters):
        plots.save(kind(analyses, title), out / f"{view}-{kind.__name__}.{format}")


def cluster_table(analyses: dict[str, Analysis], view: str) -> Table:
    """One view; the paper's figures beside ours where they mean the same."""
    from rtae.analysis import PAPER_CLUSTERS, PAPER_SILHOUETTES, WEAK_ELBOW

    paper = view == "flat"
    columns = ["model", "2 comp.", "elbow", "silhouette", "centres", "largest"]
    more = [f"{PAPER_CLUSTERS} clusters", "paper"] if paper else []
    table = Table(*columns, *more, title=VIEW_TITLES[view])
    for name, analysis in analyses.items():
        best, three = analysis.best, analysis.at(PAPER_CLUSTERS)
        row = [
            escape(name),
            f"{100 * analysis.embedding.explained[:2].sum():.1f} %",
            f"{analysis.elbow}{' (weak)' if analysis.elbow_depth < WEAK_ELBOW else ''}",
            f"{best.silhouette:.2f}",
            f"{best.centre_distance:.3g}",
            f"{100 * np.bincount(best.labels).max() / len(best.labels):.0f} %",
        ]
        if paper:
            row += [f"{three.silhouette:.2f}" if three else "-"]
            row.append(f"{PAPER_SILHOUETTES[name]:.2f}" if name in PAPER_SILHOUETTES else "-")
        table.add_row(*row)
    return table


def figures(analysis: Analysis, clips: Sequence[Clip]) -> dict[str, Any]:
    """One model in one view, for the JSON."""
    from rtae.analysis import explained_by, togetherness

    best, embedding = analysis.best, analysis.embedding
    together, chance = togetherness(best.labels, [clip.path for clip in clips])
    far = np.linalg.norm(embedding.scores - best.centres[best.labels], axis=1)
    members = []
    for label in range(best.k):
        mine = sorted(np.flatnonzero(best.labels == label).tolist(), key=lambda point: far[point])
        songs = Counter(str(clips[point].path) for point in mine)
        listing = [{"file": str(clips[p].path), "seconds": clips[p].start, "distance": float(far[p])} for p in mine]
        members.append({"size": len(mine), "songs": dict(songs.most_common()), "clips": listing})
    return {
        "explained": embedding.explained[:10].tolist(),
        "spread": embedding.spread,
        "distance_error": embedding.distance_error,
        "elbow": analysis.elbow,
        "elbow_depth": analysis.elbow_depth,
        "silhouette": best.silhouette,
        "centre_distance": best.centre_distance,
        "same_song_together": together,
        "any_two_together": chance,
        "level_explained": explained_by([clip.level_db for clip in clips], best.labels),
        "tried": [
            {
                "clusters": one.k,
                "inertia": one.inertia,
                "silhouette": one.silhouette,
                "centre_distance": one.centre_distance,
                "sizes": sorted(np.bincount(one.labels).tolist(), reverse=True),
            }
            for one in analysis.tried
        ],
        "clusters": members,
    }


def write_clusters(analysis: Analysis, clips: Sequence[Clip], model: OnnxModel, out: Path, count: int) -> None:
    """The clips nearest to each centre, one file a cluster with the clips one after the other."""
    from rtae.analysis import nearest
    from rtae.audio.file import AudioReader
    from rtae.clips import read_clip

    prepare_folder(out)
    rate = model.spec.sample_rate
    for label in range(analysis.best.k):
        pieces = []
        for point in nearest(analysis, label, count):
            with AudioReader(clips[point].path) as reader:
                pieces.append(read_clip(reader, clips[point].number, rate))
        write_sound(out / f"cluster-{label + 1}.wav", np.concatenate(pieces), rate)


# -- sounds ------------------------------------------------------------------------------------------------------------
def interpolating(
    first: Path, second: Path, steps: int, out: Path, name: str, start: float, seconds: float | None
) -> None:
    """`rtae interpolate`."""
    from rtae import plots
    from rtae.experiments import interpolate, read_song

    model = OnnxModel.load(find(name))
    rate = model.spec.sample_rate
    songs = tuple(read_song(find_source(path), rate, start, seconds) for path in (first, second))
    prepare_folder(out)
    with bar(TextColumn("{task.description}"), BarColumn()) as progress:
        task = progress.add_task("Walking")
        walk = interpolate(
            model,
            songs[0],
            songs[1],
            steps,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    table = Table(
        "way", "share of B", "level", "like A", "like B", title=f"{model.spec.name}, correlation of waveforms"
    )
    for step in walk.steps:
        write_sound(out / f"{step.way}-{step.share:.2f}.wav", step.audio, rate)
        table.add_row(
            step.way,
            f"{step.share:.2f}",
            f"{step.level_db:.1f} dB",
            f"{step.like_first:.2f}",
            f"{step.like_second:.2f}",
        )
    for way in ("linear", "spherical"):
        shown = {f"{step.share:.2f}": step.audio for step in walk.along(way)[:25]}
        plots.save(plots.waves(shown, rate, f"{first.name} to {second.name}, {way}"), out / f"{way}.png")
    show.console.print(table)
    listing = [{key: value for key, value in vars(step).items() if key != "audio"} for step in walk.steps]
    write_json(out / "interpolation.json", {"angle_degrees": walk.angle, "steps": listing})
    say(f"Wrote {len(walk.steps)} sounds of {clock(len(walk.first) / rate)} and 2 pictures to {out}")


def perturbing(
    song: Path,
    target: Path,
    dimensions: str,
    amount: float,
    add: bool,
    name: str,
    start: float,
    seconds: float | None,
    seed: int,
) -> None:
    """`rtae perturb`."""
    from rtae.experiments import dimensions_of, perturb, read_song, snr_db, through

    source = find_source(song)
    check_output(source, target)
    model = OnnxModel.load(find(name))
    count = model.spec.latent_dim
    chosen = dimensions_of(dimensions or f"{count // 2}-{count - 1}", count)
    audio = read_song(source, model.spec.sample_rate, start, seconds)
    output = perturb(model, audio, chosen, amount, add, seed)
    write_sound(target, output, model.spec.sample_rate)
    kept = snr_db(output, through(model, audio))
    say(
        f"Wrote {target}: {clock(len(output) / model.spec.sample_rate)} with random values within +-{amount:g} "
        f"{'added to' if add else 'in place of'} {len(chosen)} of {count} dimensions of {model.spec.name}; what the "
        f"model makes of the song without them lies {kept:.1f} dB above the difference"
    )


# -- rtae report -------------------------------------------------------------------------------------------------------
def reporting(songs: Sequence[Path], out: Path, seconds: float, most: int, seed: int) -> None:
    """`rtae report`."""
    from rtae.report import collect_songs, make_report

    paths = collect_songs([find_source(song) for song in songs])
    with output_folder(out), bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        target, notes = make_report(
            paths, out, seconds, most, seed, lambda text: progress.update(task, description=text)
        )
    for note in notes:
        say(f"Note: {note}")
    say(f"Wrote {target} ({target.stat().st_size / 1e6:.1f} MB): open it in any browser")
