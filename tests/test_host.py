"""The audio process and its client, on the silent clock and on a real sound server."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter
from rtae.client import Client
from rtae.engine import Engine
from rtae.errors import AudioFileError, DeviceError, ModelError, ParameterError, PresetError
from rtae.models.catalogue import shipped_folder
from rtae.nets.config import SMALL
from rtae.params import Snapshot
from rtae.performance import load as load_performance
from rtae.render import render, render_performance
from rtae.runtime import OnnxModel
from rtae.setup import Setup

RATE = 44_100
PATIENCE_SECONDS = 60.0  # a busy machine takes long to start a process
TRIES = 8  # for a measurement while no sound is lost: what is lost is counted, and a busy machine loses some
PCM_STEP = 2.5e-7  # two steps of 24 bits
PIECE = RATE // 10
RENDER_ATOL = 1e-3  # full scale; measured 1.2e-7, the step of 24 bits
QUIET = Snapshot().replace(output_gain=-24)


def wait_for(condition, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, files_of, store_model):
    """A folder with a model, and two songs of a few seconds."""
    place = tmp_path_factory.mktemp("host")
    store_model(place / "model", files_of(SMALL))
    rng = np.random.default_rng(0)
    for name, seconds in (("song.wav", 4), ("other.wav", 3)):
        with AudioWriter(place / name, RATE, 2) as out:
            out.write(rng.normal(0, 0.1, (2, seconds * RATE)).astype(np.float32))
    return place


@pytest.fixture
def setup(folder):
    return Setup(model=str(folder / "model"), source=str(folder / "song.wav"), output="silent")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def client(heard):
    with Client(heard.append) as running:
        running.set(QUIET)
        yield running


def test_it_plays_to_the_end(client, setup):
    facts = client.configure(setup)
    assert (facts["rate"], facts["channels"]) == (RATE, 2)
    assert facts["latency"]["lead"] > facts["block"]
    client.play()
    wait_for(lambda: client.status().ended)
    at = client.status()
    assert at.position == pytest.approx(4.0, abs=0.3)
    assert at.output_peak > 0 or at.position > 3.5
    assert client.shared.newest("scope", 4096).shape == (2, 4096)
    assert np.abs(client.shared.newest("latents", 100)[:16]).max() > 0


def test_pause_holds_and_seek_goes(client, setup):
    client.configure(setup)
    client.play()
    wait_for(lambda: client.status().position > 0.5)
    client.pause()
    wait_for(lambda: client.status().output_peak == 0)  # it has faded out
    held = client.status().position
    time.sleep(0.3)
    assert client.status().position == held
    assert client.status().output_peak == 0
    client.seek(3.0)
    client.play()
    wait_for(lambda: client.status().position > 3.1)


def test_a_loop_never_ends(client, setup):
    client.configure(setup)
    client.loop(0.5, 1.0)
    client.play()
    places = [0.0]

    def turns():
        """Twice from the end back to the start; beyond the end it never is."""
        places.append(client.status().position)
        assert places[-1] < 1.6
        return np.sum(np.diff(places) < 0) >= 2

    wait_for(turns)
    assert not client.status().ended


def test_errors_come_back_as_what_they_are(client, setup, folder):
    with pytest.raises(DeviceError, match="configure"):
        client.play()
    client.configure(setup)
    client.play()
    with pytest.raises(AudioFileError, match="does not exist"):
        client.open(str(folder / "nowhere.wav"))
    with pytest.raises(ModelError):
        client.model(str(folder / "nowhere"))
    with pytest.raises(ParameterError, match="place in a song"):
        client.seek(float("nan"))
    with pytest.raises(ParameterError, match="relaxed"):
        client.configure(Setup(model=setup.model, mode="furious"))
    wait_for(lambda: client.status().position > 1.0)  # it played on all the time


def test_what_cannot_be_opened_leaves_what_there_was(client, setup):
    client.configure(replace(setup, playing=True))
    wait_for(lambda: client.status().position > 0.5)
    with pytest.raises(AudioFileError):
        client.configure(replace(setup, source="nowhere.wav"))
    at = client.status().position
    assert at > 0.4  # where it was
    wait_for(lambda: client.status().position > at + 0.2)


KNOB_MARGIN_SECONDS = 0.002  # as of all that is stated


@pytest.mark.parametrize("device", ["silent", "sound server"])
def test_a_turned_knob_is_fully_heard_in_the_time_that_is_stated(request, monkeypatch, setup, device):
    if device == "sound server":
        for name, value in request.getfixturevalue("sound_server").paths.items():
            monkeypatch.setenv(name, value)
        setup = replace(setup, output=None)
    with Client() as client:
        for _ in range(TRIES):
            # A model that was trained, since the latents of a random one hardly matter to the level.
            found = client.respond(replace(setup, model=str(shipped_folder() / "tiny")), tries=1)
            if not (found["late"] or found["flags"]):
                break
        else:
            pytest.fail(f"sound was lost each time: {found}")
    for knob in ("input_gain", "latent_scale", "output_gain"):
        assert 0.1 < found[knob] < found["stated"] + KNOB_MARGIN_SECONDS, found


def test_another_song_and_another_model_while_it_plays(client, setup, folder):
    client.configure(setup)
    client.play()
    client.open(str(folder / "other.wav"), 1.0)
    wait_for(lambda: 1.0 < client.status().position < 3.0)
    client.second(str(folder / "song.wav"))
    client.set(QUIET.replace(interpolation=0.5))
    before = client.status().position
    client.model(setup.model)
    wait_for(lambda: client.status().position > before + 0.3)
    client.second("")


def test_a_killed_audio_process_comes_back_where_it_was(client, setup, heard):
    client.configure(setup)
    client.play()
    wait_for(lambda: client.status().position > 1.0)
    at, died = client.status().position, client.process.pid
    os.kill(died, signal.SIGKILL)
    wait_for(lambda: client.restarts == 1)
    wait_for(lambda: client.status().position > at + 0.2)
    assert client.process.pid != died
    assert any("started again" in text for text in heard)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_recorded_is_the_render(client, setup, folder, tmp_path, suffix):
    client.configure(setup)
    path = client.record(str(tmp_path / f"take.{suffix}"))
    client.play()
    wait_for(lambda: client.status().ended)
    assert client.stop_recording() > 3.9
    render(folder / "song.wav", tmp_path / "render.wav", Engine(OnnxModel.load(folder / "model")), QUIET)
    recorded, expected = read_audio(path)[0], read_audio(tmp_path / "render.wav")[0]
    count, fade = min(recorded.shape[1], expected.shape[1]), RATE // 50
    assert count > 3.9 * RATE
    assert np.abs(recorded[:, fade:count] - expected[:, fade:count]).max() <= RENDER_ATOL


def test_two_at_once(setup):
    with Client() as first, Client() as second:
        for one in (first, second):
            one.configure(setup)
            one.play()
        wait_for(lambda: min(first.status().position, second.status().position) > 0.5)
        assert first.shared.name != second.shared.name


ORPHAN = """
import json, os, sys, time
from rtae.client import Client
from rtae.setup import Setup

