import copy
from dataclasses import replace
from itertools import cycle, pairwise

import numpy as np
import pytest

from rtae.dsp import drifting_noise, uniform
from rtae.effects import (
    ECHOES,
    NOISE_RANGE,
    RISER,
    Effect,
    chosen_dimensions,
    frames_of,
    on_map,
    shuffled,
)
from rtae.engine import Engine
from rtae.freeze import SEAM_SECONDS
from rtae.latent import EFFECTS, Chain, apply_effects, newest
from rtae.nets.config import SMALL
from rtae.params import MACROS, PARAMETERS, TABLE, Snapshot
from rtae.spec import DECODER_FILE, ENCODER_FILE, ModelSpec

DIMS, STRIDE, RATE = 16, 48, 22_050
SPEC = ModelSpec(
    "m", "small", RATE, STRIDE, DIMS, 2, None, (0.0,) * DIMS, (1.0,) * DIMS, {ENCODER_FILE: "", DECODER_FILE: ""}, ""
)
STD = tuple(np.linspace(2, 0.5, 8).tolist())
DIRECTIONS = np.linalg.qr(np.random.default_rng(4).standard_normal((DIMS, DIMS)))[0][:8]
MAPPED = replace(  # with principal components
    SPEC,
    latent_mean=tuple(np.linspace(-0.5, 0.5, DIMS).tolist()),
    components=tuple(tuple(row) for row in DIRECTIONS.tolist()),
    component_std=STD,
)
NOISE = Snapshot().replace(noise_amount=1, noise_seed=3)
SPEEDS = [0.05, 1.0, 7.3, 100.0, 459.0, 1000.0]  # Hz; the frame rate is 459.4
ADD_ATOL = 3e-7  # float32 rounding of values around 1; measured 0
PRODUCT_ATOL = 5e-6  # float32 rounding of a matrix product of values up to 8, in another order; measured 1e-6
SINE_PEAK = 2**0.5  # two neighbouring values, weighted with cosine and sine, reach this at most
STREAM_ATOL = 1e-4  # full scale, or standard deviations; measured 4e-6

# Something that each effect does. A second entry is the first one with its knobs turned.
SETTINGS = {
    "freeze": ({"freeze": 1, "freeze_length": 0.1}, {"freeze": 1, "freeze_length": 0.05}),
    "echo": ({"echo": 0.7, "echo_time": 0.05}, {"echo": 1, "echo_time": 0.08}),
    "blur": ({"blur": 0.02}, {"blur": 0.1}),
    "permute": ({"permute": 0.5}, {"permute": 1}),
    "drop": ({"drop": 0.3}, {"drop": 1}),
    "random_mix": ({"random_mix": 0.5}, {"random_mix": 1, "noise_speed": 5}),
    "gain_noise": ({"gain_noise": 1}, {"gain_noise": 2, "noise_speed": 5}),
    "scale": ({"latent_scale": 2}, {"latent_scale": 0}),
    "macros": ({"macro_1": 2, "macro_8": -1}, {"macro_2": 4}),
    "map": ({"map_pull": 0.5, "map_x": 1}, {"map_pull": 1, "map_x": -4, "map_y": 4}),
    "noise": ({"noise_amount": 1}, {"noise_amount": 4, "noise_share": 0.5}),
    "quantise": ({"quantise": 0.5}, {"quantise": 4}),
}
CASES = [(name, Snapshot().replace(**turned)) for name, both in SETTINGS.items() for turned in both]
each_effect = pytest.mark.parametrize("name", EFFECTS)
each_case = pytest.mark.parametrize(("name", "values"), CASES, ids=[f"{n}-{i % 2}" for i, (n, _) in enumerate(CASES)])
EVERYTHING = Snapshot().replace(**{key: value for both in SETTINGS.values() for key, value in both[0].items()})


def first_setting(name: str) -> Snapshot:
    return Snapshot().replace(**SETTINGS[name][0])


