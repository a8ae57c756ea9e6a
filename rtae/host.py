"""The audio process: sources, engine and device, apart from whoever draws or types.

`serve` is its main function: it takes commands from a pipe and answers each with a result or the error's text, looks
after the device, and ends when its client is gone. `rtae.client` is the other end.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import devices
from rtae.audio.recorder import Recorder
from rtae.errors import ParameterError, RtaeError
from rtae.measuring import measure, respond
from rtae.performance import Log
from rtae.performance import save as save_performance
from rtae.runtime import OnnxModel
from rtae.setup import HUNG, MICROPHONE, SOURCES, Setup
from rtae.shared import SharedState
from rtae.source import FileSource, open_source
from rtae.upkeep import POLL_SECONDS, Upkeep, pinned

FloatArray = NDArray[np.float32]
DEBUG_VARIABLE = "RTAE_DEBUG"  # set to anything, the audio process keeps what sound libraries print
MOST_CONTEXT_SECONDS = 0.25  # of the past, that another model is given before it is heard
LAST_SECONDS = 5.0  # for an end in good order, once the client is gone


class Server(Upkeep):
    """The state of the audio process, and its commands: the methods that are named in COMMANDS."""

    # -- commands ----------------------------------------------------------------------------------------------------
    def configure(self, setup: Setup) -> dict[str, Any]:
        """Everything at once: what a start and a restart do. What cannot be opened leaves what there was."""
        model = OnnxModel.load(Path(setup.model))
        setup = pinned(setup)
        before = self.setup
        if before is not None and self.session is not None:
            before = replace(before, position=self.session.position_seconds())
        self.drop_session()
        self.setup = setup
        self.forget_delays()
        try:
            self.open_session(setup, model)
        except RtaeError:
            self.setup = before
            if before is not None:
                self.lost = self.lost or f"'{before.output or 'The sound device'}' could not be opened again"
                self.reopen(before, quietly=True)
            raise
        return self.facts()

    def open(self, source: str, position: float = 0.0) -> dict[str, Any]:
        """Another source A, from a position; it plays if the last one did."""
        session, setup = self.ready()
        needs_input = source == MICROPHONE and session.feed.input is None
        if needs_input or (setup.source == MICROPHONE) != (source == MICROPHONE):
            return self.configure(replace(setup, source=source, position=position))
        fresh = open_source(source, session.rate, session.channels, setup.loop)
        if fresh is not None:
            fresh.seek(position)
        dream = self.make_dream(source, setup.model, session.engine.model.spec)
        old = session.first

        def swap() -> None:
            session.first, session.dream = fresh, dream

        session.change(swap)
        if old is not None:
            old.close()
        self.setup = replace(setup, source=source)
        return self.facts()

    def second(self, source: str) -> None:
        """Another source B, or none if the name is empty."""
        session, setup = self.ready()
        if source == MICROPHONE:
            raise ParameterError("The microphone can only be source A: open it there, and the song as source B")
        fresh = open_source(source, session.rate, session.channels) if source else None
        old = session.second
        session.change(lambda: setattr(session, "second", fresh))
        if old is not None:
            old.close()
        self.setup = replace(setup, second=source)

    def play(self) -> None:
        """Go on."""
        self.ready()[0].set_playing(True)
        self.setup = replace(self.ready()[1], playing=True)

    def pause(self) -> None:
        """Hold."""
        self.ready()[0].set_playing(False)
        self.setup = replace(self.ready()[1], playing=False)

    def tone(self) -> None:
        """A test tone, past model and knobs; what played goes on behind it, where it was."""
        self.ready()[0].sound_tone()

    def seek(self, seconds: float) -> None:
        """Go to a place in source A."""
        session, _ = self.ready()
        if session.first is not None:
            session.change(lambda: session.first.seek(seconds) if session.first else None)

    def seek_second(self, seconds: float) -> None:
        """Go to a place in source B."""
        session, _ = self.ready()
        if session.second is not None:
            session.change(lambda: session.second.seek(seconds) if session.second else None)

    def loop(self, start: float | None, end: float = 0.0) -> None:
        """Loop a region of source A, to its end if `end` is 0; None loops no longer."""
        session, setup = self.ready()
        region = None if start is None else (start, end)
        if isinstance(session.first, FileSource):
            session.first.set_loop(region)
        self.setup = replace(setup, loop=region)

    def model(self, folder: str) -> dict[str, Any]:
        """Another model. It is loaded while the old one plays."""
        session, setup = self.ready()
        engine = self.make_engine(OnnxModel.load(Path(folder)), setup, session.rate, session.channels)
        dream = self.make_dream(setup.source, folder, engine.model.spec)
        engine.prepare(session.rate, session.channels, second=session.second is not None)

        def swap() -> None:
            session.engine, session.dream = engine, dream
            if session.guard is not None and self.stream is not None:
                session.guard.set_loop(*self.loop_delays(session, self.stream))

        reach = engine.model.spec.reach
        seen = reach.receptive_field / engine.model.spec.sample_rate if reach is not None else MOST_CONTEXT_SECONDS
        session.change(swap, context=min(seen, MOST_CONTEXT_SECONDS))
        self.setup = replace(setup, model=folder)
        return self.facts()

    def record(self, path: str, dry: bool = False) -> str:
        """Record what is heard, or the dry sound; answers with the file's name, which is a free one."""
        session, _ = self.ready()
        self.stop_recording()
        recorder = Recorder(Path(path), session.rate, session.channels)
        session.record_dry, session.recorder = dry, recorder
        return str(recorder.path)

    def stop_recording(self) -> float:
        """End the recording; answers with its seconds."""
        recorder, self.recording = (self.recording[0] if self.recording else None), None
        if self.session is not None and self.session.recorder is not None:
            recorder, self.session.recorder = self.session.recorder, None
        if recorder is None:
            return 0.0
        recorder.stop()
        if recorder.error is not None:
            raise recorder.error
        return recorder.seconds

    def perform(self) -> None:
        """Note what is done to the parameters from now on, to be rendered exactly as it was heard.

        It ends with `stop_performing`, and by itself with whatever starts the engine afresh: a seek, another model.
        """
        session, setup = self.ready()
        if setup.source in SOURCES:
            raise ParameterError("A performance needs a song: open one; what a microphone hears cannot be replayed")
        session.begin_performance()
        self.performed, self.performer, self.told = setup, session, False

    def stop_performing(self, path: str) -> float:
        """Write the performance to a file; answers with its seconds. Raises PresetError."""
        session, setup = self.performer, self.performed
        if session is None or setup is None:
            raise ParameterError("No performance is being recorded; begin one first")
        with session.lock:
            session.end_performance()
            log, length = session.performed or (Log(), 0)
        done = log.finish(
            length,
            song=setup.source,
            model=setup.model,
            hop=session.performed_hop,
            quality=setup.quality,
            rate=session.rate,
            channels=session.channels,
            start_seconds=session.starts[0],
            second=setup.second,
            second_start_seconds=session.starts[1],
        )
        save_performance(Path(path), done)
        self.performed = self.performer = None  # only now: what could not be saved can be saved elsewhere
        self.told = True
        return length / session.rate

    def measure(self, setup: Setup) -> dict[str, float]:
        """Round trips through a loopback; see `rtae.measuring.measure`. Nothing is open afterwards."""
        return measure(self, setup)

    def respond(self, setup: Setup, tries: int) -> dict[str, float]:
        """How long a knob takes to be heard; see `rtae.measuring.respond`. Nothing is open afterwards."""
        return respond(self, setup, tries)

    def list_devices(self) -> list[Any]:
        """All devices; new ones are found only while none is open."""
        return devices(rescan=self.stream is None)

    def facts(self) -> dict[str, Any]:
        """What was agreed with the device, and the latency in its parts, in samples at the stream's rate."""
        session, setup = self.ready()
        stream = self.stream
        parts = dict(vars(session.engine.latency)) if session.microphone else {}
        parts["lead"] = session.feed.lead
        if stream is not None:
            parts["output device"] = round(stream.output_latency * session.rate)
            if session.microphone:
                parts["input device"] = round(stream.input_latency * session.rate)
        return {
            "engine_latency": session.engine.latency.total,
            "hop": session.engine.hop,
            "device": stream.name if stream else "",
            "output": setup.output,
            "input": setup.input,
            "rate": session.rate,
            "block": stream.block if stream else 0,
            "channels": session.channels,
            "latency": parts,
            "pid": os.getpid(),
        }

    def end(self) -> None:
        """Stop everything."""
        session = self.session
        if session is not None:
            session.change(lambda: setattr(session, "playing", False), restart=False)
            stream = self.stream
            # What is in our ring and in the device's buffer is still to be heard.
            sleep(session.feed.lead / session.rate + (stream.output_latency if stream else 0.0))
        with contextlib.suppress(RtaeError):  # whoever ends does not read its error any more
            self.stop_recording()
        self.stopping.set()
        self.close_stream()