if __name__ == "__main__":
    client = Client()
    client.configure(Setup(model=sys.argv[1], source=sys.argv[2], output="silent"))
    client.play()
    print(json.dumps([client.process.pid, client.shared.name]), flush=True)
    time.sleep(60)
"""


def kill_and_look(parent):
    """Kill a client that has printed its audio process and its shared memory: both are to be gone soon."""
    pid, name = json.loads(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    wait_for(lambda: not Path(f"/dev/shm/{name.lstrip('/')}").exists())  # noqa: S108 - where Linux keeps them


def test_a_killed_client_leaves_nothing_behind(setup, tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, script, setup.model, setup.source], stdout=subprocess.PIPE) as parent:
        kill_and_look(parent)


HUNG = """
import json, os, signal, sys, threading, time
from rtae.client import Client
from rtae.setup import Setup

if __name__ == "__main__":
    client = Client()
    os.kill(int(sys.argv[2]), signal.SIGSTOP)
    threading.Thread(target=lambda: client.call("configure", setup=Setup(model=sys.argv[1])), daemon=True).start()
    time.sleep(1.0)
    print(json.dumps([client.process.pid, client.shared.name]), flush=True)
    time.sleep(60)
"""


def test_a_killed_client_leaves_nothing_behind_while_the_sound_server_hangs(server, setup, tmp_path):
    script = tmp_path / "hung.py"
    script.write_text(HUNG)
    command = [sys.executable, script, setup.model, str(server[0])]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=server[1]) as parent:
            kill_and_look(parent)
    finally:
        os.kill(server[0], signal.SIGCONT)


def test_a_terminal_that_closes_leaves_nothing_behind(setup, tmp_path):
    """It tells all of its processes at once, those that clean up after others as well."""
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    command = [sys.executable, script, setup.model, setup.source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
        pid, name = json.loads(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGHUP)
        parent.wait()
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        wait_for(lambda: not Path(f"/dev/shm/{name.lstrip('/')}").exists())  # noqa: S108 - where Linux keeps them


def test_a_performance_is_rendered_as_it_was_heard(client, setup, folder, tmp_path):
    """Knobs are turned while it plays and records: the render holds the recording, sample for sample."""
    client.set(Snapshot().replace(output_gain=-24))
    client.configure(replace(setup, playing=True))
    client.perform()
    name = client.record(str(tmp_path / "heard.wav"))
    for values in ({"noise_amount": 0.5}, {"latent_scale": 2.0}, {"echo": 0.7, "freeze": 1}, {"freeze": 0}):
        sleep(0.2)
        client.set(Snapshot().replace(output_gain=-24, **values))
    sleep(0.3)
    client.pause()
    client.stop_recording()
    assert client.stop_performing(str(tmp_path / "played.json")) > 1.0
    with pytest.raises(ParameterError, match="begin one first"):
        client.stop_performing(str(tmp_path / "again.json"))
    played = load_performance(tmp_path / "played.json")
    assert len(played.events) == 5
    engine = Engine(OnnxModel.load(folder / "model"), hop=played.hop)
    render_performance(played, Path(played.song), tmp_path / "render.wav", engine)
    heard, rendered = read_audio(name)[0], read_audio(tmp_path / "render.wav")[0]
    fade = RATE // 50  # it began behind the gate, and ended in a fade
    probe = heard[0, fade : fade + 512]
    windows = np.lib.stride_tricks.sliding_window_view(rendered[0], len(probe))
    offset = int(np.abs(windows - probe).max(axis=1).argmin()) - fade
    part = heard[:, fade : -2 * fade]
    assert np.abs(part - rendered[:, offset + fade : offset + fade + part.shape[1]]).max() <= PCM_STEP
    assert part.shape[1] > 0.9 * RATE


def test_a_performance_outlives_its_device(client, setup, tmp_path, heard):
    client.configure(replace(setup, playing=True))
    client.perform()
    client.set(QUIET.replace(noise_amount=0.5))
    wait_for(lambda: client.status().position > 0.5)
    client.configure(replace(setup, block=256))
    wait_for(lambda: any("The performance ended here" in text for text in heard))
    with pytest.raises(PresetError, match="no folder"):
        client.stop_performing(str(tmp_path / "no folder" / "played.json"))
    assert client.stop_performing(str(tmp_path / "played.json")) > 0.5
    played = load_performance(tmp_path / "played.json")
    assert (played.rate, played.events[-1][1]["noise_amount"]) == (RATE, 0.5)
    with pytest.raises(ParameterError, match="begin one first"):
        client.stop_performing(str(tmp_path / "again.json"))


def test_a_performance_needs_a_song(client, setup):
    client.configure(replace(setup, source="tone"))
    with pytest.raises(ParameterError, match="needs a song"):
        client.perform()


MEASURE = """
import json, sys
from rtae.client import Client
from rtae.errors import DisturbedError
from rtae.setup import Setup

