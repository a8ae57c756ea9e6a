"""What the audio process measures of itself: round trips through a loopback, and how long a turned knob takes.

A round trip: a chirp is played and found at the input (`rtae.loopback`), with nothing but the device, and with the
engine in between. A knob: a tone is played and its level watched where it leaves for the device; the client writes a
value, the engine reads it with its next hop, and what it makes of it passes the crossfade and our own ring. The
device's own part is what it states with each block.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import open_stream
from rtae.audio.stream import Stream
from rtae.errors import DeviceError
from rtae.loopback import Probe
from rtae.params import Snapshot
from rtae.setup import MICROPHONE, Setup
from rtae.source import TONE_HZ

if TYPE_CHECKING:
    from rtae.host import Server

FloatArray = NDArray[np.float32]
SMOOTHING_SECONDS = 4 / TONE_HZ  # of the level; whole periods of the tone that is listened to
HEARD = 0.11  # of the way to silence is 1 dB, the least that is heard
LEAST_CHANGE = 0.5  # of the level, or it is no change that could be timed
ENDS_SECONDS = 0.1  # of the recording, in which the level is that of before, and that of after
POLL_SECONDS = 0.02
RATE_TO_MEASURE = 48_000
SETTLE_SECONDS = 1.0  # until the delays of a stream are known, and what an open microphone began with is gone
LISTEN_SECONDS = 1.0  # to a knob that is turned,
TURN_SECONDS = 0.2  # so long after it began
TRIES = 3
QUIET_DB = -12.0
# Knobs that make a tone quieter, and to which value: one behind the model, one on its latents.
TURNS = (("output_gain", -60.0), ("latent_scale", 0.0))


class Listener:
    """Keeps what a stream plays, and when that is heard. Its `tap` runs in the device's thread.

    done: it has heard enough.
    """

    def __init__(self, stream: Stream, seconds: float) -> None:
        self.stream, self.rate = stream, stream.rate
        self.played: FloatArray = np.zeros(round(seconds * self.rate), np.float32)
        self.starts = np.zeros(len(self.played))  # when sample 0 was heard, by each callback
        self.place = self.calls = 0

    @property
    def done(self) -> bool:
        """Whether there is no more room."""
        return self.place >= len(self.played)

    def tap(self, out: FloatArray, block: FloatArray | None) -> None:
        """(samples, outputs) that are played now."""
        if self.done:
            return
        self.starts[self.calls] = monotonic() + self.stream.delay - self.place / self.rate
        self.calls += 1
        part = self.played[self.place : self.place + len(out)]
        part[:] = out[: len(part), 0]
        self.place += len(part)

    def seconds_until_change(self, since: float) -> float:
        """From a moment of `time.monotonic` until the change was heard. Raises DeviceError if there was none."""
        # Callbacks come in bursts, samples evenly.
        start = float(np.median(self.starts[: self.calls])) + (0.0 if self.stream.delay else self.stream.output_latency)
        return start + change(self.played, self.rate) / self.rate - since


def change(sound: FloatArray, rate: int) -> int:
    """The sample at which the level has changed audibly. Raises DeviceError where it has nowhere to go.

    >>> tone = np.sin(2 * np.pi * 440 / 48_000 * np.arange(48_000)).astype(np.float32)
    >>> tone[20_000:] *= 0.1
    >>> abs(change(tone, 48_000) - 20_000) < 220
    True
    """
    # The differences, since a model may answer silence with a constant.
    width = round(SMOOTHING_SECONDS * rate)
    power = np.convolve(np.diff(sound.astype(np.float64)) ** 2, np.ones(width), "valid")
    level = np.sqrt(np.maximum(power, 0))
    end = round(ENDS_SECONDS * rate)
    before, after = float(np.median(level[:end])), float(np.median(level[-end:]))
    if before <= 0 or abs(before - after) < LEAST_CHANGE * before:
        raise DeviceError("A turned knob was not heard while it was measured; measure again")
    return int(np.argmax(level < before - HEARD * (before - after))) + width // 2


# -- round trips -----------------------------------------------------------------------------------------------------
def measure(server: Server, setup: Setup) -> dict[str, float]:
    """Play a chirp through a loopback: round trips as stated and as measured, in samples at `rate`.

    Of the device alone, and, if the setup has a model, of everything from the microphone to the loudspeaker: for
    that the parameters must pass the dry sound, at less than full gain. What was open is closed; configure again
    afterwards.
    """
    server.drop_session()
    server.setup = None
    whole = measure_whole(server, setup) if setup.model else {}
    return {**measure_device(server, setup, round(whole.get("whole_rate", RATE_TO_MEASURE))), **whole}


def measure_device(server: Server, setup: Setup, rate: int) -> dict[str, float]:
    """A stream that does nothing but play the chirp: the floor of what is possible with these devices."""
    request = setup.request(rate, outputs=setup.channels, inputs=setup.channels)
    holder: list[Probe] = []

    def callback(out: FloatArray, block: FloatArray | None) -> None:
        if holder:
            holder[0].callback(out, block)
        else:
            out[:] = 0

    stream = open_stream(request, callback)
    probe = Probe(stream.rate)
    server.stream = stream
    try:
        stream.start()
        sleep(SETTLE_SECONDS)
        holder.append(probe)
        wait_for_probe(probe, stream)
        stated = (stream.output_latency + stream.input_latency) * stream.rate
    finally:
        server.close_stream()
    found = probe.delay()
    return {"rate": stream.rate, "stated": stated, "measured": found.samples, "confidence": found.confidence}


def measure_whole(server: Server, setup: Setup) -> dict[str, float]:
    """The same with the engine in between."""
    try:
        server.configure(replace(setup, source=MICROPHONE, second="", playing=True, guard=False))
        session, stream = server.ready()[0], server.stream
        if stream is None:
            raise DeviceError("The sound device went away before it could be measured; try again")
        probe = Probe(stream.rate)
        sleep(SETTLE_SECONDS)
        server.tap = probe.tap
        wait_for_probe(probe, stream)
        stated = server.loop_delays(session, stream)[0]
    finally:
        server.tap = None
        server.drop_session()
        server.setup = None
    return {
        "whole_rate": stream.rate,
        "whole_stated": stated,
        "whole_measured": probe.delay().samples,
        "late": session.feed.late,
    }


# -- knobs -----------------------------------------------------------------------------------------------------------
def respond(server: Server, setup: Setup) -> dict[str, float]:
    """Turn knobs while a tone plays: the longest time until each is heard, and what is stated, in seconds.

    What was open is closed; configure again afterwards.
    """
    found: dict[str, float] = {}
    try:
        server.configure(replace(setup, source="tone", second="", playing=True))
        session, stream = server.ready()[0], server.stream
        if stream is None:
            raise DeviceError("The sound device went away before it could be measured; try again")
        sleep(SETTLE_SECONDS)
        for id, value in TURNS:
            turned = Snapshot().replace(output_gain=QUIET_DB).replace(**{id: value})
            found[id] = max(seconds_until_heard(server, stream, turned) for _ in range(TRIES))
        latency = session.engine.latency
        samples = latency.hop + latency.crossfade + latency.resampling + latency.limiter + session.feed.lead
        found |= {"stated": samples / session.rate + stream.output_latency, "late": session.feed.late}
    finally:
        server.tap = None
        server.shared.set_snapshot(Snapshot())
        server.drop_session()
        server.setup = None
    return found


def seconds_until_heard(server: Server, stream: Stream, turned: Snapshot) -> float:
    """One turn of a knob: until its sound leaves for the device."""
    server.shared.set_snapshot(Snapshot().replace(output_gain=QUIET_DB))
    sleep(LISTEN_SECONDS)
    listener = Listener(stream, LISTEN_SECONDS)
    server.tap = listener.tap
    sleep(TURN_SECONDS)
    since = monotonic()
    server.shared.set_snapshot(turned)
    wait_for_probe(listener, stream)
    return listener.seconds_until_change(since)


def wait_for_probe(probe: Probe | Listener, stream: Stream) -> None:
    """Until it is done. Raises DeviceError if the device stops."""
    while not probe.done:
        if stream.failed:
            raise DeviceError(f"'{stream.name}' stopped while it was measured ({stream.failed}); try again")
        sleep(POLL_SECONDS)
