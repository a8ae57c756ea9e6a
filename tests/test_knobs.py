import math

import pytest

from rtae.errors import ParameterError
from rtae.knobs import (
    HISTORY,
    MERGE_SECONDS,
    NOT_RANDOM,
    RANDOM_RANGES,
    Knobs,
    allowed,
    between,
    from_position,
    parse,
    text,
    to_position,
)
from rtae.params import PARAMETERS, TABLE, Snapshot

every_parameter = pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
PLACES = [number / 127 for number in range(128)]


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def knobs(clock):
    return Knobs(clock=clock)


# -- positions ---------------------------------------------------------------------------------------------------------
@every_parameter
def test_the_ends_of_a_knob_are_the_ends_of_the_range(parameter):
    assert (from_position(parameter, 0), from_position(parameter, 1)) == (parameter.low, parameter.high)
    assert (from_position(parameter, -math.inf), from_position(parameter, 7)) == (parameter.low, parameter.high)
    assert (to_position(parameter, parameter.low), to_position(parameter, parameter.high)) == (0, 1)
    assert from_position(parameter, math.nan) == parameter.default


@every_parameter
def test_a_knob_turns_one_way_and_back(parameter):
    values = [from_position(parameter, place) for place in PLACES]
    assert values == sorted(values)
    for place, value in zip(PLACES, values, strict=True):
        assert parameter.check(value) == value
        if parameter.curve in ("linear", "log"):
            assert to_position(parameter, value) == pytest.approx(place, abs=1e-12)
        assert from_position(parameter, to_position(parameter, value)) == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_the_middle_of_a_log_knob_is_the_geometric_mean():
    speed = TABLE["noise_speed"]
    assert from_position(speed, 0.5) == pytest.approx(math.sqrt(speed.low * speed.high))
    assert [from_position(TABLE["bypass"], place) for place in (0.49, 0.5)] == [0, 1]


def test_a_value_out_of_range_has_no_position():
    with pytest.raises(ParameterError, match="allowed are 0 to 1"):
        to_position(TABLE["mix"], 1.5)


# -- texts -------------------------------------------------------------------------------------------------------------
TYPED = [
    ("input_gain", "-6", -6),
    ("input_gain", "-6 dB", -6),
    ("input_gain", " −6,5db ", -6.5),
    ("echo_time", "0.25 s", 0.25),
    ("echo_time", "250 ms", 0.25),
    ("noise_speed", "440hz", 440),
    ("noise_speed", "0.5 kHz", 500),
    ("noise_speed", "1e2", 100),
    ("latent_scale", "1,5", 1.5),
    ("latent_scale", ".5", 0.5),
    ("mix", "50 %", 0.5),
    ("bypass", "On", 1),
    ("bypass", "0", 0),
    ("noise_seed", "+12", 12),
]
REFUSED = [
    *[("mix", typed) for typed in ("", " ", "nan", "inf", "-1", "1.1", "0.5 dB", "1,2,3", "1 000", "0x1", "١", "on")],
    *[("input_gain", typed) for typed in ("-6 s", "25", "-6 dB dB", "1e999", "--6", "50%", "9" * 5000)],
    *[("noise_seed", typed) for typed in ("1.5", "50%", "65536")],
    *[("bypass", typed) for typed in ("2", "0.5", "maybe")],
]


@pytest.mark.parametrize(("id", "typed", "value"), TYPED)
def test_what_is_typed_is_understood(id, typed, value):
    assert parse(TABLE[id], typed) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(("id", "typed"), REFUSED, ids=lambda text: text[:12])
def test_what_is_not_understood_is_refused_with_the_range(id, typed):
    with pytest.raises(ParameterError) as caught:
        parse(TABLE[id], typed)
    assert str(caught.value).startswith(f"{id} cannot be ")
    assert str(caught.value).endswith(allowed(TABLE[id]))
    assert len(str(caught.value)) < 200


@every_parameter
def test_what_is_shown_can_be_typed(parameter):
    for place in PLACES:
        value = from_position(parameter, place)
        shown = text(parameter, value)
        assert not shown.startswith("-0.0") or value <= -0.01
        assert parse(parameter, shown) == pytest.approx(
            value, rel=0.006, abs=0.051 if parameter.unit == "dB" else 0.006
        )