def noise_of(values: Snapshot, frame: int, frames: int, channels: int = 1) -> np.ndarray:
    return apply_effects(np.zeros((channels, DIMS, frames), np.float32), frame, values, SPEC)


def latents(rng, frames: int, channels: int = 2) -> np.ndarray:
    return rng.standard_normal((channels, DIMS, frames)).astype(np.float32)


def streamed(z, values, hops, context=0, spec=MAPPED, chain=None):
    """Latents through a chain as they come, hop by hop; each time `context` earlier frames are bent again.

    values: a snapshot, or a timeline of (frame, snapshot) from 0 on, which holds for hops that start there or later.
    """
    chain = chain or Chain(spec)
    timeline = [(0, values)] if isinstance(values, Snapshot) else values
    out, end, lengths = np.zeros_like(z), 0, cycle([hops] if isinstance(hops, int) else hops)
    while end < z.shape[2]:
        now = [snapshot for frame, snapshot in timeline if frame <= end][-1]
        start, end = max(0, end - context), min(end + next(lengths), z.shape[2])
        oldest = max(0, start - chain.past(now))
        bent = chain.apply(z[:, :, oldest:end], oldest, end - start, now)
        assert bent.shape[2] == end - start
        out[:, :, start:end] = bent
    return out


# -- every effect ------------------------------------------------------------------------------------------------------
def test_every_effect_is_tested_and_every_latent_parameter_used():
    assert set(SETTINGS) == set(EFFECTS)
    read = set()

    class Spy(Snapshot):
        def __getitem__(self, key):
            read.add(key)
            return super().__getitem__(key)

    for _, values in CASES:
        apply_effects(np.ones((1, DIMS, 300), np.float32), 0, Spy(values.values_), MAPPED)
    audio = {"input_gain", "output_gain", "mix", "bypass", "ceiling", "interpolation", "difference", "match"}
    dream = {"dream_temperature", "dream_seed"}  # of the source that makes latents up
    assert read == {parameter.id for parameter in PARAMETERS} - audio - dream


@each_effect
def test_at_the_defaults_nothing_is_done(rng, name):
    z, effect = latents(rng, 50), EFFECTS[name]()
    if name == "freeze":  # which has to see every frame
        assert effect.past(Snapshot(), MAPPED) == 0
        assert effect.apply(z, 7, Snapshot(), MAPPED) is z
    else:
        assert effect.neutral(Snapshot(), MAPPED)
    assert apply_effects(z, 7, Snapshot(), MAPPED) is z


@each_case
def test_effects_change_the_latents_and_leave_their_input_alone(rng, name, values):
    z = latents(rng, 150)
    before = z.copy()
    bent = apply_effects(z, 0, values, MAPPED)
    assert np.array_equal(z, before)
    assert bent.dtype == np.float32
    assert bent.shape == z.shape
    assert np.abs(bent - before).mean() > 0.02
    # Nothing but the one effect did it.
    chain = Chain(MAPPED)
    chain.effects = [effect for effect in chain.effects if not isinstance(effect, EFFECTS[name])]
    assert chain.apply(z, 0, 150, values) is z


@each_case
def test_a_chain_follows_its_parameters(rng, name, values):
    z, chain = latents(rng, 150), Chain(MAPPED)
    assert chain.apply(z, 0, 150, Snapshot()) is z
    bent = chain.apply(z, 150, 150, values)
    if name != "freeze":  # which remembers
        assert np.array_equal(bent, apply_effects(z, 150, values, MAPPED))
    assert chain.apply(z, 300, 150, values) is not z
    assert chain.apply(z, 450, 150, Snapshot()) is z


@each_case
def test_streamed_is_the_whole_however_it_is_cut(rng, name, values):
    z = latents(rng, 700)
    whole = apply_effects(z, 0, values, MAPPED)
    for hops, context in [(1, 0), (1, 12), (43, 12), (300, 80), ([3, 1, 90, 44], 7), (699, 20)]:
        assert np.abs(streamed(z, values, hops, context) - whole).max() <= PRODUCT_ATOL


