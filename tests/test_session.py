"""A session plays what a render gives, keeps its delay, and changes without a click: no threads, no devices."""

import numpy as np
import pytest

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.audio.recorder import Recorder
from rtae.engine import Engine
from rtae.feed import Feed
from rtae.nets.config import SMALL, TINY
from rtae.params import Snapshot
from rtae.render import rendered_blocks
from rtae.session import BLOCK, GATE_SECONDS, TONE_SECONDS, Session
from rtae.shared import SharedState
from rtae.source import LEVEL, TONE_HZ, FileSource, Generator
from rtae.spec import DECODER_FILE, ENCODER_FILE, ModelSpec, Reach

RATE = 22_050
DEVICE, LEAD = 100, 600
GATE = round(GATE_SECONDS * RATE)
HOP = 480
QUIET = Snapshot().replace(output_gain=-24)
RENDER_ATOL = 1e-6  # full scale; measured 0
NET_ATOL = 1e-6  # full scale; measured 0: the same engine, the same hops
RECORD_ATOL = 2.0**-23  # full scale; 24 bits


class FakeModel:
    """Passes audio through, times a gain: a frame's latents are its samples."""

    def __init__(self, gain=1.0, stride=48):
        zero, files = (0.0,) * stride, {ENCODER_FILE: "", DECODER_FILE: ""}
        reach = Reach(0, 0, 0, 0, 47, 47)
        self.spec = ModelSpec("fake", "fake", RATE, stride, stride, 0, reach, zero, zero, files, "none")
        self.gain = np.float32(gain)

    def encode(self, audio):
        padded = np.pad(audio, ((0, 0), (0, -audio.shape[1] % self.spec.stride)))
        return padded.reshape(len(audio), -1, self.spec.stride).transpose(0, 2, 1)

    def decode(self, z):
        return self.gain * z.transpose(0, 2, 1).reshape(len(z), -1)


class Rig:
    """A session, a feed and a device that is turned by hand."""

    def __init__(self, model=None, microphone=False, device=DEVICE, channels=2, hop=HOP):
        self.shared, self.device, self.heard = SharedState(), device, []
        self.feed = Feed(RATE, channels, channels if microphone else 0, device, LEAD)
        self.feed.armed = True
        self.session = Session(Engine(model or FakeModel(), hop=hop), self.feed, RATE, channels, self.shared)
        self.session.microphone = microphone
        self.session.prepare()
        self.sources = []

    def open(self, path, second=False):
        source = path if isinstance(path, Generator) else FileSource(path, RATE, self.session.channels)
        self.sources.append(source)
        setattr(self.session, "second" if second else "first", source)
        self.session.prepare()
        return self

    def set(self, **values):
        self.shared.set_snapshot(Snapshot().replace(**values))

    def work(self):
        for _ in range(1000):
            if not self.session.work():
                return

    def turn(self, samples, sound=None):
        """So many samples, or a block more, at the device; sound: what its microphone hears."""
        for start in range(0, samples, self.device):
            out = np.full((self.device, self.feed.output.data.shape[0]), 9, np.float32)
            picked_up = None if sound is None else sound[:, start : start + self.device].T
            self.feed.callback(out, picked_up)
            self.heard.append(out.T)
            self.work()

    @property
    def delivered(self):
        """Samples that the worker made so far."""
        return self.feed.output.written - self.feed.lead

    def sound(self):
        """What was heard, without the lead, up to what the worker made last."""
        waiting = self.feed.output.read(self.feed.output.stored)
        return np.concatenate([*self.heard, waiting], axis=1)[:, self.feed.lead :]

    def close(self):
        for source in self.sources:
            source.close()
        self.shared.close()