COMMANDS = (
    "configure",
    "open",
    "second",
    "play",
    "pause",
    "tone",
    "seek",
    "seek_second",
    "loop",
    "model",
    "record",
    "stop_recording",
    "perform",
    "stop_performing",
    "list_devices",
    "measure",
    "respond",
    "facts",
)


def serve(connection: Connection, shared_name: str) -> None:
    """The main function of the audio process: commands until the pipe closes."""
    # Ctrl-C is the client's to understand. A terminal that closes ends the client, and whoever would clean up after the
    # two; this process is told by the pipe, and removes what they shared.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if DEBUG_VARIABLE not in os.environ:
        # PortAudio, ALSA and JACK print to the terminal, past Python, from threads of their own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    shared = SharedState(shared_name)
    sending = threading.Lock()

    def send(message: tuple[Any, ...]) -> None:
        with sending, contextlib.suppress(OSError):
            connection.send(message)

    settle()  # before any thread starts, since threads inherit it
    threading.Thread(target=end_with_client, args=(shared,), name="rtae-last", daemon=True).start()
    server = Server(shared, lambda text: send(("event", text)))
    send(("event", ""))
    while True:
        try:
            message = connection.recv() if connection.poll(POLL_SECONDS) else None
        except (EOFError, OSError):
            remove(shared)
            break
        if message is not None:
            number, name, arguments = message
            if name == "end":
                break
            send(answer(server, number, name, arguments))
        server.look_after()
    server.end()
    # Interpreter exit would call PortAudio once more, which may hang; everything that matters is closed.
    sys.stdout.flush()
    os._exit(0)


def remove(shared: SharedState) -> None:
    """The memory of a client that is gone and cannot remove it."""
    with contextlib.suppress(OSError):
        shared.memory.unlink()


def end_with_client(shared: SharedState) -> None:
    """The thread that ends this process after its client where the main one cannot: a sound library hangs in it."""
    client = multiprocessing.parent_process()
    if client is None:
        return
    client.join()
    sleep(LAST_SECONDS)
    remove(shared)
    os._exit(HUNG)


def answer(server: Server, number: int, name: str, arguments: dict[str, Any]) -> tuple[int, bool, Any]:
    """Run one command."""
    if name not in COMMANDS:
        return number, False, ("ParameterError", f"No command {name!r}")
    try:
        return number, True, getattr(server, name)(**arguments)
    except RtaeError as error:
        return number, False, (type(error).__name__, str(error))
    except Exception as error:  # a defect, or a library's own kind of error: the client has to hear of it
        return number, False, ("RtaeError", f"'{name}' failed ({type(error).__name__}: {error})")


def settle() -> None:
    """Make this process as punctual as the system allows: no garbage collection, short turns, a real-time class."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(0.0005)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
