from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf

from rtae.audio.file import AudioReader, read_audio
from rtae.engine import Engine
from rtae.errors import AudioFileError
from rtae.nets.config import SMALL
from rtae.params import Snapshot
from rtae.render import BLOCK, render, rendered_blocks

RATE = 22_050
STREAM_ATOL = 1e-4  # full scale; measured 3e-7
STEP_24 = 2.0**-23  # one step of 24 bits, full scale: libsndfile rounds in flac and cuts in wav
QUIET = Snapshot().replace(output_gain=-20)  # random weights are louder than full scale: clear of the limiter
DRY = Snapshot().replace(mix=0)
FORMATS = ["song.wav", "song.flac", "song.ogg", "song.mp3", "song.aiff"]
# Blocks of a render do not divide these lengths.
LENGTHS = {"one sample": 1, "ten samples": 10, "less than a block": 9999, "blocks": 2 * BLOCK, "more": 2 * BLOCK + 4321}


@pytest.fixture
def small(model_of):
    return model_of(SMALL)


def store(path, audio, rate=RATE, **options):
    sf.write(path, audio.T, rate, **options)
    return path


def noise(rng, channels, samples):
    return (0.3 * rng.standard_normal((channels, samples))).clip(-0.9, 0.9).astype(np.float32)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def whole_file(model, audio, values):
    gain = np.float32(10 ** (values["output_gain"] / 20))
    sound = model.decode(model.encode(audio))[:, : audio.shape[1]] * gain
    assert 0.02 < np.abs(sound).max() < 0.98  # worth comparing, and within the limiter's ceiling
    return sound


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_at_the_models_rate_a_render_is_decode_of_encode(rng, tmp_path, small, name, channels):
    source = store(tmp_path / name, noise(rng, channels, 30_000))
    audio, rate = read_audio(source)
    assert (rate, audio.shape[0]) == (RATE, channels)
    done = render(source, tmp_path / "out.wav", Engine(small), QUIET, subtype="FLOAT")
    out, rate = read_audio(tmp_path / "out.wav")
    assert (done.samples, done.rate, done.channels, rate) == (audio.shape[1], RATE, channels, RATE)
    assert out.shape == audio.shape
    assert np.abs(out - whole_file(small, audio, QUIET)).max() <= STREAM_ATOL
    assert done.peak == np.abs(out).max()
    assert not done.silent
    assert not done.truncated
    assert done.repaired == 0


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("name", ["song.wav", "song.flac"])
def test_rate_channels_and_length_are_the_sources(rng, tmp_path, small, name, rate):
    source = store(tmp_path / name, noise(rng, 2, 20_011), rate)
    done = render(source, tmp_path / f"out-{name}", Engine(small), QUIET)
    info = sf.info(tmp_path / f"out-{name}")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (rate, 2, 20_011, "PCM_24")
    assert (done.rate, done.channels, done.samples) == (rate, 2, 20_011)


@pytest.mark.parametrize("samples", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_render_is_the_engine_without_its_latency(rng, tmp_path, run_blocks, small, rate, samples):
    audio = noise(rng, 1, samples)
    source, engine = store(tmp_path / "in.wav", audio, rate, subtype="FLOAT"), Engine(small)
    render(source, tmp_path / "out.wav", engine, QUIET, subtype="FLOAT")
    engine.prepare(rate, 1)
    late = run_blocks(engine, np.pad(audio, ((0, 0), (0, engine.latency.total))), 997, QUIET)
    assert np.array_equal(read_audio(tmp_path / "out.wav")[0], late[:, engine.latency.total :])


@pytest.mark.parametrize("rate", [RATE, 8000, 44_100, 48_000, 192_000])
def test_a_dry_render_is_the_input(rng, tmp_path, small, rate):
    audio = noise(rng, 2, 50_000)
    source = store(tmp_path / "in.wav", audio, rate, subtype="FLOAT")
    render(source, tmp_path / "float.wav", Engine(small), DRY, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "float.wav")[0], audio)
    render(source, tmp_path / "whole.wav", Engine(small), DRY)
    assert np.abs(read_audio(tmp_path / "whole.wav")[0] - audio).max() <= STEP_24
    render(source, tmp_path / "again.wav", Engine(small), Snapshot().replace(bypass=1))
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_a_dry_render_of_16_bits_is_the_input_to_the_bit(rng, tmp_path, small):
    source = store(tmp_path / "in.wav", noise(rng, 2, 50_000), subtype="PCM_16")
    for name in ("out.wav", "out.flac"):
        render(source, tmp_path / name, Engine(small), DRY)
        assert np.array_equal(read_audio(tmp_path / name)[0], read_audio(source)[0])


def test_channels_do_not_hear_each_other(rng, tmp_path, small):
    audio = noise(rng, 6, 12_000)
    render(store(tmp_path / "six.wav", audio), tmp_path / "six out.wav", Engine(small), QUIET, subtype="FLOAT")
    out = read_audio(tmp_path / "six out.wav")[0]
    for channel in (0, 5):
        source = store(tmp_path / "one.wav", audio[channel : channel + 1])
        render(source, tmp_path / "one out.wav", Engine(small), QUIET, subtype="FLOAT")
        assert np.abs(read_audio(tmp_path / "one out.wav")[0][0] - out[channel]).max() <= STREAM_ATOL


