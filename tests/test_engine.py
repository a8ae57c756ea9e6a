import copy
from dataclasses import fields, replace
from itertools import cycle

import numpy as np
import pytest
import soxr

from rtae.dsp import Limiter, db_to_gain
from rtae.engine import DEFAULT_HOP, HIGHEST_RATE, LOWEST_RATE, QUALITIES, Engine
from rtae.errors import ParameterError
from rtae.latent import apply_effects
from rtae.nets.config import PRESETS, SMALL
from rtae.params import TABLE, Snapshot
from rtae.resample import Double, Halve, Resampling
from rtae.spec import DECODER_FILE, ENCODER_FILE, WINDOW, ModelSpec, Reach
from rtae.window import grid_up

RATE = 22_050
STREAM_ATOL = 1e-4  # full scale; measured 3e-7
RESAMPLED_ATOL = 1e-4  # full scale; measured 2e-7
RINGING = 50  # samples at the start, where the offline resampler's ringing before the first sample is cut off
BLOCKS = {
    "1": 1,
    "63": 63,
    "64": 64,
    "65": 65,
    "480": 480,
    "1023": 1023,
    "mixed": [1, 5000, 17, 0, 480, 2063, 3, 2064, 999],
}
MIXED = BLOCKS["mixed"]
# Random weights are louder than full scale: 20 dB less keeps clear of the limiter.
BENT = Snapshot().replace(noise_amount=0.5, noise_speed=20, noise_seed=5, latent_scale=0.8, output_gain=-20)
LOUD = 3e38  # near the largest number of float32
BLIND = Reach(0, 0, 0, 0, 47, 47)  # sees nothing but its own frame


class FakeModel:
    """Passes audio through: a frame's latents are its samples. So tests of minutes take no time."""

    def __init__(self, stride=48, edit_latents=None, edit_audio=None):
        statistics = (0.0,) * stride
        files = {ENCODER_FILE: "", DECODER_FILE: ""}
        self.spec = ModelSpec("fake", "fake", RATE, stride, stride, 0, BLIND, statistics, statistics, files, "none")
        self.edit_latents, self.edit_audio = edit_latents, edit_audio

    def encode(self, audio):
        padded = np.pad(audio, ((0, 0), (0, -audio.shape[1] % self.spec.stride)))
        z = padded.reshape(len(audio), -1, self.spec.stride).transpose(0, 2, 1)
        return self.edit_latents(z) if self.edit_latents else z

    def decode(self, z):
        audio = z.transpose(0, 2, 1).reshape(len(z), -1)
        return self.edit_audio(audio) if self.edit_audio else audio


def music(rng, channels, samples, rate=RATE):
    """Noise without what is above 5 kHz, within +-0.7: it passes any resampler unchanged."""
    spectrum = np.fft.rfft(rng.standard_normal((channels, samples)))
    spectrum[:, np.fft.rfftfreq(samples, 1 / rate) > 5000] = 0
    sound = np.fft.irfft(spectrum, samples)
    return (0.7 * sound / np.abs(sound).max()).astype(np.float32)


def whole_file(model, audio, values):
    """The definition: everything encoded, bent and decoded at once."""
    sound = model.decode(apply_effects(model.encode(audio), 0, values, model.spec))[:, : audio.shape[1]]
    sound = sound * np.float32(db_to_gain(values["output_gain"]))
    assert 0.02 < np.abs(sound).max() < 0.98  # worth comparing, and within the limiter's ceiling
    return sound


def prepared(model, rate=RATE, channels=2, **options):
    engine = Engine(model, **options)
    engine.prepare(rate, channels)
    return engine


def delayed(audio, delay):
    return np.pad(audio, ((0, 0), (delay, 0)))[:, : audio.shape[1]]


def error(out, reference, latency):
    """The largest difference between what came out and what should have, `latency` samples later."""
    assert out.shape[1] > latency + 100
    assert not out[:, :latency].any() or np.abs(out[:, :latency]).max() < STREAM_ATOL
    return np.abs(out[:, latency:] - reference[:, : out.shape[1] - latency]).max()


# -- streamed is the whole file, later ---------------------------------------------------------------------------------
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
def test_streamed_equals_the_whole_file(rng, run_blocks, model, blocks, channels):
    audio = music(rng, channels, 7000 if blocks == 1 else 16_000)
    engine = prepared(model, channels=channels)
    out = run_blocks(engine, audio, blocks, BENT)
    assert error(out, whole_file(model, audio, BENT), engine.latency.total) <= STREAM_ATOL


