"""What the audio process has open, and that it stays open: a session, its device, and the thread that works for both.

A device that goes away is waited for, and what was recorded goes on when it is back. `rtae.host` has the commands.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import devices, open_stream
from rtae.audio.file import AudioReader
from rtae.audio.recorder import Recorder
from rtae.audio.stream import Stream, pin
from rtae.engine import Engine
from rtae.errors import DeviceError, RtaeError
from rtae.feed import FADE_SECONDS, Feed
from rtae.guard import Guard
from rtae.params import Snapshot
from rtae.prior import Dream, load_network
from rtae.runtime import OnnxModel
from rtae.session import Session
from rtae.setup import DREAM, HUNG, MICROPHONE, SOURCES, Setup
from rtae.shared import SharedState
from rtae.source import FileSource, Source, open_source
from rtae.spec import ModelSpec
from rtae.tune import smallest_hop

FloatArray = NDArray[np.float32]
POLL_SECONDS = 0.02
RETRY_SECONDS = 1.0
WARM_HOPS = 4
EVEN_SECONDS = 0.1  # after a device has filled its own buffer, until it takes its blocks evenly
FAILED = 71  # exit code: a defect of this program
DELAYS_SECONDS = 1.0  # between two looks at the device's delay,
SETTLED_SECONDS = 2.0  # and until the first one: what it states at first may be 60 ms off
GUARD_OFF_SECONDS = 0.01  # by which what the guard counts on may be wrong
GROWN_SECONDS = 0.05  # by which the delay may grow
REOPEN_SECONDS = (10.0, 300.0)  # from one opening for that reason to the next, at first and in the end


class Upkeep:
    """A session on a device, or none. notify: told in plain words what happens by itself."""

    def __init__(self, shared: SharedState, notify: Callable[[str], None]) -> None:
        self.shared, self.notify = shared, notify
        self.setup: Setup | None = None
        self.session: Session | None = None
        self.stream: Stream | None = None
        self.retry_at = 0.0
        self.lost = ""
        self.recording: tuple[Recorder, bool] | None = None  # what goes on when a lost device is back; and if dry
        self.ducked = 0
        self.broken: Source | None = None  # a song of which was said that it ended too early
        self.delays_at = self.reopen_at = 0.0
        self.forget_delays()
        self.performed: Setup | None = None  # what a performance is played on, and by which session: it may outlive it
        self.performer: Session | None = None
        self.told = True  # that it ended by itself
        self.tap: Callable[[FloatArray, FloatArray | None], None] | None = None  # hears, and adds to, what is played
        self.stopping = threading.Event()
        self.worker = threading.Thread(target=self.work, name="rtae-worker", daemon=True)
        self.worker.start()

    # -- opening -------------------------------------------------------------------------------------------------------
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
            stream.start()  # it needs a moment to run evenly, which is enough to make all else
            even_at = monotonic() + request.latency_seconds + EVEN_SECONDS
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
            self.delays_at = monotonic() + SETTLED_SECONDS
            self.stream, self.session, self.lost = stream, session, ""  # the worker's thread takes notice meanwhile
            sleep(max(0.0, even_at - monotonic()))
            if live and setup.guard:
                session.guard, self.ducked = Guard(stream.rate, *self.loop_delays(session, stream)), 0
            self.go_on_recording(session)
            feed.armed = True
        except BaseException:  # raised again: whatever it was, the device is not left open
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

    # -- letting go ----------------------------------------------------------------------------------------------------
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

    # -- looking after it, from the thread that takes commands ---------------------------------------------------------
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
        elif session is not None and session.first is not self.broken and trouble_of(session.first):
            self.broken = session.first
            self.notify(trouble_of(session.first))
        elif self.performer is not None and self.performer.performed is not None and not self.told:
            self.told = True
            self.notify("The performance ended here, where the song was left; what was played until then can be saved")
        elif session is not None and session.guard is not None and session.guard.count > self.ducked:
            self.ducked = session.guard.count
            self.notify("Feedback: the microphone hears the loudspeakers. The output was turned down; use headphones")
        elif session is not None and stream is not None and session.microphone and monotonic() > self.delays_at:
            self.follow_delays(session, stream)
        elif stream is None and setup is not None and self.lost and monotonic() > self.retry_at:
            self.retry_at = monotonic() + RETRY_SECONDS
            self.reopen(setup)

    def loop_delays(self, session: Session, stream: Stream) -> tuple[int, int]:
        """Samples of the whole loop from loudspeaker to loudspeaker, and of its part outside of the engine."""
        outside = session.feed.lead + round(stream.round_trip * stream.rate)
        return outside + session.engine.latency.total, outside

    def forget_delays(self) -> None:
        """Another device may have any delay."""
        self.round_trip, self.least_round_trip = 0.0, math.inf  # in seconds: of late, and at best
        self.reopen_pause = REOPEN_SECONDS[0]

    def follow_delays(self, session: Session, stream: Stream) -> None:
        """Look at the device's delay, which is only known by and by, and may grow.

        The guard is told of another one. A device that ran dry may come back with all that its input heard meanwhile
        before it, and stay so late for good: measured over PulseAudio, 46 ms there and back, 220 after the first time
        and 1.9 s after the eighth. Nothing but to open it again helps.
        """
        self.delays_at = monotonic() + DELAYS_SECONDS
        turn, lag = self.loop_delays(session, stream)
        guard = session.guard
        if guard is not None and abs(lag - guard.lag) > GUARD_OFF_SECONDS * session.rate:
            with session.lock:
                guard.set_loop(turn, lag)
        before, self.round_trip = self.round_trip, stream.round_trip
        self.least_round_trip = min(self.least_round_trip, self.round_trip)
        grown = min(before, self.round_trip) - self.least_round_trip
        if grown > GROWN_SECONDS and monotonic() > self.reopen_at and self.setup is not None:
            self.notify(f"'{stream.name}' fell {1000 * grown:.0f} ms behind when it ran dry; it is opened again")
            self.reopen_at = monotonic() + self.reopen_pause
            self.reopen_pause = min(2 * self.reopen_pause, REOPEN_SECONDS[1])
            self.round_trip = 0.0
            self.setup = replace(self.setup, position=session.position_seconds())
            self.lost = f"'{stream.name}' could not be opened again"
            self.drop_session()
            self.reopen(replace(self.setup, hop=session.engine.hop), quietly=True)

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

    # -- the worker's thread -------------------------------------------------------------------------------------------
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


def trouble_of(source: Source | None) -> str:
    """Why a song ended before its end; empty if it did not, or is none."""
    return source.trouble if isinstance(source, FileSource) else ""


def pinned(setup: Setup) -> Setup:
    """The same, with names in place of the numbers of devices. Raises DeviceError."""
    if not any(wanted and wanted.strip().isdigit() for wanted in (setup.output, setup.input)):
        return setup
    found = devices()
    return replace(setup, output=pin(found, setup.output, "output"), input=pin(found, setup.input, "input"))


def wanted_rate(setup: Setup, model: OnnxModel) -> int:
    """A file's own rate, so that it is played as it is; for the rest the model's."""
    if setup.source in SOURCES:
        return model.spec.sample_rate
    with AudioReader(setup.source) as reader:
        return reader.rate
