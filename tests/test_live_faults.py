"""What happens to sound cards, processes and files while it plays: a clear word, nothing lost, and back to work.

Each test has a sound server of its own. What is heard is recorded from the monitor of its sink.
"""

import copy
import os
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from stage import Ear

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.client import Client
from rtae.engine import Engine
from rtae.errors import DeviceError
from rtae.export.graph import decoder_graph
from rtae.models.catalogue import shipped_folder
from rtae.nets.config import SMALL, TINY
from rtae.params import Snapshot
from rtae.runtime import OnnxModel
from rtae.setup import Setup

RATE = 44_100
PATIENCE_SECONDS = 60.0  # a busy machine takes long to start a process
BACK_SECONDS = 2.0  # until a killed audio process plays again, on a machine with nothing else to do; measured 1.1
GAP_SECONDS = 0.05  # when models are swapped; measured 0.01
STEP_ATOL = 1e-3  # full scale; what two passes of the song may differ by
DRY = Snapshot().replace(mix=0)


def wait_for(condition, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, files_of, store_model):
    """Two models, and a song: a tone of 441 Hz whose left channel tells the time."""
    place = tmp_path_factory.mktemp("faults")
    store_model(place / "small", files_of(SMALL))
    store_model(place / "tiny", files_of(TINY))
    time_ = np.arange(40 * RATE) / RATE
    with AudioWriter(place / "song.wav", RATE, 2) as out:
        out.write((0.25 * np.sin(2 * np.pi * 441 * time_) * np.ones((2, 1))).astype(np.float32))
    return place


@pytest.fixture
def heard():
    return []


@pytest.fixture
def client(sound_server, monkeypatch, heard):
    for name, value in sound_server.paths.items():
        monkeypatch.setenv(name, value)
    with Client(heard.append) as running:
        running.set(DRY)
        yield running


@pytest.fixture
def playing(client, folder):
    """A client that plays the tone, dry."""
    client.configure(Setup(model=str(folder / "small"), source=str(folder / "song.wav"), playing=True))
    wait_for(lambda: client.status().position > 0.3)
    return client


def goes_on(client, more=0.4):
    before = client.status().position
    wait_for(lambda: client.status().position > before + more)


def said(heard, *words):
    return any(all(word in text for word in words) for text in heard)


# -- the sound server ------------------------------------------------------------------------------------------------
def test_the_sound_server_is_killed_and_comes_back(playing, sound_server, heard):
    sound_server.kill()
    wait_for(lambda: said(heard, "is gone", "waiting for it"))
    at = playing.status().position
    with pytest.raises(DeviceError, match="gone"):
        playing.seek(1.0)
    assert sound_server.start()
    wait_for(lambda: said(heard, "Playing again"))
    wait_for(lambda: playing.status().position > at + 0.3)
    assert playing.status().position < at + 5  # where it was, not from the start or far beyond
    assert playing.restarts == 0


def test_the_sound_server_freezes_and_goes_on(playing, sound_server, heard):
    at = playing.status().position
    os.kill(sound_server.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: said(heard, "hangs"))
        wait_for(lambda: said(heard, "ended (the sound server froze)"))
    finally:
        os.kill(sound_server.pid, signal.SIGCONT)
    wait_for(lambda: playing.status().position > at + 1.0, 60)
    goes_on(playing)


def test_the_sink_is_suspended_and_resumed(playing, sound_server, heard):
    sound_server.control("suspend-sink", "test", "1")
    wait_for(lambda: said(heard, "hangs"))
    sound_server.control("suspend-sink", "test", "0")
    at = playing.status().position
    wait_for(lambda: playing.status().position > at + 0.5, 60)