FADES = {"no fade": 0, "default fade": None, "short fade": 24, "long fade": 10**6}
# Every hop with every fade takes long where the hops are short; each of both is here, and each fade with a long hop.
HOPS_AND_FADES = [
    (1, "long fade"),
    (2, "no fade"),
    (2, "short fade"),
    (7, "default fade"),
    *((50, fade) for fade in FADES),
]


@pytest.mark.parametrize(("strides", "fade"), HOPS_AND_FADES)
def test_any_hop_and_crossfade_give_the_whole_file(rng, run_blocks, model, strides, fade):
    engine = prepared(model, hop=strides * model.spec.stride, crossfade=FADES[fade])
    assert engine.latency.hop == strides * model.spec.stride
    assert engine.latency.crossfade == engine.crossfade <= engine.hop
    audio = music(rng, 2, 4000 + 2 * engine.latency.total)
    out = run_blocks(engine, audio, MIXED, BENT)
    assert error(out, whole_file(model, audio, BENT), engine.latency.total) <= STREAM_ATOL


@pytest.mark.parametrize("full_window", [False, True], ids=["slices", "full windows"])
@pytest.mark.parametrize("strides", [1, 10])
def test_networks_that_look_ahead_give_the_whole_file(rng, run_blocks, model_of, config, strides, full_window):
    model = model_of(replace(config, causal=False))
    reach, stride = model.spec.reach, model.spec.stride
    engine = prepared(model, hop=strides * stride, full_window=full_window)
    assert engine.latency.look_ahead == grid_up(reach.encoder_future, stride) + reach.decoder_future * stride > 0
    audio = music(rng, 2, 2500 + 2 * engine.latency.total)
    out = run_blocks(engine, audio, 480, BENT)
    assert error(out, whole_file(model, audio, BENT), engine.latency.total) <= STREAM_ATOL


def shorter(model, window):
    """The same model with shorter windows, so that a short signal is many of them."""
    short = copy.copy(model)
    short.spec = replace(model.spec, window=window)
    return short


@pytest.mark.parametrize("hop", [500, 2048])
def test_slices_equal_full_windows(rng, run_blocks, model, hop):
    audio, short = music(rng, 2, 24_000), shorter(model, 7001)
    slices, full = (prepared(short, hop=hop, full_window=full_window) for full_window in (False, True))
    assert (slices.windows.full, full.windows.full) == (False, True)
    assert slices.latency == full.latency
    out = run_blocks(full, audio, 1023, BENT)
    assert np.abs(run_blocks(slices, audio, 1023, BENT) - out).max() <= STREAM_ATOL
    assert error(out, whole_file(model, audio, BENT), full.latency.total) <= STREAM_ATOL
    assert full.windows.audio.shape[1] == 7001


def test_full_windows_of_the_true_length(rng, run_blocks, model_of):
    model = model_of(SMALL)
    audio = music(rng, 1, 150_000)
    full = prepared(model, channels=1, hop=24_000, full_window=True)
    out = run_blocks(full, audio, 4096, BENT)
    assert full.windows.audio.shape[1] == WINDOW
    assert error(out, whole_file(model, audio, BENT), full.latency.total) <= STREAM_ATOL


def test_a_model_of_unknown_reach_runs_on_full_windows(rng, run_blocks, model):
    unknown = shorter(model, 7001)
    unknown.spec = replace(unknown.spec, reach=None)
    engine = prepared(unknown)
    assert engine.windows.full
    audio = music(rng, 2, 16_000)
    out = run_blocks(engine, audio, MIXED, BENT)
    assert error(out, whole_file(model, audio, BENT), engine.latency.total) <= STREAM_ATOL


# -- a knob is turned --------------------------------------------------------------------------------------------------
TURNS = {
    "scale": {"latent_scale": 2.0},
    "noise": {"noise_amount": 4.0},
    "seed": {"noise_seed": 6},
    "gain": {"input_gain": 6, "output_gain": -30},
    "mix": {"mix": 0.3},
    "difference": {"difference": 1, "output_gain": -26},
    "match": {"match": 1},
}
TURNED_AT = 9001  # sample


