import numpy as np
import pytest
import soundfile as sf

from rtae.errors import AudioFileError, ParameterError
from rtae.experiments import (
    correlation,
    dimensions_of,
    envelope_likeness,
    interpolate,
    perturb,
    random_latents,
    read_song,
    snr_db,
    spectral_flatness,
    spherical_way,
    through,
)
from rtae.nets.config import TINY

RATE = 22_050
SOUND_ATOL = 1e-5  # full scale


@pytest.fixture
def tiny(model_of):
    return model_of(TINY)


@pytest.fixture
def noise(rng):
    return lambda seconds=1.0: (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def test_the_ends_of_a_walk_are_the_songs_through_the_model(tiny, noise):
    first, second = noise(0.6), noise(0.5)
    walk = interpolate(tiny, first, second, 3)
    assert len(walk.first) == len(walk.second) == len(second)
    for way in ("linear", "spherical"):
        steps = walk.along(way)
        assert [step.share for step in steps] == [0, 0.5, 1]
        np.testing.assert_allclose(steps[0].audio, through(tiny, first[: len(second)]), atol=SOUND_ATOL)
        np.testing.assert_allclose(steps[2].audio, through(tiny, second), atol=SOUND_ATOL)


def test_the_middle_of_a_straight_line_is_the_mean_of_the_latents(tiny, noise):
    first, second = noise(0.3), noise(0.3)
    mean = (tiny.encode(first[None]) + tiny.encode(second[None])) / 2
    step = interpolate(tiny, first, second, 3).along("linear")[1]
    np.testing.assert_allclose(step.audio, tiny.decode(mean)[0, : len(first)], atol=SOUND_ATOL)


def test_a_circle_keeps_the_length_and_a_line_does_not(rng):
    first, second = (vector / np.linalg.norm(vector) for vector in rng.standard_normal((2, 5000)))
    lengths = [np.linalg.norm(spherical_way(first, second, share)) for share in np.linspace(0, 1, 9)]
    np.testing.assert_allclose(lengths, 1, rtol=1e-3)
    assert np.linalg.norm((first + second) / 2) < 0.75


@pytest.mark.parametrize("factor", [1, 2, -1, 0])
def test_songs_in_one_direction_have_no_circle_between_them(rng, factor):
    first = rng.standard_normal(100).astype(np.float32)
    np.testing.assert_allclose(spherical_way(first, factor * first, 0.25), (0.75 + 0.25 * factor) * first, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 0, 102])
def test_a_walk_of_impossible_steps(tiny, noise, steps):
    with pytest.raises(ParameterError, match="give 2 to 101"):
        interpolate(tiny, noise(0.1), noise(0.1), steps)


def test_random_values_are_put_into_the_chosen_dimensions_alone(tiny, noise):
    audio, seen = noise(0.2), []
    z = tiny.encode(audio[None])[0]

    class Spy:
        spec, encode = tiny.spec, staticmethod(tiny.encode)

        @staticmethod
        def decode(latents):
            seen.append(latents[0])
            return tiny.decode(latents)

    assert perturb(Spy, audio, [1, 3], 0.75).shape == audio.shape
    perturb(Spy, audio, [1, 3], 0.75, add=True)
    replaced, added = seen
    others = [n for n in range(16) if n not in (1, 3)]
    for latents in seen:
        np.testing.assert_array_equal(latents[others], z[others])
    assert 0.6 < np.abs(replaced[[1, 3]]).max() <= 0.75
    np.testing.assert_allclose(added[[1, 3]] - z[[1, 3]], replaced[[1, 3]], atol=1e-6)


def test_a_seed_repeats_and_another_does_not(tiny, noise):
    audio = noise(0.2)
    one, same, other = (perturb(tiny, audio, range(16), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert random_latents(tiny, 1000).shape == (1000,)


@pytest.mark.parametrize(("text", "chosen"), [("0", [0]), ("2-4, 0", [0, 2, 3, 4]), (" all ", list(range(16)))])
def test_dimensions(text, chosen):
    assert dimensions_of(text, 16) == chosen


@pytest.mark.parametrize("text", ["16", "3-1", "x", "", "0,,1", "-1", "0-99999"])
def test_dimensions_that_are_none(text):
    with pytest.raises(ParameterError, match=r"they are 0 to 15: give some, like 0-3,7, or all"):
        dimensions_of(text, 16)


def test_a_stretch_of_a_song(tmp_path, rng):
    audio = 0.1 * rng.standard_normal((3 * RATE, 2)).clip(-4, 4)
    sf.write(tmp_path / "a.wav", audio, RATE, "FLOAT")
    part = read_song(tmp_path / "a.wav", RATE, 1, 0.5)
    np.testing.assert_allclose(part, audio[RATE : RATE + RATE // 2].mean(axis=1), atol=1e-6)
    assert len(read_song(tmp_path / "a.wav", 11_025, 1)) == 2 * 11_025


@pytest.mark.parametrize(("start", "loud", "message"), [(5, 1, "choose an earlier start"), (0, 0, "is silent there")])
def test_a_stretch_with_nothing_in_it(tmp_path, rng, start, loud, message):
    sf.write(tmp_path / "a.wav", 0.1 * loud * rng.standard_normal(RATE), RATE)
    with pytest.raises(AudioFileError, match=message):
        read_song(tmp_path / "a.wav", RATE, start)


def test_figures_of_sounds(noise):
    hiss, seconds = noise(2), np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    assert snr_db(1.1 * tone, tone) == pytest.approx(20, abs=0.01)
    assert spectral_flatness(hiss) == pytest.approx(0.56, abs=0.03)
    assert spectral_flatness(tone) < 0.001
    assert correlation(tone, -tone) == pytest.approx(-1)
    assert correlation(tone, 0 * tone) == 0
    beat = ((seconds % 0.5) < 0.1).astype(np.float32)
    assert envelope_likeness(beat * tone, beat * hiss, RATE) > 0.95
    assert abs(envelope_likeness(beat * tone, hiss, RATE)) < 0.3
