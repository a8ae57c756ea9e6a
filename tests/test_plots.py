import numpy as np
import pytest

from rtae import plots
from rtae.analysis import Analysis, cluster, from_points
from rtae.errors import AudioFileError

RATE = 8000


@pytest.fixture
def analyses(rng):
    embedding = from_points(rng.standard_normal((12, 1)))  # one dimension: there is no second component
    return {"one": Analysis("flat", embedding, tuple(cluster(embedding, k) for k in (1, 2, 3)), 1)}


@pytest.mark.parametrize("kind", [plots.scatter, plots.elbows, plots.silhouettes, plots.clusters])
def test_pictures_of_clusters_are_the_same_each_time(analyses, kind):
    first, second = (plots.image(kind(analyses, "title"), "svg") for _ in range(2))
    assert first == second
    assert b"<svg" in first


@pytest.mark.parametrize("samples", [1, 500, 50_000])
def test_waveforms_of_any_length(rng, samples):
    audio = rng.standard_normal(samples).astype(np.float32)
    drawn = plots.overlay(audio, {"the same": audio}, RATE, "title")
    assert len(drawn.axes) == 3
    assert plots.image(plots.waves({"a name that is longer than there is room": audio}, RATE, "")).startswith(
        b"\x89PNG"
    )


@pytest.mark.parametrize("name", ["$1 $x_{", "\u97f3\u697d", "\udcff.flac", "a\nb"])
def test_names_of_all_kinds_can_be_drawn(name):
    audio = np.ones(100, np.float32)
    for drawn in (plots.overlay(audio, {"it": audio}, RATE, name), plots.waves({name: audio}, RATE, name)):
        assert plots.image(drawn).startswith(b"\x89PNG")


def test_a_long_waveform_keeps_its_peaks():
    audio = np.zeros(100_000, np.float32)
    audio[77_777] = 0.9
    axis = plots.figure(2, 2).subplots()
    plots.wave(axis, audio, RATE, "k")
    assert axis.dataLim.ymax == pytest.approx(0.9)


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(AudioFileError, match="choose another --out"):
        plots.save(plots.figure(1, 1), tmp_path / "nowhere" / "a.png")
    plots.save(plots.figure(1, 1), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
