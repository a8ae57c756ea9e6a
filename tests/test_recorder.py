import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rtae.audio.file import MAX_CHANNELS, AudioReader, read_audio
from rtae.audio.recorder import ROOM_SECONDS, Recorder, default_name
from rtae.errors import AudioFileError

RATE = 44_100
STEP = 2.0**-23  # full scale, of 24 bits
KILLED_LOSS = 1.5  # seconds; measured up to 0.09 (wav), 0.12 (flac)
SUFFIXES = (".wav", ".flac")
# What another process plays, so that it can be told what must be in the file.
SOURCE = f"""
import sys, time
import numpy as np

def audio(samples):
    steps = np.random.default_rng(5).integers(-(2**20), 2**20, (samples, 2))
    return (steps.T * {STEP}).astype(np.float32)
"""
LIVE = (
    SOURCE
    + f"""
from pathlib import Path
from rtae.audio.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), {RATE}, 2)
sound = audio(60 * {RATE})
start = time.monotonic()
for place in range(0, sound.shape[1], 441):
    recorder.feed(sound[:, place : place + 441])
    print(place + 441, flush=True)
    time.sleep(max(0.0, start + (place + 441) / {RATE} - time.monotonic()))
"""
)
LIMITED = (
    SOURCE
    + f"""
import resource
from pathlib import Path
from rtae.audio.recorder import Recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
with Recorder(Path(sys.argv[1]), {RATE}, 2) as recorder:
    sound = audio(10 * {RATE})
    for place in range(0, sound.shape[1], 4410):
        recorder.feed(sound[:, place : place + 4410])
        time.sleep(0.005)
print(recorder.error)
print(recorder.seconds)
"""
)
FORGOTTEN = (
    SOURCE
    + f"""
from pathlib import Path
from rtae.audio.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), {RATE}, 2)
recorder.feed(audio(3 * {RATE}))
while recorder.seconds < 3:
    time.sleep(0.01)
"""
)


def fed_elsewhere(samples: int) -> np.ndarray:
    names: dict = {}
    exec(SOURCE, names)  # noqa: S102  # the same lines as the other process runs
    return names["audio"](samples)


def noise(rng: np.random.Generator, channels: int, samples: int) -> np.ndarray:
    return rng.uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("channels", "samples"), [(1, 50_001), (2, 100_000), (3, 4097), (1, 1), (2, 4096)])
def test_what_is_fed_is_in_the_file(tmp_path, rng, suffix, channels, samples):
    audio = noise(rng, channels, samples)
    with Recorder(tmp_path / f"take{suffix}", RATE, channels) as recorder:
        cuts = np.sort(rng.integers(0, samples + 1, 12))
        for block in np.split(audio, cuts, axis=1):
            recorder.feed(block)
    assert recorder.error is None
    assert recorder.lost == 0
    assert recorder.seconds == samples / RATE
    with AudioReader(recorder.path) as reader:
        assert (reader.rate, reader.info.samples, reader.info.subtype) == (RATE, samples, "PCM_24")
        np.testing.assert_allclose(reader.read(10**6), audio, rtol=0, atol=STEP / 2)
        assert not reader.truncated


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_of_24_bits_is_exact_even_at_full_scale(tmp_path, suffix):
    audio = np.array([[-1.0, 1.0 - STEP, STEP, -STEP, 0.5, 0.0]], np.float32)
    with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
        recorder.feed(audio)
    np.testing.assert_array_equal(read_audio(recorder.path)[0], audio)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_too_loud_is_clipped_and_what_is_no_number_is_silent(tmp_path, suffix):
    with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
        recorder.feed(np.array([[1.5, -9.0, np.nan, np.inf, -np.inf, 0.25]], np.float32))
    np.testing.assert_array_equal(read_audio(recorder.path)[0], [[1.0 - STEP, -1.0, 0.0, 0.0, 0.0, 0.25]])


def test_feeding_leaves_the_block_alone_and_may_reuse_it(tmp_path, rng):
    audio = noise(rng, 2, 3000)
    block = np.empty((2, 100), np.float32)
    with Recorder(tmp_path / "take.wav", RATE, 2) as recorder:
        for place in range(0, 3000, 100):
            block[:] = audio[:, place : place + 100]
            recorder.feed(block)
            np.testing.assert_array_equal(block, audio[:, place : place + 100])
            block[:] = 0.0
    np.testing.assert_allclose(read_audio(recorder.path)[0], audio, rtol=0, atol=STEP / 2)