def test_an_engine_can_be_used_again(rng, tmp_path, small):
    source, engine = store(tmp_path / "in.wav", noise(rng, 2, 9000), 44_100), Engine(small)
    render(source, tmp_path / "first.wav", engine, QUIET)
    render(store(tmp_path / "other.wav", noise(rng, 1, 5000), 48_000), tmp_path / "other.flac", engine, QUIET)
    render(source, tmp_path / "second.wav", engine, QUIET)
    assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "second.wav").read_bytes()


def test_broken_samples_are_reported_and_silenced(rng, tmp_path, small):
    audio = noise(rng, 2, 9000)
    audio[:, 100:200] = np.nan
    audio[1, 300] = -np.inf
    source = store(tmp_path / "in.wav", audio, subtype="FLOAT")
    done = render(source, tmp_path / "out.wav", Engine(small), DRY, subtype="FLOAT")
    assert done.repaired == 201
    assert np.array_equal(read_audio(tmp_path / "out.wav")[0], np.where(np.isfinite(audio), audio, 0))


def test_a_model_that_breaks_is_reported(rng, tmp_path, small, monkeypatch):
    decode = type(small).decode
    monkeypatch.setattr(type(small), "decode", lambda self, z: decode(self, z) * np.float32(np.nan))
    done = render(store(tmp_path / "in.wav", noise(rng, 1, 9000)), tmp_path / "out.wav", Engine(small), QUIET)
    assert done.repaired >= 9000
    assert done.silent
    assert not read_audio(tmp_path / "out.wav")[0].any()


def test_a_file_that_ends_early_is_rendered_as_far_as_it_goes(rng, tmp_path, small):
    source = store(tmp_path / "in.flac", noise(rng, 2, 80_000))
    source.write_bytes(source.read_bytes()[:150_000])
    with AudioReader(source) as reader:
        good = reader.read(80_000)
    assert 1000 < good.shape[1] < 79_000
    done = render(source, tmp_path / "out.flac", Engine(small), DRY)
    assert (done.truncated, done.samples) == (True, good.shape[1])
    assert np.abs(read_audio(tmp_path / "out.flac")[0] - good).max() <= STEP_24


def test_silence_is_called_silent(tmp_path, small):
    source = store(tmp_path / "in.wav", np.zeros((1, 5000)))
    assert render(source, tmp_path / "out.wav", Engine(small), DRY).silent
    quiet = store(tmp_path / "quiet.wav", np.full((1, 5000), 2e-4), subtype="FLOAT")
    assert not render(quiet, tmp_path / "out.wav", Engine(small), DRY).silent


def test_progress_counts_up_to_the_length(rng, tmp_path, small):
    source, seen = store(tmp_path / "in.wav", noise(rng, 1, 3 * BLOCK + 5)), []
    render(source, tmp_path / "out.wav", Engine(small), QUIET, lambda done, total: seen.append((done, total)))
    assert all(before[0] <= after[0] for before, after in pairwise(seen))
    assert {total for _, total in seen} == {3 * BLOCK + 5}
    assert seen[-1][0] == 3 * BLOCK + 5
    assert len(seen) > 3


def test_a_file_without_samples_is_refused(tmp_path, small):
    source = store(tmp_path / "in.wav", np.zeros((1, 0)))
    (tmp_path / "out.wav").write_text("old")
    with pytest.raises(AudioFileError, match="holds no samples"):
        render(source, tmp_path / "out.wav", Engine(small), QUIET)
    assert (tmp_path / "out.wav").read_text() == "old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("target", ["in.wav", "link.wav", "hard.wav"])
def test_the_input_is_never_the_output(rng, tmp_path, small, target):
    source = store(tmp_path / "in.wav", noise(rng, 1, 5000))
    (tmp_path / "link.wav").symlink_to(source)
    (tmp_path / "hard.wav").hardlink_to(source)
    before = source.read_bytes()
    with pytest.raises(AudioFileError, match="it is the input file"):
        render(source, tmp_path / target, Engine(small), QUIET)
    assert source.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_an_interrupted_render_leaves_the_old_file(rng, tmp_path, small, error):
    source = store(tmp_path / "in.wav", noise(rng, 1, 3 * BLOCK))
    (tmp_path / "out.wav").write_text("old")

    def progress(done, total):
        assert leftovers(tmp_path)
        raise error

    with pytest.raises(error):
        render(source, tmp_path / "out.wav", Engine(small), QUIET, progress)
    assert (tmp_path / "out.wav").read_text() == "old"
    assert leftovers(tmp_path) == []


def test_blocks_of_any_length_give_the_same(rng, small):
    audio, engine = noise(rng, 1, 20_000), Engine(small)
    outs = []
    for lengths in ([20_000], [1, 0, 19_999], [10_000, 10_000], [3000] * 6 + [2000]):
        engine.prepare(44_100, 1)
        blocks = np.split(audio, np.cumsum(lengths)[:-1], axis=1)
        outs.append(np.concatenate(list(rendered_blocks(iter(blocks), engine, QUIET)), axis=1))
        assert outs[-1].shape == audio.shape
        assert np.array_equal(outs[-1], outs[0])


def test_a_second_song_mixed_in_whole_is_the_second_song(rng, tmp_path, small):
    first, second = (store(tmp_path / f"{name}.wav", noise(rng, 2, 30_000)) for name in ("a", "b"))
    whole = Snapshot().replace(interpolation=1, output_gain=-24)
    render(first, tmp_path / "mixed.wav", Engine(small), whole, second=second)
    render(second, tmp_path / "alone.wav", Engine(small), Snapshot().replace(output_gain=-24))
    mixed, alone = (read_audio(tmp_path / f"{name}.wav")[0] for name in ("mixed", "alone"))
    assert np.abs(mixed - alone).max() <= 2**-22
