import json
from itertools import cycle

import numpy as np
import pytest

from rtae import performance as performances
from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.engine import Engine
from rtae.errors import AudioFileError, PresetError
from rtae.nets.config import SMALL, TINY
from rtae.params import PARAMETERS, TABLE, Snapshot
from rtae.performance import MAX_BYTES, Log, Performance, load, replay, save
from rtae.render import render_performance
from rtae.source import FileSource

RATE = 22_050
QUIET = Snapshot().replace(output_gain=-20)  # random weights are louder than full scale
PLAYED = {"song": "a.wav", "model": "small", "hop": 480, "quality": "HQ", "rate": RATE, "channels": 2}
BLOCKS = {
    "ones": [1],
    "tens": [10],
    "odd": [63, 64, 65],
    "device": [256],
    "mixed": [1, 1023, 0, 7, 480, 3000],
    "one": [40_000],
}


def noise(rng, channels, samples):
    return (0.2 * rng.standard_normal((channels, samples))).clip(-0.9, 0.9).astype(np.float32)


def snapshots(rng):
    """Values that change at random, most of the time: each of them another sound."""
    while True:
        yield QUIET.replace(
            mix=float(rng.random()),
            drop=float(rng.random()),
            input_gain=float(rng.uniform(-12, 6)),
            noise_amount=float(rng.integers(2)),
            bypass=float(rng.random() < 0.1),
        )


def play_live(engine, audio, blocks, values, hold=1):
    """As a session does: each block with the values of its moment, noted before; they change every `hold` blocks."""
    log, parts, position, calls = Log(), [], 0, 0
    lengths = cycle(blocks)
    snapshot = next(values)
    while position < audio.shape[1]:
        if calls % hold == 0:
            snapshot = next(values)
        calls += 1
        block = audio[:, position : position + next(lengths)]
        log.note(position, snapshot)
        parts.append(engine.process(block, snapshot))
        position += block.shape[1]
    played = PLAYED | {"hop": engine.hop, "rate": engine.rate, "channels": engine.channels, "quality": engine.quality}
    return log.finish(position, **played), np.concatenate(parts, axis=1)


def cut(audio, lengths):
    position = 0
    for length in cycle(lengths):
        if position >= audio.shape[1]:
            return
        yield audio[:, position : position + length]
        position += length


# -- the same samples again --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("live", "hold", "rate"), [("odd", 1, 44_100), ("device", 3, RATE), ("mixed", 1, RATE), ("tens", 40, 44_100)]
)
def test_a_replay_is_the_performance_to_the_bit(rng, tmp_path, model_of, live, hold, rate):
    engine, audio = Engine(model_of(SMALL), hop=480), noise(rng, 2, 20_011)
    engine.prepare(rate, 2)
    performance, heard = play_live(engine, audio, BLOCKS[live], snapshots(rng), hold)
    assert len(performance.events) > 10
    save(tmp_path / "p.json", performance)
    stored = load(tmp_path / "p.json")
    for name in ("odd", "mixed", "one", live):
        fresh = Engine(model_of(SMALL), hop=stored.hop, quality=stored.quality)
        fresh.prepare(stored.rate, stored.channels)
        again = np.concatenate(list(replay(fresh, stored, cut(audio, BLOCKS[name]))), axis=1)
        assert np.array_equal(again, heard), name
    # And the events are what does it: a hop later is another sound.
    late = [(sample + 480 * (sample > 0), values) for sample, values in stored.events]
    moved = Performance(**PLAYED, length=stored.length + 480, events=tuple(late))
    fresh.reset()
    shifted = np.concatenate(list(replay(fresh, moved, [audio])), axis=1)
    assert not np.array_equal(shifted, heard)


def test_values_that_arrive_with_the_last_sample_of_a_chunk(rng, model_of):
    """The engine reads the values when a chunk is full: a change one sample before its end counts for all of it."""
    engine, audio = Engine(model_of(TINY), hop=192), noise(rng, 1, 192 * 12)
    loud, soft = QUIET, QUIET.replace(mix=0, output_gain=-30)
    for border in (192 * 4 - 1, 192 * 4, 192 * 4 + 1):
        engine.reset()
        log = Log()
        parts = []
        for start, end, values in ((0, border, loud), (border, audio.shape[1], soft)):
            log.note(start, values)
            parts.append(engine.process(audio[:, start:end], values))
        performance = log.finish(audio.shape[1], **PLAYED | {"channels": 1})
        assert [sample for sample, _ in performance.events] == [0, border]
        engine.reset()
        again = np.concatenate(list(replay(engine, performance, cut(audio, [100]))), axis=1)
        assert np.array_equal(again, np.concatenate(parts, axis=1))


