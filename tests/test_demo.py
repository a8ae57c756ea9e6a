"""The demo track: its level, its spectrum, its stereo image, and that the shipped file is what the code composes."""

import re
from itertools import chain

import numpy as np
import pytest
import soundfile as sf

from rtae import demo

SECOND = demo.RATE
QUIETEST_SECOND_DB = -30.0  # measured -23, the one before the last chord fades
SHIPPED_CORRELATION = 0.98  # measured 0.997, Vorbis at the default quality


def db(x):
    """Level in dB full scale."""
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))) + 1e-12)


@pytest.fixture(scope="module")
def piece():
    return demo.compose()


@pytest.fixture(scope="module")
def power(piece):
    """Share of the energy of the mono sum in a band."""
    spectrum = np.abs(np.fft.rfft(piece.mean(axis=0))) ** 2
    hz = np.fft.rfftfreq(piece.shape[1], 1 / demo.RATE)
    return lambda low_hz, high_hz: 10 * np.log10(spectrum[(hz >= low_hz) & (hz < high_hz)].sum() / spectrum.sum())


def test_format_and_level(piece):
    assert piece.dtype == np.float32
    assert piece.shape[0] == 2
    assert 25 <= piece.shape[1] / demo.RATE <= 40
    assert np.isfinite(piece).all()
    assert -3 <= 20 * np.log10(np.abs(piece).max()) <= 0
    assert -17 < db(piece) < -13
    assert np.abs(piece.mean(axis=1)).max() < 1e-3


def test_starts_and_ends_in_near_silence(piece):
    edge = SECOND // 20
    assert np.abs(piece[:, : SECOND // 1000]).max() < 1e-3
    assert np.abs(piece[:, -edge:]).max() < 1e-3
    assert db(piece[:, :SECOND]) > QUIETEST_SECOND_DB


def test_no_second_is_empty_and_the_chorus_is_louder_than_the_intro(piece):
    sounding = piece[:, : 32 * SECOND].reshape(2, 32, SECOND)
    levels = [db(sounding[:, second]) for second in range(32)]
    assert min(levels) > QUIETEST_SECOND_DB
    assert min(levels[12:28]) > max(levels[:4])


def test_stereo_and_mono_compatible(piece):
    left, right = piece
    side, mid = db(left - right), db(left + right)
    assert -20 < side - mid < -6
    assert db(piece.mean(axis=0)) > db(piece) - 1.5
    assert abs(db(left) - db(right)) < 1


def test_energy_from_bass_to_treble(power):
    assert -6 < power(30, 200) < -1
    assert power(200, 2000) > -8
    assert power(2000, 6000) > -18
    assert power(6000, 11000) > -24
    assert power(0, 25) < -20


def test_same_numbers_on_each_call(monkeypatch):
    monkeypatch.setattr(demo, "MIX", {"solo": demo.MIX["solo"]})  # one voice, and the room, take a fifth of the time
    first = demo.compose()
    assert first.any()
    np.testing.assert_array_equal(demo.compose(), first)


def test_shipped_file_is_the_composition(piece):
    shipped, rate = sf.read(demo.DEMO_PATH, dtype="float32", always_2d=True)
    assert rate == demo.RATE
    assert shipped.T.shape == piece.shape
    assert np.abs(shipped).max() <= 1
    assert demo.DEMO_PATH.stat().st_size <= 700_000
    for channel in range(2):
        assert np.corrcoef(shipped[:, channel], piece[channel])[0, 1] > SHIPPED_CORRELATION


@pytest.mark.parametrize("line", ["CHORDS", "BASS", "MELODY", "SOLO"])
def test_every_bar_of_the_score_is_full(line):
    bars = getattr(demo, line).split("|")
    assert len(bars) == demo.BARS
    assert [sum(map(int, re.findall(r"/(\d+)(?=\s|$)", bar))) for bar in bars] == [demo.BAR] * demo.BARS


def test_every_pattern_fits_its_bar():
    assert len(demo.DRUMS) == len(demo.COMPING) == len(demo.ARPEGGIO) == demo.BARS
    patterns = [*demo.COMPING, *demo.ARPEGGIO, *chain.from_iterable(bar.values() for bar in demo.DRUMS)]
    assert {len(pattern) for pattern in patterns} <= {1, demo.BAR}
    assert {voice for bar in demo.DRUMS for voice in bar} == set(demo.KIT)


@pytest.mark.parametrize(("name", "hz"), [("A4", 440.0), ("C4", 261.626), ("Bb1", 58.270), ("C#5", 554.365)])
def test_pitch(name, hz):
    assert demo.pitch(name) == pytest.approx(hz, rel=1e-5)


@pytest.mark.parametrize("name", ["F4", "A5", "C6"])
@pytest.mark.parametrize("instrument", [demo.pluck, demo.lead], ids=lambda instrument: instrument.__name__)
def test_instruments_are_in_tune_and_begin_and_end_at_zero(instrument, name):
    sound = instrument(demo.pitch(name), 0.5, np.random.default_rng(1))
    assert abs(sound[0]) < 1e-6
    assert abs(sound[-1]) < 1e-6
    size = 1 << 20  # 0.04 Hz from bin to bin
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    near = np.fft.rfftfreq(size, 1 / demo.RATE)
    spectrum[(near < 0.9 * demo.pitch(name)) | (near > 1.1 * demo.pitch(name))] = 0
    assert abs(1200 * np.log2(near[spectrum.argmax()] / demo.pitch(name))) < 4  # cents


def test_limiter_holds_its_ceiling_and_leaves_quiet_sound_alone():
    rng = np.random.default_rng(2)
    loud = rng.uniform(-2, 2, (2, 10_000))
    loud[:, :5000] *= 0.1
    out = demo.limit(loud, 0.5)
    assert np.abs(out).max() <= 0.5 + 1e-12
    np.testing.assert_array_equal(out[:, :4000], loud[:, :4000])


def test_saw_holds_no_harmonic_above_15_khz():
    hz = np.full(demo.RATE, 1000.0)
    spectrum = np.abs(np.fft.rfft(demo.saw(hz, np.full(demo.RATE, 14000.0), 0.0)))
    assert spectrum[1000] > 1000 * spectrum[15_100:].max()
    assert spectrum[14_000] > spectrum[1000] / 100