def test_all_at_once_streams(rng):
    z = latents(rng, 700)
    whole = apply_effects(z, 0, EVERYTHING, MAPPED)
    assert np.abs(streamed(z, EVERYTHING, [3, 1, 90, 44], 12) - whole).max() <= STREAM_ATOL
    assert np.abs(whole - z).mean() > 0.5


@each_case
def test_reset_equals_a_fresh_chain(rng, name, values):
    z, chain = latents(rng, 400), Chain(MAPPED)
    expected = streamed(z, values, 43)
    streamed(latents(rng, 400), values, 43, chain=chain)
    remembers = not np.array_equal(streamed(z, values, 43, chain=chain), expected)
    assert remembers == (name == "freeze")
    chain.reset()
    assert np.array_equal(streamed(z, values, 43, chain=chain), expected)


@each_case
def test_the_past_is_bounded(name, values):
    effect = EFFECTS[name]()
    assert 0 <= effect.past(values, MAPPED) <= effect.longest_past(MAPPED)
    extreme = Snapshot(tuple(float(parameter.high) for parameter in PARAMETERS))
    assert effect.past(extreme, MAPPED) <= effect.longest_past(MAPPED)


@pytest.mark.parametrize(("name", "values"), [case for case in CASES if case[0] != "freeze"])
def test_a_bounded_past_is_enough(rng, name, values):
    """What lies before it may be anything; only freeze remembers."""
    z, chain = latents(rng, 700), Chain(MAPPED)
    whole, past = chain.apply(z, 0, 700, values), chain.past(values)
    assert np.abs(chain.apply(z[:, :, 600 - past :], 600 - past, 100, values) - whole[:, :, 600:]).max() <= PRODUCT_ATOL


RANDOM = ("permute", "drop", "random_mix", "gain_noise", "noise")


@each_case
def test_channels_are_treated_alike(rng, name, values):
    z = latents(rng, 200, 1)
    both = apply_effects(np.concatenate([z, z]), 0, values, MAPPED)
    assert np.array_equal(both[0], both[1])


@pytest.mark.parametrize("name", RANDOM)
def test_random_effects_follow_the_seed(rng, name):
    z, values = latents(rng, 200), first_setting(name)
    if name == "noise":
        values = values.replace(noise_share=0.5)
    outs = [apply_effects(z, 0, values.replace(noise_seed=seed), MAPPED) for seed in (0, 1, 65_535)]
    assert min(np.abs(first - second).mean() for first, second in pairwise(outs)) > 0.05
    for other in set(EFFECTS) - set(RANDOM):
        values = first_setting(other)
        assert np.array_equal(*(apply_effects(z, 0, values.replace(noise_seed=seed), MAPPED) for seed in (0, 1)))


@pytest.mark.parametrize("spec", [SPEC, MAPPED, replace(MAPPED, stride=24), replace(MAPPED, stride=5000)], ids=range(4))
def test_extremes_stay_finite(rng, spec):
    z = (1000 * rng.standard_normal((2, DIMS, 90))).astype(np.float32)
    chain, end = Chain(spec), 0
    for _ in range(150):
        values = Snapshot(
            tuple(float(rng.choice([p.low, p.high, p.default, (p.low + p.high) / 2])) for p in PARAMETERS)
        )
        values = Snapshot(tuple(p.nearest(value) for p, value in zip(PARAMETERS, values.values_, strict=True)))
        past = min(end, chain.past(values))
        known = rng.choice(z.ravel(), (2, DIMS, past + 40)).astype(np.float32)
        bent = chain.apply(known, end - past, min(end + 40, 50), values)
        assert np.isfinite(bent).all()
        assert bent.shape == (2, DIMS, min(end + 40, 50))
        end += 40