@pytest.fixture
def rig():
    made = []

    def make(*arguments, **options):
        made.append(Rig(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def write(path, sound):
    with AudioWriter(path, RATE, len(sound), "FLOAT") as out:
        out.write(sound.astype(np.float32))
    return path


@pytest.fixture
def song(tmp_path):
    sound = np.random.default_rng(1).uniform(-0.7, 0.7, (2, 2 * RATE))
    return write(tmp_path / "song.wav", sound)


@pytest.fixture
def other(tmp_path):
    sound = np.random.default_rng(2).uniform(-0.7, 0.7, (2, 2 * RATE))
    return write(tmp_path / "other.wav", sound)


def sine(seconds, hz=100.0):
    return np.tile(0.7 * np.sin(2 * np.pi * hz / RATE * np.arange(round(seconds * RATE))), (2, 1)).astype(np.float32)


@pytest.fixture
def hum(tmp_path):
    return write(tmp_path / "hum.wav", sine(4))


def rendered(model, audio, values=QUIET):
    engine = Engine(model, hop=HOP)
    engine.prepare(RATE, len(audio))
    return np.concatenate(list(rendered_blocks(iter([audio]), engine, values)), axis=1)


def place_of(sound, piece):
    """Where a piece of noise is in a sound."""
    match = np.correlate(sound[0], piece[0], "valid")
    return int(np.argmax(match))


# -- playing -----------------------------------------------------------------------------------------------------------
def test_nothing_plays_before_play(rig, song):
    one = rig().open(song)
    one.turn(3000)
    assert not one.sound().any()
    assert one.session.first.position == 0


@pytest.mark.parametrize("device", [64, 100, 1000])
def test_a_file_is_its_render_from_the_first_sample_on(rig, song, model_of, device):
    model = model_of(SMALL)
    one = rig(model, device=device).open(song)
    one.shared.set_snapshot(QUIET)
    one.session.set_playing(True)
    one.turn(RATE)
    expected = rendered(model, read_audio(song)[0])
    heard = one.sound()
    assert heard.shape[1] >= RATE
    assert np.abs(heard[:, GATE:] - expected[:, GATE : heard.shape[1]]).max() <= NET_ATOL
    fade = np.arange(1, GATE + 1) / GATE
    assert np.abs(heard[:, :GATE] - expected[:, :GATE] * fade).max() <= 0.01
    assert one.feed.late == 0


def test_pause_and_play_go_on_where_it_was(rig, song):
    one = rig().open(song)
    audio = read_audio(song)[0]
    one.session.set_playing(True)
    one.turn(5000)
    one.session.set_playing(False)
    end = one.delivered  # the fade out is the last that is heard
    one.turn(3000)
    again = one.delivered
    one.session.set_playing(True)
    one.turn(5000)
    heard = one.sound()
    assert (heard[:, GATE : end - GATE] == audio[:, GATE : end - GATE]).all()
    assert np.abs(heard[:, end - GATE : end]).max() <= np.abs(audio[:, end - GATE : end]).max()
    assert not heard[:, end:again].any()
    after = heard[:, again:]
    assert (after[:, GATE:] == audio[:, end + GATE : end + after.shape[1]]).all()


def test_a_seek_is_exact_and_comes_at_once(rig, song):
    one = rig().open(song)
    audio = read_audio(song)[0]
    one.session.set_playing(True)
    one.turn(3000)
    one.session.change(lambda: one.session.first.seek(1.0))
    at = one.delivered
    one.turn(3000)
    after = one.sound()[:, at:]
    assert (after[:, GATE:] == audio[:, RATE + GATE : RATE + after.shape[1]]).all()
    assert one.shared.status().position == pytest.approx((RATE + after.shape[1]) / RATE, abs=1e-6)


def test_another_model_goes_on_at_the_same_place(rig, song):
    """What `rtae.host.Server.model` does."""
    one = rig().open(song)
    session, audio = one.session, read_audio(song)[0]
    session.set_playing(True)
    one.turn(5000)
    engine = Engine(FakeModel(gain=0.5), hop=4 * HOP)
    engine.prepare(RATE, 2)

    def swap():
        behind = session.position_seconds()
        session.engine = engine
        session.first.seek(behind)

    session.change(swap)
    at = one.delivered
    one.turn(5000)
    heard = one.sound()
    assert (heard[:, GATE : at - GATE] == audio[:, GATE : at - GATE]).all()
    assert (heard[:, at + GATE :] == 0.5 * audio[:, at + GATE : heard.shape[1]]).all()


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("when", [400, 5000])
def test_another_model_knows_what_was_before(rig, song, other, model_of, when, two):
    """With a context it sounds from the first sample on as if it had played all along."""
    session = (one := rig().open(song)).session
    if two:
        one.open(other, second=True)
    model, values = model_of(TINY), QUIET.replace(interpolation=0.5)
    one.shared.set_snapshot(values)
    context = model.spec.reach.receptive_field / RATE
    session.set_playing(True)
    one.turn(when)
    for _ in range(2):  # the second time while nothing was heard of the first
        place = session.position_seconds() + GATE / RATE * (session.open > 0)
        session.change(lambda: setattr(session, "engine", Engine(model, hop=HOP)), context=context)
        assert session.position_seconds() == pytest.approx(place, abs=1e-9)
    at = one.delivered
    one.turn(5000)
    heard = one.sound()
    audio = np.concatenate([read_audio(path)[0] for path in ([song, other] if two else [song])])
    begin = max(0, at - model.spec.reach.receptive_field)
    engine = Engine(model, hop=HOP)
    engine.prepare(RATE, 2, second=two)
    expected = np.concatenate(list(rendered_blocks(iter([audio[:, begin:]]), engine, values)), axis=1)[:, at - begin :]
    count = heard.shape[1] - at
    gate = np.minimum(1, np.arange(1, count + 1) / GATE)
    assert np.abs(heard[:, at:] - gate * expected[:, :count]).max() <= NET_ATOL
    assert one.shared.status().position == pytest.approx(heard.shape[1] / RATE, abs=1e-6)


def test_a_second_source_that_is_all_there_is_heard(rig, song, other, model_of):
    model = model_of(SMALL)
    one = rig(model).open(song).open(other, second=True)
    values = QUIET.replace(interpolation=1)
    one.shared.set_snapshot(values)
    one.session.set_playing(True)
    one.turn(RATE)
    heard = one.sound()
    expected = rendered(model, read_audio(other)[0])
    assert np.abs(heard[:, GATE:] - expected[:, GATE : heard.shape[1]]).max() <= RENDER_ATOL


def test_a_second_source_does_not_make_the_first_one_jump(rig, song, other):
    """What `rtae.host.Server.second` does."""
    one = rig().open(song)
    one.session.set_playing(True)
    one.turn(5000)
    fresh = FileSource(other, RATE, 2)
    one.sources.append(fresh)
    one.session.change(lambda: setattr(one.session, "second", fresh))
    one.turn(5000)
    heard, audio = one.sound(), read_audio(song)[0]
    end = heard.shape[1]
    assert place_of(audio, heard[:, end - 1000 :]) == end - 1000


def test_the_second_source_stays_beside_the_first(rig, song, other):
    one = rig().open(song).open(other, second=True)
    one.set(interpolation=1)
    session = one.session
    session.set_playing(True)
    one.turn(5000)

    def swap():
        session.first.seek(session.position_seconds())

    session.change(swap)
    one.turn(5000)
    heard, audio = one.sound(), read_audio(other)[0]
    end = heard.shape[1]
    assert place_of(audio, heard[:, end - 1000 :]) == end - 1000


def test_mono_comes_out_of_both_speakers(rig, song):
    one = rig(channels=1).open(song)
    one.feed = one.session.feed = Feed(RATE, 2, 0, DEVICE, LEAD)
    one.feed.armed = True
    one.session.set_playing(True)
    one.turn(3000)
    heard = one.sound()
    assert heard[:, 1000:].any()
    assert (heard[0] == heard[1]).all()


# -- the end -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [0.02, 0.5, 0.55])
def test_it_has_ended_when_all_of_it_was_delivered(rig, tmp_path, seconds):
    samples = round(seconds * RATE)
    path = write(tmp_path / "short.wav", np.full((2, samples), 0.5))
    one = rig().open(path)
    one.session.set_playing(True)
    while not one.shared.status().ended:
        one.turn(1)
        assert one.delivered < 2 * RATE
    assert one.delivered >= samples


def test_it_ends_and_is_silent_then(rig, song):
    one = rig().open(song)
    one.session.set_playing(True)
    one.turn(2 * RATE - 2000)
    assert not one.shared.status().ended
    one.turn(4000)
    assert one.shared.status().ended
    heard = one.sound()
    assert (heard[:, GATE : 2 * RATE] == read_audio(song)[0][:, GATE:]).all()
    assert not heard[:, 2 * RATE :].any()
    one.session.change(lambda: one.session.first.seek(0.5))
    one.turn(DEVICE)
    assert not one.shared.status().ended


@pytest.mark.parametrize("playing", [True, False])
def test_a_test_tone_is_plain_and_the_song_goes_on_where_it_was(rig, song, playing):
    one = rig().open(song)
    one.set(output_gain=-24, noise_amount=2.0)
    one.session.set_playing(True)
    one.turn(4000)
    if not playing:
        one.session.set_playing(False)
        one.turn(1000)
    one.session.sound_tone()
    one.turn(5000)
    begun, place = one.delivered, one.session.position_seconds()
    one.session.sound_tone()  # once more, while it sounds
    one.turn(round((TONE_SECONDS - 0.2) * RATE))
    assert one.session.position_seconds() == place
    tone = one.sound()[:, begun + GATE + BLOCK : one.delivered]
    turn = 2 * np.cos(2 * np.pi * TONE_HZ / RATE)
    assert np.abs(tone).max() == pytest.approx(LEVEL, rel=1e-3)
    assert np.abs(tone[:, 2:] + tone[:, :-2] - turn * tone[:, 1:-1]).max() < 1e-6  # a sine of this frequency, unbroken
    one.set(output_gain=-24)
    one.turn(12_000)
    count = round((one.session.position_seconds() - place) * RATE)
    assert one.session.playing == (count > 0) == playing
    heard = one.sound()
    if playing:
        expected = rendered(FakeModel(), read_audio(song)[0])[:, round(place * RATE) :][:, GATE + 2 * HOP : count]
        assert np.abs(heard[:, -expected.shape[1] :] - expected).max() <= RENDER_ATOL
    else:
        assert not heard[:, -4000:].any()


def test_dropouts_count_while_something_sounds(rig, song):
    one = rig().open(song)
    flags = iter(range(1, 1_000_000))
    one.session.flags = lambda: next(flags)  # the device is never at ease
    one.turn(2000)
    assert one.shared.status().flags == 0
    one.feed.late += 100
    one.session.set_playing(True)
    one.turn(DEVICE)
    assert one.shared.status().late == 0
    one.turn(2000)
    one.feed.late += 10
    one.turn(2 * DEVICE)
    counted = one.shared.status()
    assert (counted.flags > 0, counted.late) == (True, 10)
    one.session.set_playing(False)
    one.turn(2 * LEAD)  # what was delivered has sounded
    counted = one.shared.status()
    one.feed.late += 10
    one.turn(2000)
    assert (one.shared.status().flags, one.shared.status().late) == (counted.flags, counted.late)


# -- no clicks ---------------------------------------------------------------------------------------------------------
SLOPE = 0.7 * 2 * np.pi * 100 / RATE  # of the hum, full scale per sample
STEP_LIMIT = SLOPE + 1.5 * 0.7 / GATE  # and what the fade adds
TONE_STEP = LEVEL * (2 * np.pi * TONE_HZ / RATE + 1 / GATE)  # the same of a test tone


def actions(session):
    return {
        "pause": lambda: session.set_playing(False),
        "play": lambda: session.set_playing(True),
        "seek": lambda: session.change(lambda: session.first.seek(0.5 + 1 / 317)),
        "nothing": lambda: session.change(lambda: None),
        "tone": session.sound_tone,
        "source": lambda: session.change(lambda: setattr(session, "first", Generator("tone", RATE, 2))),
    }


@pytest.mark.parametrize("name", ["pause", "play", "seek", "nothing", "tone"])
@pytest.mark.parametrize("when", [1000, 1037, 2200])
def test_a_change_does_not_click(rig, hum, name, when):
    one = rig(device=37).open(hum)
    one.session.set_playing(True)
    one.turn(when)
    actions(one.session)[name]()
    one.turn(1500)
    if name == "pause":
        one.session.set_playing(True)
        one.turn(1500)
    steps = np.abs(np.diff(one.sound()))
    assert steps.max() < max(STEP_LIMIT, TONE_STEP if name == "tone" else 0)
    assert steps.max() > 0.5 * SLOPE


def test_a_change_right_after_a_change_does_not_click(rig, hum):
    one = rig(device=37).open(hum)
    one.session.set_playing(True)
    one.turn(1300)
    one.session.change(lambda: one.session.first.seek(0.0025))  # a crest of the hum
    while one.session.open == 0:
        one.turn(1)
    assert one.session.open < 0.5
    one.session.change(lambda: one.session.first.seek(0.0025))
    one.turn(1000)
    assert np.abs(np.diff(one.sound())).max() < STEP_LIMIT


@pytest.mark.parametrize(
    "seconds",
    [
        0.3,
        pytest.param(3.0),
    ],
)
def test_it_plays_again_after_a_stall(rig, tmp_path, seconds):
    one = rig().open(Generator("tone", RATE, 2))
    one.session.set_playing(True)
    one.turn(3000)
    work, one.work = one.work, lambda: None  # a disk that hangs, a machine that is busy
    one.turn(round(seconds * RATE))
    one.work = work
    one.turn(3000)
    assert one.feed.dips == 1
    assert one.heard[-1].any()


def test_play_while_it_plays_is_not_heard(rig, song):
    one = rig().open(song)
    one.session.set_playing(True)
    one.turn(2000)
    one.session.set_playing(True)
    one.turn(2000)
    heard = one.sound()
    assert (heard[:, GATE:] == read_audio(song)[0][:, GATE : heard.shape[1]]).all()


# -- the microphone ----------------------------------------------------------------------------------------------------
def hear(one, sound, changes=()):
    """Play a sound into the microphone; changes: (sample, action)."""
    start = 0
    for place, action in [*changes, (sound.shape[1], None)]:
        count = (place - start) // DEVICE * DEVICE
        one.turn(count, sound[:, start : start + count])
        start += count
        if action:
            action(one.session)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_the_microphone_comes_out_after_lead_and_latency(rig, rng, mix):
    one = rig(microphone=True)
    one.set(mix=mix)
    one.session.set_playing(True)
    sound = rng.uniform(-0.5, 0.5, (2, 10_000)).astype(np.float32)
    hear(one, sound)
    late = one.session.engine.latency.total
    heard = np.concatenate(one.heard, axis=1)
    assert not heard[:, : LEAD + late].any()
    assert (heard[:, LEAD + late :] == sound[:, : heard.shape[1] - LEAD - late]).all()
    assert one.feed.overflows == one.feed.late == 0


@pytest.mark.parametrize("name", ["pause and play", "nothing", "tone"])
def test_a_change_does_not_delay_the_microphone(rig, rng, monkeypatch, name):
    monkeypatch.setattr("rtae.session.TONE_SECONDS", 0.2)
    one = rig(microphone=True)
    sound = rng.uniform(-0.5, 0.5, (2, 20_000)).astype(np.float32)
    one.session.set_playing(True)
    if name == "nothing":
        changes = [(4000, lambda session: session.change(lambda: None))]
    elif name == "tone":
        changes = [(4000, Session.sound_tone), (6000, Session.sound_tone)]
    else:
        changes = [
            (4000, lambda session: session.set_playing(False)),
            (6000, lambda session: session.set_playing(True)),
        ]
    hear(one, sound, changes)
    heard = np.concatenate(one.heard, axis=1)
    at = 18_000
    delay = at - place_of(sound, heard[:, at : at + 1000])
    assert delay == LEAD + one.session.engine.latency.total


def test_the_microphone_comes_back_after_a_stall(rig, rng):
    one = rig(microphone=True)
    one.session.set_playing(True)
    sound = rng.uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32)
    hear(one, sound[:, :5000])
    work, one.work = one.work, lambda: None  # as when the machine sleeps
    hear(one, sound)
    assert one.feed.overflows > 0
    one.work = work
    hear(one, sound)
    heard = np.concatenate(one.heard, axis=1)
    assert heard[:, -1000:].any()


# -- what else comes out -----------------------------------------------------------------------------------------------
def test_the_recording_is_what_was_delivered(rig, song, tmp_path):
    one = rig().open(song)
    with Recorder(tmp_path / "take.wav", RATE, 2) as recorder:
        one.session.recorder = recorder
        one.session.set_playing(True)
        one.turn(5000)
        one.session.set_playing(False)
        end = one.delivered
        one.turn(3000)
    recorded, heard = read_audio(recorder.path)[0], one.sound()
    assert recorded.shape[1] == end
    assert np.abs(recorded[:, GATE : end - GATE] - heard[:, GATE : end - GATE]).max() <= RECORD_ATOL


def test_the_recording_does_not_click_at_a_seek(rig, hum, tmp_path):
    one = rig().open(hum)
    with Recorder(tmp_path / "take.wav", RATE, 2) as recorder:
        one.session.recorder = recorder
        one.session.set_playing(True)
        one.turn(3000)
        one.session.change(lambda: one.session.first.seek(0.0025))
        one.turn(3000)
    assert np.abs(np.diff(read_audio(recorder.path)[0])).max() < STEP_LIMIT


def test_the_dry_recording_is_the_source(rig, song, tmp_path):
    one = rig(FakeModel(gain=0.3)).open(song)
    with Recorder(tmp_path / "take.wav", RATE, 2) as recorder:
        one.session.record_dry, one.session.recorder = True, recorder
        one.session.set_playing(True)
        one.turn(5000)
    recorded, audio = read_audio(recorder.path)[0], read_audio(song)[0]
    late = one.session.engine.latency.total  # the source is read so far ahead of what is heard
    count = recorded.shape[1]
    assert np.abs(recorded - audio[:, late : late + count]).max() <= RECORD_ATOL


def test_the_status_tells_what_it_does(rig, song):
    one = rig().open(song)
    assert one.session.position_seconds() == 0
    one.session.set_playing(True)
    one.turn(8000)
    status = one.shared.status()
    assert status.playing == 1
    assert status.position == pytest.approx(one.delivered / RATE, abs=1e-6)
    assert status.duration == pytest.approx(2.0)
    assert 0.6 < status.input_peak <= 0.7
    assert 0.6 < status.output_peak <= 0.7
    assert (status.ended, status.late, status.overflows, status.broken, status.limiter_gain) == (0, 0, 0, 0, 1)
    assert status.load > 0
    wet = one.shared.newest("scope", BLOCK)[1]
    assert np.abs(wet - one.sound()[:, -BLOCK:].mean(axis=0)).max() < 1e-6
    one.session.set_playing(False)
    one.turn(3000)
    assert one.shared.status().playing == 0
    assert one.shared.status().output_peak == 0
