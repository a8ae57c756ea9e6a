"""Sources: the same samples whatever the blocks, exact seeks and loops, and an end instead of an error."""

import itertools

import numpy as np
import pytest
import soxr

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.errors import AudioFileError, ParameterError
from rtae.source import DECODE, LEVEL, FileSource, Generator, to_channels

RATE = 44_100
SAMPLES = 3 * DECODE + 777
RESAMPLE_ATOL = 1e-6  # full scale; measured 0: the same library, cut into pieces
TONE_ATOL = 1e-6  # full scale; float32 rounds by 6e-8
SIZES = {"1024": [1024], "1": [1, 511], "mixed": [3, 4096, 17, 9000, 255]}


def write_sound(path, channels=2, samples=SAMPLES, rate=RATE, seed=0):
    sound = np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)
    with AudioWriter(path, rate, channels) as out:
        out.write(sound)
    return path


@pytest.fixture
def song(tmp_path):
    return write_sound(tmp_path / "song.wav")


@pytest.fixture
def open_file():
    """Opens FileSources and closes them at the end of the test."""
    opened = []

    def open_one(path, rate=RATE, channels=2, loop=None):
        opened.append(FileSource(path, rate, channels, loop))
        return opened[-1]

    yield open_one
    for source in opened:
        source.close()


def read_all(source, count, sizes=(1000,)):
    parts, lengths = [], itertools.cycle(sizes)
    while count:
        size = min(count, next(lengths))
        parts.append(source.read(size))
        assert parts[-1].shape == (source.channels, size)
        assert parts[-1].dtype == np.float32
        count -= size
    return np.concatenate(parts, axis=1)


# -- files -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_file_at_its_own_rate_is_the_file_and_then_silence(song, open_file, sizes):
    source = open_file(song)
    assert (source.position, source.duration, source.ended) == (0, pytest.approx(SAMPLES / RATE), False)
    heard = read_all(source, SAMPLES, sizes)
    assert (heard == read_audio(song)[0]).all()
    assert not source.ended  # its last sample has just been given
    assert source.position == pytest.approx(source.duration)
    assert not source.read(300).any()
    assert source.ended
    assert source.position == pytest.approx(source.duration)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("rate", [48_000, 22_050])
def test_a_file_at_another_rate_is_resampled_whole(song, open_file, rate, sizes):
    expected = soxr.resample(read_audio(song)[0].T, RATE, rate).T
    source = open_file(song, rate)
    heard = read_all(source, expected.shape[1], sizes)
    assert np.abs(heard - expected).max() <= RESAMPLE_ATOL
    assert not read_all(source, 200)[:, 2:].any()  # nothing but the rounding of its length comes after it
    assert source.ended


@pytest.mark.parametrize("sample", [0, 1, 4095, 4097, SAMPLES - 1])
def test_a_seek_is_exact(song, open_file, sample):
    source = open_file(song)
    source.read(5000)
    source.seek(sample / RATE)
    assert source.position == pytest.approx(sample / RATE)
    count = min(3000, SAMPLES - sample)
    assert (source.read(count) == read_audio(song)[0][:, sample : sample + count]).all()


def test_a_seek_before_the_start_is_the_start_and_past_the_end_the_end(song, open_file):
    source = open_file(song)
    source.seek(-5)
    assert source.position == 0
    assert (source.read(9) == read_audio(song)[0][:, :9]).all()
    source.seek(1e5)
    assert source.position == pytest.approx(source.duration)
    assert not source.read(9).any()
    assert source.ended
    source.seek(0)
    assert not source.ended
    assert (source.read(9) == read_audio(song)[0][:, :9]).all()


@pytest.mark.parametrize(
    "seconds",
    [
        float("nan"),
        float("inf"),
        pytest.param(1e308),
    ],
)
def test_a_seek_to_nowhere_is_refused_and_changes_nothing(song, open_file, seconds):
    source = open_file(song)
    source.read(100)
    with pytest.raises(ParameterError, match="place in a song"):
        source.seek(seconds)
    assert (source.read(9) == read_audio(song)[0][:, 100:109]).all()


def test_nothing_can_be_read(song, open_file):
    assert open_file(song).read(0).shape == (2, 0)


@pytest.mark.parametrize(
    ("loop", "start", "end"),
    [((1000, 5000), 1000, 5000), ((SAMPLES - 700, 0), SAMPLES - 700, SAMPLES), ((0, 0), 0, SAMPLES)],
    ids=["region", "tail", "whole"],
)
def test_a_loop_goes_round(song, open_file, loop, start, end):
    audio = read_audio(song)[0]
    source = open_file(song, loop=(loop[0] / RATE, loop[1] / RATE))
    count = end + max(300, 3 * (end - start))
    expected = np.concatenate([audio[:, :end], np.tile(audio[:, start:end], (1, 3))], axis=1)[:, :count]
    assert (read_all(source, count, [777, 5000]) == expected).all()
    assert not source.ended
    assert start <= source.position * RATE <= end


@pytest.mark.parametrize("loop", [(60.0, 0.0), (60.0, 61.0)])
def test_a_loop_behind_the_end_is_never_reached(song, open_file, loop):
    source = open_file(song, loop=loop)
    assert (source.read(SAMPLES) == read_audio(song)[0]).all()
    assert not source.read(50).any()
    assert source.ended