# -- in the engine -----------------------------------------------------------------------------------------------------
@pytest.fixture
def mapped_model(model_of):
    """A network with principal components, and windows so short that a short signal is many of them."""
    model = copy.copy(model_of(SMALL))
    model.spec = replace(
        model.spec, window=7001, components=MAPPED.components, component_std=STD, latent_mean=MAPPED.latent_mean
    )
    return model


QUIET = {"output_gain": -30, "input_gain": -6}  # random weights are loud: clear of the limiter


def prepared(model, **options):
    engine = Engine(model, **options)
    engine.prepare(RATE, 2)
    return engine


@each_effect
def test_an_effect_in_the_engine_is_the_whole_file(rng, run_blocks, mapped_model, name):
    audio = rng.uniform(-0.3, 0.3, (2, 15_000)).astype(np.float32)
    values = first_setting(name).replace(**QUIET)
    engine = prepared(mapped_model)
    out = run_blocks(engine, audio, 480, values)
    gained = audio * np.float32(10 ** (-6 / 20))
    whole = mapped_model.decode(apply_effects(mapped_model.encode(gained), 0, values, mapped_model.spec))
    latency = engine.latency.total
    whole = whole[:, : out.shape[1] - latency] * np.float32(10 ** (-30 / 20))
    assert np.abs(out[:, latency:] - whole).max() <= STREAM_ATOL
    plain = run_blocks(prepared(mapped_model), audio, 480, Snapshot().replace(**QUIET))
    assert np.abs(out - plain).max() > 20 * STREAM_ATOL
    for blocks in (63, [1, 5000, 17, 0, 480]):
        assert np.array_equal(run_blocks(prepared(mapped_model), audio, blocks, values), out)
    used = prepared(mapped_model)
    run_blocks(used, audio[:, ::-1], 480, values)
    used.reset()
    assert np.array_equal(run_blocks(used, audio, 1023, values), out)
    full = run_blocks(prepared(mapped_model, full_window=True), audio, 480, values)
    assert np.abs(full - out).max() <= STREAM_ATOL


# Short hops are many full windows, which take long; in these, only effects that know the past.
@pytest.mark.parametrize(
    ("name", "hop"), [*((n, 2048) for n in EFFECTS), *((n, 480) for n in ("freeze", "echo", "blur"))]
)
def test_turning_an_effect_on_and_off_is_the_same_in_full_windows(rng, run_blocks, mapped_model, name, hop):
    audio = rng.uniform(-0.3, 0.3, (2, 24_000)).astype(np.float32)
    off = Snapshot().replace(**QUIET)
    first, second = (off.replace(**turned) for turned in SETTINGS[name])
    timeline = [(0, off), (6001, first), (11_000, second), (16_000, off)]
    out = run_blocks(prepared(mapped_model, hop=hop), audio, 480, timeline)
    full = run_blocks(prepared(mapped_model, hop=hop, full_window=True), audio, 480, timeline)
    assert np.abs(full - out).max() <= STREAM_ATOL
    assert np.array_equal(run_blocks(prepared(mapped_model, hop=hop), audio, [1, 999, 2064], timeline), out)
    plain = run_blocks(prepared(mapped_model, hop=hop), audio, 480, off)
    assert np.array_equal(out[:, : 6001 - hop], plain[:, : 6001 - hop])
    assert np.abs(out - plain)[:, 6001:18_000].max() > 20 * STREAM_ATOL
    settled = 16_000 + hop + prepared(mapped_model, hop=hop).latency.total + mapped_model.spec.reach.receptive_field
    assert np.abs(out - plain)[:, settled:].max() <= STREAM_ATOL


# -- freeze ------------------------------------------------------------------------------------------------------------
LOOP = Snapshot().replace(freeze=1, freeze_length=0.1)
LENGTH = frames_of(0.1, SPEC)  # 46 frames
SEAM = frames_of(SEAM_SECONDS, SPEC)


