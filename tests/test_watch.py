import numpy as np
import pytest

from rtae.training.watch import LossWatch


def diverges_at(losses, silence):
    """The first step at which a training with these losses is stopped, if one is."""
    watched = LossWatch()
    for step, loss in enumerate(losses):
        watched.add(loss, silence if watched.asks else None)
        if watched.diverged:
            return step
    return None


def test_a_loss_that_explodes_is_found(rng):
    losses = 1.3 + 0.3 * rng.standard_normal(1000)
    losses[300:] += np.geomspace(1, 1e9, 700)
    assert 300 < diverges_at(losses, 4.4) < 500


EXAMPLES = np.random.default_rng(4)
HEALTHY = {
    "falling": np.linspace(1.4, -0.5, 2000),
    "rising as far as silence": np.linspace(0.3, 5, 2000),
    "of nearly silent examples, now and then": np.where(EXAMPLES.random(2000) < 0.3, 1e6, 1.3),
    "from far below what silence costs to above it": np.geomspace(1e-6, 10, 2000),
    "with negative losses": np.linspace(-3, 1, 2000),
    "all large": 1e9 * (1 + 0.5 * EXAMPLES.standard_normal(2000)),
}


@pytest.mark.parametrize("losses", HEALTHY.values(), ids=HEALTHY)
def test_no_false_alarm(losses):
    assert diverges_at(losses, 4.4) is None