# Each knob with one network, and each network with two knobs or more.
@pytest.mark.parametrize(
    ("turn", "config"), list(zip(TURNS.values(), cycle(PRESETS.values()), strict=False)), ids=TURNS
)
def test_a_turned_knob_sounds_the_same_for_any_blocks_and_windows(rng, run_blocks, model, turn):
    audio, after = music(rng, 2, 20_000), BENT.replace(**turn)
    timeline = [(0, BENT), (TURNED_AT, after)]
    engine = prepared(shorter(model, 7001))
    out = run_blocks(engine, audio, 480, timeline)
    for blocks in (65, 1023, MIXED):
        assert np.array_equal(run_blocks(prepared(engine.model), audio, blocks, timeline), out)
    full = prepared(engine.model, full_window=True)
    assert np.abs(run_blocks(full, audio, 480, timeline) - out).max() <= STREAM_ATOL
    # Before it is the one setting, afterwards the other one, as if it had always been.
    old, new = (run_blocks(prepared(engine.model), audio, 480, values) for values in (BENT, after))
    settled = TURNED_AT + engine.hop + engine.latency.total + model.spec.reach.receptive_field
    assert np.array_equal(out[:, : TURNED_AT - engine.hop], old[:, : TURNED_AT - engine.hop])
    assert np.abs(out[:, settled:] - new[:, settled:]).max() <= STREAM_ATOL
    assert np.abs(old[:, settled:] - new[:, settled:]).max() > 0.01


SMOOTH = {
    "latent_scale": (0.0, 1.0),
    "input_gain": (-60, 0),
    "output_gain": (0, -60),
    "mix": (0, 1),
    "bypass": (1, 0),
    "ceiling": (0, -24),
    "difference": (0, 1),
    "match": (0, 1),
    "drop": (0, 1),
}