def test_the_sink_is_unloaded_and_loaded_again(playing, sound_server, heard):
    module = sound_server.control("list", "short", "modules").stdout
    number = next(line.split()[0] for line in module.splitlines() if "null-sink" in line)
    sound_server.control("unload-module", number)
    wait_for(lambda: said(heard, "is gone"))
    sound_server.control("load-module", *sound_server.sink.split())
    sound_server.control("set-default-sink", "test")
    at = playing.status().position
    wait_for(lambda: playing.status().position > at + 0.5, 60)


def test_a_device_that_was_chosen_by_its_number_is_kept_by_its_name(client, folder):
    """Numbers change whenever devices come or go, and here all of them are gone once the server is."""
    setup = Setup(model=str(folder / "small"), source="tone", playing=True)
    number = next(device.index for device in client.devices() if device.name == "pulse")
    client.configure(replace(setup, output=str(number)))
    assert client.setup.output == client.facts()["output"] == "pulse, ALSA"
    assert client.facts()["device"] == "pulse"
    with pytest.raises(DeviceError, match="No output device '99'"):
        client.configure(replace(setup, output="99"))
    assert client.facts()["device"] == "pulse"  # it plays on


def test_a_device_that_ran_dry_goes_on_where_it_was(playing, tmp_path, sound_server):
    """The whole audio process stands still for longer than any buffer lasts."""
    pid = playing.facts()["pid"]
    flags = playing.status().flags
    before, begun = playing.status().position, time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.35)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: playing.status().flags > flags)
    time.sleep(1.0)
    played, passed = playing.status().position - before, time.monotonic() - begun
    assert playing.restarts == 0
    # The sound paused while nothing could sound: it neither skipped nor was anything thrown away as late.
    assert played < passed - 0.15
    assert playing.status().late < 0.1 * RATE


def test_a_microphone_that_fell_behind_is_opened_again(client, folder, heard):
    """A device that ran dry is late by what its input heard meanwhile, and would stay so."""
    setup = Setup(model=str(folder / "small"), source="microphone", hop=960, playing=True, guard=False)
    pid = client.configure(setup)["pid"]
    behind = []

    def total():
        """Seconds; none while the device counts as gone, as it may after a stall on a busy machine."""
        try:
            facts = client.facts()
        except DeviceError:
            return 0.0
        return sum(facts["latency"].values()) / facts["rate"]

    def again():
        return said(heard, "fell", "behind when it ran dry; it is opened again")

    def stalled():
        """Longer than the device's buffer lasts, until the delay has grown."""
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.25)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.7)
        behind.append(total())
        return again() or behind[-1] > behind[0] + 0.2

    wait_for(lambda: client.status().load > 0)
    time.sleep(2.5)  # until its delay is known
    behind.append(total())
    wait_for(stalled)
    wait_for(again)
    wait_for(lambda: 0 < total() < max(behind) - 0.05)
    assert client.facts()["pid"] == pid
    assert client.restarts == 0


# -- processes -------------------------------------------------------------------------------------------------------
def seconds_kept_waiting(*threads: str) -> float:
    """For how long the system let threads wait that had something to do, since it ran something else.

    threads: like "self/task/12" or "12" for the main thread of process 12. Only Linux tells; 0 elsewhere.
    """
    files = [Path("/proc") / thread / "schedstat" for thread in threads]
    return sum(int(file.read_text().split()[1]) / 1e9 for file in files if file.exists())


def test_the_audio_process_is_killed(playing, heard):
    pid, at = playing.facts()["pid"], playing.status().position
    own = [f"self/task/{playing.watcher.native_id}", f"self/task/{threading.get_native_id()}"]
    waited, begun = seconds_kept_waiting(*own), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: playing.restarts == 1 and playing.status().position > at)
    seconds = time.monotonic() - begun
    # A busy machine gives the new process less of its time, and says how much less.
    seconds -= seconds_kept_waiting(*own, str(playing.process.pid)) - waited
    assert seconds < BACK_SECONDS
    assert playing.status().position < at + 1.0  # where it was
    assert said(heard, "exit code -9")