@pytest.mark.parametrize(
    ("id", "value", "shown"),
    [
        ("input_gain", -0.01, "0.0 dB"),
        ("noise_speed", 1000, "1000 Hz"),
        ("noise_speed", 0.05, "0.05 Hz"),
        ("freeze_length", 0.0123456, "0.0123 s"),
        ("macro_1", -0.001, "0.00"),
        ("bypass", 0, "off"),
        ("noise_seed", 65_535, "65535"),
    ],
)
def test_texts(id, value, shown):
    assert text(TABLE[id], value) == shown


# -- values and listeners ----------------------------------------------------------------------------------------------
def test_listeners_hear_what_changed_and_nothing_else(knobs):
    heard = []
    stop = knobs.subscribe(heard.append)
    knobs.set("mix", 0.5)
    knobs.set("mix", 0.5)
    knobs.update({"drop": 0.5, "mix": 0.5, "blur": 0.1})
    knobs.reset("mix")
    assert heard == [("mix",), ("drop", "blur"), ("mix",)]
    knobs.undo()
    assert heard[-1] == ("mix",)
    stop()
    stop()
    knobs.set("mix", 0.1)
    assert len(heard) == 4


def test_a_wrong_value_changes_nothing(knobs):
    knobs.subscribe(lambda _: pytest.fail("heard"))
    for change in (
        lambda: knobs.set("mix", 2),
        lambda: knobs.set("nosuch", 0),
        lambda: knobs.set_position("nosuch", 0),
        lambda: knobs.reset("nosuch"),
        lambda: knobs.update({"mix": 0.5, "drop": math.nan}),
        lambda: knobs.randomise(0.5, 1, only=["nosuch"]),
        lambda: knobs.randomise(1.5, 1),
        lambda: knobs.store("C"),
        lambda: knobs.recall("A"),
        lambda: knobs.morph(0.5),
    ):
        with pytest.raises(ParameterError):
            change()
    assert knobs.values == Snapshot()
    assert not knobs.can_undo


# -- history -----------------------------------------------------------------------------------------------------------
def test_a_drag_is_one_step(knobs, clock):
    knobs.set("drop", 0.5)
    knobs.begin()
    for place in range(1, 9):
        clock.now += 10
        knobs.set("mix", 1 - place / 10)
    knobs.end()
    knobs.end()
    assert knobs.undo()
    assert (knobs.values["mix"], knobs.values["drop"]) == (1, 0.5)
    assert knobs.undo()
    assert knobs.values == Snapshot()
    assert not knobs.undo()
    assert knobs.redo()
    assert knobs.redo()
    assert (knobs.values["mix"], knobs.values["drop"]) == (pytest.approx(0.2), 0.5)
    assert not knobs.redo()


def test_a_drag_that_ends_where_it_began_is_no_step(knobs):
    knobs.begin()
    knobs.set("mix", 0.5)
    assert knobs.can_undo
    knobs.set("mix", 1)
    knobs.end()
    assert not knobs.can_undo


def test_undo_in_the_middle_of_a_drag_goes_back_to_its_start(knobs):
    knobs.begin()
    knobs.set("mix", 0.5)
    assert knobs.undo()
    assert knobs.values["mix"] == 1
    knobs.end()
    assert not knobs.can_undo
    assert knobs.redo()
    assert knobs.values["mix"] == 0.5


def test_quick_turns_of_one_knob_are_one_step(knobs, clock):
    for value in (0.9, 0.8, 0.7):
        knobs.set("mix", value)
        clock.now += MERGE_SECONDS * 0.9
    clock.now += MERGE_SECONDS
    knobs.set("mix", 0.6)
    knobs.set("drop", 0.5)
    knobs.set("mix", 0.5)
    seen = []
    while knobs.undo():
        seen.append((knobs.values["mix"], knobs.values["drop"]))
    assert seen == [(0.6, 0.5), (0.6, 0), (0.7, 0), (1, 0)]


