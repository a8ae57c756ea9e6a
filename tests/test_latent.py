from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rtae.latent import EFFECTS, NOISE_RANGE, apply_effects, chosen_dimensions, drifting_noise, uniform
from rtae.params import Snapshot
from rtae.spec import DECODER_FILE, ENCODER_FILE, ModelSpec

DIMS, STRIDE, RATE = 16, 48, 22_050
SPEC = ModelSpec(
    "m", "small", RATE, STRIDE, DIMS, 2, None, (0.0,) * DIMS, (1.0,) * DIMS, {ENCODER_FILE: "", DECODER_FILE: ""}, ""
)
NOISE = Snapshot().replace(noise_amount=1, noise_seed=3)
SPEEDS = [0.05, 1.0, 7.3, 100.0, 459.0, 1000.0]  # Hz; the frame rate is 459.4
ADD_ATOL = 3e-7  # float32 rounding of values around 1; measured 0
SINE_PEAK = 2**0.5  # two neighbouring values, weighted with cosine and sine, reach this at most


def noise_of(values: Snapshot, frame: int, frames: int, channels: int = 1) -> np.ndarray:
    return apply_effects(np.zeros((channels, DIMS, frames), np.float32), frame, values, SPEC)


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_defaults_return_the_very_array(rng, effect):
    z = rng.standard_normal((2, DIMS, 50)).astype(np.float32)
    assert effect.apply(z, 7, Snapshot(), SPEC) is z
    assert apply_effects(z, 7, Snapshot(), SPEC) is z


@pytest.mark.parametrize("values", [NOISE, Snapshot().replace(latent_scale=2)], ids=["noise", "scale"])
def test_effects_leave_their_input_alone(rng, values):
    z = rng.standard_normal((2, DIMS, 50)).astype(np.float32)
    before = z.copy()
    bent = apply_effects(z, 7, values, SPEC)
    assert np.array_equal(z, before)
    assert bent.dtype == np.float32
    assert bent.shape == z.shape
    assert not np.array_equal(bent, before)


@pytest.mark.parametrize("scale", [0, 0.5, 4])
def test_scale_multiplies(rng, scale):
    z = rng.standard_normal((2, DIMS, 50)).astype(np.float32)
    assert np.array_equal(apply_effects(z, 0, Snapshot().replace(latent_scale=scale), SPEC), z * np.float32(scale))


def test_noise_is_added_after_scaling(rng):
    z = rng.standard_normal((1, DIMS, 50)).astype(np.float32)
    both = apply_effects(z, 9, NOISE.replace(latent_scale=0.5), SPEC)
    assert both == pytest.approx(z * np.float32(0.5) + noise_of(NOISE, 9, 50), abs=ADD_ATOL)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("first", [0, 1, 12_345, 10**9, 10**12])
def test_any_split_into_windows_sees_the_same_noise(rng, speed, first):
    values = NOISE.replace(noise_speed=speed)
    whole = noise_of(values, first, 200)
    assert np.ptp(whole) > 0.1
    for _ in range(20):
        start = int(rng.integers(0, 199))
        count = int(rng.integers(1, 200 - start + 1))
        assert np.array_equal(noise_of(values, first + start, count), whole[:, :, start : start + count])


@pytest.mark.parametrize("frame", [2**31 - 50, 2**32 - 50, 10**12, 2**40])
def test_very_large_frame_numbers_give_fresh_noise(frame):
    far, near = noise_of(NOISE, frame, 100)[0], noise_of(NOISE, 0, 100)[0]
    assert np.isfinite(far).all()
    assert far.std() == pytest.approx(near.std(), rel=0.1)  # of 1600 values; measured within 2 %
    assert abs(np.corrcoef(far.ravel(), near.ravel())[0, 1]) < 0.1  # measured up to 0.04


def test_noise_is_uniform_within_its_range():
    noise = noise_of(NOISE, 0, 20_000)[0]
    assert np.abs(noise).max() <= NOISE_RANGE
    counts, _ = np.histogram(noise, bins=30, range=(-NOISE_RANGE, NOISE_RANGE))
    assert counts.sum() == noise.size
    expected = noise.size / 30
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 60  # 29 degrees of freedom: 1 in 1600 by chance
    assert np.abs(np.corrcoef(noise) - np.eye(DIMS)).max() < 0.04  # between dimensions; 5.6 standard deviations
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.01  # from frame to frame


@pytest.mark.parametrize("amount", [0.1, 2, 4])
def test_noise_follows_its_amount(amount):
    once, more = noise_of(NOISE, 5, 100), noise_of(NOISE.replace(noise_amount=amount), 5, 100)
    assert more == pytest.approx(once * np.float32(amount), rel=1e-6)


