"""One stream from its sources to the device: what the audio process does, without the process.

    source A --+                                  +-> scope, latents, meters
    source B --+-> engine -> gate -> feed -> device
    microphone +           + guard       +-> recorder

`work` is called by one thread, again and again, and delivers what the feed wants. Everything that changes what is heard
is done between two blocks, behind the gate: fade out, change, fade in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from rtae.audio.recorder import Recorder
from rtae.dsp import db_to_gain, fade_in
from rtae.engine import Engine
from rtae.feed import Feed
from rtae.guard import Guard
from rtae.params import Snapshot
from rtae.performance import Log
from rtae.prior import Dream
from rtae.shared import SharedState, Status
from rtae.source import Generator, Source, to_channels

FloatArray = NDArray[np.float32]
GATE_SECONDS = 0.01
TONE_SECONDS = 1.5
HEARD_SECONDS = 4.0  # of what sounded that a dream goes on behind
BLOCK = 512
LOAD_SMOOTHING = 0.05


class Session:
    """Sources, an engine and a feed.

    channels: of the engine, 1 or 2; the feed's outputs get copies or a mix. microphone: source A is the device's input.
    flagged, late: dropouts that could be heard: what the device flagged, and samples that came late, while it sounded.
    """

    def __init__(self, engine: Engine, feed: Feed, rate: int, channels: int, shared: SharedState) -> None:
        self.engine, self.feed, self.rate, self.channels, self.shared = engine, feed, rate, channels, shared
        self.first: Source | None = None
        self.second: Source | None = None
        self.microphone = False
        self.dream: Dream | None = None  # in place of what source A would be encoded to
        self.playing = False
        self.open = 0.0  # the gate, 0 to 1
        self.debt = 0  # samples of input to drop, since silence was taken in their place
        self.skip = 0  # samples of the engine's delay that a file need not wait for, and of the past
        self.past = 0  # samples, behind the sources' places, that are not to be heard again
        self.flags: Callable[[], int] = lambda: 0  # asks the device
        self.flagged = self.late = 0
        self.seen = (0, 0)  # the device's flags and the feed's late samples, when they were looked at last
        self.silence = self.feed.lead  # samples since something sounded
        self.tone: Generator | None = None  # a test tone, in place of the sources
        self.tone_left = 0  # samples
        self.log: Log | None = None  # of a performance, while one is recorded
        self.performed: tuple[Log, int] | None = None  # a finished one, and how many samples the engine was given
        self.performed_hop = 0
        self.starts = (0.0, 0.0)  # the places in both sources where it began, in seconds
        self.given = 0  # samples that the engine was given since it was prepared
        self.guard: Guard | None = None  # for a microphone that may hear the loudspeakers
        self.recorder: Recorder | None = None
        self.record_dry = False
        self.load = 0.0
        self.input_peak = self.output_peak = 0.0
        self.shown = engine.windows.bent
        self.lock = threading.Lock()  # between `work` and `change`; the device's callback takes none
        self.prepare()

    # -- changes, from the thread that takes commands ----------------------------------------------------------------
    def change(
        self,
        action: Callable[[], None],
        restart: bool = True,
        then: Callable[[], None] | None = None,
        context: float = 0.0,
    ) -> None:
        """Do something between two blocks, inaudibly: what sounds fades out first, and what comes then fades in.

        restart: the engine starts afresh at the source's place, so that no old sound is left in it. then: done last.
        context: seconds of the past that the engine is given beforehand, as far as the sources remember them; without
        them a model takes its first sample for an onset.
        """
        with self.lock:
            if self.open > 0:
                self.deliver(self.fading_block())
            self.tone = None
            ahead = self.taken_ahead()
            before = [(source, source.position) for source in (self.first, self.second) if source is not None]
            action()
            if restart:
                # What the engine had taken in but not given out is taken in again, unless its source has moved.
                still = [one for one, place in before if one.position == place and one in (self.first, self.second)]
                for source in still:
                    self.go_back([source], ahead)
                song = self.first in still and not self.microphone
                self.prepare(self.go_back(still, context) if song else 0.0)
            if then is not None:
                then()

    def fading_block(self) -> FloatArray:
        """The last block of what sounds now, down to silence."""
        count = max(8, round(GATE_SECONDS * self.rate))
        block = self.produce(count, self.shared.snapshot()) if self.tone is None else self.take_tone(count)
        faded: FloatArray = np.asarray(block * (fade_in(count)[::-1] * np.float32(self.open)), np.float32)
        self.open = 0.0
        if not self.record_dry and self.tone is None:
            self.record(faded)
        return faded

    def go_back(self, sources: Sequence[Source], seconds: float) -> float:
        """As far as all of these sources remember, so that they stay beside each other; by how much. Under 0 is on."""
        places = [source.position for source in sources]
        for source in sources:
            source.rewind(max(0.0, seconds))
        gone = [place - source.position for source, place in zip(sources, places, strict=True)]
        least = min([*gone, seconds])
        for source, far in zip(sources, gone, strict=True):
            source.read(round((far - least) * self.rate))
        return least

    def prepare(self, past: float = 0.0) -> None:
        """The engine, for the sources there are. A file's sound comes at once; a microphone waits as it must.

        past: seconds that the sources give before what is to be heard first.
        """
        if self.dream is not None:  # it goes on behind what sounded, if that was this model's
            self.dream.listen(self.engine.windows.recent(HEARD_SECONDS))
        self.engine.prepare(self.rate, self.channels, second=self.second is not None, dream=self.dream)
        self.end_performance()  # it ends where the engine starts afresh
        self.given = 0
        self.past = round(past * self.rate)
        self.skip = 0 if self.microphone else self.engine.latency.total + self.past

    def set_playing(self, playing: bool) -> None:
        """Play or pause."""
        if playing != self.playing:
            # What a microphone heard before a pause is not to be heard after it.
            self.change(lambda: setattr(self, "playing", playing), restart=self.microphone)

    def sound_tone(self) -> None:
        """A test tone past model, knobs and recorder; what played goes on behind it, where it was.

        Any other change ends it early, and another tone begins it anew.
        """

        def begin() -> None:
            self.tone = Generator("tone", self.rate, self.channels)
            self.tone_left = round(TONE_SECONDS * self.rate)

        self.change(begin, restart=self.microphone)  # what a microphone heard before is not to be heard after it

    # -- work, from the worker's thread ------------------------------------------------------------------------------
    def work(self) -> bool:
        """Deliver what the feed wants; False if that was nothing."""
        wanted = self.feed.wanted()
        if self.microphone and self.feed.input is not None:
            self.debt -= self.feed.input.read(self.debt).shape[1]
            wanted = min(wanted, self.feed.input.stored)
        if wanted == 0:
            return False
        start = perf_counter()
        with self.lock:
            self.deliver(self.next_block(min(wanted, BLOCK)))
        busy = (perf_counter() - start) / (min(wanted, BLOCK) / self.rate)
        self.load += LOAD_SMOOTHING * (busy - self.load)
        self.publish()
        return True

    def next_block(self, wanted: int) -> FloatArray:
        """What is heard next: so many samples, or a few more where a tone ends."""
        self.count_dropouts()
        self.silence = 0 if self.tone is not None or (self.playing and not self.ended) else self.silence + wanted
        if self.tone is not None and self.tone_left <= 0:
            block, self.tone = self.fading_block(), None
            return block
        if self.tone is not None:
            return self.gated(self.take_tone(wanted))
        if self.playing:
            block = self.gated(self.produce(wanted, self.shared.snapshot()))
            if not self.record_dry:
                self.record(block)
            return block
        self.drop_input(wanted)
        return np.zeros((self.channels, wanted), np.float32)

    def produce(self, count: int, values: Snapshot) -> FloatArray:
        """The next samples out of the engine, (channels, count); a file's are there without delay."""
        while self.skip:
            part = min(self.skip, BLOCK * 8)
            self.run_engine(self.take(part), values)
            self.skip -= part
        dry = self.take(count)
        wet = self.run_engine(dry, values)
        self.input_peak = float(np.abs(dry[: self.channels]).max(initial=0))
        self.shared.write_scope(dry[: self.channels].mean(axis=0), wet.mean(axis=0))
        if self.engine.windows.bent is not self.shown:
            self.shown = self.engine.windows.bent
            self.shared.write_latents(self.shown[0])
        if self.record_dry:
            self.record(dry[: self.channels])
        if self.guard is not None and self.microphone:
            wet = self.guard.process(dry[: self.channels], wet, db_to_gain(values["ceiling"]))
        return wet

    def begin_performance(self) -> None:
        """Note what is done to the parameters from now on; the engine starts afresh at the sources' places."""

        def begin() -> None:
            self.performed, self.log = None, Log()
            self.performed_hop = self.engine.hop
            self.starts = (self.first.position if self.first else 0.0, self.second.position if self.second else 0.0)

        self.change(lambda: None, then=begin)

    def end_performance(self) -> None:
        """What was noted is kept in `performed`."""
        if self.log is not None:
            self.performed, self.log = (self.log, self.given), None

    def run_engine(self, block: FloatArray, values: Snapshot) -> FloatArray:
        """The engine, its samples counted and its parameters noted where a performance is recorded."""
        if self.log is not None:
            self.log.note(self.given, values)
        self.given += block.shape[1]
        return self.engine.process(block, values)

    def record(self, block: FloatArray) -> None:
        """To the recorder, if there is one."""
        recorder = self.recorder  # the thread that takes commands may change it
        if recorder is not None:
            recorder.feed(block)

    def take(self, count: int) -> FloatArray:
        """The next samples of the sources, (channels, count), those of the second one below."""
        if self.microphone and self.feed.input is not None:
            first = to_channels(self.feed.input.read(count), self.channels)
            missing = count - first.shape[1]
            self.debt += missing  # a fade that could not wait for its input: dropped when it comes
            first = np.pad(first, ((0, 0), (0, missing)))
        elif self.first is not None:
            first = self.first.read(count)
        else:
            first = np.zeros((self.channels, count), np.float32)
        return first if self.second is None else np.concatenate([first, self.second.read(count)])

    def take_tone(self, count: int) -> FloatArray:
        """The next samples of the test tone."""
        assert self.tone is not None  # noqa: S101 - for the type checker
        self.tone_left -= count
        self.drop_input(count)
        return self.tone.read(count)

    def drop_input(self, count: int) -> None:
        """While paused, what the microphone hears is not kept for later; nor what comes late."""
        if self.feed.input is not None:
            self.debt += count - self.feed.input.read(count).shape[1]

    def gated(self, block: FloatArray) -> FloatArray:
        """Open the gate, if it is not open yet."""
        if self.open == 1.0:
            return block
        slope = np.arange(1, block.shape[1] + 1) / max(8, round(GATE_SECONDS * self.rate))
        gains = np.minimum(1.0, self.open + slope)
        self.open = float(gains[-1])
        return np.asarray(block * gains, np.float32)

    def deliver(self, block: FloatArray) -> None:
        """To the device's ring."""
        self.output_peak = float(np.abs(block).max(initial=0))
        self.feed.output.write(to_channels(block, self.feed.output.data.shape[0]))

    @property
    def ended(self) -> bool:
        """The source has nothing more, and all of it has sounded."""
        return self.first is not None and self.first.padded >= self.engine.latency.total + self.feed.lead

    @property
    def pause(self) -> float:
        """Seconds that the worker may sleep when there is nothing to do: far less than what waits for the device."""
        return min(0.005, (self.feed.lead - self.feed.reserve) / self.rate / 8)

    def position_seconds(self) -> float:
        """Where in source A the sound is that leaves the engine now."""
        if self.first is None:
            return 0.0
        return max(0.0, self.first.position - self.taken_ahead())

    def taken_ahead(self) -> float:
        """Seconds of the sources that the engine has taken in and not given out; under 0 for a past still to come."""
        return -self.past / self.rate if self.skip else self.engine.latency.total / self.rate

    def count_dropouts(self) -> None:
        """Those that could be heard: nobody misses silence."""
        flags, late = self.flags(), self.feed.late
        if self.silence < self.feed.lead:
            self.flagged += flags - self.seen[0]
            self.late += late - self.seen[1]
        self.seen = (flags, late)

    def publish(self) -> None:
        """The status, for the client."""
        source, recorder, meters = self.first, self.recorder, self.engine.meters
        self.shared.set_status(
            Status(
                position=self.position_seconds(),
                duration=source.duration if source else 0.0,
                playing=float(self.playing),
                ended=float(self.ended),
                input_peak=self.input_peak,
                output_peak=self.output_peak,
                limiter_gain=meters.limiter_gain,
                broken=meters.broken,
                late=self.late,
                overflows=self.feed.overflows,
                flags=self.flagged,
                load=self.load,
                recorded_seconds=recorder.seconds if recorder else 0.0,
                second_position=max(0.0, self.second.position - self.taken_ahead()) if self.second else 0.0,
                guard_db=self.guard.gain_db if self.guard else 0.0,
            )
        )
