import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtae.errors import ModelError, RtaeError
from rtae.spec import COMPONENTS, DECODER_FILE, ENCODER_FILE, FORMAT, SPEC_FILE, WINDOW, ModelSpec, Reach

SPEC = ModelSpec(
    name="night",
    preset="small",
    sample_rate=22_050,
    stride=48,
    latent_dim=2,
    extra_frames=2,
    reach=Reach(356, 0, 11, 0, 895, 47),
    latent_mean=(0.1, -0.25),
    latent_std=(1.5, 0.75),
    files={ENCODER_FILE: "ab" * 32, DECODER_FILE: "cd" * 32},
    licence="MIT",
    verification={"onnx_error": 1e-6},
    training={"steps": 100},
)
MAPPED = replace(SPEC, components=((0.6, 0.8), (0.8, -0.6)), component_std=(1.25, 0.5))
SHIPPED = Path(__file__).parents[1] / "models"
REQUIRED = [
    "name",
    "preset",
    "sample_rate",
    "stride",
    "latent_dim",
    "extra_frames",
    "latent_mean",
    "latent_std",
    "files",
    "licence",
]
NAN, HUGE = float("nan"), 10**400
DEEP = 100_000  # brackets; more than any parser that calls itself can open
ODD = [None, True, False, "a", "11", "", -1, 0, 1.5, 10**30, HUGE, NAN, float("inf"), [], [1], [1, 2], ["a", "b"]]
ODD += [[None, 1], [[1], [2]], [NAN, 1], {}, {"a": 1}, {ENCODER_FILE: 1}]
IMPOSSIBLE = {
    "sample_rate": ["a", None, 0, -1, 1.5, HUGE, NAN, 768_001, [1]],
    "stride": ["a", None, 0, -1, 1.5, HUGE, NAN, WINDOW + 1, {}],
    "latent_dim": ["a", None, 0, -1, 1.5, HUGE, NAN, 3, 65_537],
    "window": ["a", None, 0, -1, 1.5, 47, NAN],
    "format": ["a", None, 1.5, NAN, [1], {}],
    "latent_mean": ["a", None, 1, [], [0], [0, 0, 0], ["a", "b"], [None, 0], {"a": 1, "b": 2}],
    "latent_std": ["a", None, 1, [], [1], [1, 1, 1], ["a", "b"], [None, 1], {"a": 1, "b": 2}],
    "reach": ["a", 1, True, [1, 2], {}, {"encoder_past": 1}],
    "files": ["a", None, [], {}, {ENCODER_FILE: "ab"}, {ENCODER_FILE: 1, DECODER_FILE: "ab"}],
}
SUBTLE = {
    "sample_rate": [True],
    "stride": [True],
    "latent_mean": ["11", [NAN, 0], [float("inf"), 0]],
    "latent_std": ["11", [NAN, 1], [0, 1], [-1, 1]],
    "extra_frames": ["a", None, True, -1, 1.5, HUGE, NAN, []],
    "window": [10**30],
    "format": [True, 0, -1],
    "name": [None, 1, "", [], {}],
    "preset": [None, 1, [], {}],
    "licence": [None, 1, [], {}],
    "verification": [None, 1, "a", []],
    "training": [None, 1, "a", []],
}


def text(**changes) -> str:
    return json.dumps(json.loads(SPEC.to_json()) | changes)


def pairs(table: dict) -> list:
    return [pytest.param(key, value, id=f"{key}={str(value)[:24]}") for key in table for value in table[key]]


def test_json_round_trip():
    assert ModelSpec.from_json(SPEC.to_json(), "here") == SPEC
    assert json.loads(SPEC.to_json())["format"] == FORMAT


def test_json_round_trip_of_a_model_of_unknown_reach():
    unknown = replace(SPEC, reach=None)
    assert ModelSpec.from_json(unknown.to_json(), "here") == unknown
    values = json.loads(unknown.to_json())
    del values["reach"]
    assert ModelSpec.from_json(json.dumps(values), "here") == unknown


def test_what_has_a_default_may_be_missing_and_what_is_unknown_is_ignored():
    values = json.loads(SPEC.to_json())
    del values["window"], values["verification"], values["training"]
    values["colour"] = "blue"
    assert ModelSpec.from_json(json.dumps(values), "here") == replace(SPEC, verification={}, training={})


def test_frame_rate_and_hop():
    assert pytest.approx(459.375) == SPEC.frame_rate
    assert [SPEC.hop(samples) for samples in (1, 47, 73, 2048, 4800)] == [48, 48, 96, 2064, 4800]


