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
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import devices, open_stream
from rtae.audio.file import AudioReader
from rtae.audio.recorder import Recorder
from rtae.audio.stream import Stream
from rtae.engine import Engine
from rtae.errors import DeviceError, ParameterError, RtaeError
from rtae.feed import FADE_SECONDS, Feed
from rtae.guard import Guard
from rtae.measuring import measure, respond
from rtae.params import Snapshot
from rtae.performance import Log
from rtae.performance import save as save_performance
from rtae.prior import Dream, load_network
from rtae.runtime import OnnxModel
from rtae.session import Session
from rtae.setup import DREAM, HUNG, MICROPHONE, SOURCES, Setup
from rtae.shared import SharedState
from rtae.source import FileSource, open_source
from rtae.spec import ModelSpec
from rtae.tune import smallest_hop

FloatArray = NDArray[np.float32]
POLL_SECONDS = 0.02
RETRY_SECONDS = 1.0
DEBUG_VARIABLE = "RTAE_DEBUG"  # set to anything, the audio process keeps what sound libraries print
WARM_HOPS = 4
MOST_CONTEXT_SECONDS = 0.25  # of the past, that another model is given before it is heard
EVEN_SECONDS = 0.1  # after a device has filled its own buffer, until it takes its blocks evenly
FAILED = 71  # exit code: a defect of this program
LAST_SECONDS = 5.0  # for an end in good order, once the client is gone
GUARD_SECONDS = 1.0  # between two looks at the delays that the guard counts on
GUARD_OFF_SECONDS = 0.01  # by which they may be wrong