def test_freeze_loops_what_was_before_it_until_it_is_let_go(rng):
    z = latents(rng, 900)
    out = streamed(z, [(0, Snapshot()), (300, LOOP), (700, Snapshot())], 20)
    assert np.array_equal(out[:, :, :300], z[:, :, :300])
    assert np.array_equal(out[:, :, 700:], z[:, :, 700:])
    frozen = out[:, :, 300:700]
    assert np.array_equal(frozen[:, :, LENGTH:], frozen[:, :, :-LENGTH])
    assert np.array_equal(frozen[:, :, SEAM:LENGTH], z[:, :, 300 - LENGTH + SEAM : 300])
    # The seam goes from what came after to what is held, at a constant level.
    angle = (np.arange(SEAM) + 0.5) / SEAM * np.pi / 2
    seam = z[:, :, 300 : 300 + SEAM] * np.cos(angle) + z[:, :, 300 - LENGTH : 300 - LENGTH + SEAM] * np.sin(angle)
    assert frozen[:, :, :SEAM] == pytest.approx(seam, abs=ADD_ATOL)


def test_a_frozen_loop_has_no_step(rng):
    """Of a slow wave, whose phase where the loop ends is not that where it starts."""
    frames = np.arange(900)
    z = np.sin(2 * np.pi * frames / 137)[None, None].repeat(DIMS, 1).astype(np.float32)
    out = streamed(z, [(0, Snapshot()), (300, LOOP)], 20)[0, 0]
    held = z[0, 0, 300 - LENGTH : 300]
    jump = abs(held[0] - held[-1])
    assert jump > 0.5
    assert np.abs(np.diff(out)).max() < 0.5 * jump


def test_freeze_waits_until_there_is_enough_to_hold(rng):
    z = latents(rng, 300)
    out = streamed(z, LOOP, 7)
    assert np.array_equal(out[:, :, :LENGTH], z[:, :, :LENGTH])
    assert np.array_equal(out[:, :, LENGTH + SEAM : 2 * LENGTH], z[:, :, SEAM:LENGTH])
    assert np.array_equal(out, apply_effects(z, 0, LOOP, SPEC))


def test_the_length_of_a_frozen_loop_can_be_changed_and_changed_back(rng):
    z = latents(rng, 3000)
    short, long = LOOP.replace(freeze_length=0.02), LOOP.replace(freeze_length=2)
    half = frames_of(0.02, SPEC)
    out = streamed(z, [(0, Snapshot()), (1000, LOOP), (1400, short), (1600, LOOP), (2000, long)], 20)
    assert np.array_equal(out[:, :, :1400], streamed(z, [(0, Snapshot()), (1000, LOOP)], 20)[:, :, :1400])
    assert np.array_equal(out[:, :, 1600:2000], streamed(z, [(0, Snapshot()), (1000, LOOP)], 20)[:, :, 1600:2000])
    part = out[:, :, 1400:1600]
    assert np.array_equal(part[:, :, half:], part[:, :, :-half])
    frozen = {row.tobytes() for row in z[0, :, 1000 - half : 1000].T.copy()}
    assert sum(row.tobytes() in frozen for row in part[0].T.copy()) > 80  # all but the seams
    # 2 s are 919 frames, all of which are held; each frame of the loop is a held one, in order.
    assert frames_of(2, SPEC) == 919
    place = (2000 - 1000) % 919
    assert np.array_equal(out[:, :, 2000 : 2000 + 919 - place], z[:, :, 81 + place : 1000])