if __name__ == "__main__":
    with Client() as client:
        try:
            print(json.dumps(client.measure(Setup(model=sys.argv[1], mode=sys.argv[2], hop=960))))
        except DisturbedError as error:
            print(json.dumps({"disturbed": str(error)}))
"""
STATED_ATOL_MS = 2.0  # measured 0.7
DRIFT_MS = 0.5  # of what the server states meanwhile, from which on it does not know it itself


# At the server's own rate: what it has to convert it delays by up to 4 ms more or less than it tells.
@pytest.mark.parametrize("sound_server", [22_050], indirect=True)
@pytest.mark.parametrize("mode", ["live", "relaxed"])
def test_a_round_trip_takes_as_long_as_is_stated(server, setup, tmp_path, mode):
    """From the microphone to the loudspeaker, and beside it a plain pass-through: what the server takes itself."""
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    command = [sys.executable, script, setup.model, mode]
    for _ in range(TRIES):
        done = subprocess.run(command, env=server[1], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        if "disturbed" in found:
            continue
        # A busy server may give one of the two streams far more delay than the other.
        same_device = found["measured"] < found["whole_measured"]
        if same_device and not (found["late"] or found["flags"] or found["drift_ms"] > DRIFT_MS):
            break
    else:
        if "asked for no sound" in found.get("disturbed", ""):
            pytest.skip(f"the sound server stands still here: {found}")
        if "disturbed" in found:
            pytest.fail(f"sound was lost each time: {found}")
        if found["flags"] or found["drift_ms"] > DRIFT_MS:
            pytest.skip(f"the sound server does not know its own delay here: {found}")
        pytest.fail(f"our own sound was late, or gone through the engine in no time, each time: {found}")
    assert found["confidence"] > 2
    floor, stated_floor = (1000 * found[name] / found["rate"] for name in ("measured", "stated"))
    whole, stated = (1000 * found[name] / found["whole_rate"] for name in ("whole_measured", "whole_stated"))
    assert 10 < floor < whole
    assert floor == pytest.approx(stated_floor, abs=STATED_ATOL_MS)
    assert whole == pytest.approx(stated, abs=STATED_ATOL_MS)


LOOPBACK = """
import json, subprocess, sys, time
from rtae.client import Client
from rtae.setup import Setup
from rtae.params import Snapshot