class Server:
    """The state of the audio process, and its commands: the methods that are named in COMMANDS."""

    def __init__(self, shared: SharedState, notify: Callable[[str], None]) -> None:
        self.shared, self.notify = shared, notify
        self.setup: Setup | None = None
        self.session: Session | None = None
        self.stream: Stream | None = None
        self.retry_at = 0.0
        self.lost = ""
        self.recording: tuple[Recorder, bool] | None = None  # what goes on when a lost device is back; and if dry
        self.ducked = 0
        self.guard_at = 0.0
        self.performed: Setup | None = None  # what a performance is played on, and by which session: it may outlive it
        self.performer: Session | None = None
        self.told = True  # that it ended by itself
        self.tap: Callable[[FloatArray, FloatArray | None], None] | None = None  # hears, and adds to, what is played
        self.stopping = threading.Event()
        self.worker = threading.Thread(target=self.work, name="rtae-worker", daemon=True)
        self.worker.start()

    # -- commands ----------------------------------------------------------------------------------------------------
    def configure(self, setup: Setup) -> dict[str, Any]:
        """Everything at once: what a start and a restart do. What cannot be opened leaves what there was."""
        model = OnnxModel.load(Path(setup.model))
        before = self.setup
        if before is not None and self.session is not None:
            before = replace(before, position=self.session.position_seconds())
        self.drop_session()
        self.setup = setup
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

    def respond(self, setup: Setup) -> dict[str, float]:
        """How long a knob takes to be heard; see `rtae.measuring.respond`. Nothing is open afterwards."""
        return respond(self, setup)

    def list_devices(self) -> list[Any]:
        """All devices; new ones are found only while none is open."""
        return devices(rescan=self.stream is None)

    def facts(self) -> dict[str, Any]:
        """What was agreed with the device, and the latency in its parts, in samples at the stream's rate."""
        session, _ = self.ready()
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
            "rate": session.rate,
            "block": stream.block if stream else 0,
            "channels": session.channels,
            "latency": parts,
            "pid": os.getpid(),
        }

    # -- behind the commands -----------------------------------------------------------------------------------------
    def ready(self) -> tuple[Session, Setup]:
        """Session and setup. Raises DeviceError where there is no device now."""
        if self.session is None or self.setup is None:
            raise DeviceError(self.lost or "Nothing is open yet; configure the audio process first")
        return self.session, self.setup

    def open_session(self, setup: Setup, model: OnnxModel) -> None:
        """Device, feed, engine, sources; on failure nothing stays open."""
        live = setup.source == MICROPHONE
        request = setup.request(wanted_rate(setup, model), setup.channels, setup.channels if live else 0)
        holder: list[Feed] = []

        def callback(out: FloatArray, block: FloatArray | None) -> None:
            holder[0].callback(out, block, stream.even)
            if self.tap is not None:
                self.tap(out, block)

        stream = open_stream(request, callback)
        try:
            # Now and then a device asks for two blocks at once, and what is left must be enough to fade out.
            reserve = round(FADE_SECONDS * stream.rate)
            lead = stream.block + max(stream.block + reserve, round(setup.lead * stream.rate))
            feed = Feed(stream.rate, stream.outputs, stream.inputs, stream.block, lead)
            holder.append(feed)
            channels = min(setup.channels, 2)
            engine = self.make_engine(model, setup, stream.rate, channels)
            session = Session(engine, feed, stream.rate, channels, self.shared)
            session.microphone = live
            session.flags = lambda: stream.underflows + stream.overflows
            session.first = open_source(setup.source, stream.rate, channels, setup.loop)
            session.dream = self.make_dream(setup.source, setup.model, model.spec)
            session.second = open_source(setup.second, stream.rate, channels) if setup.second else None
            if session.first is not None:
                session.first.seek(setup.position)
            session.prepare()
            session.playing = setup.playing
            stream.start()
            self.stream, self.session, self.lost = stream, session, ""  # the worker's thread takes notice meanwhile
            sleep(request.latency_seconds + EVEN_SECONDS)
            if live and setup.guard:
                session.guard = Guard(stream.rate, *self.loop_delays(session, stream))
            self.go_on_recording(session)
            feed.armed = True
        except BaseException:
            self.stream = self.session = None
            stream.close()
            raise

    def make_dream(self, source: str, folder: str, model: ModelSpec) -> Dream | None:
        """What source A dreams with, if it does. Raises ModelError where the model has no prior."""
        return Dream(load_network(Path(folder), model)) if source == DREAM else None

    def make_engine(self, model: OnnxModel, setup: Setup, rate: int, channels: int) -> Engine:
        """An engine that is warm: what its first hops would take the time for has been done."""
        hop = setup.hop or smallest_hop(model, rate, channels, setup.lead, setup.quality)
        engine = Engine(model, hop=hop, quality=setup.quality)
        engine.prepare(rate, channels)
        for _ in range(WARM_HOPS):
            engine.process(np.zeros((channels, engine.longest_chunk), np.float32), Snapshot())
        return engine

    def loop_delays(self, session: Session, stream: Stream) -> tuple[int, int]:
        """Samples of the whole loop from loudspeaker to loudspeaker, and of its part outside of the engine."""
        outside = session.feed.lead + round((stream.output_latency + stream.input_latency) * stream.rate)
        return outside + session.engine.latency.total, outside

    def go_on_recording(self, session: Session) -> None:
        """What was being recorded when the device was lost; in a new file if the rate is another one now."""
        kept, self.recording = self.recording, None
        if kept is None:
            return
        recorder, dry = kept
        if (recorder.rate, recorder.channels) != (session.rate, session.channels):
            recorder.stop()
            try:
                recorder = Recorder(recorder.path, session.rate, session.channels)
            except RtaeError as error:
                self.notify(str(error))
                return
            self.notify(f"The recording goes on in {recorder.path}, since the device has another sample rate")
        session.record_dry, session.recorder = dry, recorder

    def drop_session(self) -> None:
        """Let go of everything that is open; a recording is kept, to go on with whatever is opened next."""
        session, self.session = self.session, None
        if session is not None:
            with session.lock:
                session.end_performance()
        if session is not None and session.recorder is not None:
            with session.lock:
                if session.open > 0:
                    session.fading_block()  # the recording's last moment; nobody else hears it
                self.recording = (session.recorder, session.record_dry)
                session.recorder = None
        self.close_stream()

    def close_stream(self) -> None:
        """Let go of the device; ends the process if the sound server is frozen, since nothing else helps then."""
        stream, self.stream = self.stream, None
        if stream is not None and not stream.close():
            self.notify("The sound server does not answer; the audio process starts anew")
            os._exit(HUNG)

    def look_after(self) -> None:
        """Find out that the device is gone; try to get it back."""
        stream, session, setup = self.stream, self.session, self.setup
        if stream is not None and session is not None and setup is not None and stream.failed:
            self.setup = replace(setup, position=session.position_seconds())
            self.lost = f"The sound device '{stream.name}' is gone ({stream.failed}); waiting for it"
            pauses = ". The recording pauses" if session.recorder is not None else ""
            self.notify(self.lost + pauses)
            self.drop_session()
            self.retry_at = monotonic() + RETRY_SECONDS
        elif session is not None and session.recorder is not None and session.recorder.error is not None:
            self.notify(str(session.recorder.error))
            session.recorder = None
        elif self.performer is not None and self.performer.performed is not None and not self.told:
            self.told = True
            self.notify("The performance ended here, where the song was left; what was played until then can be saved")
        elif session is not None and session.guard is not None and session.guard.count > self.ducked:
            self.ducked = session.guard.count
            self.notify("Feedback: the microphone hears the loudspeakers. The output was turned down; use headphones")
        elif session is not None and stream is not None and session.guard is not None and monotonic() > self.guard_at:
            self.follow_delays(session, stream, session.guard)
        elif stream is None and setup is not None and self.lost and monotonic() > self.retry_at:
            self.retry_at = monotonic() + RETRY_SECONDS
            self.reopen(setup)

    def follow_delays(self, session: Session, stream: Stream, guard: Guard) -> None:
        """Tell the guard of a device whose delay is another one than when it was opened: it is only known by and by."""
        self.guard_at = monotonic() + GUARD_SECONDS
        turn, lag = self.loop_delays(session, stream)
        if abs(lag - guard.lag) > GUARD_OFF_SECONDS * session.rate:
            with session.lock:
                guard.set_loop(turn, lag)

    def reopen(self, setup: Setup, quietly: bool = False) -> None:
        """One attempt."""
        attempts = [setup, replace(setup, output=None, input=None)] if setup.follow_default else [setup]
        with contextlib.suppress(RtaeError):
            devices(rescan=True)
        for attempt in attempts:
            try:
                self.open_session(attempt, OnnxModel.load(Path(attempt.model)))
            except RtaeError:
                continue
            if not quietly:
                self.notify(f"Playing again on '{self.stream.name if self.stream else ''}'")
            return

    def work(self) -> None:
        """The worker's thread: keep the feed full."""
        while not self.stopping.is_set():
            session = self.session
            try:
                if session is None:
                    sleep(POLL_SECONDS)
                elif not session.work():
                    sleep(session.pause)
            except Exception as error:  # a defect; silence without a word would be the worst of answers
                self.notify(f"The audio process failed ({type(error).__name__}: {error})")
                os._exit(FAILED)

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


def wanted_rate(setup: Setup, model: OnnxModel) -> int:
    """A file's own rate, so that it is played as it is; for the rest the model's."""
    if setup.source in SOURCES:
        return model.spec.sample_rate
    with AudioReader(setup.source) as reader:
        return reader.rate


def settle() -> None:
    """Make this process as punctual as the system allows: no garbage collection, short turns, a real-time class."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(0.0005)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