def largest_step(run_blocks, rate, crossfade, name, values):
    """Of a sine while a knob is turned; and the most that is free of clicks: the slope of the steeper of the two
    settings, and the difference between them spread over the crossfade."""
    audio = np.sin(2 * np.pi * 50 / rate * np.arange(rate // 2 * 3))[None].astype(np.float32)
    start = Snapshot().replace(latent_scale=0.3)
    first, second = (start.replace(**{name: value}) for value in values)

    def play(timeline):
        engine = prepared(FakeModel(), rate, 1, crossfade=crossfade)
        return run_blocks(engine, audio, 480, timeline)[0, engine.latency.total + rate // 10 :]

    old, new, turned = (play(timeline) for timeline in (first, second, [(0, first), (rate // 4 * 3 + 77, second)]))
    constant = max(np.abs(np.diff(old)).max(), np.abs(np.diff(new)).max())
    return np.abs(np.diff(turned)).max(), constant + 1.1 * np.abs(old - new).max() / (0.02 * rate)


@pytest.mark.parametrize("rate", [RATE, 48_000])
@pytest.mark.parametrize("way", [1, -1], ids=["there", "back"])
@pytest.mark.parametrize("name", SMOOTH)
def test_no_knob_clicks(request, run_blocks, name, way, rate):
    step, allowed = largest_step(run_blocks, rate, None, name, SMOOTH[name][::way])
    assert step <= allowed


# Knobs and how they are turned. Those on the latents lead to the same place in the engine, whatever they do there.
PROMPT = {
    **SMOOTH,
    "interpolation": (0, 0.7),
    "noise_amount": (0, 1),
    "noise_share": (1, 0.3),
    "noise_speed": (1000, 5),
    "noise_seed": (0, 7),
    "random_mix": (0, 0.5),
    "gain_noise": (0, 1),
    "permute": (0, 1),
    "quantise": (0, 2),
    "echo": (0, 0.8),
    "echo_time": (0.05, 0.1),
    "blur": (0, 0.05),
}
# They bend what comes next and remember it, or need a model with components, or one that dreams.
NOT_PROMPT = ("freeze", "dream", "map", "macro")


@pytest.mark.parametrize("hop", [480, DEFAULT_HOP])
@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
@pytest.mark.parametrize("name", PROMPT)
def test_a_turned_knob_is_fully_heard_within_a_hop_and_a_crossfade(rng, name, rate, hop):
    audio = music(rng, 2, 20_000, rate)
    base = Snapshot().replace(noise_amount=0.2, latent_scale=0.5, echo=0.5 if name == "echo_time" else 0)
    old, new = (base.replace(**{name: value}) for value in PROMPT[name])
    engine = Engine(FakeModel(), hop=hop)

    def play(first, then):
        engine.prepare(rate, 1, second=True)
        parts = (audio[:, :TURNED_AT], first), (audio[:, TURNED_AT:], then)
        return np.concatenate([engine.process(block, values) for block, values in parts], axis=1)[0]

    out, before, after = play(old, new), play(old, old), play(new, new)
    latency = engine.latency
    heard = TURNED_AT + latency.hop + latency.crossfade + latency.resampling + latency.limiter
    assert np.abs(out[heard:] - after[heard:]).max() <= STREAM_ATOL
    assert np.abs(before[heard:] - after[heard:]).max() > 0.01
    assert np.array_equal(out[:TURNED_AT], before[:TURNED_AT])


def test_every_knob_is_timed():
    assert [name for name in TABLE if name not in PROMPT and not name.startswith(NOT_PROMPT)] == []


def test_without_a_crossfade_it_does_click(run_blocks):
    step, allowed = largest_step(run_blocks, RATE, 0, "latent_scale", SMOOTH["latent_scale"])
    assert step > 3 * allowed


# -- reset -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [RATE, 44_100, 44_101])
def test_reset_equals_a_fresh_engine(rng, run_blocks, model, rate):
    audio = music(rng, 2, 14_000, rate)
    other = BENT.replace(latent_scale=3, noise_amount=4, mix=0.5, input_gain=24, output_gain=24)
    used = prepared(model, rate)
    run_blocks(used, np.where(rng.random(audio.shape) < 0.01, np.nan, audio), 777, other)
    assert used.meters.broken > 0
    used.reset()
    fresh = prepared(model, rate)
    assert used.meters == fresh.meters
    values = BENT.replace(mix=0.7)  # so that the dry path is heard as well
    expected = run_blocks(fresh, audio, 480, values)
    assert np.array_equal(run_blocks(used, audio, 480, values), expected)
    assert used.meters == fresh.meters
    assert expected.any()


def test_prepare_equals_a_fresh_engine(rng, run_blocks, model):
    audio = music(rng, 2, 14_000)
    used = prepared(model, 48_000, 1)
    run_blocks(used, audio[:1], 1000, BENT)
    used.prepare(RATE, 2)
    fresh = prepared(model)
    assert used.latency == fresh.latency
    assert np.array_equal(run_blocks(used, audio, 480, BENT), run_blocks(fresh, audio, 480, BENT))


# -- dry and bypass ----------------------------------------------------------------------------------------------------
DRY = {
    "mix": Snapshot().replace(mix=0, latent_scale=3, input_gain=12, noise_amount=4),
    "bypass while the difference is heard": Snapshot().replace(bypass=1, difference=1, match=1, mix=0.4),
    "mix, matched": Snapshot().replace(mix=0, match=1, latent_scale=0.1),
    "bypass": Snapshot().replace(bypass=1, latent_scale=3, input_gain=12, output_gain=-20, noise_amount=4),
}


@pytest.mark.parametrize("values", DRY.values(), ids=DRY)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [RATE, 44_100, 48_000, 44_101])
def test_dry_is_the_input_delayed_by_exactly_the_latency(rng, run_blocks, rate, channels, values):
    audio = rng.uniform(-1, 1, (channels, rate)).astype(np.float32)
    audio[:, 1000], audio[:, 1001] = 1, -1
    engine = prepared(FakeModel(), rate, channels)
    assert np.array_equal(run_blocks(engine, audio, MIXED, values), delayed(audio, engine.latency.total))


@pytest.mark.parametrize("values", DRY.values(), ids=DRY)
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_dry_of_a_network(rng, run_blocks, model, rate, values):
    audio = rng.uniform(-1, 1, (2, 12_000)).astype(np.float32)
    engine = prepared(model, rate)
    assert np.array_equal(run_blocks(engine, audio, 480, values), delayed(audio, engine.latency.total))


# -- the difference, and matched levels --------------------------------------------------------------------------------
@pytest.mark.parametrize("mix", [0, 0.5, 1])
def test_the_difference_is_dry_minus_wet_whatever_the_mix(rng, run_blocks, model, mix):
    audio = music(rng, 2, 16_000) * np.float32(0.3)
    values = BENT.replace(mix=mix, difference=1)
    engine = prepared(model)
    out = run_blocks(engine, audio, MIXED, values)
    dry = audio * np.float32(db_to_gain(BENT["output_gain"]))
    latency = engine.latency.total
    assert np.abs(out - delayed(dry - whole_file(model, audio, BENT), latency)).max() <= STREAM_ATOL
    assert np.abs(out).max() > 100 * STREAM_ATOL


@pytest.mark.parametrize("rate", [RATE, 44_100, 48_000])
def test_a_model_that_changes_nothing_has_no_difference(rng, run_blocks, rate):
    audio = music(rng, 2, rate, rate)
    engine = prepared(FakeModel(), rate)
    out = run_blocks(engine, audio, 480, Snapshot().replace(difference=1))[:, engine.latency.total + 10 * RINGING :]
    assert np.abs(out).max() <= (0 if rate == RATE else RESAMPLED_ATOL)


def test_the_difference_stays_within_the_ceiling(rng, run_blocks):
    values = Snapshot().replace(difference=1, latent_scale=4, output_gain=24, ceiling=-6)
    out = run_blocks(prepared(FakeModel()), music(rng, 2, 16_000), 480, values)
    assert 0.3 < np.abs(out).max() <= np.float32(db_to_gain(-6))


def level_db(audio):
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)))


@pytest.mark.parametrize("rate", [RATE, 48_000])
@pytest.mark.parametrize(("scale", "limit_db"), [(0.1, None), (0.5, None), (4, None), (0.02, 24)])
def test_matched_levels_are_those_of_the_input(rng, run_blocks, rate, scale, limit_db):
    audio = music(rng, 2, 4 * rate, rate) * np.float32(0.5)
    engine = prepared(FakeModel(), rate)
    out = run_blocks(engine, audio, 480, Snapshot().replace(latent_scale=scale, match=1))[:, rate:]
    expected = 0 if limit_db is None else 20 * np.log10(scale) + limit_db
    dry = delayed(audio, engine.latency.total)[:, rate:]
    assert level_db(out) - level_db(dry) == pytest.approx(expected, abs=0.05)  # measured within 0.01
    assert np.abs(out / np.float32(db_to_gain(expected)) - dry).max() <= 0.01


def test_a_pause_does_not_pump(rng, run_blocks):
    audio = music(rng, 1, 6 * RATE) * np.float32(0.5)
    audio[:, 2 * RATE : 5 * RATE] *= np.float32(1e-4)
    engine = prepared(FakeModel(), channels=1)
    out = run_blocks(engine, audio, 480, Snapshot().replace(latent_scale=0.25, match=1))[:, engine.latency.total :]
    assert np.abs(out[:, RATE:] - audio[:, RATE : out.shape[1]]).max() <= 0.01
    assert np.abs(out[:, 3 * RATE : 4 * RATE]).max() < 1e-4


def test_matching_is_the_same_for_any_blocks_and_after_a_reset(rng, run_blocks, model):
    audio = music(rng, 2, 20_000)
    values = BENT.replace(match=1, latent_scale=0.5, output_gain=0)
    engine = prepared(model)
    out = run_blocks(engine, audio, 480, values)
    assert np.abs(out).max() > 0.1
    for blocks in (63, 1023, MIXED):
        assert np.array_equal(run_blocks(prepared(model), audio, blocks, values), out)
    engine.reset()
    assert np.array_equal(run_blocks(engine, audio, 480, values), out)


def test_matching_is_ready_when_it_is_asked_for(rng, run_blocks):
    audio = music(rng, 1, 4 * RATE) * np.float32(0.5)
    engine, low = prepared(FakeModel(), channels=1), Snapshot().replace(latent_scale=0.1)
    out = run_blocks(engine, audio, 480, [(0, low), (2 * RATE, low.replace(match=1))])
    later = 2 * RATE + 2 * engine.latency.hop + engine.latency.total
    assert np.abs(out - delayed(audio, engine.latency.total))[:, later:].max() <= 0.01


# -- sample rates ------------------------------------------------------------------------------------------------------
def resampled_offline(model, audio, rate, values):
    own = model.spec.sample_rate
    if rate == 2 * own:
        back = Double(2).process(whole_file(model, Halve(2).process(audio), values))
        return back[:, Resampling.of(rate, own, 2048, "HQ").delay :]
    there = soxr.resample(audio.T, rate, own, quality="HQ").T
    return soxr.resample(whole_file(model, there, values).T, own, rate, quality="HQ").T


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_other_rates_equal_offline_resampling(rng, run_blocks, model, rate):
    audio = music(rng, 2, rate // 2, rate)
    engine = prepared(model, rate)
    out = run_blocks(engine, audio, 1023, BENT)[:, engine.latency.total :]
    reference = resampled_offline(model, audio, rate, BENT)[:, : out.shape[1]]
    assert np.abs(out - reference)[:, RINGING:].max() <= RESAMPLED_ATOL
    assert np.abs(out[:, 1:] - reference[:, :-1])[:, RINGING:].max() > 100 * RESAMPLED_ATOL  # one sample late
    assert engine.latency.hop == -(-engine.hop * rate // RATE)
    assert engine.latency.crossfade == 0.02 * rate


@pytest.mark.parametrize("rate", [11_025, 44_101, 96_000])
def test_rates_whose_delay_is_rounded_are_within_half_a_sample(rng, run_blocks, rate):
    audio = music(rng, 1, rate // 2, rate)
    model, values = FakeModel(), Snapshot()
    engine = prepared(model, rate, 1)
    out = run_blocks(engine, audio, 1023, values)[:, engine.latency.total :]
    reference = resampled_offline(model, audio, rate, values)
    middle = slice(200, out.shape[1] - 200)
    off = [np.abs(np.roll(reference, shift)[:, : out.shape[1]] - out)[:, middle].max() for shift in (-1, 0, 1)]
    assert off[1] == min(off)
    slope = np.abs(np.diff(reference)).max()
    assert off[1] <= 0.55 * slope


@pytest.mark.parametrize("rate", [44_100, 44_101])
def test_blocks_change_nothing_at_other_rates(rng, run_blocks, rate):
    audio = music(rng, 2, 20_000, rate)
    outs = [run_blocks(prepared(FakeModel(), rate), audio, blocks, Snapshot()) for blocks in BLOCKS.values()]
    assert np.abs(outs[0]).max() > 0.5
    assert all(np.array_equal(out, outs[0]) for out in outs)


@pytest.mark.parametrize(
    "rate",
    [
        44_100,
        48_000,
        11_025,
        192_000,
        44_101,
        11_026,
        96_001,
    ],
)
def test_a_minute_without_underflow_or_drift(rate):
    engine = prepared(FakeModel(), rate, 1)
    latency, speed = engine.latency, 2 * np.pi * 100 / rate
    for second in range(60):
        place = np.arange(second * rate, (second + 1) * rate)
        out = engine.process(0.5 * np.sin(speed * place)[None].astype(np.float32), Snapshot())
        expected = 0.5 * np.sin(speed * (place - latency.total))
        # Half a sample of rounding, where the rate makes it necessary; measured up to 0.3 of one.
        assert second == 0 or np.abs(out[0] - expected).max() < 0.5 * speed * 0.55
    assert engine.meters.underflows == 0
    assert engine.latency is latency
    assert engine.meters.limiter_gain == 1


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_plays(rng, run_blocks, quality):
    audio = music(rng, 1, 48_000, 48_000)
    engine = prepared(FakeModel(), 48_000, 1, quality=quality)
    out = run_blocks(engine, audio, 480, Snapshot())[:, engine.latency.total :]
    assert engine.meters.underflows == 0
    assert np.corrcoef(out[0, 100:], audio[0, 100 : out.shape[1]])[0, 1] > 0.98  # the lowest quality loses treble


def test_latency_is_the_sum_of_its_parts():
    engine = prepared(FakeModel(), 48_000)
    assert engine.latency.total == sum(getattr(engine.latency, field.name) for field in fields(engine.latency))
    assert min(getattr(engine.latency, field.name) for field in fields(engine.latency)) >= 0
    assert engine.latency.limiter == Limiter.DELAY
    engine.prepare(RATE, 2)
    assert (engine.latency.hop, engine.latency.resampling) == (2064, 0)  # the multiple of 48 nearest to 2048


# -- blocks ------------------------------------------------------------------------------------------------------------
def test_a_block_of_no_samples_is_answered_with_none(rng, run_blocks):
    engine, audio = prepared(FakeModel()), music(rng, 2, 9000)
    parts = []
    for start in range(0, 9000, 500):
        empty = engine.process(np.zeros((2, 0), np.float32), BENT)
        assert (empty.shape, empty.dtype) == ((2, 0), np.float32)
        parts.append(engine.process(audio[:, start : start + 500], BENT))
    assert np.array_equal(np.concatenate(parts, axis=1), run_blocks(prepared(FakeModel()), audio, 500, BENT))


def test_the_callers_buffer_may_be_used_again_and_is_not_written_to(rng, run_blocks):
    audio = music(rng, 2, 9000)
    audio[0, 700] = np.nan
    engine, buffer, parts = prepared(FakeModel()), np.empty((2, 500), np.float32), []
    for start in range(0, 9000, 500):
        buffer[:] = audio[:, start : start + 500]
        out = engine.process(buffer, BENT)
        assert np.array_equal(buffer, audio[:, start : start + 500], equal_nan=True)
        parts.append(out.copy())
        out[:] = 9
    assert np.array_equal(np.concatenate(parts, axis=1), run_blocks(prepared(FakeModel()), audio, 500, BENT))


def test_stereo_is_two_times_mono(rng, run_blocks, model):
    audio = music(rng, 2, 12_000) * np.float32([[1], [0.1]])
    both = run_blocks(prepared(model), audio, 480, BENT)
    each = [run_blocks(prepared(model, channels=1), audio[i : i + 1], 480, BENT) for i in (0, 1)]
    assert np.abs(both - np.concatenate(each)).max() <= STREAM_ATOL
    assert np.abs(both[0] - both[1]).max() > 10 * STREAM_ATOL


# -- broken samples ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_broken_input_is_silenced_and_counted(rng, run_blocks, model, rate):
    audio = music(rng, 2, 14_000, rate)
    holes = rng.random(audio.shape) < 0.01
    holes[:, 7000:] = False
    broken = np.where(holes, rng.choice([np.nan, np.inf, -np.inf], audio.shape), audio).astype(np.float32)
    engine = prepared(model, rate)
    out = run_blocks(engine, broken, 480, BENT)
    assert np.isfinite(out).all()
    # As if there had been silence in their place.
    assert np.array_equal(out, run_blocks(prepared(model, rate), np.where(holes, 0, audio), 480, BENT))
    played = 14_000 // engine.latency.hop * engine.latency.hop
    assert engine.meters.broken == np.count_nonzero(holes[:, :played]) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["edit_latents", "edit_audio"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_broken_model_is_silenced_and_plays_on(rng, run_blocks, rate, where, value):
    marked = 0.75  # louder than anything else: there the model fails

    def fail(array):
        return np.where(array > 0.71, np.float32(value), array)

    audio = music(rng, 1, 30_000, rate)
    audio[:, 5000:7000] = marked
    engine = prepared(FakeModel(**{where: fail}), rate, 1)
    out = run_blocks(engine, audio, 480, Snapshot())
    assert np.isfinite(out).all()
    assert engine.meters.broken > 0
    clean = engine.latency.total + 7000 + 500  # a resampler's filter later
    expected = run_blocks(prepared(FakeModel(), rate, 1), audio, 480, Snapshot())
    assert np.abs(out - expected)[:, clean:].max() <= STREAM_ATOL
    assert np.abs(out - expected)[:, :clean].max() > 0.5


def test_what_a_model_breaks_is_counted_once(run_blocks):
    audio = np.zeros((1, 12_000), np.float32)
    audio[:, 3000:6000] = 0.5
    engine = prepared(FakeModel(edit_audio=lambda sound: np.where(sound == 0.5, np.float32(np.nan), sound)), channels=1)
    assert not run_blocks(engine, audio, 480, Snapshot()).any()
    assert engine.meters.broken == 3000


# -- the ceiling -------------------------------------------------------------------------------------------------------
EXTREMES = {"input_gain": 24, "output_gain": 24, "latent_scale": 4, "noise_amount": 4}


@pytest.mark.parametrize("ceiling_db", [0, -1, -24])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_the_ceiling_holds_at_the_extremes(rng, run_blocks, model, ceiling_db, rate):
    ceiling = np.float32(db_to_gain(ceiling_db))
    values = Snapshot().replace(**EXTREMES, ceiling=ceiling_db)
    audio = rng.uniform(-1, 1, (2, 18_000)).astype(np.float32)
    engine = prepared(model, rate)
    out = run_blocks(engine, audio, 480, values)
    assert np.isfinite(out).all()
    assert 0.3 * ceiling < np.abs(out).max() <= ceiling
    assert engine.meters.limiter_gain < 0.1
    assert engine.meters.output_peak <= ceiling


def test_the_ceiling_holds_whatever_is_turned(rng):
    engine, ceiling = prepared(FakeModel(), 44_100), -6.0
    for _ in range(200):
        turned = {
            name: float(rng.choice([parameter.low, parameter.high, parameter.default]))
            for name, parameter in TABLE.items()
        }
        loudness = 10 ** rng.uniform(-3, 3)
        block = (loudness * rng.uniform(-1, 1, (2, int(rng.integers(1, 3000))))).astype(np.float32)
        out = engine.process(block, Snapshot().replace(**turned | {"ceiling": ceiling}))
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= np.float32(db_to_gain(ceiling))
    assert engine.meters.broken == engine.meters.underflows == 0


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("turn", [{}, {"mix": 0}, {"input_gain": 24}], ids=str)
def test_absurdly_loud_input_comes_out_finite(run_blocks, rate, turn):
    audio = np.full((1, 20_000), LOUD, np.float32)
    audio[:, 5000:6000] *= -1
    out = run_blocks(prepared(FakeModel(), rate, 1), audio, 480, Snapshot().replace(**{"output_gain": 24} | turn))
    assert np.isfinite(out).all()
    assert 0.3 < np.abs(out).max() <= 1


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("turn", [{}, {"mix": 0}, {"output_gain": 24}], ids=str)
def test_an_absurdly_loud_model_comes_out_finite(rng, run_blocks, rate, turn):
    model = FakeModel(edit_audio=lambda sound: rng.choice(np.float32([-LOUD, LOUD]), sound.shape))
    out = run_blocks(prepared(model, rate, 1), music(rng, 1, 20_000), 480, Snapshot().replace(**turn))
    assert np.isfinite(out).all()
    assert 0.3 < np.abs(out).max() <= 1


def test_meters_show_the_last_chunk(run_blocks):
    engine = prepared(FakeModel(), channels=1)
    assert (engine.meters.input_peak, engine.meters.output_peak) == (0, 0)
    assert engine.meters.limiter_gain == 1
    chunk = engine.latency.hop
    run_blocks(engine, np.full((1, 4 * chunk), 0.5, np.float32), 480, Snapshot().replace(input_gain=20))
    assert engine.meters.input_peak == 0.5
    assert engine.meters.output_peak == pytest.approx(1, abs=1e-6)
    assert engine.meters.limiter_gain == pytest.approx(0.2, abs=1e-3)


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, "hop is 0; allowed are 1 to 110250"),
        ({"hop": -48}, "hop is -48"),
        ({"hop": WINDOW + 1}, "hop is 110251"),
        ({"hop": WINDOW}, "do not fit a window of 110250"),
        ({"hop": 60_000, "crossfade": 60_000}, "do not fit a window of 110250"),
        ({"crossfade": -1}, "crossfade is -1; allowed are 0 to the hop"),
        ({"quality": "BEST"}, "quality is 'BEST'; allowed are QQ, LQ, MQ, HQ, VHQ"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        Engine(FakeModel(), **options)


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [
        (LOWEST_RATE - 1, 1, "sample rate is 999; allowed are 1000 to 768000 Hz"),
        (HIGHEST_RATE + 1, 1, "sample rate is 768001"),
        (0, 1, "sample rate is 0"),
        (-44_100, 1, "sample rate is -44100"),
        (44_100, 0, "there are 0 channels"),
        (44_100, -2, "there are -2 channels"),
    ],
)
def test_impossible_streams_are_refused_and_change_nothing(rng, run_blocks, rate, channels, message):
    engine, audio = prepared(FakeModel()), music(rng, 2, 9000)
    first = run_blocks(engine, audio[:, :5000], 480, BENT)
    with pytest.raises(ParameterError, match=message):
        engine.prepare(rate, channels)
    out = np.concatenate([first, run_blocks(engine, audio[:, 5000:], 480, BENT)], axis=1)
    assert np.array_equal(out, run_blocks(prepared(FakeModel()), audio, 480, BENT))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_default_hop_is_rounded_to_the_stride(preset):
    stride = PRESETS[preset].stride
    engine = Engine(FakeModel(stride))
    assert engine.hop % stride == 0
    assert abs(engine.hop - DEFAULT_HOP) <= stride / 2


@pytest.mark.parametrize("rate", [LOWEST_RATE, HIGHEST_RATE])
def test_the_lowest_and_the_highest_rate_play(rate):
    engine = prepared(FakeModel(), rate, 1)
    audio = np.full((1, engine.latency.total + rate // 10), 0.5, np.float32)
    assert engine.process(audio, Snapshot())[0, -1] == pytest.approx(0.5, abs=1e-3)
    assert engine.meters.underflows == 0
