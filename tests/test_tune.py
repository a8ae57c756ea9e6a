import pytest

from rtae import tune
from rtae.nets.config import PRESETS, SMALL
from rtae.tune import HOPS, LOAD, SHARE_OF_LEAD, TRIALS, smallest_hop

LEAD_SECONDS = 0.06
HARDLY = 1e-4  # seconds


class Clock:
    """Stands still, but for what a model takes."""

    now = 0.0

    def __call__(self):
        return self.now


class CostlyModel:
    """A model whose encoder takes `cost(samples of the hop, number of the trial)` seconds."""

    def __init__(self, model, clock, cost):
        self.model, self.spec, self.clock, self.cost = model, model.spec, clock, cost
        self.shapes = []

    def encode(self, audio):
        self.shapes.append(audio.shape)
        trial = len(self.shapes) % TRIALS
        self.clock.now += self.cost(trial)
        return self.model.encode(audio)

    def decode(self, z):
        return self.model.decode(z)


@pytest.fixture
def chosen(monkeypatch, model_of):
    """The hop for a model of such a cost, and the model."""
    clock = Clock()
    monkeypatch.setattr(tune, "perf_counter", clock)

    def choose(cost, lead=LEAD_SECONDS, rate=44_100, channels=2):
        model = CostlyModel(model_of(SMALL), clock, cost)
        return smallest_hop(model, rate, channels, lead, "HQ"), model

    return choose


def longest_cost(hop):
    """Seconds within which a hop may be done."""
    return LOAD * SMALL_HOPS[hop] / 22_050


SMALL_HOPS = {hop: round(hop / SMALL.stride) * SMALL.stride for hop in HOPS}


@pytest.mark.parametrize(("shorter", "hop"), list(zip((None, *HOPS), HOPS, strict=False)))
def test_it_is_the_first_hop_that_fits(chosen, shorter, hop):
    most = min(longest_cost(hop), SHARE_OF_LEAD * LEAD_SECONDS)
    assert chosen(lambda _: most - HARDLY)[0] == SMALL_HOPS[hop]
    if shorter is not None:
        assert chosen(lambda _: longest_cost(shorter) + HARDLY)[0] == SMALL_HOPS[hop]


def test_it_is_the_longest_if_none_fits(chosen):
    hop, model = chosen(lambda _: 1.0)
    assert hop == SMALL_HOPS[HOPS[-1]]
    assert len(model.shapes) == len(HOPS) * TRIALS  # all were tried


def test_a_machine_that_stalls_again_and_again_gets_the_longest(chosen):
    stall = SHARE_OF_LEAD * LEAD_SECONDS + HARDLY
    assert chosen(lambda trial: stall if trial in (5, 25) else 0.0)[0] == SMALL_HOPS[HOPS[-1]]
    # A longer lead has room for that.
    assert chosen(lambda trial: stall if trial in (5, 25) else 0.0, lead=2 * LEAD_SECONDS)[0] == SMALL_HOPS[HOPS[0]]


def test_a_single_stall_does_not_count(chosen):
    assert chosen(lambda trial: 0.1 if trial == 7 else 0.0)[0] == SMALL_HOPS[HOPS[0]]


@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_tried_with_the_channels_that_will_be_played(chosen, channels):
    _, model = chosen(lambda _: 0.0, channels=channels)
    assert {shape[0] for shape in model.shapes} == {channels}


@pytest.mark.parametrize(("preset", "rate"), [(preset, 22_050) for preset in PRESETS] + [("small", 48_000)])
def test_a_real_model_gets_a_hop_of_the_list(model_of, preset, rate):
    model = model_of(PRESETS[preset])
    assert smallest_hop(model, rate, 1, LEAD_SECONDS, "HQ") in {model.spec.hop(hop) for hop in HOPS}