def test_the_wav_header_is_exact(tmp_path, rng):
    with Recorder(tmp_path / "take.wav", RATE, 1) as recorder:
        recorder.feed(noise(rng, 1, 333))
    data = recorder.path.read_bytes()
    assert len(data) == 44 + 999 + 1  # a chunk of odd length is padded
    assert struct.unpack("<4sI4s", data[:12]) == (b"RIFF", len(data) - 8, b"WAVE")
    assert struct.unpack("<HHIIHH", data[20:36]) == (1, 1, RATE, 3 * RATE, 3, 24)
    assert struct.unpack("<4sI", data[36:44]) == (b"data", 999)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_is_readable_at_all_times(tmp_path, rng, suffix):
    audio = noise(rng, 1, RATE)
    with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
        for place in range(0, RATE, 8191):
            recorder.feed(audio[:, place : place + 8191])
            fed = min(RATE, place + 8191)
            wait_for(lambda wanted=fed: recorder.seconds >= wanted / RATE)
            written, rate = sf.read(shutil.copy(recorder.path, tmp_path / f"copy{suffix}"), dtype="float32")
            assert rate == RATE
            assert 0 <= fed - len(written) <= (4096 if suffix == ".flac" else 0)
            np.testing.assert_allclose(written, audio[0, : len(written)], rtol=0, atol=STEP / 2)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_recording_is_there_up_to_the_last_moment(tmp_path, suffix):
    path = tmp_path / f"take{suffix}"
    process = subprocess.Popen([sys.executable, "-c", LIVE, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        fed = 0
        for line in process.stdout:
            fed = int(line)
            if fed >= 3 * RATE:
                break
        process.kill()
    with AudioReader(path) as reader:
        audio = reader.read(60 * RATE)
        assert reader.info.samples > fed - KILLED_LOSS * RATE
        assert not reader.truncated
    assert audio.shape[1] > fed - KILLED_LOSS * RATE
    np.testing.assert_array_equal(audio, fed_elsewhere(60 * RATE)[:, : audio.shape[1]])
    plain = sf.read(path, dtype="float32")[0].T
    assert plain.shape[1] > fed - KILLED_LOSS * RATE
    np.testing.assert_array_equal(plain, audio[:, : plain.shape[1]])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_program_that_ends_without_a_stop_leaves_a_good_file_and_no_message(tmp_path, suffix):
    path = tmp_path / f"take{suffix}"
    ended = subprocess.run([sys.executable, "-c", FORGOTTEN, str(path)], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    audio = read_audio(path)[0]
    assert audio.shape[1] >= 3 * RATE - 4096
    np.testing.assert_array_equal(audio, fed_elsewhere(3 * RATE)[:, : audio.shape[1]])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of the size of files to stand for a full disk")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_ends_the_recording_and_keeps_what_is_written(tmp_path, suffix):
    path = tmp_path / f"take{suffix}"
    ended = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    message, seconds = ended.stdout.splitlines()
    assert "too large" in message
    assert "free some space" in message
    assert path.stat().st_size <= 400_000
    with AudioReader(path) as reader:
        audio = reader.read(10 * RATE)
        assert not reader.truncated
        assert audio.shape[1] == reader.info.samples
    assert 0 <= round(float(seconds) * RATE) - audio.shape[1] <= (4096.1 if suffix == ".flac" else 0.1)
    assert audio.shape[1] > 0.2 * RATE
    np.testing.assert_array_equal(audio, fed_elsewhere(10 * RATE)[:, : audio.shape[1]])


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps files that are open")
def test_a_folder_that_vanishes_ends_the_recording(tmp_path, rng):
    folder = tmp_path / "gone"
    folder.mkdir()
    with Recorder(folder / "take.wav", RATE, 2) as recorder:
        recorder.feed(noise(rng, 2, 1000))
        wait_for(lambda: recorder.seconds > 0)
        shutil.rmtree(folder)
        wait_for(lambda: recorder.error is not None)
        recorder.feed(noise(rng, 2, 1000))
    assert isinstance(recorder.error, AudioFileError)
    assert "the file was deleted" in str(recorder.error)
    assert recorder.lost == 0  # what comes after the end is not counted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_defect_in_the_thread_becomes_the_error(tmp_path, rng, suffix, monkeypatch):
    recorder = Recorder(tmp_path / f"take{suffix}", RATE, 1)
    recorder.feed(noise(rng, 1, 30_000))
    wait_for(lambda: recorder.seconds >= 30_000 / RATE)  # all chunks, not the first
    monkeypatch.setattr("rtae.audio.recorder._pcm", lambda _: 1 / 0)
    recorder.feed(noise(rng, 1, 1000))
    wait_for(lambda: recorder.error is not None)
    recorder.stop()
    assert "division by zero" in str(recorder.error)
    assert read_audio(recorder.path)[0].shape == (1, 30_000)


def test_a_disk_that_hangs_does_not_hold_up_the_stop(tmp_path, rng, monkeypatch):
    recorder = Recorder(tmp_path / "take.wav", RATE, 1)
    works_again = threading.Event()
    monkeypatch.setattr("rtae.audio.recorder._write_all", lambda *_: works_again.wait(20))
    recorder.feed(noise(rng, 1, 100))
    recorder.stop(timeout=0.3)
    assert "did not finish within 0.3 s" in str(recorder.error)
    works_again.set()
    recorder.stop()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_exists_is_kept(tmp_path, rng, suffix):
    (tmp_path / f"take{suffix}").write_text("precious")
    (tmp_path / f"take-2{suffix}").symlink_to(tmp_path / "nowhere")
    with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
        recorder.feed(noise(rng, 1, 10))
    assert recorder.path == tmp_path / f"take-3{suffix}"
    assert (tmp_path / f"take{suffix}").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert read_audio(recorder.path)[0].shape == (1, 10)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_fed_leaves_nothing(tmp_path, suffix):
    with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
        recorder.feed(np.zeros((1, 0), np.float32))
    assert recorder.error is None
    assert recorder.seconds == 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_ring_drops_and_counts(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("rtae.audio.recorder.POLL_SECONDS", 3600.0)  # the disk does nothing until the stop
    room = int(ROOM_SECONDS * 1000)
    audio = noise(rng, 2, room + 123)
    with Recorder(tmp_path / "take.wav", 1000, 2) as recorder:
        recorder.feed(audio)
        assert recorder.lost == 123
        recorder.feed(audio[:, :7])
        assert recorder.lost == 130
    np.testing.assert_allclose(read_audio(recorder.path)[0], audio[:, :room], rtol=0, atol=STEP / 2)
    assert recorder.error is None


def test_stop_ends_for_good(tmp_path, rng):
    recorder = Recorder(tmp_path / "take.wav", RATE, 1)
    recorder.feed(noise(rng, 1, 100))
    recorder.stop()
    recorder.stop()
    recorder.feed(noise(rng, 1, 100))
    recorder.stop()
    assert (recorder.seconds, recorder.lost, recorder.error) == (100 / RATE, 0, None)
    assert read_audio(recorder.path)[0].shape == (1, 100)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_that_is_full_goes_on_in_the_next(tmp_path, rng, channels):
    (tmp_path / "take-2.wav").write_text("precious")
    audio = noise(rng, channels, 1000)
    with Recorder(tmp_path / "take.wav", RATE, channels, max_bytes=1000) as recorder:
        for place in range(0, 1000, 99):
            recorder.feed(audio[:, place : place + 99])
    assert recorder.error is None
    assert recorder.seconds == 1000 / RATE
    assert [path.name for path in recorder.paths[:3]] == ["take.wav", "take-3.wav", "take-4.wav"]
    assert all(path.stat().st_size <= 1000 for path in recorder.paths)
    assert all(path.stat().st_size > 990 for path in recorder.paths[:-1])
    joined = np.concatenate([read_audio(path)[0] for path in recorder.paths], axis=1)
    np.testing.assert_allclose(joined, audio, rtol=0, atol=STEP / 2)


def test_a_wav_that_is_exactly_full_starts_no_other(tmp_path, rng):
    with Recorder(tmp_path / "take.wav", RATE, 1, max_bytes=44 + 3 * 100 + 1) as recorder:
        recorder.feed(noise(rng, 1, 100))
    assert len(recorder.paths) == 1
    assert read_audio(recorder.path)[0].shape == (1, 100)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps files that are open")
def test_no_next_file_ends_the_recording_and_keeps_the_first(tmp_path, rng):
    folder, moved = tmp_path / "takes", tmp_path / "moved"
    folder.mkdir()
    with Recorder(folder / "take.wav", RATE, 1, max_bytes=1000) as recorder:
        folder.rename(moved)
        recorder.feed(noise(rng, 1, 1000))
    assert str(recorder.error).startswith("Cannot create")
    assert read_audio(moved / "take.wav")[0].shape[1] == round(recorder.seconds * RATE) == (1000 - 45) // 3


@pytest.mark.parametrize(
    ("name", "rate", "channels", "word"),
    [
        ("missing/take.wav", RATE, 2, "no folder"),
        ("take.mp3", RATE, 2, "must end in"),
        ("take.flac", RATE, 9, "1 to 8 channels"),
        ("take.wav", RATE, MAX_CHANNELS + 1, "channels"),
        ("take.flac", 700_000, 1, "655350 Hz"),
        ("x" * 300 + ".wav", RATE, 1, "too long"),
    ],
)
def test_what_cannot_be_recorded_is_said_at_once(tmp_path, name, rate, channels, word):
    with pytest.raises(AudioFileError, match=word):
        Recorder(tmp_path / name, rate, channels)
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_sample_is_the_callers_mistake(tmp_path):
    with pytest.raises(ValueError, match="No sample fits"):
        Recorder(tmp_path / "take.wav", RATE, 2, max_bytes=50)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full to stand for a full disk")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_from_the_start(tmp_path, rng, suffix, monkeypatch):
    link = tmp_path / f"take{suffix}"

    def create(path: Path):
        link.symlink_to("/dev/full")
        return link, open("/dev/full", "r+b", buffering=0)  # noqa: PTH123

    monkeypatch.setattr("rtae.audio.recorder._create", create)
    try:
        with Recorder(tmp_path / f"take{suffix}", RATE, 1) as recorder:
            recorder.feed(noise(rng, 1, 10_000))
        error = recorder.error
    except AudioFileError as raised:  # a wav begins with its header, a flac with the first audio
        error = raised
    assert "No space left" in str(error)
    assert not link.is_symlink()


def test_default_name(tmp_path):
    now = datetime(2026, 11, 22, 16, 5, 1)
    assert default_name(tmp_path, now) == tmp_path / "rtae-2026-11-22-160501.wav"
    assert default_name(tmp_path, now, ".flac").suffix == ".flac"