def test_a_future_format_says_update():
    with pytest.raises(ModelError, match=rf"^here has format {FORMAT + 1}, .* up to {FORMAT}: update the program$"):
        ModelSpec.from_json(text(format=FORMAT + 1), "here")


def test_a_future_format_is_recognised_whatever_else_it_changed():
    with pytest.raises(ModelError, match="update the program"):
        ModelSpec.from_json(json.dumps({"format": FORMAT + 7, "stride": "all"}), "here")


@pytest.mark.parametrize("content", ["", "{", "null and void", SPEC.to_json()[:-20], "1" * 5000])
def test_what_is_no_json_says_so(content):
    with pytest.raises(ModelError, match=r"^here is not valid JSON .*export the model again$"):
        ModelSpec.from_json(content, "here")


@pytest.mark.parametrize("content", ["[]", "[1, 2]", "null", "1", '"format"', "{}", '{"stride": 48}'])
def test_json_that_is_no_model_says_so(content):
    with pytest.raises(ModelError, match="here does not describe a model"):
        ModelSpec.from_json(content, "here")


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(key):
    values = json.loads(SPEC.to_json())
    del values[key]
    with pytest.raises(ModelError, match=rf"here does not describe a model: .*{key}"):
        ModelSpec.from_json(json.dumps(values), "here")


@pytest.mark.parametrize(("key", "value"), pairs(IMPOSSIBLE))
def test_impossible_values_are_refused(key, value):
    with pytest.raises(ModelError, match=r"^here does not describe a model"):
        ModelSpec.from_json(text(**{key: value}), "here")


@pytest.mark.parametrize(("key", "value"), pairs(SUBTLE))
def test_subtly_impossible_values_are_refused(key, value):
    with pytest.raises(ModelError, match=r"^here does not describe a model"):
        ModelSpec.from_json(text(**{key: value}), "here")


@pytest.mark.parametrize("key", list(json.loads(SPEC.to_json())["reach"]))
@pytest.mark.parametrize("value", ["a", None, -1, 1.5, NAN, HUGE, WINDOW + 1, [1]], ids=lambda value: str(value)[:24])
def test_an_impossible_reach_is_refused(key, value):
    reach = json.loads(SPEC.to_json())["reach"]
    with pytest.raises(ModelError, match=r"^here does not describe a model.*reach"):
        ModelSpec.from_json(text(reach=reach | {key: value}), "here")
    ModelSpec.from_json(text(reach=reach | {key: WINDOW}), "here")


def test_a_reach_of_too_few_or_unknown_parts_is_refused():
    reach = json.loads(SPEC.to_json())["reach"]
    with pytest.raises(ModelError, match="colour"):
        ModelSpec.from_json(text(reach=reach | {"colour": 1}), "here")
    del reach["decoder_past"]
    with pytest.raises(ModelError, match="decoder_past"):
        ModelSpec.from_json(text(reach=reach), "here")


@pytest.mark.parametrize("key", list(json.loads(SPEC.to_json())))
def test_odd_values_give_a_model_error_or_a_spec_that_can_be_used(key):
    for value in ODD:
        if key in ("latent_mean", "latent_std") and value == [NAN, 1]:
            continue  # equal to nothing, itself included
        try:
            spec = ModelSpec.from_json(text(**{key: value}), "here")
        except ModelError as error:
            assert str(error).startswith("here ")  # noqa: PT017 - either outcome is right
        else:
            assert spec.hop(1) >= 1
            assert spec.frame_rate > 0
            assert "extra" in key or spec.to_json()


@pytest.mark.parametrize("key", ["latent_mean", "latent_std"])
def test_a_statistic_too_large_for_a_float_is_refused(key):
    with pytest.raises(ModelError):
        ModelSpec.from_json(text(**{key: [HUGE, 1]}), "here")


@pytest.mark.parametrize("start", ["", '{"format": 1, "reach": '])
def test_deep_nesting_is_refused(start):
    with pytest.raises(ModelError):
        ModelSpec.from_json(start + "[" * DEEP, "here")


def test_load_reads_a_folder(tmp_path):
    (tmp_path / SPEC_FILE).write_text(SPEC.to_json(), encoding="utf-8")
    assert ModelSpec.load(tmp_path) == SPEC


