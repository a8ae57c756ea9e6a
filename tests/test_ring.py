import sys
import threading
import time
from collections import deque
from itertools import cycle

import numpy as np
import pytest

from rtae.ring import Ring


def counting(channels: int, start: int, count: int) -> np.ndarray:
    """Samples that say which they are: the sample number, plus a thousandth of the channel's."""
    return (np.arange(start, start + count) + np.arange(channels)[:, None] / 1000).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("capacity", [1, 2, 7, 64])
def test_random_use_equals_a_queue(rng, channels, capacity):
    ring, queue, sent = Ring(channels, capacity), deque(), 0
    wrapped = False
    for _ in range(600):
        block = counting(channels, sent, int(rng.integers(0, capacity + 3)))
        room = capacity - len(queue)
        stored = ring.write(block)
        assert stored == min(room, block.shape[1])
        queue.extend(block[:, :stored].T)
        sent += stored
        assert (ring.stored, ring.free) == (len(queue), capacity - len(queue))
        wrapped |= ring.written % capacity < ring.taken % capacity

        wanted = int(rng.integers(0, capacity + 3))
        expected = [queue.popleft() for _ in range(min(wanted, len(queue)))]
        got = ring.read(wanted)
        assert got.dtype == np.float32
        assert got.shape == (channels, len(expected))
        assert np.array_equal(got, np.reshape(expected, (-1, channels)).T)
    assert wrapped or capacity < 3
    assert sent > 2 * capacity


def test_read_into_leaves_the_rest_of_the_buffer_alone():
    ring = Ring(2, 8)
    ring.write(counting(2, 1, 6))
    ring.read(5)
    ring.write(counting(2, 7, 4))  # runs over the end of the memory
    out = np.full((2, 9), -1, np.float32)
    assert ring.read_into(out) == 5
    assert np.array_equal(out[:, :5], counting(2, 6, 5))
    assert np.all(out[:, 5:] == -1)


def test_what_was_read_is_not_overwritten_later():
    ring = Ring(1, 4)
    ring.write(counting(1, 0, 4))
    got = ring.read(4)
    ring.write(counting(1, 10, 4))
    assert np.array_equal(got, counting(1, 0, 4))


def test_full_takes_nothing_and_empty_gives_nothing():
    ring = Ring(1, 4)
    assert ring.read(3).shape == (1, 0)
    assert ring.write(counting(1, 0, 9)) == 4
    assert ring.write(counting(1, 4, 1)) == 0
    assert (ring.stored, ring.free) == (4, 0)
    assert np.array_equal(ring.read(9), counting(1, 0, 4))
    assert (ring.stored, ring.free) == (0, 4)


def test_clear_forgets_and_stores_silence():
    ring = Ring(2, 8)
    ring.write(counting(2, 1, 7))
    ring.read(3)
    ring.clear()
    assert ring.stored == 0
    ring.write(counting(2, 1, 8))
    ring.clear(silence=5)
    assert ring.stored == 5
    ring.write(counting(2, 1, 3))
    assert np.array_equal(ring.read(8), np.concatenate([np.zeros((2, 5)), counting(2, 1, 3)], axis=1))


def test_two_threads_lose_and_change_nothing(rng):
    ring, total = Ring(2, 37), 40_000
    sent = counting(2, 0, total)
    writes, reads = (cycle(rng.integers(1, 50, 997).tolist()) for _ in range(2))
    stop = threading.Event()

    def write() -> None:
        position = 0
        while position < total and not stop.is_set():
            position += ring.write(sent[:, position : position + next(writes)])
            time.sleep(0)  # lets the other thread run

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds; so that the threads meet in the middle of things
    writer = threading.Thread(target=write)
    parts = []
    try:
        writer.start()
        while writer.is_alive() or ring.stored:
            parts.append(ring.read(next(reads)))
            time.sleep(0)
    finally:
        stop.set()
        writer.join()
        sys.setswitchinterval(before)
    assert np.array_equal(np.concatenate(parts, axis=1), sent)
