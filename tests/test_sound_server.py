"""Real devices without hardware: PulseAudio with a null sink, whose monitor records what is played.

Each test has its own server, since they are frozen and killed, and its own process, since PortAudio looks for devices
once and may hang when a server does. Packages: libportaudio2 pulseaudio pulseaudio-utils libasound2-plugins.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

RATE = 44_100
# The rule is 0.5 s without a callback, or as soon as PortAudio knows. Measured: 0.51 s frozen, 0.01 s ended.
FAILED_SECONDS = 1.5
PIECES = 100  # of a recording of one second
TRIES = 5  # for a recording without dropouts, of which a busy machine's sound server tells

PROLOGUE = """
import json, os, signal, sys, time
library, server = sys.argv[1], int(sys.argv[2])
if library == "miniaudio":
    sys.modules["sounddevice"] = None
import numpy as np
from rtae.audio.device import Request, devices, open_stream

def done(**facts):
    print(json.dumps(facts), flush=True)
    os._exit(0)  # the usual end of the interpreter would wait for PortAudio

def wait(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())

if not devices():
    done(skip="the library finds no device; PortAudio needs libasound2-plugins")
"""

LOOPBACK = """
log = open(sys.argv[3], errors="replace")
COUNT, LEAD = 44_100, 8192
sent = np.zeros((LEAD + COUNT + 65_536, 2), np.float32)
sent[LEAD : LEAD + COUNT] = np.random.default_rng(1).uniform(-0.5, 0.5, (COUNT, 2))
sent[LEAD] = 0.25
heard = np.zeros((4 * COUNT, 2), np.float32)
at = 0

def callback(out, source):
    global at
    block = sent[at : at + len(out)]
    out[: len(block)] = block
    out[len(block) :] = 0
    block = heard[at : at + len(source)]
    block[:] = source[: len(block)]
    at += len(out)

stream = open_stream(Request(44_100, 2, 2), callback)
stream.start()
wait(lambda: at >= LEAD // 2)  # as a stream begins, a server says that it is dry
log.read()
flags = stream.flags
finished = wait(lambda: at >= 2.5 * COUNT)
told = stream.flags - flags + log.read().count("underrun")
closed = stream.close()
raw, places = heard.tobytes(), []
for number, piece in enumerate(np.split(sent[LEAD : LEAD + COUNT], 100)):
    place = raw.find(piece.tobytes())
    places.append([] if place < 0 else [place // piece[0].nbytes - number * len(piece)])
done(finished=finished, closed=closed, places=places, told=told, host=stream.host, error=repr(stream.error),
     failed=stream.failed)
"""

LOSS = """
what = sys.argv[3]
stream = open_stream(Request(44_100, 2), lambda out, source: out.fill(0))
stream.start()
assert wait(lambda: stream.callbacks > 40 or stream.failed) and not stream.failed, stream.failed
os.kill(server, signal.SIGSTOP if what == "frozen" else signal.SIGKILL)
begin = time.monotonic()
wait(lambda: stream.failed)
seconds, reason = time.monotonic() - begin, stream.failed
begin = time.monotonic()
closed = stream.close(timeout=1.0)
closing = time.monotonic() - begin
if what == "frozen":
    os.kill(server, signal.SIGCONT)
later = stream.close(timeout=10.0)
facts = dict(seconds=seconds, reason=reason, closed=closed, closing=closing, later=later)
if what == "killed":
    facts["left"] = [device.name for device in devices(rescan=True)] if library == "portaudio" and later else []
    facts["next"] = open_stream(Request(44_100, 2), lambda out, source: out.fill(0), silent=True).name
done(**facts)
"""


def run(server, script: str, library: str, *more: str) -> dict:
    """The facts that a script prints, from a process of its own that is killed if it hangs."""
    pid, environment = server
    command = [sys.executable, "-c", PROLOGUE + script, library, str(pid), *more]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    facts = json.loads(ended.stdout)
    if "skip" in facts:
        pytest.skip(facts["skip"])
    return {**facts, "printed": ended.stderr}


def test_breaks_are_counted(breaks_of):
    assert breaks_of([{1, 7}, {1}, {1, 2}]) == 0
    assert breaks_of([{1}, set(), set(), {3}, {3}]) == 1
    assert breaks_of([set(), {3}, {3, 4}, {4}, {5}, set()]) == 4
    assert breaks_of([]) == 0


@pytest.mark.parametrize("library", ["portaudio", "miniaudio"])
def test_what_is_played_is_what_is_recorded(sound_server, server, library, breaks_of):
    for _ in range(TRIES):
        facts = run(server, LOOPBACK, library, str(sound_server.folder / "log"))
        assert (facts["finished"], facts["closed"], facts["failed"], facts["error"]) == (True, True, None, "None")
        assert facts["host"] == {"portaudio": "ALSA", "miniaudio": "PulseAudio (miniaudio)"}[library]
        # Every sample is there and is exact, or the server or the stream told that it lost some, each time that it did.
        breaks = breaks_of(map(set, facts["places"]))
        assert breaks <= facts["told"], facts
        if breaks == 0:
            assert facts["printed"] == ""  # though the libraries look for all sorts of sound systems
            return
    assert sum(map(bool, facts["places"])) > PIECES / 2, facts  # or nothing was compared


@pytest.mark.parametrize("library", ["portaudio", "miniaudio"])
def test_a_frozen_server_is_noticed_and_closing_does_not_hang(server, library):
    try:
        facts = run(server, LOSS, library, "frozen")
    finally:
        os.kill(server[0], signal.SIGCONT)
    assert "hangs" in facts["reason"]
    assert facts["seconds"] < FAILED_SECONDS
    assert facts["closed"] or facts["closing"] >= 1.0
    assert facts["closing"] < 1.5
    assert facts["later"]


@pytest.mark.parametrize("library", ["portaudio", "miniaudio"])
def test_a_server_that_ends_is_noticed_and_can_be_gone_without(server, library):
    facts = run(server, LOSS, library, "killed")
    assert ("went away" in facts["reason"]) or (library == "miniaudio" and "no sound for" in facts["reason"])
    assert facts["seconds"] < FAILED_SECONDS
    assert facts["closed"]
    assert facts["closing"] < 1.0
    assert (facts["left"], facts["next"]) == ([], "silent")