def test_a_turn_after_undo_is_a_step_and_ends_the_way_forward(knobs):
    knobs.set("mix", 0.5)
    knobs.undo()
    knobs.set("mix", 0.4)
    assert not knobs.can_redo
    assert knobs.undo()
    assert knobs.values["mix"] == 1


def test_reset_joins_no_turn(knobs):
    knobs.set("mix", 0.5)
    knobs.reset("mix")
    knobs.undo()
    assert knobs.values["mix"] == 0.5


def test_history_is_bounded(knobs, clock):
    for number in range(HISTORY + 50):
        clock.now += 1
        knobs.set("noise_seed", number + 1)
    steps = 0
    while knobs.undo():
        steps += 1
    assert (steps, knobs.values["noise_seed"]) == (HISTORY, 50)


# -- chance ------------------------------------------------------------------------------------------------------------
def test_chance_leaves_levels_alone_and_stays_musical(knobs):
    moved = set()
    for seed in range(200):
        knobs.load(Snapshot())
        knobs.randomise(1, seed)
        changed = {id for id in TABLE if knobs.values[id] != TABLE[id].default}
        moved |= changed
        assert not changed & NOT_RANDOM
        assert 3 < len(changed) < 25
        for id in changed & RANDOM_RANGES.keys():
            low, high = RANDOM_RANGES[id]
            assert low - 1e-9 <= knobs.values[id] <= high + 1e-9
    assert moved == TABLE.keys() - NOT_RANDOM


def test_chance_is_repeatable_and_its_amount_is_a_distance(knobs):
    start = Snapshot().replace(drop=0.5, noise_speed=3, macro_2=1)

    def drawn(amount, seed=5, only=None):
        knobs.load(start)
        knobs.randomise(amount, seed, only)
        return knobs.values

    assert drawn(0.7) == drawn(0.7)
    assert drawn(0.7) != drawn(0.7, seed=6)
    assert drawn(0) == start
    continuous = [p for p in PARAMETERS if p.curve in ("linear", "log")]

    def distance(values):
        return sum(abs(to_position(p, values[p.id]) - to_position(p, start[p.id])) for p in continuous)

    assert distance(drawn(0.25)) == pytest.approx(distance(drawn(1)) / 4)
    one = drawn(1, only=["echo", "drop", "mix"])
    assert {id for id in TABLE if one[id] != start[id]} <= {"echo", "drop"}
    assert one["drop"] == drawn(1)["drop"] != 0.5


# -- snapshots ---------------------------------------------------------------------------------------------------------
def test_morph_goes_along_the_curves_from_a_to_b(knobs):
    low = {"noise_speed": 1, "drop": 0, "freeze": 0, "noise_seed": 10}
    high = {"noise_speed": 100, "drop": 1, "freeze": 1, "noise_seed": 13}
    knobs.update(low)
    knobs.store("A")
    knobs.update(high)
    knobs.store("B")
    seen = []
    for place in (0, 0.25, 0.5, 0.75, 1):
        knobs.morph(place)
        seen.append([knobs.values[id] for id in low])
    assert seen[0] == list(low.values())
    assert seen[4] == list(high.values())
    assert seen[2] == [pytest.approx(10), pytest.approx(0.5), 1, 12]
    assert seen[1] == [pytest.approx(10**0.5), pytest.approx(0.25), 0, 11]
    assert [knobs.stored("A")[id] for id in low] == seen[0]
    # Quick moves of the slider are one step.
    knobs.undo()
    assert knobs.values == knobs.stored("B")
    knobs.recall("A")
    assert knobs.values == knobs.stored("A")
    knobs.undo()
    assert knobs.values == knobs.stored("B")


@pytest.mark.parametrize("place", [-0.1, 1.1, math.nan])
def test_there_is_nothing_beyond_a_and_b(place):
    with pytest.raises(ParameterError, match="allowed are 0 to 1"):
        between(Snapshot(), Snapshot(), place)


def test_what_is_the_same_in_both_stays_to_the_bit():
    first = Snapshot().replace(noise_speed=0.3, freeze_length=0.0123, drop=0.1)
    second = first.replace(drop=0.9)
    middle = between(first, second, 0.37)
    assert {id for id in TABLE if middle[id] != first[id]} == {"drop"}
