import json
from copy import copy
from dataclasses import replace

import pytest

from rtae import bench
from rtae.engine import Engine
from rtae.nets.config import PRESETS, SMALL, TINY
from rtae.window import Windows


def with_short_windows(model):
    """The same model with windows of half a second, since full ones of five take long."""
    short = copy(model)
    short.spec = replace(model.spec, window=9600)
    return short


@pytest.fixture(scope="module")
def measured(model_of):
    """A model and its figures, of hardly any repetition: what they are does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "RUNS", 2)
        patch.setattr(bench, "FULL_RUNS", 1)
        patch.setattr(bench, "HOPS", (480, 2048))
        model = with_short_windows(model_of(TINY))
        return model, bench.bench(model)


def test_a_model_is_measured(measured):
    model, result = measured
    assert result.model == model.spec.name
    assert [cost.hop for cost in result.hops] == [model.spec.hop(480), model.spec.hop(2048)]
    engine = Engine(model)
    engine.prepare(bench.DEVICE_RATE, 2)
    assert result.latency == engine.latency
    assert result.latency_ms == pytest.approx(1000 * engine.latency.total / 44_100, abs=0.05)
    figures = [result.engine_over_bare, result.real_time_factor, result.full_over_slices]
    figures += [value for cost in result.hops for value in (cost.encode_ms, cost.decode_ms, cost.real_time_factor)]
    assert min(figures) > 0


def test_figures_go_to_json(measured):
    content = json.loads(json.dumps(measured[1].to_dict()))
    assert content["latency"].keys() == {"hop", "crossfade", "look_ahead", "resampling", "limiter"}
    assert [cost.keys() for cost in content["hops"]] == [{"hop", "encode_ms", "decode_ms", "real_time_factor"}] * 2


def test_a_hop_cost_is_of_both_halves(monkeypatch, model_of):
    monkeypatch.setattr(bench, "timed", lambda *_: [0.25, 0.75])
    costs = bench.hop_costs(with_short_windows(model_of(SMALL)))
    assert [cost.hop for cost in costs] == [240, 480, 1008, 2064]
    assert {(cost.encode_ms, cost.decode_ms) for cost in costs} == {(250, 750)}
    assert [cost.real_time_factor for cost in costs] == [round(cost.hop / 22_050, 1) for cost in costs]


def test_calls_are_timed_in_turns():
    order = []
    times = bench.timed(3, lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b"] * 3
    assert len(times) == 2
    assert min(times) >= 0


@pytest.mark.parametrize("preset", PRESETS)
def test_slices_are_those_of_the_running_engine(model_of, preset):
    model = model_of(PRESETS[preset])
    spec = model.spec
    hop = spec.hop(2048)
    audio, latents = bench.slices(model, hop, 441)
    # What the encoder sees of the past reaches back to a whole frame; the crossfade is decoded again.
    past = -(-spec.reach.encoder_past // spec.stride) * spec.stride
    assert audio.shape == (1, past + hop)
    frames = -(-(hop + 441) // spec.stride) + spec.reach.decoder_past
    assert latents.shape[:2] == (1, spec.latent_dim)
    assert 0 <= latents.shape[2] - frames <= 1


def test_full_windows_are_measured_as_full_windows(monkeypatch, model_of):
    short = with_short_windows(model_of(TINY))
    seen = []
    step = Windows.step
    monkeypatch.setattr(Windows, "step", lambda self, *given: seen.append(self) or step(self, *given))
    bench.running(short, 2048, True)()
    assert {windows.full for windows in seen} == {True}
    assert seen[-1].audio.shape == (1, 9600)
