import math

import numpy as np
import pytest

from rtae.dsp import DelayLine, History, LevelMatch, Limiter, Ramp, db_to_gain, fade_in, finite

RATE = 22_050
LONGEST = 4096  # samples in one block
ROUNDING = 2e-7  # a gain worked out from float32 samples; measured 6e-8
CUTS = {
    "1": [1],
    "31": [31],
    "32": [32],
    "33": [33],
    "480": [480],
    "4096": [4096],
    "mixed": [1, 2047, 64, 3, 1000, 33, 4096],
}


def limit(limiter: Limiter, audio: np.ndarray, blocks: list[int], ceiling: float = 1.0) -> np.ndarray:
    parts, position, number = [], 0, 0
    while position < audio.shape[1]:
        block = audio[:, position : position + blocks[number % len(blocks)]]
        parts.append(limiter.process(block, np.float32(ceiling)))
        assert parts[-1].shape == block.shape
        position += block.shape[1]
        number += 1
    return np.concatenate(parts, axis=1)


def delayed(audio: np.ndarray, delay: int) -> np.ndarray:
    return np.pad(audio, ((0, 0), (delay, 0)))[:, : audio.shape[1]]


def bursts(rng: np.random.Generator, channels: int, samples: int, loudest: float) -> np.ndarray:
    """Noise that goes from silence to loudest and back, in stretches of random length."""
    level = np.repeat(rng.choice([0, 0.3, 1, loudest], samples), rng.integers(1, 400, samples))[:samples]
    return (level * rng.uniform(-1, 1, (channels, samples))).astype(np.float32)


