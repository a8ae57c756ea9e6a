"""The resampler for exactly twice the model's rate."""

import numpy as np
import pytest

from rtae.resample import Double, Halve, Resampling, Soxr, converters, lowpass

RATE, MODEL_RATE = 44_100, 22_050
TONE_ATOL = 1e-4  # full scale; measured 1.4e-5


def there_and_back(audio):
    return Double(len(audio)).process(Halve(len(audio)).process(audio))


def response_db(hz):
    taps = lowpass()
    place = np.arange(len(taps))
    return 20 * np.log10(abs(np.sum(taps * np.exp(-2j * np.pi * hz / RATE * place))) + 1e-12)


def test_the_filter_passes_what_the_model_carries_and_nothing_else():
    for hz in (0, 100, 5000, 10_000, 10_400):
        assert abs(response_db(hz)) < 0.1
    for hz in (11_700, 12_000, 15_000, 20_000, 22_000):
        assert response_db(hz) < -65


@pytest.mark.parametrize("hz", [20, 440, 9000])
def test_a_tone_comes_back_as_it_was_and_as_late_as_stated(hz):
    tone = np.sin(2 * np.pi * hz / RATE * np.arange(20_000))[None].astype(np.float32)
    back = there_and_back(tone)
    delay, edge = Resampling.of(RATE, MODEL_RATE, 2048, "HQ").delay, 400
    assert back.shape == tone.shape
    assert np.abs(back[:, edge + delay :] - tone[:, edge:-delay]).max() < TONE_ATOL


def test_cutting_changes_nothing(rng):
    audio = rng.normal(size=(2, 9000)).astype(np.float32)
    down, up = Halve(2), Double(2)
    parts, start = [], 0
    for length in (2, 4096, 100, 0, 4802):
        parts.append(up.process(down.process(audio[:, start : start + length])))
        start += length
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), there_and_back(audio))


def test_each_channel_is_by_itself(rng):
    audio = rng.normal(size=(2, 2000)).astype(np.float32)
    np.testing.assert_array_equal(there_and_back(audio)[1:], there_and_back(audio[1:]))


@pytest.mark.parametrize(
    ("rate", "quality", "kinds"),
    [
        (RATE, "HQ", (Halve, Double)),
        (RATE, "VHQ", (Soxr, Soxr)),
        (48_000, "HQ", (Soxr, Soxr)),
        (88_200, "HQ", (Soxr, Soxr)),
    ],
)
def test_the_own_filter_serves_exactly_twice_the_rate(rate, quality, kinds):
    assert tuple(type(each) for each in converters(rate, MODEL_RATE, (2, 1), quality)) == kinds


@pytest.mark.parametrize(("rate", "most"), [(MODEL_RATE, 0), (RATE, 200), (48_000, 8000)])
def test_what_resampling_costs(rate, most):
    cost = Resampling.of(rate, MODEL_RATE, 2048, "HQ")
    assert most // 4 <= cost.delay <= most
    assert cost.lead in (0, cost.delay)