def test_a_loop_that_lies_behind_is_gone_back_to(song, open_file):
    source = open_file(song)
    source.read(9000)
    source.loop = (100 / RATE, 200 / RATE)
    assert (source.read(100) == read_audio(song)[0][:, 100:200]).all()


def refuse_to_hang(source):
    """Make an endless loop an error."""
    tries, back = itertools.count(), source.back_to_loop_start

    def counted():
        assert next(tries) < 100, "it goes back for ever"
        return back()

    source.back_to_loop_start = counted
    return source


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("loop", [(NAN, 0.0), (0.0, NAN), (0.0, INFINITY), (0.5, 0.5), (0.5, 0.4), (0.5, 0.505)])
def test_a_loop_that_is_no_region_is_refused(song, open_file, loop):
    with pytest.raises(ParameterError):
        open_file(song, loop=loop)


@pytest.mark.parametrize(("there", "wanted"), [(1, 2), (6, 2), (2, 1), (1, 1), (2, 3)])
def test_channels_are_made_to_fit(tmp_path, open_file, there, wanted):
    path = write_sound(tmp_path / "song.wav", there, 500)
    audio = read_audio(path)[0]
    heard = open_file(path, channels=wanted).read(500)
    if there == 1:
        assert (heard == np.repeat(audio, wanted, axis=0)).all()
    elif wanted == 1:
        assert np.abs(heard - audio.mean(axis=0)).max() < 1e-6
    else:
        both = min(there, wanted)
        assert (heard[:both] == audio[:both]).all()
        assert not heard[both:].any()
    assert to_channels(audio, there) is audio


def break_file(path, how):
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        with path.open("r+b") as file:
            file.truncate(20_000)
    else:
        with path.open("r+b") as file:
            file.truncate(20_000)
        path.unlink()


@pytest.mark.parametrize("how", ["deleted", "truncated"])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_file_that_breaks_while_it_plays_ends(tmp_path, open_file, how, suffix, rate):
    path = write_sound(tmp_path / f"song.{suffix}", samples=40_000)
    source = open_file(path, rate)
    expected = read_audio(path)[0]
    start = source.read(1000)
    break_file(path, how)
    heard = read_all(source, 60_000)
    assert np.isfinite(heard).all()
    assert source.ended
    if rate == RATE:
        assert (np.concatenate([start, heard[:, :1000]], axis=1) == expected[:, :2000]).all()


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        pytest.param(
            "both",
        ),
    ],
)
def test_a_file_that_breaks_while_it_loops_ends(tmp_path, open_file, how):
    path = write_sound(tmp_path / "song.wav", samples=40_000)
    source = refuse_to_hang(open_file(path, loop=(30_000 / RATE, 0.0)))
    source.seek(30_000 / RATE)
    source.read(1000)
    break_file(path, how)
    assert np.isfinite(read_all(source, 60_000)).all()
    assert source.ended


def test_a_file_without_samples_is_refused(tmp_path):
    path = write_sound(tmp_path / "song.wav", samples=100)
    header = path.read_bytes()[:44]
    path.write_bytes(header[:40] + bytes(4))
    with pytest.raises(AudioFileError, match="no samples"):
        FileSource(path, 48_000, 2)
    path.write_bytes(b"")
    with pytest.raises(AudioFileError, match="empty"):
        FileSource(path, RATE, 2)


# -- generators --------------------------------------------------------------------------------------------------------
def test_the_tone_goes_on_over_the_borders_of_blocks():
    heard = read_all(Generator("tone", RATE, 2), 50_000, [1, 1000, 63])
    expected = LEVEL * np.sin(2 * np.pi * 440 * np.arange(50_000) / RATE)
    assert np.abs(heard - expected).max() < TONE_ATOL
    assert 20 * np.log10(np.abs(heard).max()) == pytest.approx(-12, abs=0.01)


def test_noise_is_the_same_each_time_and_fills_its_range():
    heard = read_all(Generator("noise", RATE, 2), 50_000)
    assert (heard == read_all(Generator("noise", RATE, 2), 50_000, [7, 999])).all()
    assert (heard[0] == heard[1]).all()
    assert 0.99 * LEVEL < np.abs(heard).max() <= LEVEL + 1e-7
    assert abs(heard.mean()) < 0.01


def test_silence_is_silent_and_no_generator_ends():
    for kind in Generator.KINDS:
        source = Generator(kind, RATE, 1)
        source.seek(2.0)
        assert (source.read(RATE).any(), source.ended, source.duration) == (kind not in ("silence", "dream"), False, 0)
        assert source.position == pytest.approx(3.0)
        source.close()


def test_an_unknown_generator_is_refused():
    with pytest.raises(ParameterError, match="silence, tone, noise"):
        Generator("pink", RATE, 1)


@pytest.mark.parametrize("place", [NAN, INFINITY, 1e308])
def test_a_generator_has_no_place_at_infinity(place):
    with pytest.raises(ParameterError):
        Generator("tone", RATE, 1).seek(place)