def test_a_recording_outlives_the_audio_process(playing, tmp_path, heard):
    first = playing.record(str(tmp_path / "take.wav"))
    wait_for(lambda: playing.status().recorded_seconds > 0.5)
    os.kill(playing.facts()["pid"], signal.SIGKILL)
    wait_for(lambda: said(heard, "recording goes on in"))
    wait_for(lambda: 0.3 < playing.status().recorded_seconds < 30)
    assert playing.stop_recording() > 0.3
    assert read_audio(first)[0].shape[1] > 0.4 * RATE
    assert read_audio(tmp_path / "take-2.wav")[0].shape[1] > 0.2 * RATE


def test_a_recording_outlives_the_sound_server(playing, tmp_path, sound_server, heard):
    name = playing.record(str(tmp_path / "take.flac"))
    wait_for(lambda: playing.status().recorded_seconds > 0.5)
    sound_server.kill()
    wait_for(lambda: said(heard, "is gone", "recording pauses"))
    assert sound_server.start()
    wait_for(lambda: said(heard, "Playing again"))
    wait_for(lambda: playing.status().recorded_seconds > 1.5)
    seconds = playing.stop_recording()
    sound = read_audio(name)[0][0]
    assert len(sound) == pytest.approx(seconds * RATE, abs=1)
    assert np.abs(np.diff(sound)).max() < 0.05  # the tone's own largest step is 0.016: no click where it was cut


# -- files -----------------------------------------------------------------------------------------------------------
def test_the_disk_is_full_while_it_records(playing, tmp_path, heard):
    resource.prlimit(playing.facts()["pid"], resource.RLIMIT_FSIZE, (300_000, 300_000))
    name = playing.record(str(tmp_path / "take.wav"))
    wait_for(lambda: said(heard, "Recording to", "free some space"))
    goes_on(playing)
    sound = read_audio(name)[0]
    assert 0.5 * RATE < sound.shape[1] < 300_000
    assert playing.stop_recording() == 0.0


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps files that are open")
def test_the_song_is_deleted_while_it_plays(client, folder, tmp_path):
    song = shutil.copy(folder / "song.wav", tmp_path / "gone.wav")
    client.configure(Setup(model=str(folder / "small"), source=str(song), playing=True))
    wait_for(lambda: client.status().position > 0.3)
    Path(song).unlink()
    goes_on(client, 1.0)
    client.seek(35.0)
    wait_for(lambda: client.status().ended)


def test_the_song_is_cut_short_while_it_plays(client, folder, tmp_path, heard):
    song = shutil.copy(folder / "song.wav", tmp_path / "short.wav")
    client.configure(Setup(model=str(folder / "small"), source=str(song), playing=True))
    wait_for(lambda: client.status().position > 0.3)
    os.truncate(song, 600_000)
    wait_for(lambda: client.status().ended)
    wait_for(lambda: said(heard, "short.wav", "ends earlier than it says"))


def test_samples_that_are_no_numbers(client, tmp_path, folder, sound_server):
    broken = np.full((2, RATE), 0.1, np.float32)
    broken[:, 1000:20_000:7] = np.nan
    broken[:, 30_000:40_000:11] = np.inf
    soundfile.write(tmp_path / "broken.wav", broken.T, RATE, subtype="FLOAT")
    ear = Ear(sound_server, tmp_path / "raw")
    client.configure(Setup(model=str(folder / "small"), source=str(tmp_path / "broken.wav"), playing=True))
    wait_for(lambda: client.status().ended)
    sound = ear.stop()
    assert np.isfinite(sound).all()
    assert 0.05 < np.abs(sound).max() <= 0.15  # what is a number plays on at its level, and nothing is louder