@pytest.mark.parametrize("blocks", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("channels", [1, 2])
def test_limiter_leaves_what_is_within_the_ceiling_as_it_is(rng, channels, blocks):
    audio = rng.uniform(-0.5, 0.5, (channels, 5000)).astype(np.float32)
    audio[:, 100], audio[:, 2000] = 0.5, -0.5
    out = limit(Limiter(channels, RATE), audio, blocks, ceiling=0.5)
    assert out.dtype == np.float32
    assert np.array_equal(out, delayed(audio, Limiter.DELAY))


@pytest.mark.parametrize("ceiling_db", [0, -0.1, -6, -24])
@pytest.mark.parametrize("loudest", [1.5, 20, 1e6])
def test_limiter_never_exceeds_its_ceiling(rng, ceiling_db, loudest):
    ceiling = np.float32(db_to_gain(ceiling_db))
    audio = bursts(rng, 2, 20_000, loudest)
    assert np.abs(audio).max() > 1.3 * ceiling
    out = limit(Limiter(2, RATE), audio, [1023, 64, 3], ceiling)
    assert np.abs(out).max() <= ceiling
    assert np.abs(out).max() > 0.5 * ceiling  # limited, not silenced


@pytest.mark.parametrize("place", range(0, 70, 3))
def test_limiter_is_in_time_for_a_single_sample(place):
    audio = np.full((1, 400), 0.25, np.float32)
    audio[0, 100 + place] = -8
    out = limit(Limiter(1, RATE), audio, [50])
    assert np.abs(out).max() <= 1
    # It is the gain that came down, not the sample that was cut off.
    arrived = 100 + place + Limiter.DELAY
    assert out[0, arrived] < -0.5
    assert abs(out[0, arrived - 1] * 4 - abs(out[0, arrived]) / 8) < 1 / Limiter.PIECE


@pytest.mark.parametrize("blocks", CUTS.values(), ids=CUTS)
def test_limiter_does_not_depend_on_the_blocks(rng, blocks):
    audio = bursts(rng, 2, 9000, 5.0)
    whole = limit(Limiter(2, RATE), audio, [LONGEST])
    assert np.abs(whole - delayed(audio, Limiter.DELAY)).max() > 1
    assert np.array_equal(limit(Limiter(2, RATE), audio, blocks), whole)


@pytest.mark.parametrize("loud", [0, 1])
def test_limiter_turns_all_channels_down_together_and_smoothly(rng, loud):
    audio = np.concatenate([bursts(rng, 1, 40_000, 30.0), np.full((1, 40_000), 0.01, np.float32)])
    out = limit(Limiter(2, RATE), audio[:: 1 - 2 * loud], [480])[:: 1 - 2 * loud, Limiter.DELAY :]
    gain = out[1] / audio[1, 0]  # the quiet channel shows what the loud one caused
    assert gain.min() < 0.1
    assert gain.max() <= 1 + ROUNDING
    heard = np.abs(audio[0, : -Limiter.DELAY]) > 1e-3
    assert np.abs(out[0] / np.where(heard, audio[0, : -Limiter.DELAY], 1) - gain)[heard].max() < 1e-6
    steps = np.diff(gain)
    assert -steps.min() <= 1 / Limiter.PIECE + ROUNDING  # the fastest fall: from full gain to silence in one piece
    assert steps.max() <= 1 / (Limiter.RELEASE_SECONDS * RATE) + ROUNDING
    assert steps.max() > 0.9 / (Limiter.RELEASE_SECONDS * RATE)  # and it does rise again


def test_limiter_returns_to_full_gain_and_reports_it(rng):
    limiter = Limiter(1, RATE)
    limit(limiter, np.full((1, 640), 4, np.float32), [64])
    assert limiter.lowest == pytest.approx(0.25, abs=ROUNDING)
    quiet = rng.uniform(-0.5, 0.5, (1, 4000)).astype(np.float32)
    out = limit(limiter, quiet, [64])
    assert limiter.lowest == 1
    recovered = Limiter.DELAY + Limiter.PIECE + round(0.75 * Limiter.RELEASE_SECONDS * RATE)
    assert np.array_equal(out[:, recovered + Limiter.PIECE :], delayed(quiet, Limiter.DELAY)[:, recovered + 32 :])


def test_limiter_reset_equals_a_fresh_one(rng):
    used, audio = Limiter(2, RATE), bursts(rng, 2, 3000, 4.0)
    limit(used, audio[:, :1777] * 3, [100])
    used.reset()
    assert np.array_equal(limit(used, audio, [480]), limit(Limiter(2, RATE), audio, [480]))


def test_a_lower_ceiling_holds_after_its_way_there(rng):
    limiter, audio = Limiter(1, RATE), bursts(rng, 1, 4000, 3.0)
    limit(limiter, audio, [100], ceiling=1.0)
    out = np.abs(limit(limiter, audio, [100], ceiling=0.1))
    way = round(Limiter.CEILING_SECONDS * RATE) + Limiter.DELAY + Limiter.PIECE
    assert out.max() <= 1
    assert out[:, way:].max() <= np.float32(0.1)


@pytest.mark.parametrize("delay", [0, 1, 100])
@pytest.mark.parametrize("blocks", CUTS.values(), ids=CUTS)
def test_delay_line_delays(rng, delay, blocks):
    audio = rng.standard_normal((2, 5000)).astype(np.float32)
    line, parts, position, number = DelayLine(2, delay, LONGEST), [], 0, 0
    while position < audio.shape[1]:
        parts.append(line.process(audio[:, position : position + blocks[number % len(blocks)]]))
        position += parts[-1].shape[1]
        number += 1
    assert np.array_equal(np.concatenate(parts, axis=1), delayed(audio, delay))


def test_delay_line_reset_is_silence(rng):
    line = DelayLine(1, 50, 64)
    line.process(rng.standard_normal((1, 64)).astype(np.float32))
    line.reset()
    assert np.array_equal(line.process(np.ones((1, 60), np.float32))[0], [0.0] * 50 + [1.0] * 10)


def test_ramp_takes_the_first_value_at_once_and_rests_as_a_number():
    ramp = Ramp(LONGEST)
    assert ramp.next(0.25, 8) == 0.25
    assert ramp.next(0.25, 8) == 0.25


@pytest.mark.parametrize("samples", [1, 2, 480])
def test_ramp_is_a_straight_line_that_ends_at_its_target(samples):
    ramp = Ramp(LONGEST)
    ramp.next(0.5, samples)
    gain = ramp.next(-1.5, samples)
    assert gain.dtype == np.float32
    assert gain.shape == (samples,)
    assert gain[-1] == -1.5
    assert np.diff([0.5, *gain]) == pytest.approx(-2 / samples, abs=ROUNDING)
    assert ramp.next(-1.5, samples) == -1.5


def test_ramp_rests_at_its_target_once_its_length_is_over():
    ramp = Ramp(100)
    ramp.next(0.0, 480)
    gain = ramp.next(1.0, 480)
    assert np.diff([0.0, *gain[:100]]) == pytest.approx(0.01, abs=ROUNDING)
    assert (gain[99:] == 1.0).all()


def test_ramp_after_reset_jumps():
    ramp = Ramp(LONGEST)
    ramp.next(0.0, 8)
    ramp.reset()
    assert ramp.next(1.0, 8) == 1.0


@pytest.mark.parametrize("samples", [1, 2, 147, 441])
def test_fade_in_and_its_reverse_sum_to_one(samples):
    fade = fade_in(samples)
    assert fade.dtype == np.float32
    assert fade.shape == (samples,)
    assert np.all(np.diff(fade) > 0)
    assert 0 < fade[0] <= 0.5 <= fade[-1] < 1
    assert fade + fade[::-1] == pytest.approx(1, abs=ROUNDING)


def test_fade_in_of_nothing_is_empty():
    assert fade_in(0).shape == (0,)


def test_finite_passes_the_very_object_that_is_clean(rng):
    block = rng.standard_normal((2, 100)).astype(np.float32)
    assert finite(block)[0] is block
    assert finite(block)[1] == 0


def test_finite_silences_and_counts_what_is_broken():
    block = np.array([[1, np.nan, -2], [np.inf, -np.inf, 3]], np.float32)
    clean, broken = finite(block)
    assert broken == 3
    assert clean.dtype == np.float32
    assert np.array_equal(clean, np.array([[1, 0, -2], [0, 0, 3]], np.float32))
    assert np.isnan(block[0, 1])  # the caller's own is not touched


@pytest.mark.parametrize(("db", "gain"), [(0, 1), (20, 10), (-20, 0.1), (-60, 0.001), (24, 15.848931924611136)])
def test_db_to_gain(db, gain):
    assert db_to_gain(db) == pytest.approx(gain, rel=1e-12)


# -- history -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("lengths", [[1], [7], [30], [3, 0, 50, 1, 29, 31]], ids=str)
def test_history_keeps_the_newest_frames(rng, lengths):
    z, history, end = rng.standard_normal((2, 3, 400)).astype(np.float32), History(2, 3, 30), 0
    while end < 300:
        for length in lengths:
            history.append(z[:, :, end : end + length])
            end += length
            kept = min(end, 30)
            assert history.stored == kept
            for wanted in (0, 1, 13, 30, 99):
                assert np.array_equal(history.newest(wanted), z[:, :, end - min(wanted, kept) : end])


def test_history_takes_back_the_newest_frames(rng):
    z, history = rng.standard_normal((1, 2, 100)).astype(np.float32), History(1, 2, 30)
    history.append(z[:, :, :50])
    history.cut(10)
    assert np.array_equal(history.newest(99), z[:, :, 20:40])
    history.cut(-5)
    assert history.stored == 20
    history.append(z[:, :, 40:45])
    assert np.array_equal(history.newest(99), z[:, :, 20:45])
    history.cut(1000)
    assert history.newest(99).shape == (1, 2, 0)
    history.append(z[:, :, 90:])
    assert np.array_equal(history.newest(99), z[:, :, 90:])


def test_history_cleared_is_empty(rng):
    history = History(1, 2, 30)
    history.append(rng.standard_normal((1, 2, 40)).astype(np.float32))
    history.clear()
    assert history.stored == 0
    assert history.newest(5).shape == (1, 2, 0)


# -- level match -------------------------------------------------------------------------------------------------------
def noise(rng: np.random.Generator, seconds: float, level_db: float) -> np.ndarray:
    return (db_to_gain(level_db) * rng.standard_normal((2, round(seconds * RATE)))).astype(np.float32)


@pytest.mark.parametrize(("signal_db", "gain_db"), [(-20, 0), (-8, -12), (-32, 12), (-43, 23), (-50, 24), (10, -24)])
def test_level_match_is_right_from_the_first_block_and_within_its_range(rng, signal_db, gain_db):
    gain = LevelMatch(RATE).listen(noise(rng, 0.2, -20), noise(rng, 0.2, signal_db))
    assert 20 * math.log10(gain) == pytest.approx(gain_db, abs=0.2)  # of 8820 random samples; measured within 0.1


@pytest.mark.parametrize("block", [100, 2048, 11_025])
def test_level_match_follows_within_its_time(rng, block):
    match = LevelMatch(RATE)
    signal = np.concatenate([noise(rng, 5, -20), noise(rng, 5, -40)], axis=1)
    reference = noise(rng, 10, -20)
    gains = {}
    for start in range(0, 10 * RATE, block):
        gains[start + block] = match.listen(reference[:, start : start + block], signal[:, start : start + block])
    for end, gain in gains.items():
        late = max(0, end - 5 * RATE) / RATE
        old = math.exp(-late / match.SECONDS)
        assert late == 0 or 20 * math.log10(gain) == pytest.approx(-10 * math.log10(old + (1 - old) / 100), abs=0.6)
    assert 20 * math.log10(gain) == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("silent", ["reference", "signal", "both"])
def test_level_match_holds_in_silence(rng, silent):
    match = LevelMatch(RATE)
    loud, quiet = noise(rng, 2, -20), noise(rng, 2, -30)
    before = match.listen(loud, quiet)
    for level in (-62, -300):
        for _ in range(50):
            reference, signal = (noise(rng, 0.2, level if silent in (name, "both") else -10) for name in SILENT)
            assert match.listen(reference, signal) == before
    assert match.listen(loud[:, :2000], quiet[:, :2000]) == pytest.approx(before, rel=0.01)


SILENT = ("reference", "signal")


def test_level_match_before_anything_was_heard_changes_nothing():
    match, silence = LevelMatch(RATE), np.zeros((2, 100), np.float32)
    assert match.listen(silence, silence) == 1
    assert match.listen(silence[:, :0], silence[:, :0]) == 1


def test_level_match_reset_equals_a_fresh_one(rng):
    used, blocks = LevelMatch(RATE), (noise(rng, 0.1, -20), noise(rng, 0.1, -25))
    used.listen(blocks[1] * 9, blocks[0])
    used.reset()
    assert used.gain == 1
    assert used.listen(*blocks) == LevelMatch(RATE).listen(*blocks)
