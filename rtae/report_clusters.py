"""The sections of the report on clips: where they lie, how many clusters there are, and how far these are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtae import plots
from rtae.analysis import (
    PAPER_CLUSTERS,
    PAPER_SILHOUETTES,
    WEAK_ELBOW,
    Analysis,
    explained_by,
    nearest,
    togetherness,
)
from rtae.audio.file import AudioReader
from rtae.clips import Clip, read_clip
from rtae.report_ground import LEAST_CLIPS, MAIN, MODELS, Ground, Section, by_size, listed

TIE = 0.02  # of the largest spread: two models as close as that are said to be alike
LONE_SHARE = 0.9  # of the clips in one cluster: the others are exceptions and no kinds


def too_few(title: str, ground: Ground) -> Section:
    """In place of a section on clips."""
    return Section(
        title,
        (
            f"There are {len(ground.clips)} clips of 5 s, and this takes {LEAST_CLIPS} that differ: "
            "give more or longer songs.",
        ),
    )


def components(ground: Ground) -> Section:
    """All clips of all models on the plane of their first two principal components."""
    title = "Where the clips lie"
    if not ground.analyses:
        return too_few(title, ground)
    spreads = {name: one.embedding.spread for name, one in ground.analyses["flat"].items()}
    order = sorted(spreads, key=lambda name: -spreads[name])
    near = [name for name in order[1:] if spreads[name] > (1 - TIE) * spreads[order[0]]]
    widest = f"widest apart in {order[0]}" + (f", hardly less so in {listed(near)}," if near else "")
    same = "as in the paper" if order == list(MODELS) else f"where in the paper it was {listed(MODELS)}"
    shares = {
        view: [f"{100 * one.embedding.explained[:2].sum():.0f} % for {name}" for name, one in analyses.items()]
        for view, analyses in ground.analyses.items()
    }
    held = float(np.mean([one.embedding.explained[:2].sum() for one in ground.analyses["flat"].values()]))
    seen = by_size(
        held,
        (0.6, "most of what there is to see"),
        (0.3, "a part of what there is to see"),
        (0, "a shadow of the whole"),
    )
    text = (
        f"With all latents of a clip as its coordinates, the clips lie {widest} and closest in "
        f"{order[-1]} ({', '.join(f'{name} {spreads[name]:.3g}' for name in order)} from their mean), "
        f"{same}. The plane holds {listed(shares['flat'])} of their variance, {seen}.",
        f"With mean and deviation over time in their place, the plane holds {listed(shares['pooled'])}.",
    )
    pictures = tuple(
        (caption, plots.image(plots.scatter(ground.analyses[view], caption)))
        for view, caption in (
            ("flat", "all latents of a clip, as in the paper"),
            ("pooled", "mean and deviation over time"),
        )
    )
    return Section(title, text, pictures)


def how_many(ground: Ground) -> Section:
    """The elbow."""
    title = "How many clusters: the elbow"
    if not ground.analyses:
        return too_few(title, ground)
    text = []
    for view, how in (("flat", "With all latents"), ("pooled", "With mean and deviation over time")):
        words = [
            f"{one.elbow} for {name}{' (hardly a bend)' if one.elbow_depth < WEAK_ELBOW else ''}"
            for name, one in ground.analyses[view].items()
        ]
        text.append(f"{how}, the elbow lies at {listed(words)}. The paper had 3 for all models.")
    text.append("The elbow is where the curve lies farthest below the line between its ends.")
    pictures = tuple(
        (f"{caption}; dashed: the line, ringed: the elbow", plots.image(plots.elbows(ground.analyses[view], caption)))
        for view, caption in (("flat", "all latents of a clip"), ("pooled", "mean and deviation over time"))
    )
    return Section(title, tuple(text), pictures)


def cluster_words(name: str, analysis: Analysis, clips: Sequence[Clip]) -> str:
    """What holds a clustering together."""
    best = analysis.best
    sizes = sorted(np.bincount(best.labels, minlength=best.k).tolist(), reverse=True)
    text = f"{name}: {best.k} clusters of {listed([str(size) for size in sizes])} clips"
    if sizes[0] > LONE_SHARE * len(clips):
        return text + ": nearly all are in one, and what is apart are single loud moments, so the clusters say little."
    level = explained_by([clip.level_db for clip in clips], best.labels)
    why = by_size(level, (0.5, "mostly loudness"), (0.2, "in part loudness"), (-1, "hardly loudness"))
    text += f"; it is {why} that parts them ({100 * level:.0f} % of the variance of the level)"
    together, chance = togetherness(best.labels, [clip.path for clip in clips])
    if len({clip.path for clip in clips}) > 1 and not np.isnan(together):
        text += (
            f"; two clips of one song are together in {100 * together:.0f} % of cases, any two in {100 * chance:.0f} %"
        )
    return text + "."


def the_clusters(ground: Ground) -> Section:
    """The clusters, to see and to hear."""
    title = "The clusters"
    if not ground.analyses:
        return too_few(title, ground)
    text = [f"All latents. {cluster_words(name, one, ground.clips)}" for name, one in ground.analyses["flat"].items()]
    pooled = ground.analyses["pooled"]
    text += [f"Mean and deviation. {cluster_words(name, one, ground.clips)}" for name, one in pooled.items()]
    pictures = tuple(
        (f"{caption}; crosses: the centres", plots.image(plots.clusters(ground.analyses[view], caption)))
        for view, caption in (("flat", "all latents of a clip"), ("pooled", "mean and deviation over time"))
    )
    sounds = []
    for label in range(pooled[MAIN].best.k):
        clip = ground.clips[nearest(pooled[MAIN], label, 1)[0]]
        with AudioReader(clip.path) as reader:
            audio = read_clip(reader, clip.number, ground.rate)
        sounds.append((f"nearest to centre {label + 1} of {MAIN}: {clip.path.name}, {clip.start:.0f} s", audio))
    return Section(title, tuple(text), pictures, tuple(sounds))


def silhouette_scores(ground: Ground) -> Section:
    """Beside the paper's figures."""
    title = "How well the clusters are apart: silhouettes"
    if not ground.analyses:
        return too_few(title, ground)
    flat, pooled = ground.analyses["flat"], ground.analyses["pooled"]
    three = {name: one.at(PAPER_CLUSTERS) for name, one in flat.items()}
    head = (
        "",
        "3 clusters, all latents",
        "in the paper",
        "at the elbow",
        "centres apart",
        "at the elbow, mean and deviation",
    )
    table = [head]
    for name in MODELS:
        found = three[name]
        table.append(
            (
                name,
                f"{found.silhouette:.2f}" if found else "-",
                f"{PAPER_SILHOUETTES[name]:.2f}",
                f"{flat[name].best.silhouette:.2f}",
                f"{flat[name].best.centre_distance:.3g}",
                f"{pooled[name].best.silhouette:.2f}",
            )
        )
    best = max(MODELS, key=lambda name: np.nan_to_num(pooled[name].best.silhouette, nan=-1))
    text = [f"With mean and deviation, the clusters of {best} are best apart, by {pooled[best].best.silhouette:.2f}."]
    lone = [
        name for name, one in three.items() if one and np.bincount(one.labels).max() > LONE_SHARE * len(ground.clips)
    ]
    if lone:
        text.append(
            f"With all latents and three clusters, nearly all clips are in one for {listed(lone)}: a high score there "
            "means that a few clips are far from all others, and not that there are kinds of music."
        )
    pictures = tuple(
        (caption, plots.image(plots.silhouettes(ground.analyses[view], caption)))
        for view, caption in (("flat", "all latents of a clip"), ("pooled", "mean and deviation over time"))
    )
    return Section(title, tuple(text), pictures, table=tuple(table))