def test_what_is_frozen_stays_when_the_sources_are_mixed_anew(rng):
    """Then all latents change that a window sees, the ones before included."""
    first, second = latents(rng, 900), latents(rng, 900)
    outs = []
    for context in (0, 150):
        chain = Chain(SPEC)
        streamed(first[:, :, :200], Snapshot(), 20, spec=SPEC, chain=chain)
        hops = []
        for end in range(220, 900, 20):
            z = first if end <= 220 else second
            oldest = max(0, end - 20 - context - chain.past(LOOP))
            hops.append(chain.apply(z[:, :, oldest:end], oldest, 20 + context, LOOP)[:, :, -20:])
        outs.append(np.concatenate(hops, axis=2))
    assert np.array_equal(*outs)
    assert np.array_equal(outs[0], streamed(first, [(0, Snapshot()), (200, LOOP)], 20)[:, :, 200:880])


def test_freezing_again_holds_something_new(rng):
    z = latents(rng, 900)
    out = streamed(z, [(0, Snapshot()), (200, LOOP), (400, Snapshot()), (600, LOOP)], 20)
    assert np.array_equal(out[:, :, 600 + SEAM : 600 + LENGTH], z[:, :, 600 - LENGTH + SEAM : 600])
    assert np.array_equal(out[:, :, 400:600], z[:, :, 400:600])


# -- echo and blur -----------------------------------------------------------------------------------------------------
def test_an_echo_repeats_what_was_weaker_each_time():
    z = np.zeros((1, DIMS, 500), np.float32)
    z[:, :, 10] = 1
    values = Snapshot().replace(echo=0.5, echo_time=0.1)
    out = apply_effects(z, 0, values, SPEC)[0]
    assert np.flatnonzero(out[0]).tolist() == [10 + LENGTH * number for number in range(ECHOES + 1)]
    heard = out[0, np.flatnonzero(out[0])]
    assert heard[1:] / heard[:-1] == pytest.approx(np.full(ECHOES, 0.5), rel=1e-6)
    assert (heard**2).sum() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("amount", [0.3, 0.7, 1])
def test_an_echo_keeps_the_level(rng, amount):
    z = latents(rng, 4000)
    out = apply_effects(z, 0, Snapshot().replace(echo=amount, echo_time=0.02), SPEC)[:, :, 100:]
    assert out.std() == pytest.approx(1, abs=0.02)  # measured within 0.5 %


@pytest.mark.parametrize("seconds", [0.0001, 1 / 459.375, 0.01, 0.0123, 0.3, 1])
def test_blur_is_the_average_of_the_past(rng, seconds):
    z = latents(rng, 1000, 1)
    out = apply_effects(z, 0, Snapshot().replace(blur=seconds), SPEC)
    length = max(1, seconds * SPEC.frame_rate)
    weights = np.clip(length - np.arange(np.ceil(length)), 0, 1) / length
    expected = np.array([np.convolve(row.astype(np.float64), weights)[:1000] for row in z[0]])
    assert out[0] == pytest.approx(expected, abs=ADD_ATOL)


def test_blur_moves_smoothly_with_its_knob(rng):
    z = latents(rng, 400, 1)
    lengths = np.linspace(0.02, 0.03, 101)
    outs = [apply_effects(z, 0, Snapshot().replace(blur=length), SPEC)[0, 0, 300] for length in lengths]
    assert np.ptp(outs) > 5 * np.abs(np.diff(outs)).max()


# -- choices of dimensions ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("share", [0.125, 0.5, 0.9, 1])
def test_permute_moves_so_many_dimensions_and_loses_none(rng, share):
    z = latents(rng, 20, 1)
    out = apply_effects(z, 0, Snapshot().replace(permute=share, noise_seed=5), SPEC)
    moved = [dim for dim in range(DIMS) if not np.array_equal(out[0, dim], z[0, dim])]
    assert len(moved) == round(share * DIMS)
    assert sorted(row.tobytes() for row in out[0]) == sorted(row.tobytes() for row in z[0])


