import numpy as np
import pytest
import soundfile as sf

from rtae import clips
from rtae.clips import SECONDS, encode, gather, plan
from rtae.errors import AudioFileError, ModelError
from rtae.nets.config import SMALL, TINY
from rtae.runtime import OnnxModel

RATE = 22_050
HALF_ATOL = 2e-3  # float16 has 11 bits; latents of a few standard deviations


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(clips, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def models(tmp_path, files_of, store_model):
    return {net.preset: OnnxModel.load(store_model(tmp_path / net.preset, files_of(net))) for net in (SMALL, TINY)}


@pytest.fixture
def tiny(models):
    return {"tiny": models["tiny"]}


@pytest.fixture
def songs(rng, tmp_path):
    """Three clips and a bit, in the second of which is silence; one clip at another rate in stereo; too short."""
    folder = tmp_path / "songs"
    folder.mkdir()
    long = 0.2 * rng.standard_normal(16 * RATE).clip(-4, 4)
    long[5 * RATE : 10 * RATE] = 0
    sf.write(folder / "a.flac", long, RATE)
    sf.write(folder / "b.wav", 0.1 * rng.standard_normal((5 * 8000, 2)).clip(-4, 4), 8000)
    sf.write(folder / "c.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    return [folder / name for name in ("a.flac", "b.wav", "c.wav")]


def test_clips_are_whole_heard_and_in_order(songs, models):
    material = gather(songs, models)
    assert [(clip.path.name, clip.start) for clip in material.clips] == [("a.flac", 0), ("a.flac", 10), ("b.wav", 0)]
    assert material.silent == 1
    assert {path.name: reason for path, reason in material.skipped.items()} == {"c.wav": "shorter than 5 s (2.0 s)"}
    assert material.clips[0].level_db == pytest.approx(20 * np.log10(0.2), abs=0.2)


def test_latents_are_those_of_each_clip(songs, models):
    material = gather(songs, models)
    audio, _ = sf.read(songs[0], dtype="float32")
    third = audio[None, 10 * RATE : 15 * RATE]
    for name, model in models.items():
        rows = material.latents[name].read(0, 3)
        assert (
            rows.shape
            == (3, *material.latents[name].shape)
            == (3, 16, -(-5 * RATE // model.spec.stride) + model.spec.extra_frames)
        )
        np.testing.assert_allclose(rows[1], model.encode(third)[0], atol=HALF_ATOL, rtol=1e-3)


def test_a_limit_takes_clips_from_all_over(songs):
    chosen, _ = plan(songs, 2)
    assert {path.name: numbers for path, numbers in chosen.items()} == {"a.flac": [1], "b.wav": [0]}
    assert sum(len(numbers) for numbers in plan(songs, None)[0].values()) == 4


def test_what_is_cached_is_not_computed_again(songs, models, monkeypatch):
    first = gather(songs, models)
    monkeypatch.setattr(clips, "encode", lambda *_: pytest.fail("it was encoded again"))
    again = gather(songs, models)
    assert again.clips == first.clips
    np.testing.assert_array_equal(again.latents["small"].read(0, 3), first.latents["small"].read(0, 3))


def test_an_interruption_keeps_what_was_done(songs, tiny, monkeypatch):
    counted = []

    def encode_until(model, audio):
        counted.append(1)
        if len(counted) == 4:
            raise KeyboardInterrupt
        return encode(model, audio)

    monkeypatch.setattr(clips, "encode", encode_until)
    with pytest.raises(KeyboardInterrupt):
        gather(songs, tiny)
    gather(songs, tiny)
    assert len(counted) == 5  # the second song alone is done again


@pytest.mark.parametrize("damage", [b"", b"\x80\x04K\x01.", b"\x93NUMPY\x01\x00"])
def test_a_damaged_cache_is_made_anew(songs, tiny, cache, damage):
    before = gather(songs, tiny).latents["tiny"].read(0, 3)
    for file in cache.glob("*.npy"):
        file.write_bytes(damage)
    np.testing.assert_array_equal(gather(songs, tiny).latents["tiny"].read(0, 3), before)


def test_another_song_of_the_same_name_is_another(songs, tiny, rng):
    before = gather(songs[1:2], tiny).latents["tiny"].read(0, 1)
    sf.write(songs[1], 0.1 * rng.standard_normal((5 * 8000, 2)).clip(-4, 4), 8000)
    assert not np.array_equal(gather(songs[1:2], tiny).latents["tiny"].read(0, 1), before)


def test_models_of_different_rates_are_refused(songs, models, tmp_path, files_of, store_model):
    from dataclasses import replace

    other = models["tiny"]
    other.spec = replace(other.spec, sample_rate=44_100)
    with pytest.raises(ModelError, match=r"small at 22050 Hz, tiny at 44100 Hz.*one rate at a time"):
        gather(songs, models)


def test_silence_alone_is_told(tmp_path, tiny):
    sf.write(tmp_path / "quiet.wav", np.zeros(12 * RATE), RATE)
    with pytest.raises(AudioFileError, match=r"all 2 clips are silent. Give songs"):
        gather([tmp_path / "quiet.wav"], tiny)


def test_short_files_alone_are_told(songs, tiny):
    with pytest.raises(AudioFileError, match=r"No clips of 5 s to analyse: shorter than 5 s \(2.0 s\)"):
        gather(songs[2:], tiny)


def test_latents_that_are_not_finite_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(tiny["tiny"], "encode", lambda _: np.full((1, 16, 575), np.nan, np.float32))
    with pytest.raises(ModelError, match="not finite"):
        encode(tiny["tiny"], np.zeros(SECONDS * RATE, np.float32))
