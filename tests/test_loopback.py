from types import SimpleNamespace

import numpy as np
import pytest

from rtae.errors import DeviceError, DisturbedError
from rtae.loopback import LEVEL, MIN_CONFIDENCE, Probe, chirp, find_delay
from rtae.measuring import wait_for_probe

RATE = 48_000
SECONDS = 2.5  # of recording
DELAY_ATOL = 0.1  # samples; measured 0.001 clean, up to 0.06 at 0 dB SNR
GAIN_RTOL = 0.05  # measured 0.0001 clean, up to 0.034 at 0 dB SNR
DELAYS = ((0, 0.0), (0, 0.3), (0.002, 0.5), (0.1, 0.77), (1, 0.25), (2, -0.45))  # seconds, samples


def came_back(delay: float, gain: float = 1.0, rate: int = RATE, cut_hz: float = np.inf) -> np.ndarray:
    """What an ideal wire with a delay records: band-limited, exact to any fraction of a sample."""
    samples = round(SECONDS * rate)
    size = 2 * samples
    spectrum = np.fft.rfft(chirp(rate).astype(np.float64), size)
    places = np.fft.rfftfreq(size)
    spectrum *= np.exp(-2j * np.pi * places * delay) * (places * rate < cut_hz)
    return (gain * np.fft.irfft(spectrum, size)[:samples]).astype(np.float32)


def power(rate: int = RATE) -> float:
    return float(np.mean(chirp(rate) ** 2))


def hum(mains: float, level: float = 1.0) -> np.ndarray:
    time = np.arange(round(SECONDS * RATE)) / RATE
    return level * sum(np.sin(2 * np.pi * mains * k * time + k) / k for k in range(1, 12))


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 192_000])
def test_the_chirp_is_as_promised(rate):
    sound = chirp(rate)
    assert sound.shape == (rate // 4,)
    assert sound.dtype == np.float32
    assert 0.98 * LEVEL < np.abs(sound).max() <= LEVEL
    assert np.abs(sound[[0, -1]]).max() < 1e-3 * LEVEL  # it does not click
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / rate)
    band = (frequencies > 180) & (frequencies < min(10_500, 0.42 * rate))
    assert spectrum[band].sum() > 0.98 * spectrum.sum()
    assert spectrum[(frequencies > 250) & (frequencies < min(9000, 0.36 * rate))].min() > 1e-3 * spectrum.max()


@pytest.mark.parametrize(("rate", "seconds"), [(500, 0.25), (48_000, 0.01), (48_000, -1.0)])
def test_no_chirp_of_nothing(rate, seconds):
    with pytest.raises(ValueError, match="give at least"):
        chirp(rate, seconds)


@pytest.mark.parametrize(("seconds", "fraction"), DELAYS)
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_a_wire(rate, seconds, fraction):
    delay = round(seconds * rate) + fraction
    found = find_delay(came_back(delay, rate=rate), chirp(rate), rate)
    assert found.samples == pytest.approx(delay, abs=DELAY_ATOL)
    assert found.gain == pytest.approx(1.0, rel=GAIN_RTOL)
    assert found.confidence > 20


@pytest.mark.parametrize(("seconds", "fraction"), DELAYS)
@pytest.mark.parametrize("gain", [0.01, 1.0, 10.0, -0.5])
def test_noise_as_loud_as_the_signal(rng, seconds, fraction, gain):
    delay = round(seconds * RATE) + fraction
    noise = abs(gain) * np.sqrt(power()) * rng.standard_normal(round(SECONDS * RATE))
    found = find_delay((came_back(delay, gain) + noise).astype(np.float32), chirp(RATE), RATE)
    assert found.samples == pytest.approx(delay, abs=DELAY_ATOL)
    assert found.gain == pytest.approx(gain, rel=GAIN_RTOL)
    assert found.confidence > 2 * MIN_CONFIDENCE


@pytest.mark.parametrize("mains", [50.0, 60.0, 49.97])
@pytest.mark.parametrize("gain", [0.05, -1.0])
def test_a_hum_ten_times_as_loud(rng, mains, gain):
    noise = 1e-3 * rng.standard_normal(round(SECONDS * RATE))
    recorded = came_back(12_345.6, gain, cut_hz=8000) + hum(mains, 10 * LEVEL * abs(gain)) + noise
    found = find_delay(recorded.astype(np.float32), chirp(RATE), RATE)
    assert found.samples == pytest.approx(12_345.6, abs=DELAY_ATOL)
    assert found.gain == pytest.approx(gain, rel=0.2)


