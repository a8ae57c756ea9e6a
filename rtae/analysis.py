"""Where clips of music lie in a model's latent space: principal components, k-means, elbow, silhouette.

Pure computations on `rtae.clips.Latents`; needs the extra `analysis`. A clip is a point. In the view `flat`, as in the
paper, its coordinates are all its latents, latent_dim * frames numbers in the network's own units; in `pooled` the
mean and the deviation over time of each dimension, which do not ask at which moment something sounds.

Flattened points have up to 147 072 coordinates, and there are only some thousands of them. All distances between n
points are kept, to rounding, by n - 1 coordinates: the principal components, which follow from the n x n products of
the points with each other, block by block. So k-means there is k-means on the latents. Above EXACT points they are
first drawn into SKETCH coordinates by a random Fourier transform (Ailon and Chazelle 2009), which keeps every distance
within a few per cent; by how much is measured and stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import silhouette_score

from rtae.clips import Latents
from rtae.errors import RtaeError

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VIEWS = ("flat", "pooled")
BLOCK_BYTES = 64 << 20
EXACT = 2000
SKETCH = 2048
MOST_CLUSTERS = 10
STARTS = 10
BATCHED = 10_000  # points from which k-means takes them in batches
SILHOUETTE_POINTS = 5000
TRIED_PAIRS = 500
WEAK_ELBOW = 0.1  # below the line by so small a share of the whole fall, hardly a bend can be seen
PAPER_CLUSTERS = 3
PAPER_SILHOUETTES = {"large": 0.40, "small": 0.25, "tiny": 0.15}


@dataclass(frozen=True)
class Embedding:
    """Points by their principal components.

    scores: (points, rank), the distances between rows are those between points; explained: share of the variance by
    component; spread: root of the mean squared distance to the mean; distance_error: median relative error of the
    distances, 0 where they are exact.
    """

    scores: DoubleArray
    explained: DoubleArray
    spread: float
    distance_error: float


@dataclass(frozen=True)
class Clusters:
    """k-means with k clusters: which one each point is in, and centres (k, rank).

    inertia: sum of squared distances to the centres. silhouette, centre_distance (the mean over pairs): NaN if k is 1.
    """

    labels: IntArray
    centres: DoubleArray
    inertia: float
    silhouette: float
    centre_distance: float

    @property
    def k(self) -> int:
        """How many."""
        return len(self.centres)


@dataclass(frozen=True)
class Analysis:
    """One model in one view. tried: the clusterings with 1, 2, ... clusters; elbow: the k that the rule finds."""

    view: str
    embedding: Embedding
    tried: tuple[Clusters, ...]
    elbow: int

    @property
    def best(self) -> Clusters:
        """The clustering at the elbow."""
        return self.tried[self.elbow - 1]

    @property
    def elbow_depth(self) -> float:
        """How far the curve lies below the line there, as a share of the whole fall, 0 to 1: how much of an elbow."""
        first, last = self.tried[0].inertia, self.tried[-1].inertia
        on_line = first + (last - first) * (self.elbow - 1) / max(1, len(self.tried) - 1)
        return (on_line - self.best.inertia) / (first - last) if first > last else 0.0

    def at(self, k: int) -> Clusters | None:
        """The clustering with k clusters, if it was tried."""
        return self.tried[k - 1] if 1 <= k <= len(self.tried) else None


# -- points ------------------------------------------------------------------------------------------------------------
def flat_blocks(latents: Latents, rows: int | None = None) -> Iterator[FloatArray]:
    """All points of the view `flat` in blocks (n, latent_dim * frames), each of BLOCK_BYTES at most."""
    dims, frames = latents.shape
    scale = np.array(latents.model.spec.latent_std, np.float32)[:, None]
    rows = rows or max(1, BLOCK_BYTES // (4 * dims * frames))
    for first in range(0, len(latents), rows):
        block = latents.read(first, min(first + rows, len(latents)))
        block *= scale
        yield block.reshape(len(block), -1)


def pooled(latents: Latents) -> DoubleArray:
    """All points of the view `pooled`: (n, 2 * latent_dim), means and then deviations, in standard deviations."""
    rows = max(1, BLOCK_BYTES // (4 * latents.shape[0] * latents.shape[1]))
    parts = []
    for first in range(0, len(latents), rows):
        block = latents.read(first, min(first + rows, len(latents)))
        parts.append(np.concatenate([block.mean(axis=2), block.std(axis=2)], axis=1))
    return np.concatenate(parts).astype(np.float64)


def gram(latents: Latents) -> DoubleArray:
    """The products of all flattened points with each other, (n, n), holding two blocks at a time."""
    count = len(latents)
    products = np.zeros((count, count))
    start = 0
    for block in flat_blocks(latents):
        stop = start + len(block)
        products[start:stop, start:stop] = block @ block.T
        other = stop
        rest = Latents(latents.model, latents.songs, latents.rows[stop:])
        for piece in flat_blocks(rest):
            products[start:stop, other : other + len(piece)] = block @ piece.T
            products[other : other + len(piece), start:stop] = products[start:stop, other : other + len(piece)].T
            other += len(piece)
        start = stop
    return products


def from_products(products: DoubleArray) -> Embedding:
    """Principal components of points of which only their products are known (classical scaling, Torgerson 1952)."""
    mean = products.mean(axis=0)
    centred = products - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = float(values.sum())
    kept = max(2, int(np.count_nonzero(values > 1e-9 * values[0])))
    scores = signed(vectors[:, :kept] * np.sqrt(values[:kept]))
    return Embedding(scores, values[:kept] / max(total, 1e-30), float(np.sqrt(total / len(products))), 0.0)


def from_points(points: DoubleArray, distance_error: float = 0.0) -> Embedding:
    """Principal components of points (n, d)."""
    centred = points - points.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((values**2).sum())
    spread = float(np.sqrt(total / len(points)))
    return Embedding(signed(left * values), values**2 / max(total, 1e-30), spread, distance_error)


def signed(scores: DoubleArray) -> DoubleArray:
    """The same with the largest entry of each column positive, so that equal points give equal pictures."""
    largest = np.take_along_axis(scores, np.abs(scores).argmax(axis=0)[None], axis=0)
    return np.asarray(scores * np.where(largest < 0, -1.0, 1.0))


def sketched(latents: Latents, seed: int) -> tuple[DoubleArray, float]:
    """Flattened points drawn into SKETCH coordinates, and the median relative error of distances, measured on some."""
    dims, frames = latents.shape
    rng = np.random.default_rng(seed)
    size = dims * frames
    signs = rng.choice(np.array([-1, 1], np.float32), size)
    kept = np.sort(rng.choice(size // 2 - 1, min(SKETCH // 2, size // 2 - 1), replace=False) + 1)
    scale = np.sqrt(2 / size) * np.sqrt((size // 2 - 1) / len(kept))
    parts = []
    for block in flat_blocks(latents):
        spectrum = np.fft.rfft(block * signs, axis=1)[:, kept] * scale
        parts.append(np.concatenate([spectrum.real, spectrum.imag], axis=1))
    points = np.concatenate(parts).astype(np.float64)
    errors = []
    for first, second in rng.choice(len(latents), (min(TRIED_PAIRS, len(latents) // 2), 2), replace=False):
        true = np.linalg.norm(flat_row(latents, first) - flat_row(latents, second))
        if true > 0:
            errors.append(abs(np.linalg.norm(points[first] - points[second]) / true - 1))
    return points, float(np.median(errors)) if errors else 0.0


def flat_row(latents: Latents, number: int) -> FloatArray:
    """One flattened point."""
    row: FloatArray = next(flat_blocks(Latents(latents.model, latents.songs, latents.rows[number : number + 1])))[0]
    return row


def embed(latents: Latents, view: str, seed: int = 0) -> Embedding:
    """The points of a view by their principal components."""
    if view == "pooled":
        return from_points(pooled(latents))
    if len(latents) > EXACT:
        return from_points(*sketched(latents, seed))
    return from_products(gram(latents))


# -- clusters ----------------------------------------------------------------------------------------------------------
def elbow(inertias: Sequence[float]) -> int:
    """The number of clusters, from 1, at which the curve lies farthest below the line between its ends.

    The rule of Satopaa et al. (2011). Where the curve is nowhere below the line there is no elbow, and it is 1.

    >>> elbow([100, 60, 20, 18, 16, 15])
    3
    """
    count = len(inertias)
    line = np.linspace(inertias[0], inertias[-1], count)
    return int(np.argmax(line - np.asarray(inertias))) + 1


def cluster(embedding: Embedding, k: int, seed: int = 0) -> Clusters:
    """k-means from STARTS starts, in batches where there are very many points."""
    scores = embedding.scores
    if k == 1:
        centre = scores.mean(axis=0, keepdims=True)
        inertia = float(((scores - centre) ** 2).sum())
        return Clusters(np.zeros(len(scores), np.int64), centre, inertia, float("nan"), float("nan"))
    kind = MiniBatchKMeans if len(scores) > BATCHED else KMeans
    found = kind(k, n_init=STARTS, random_state=seed).fit(scores)
    labels, centres = found.labels_.astype(np.int64), found.cluster_centers_
    few = len(scores) <= SILHOUETTE_POINTS
    score = float("nan")
    if 1 < len(np.unique(labels)) < len(scores):
        score = float(
            silhouette_score(scores, labels, sample_size=None if few else SILHOUETTE_POINTS, random_state=seed)
        )
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)[np.triu_indices(k, 1)]
    return Clusters(labels, centres, float(found.inertia_), score, float(apart.mean()))


def analyse(latents: Latents, view: str, most_clusters: int = MOST_CLUSTERS, seed: int = 0) -> Analysis:
    """Everything about one model in one view. Raises RtaeError where there are too few clips, or all are the same."""
    check_enough(len(latents), most_clusters)
    embedding = embed(latents, view, seed)
    if not embedding.spread > 0:
        raise RtaeError(
            f"All {len(latents)} clips have the same latents in the model '{latents.model.spec.name}'; give songs that "
            "differ"
        )
    tried = tuple(cluster(embedding, k, seed) for k in range(1, most_clusters + 1))
    return Analysis(view, embedding, tried, elbow([one.inertia for one in tried]))


def check_enough(clips: int, most_clusters: int) -> None:
    """Raise RtaeError where so many clips cannot be parted into so many clusters, with something left to see."""
    if clips <= most_clusters:
        advice = f", or say --most-clusters {clips - 1}" if clips > 3 else ""
        raise RtaeError(
            f"{clips} clips cannot be parted into up to {most_clusters} clusters: give more or longer songs (a clip is "
            f"5 s){advice}"
        )


def nearest(analysis: Analysis, label: int, count: int) -> list[int]:
    """The points of a cluster that are nearest to its centre, the nearest first."""
    best = analysis.best
    mine = np.flatnonzero(best.labels == label)
    far = np.linalg.norm(analysis.embedding.scores[mine] - best.centres[label], axis=1)
    return [int(point) for point in mine[np.argsort(far, kind="stable")][:count]]


def togetherness(labels: IntArray, songs: Sequence[object]) -> tuple[float, float]:
    """How often two clips of one song are in one cluster, and how often any two clips are; 0 to 1, NaN for no pairs."""
    same = labels[:, None] == labels[None]
    numbers = np.unique([str(song) for song in songs], return_inverse=True)[1]
    siblings = numbers[:, None] == numbers[None]
    pairs = ~np.eye(len(labels), dtype=bool)
    inside = same[siblings & pairs]
    return (float(inside.mean()) if inside.size else float("nan")), float(same[pairs].mean())


def explained_by(values: Sequence[float], labels: IntArray) -> float:
    """The share of the variance of values, one for each clip, that their clusters explain (eta squared), 0 to 1."""
    numbers = np.asarray(values, np.float64)
    total = float(((numbers - numbers.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    groups = [numbers[labels == label] for label in np.unique(labels)]
    return 1 - float(sum(((group - group.mean()) ** 2).sum() for group in groups)) / total
