"""The feed keeps its delay whatever the worker does, and never clicks."""

import numpy as np
import pytest

from rtae.feed import Feed

RATE, BLOCK, LEAD = 44_100, 256, 800
STEP_LIMIT = 0.02  # full scale; a 100 Hz sine of 0.5 moves by 0.0071 a sample, the fade adds 1 / 220


def sine(count, start=0):
    return (0.5 * np.sin(2 * np.pi * 100 / RATE * np.arange(start, start + count))).astype(np.float32)


class Rig:
    """A device and a worker that can be late."""

    def __init__(self, inputs=0, lead=LEAD):
        self.feed = Feed(RATE, 1, inputs, BLOCK, lead)
        self.feed.armed = True
        self.made = 0
        self.heard = []

    def work(self):
        count = self.feed.wanted()
        self.feed.output.write(sine(count, self.made)[None])
        self.made += count

    def device(self, blocks=1, size=BLOCK):
        for _ in range(blocks):
            out = np.full((size, 1), 9, np.float32)
            self.feed.callback(out, None)
            self.heard.append(out[:, 0].copy())

    def sound(self):
        return np.concatenate(self.heard)


def test_the_delay_is_the_lead_from_the_first_sample_on():
    rig = Rig()
    for _ in range(30):
        rig.work()
        rig.device()
    sound = rig.sound()
    assert (sound[:LEAD] == 0).all()
    assert (sound[LEAD:] == sine(len(sound) - LEAD)).all()
    assert rig.feed.late == 0


@pytest.mark.parametrize("stall", [3, 4, 10, 40])
def test_a_late_worker_costs_a_dip_and_nothing_else(stall):
    rig = Rig()
    for _ in range(20):
        rig.work()
        rig.device()
    rig.device(stall)
    for _ in range(30):
        rig.work()
        rig.device()
    sound = rig.sound()
    assert rig.feed.dips == 1
    assert rig.feed.late > 0
    assert np.abs(np.diff(sound)).max() < STEP_LIMIT
    # Back at the stated delay: the samples that were missed are gone, not late.
    place = len(sound) - 5 * BLOCK
    assert (sound[place:] == sine(5 * BLOCK, place - LEAD)).all()


def test_a_stall_within_the_lead_is_not_heard():
    rig = Rig()
    for _ in range(20):
        rig.work()
        rig.device(2)  # 512 of 800 samples, and a reserve of 220
    sound = rig.sound()
    assert rig.feed.dips == 0
    assert (sound[LEAD:] == sine(len(sound) - LEAD)).all()


@pytest.mark.parametrize("sizes", [[1], [64, 256, 100], [255]])
def test_blocks_of_any_size_change_nothing(sizes, rng):
    rig = Rig()
    for _ in range(200):
        rig.work()
        rig.device(size=int(rng.choice(sizes)))
    sound = rig.sound()
    assert (sound[:LEAD] == 0).all()
    assert (sound[LEAD:] == sine(max(0, len(sound) - LEAD))).all()


def test_input_that_finds_no_room_is_counted():
    feed = Feed(RATE, 1, 1, BLOCK, LEAD)
    feed.armed = True
    room = feed.input.capacity
    out, block = np.zeros((BLOCK, 1), np.float32), np.ones((BLOCK, 1), np.float32)
    for _ in range(room // BLOCK + 2):
        feed.callback(out, block)
    assert feed.overflows == (room // BLOCK + 2) * BLOCK - room
    assert feed.input.stored == room


def test_a_lead_too_short_for_a_block_is_raised():
    assert Feed(RATE, 1, 0, BLOCK, 10).lead == BLOCK + Feed(RATE, 1, 0, BLOCK, 10).reserve


def test_until_it_is_armed_nothing_moves():
    feed = Feed(RATE, 1, 1, BLOCK, LEAD)
    out, block = np.full((BLOCK, 1), 9, np.float32), np.ones((BLOCK, 1), np.float32)
    feed.callback(out, block)
    assert (out == 0).all()
    assert (feed.output.stored, feed.input.stored, feed.late) == (feed.lead, 0, 0)


def test_a_device_that_fills_its_buffer_anew_pauses_the_sound_and_nothing_is_late():
    rig = Rig()
    for _ in range(20):
        rig.work()
        rig.device()
    for _ in range(12):  # no worker could be so fast
        out = np.full((BLOCK, 1), 9, np.float32)
        rig.feed.callback(out, None, even=False)
        assert not out.any()
    before = len(rig.sound())
    for _ in range(20):
        rig.work()
        rig.device()
    sound = rig.sound()
    fade = rig.feed.reserve
    assert (
        sound[before + fade :] == sine(len(sound) - before - fade, before + fade - LEAD)
    ).all()  # goes on where it was
    assert np.abs(np.diff(sound[before:])).max() < STEP_LIMIT
    assert abs(sound[before]) < STEP_LIMIT
    assert rig.feed.late == 0


def test_the_input_of_such_a_time_is_dropped_with_the_output():
    rig = Rig(inputs=1)
    rig.feed.callback(np.zeros((BLOCK, 1), np.float32), np.ones((BLOCK, 1), np.float32), even=False)
    assert rig.feed.input.stored == 0