def test_a_converter_that_cuts_off_the_top():
    found = find_delay(came_back(777.7, cut_hz=8000), chirp(RATE), RATE)
    assert found.samples == pytest.approx(777.7, abs=DELAY_ATOL)
    assert found.gain == pytest.approx(1.0, rel=GAIN_RTOL)


def test_an_input_that_clips():
    found = find_delay(came_back(777.7, gain=10.0).clip(-1, 1), chirp(RATE), RATE)
    assert found.samples == pytest.approx(777.7, abs=DELAY_ATOL)


def test_a_room(rng):
    """A microphone near a loudspeaker: the way is that of the first arrival, 3 dB under the reverberation."""
    answer = np.zeros(RATE // 2)
    time = np.arange(len(answer)) / RATE
    answer[:] = rng.standard_normal(len(answer)) * np.exp(-time / 0.1) * (time > 0.004)
    answer *= np.sqrt(2 / (answer**2).sum())
    answer[0] = 1.0
    size = 4 * RATE
    recorded = np.fft.irfft(np.fft.rfft(came_back(4000.0), size) * np.fft.rfft(answer, size))[: round(SECONDS * RATE)]
    found = find_delay(recorded.astype(np.float32), chirp(RATE), RATE)
    assert found.samples == pytest.approx(4000.0, abs=DELAY_ATOL)


def test_a_chirp_that_is_cut_off_by_the_end_is_found():
    recorded = came_back(9000.0)[: 9000 + len(chirp(RATE)) // 2]
    found = find_delay(recorded, chirp(RATE), RATE)
    assert found.samples == pytest.approx(9000.0, abs=2)  # measured 0.9: only the lower half of the band came back


def test_broken_samples_do_not_matter():
    recorded = came_back(5000.25)
    recorded[[10, 5100, 40_000]] = np.nan, np.inf, -np.inf
    assert find_delay(recorded, chirp(RATE), RATE).samples == pytest.approx(5000.25, abs=DELAY_ATOL)


@pytest.mark.parametrize(
    "kind", ["noise", "rumble", "hum", "tone", "click", "step", "sweep", "another chirp", "offset"]
)
def test_what_is_no_loopback_is_not_found(rng, kind):
    samples = round(SECONDS * RATE)
    time = np.arange(samples) / RATE
    recorded = {
        "noise": 0.1 * rng.standard_normal(samples),
        "rumble": 1e-3 * np.cumsum(rng.standard_normal(samples)),
        "hum": hum(50.0) + 1e-5 * rng.standard_normal(samples),
        "tone": np.sin(2 * np.pi * 1000 * time),
        "click": np.eye(1, samples, 50_000)[0],
        "step": (time > 1.0).astype(np.float64),
        "sweep": np.sin(2 * np.pi * np.cumsum(np.linspace(100, 8000, samples)) / RATE),
        "another chirp": np.pad(chirp(RATE, 0.4), (5000, samples - 5000 - len(chirp(RATE, 0.4)))),
        "offset": np.full(samples, 0.3),
    }[kind]
    with pytest.raises(DeviceError, match="Connect an output"):
        find_delay(recorded.astype(np.float32), chirp(RATE), RATE)


def test_silence_is_said_to_be_silence():
    with pytest.raises(DeviceError, match=r"The input is silent\. Connect"):
        find_delay(np.zeros(RATE, np.float32), chirp(RATE), RATE)


def test_shapes_that_do_not_fit():
    sound = chirp(RATE)
    with pytest.raises(ValueError, match="at least as long"):
        find_delay(sound[:-1], sound, RATE)
    with pytest.raises(ValueError, match="two rows"):
        find_delay(np.zeros((1, RATE), np.float32), sound, RATE)
    with pytest.raises(ValueError, match="silent"):
        find_delay(came_back(0.0), np.zeros(100, np.float32), RATE)


@pytest.mark.parametrize(("active", "kind"), [(True, DisturbedError), (False, DeviceError)])
def test_a_device_that_stands_still_is_measured_again_and_one_that_is_gone_is_not(active, kind):
    stream = SimpleNamespace(name="a card", active=active, failed="it hangs")
    with pytest.raises(DeviceError, match=r"'a card' stopped while it was measured \(it hangs\); try again") as raised:
        wait_for_probe(Probe(RATE), stream)
    assert raised.type is kind