# -- what the player does --------------------------------------------------------------------------------------------
def test_parameters_hammered_at_1_khz(playing):
    stop = threading.Event()

    def hammer():
        rng = np.random.default_rng(0)
        while not stop.wait(0.001):
            playing.set(
                DRY.replace(mix=rng.uniform(), latent_scale=rng.uniform(0, 4), output_gain=rng.uniform(-60, 24))
            )

    late = playing.status().late
    thread = threading.Thread(target=hammer)
    thread.start()
    goes_on(playing, 2.0)
    stop.set()
    thread.join()
    assert playing.status().late == late
    assert playing.restarts == 0


def test_two_at_once_on_one_device(playing, folder, heard):
    with Client(heard.append) as other:
        other.configure(Setup(model=str(folder / "tiny"), source=str(folder / "song.wav"), playing=True))
        goes_on(other)
        goes_on(playing)
        os.kill(other.facts()["pid"], signal.SIGKILL)  # what happens to the one is nothing to the other
        goes_on(playing)
        wait_for(lambda: other.restarts == 1 and other.status().position > 0.5)
    assert playing.restarts == 0
    goes_on(playing)


@pytest.fixture(scope="module")
def broken_model(tmp_path_factory, files_of, store_model):
    """Its decoder answers with what is no number."""
    good = files_of(SMALL)
    net = copy.deepcopy(good.net)
    with torch.no_grad():
        for values in net.decoder.parameters():
            values.fill_(float("nan"))
    broken = SimpleNamespace(**{**vars(good), "net": net, "decoder": decoder_graph(net, good.std)})
    return store_model(tmp_path_factory.mktemp("broken") / "nan", broken)


def test_a_model_that_answers_with_no_numbers(playing, folder, broken_model, tmp_path, sound_server):
    playing.set(Snapshot().replace(output_gain=-20))
    ear = Ear(sound_server, tmp_path / "raw")
    playing.model(str(broken_model))
    wait_for(lambda: playing.status().broken > 0)
    goes_on(playing)
    playing.set(DRY)  # the song itself is still there
    wait_for(lambda: playing.status().output_peak > 0.1)
    playing.model(str(folder / "small"))
    wait_for(lambda: playing.status().broken == 0)  # the count is that of an engine
    goes_on(playing)
    sound = ear.stop()
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0
    assert playing.restarts == 0


def test_trained_models_are_swapped_without_a_click(client, folder, tmp_path, sound_server):
    song, names = folder / "song.wav", ("tiny", "small", "tiny")
    client.set(Snapshot())
    client.configure(Setup(model=str(shipped_folder() / "small"), source=str(song), playing=True))
    ear = Ear(sound_server, tmp_path / "raw")
    for name in names:
        goes_on(client, 0.7)
        client.model(str(shipped_folder() / name))
    goes_on(client, 0.7)
    assert client.status().late == 0
    sound = ear.stop()
    alone = []
    for name in set(names):
        engine = Engine(OnnxModel.load(shipped_folder() / name))
        engine.prepare(RATE, 2)
        alone.append(engine.process(read_audio(song)[0][:, : 3 * RATE], Snapshot())[0, RATE:])
    assert np.abs(alone[0] - alone[1]).max() > 0.01  # they sound different
    assert np.abs(np.diff(sound)).max() <= np.abs(np.diff(alone)).max() + STEP_ATOL


def test_a_model_is_swapped_without_a_gap_or_a_click(playing, folder, tmp_path, sound_server):
    ear = Ear(sound_server, tmp_path / "raw")
    for name in ("tiny", "small", "tiny"):
        goes_on(playing, 0.7)
        playing.model(str(folder / name))
    goes_on(playing, 0.7)
    assert playing.status().late == 0
    sound = ear.stop()
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    sound = sound[loud[0] : loud[-1]]
    # Dry, both models sound alike: the tone, whose largest step is 0.0157, and which is never below 0.05 for long.
    assert np.abs(np.diff(sound)).max() < 0.017
    quiet = np.flatnonzero(np.abs(sound) > 0.05)
    assert np.diff(quiet).max() / RATE < GAP_SECONDS