if __name__ == "__main__":
    model, song, raw, log = sys.argv[1:]
    log = open(log, errors="replace")
    command = "parec --device=test.monitor --format=float32le --rate=44100 --channels=2 --latency-msec=50".split()
    with open(raw, "wb") as out, subprocess.Popen(command, stdout=out) as recorder, Client() as client:
        client.set(Snapshot().replace(output_gain=-24))
        client.configure(Setup(model=model, source=song))
        time.sleep(0.5)
        flags = client.status().flags
        log.read()
        client.play()
        while not client.status().ended:
            time.sleep(0.05)
        time.sleep(0.5)
        at = client.status()
        told = at.flags - flags + log.read().count("underrun")
        recorder.terminate()
    print(json.dumps({"late": at.late, "told": told, "restarts": client.restarts}))
"""


def delays(recorded, expected):
    """By how many samples each tenth of a second is later in a recording: a set of what is possible, empty for never.

    The song's beginning, behind the gate, is left out.
    """
    starts = range(RATE // 50, expected.shape[1], PIECE)
    found = []
    for start, piece in zip(starts, np.split(expected, starts, axis=1)[1:], strict=True):
        places = np.arange(recorded.shape[1] - piece.shape[1])
        for sample, values in enumerate(piece.T):
            places = places[np.abs(recorded[:, places + sample] - values[:, None]).max(axis=0) <= RENDER_ATOL]
        found.append(set((places - start).tolist()))
    assert len(found) >= 39
    return found


def test_what_the_loopback_records_is_the_render(sound_server, setup, folder, tmp_path, breaks_of):
    script, raw = tmp_path / "loopback.py", tmp_path / "raw"
    script.write_text(LOOPBACK)
    command = [sys.executable, script, setup.model, setup.source, raw, sound_server.folder / "log"]
    render(folder / "song.wav", tmp_path / "render.wav", Engine(OnnxModel.load(folder / "model")), QUIET)
    expected = read_audio(tmp_path / "render.wav")[0]
    for _ in range(TRIES):
        done = subprocess.run(
            command, env=sound_server.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        lost, found = json.loads(done.stdout), delays(np.fromfile(raw, "<f4").reshape(-1, 2).T, expected)
        assert lost["restarts"] == 0
        # All of it was heard, and all equally late, or the server or the stream told that it lost some, each time.
        breaks = breaks_of(found)
        assert breaks <= lost["told"] or lost["late"], lost
        if breaks == 0:
            return
    assert not lost["late"], lost  # what our own worker loses is no excuse
    assert sum(map(bool, found)) > len(found) / 2, lost  # or nothing was compared
