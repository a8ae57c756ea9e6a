import math
import pickle
from dataclasses import FrozenInstanceError

import pytest

from rtae.errors import ParameterError, RtaeError
from rtae.params import INDEX, PARAMETERS, TABLE, Snapshot


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
def test_every_parameter_is_sound(parameter):
    assert parameter.low < parameter.high
    assert parameter.check(parameter.default) == parameter.default
    assert parameter.id.isidentifier()
    assert parameter.label
    assert parameter.help.endswith(".")
    assert parameter.curve != "log" or parameter.low > 0
    assert parameter.curve != "switch" or (parameter.low, parameter.high) == (0, 1)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.id)
def test_the_ends_of_the_range_are_allowed_and_nothing_beyond(parameter):
    assert parameter.check(parameter.low) == parameter.low
    assert parameter.check(parameter.high) == parameter.high
    for value in (parameter.low - 1, parameter.high + 1, math.nan, math.inf, -math.inf):
        with pytest.raises(ParameterError, match=parameter.id) as caught:
            parameter.check(value)
        assert f"{parameter.low:g} to {parameter.high:g}" in str(caught.value)


@pytest.mark.parametrize("name", ["bypass", "noise_seed"])
def test_whole_numbers_stay_whole(name):
    assert isinstance(TABLE[name].check(1), float)
    with pytest.raises(ParameterError, match="whole"):
        TABLE[name].check(0.5)


def test_ids_and_labels_are_unique_and_indexed_in_order():
    assert len({parameter.id for parameter in PARAMETERS}) == len(PARAMETERS)
    assert len({parameter.label for parameter in PARAMETERS}) == len(PARAMETERS)
    assert list(TABLE) == [parameter.id for parameter in PARAMETERS]
    assert [INDEX[parameter.id] for parameter in PARAMETERS] == list(range(len(PARAMETERS)))


def test_snapshot_starts_at_the_defaults():
    assert dict(Snapshot()) == {parameter.id: parameter.default for parameter in PARAMETERS}
    assert len(Snapshot()) == len(PARAMETERS)


def test_replace_changes_a_copy():
    first = Snapshot()
    second = first.replace(mix=0.25, noise_seed=9)
    assert (second["mix"], second["noise_seed"]) == (0.25, 9)
    assert first == Snapshot()
    assert second != first
    assert {name for name in TABLE if first[name] != second[name]} == {"mix", "noise_seed"}
    assert second.replace(mix=first["mix"], noise_seed=first["noise_seed"]) == first


def test_a_snapshot_cannot_be_changed_and_travels():
    values = Snapshot().replace(mix=0.5)
    with pytest.raises(FrozenInstanceError):
        values.values_ = ()
    with pytest.raises(TypeError):
        values["mix"] = 1
    assert pickle.loads(pickle.dumps(values)) == values  # noqa: S301 - our own
    assert hash(values) == hash(Snapshot().replace(mix=0.5))


def test_unknown_names_are_refused_with_a_list():
    with pytest.raises(ParameterError, match=r"'loudness'.*input_gain.*noise_seed"):
        Snapshot().replace(loudness=1)


def test_a_bad_value_is_refused_with_its_range_and_unit():
    with pytest.raises(ParameterError, match=r"^input_gain is 25; allowed are -60 to 24 dB$") as caught:
        Snapshot().replace(mix=0, input_gain=25)
    assert isinstance(caught.value, RtaeError)
    assert isinstance(caught.value, ValueError)


def test_a_name_that_is_no_parameter_is_not_in_a_snapshot():
    assert "mix" in Snapshot()
    assert "loudness" not in Snapshot()
    assert Snapshot().get("loudness") is None
    with pytest.raises(KeyError):
        Snapshot()["loudness"]


def test_every_value_is_a_float():
    assert {type(value) for value in Snapshot().values()} == {float}


@pytest.mark.parametrize("value", ["loud", None, [1], 10**400], ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ParameterError, match="mix"):
        Snapshot().replace(mix=value)