def test_one_dimension_alone_stays_where_it_is(rng):
    z = latents(rng, 20, 1)
    assert apply_effects(z, 0, Snapshot().replace(permute=1 / DIMS), SPEC) is z


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.99, 1])
def test_drop_mutes_so_many_dimensions_one_after_the_other(share):
    z = np.ones((1, DIMS, 5), np.float32)
    gains = apply_effects(z, 0, Snapshot().replace(drop=share, noise_seed=5), SPEC)[0, :, 0]
    assert gains.sum() == pytest.approx(DIMS * (1 - share), abs=1e-5)
    assert np.count_nonzero(gains == 0) == np.floor(share * DIMS)
    assert np.count_nonzero((gains > 0) & (gains < 1)) == (share * DIMS % 1 > 0)
    more = apply_effects(z, 0, Snapshot().replace(drop=min(1, share + 0.1), noise_seed=5), SPEC)[0, :, 0]
    assert np.all(more <= gains)


def test_noise_permute_and_drop_choose_differently():
    orders = {tuple(shuffled(7, key, DIMS).tolist()) for key in (1 << 40, 2 << 40, 3 << 40)}
    assert len(orders) == 3
    assert not shuffled(7, 0, DIMS).flags.writeable


# -- random latents and gains ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1])
@pytest.mark.parametrize("speed", [50, 1000])
def test_random_latents_keep_the_level_and_take_over(rng, share, speed):
    z = latents(rng, 8000, 1)
    out = apply_effects(z, 0, Snapshot().replace(random_mix=share, noise_speed=speed), SPEC)
    assert out.std() == pytest.approx(1, abs=0.02)  # measured within 1 %
    assert np.corrcoef(out.ravel(), z.ravel())[0, 1] == pytest.approx(np.cos(share * np.pi / 2), abs=0.02)


def test_random_latents_alone_do_not_know_the_song(rng):
    values = Snapshot().replace(random_mix=1)
    first, second = (apply_effects(latents(rng, 50), 7, values, SPEC) for _ in range(2))
    assert np.array_equal(first, second)


def test_gain_noise_turns_dimensions_up_and_down_by_up_to_6_db():
    z = np.ones((1, DIMS, 5000), np.float32)
    gains = 20 * np.log10(apply_effects(z, 0, Snapshot().replace(gain_noise=1), SPEC)[0])
    assert np.abs(gains).max() == pytest.approx(6.02, abs=0.01)
    assert abs(gains.mean()) < 0.1
    twice = 20 * np.log10(apply_effects(z, 0, Snapshot().replace(gain_noise=2), SPEC)[0])
    assert twice == pytest.approx(2 * gains, abs=1e-3)
    assert np.abs(np.corrcoef(gains) - np.eye(DIMS)).max() < 0.08


def test_kinds_of_randomness_have_nothing_in_common():
    added = noise_of(NOISE, 0, 3000)[0].ravel()
    random = noise_of(Snapshot().replace(random_mix=1, noise_seed=3), 0, 3000)[0].ravel()
    ones = np.ones((1, DIMS, 3000), np.float32)
    gains = np.log(apply_effects(ones, 0, Snapshot().replace(gain_noise=1, noise_seed=3), SPEC)[0]).ravel()
    assert np.abs(np.corrcoef([added, random, gains]) - np.eye(3)).max() < 0.03


# -- principal components ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", range(1, MACROS + 1))
def test_a_macro_moves_along_its_component_and_no_other(rng, number):
    z = latents(rng, 30, 1)
    bent = apply_effects(z, 0, Snapshot().replace(**{f"macro_{number}": -1.5}), MAPPED)
    moved = on_map(bent[0], MAPPED) - on_map(z[0], MAPPED)
    assert moved == pytest.approx(-1.5 * np.eye(MACROS)[number - 1][:, None] * np.ones((1, 30)), abs=1e-5)


def test_macros_add_up(rng):
    z = latents(rng, 30, 1)
    each = [apply_effects(z, 0, Snapshot().replace(**{name: 2}), MAPPED) - z for name in ("macro_1", "macro_5")]
    both = apply_effects(z, 0, Snapshot().replace(macro_1=2, macro_5=2), MAPPED) - z
    assert both == pytest.approx(each[0] + each[1], abs=1e-5)


