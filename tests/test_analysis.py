from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rtae import analysis
from rtae.analysis import (
    analyse,
    check_enough,
    cluster,
    elbow,
    embed,
    explained_by,
    flat_blocks,
    from_points,
    nearest,
    pooled,
    togetherness,
)
from rtae.clips import Latents
from rtae.errors import RtaeError

DIMS, FRAMES = 4, 300
DISTANCE_RTOL = 1e-3
SKETCH_ERROR = 0.05  # median, relative; measured 0.02


def latents_of(points, std=(1.0,) * DIMS):
    """As from `gather`, two songs of half the points each."""
    half = len(points) // 2
    songs = (points[:half].astype(np.float16), points[half:].astype(np.float16))
    rows = tuple((0, i) for i in range(half)) + tuple((1, i) for i in range(len(points) - half))
    model = SimpleNamespace(spec=SimpleNamespace(name="it", latent_std=std, latent_dim=DIMS))
    return Latents(model, songs, rows)


@pytest.fixture
def heaps(rng):
    """Three heaps of ten clips each, well apart, in the order 0 1 2 0 1 2 ..."""
    centres = 2 * rng.standard_normal((3, DIMS, FRAMES))
    return latents_of(np.tile(centres, (10, 1, 1)) + 0.3 * rng.standard_normal((30, DIMS, FRAMES)))


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_principal_components_keep_all_distances(heaps):
    flat = heaps.read(0, 30).reshape(30, -1)
    np.testing.assert_allclose(distances(embed(heaps, "flat").scores), distances(flat), rtol=DISTANCE_RTOL, atol=0.05)


def test_components_from_products_are_those_from_points(heaps):
    ours, plain = embed(heaps, "flat"), from_points(heaps.read(0, 30).reshape(30, -1).astype(float))
    np.testing.assert_allclose(ours.explained[:3], plain.explained[:3], rtol=1e-3)
    np.testing.assert_allclose(ours.scores[:, :2], plain.scores[:, :2], rtol=1e-2, atol=0.1)
    assert ours.spread == pytest.approx(plain.spread, rel=1e-3)
    assert ours.explained.sum() == pytest.approx(1)


def test_blocks_change_nothing(heaps, monkeypatch):
    whole = embed(heaps, "flat")
    monkeypatch.setattr(analysis, "BLOCK_BYTES", 4 * DIMS * FRAMES * 7)
    assert [len(block) for block in flat_blocks(heaps)] == [7, 7, 7, 7, 2]
    np.testing.assert_allclose(embed(heaps, "flat").scores[:, :2], whole.scores[:, :2], rtol=1e-3, atol=1e-2)


def test_flat_is_in_the_units_of_the_network(heaps):
    scaled = Latents(SimpleNamespace(spec=SimpleNamespace(latent_std=(3.0,) * DIMS)), heaps.songs, heaps.rows)
    assert embed(scaled, "flat").spread == pytest.approx(3 * embed(heaps, "flat").spread, rel=1e-3)
    assert embed(scaled, "pooled").spread == pytest.approx(embed(heaps, "pooled").spread)


def test_pooled_are_mean_and_deviation(heaps):
    z = heaps.read(4, 5)[0]
    np.testing.assert_allclose(pooled(heaps)[4], [*z.mean(axis=1), *z.std(axis=1)], rtol=1e-4, atol=1e-5)


def test_a_sketch_keeps_distances_nearly(heaps, monkeypatch):
    exact = distances(embed(heaps, "flat").scores)
    monkeypatch.setattr(analysis, "EXACT", 10)
    found = embed(heaps, "flat")
    off = np.triu_indices(30, 1)
    error = np.median(np.abs(distances(found.scores)[off] / exact[off] - 1))
    assert 0 < found.distance_error < SKETCH_ERROR
    assert error < SKETCH_ERROR


def test_heaps_are_found(heaps):
    found = analyse(heaps, "flat", 6)
    assert found.elbow == 3
    assert len({tuple(found.best.labels[i::3]) for i in range(3)}) == 3
    assert all(len(set(found.best.labels[i::3])) == 1 for i in range(3))
    assert found.best.silhouette > 0.7
    assert found.elbow_depth > 0.4
    assert [one.k for one in found.tried] == [1, 2, 3, 4, 5, 6]
    centres = np.stack([heaps.read(0, 30)[i::3].mean(axis=0).ravel() for i in range(3)])
    apart = distances(centres)[np.triu_indices(3, 1)].mean()
    assert found.best.centre_distance == pytest.approx(apart, rel=1e-3)


def test_the_nearest_of_a_cluster_are_nearest(heaps):
    found = analyse(heaps, "flat", 6)
    far = distances(np.concatenate([found.best.centres, found.embedding.scores]))[0, 3:]
    mine = np.flatnonzero(found.best.labels == 0)
    assert nearest(found, 0, 2) == mine[np.argsort(far[mine])][:2].tolist()


def test_the_same_seed_gives_the_same_clusters(heaps):
    one, two = (cluster(embed(heaps, "flat"), 5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)


def test_very_many_points_are_taken_in_batches(heaps, monkeypatch):
    monkeypatch.setattr(analysis, "BATCHED", 20)
    monkeypatch.setattr(analysis, "SILHOUETTE_POINTS", 20)
    found = cluster(embed(heaps, "flat"), 3)
    assert sorted(np.bincount(found.labels)) == [10, 10, 10]
    assert found.silhouette > 0.7


@pytest.mark.parametrize(
    ("inertias", "k"), [([10, 5, 4.5, 4.2, 4], 2), ([10, 8, 3, 2.5, 2], 3), ([10, 8, 6, 4, 2], 1), ([5, 5, 5], 1)]
)
def test_the_elbow(inertias, k):
    assert elbow(inertias) == k


def test_too_few_clips_say_what_would_work():
    check_enough(11, 10)
    with pytest.raises(RtaeError, match=r"10 clips.*10 clusters: give more or longer songs.*--most-clusters 9"):
        check_enough(10, 10)
    with pytest.raises(RtaeError, match=r"2 clips.*5 s\)$"):
        check_enough(2, 10)


def test_clips_that_are_all_the_same_are_told():
    with pytest.raises(RtaeError, match="All 12 clips have the same latents in the model 'it'"):
        analyse(latents_of(np.ones((12, DIMS, FRAMES))), "flat", 3)


def test_clips_of_a_song_that_fall_together():
    labels = np.array([0, 0, 1, 1])
    assert togetherness(labels, ["a", "a", "b", "b"]) == (1, pytest.approx(1 / 3))
    assert togetherness(labels, ["a", "b", "a", "b"])[0] == 0


def test_what_clusters_explain():
    assert explained_by([1, 1, 5, 5], np.array([0, 0, 1, 1])) == pytest.approx(1)
    assert explained_by([1, 5, 1, 5], np.array([0, 0, 1, 1])) == pytest.approx(0)
    assert explained_by([2, 2, 2], np.array([0, 0, 1])) == 0


def test_an_analysis_says_what_its_clusters_are(heaps):
    found = analyse(heaps, "pooled", 4)
    assert found.at(2) is found.tried[1]
    assert found.at(5) is None
    assert replace(found, elbow=2).best is found.tried[1]