def test_noise_is_the_same_in_every_channel():
    noise = noise_of(NOISE, 5, 100, channels=3)
    assert np.array_equal(noise[0], noise[1])
    assert np.array_equal(noise[0], noise[2])


@pytest.mark.parametrize("speed", [1.0, 1000.0])
def test_seeds_and_dimensions_differ(speed):
    values = NOISE.replace(noise_speed=speed)
    first = noise_of(values, 0, 5000)[0]
    for seed in (0, 1, 2, 65_535):
        other = noise_of(values.replace(noise_seed=seed), 0, 5000)[0]
        assert np.abs(first - other).mean() > 0.3  # independent values are half of 0.75 apart, or more
    assert len(np.unique(first[:, 0])) == DIMS


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.9, 1])
@pytest.mark.parametrize("seed", [0, 1, 65_535])
def test_share_picks_so_many_dimensions(share, seed):
    values = NOISE.replace(noise_share=share, noise_seed=seed)
    touched = np.flatnonzero(np.abs(noise_of(values, 0, 50)[0]).max(axis=1))
    assert len(touched) == round(share * DIMS)
    assert np.array_equal(touched, chosen_dimensions(seed, DIMS, share))


def test_a_larger_share_keeps_the_dimensions_and_their_noise():
    chosen = [set(chosen_dimensions(3, DIMS, share).tolist()) for share in np.linspace(0, 1, DIMS + 1)]
    assert [len(dims) for dims in chosen] == list(range(DIMS + 1))
    assert all(fewer < more for fewer, more in pairwise(chosen))
    half, full = noise_of(NOISE.replace(noise_share=0.5), 0, 50)[0], noise_of(NOISE, 0, 50)[0]
    kept = sorted(chosen[DIMS // 2])
    assert np.array_equal(half[kept], full[kept])


def test_seeds_choose_different_dimensions():
    assert len({tuple(chosen_dimensions(seed, DIMS, 0.5).tolist()) for seed in range(10)}) > 5


@pytest.mark.parametrize("period", [1.0, 1.5, 4.0, 9.7, 100.0])
def test_the_variance_does_not_depend_on_the_speed(period):
    frames = round(8000 * period)
    noise = drifting_noise(11, 0, frames, DIMS, period)
    # 8000 independent values in each of 16 dimensions: measured within 1 % of a uniform value's 1/3.
    assert noise.var() == pytest.approx(1 / 3, rel=0.02)
    assert np.abs(noise).max() <= SINE_PEAK
    # It stays in between the values, too: the same at every phase.
    phase = np.arange(frames) / period % 1
    for low in np.arange(0, 1, 0.25):
        part = noise[:, (phase >= low) & (phase < low + 0.25)]
        assert part.size == 0 or part.var() == pytest.approx(1 / 3, rel=0.04)  # measured within 2 %


def test_slower_noise_is_smoother():
    steps = [np.abs(np.diff(noise_of(NOISE.replace(noise_speed=speed), 0, 5000)[0])).mean() for speed in SPEEDS]
    assert all(slow < fast for slow, fast in pairwise(steps[:5]))
    assert steps[0] < 0.001 < 0.3 < steps[-1]
    slow = noise_of(NOISE.replace(noise_speed=1.0), 0, 5000)[0]
    largest = NOISE_RANGE * SINE_PEAK * np.pi / 2 / SPEC.frame_rate  # the slope of a sine of that peak and speed
    assert np.abs(np.diff(slow)).max() <= largest * 1.001


def test_speed_is_in_values_per_second_whatever_the_model():
    finer = replace(SPEC, stride=STRIDE // 2)
    z = np.zeros((1, DIMS, 1000), np.float32)
    values = NOISE.replace(noise_speed=2.0)
    fine, coarse = apply_effects(z, 0, values, finer), apply_effects(z[:, :, :500], 0, values, SPEC)
    assert fine[:, :, ::2] == pytest.approx(coarse, abs=ADD_ATOL)


@pytest.mark.parametrize("dims", [1, 3, 4, 5, 32])
def test_uniform_is_a_function_of_seed_index_and_dimension(dims):
    whole = uniform(5, 0, 40, dims)
    assert whole.shape == (dims, 40)
    assert whole.min() >= -1
    assert whole.max() < 1
    assert len(np.unique(whole)) == whole.size
    assert all(np.array_equal(uniform(5, index, 1, dims)[:, 0], whole[:, index]) for index in range(40))