def test_load_names_the_file_that_is_wrong(tmp_path):
    (tmp_path / SPEC_FILE).write_text(text(stride=0), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        ModelSpec.load(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / SPEC_FILE))
    assert isinstance(caught.value, RtaeError)


def test_load_without_a_spec(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match=r"No model in .*model\.json cannot be read \(No such file"):
            ModelSpec.load(folder)


def test_load_of_what_is_not_text(tmp_path):
    (tmp_path / SPEC_FILE).write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ModelError, match=r"No model in .*\(not text\)"):
        ModelSpec.load(tmp_path)


# -- principal components ----------------------------------------------------------------------------------------------
def mapped(**changes) -> str:
    return json.dumps(json.loads(MAPPED.to_json()) | changes)


def test_json_round_trip_with_components():
    assert ModelSpec.from_json(MAPPED.to_json(), "here") == MAPPED
    assert ModelSpec.from_json(mapped(components=[[1, 0]], component_std=[1]), "here").components == ((1.0, 0.0),)


def test_a_model_from_before_there_were_components_loads():
    values = json.loads(SPEC.to_json())
    del values["components"], values["component_std"]
    spec = ModelSpec.from_json(json.dumps(values), "here")
    assert (spec.components, spec.component_std) == ((), ())
    assert spec == SPEC


UNIT = [[0.6, 0.8]]
HOSTILE = {
    "a text": ({"components": "ab"}, "components must be a list of directions"),
    "null": ({"components": None}, "components must be a list of directions"),
    "a number": ({"components": 1}, "components must be a list of directions"),
    "numbers": ({"components": [1, 0]}, "each direction in components must be a list of numbers"),
    "texts": ({"components": [["1", "0"]]}, "each direction in components must be a list of numbers"),
    "truths": ({"components": [[True, False]]}, "each direction in components must be a list of numbers"),
    "too deep": ({"components": [[[1], [0]]]}, "each direction in components must be a list of numbers"),
    "no deviations": ({"component_std": []}, "do not have one entry per component"),
    "one deviation": ({"component_std": [1]}, "do not have one entry per component"),
    "deviations alone": ({"components": []}, "do not have one entry per component"),
    "null deviations": ({"component_std": None}, "component_std must be a list of numbers"),
    "a text as deviation": ({"component_std": ["1", "1"]}, "component_std must be a list of numbers"),
    "too many": ({"components": UNIT * 3, "component_std": [1] * 3}, "there are 3 components; at most"),
    "a great many": ({"components": UNIT * 5000, "component_std": [1] * 5000}, "there are 5000 components; at most"),
    "short": ({"components": [[1], [1]]}, "do not have one value per latent dimension"),
    "long": ({"components": [[1, 0, 0], [1, 0, 0]]}, "do not have one value per latent dimension"),
    "empty": ({"components": [[], []]}, "do not have one value per latent dimension"),
    "NaN": ({"components": [[NAN, 1], [1, 0]]}, "directions of length 1"),
    "infinite": ({"components": [[float("inf"), 1], [1, 0]]}, "directions of length 1"),
    "zero": ({"components": [[0, 0], [1, 0]]}, "directions of length 1"),
    "too long": ({"components": [[0.8, 0.8], [1, 0]]}, "directions of length 1"),
    "near the largest float": ({"components": [[1e308, 1e308], [1, 0]]}, "directions of length 1"),
    "beyond any float": ({"components": [[HUGE, 1], [1, 0]]}, "too large"),
    "NaN deviation": ({"component_std": [NAN, 1]}, "component_std must lie above 0"),
    "infinite deviation": ({"component_std": [float("inf"), 1]}, "component_std must lie above 0"),
    "no deviation": ({"component_std": [0, 1]}, "component_std must lie above 0"),
    "negative deviation": ({"component_std": [-1, 1]}, "component_std must lie above 0"),
    "huge deviation": ({"component_std": [2.1, 1]}, "at most at latent_dim, 2"),
}


@pytest.mark.parametrize(("changes", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_components_are_refused(changes, message):
    with pytest.raises(ModelError, match=rf"^here does not describe a model: .*{message}"):
        ModelSpec.from_json(mapped(**changes), "here")


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_shipped_models_have_components(name):
    spec = ModelSpec.load(SHIPPED / name)
    assert len(spec.components) == len(spec.component_std) == COMPONENTS
    assert sorted(spec.component_std, reverse=True) == list(spec.component_std)
    products = np.array(spec.components) @ np.array(spec.components).T
    assert products == pytest.approx(np.eye(COMPONENTS), abs=1e-6)