def test_a_second_source_is_replayed_too(rng, model_of):
    engine, audio = Engine(model_of(TINY), hop=480), noise(rng, 2, 9000)
    engine.prepare(RATE, 1, second=True)
    values = (QUIET.replace(interpolation=float(rng.random())) for _ in cycle([0]))
    performance, heard = play_live(engine, audio, BLOCKS["odd"], values)
    engine.reset()
    assert np.array_equal(np.concatenate(list(replay(engine, performance, [audio])), axis=1), heard)


def test_blocks_beyond_the_end_keep_the_last_values(rng, model_of):
    engine, audio = Engine(model_of(TINY)), noise(rng, 1, 20_000)
    performance = Performance(**PLAYED, length=5000, events=((0, {"mix": 0.0}), (4000, {"bypass": 1.0})))
    out = np.concatenate(list(replay(engine, performance, cut(audio, [0, 700]))), axis=1)
    latency = engine.latency.total
    assert np.array_equal(out[:, latency:], audio[:, : 20_000 - latency])


# -- taking down -------------------------------------------------------------------------------------------------------
def test_only_changes_are_taken_down_and_the_first_event_is_whole():
    log, first = Log(), Snapshot().replace(drop=0.5)
    for sample in range(0, 5000, 10):
        log.note(sample, first if sample < 3000 else first.replace(mix=0.5))
    performance = log.finish(5000, **PLAYED)
    assert [sample for sample, _ in performance.events] == [0, 3000]
    assert performance.events[0][1] == dict(first)
    assert performance.events[1][1] == {"mix": 0.5}
    assert list(performance.timeline()) == [(0, first), (3000, first.replace(mix=0.5))]


def test_values_of_an_empty_block_were_never_heard():
    log, first, other = Log(), Snapshot(), Snapshot().replace(mix=0.5)
    for sample, values in ((0, other), (0, first), (10, other), (10, first), (20, other), (20, first), (20, other)):
        log.note(sample, values)
    assert list(log.finish(30, **PLAYED).timeline()) == [(0, first), (20, other)]


def test_a_performance_that_grows_too_long_ends_there_and_can_be_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(performances, "MAX_BYTES", 400_000)
    log, sample = Log(), 0
    while not log.full:
        log.note(sample, Snapshot(tuple(p.low + (p.high - p.low) / (3 + sample % 7) for p in PARAMETERS)))
        sample += 128
    log.note(sample, Snapshot())
    performance = log.finish(sample + 99_999, **PLAYED)
    assert performance.length == sample - 128
    assert len(performance.events) > 50
    save(tmp_path / "p.json", performance)
    assert (tmp_path / "p.json").stat().st_size < 400_000


def test_values_can_be_held():
    performance = Performance(**PLAYED, length=100, events=((10, {"mix": 0.5, "drop": 1.0}), (20, {"mix": 0.1})))
    held = performance.holding({"mix": 0.7})
    assert [(s, v["mix"], v["drop"]) for s, v in held.timeline()] == [(0, 0.7, 0), (10, 0.7, 1), (20, 0.7, 1)]
    assert list(performance.holding({}).timeline())[1:] == list(performance.timeline())


# -- files -------------------------------------------------------------------------------------------------------------
def content(**changes):
    return PLAYED | {"format": 1, "length": 1000, "events": [[0, {"mix": 0.5}], [10, {"mix": 0.25}]]} | changes


def events(*listed):
    return content(events=list(listed))


