"""The shared block: what one side writes the other reads, and nothing that lies in it can break the audio."""

from multiprocessing import shared_memory

import numpy as np
import pytest

from rtae.params import INDEX, PARAMETERS, Snapshot
from rtae.shared import LATENT_DIMS, LATENT_FRAMES, SCOPE_SAMPLES, SharedState, Status


@pytest.fixture
def shared():
    made = SharedState()
    yield made
    made.close()


def numbered(start, count):
    """Input and output of the scope that tell their place; float32 counts exactly to 2 ** 24."""
    places = np.arange(start, start + count, dtype=np.float32)
    return places, -places


def test_it_starts_with_the_defaults(shared):
    assert shared.snapshot() == Snapshot(tuple(np.float32(Snapshot().values_).tolist()))
    assert shared.status().position == 0


@pytest.mark.parametrize("edge", ["low", "high", "default"])
def test_parameters_come_back(shared, edge):
    values = Snapshot(tuple(float(getattr(p, edge)) for p in PARAMETERS))
    shared.set_snapshot(values)
    assert shared.snapshot().values_ == pytest.approx(values.values_, rel=1e-6)
    for parameter, value in zip(PARAMETERS, shared.snapshot().values_, strict=True):
        assert parameter.check(value) == value


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.4999])
def test_nonsense_in_memory_is_no_nonsense_in_the_engine(shared, nonsense):
    shared.views["parameters"][:] = nonsense
    for parameter, value in zip(PARAMETERS, shared.snapshot().values_, strict=True):
        assert parameter.check(value) == value
    shared.views["parameters"][INDEX["mix"]] = 1.5
    assert shared.snapshot()["mix"] == 1


def test_status_comes_back(shared):
    status = Status(*np.linspace(0.1, 99, len(vars(Status()))).tolist())
    shared.set_status(status)
    assert shared.status() == status


def test_rings_before_anything_was_written(shared):
    assert (shared.newest("scope", 100) == np.zeros((2, 100))).all()
    assert (shared.newest("latents", 7) == np.zeros((LATENT_DIMS, 7))).all()
    shared.write_scope(*numbered(5, 3))
    assert shared.newest("scope", 6)[0].tolist() == [0, 0, 0, 5, 6, 7]


@pytest.mark.parametrize("block", [512, 1000, SCOPE_SAMPLES - 1, SCOPE_SAMPLES])
def test_the_newest_after_going_round(shared, block):
    total = 0
    while total < 2 * SCOPE_SAMPLES + 300:
        shared.write_scope(*numbered(total, block))
        total += block
        dry, wet = shared.newest("scope", 700)
        first = max(0, total - 700)
        assert (dry[-(total - first) :] == np.arange(first, total)).all()
        assert (wet == -dry).all()


def test_more_than_there_is_room_for(shared):
    shared.write_scope(*numbered(0, SCOPE_SAMPLES + 500))
    assert (shared.newest("scope", 10 * SCOPE_SAMPLES)[0] == np.arange(500, SCOPE_SAMPLES + 500)).all()
    shared.write_latents(np.full((3, LATENT_FRAMES + 1), 2.0, np.float32))
    assert shared.newest("latents", LATENT_FRAMES + 9).shape == (LATENT_DIMS, LATENT_FRAMES)


@pytest.mark.parametrize("dims", [3, LATENT_DIMS, LATENT_DIMS + 5])
def test_latents_of_any_size_fit(shared, dims):
    z = np.arange(dims * 4, dtype=np.float32).reshape(dims, 4) + 1
    shared.write_latents(z)
    kept = min(dims, LATENT_DIMS)
    assert (shared.newest("latents", 4)[:kept] == z[:kept]).all()
    assert not shared.newest("latents", 4)[kept:].any()


def test_what_was_read_is_the_readers_own(shared):
    shared.write_scope(*numbered(0, 10))
    before = shared.newest("scope", 10)
    shared.write_scope(*numbered(0, SCOPE_SAMPLES))
    assert before[0].tolist() == list(range(10))


def test_the_other_side_sees_it_and_does_not_remove_it(shared):
    other = SharedState(shared.name)
    assert other.snapshot() == shared.snapshot()
    shared.set_snapshot(Snapshot().replace(mix=0.25, output_gain=-24))
    other.set_status(Status(position=12.5))
    other.write_scope(*numbered(3, 4))
    assert other.snapshot() == shared.snapshot()
    assert other.snapshot()["mix"] == 0.25
    assert shared.status().position == 12.5
    assert shared.newest("scope", 4)[0].tolist() == [3, 4, 5, 6]
    other.close()
    assert shared.snapshot()["output_gain"] == -24
    again = SharedState(shared.name)
    assert again.status().position == 12.5
    again.close()


def test_whoever_opens_it_keeps_what_is_set(shared):
    shared.set_snapshot(Snapshot().replace(mix=0.5))
    SharedState(shared.name).close()
    assert shared.snapshot()["mix"] == 0.5


def test_its_maker_removes_it():
    made = SharedState()
    name = made.name
    made.close()
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name)


def test_two_at_once(shared):
    other = SharedState()
    assert other.name != shared.name
    other.set_snapshot(Snapshot().replace(mix=0.5))
    other.write_scope(*numbered(1, 5))
    assert shared.snapshot()["mix"] == 1
    assert not shared.newest("scope", 5).any()
    other.close()
    assert shared.status() == Status(limiter_gain=0)  # nothing was published yet
