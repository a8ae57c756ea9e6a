import numpy as np
import pytest
import soundfile as sf
from matplotlib import image

from rtae import evaluate as module
from rtae.errors import AudioFileError
from rtae.evaluate import Evaluation, evaluate
from rtae.evaluation_picture import DPI, PAPER, WIDTH, draw, extremes
from rtae.metrics import METRICS
from rtae.nets.config import TINY

RATE = 22_050
QUICK = {name: METRICS[name] for name in ("snr", "si_sdr", "octaves")}


@pytest.fixture
def evaluated(tmp_path, files_of, store_model, rng, monkeypatch):
    """Three tracks and a model, and the folder of the tracks."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "hop_costs", lambda *_: ())
    songs = tmp_path / "songs"
    songs.mkdir()
    for name in ("a $1 [bold].wav", "b_1.wav", "c.wav"):
        sf.write(songs / name, 0.1 * rng.standard_normal(RATE // 2).clip(-4, 4), RATE)
    return evaluate([store_model(tmp_path / "tiny", files_of(TINY))], songs, metrics=QUICK), songs


def test_the_picture_shows_something_everywhere(evaluated, tmp_path):
    draw(*evaluated, tmp_path / "p.png")
    pixels = image.imread(tmp_path / "p.png")
    assert pixels.shape[1] == WIDTH * DPI
    paper = np.array([int(PAPER[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    drawn = np.abs(pixels[..., :3] - paper).max(axis=2) > 0.1
    parts = [part.mean() for part in np.array_split(drawn, 6)]
    assert min(parts) > 0.02, parts
    assert not list(tmp_path.glob("*.part"))


def test_a_picture_that_cannot_be_written(evaluated, tmp_path):
    (tmp_path / "p.png").mkdir()
    with pytest.raises(AudioFileError, match="choose another --picture"):
        draw(*evaluated, tmp_path / "p.png")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("figures", "picks"),
    [
        ([3.0, 1.0, 2.0, 5.0, 4.0], [("worst", "1"), ("median", "0"), ("best", "3")]),
        ([3.0, 1.0], [("worst", "1"), ("best", "0")]),
        ([3.0], [("worst", "0")]),
    ],
)
def test_the_worst_the_median_and_the_best(figures, picks):
    rows = {str(track): {"x": {"si_sdr": value}} for track, value in enumerate(figures)}
    assert extremes(Evaluation((), rows, {}), "x") == picks