HOSTILE = {
    "no json": (b"{", "not valid JSON"),
    "huge": (b" " * (MAX_BYTES + 1), "too large"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "a preset": ({"format": 1, "name": "x", "values": {}}, "it has no song"),
    "the future": (content(format=2), "update the program"),
    "a song of 5": (content(song=5), "its song must be a path"),
    "a song with NUL": (content(song="a\0b"), "its song must be a path"),
    "a long song": (content(song="x" * 5000), "its song must be a path"),
    "a model of 5": (content(model=5), "its model must be"),
    "hop 0": (content(hop=0), "its hop is 0"),
    "hop 1.5": (content(hop=1.5), "its hop is 1.5"),
    "hop true": (content(hop=True), "its hop is True"),
    "quality": (content(quality=["HQ"]), "its quality is ['HQ']"),
    "rate": (content(rate=10**9), "its rate is 1000000000"),
    "channels": (content(channels=65), "its channels is 65"),
    "length": (content(length=10**15), "its length is 1000000000000000"),
    "start": (content(start_seconds=-1), "its start_seconds is -1"),
    "start true": (content(start_seconds=True), "its start_seconds is True"),
    "second": (content(second=None), "its second must be a path"),
    "no list": (content(events={}), "its events must be a list"),
    "no pair": (events([1]), "event 1: it must be a sample's number"),
    "no sample": (events(["0", {}]), "event 1: it must be a sample's number"),
    "half a sample": (events([0.5, {}]), "event 1: it must be a sample's number"),
    "before the start": (events([-1, {}]), "event 1: it is at sample -1; allowed are 0 to 1000"),
    "beyond the end": (events([0, {}], [1001, {}]), "event 2: it is at sample 1001; allowed are 1 to 1000"),
    "not in order": (events([5, {}], [5, {}]), "event 2: it is at sample 5; allowed are 6 to 1000"),
    "a list of values": (events([0, [1]]), "event 1: its values must be an object"),
    "too much": (events([0, {}], [1, {"mix": 2}]), "event 2: mix is 2; allowed are 0 to 1"),
    "NaN": (events([0, {"mix": float("nan")}]), "NaN is no number"),
    "twice": (json.dumps(content())[:-4].encode() + b', "mix": 1}]]}', "'mix' occurs twice"),
    "many keys twice": (b"{" + b",".join(b'"%d":0' % i for i in range(50_000)) + b',"49999":0}', "occurs twice"),
}


@pytest.mark.parametrize(("wrong", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_clear_error(tmp_path, wrong, message):
    path = tmp_path / "p.json"
    path.write_bytes(wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode())
    with pytest.raises(PresetError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_what_is_saved_is_loaded(tmp_path):
    played = PLAYED | {
        "song": "/a b/日本\udcff.wav",
        "second": "b.wav",
        "start_seconds": 1.25,
        "second_start_seconds": 0.1,
    }
    log = Log()
    log.note(0, Snapshot().replace(mix=1 / 3))
    log.note(512, Snapshot().replace(noise_speed=0.1 + 0.2))
    performance = log.finish(1000, **played)
    save(tmp_path / "p.json", performance)
    assert load(tmp_path / "p.json") == performance
    assert list(tmp_path.iterdir()) == [tmp_path / "p.json"]


def test_ids_of_the_future_are_skipped_and_told_once(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(events([0, {"warp": 1, "mix": 0.5}], [9, {"warp": 2}])))
    performance = load(tmp_path / "p.json")
    assert [values["mix"] for _, values in performance.timeline()] == [0.5, 0.5]
    (note,) = performance.notes
    assert note.count("'warp'") == 1
    assert "warp" not in TABLE


# -- into a file -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("own", "start"), [(RATE, 0.0), (44_100, 0.25)])
def test_a_render_is_what_was_heard(rng, tmp_path, model_of, own, start):
    song = tmp_path / "song.wav"
    with AudioWriter(song, own, 1, "FLOAT") as writer:
        writer.write(noise(rng, 1, own))
    engine = Engine(model_of(TINY), hop=480)
    engine.prepare(RATE, 2)
    source = FileSource(song, RATE, 2)
    source.seek(start)
    audio = source.read(30_000)  # past its end
    source.close()
    performance, heard = play_live(engine, audio, BLOCKS["device"], snapshots(rng), hold=5)
    performance = performances.replace(performance, start_seconds=start)
    latency = engine.latency.total
    done = render_performance(performance, song, tmp_path / "out.wav", Engine(model_of(TINY), 480), subtype="FLOAT")
    out, rate = read_audio(tmp_path / "out.wav")
    assert np.array_equal(out, heard[:, latency:])
    assert (rate, done.samples, done.channels) == (RATE, 30_000 - latency, 2)
    assert done.peak == np.abs(out).max() > 0.01


def test_a_performance_without_a_sound_is_refused(rng, tmp_path, model_of):
    song = tmp_path / "song.wav"
    with AudioWriter(song, RATE, 1) as writer:
        writer.write(noise(rng, 1, 100))
    with pytest.raises(AudioFileError, match="record a longer one"):
        render_performance(
            Performance(**PLAYED, length=10), song, tmp_path / "out.wav", Engine(model_of(TINY), hop=480)
        )
    assert not (tmp_path / "out.wav").exists()