@pytest.mark.parametrize("pull", [0.25, 1])
def test_the_map_draws_to_a_place_and_leaves_the_rest(rng, pull):
    z = latents(rng, 30, 1)
    bent = apply_effects(z, 0, Snapshot().replace(map_pull=pull, map_x=2, map_y=-3), MAPPED)
    before, after = on_map(z[0], MAPPED), on_map(bent[0], MAPPED)
    target = np.array([2, -3])[:, None]
    assert after[:2] == pytest.approx((1 - pull) * before[:2] + pull * target, abs=1e-5)
    assert after[2:] == pytest.approx(before[2:], abs=1e-5)


def test_the_middle_of_the_map_is_the_mean_of_the_music():
    mean = np.array(MAPPED.latent_mean, np.float32)[:, None]
    assert on_map(mean, MAPPED) == pytest.approx(np.zeros((8, 1)), abs=1e-6)
    held = apply_effects(mean[None], 0, Snapshot().replace(map_pull=1), MAPPED)
    assert held[0] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_models_with_few_components_or_none_leave_the_rest_alone(rng, count):
    spec = replace(MAPPED, components=MAPPED.components[:count], component_std=STD[:count])
    z = latents(rng, 30, 1)
    assert apply_effects(z, 0, Snapshot().replace(macro_4=2, macro_8=-4), spec) is z
    assert on_map(z[0], spec).shape == (count, 30)
    pulled = apply_effects(z, 0, Snapshot().replace(map_pull=1, map_x=1, map_y=1), spec)
    if count == 0:
        assert pulled is z
    else:
        assert on_map(pulled[0], spec)[:2] == pytest.approx(np.ones((min(count, 2), 30)), abs=1e-5)


# -- quantise ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", [0.01, 0.5, 4])
def test_quantise_rounds_to_whole_steps(rng, step):
    z = latents(rng, 2000, 1)
    out = apply_effects(z, 0, Snapshot().replace(quantise=step), SPEC) / np.float32(step)
    whole = np.abs(out - np.round(out)) < 1e-3
    assert whole.mean() > 1 - 2 * RISER
    assert np.abs(out * step - z).max() <= 0.51 * step + 1e-6
    place = np.abs(z / step % 1 - 0.5)
    assert np.all(whole | (place <= RISER / 2 + 1e-3))


def test_quantise_does_not_magnify_rounding(rng):
    z = latents(rng, 20_000, 1)
    values = Snapshot().replace(quantise=1)
    off = apply_effects(z + np.float32(1e-6), 0, values, SPEC) - apply_effects(z, 0, values, SPEC)
    assert 0 < np.abs(off).max() <= 1.3e-6 / RISER


# -- the chain ---------------------------------------------------------------------------------------------------------
def test_newest_cuts_and_pads(rng):
    z = latents(rng, 10)
    assert newest(z, 10) is z
    assert np.array_equal(newest(z, 4), z[:, :, 6:])
    assert np.array_equal(newest(z, 12)[:, :, 2:], z)
    assert not newest(z, 12)[:, :, :2].any()


def test_an_effect_does_nothing_unless_it_says_so(rng):
    z = latents(rng, 10)
    effect = Effect()
    effect.reset()
    assert effect.apply(z, 0, EVERYTHING, SPEC) is z
    assert effect.past(EVERYTHING, SPEC) == effect.longest_past(SPEC) == 0


def test_the_longest_past_is_that_of_all_together():
    seconds = TABLE["freeze_length"].high + TABLE["blur"].high + ECHOES * TABLE["echo_time"].high
    assert Chain(SPEC).longest_past == pytest.approx(seconds * SPEC.frame_rate, abs=4)


# -- scale and noise ---------------------------------------------------------------------------------------------------
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
