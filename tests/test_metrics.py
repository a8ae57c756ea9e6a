from itertools import pairwise

import numpy as np
import pytest
import soxr
import torch

from rtae import metrics as module
from rtae.metrics import (
    METRICS,
    beat_f,
    f_measure,
    log_mel,
    low_passed,
    middle,
    mr_stft,
    octave_edges,
    octaves,
    onset_f,
    si_sdr,
    si_sdr_below,
    snr,
    visqol,
)

RATE = 22_050
DECIBEL_ATOL = 0.01
SECONDS = 4


@pytest.fixture(scope="module")
def clicks():
    """Decaying bursts of noise, two a second, over soft noise: beats and onsets that anybody hears."""
    rng = np.random.default_rng(5)
    sound = 0.001 * rng.standard_normal(SECONDS * RATE)
    burst = rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300)
    for at in range(RATE // 4, len(sound) - 2000, RATE // 2):
        sound[at : at + 2000] += 0.3 * burst
    return sound.astype(np.float32)


def noise(rng, samples=RATE):
    return (0.1 * rng.standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "visqol"])
def test_what_is_the_same_is_perfect(clicks, name):
    got = METRICS[name].measure(clicks, clicks.copy(), RATE)
    for value in got.values() if isinstance(got, dict) else [got]:
        assert value == pytest.approx(METRICS[name].best, abs=1e-6)


@pytest.mark.parametrize("wanted", [-10.0, 0.0, 20.0, 60.0])
def test_noise_of_a_known_level(rng, wanted):
    target, error = noise(rng).astype(np.float64), noise(rng).astype(np.float64)
    error -= target * (error @ target) / (target @ target)  # at right angles: then SI-SDR is SNR
    error *= np.sqrt((target @ target) / (error @ error)) * 10 ** (-wanted / 20)
    output = (target + error).astype(np.float32)
    assert snr(target.astype(np.float32), output, RATE) == pytest.approx(wanted, abs=DECIBEL_ATOL)
    assert si_sdr(target.astype(np.float32), output, RATE) == pytest.approx(wanted, abs=DECIBEL_ATOL)


def test_a_gain_of_3_db(clicks):
    louder = clicks * np.float32(10 ** (3 / 20))
    bands = octaves(clicks, louder, RATE)
    assert len(bands) == 8
    assert list(bands.values()) == pytest.approx([3.0] * 8, abs=DECIBEL_ATOL)
    assert si_sdr(clicks, louder, RATE) > 120  # the scale does not matter to it; the rounding of float32 does
    assert snr(clicks, louder, RATE) == pytest.approx(-20 * np.log10(10 ** (3 / 20) - 1), abs=DECIBEL_ATOL)
    assert 2.5 < log_mel(clicks, louder, RATE) <= 3.001  # less where both are below the range


def test_the_distance_of_spectra_is_the_one_of_training(rng):
    from rtae.training.losses import spectral_distance

    target, output = noise(rng), noise(rng)
    expected = float(spectral_distance()(*(torch.from_numpy(x)[None, None] for x in (output, target))))
    assert mr_stft(target, output, RATE) == pytest.approx(expected, rel=1e-6)


def sine(hz, rate=RATE):
    return np.sin(2 * np.pi * hz * np.arange(rate) / rate).astype(np.float32)


def test_what_lies_above_the_edge_does_not_count_below_it():
    target, output = sine(1000) + sine(5000), sine(1000)
    assert si_sdr(target, output, RATE) == pytest.approx(0, abs=0.1)  # half of the energy is missing
    assert si_sdr_below(target, output, RATE, 3000) > 100
    assert low_passed(target, RATE, 3000) == pytest.approx(output, abs=1e-5)
    assert low_passed(target, RATE, 6000) == pytest.approx(target, abs=1e-5)


def test_octaves_tell_where_energy_is_missing():
    bands = octaves(sine(100) + sine(3000) + sine(5000), sine(100) + sine(3000) / 2, RATE)
    assert bands["62-125"] == pytest.approx(0, abs=DECIBEL_ATOL)
    assert bands["2k-4k"] == pytest.approx(-20 * np.log10(2), abs=DECIBEL_ATOL)
    assert bands["4k-8k"] < -60
    assert bands["8k-11k"] is None  # there was nothing


@pytest.mark.parametrize(("rate", "last"), [(8000, 4000), (22_050, 11_025), (44_100, 22_050), (48_000, 24_000)])
def test_octaves_end_at_half_the_rate(rate, last):
    edges = octave_edges(rate)
    assert edges[-1] == last
    assert all(high / low <= 2 for low, high in pairwise(edges))
    assert set(octaves(sine(440, rate), sine(440, rate), rate).values()) == {0.0, None}


def test_silence_has_no_figures():
    silent = np.zeros(2 * RATE, np.float32)
    for name in ("snr", "si_sdr", "log_mel", "visqol", "beat_f", "onset_f"):
        assert METRICS[name].measure(silent, silent, RATE) is None, name
    assert set(octaves(silent, silent, RATE).values()) == {None}


# -- rhythm and hearing ------------------------------------------------------------------------------------------------
def test_beats_and_onsets_are_lost_with_the_sound(clicks):
    silent = np.zeros_like(clicks)
    assert beat_f(clicks, silent, RATE) == onset_f(clicks, silent, RATE) == 0.0
    assert beat_f(silent, clicks, RATE) is onset_f(silent, clicks, RATE) is None


def test_onsets_elsewhere_are_no_hits(clicks):
    late = np.roll(clicks, RATE // 5)
    assert onset_f(clicks, late, RATE) < 0.3
    assert onset_f(clicks, np.roll(clicks, RATE // 100), RATE) > 0.8  # 10 ms


def test_the_f_measure_by_hand():
    target, output = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.02, 2.5])
    assert f_measure(target, output, 0.05) == pytest.approx(2 * 0.5 * 0.25 / (0.5 + 0.25))
    assert f_measure(target, np.zeros(0), 0.05) == 0.0
    assert f_measure(np.zeros(0), target, 0.05) is None


@pytest.mark.parametrize("rate", [4000, 48_000])
def test_other_rates_have_figures(clicks, rate):
    target = soxr.resample(clicks, RATE, rate)
    output = target[::-1].copy()
    for name in METRICS.keys() - {"visqol"}:
        value = METRICS[name].measure(target, output, rate)
        assert value is not None, name


def test_the_ear_of_visqol(clicks):
    pytest.importorskip("visqol", reason="the extra 'visqol' is not installed; it needs a C++ compiler")
    best, worse = visqol(clicks, clicks, RATE), visqol(clicks, low_passed(clicks, RATE, 1000), RATE)
    assert best == pytest.approx(METRICS["visqol"].best, abs=0.01)
    assert 1 <= worse < best - 0.5
    assert visqol(clicks[: RATE // 2], clicks[: RATE // 2], RATE) is None  # too short


def test_the_middle():
    assert middle(np.arange(10, dtype=np.float32), 1, 4).tolist() == [3, 4, 5, 6]
    assert len(middle(np.zeros(3, np.float32), 1, 4)) == 3


def test_what_is_missing_is_said(monkeypatch):
    assert {metric.missing() for name, metric in METRICS.items() if name != "visqol"} == {""}
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "visqol" else object())
    assert METRICS["beat_f"].missing() == ""
    assert METRICS["visqol"].missing() == (
        "ViSQOL needs visqol. Install the extra 'visqol'; in a checkout: pip install '.[visqol]'"
    )
