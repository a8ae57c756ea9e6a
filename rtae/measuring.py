"""What the audio process measures of itself: round trips through a loopback, and how long a turned knob takes.

A round trip: a chirp is played and found at the input (`rtae.loopback`), with nothing but the device, and with the
engine in between. A knob: a tone is played and its level watched where it leaves for the device; the client writes a
value, the engine reads it with its next hop, and what it makes of it passes the crossfade and our own ring. The
device's own part is what it states with each block: at most, since a knob may be turned just after the device has taken
what it wanted, and a block longer, since only with the next one it is looked at again.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtae.audio.device import open_stream
from rtae.audio.stream import Stream
from rtae.errors import DeviceError, DisturbedError
from rtae.loopback import Delay, Probe
from rtae.params import Snapshot
from rtae.setup import MICROPHONE, Setup
from rtae.source import TONE_HZ

if TYPE_CHECKING:
    from rtae.host import Server

FloatArray = NDArray[np.float32]
SMOOTHING_SECONDS = 4 / TONE_HZ  # of the level; whole periods of the tone that is listened to
LEFT = 0.11  # of the old level: a change that has come so far counts as done
LEAST_CHANGE = 0.5  # of the level, or it is no change that could be timed
ENDS_SECONDS = 0.1  # of the recording, in which the level is that of before, and that of after
POLL_SECONDS = 0.02
RATE_TO_MEASURE = 48_000
SETTLE_SECONDS = 1.0  # until the delays of a stream are known, and what an open microphone began with is gone
LISTEN_SECONDS = 1.0  # to a knob that is turned,
TURN_SECONDS = 0.2  # so long after it began
QUIET_DB = -12.0
# Knobs that make a tone quieter, and to which value: before the model, on its latents, and behind it.
TURNS = (("input_gain", -60.0), ("latent_scale", 0.0), ("output_gain", -60.0))


class Listener:
    """Keeps what a stream plays, and when that is heard. Its `tap` runs in the device's thread.

    done: it has heard enough.
    """

    def __init__(self, stream: Stream, seconds: float) -> None:
        self.stream, self.rate = stream, stream.rate
        self.played: FloatArray = np.zeros(round(seconds * self.rate), np.float32)
        self.taken = np.zeros(len(self.played))  # when sample 0 was taken, by each callback
        self.delays = np.zeros(len(self.played))  # from then until it was heard
        self.place = self.calls = 0

    @property
    def done(self) -> bool:
        """Whether there is no more room."""
        return self.place >= len(self.played)

    def tap(self, out: FloatArray, block: FloatArray | None) -> None:
        """(samples, outputs) that are played now."""
        if self.done:
            return
        self.taken[self.calls] = monotonic() - self.place / self.rate
        self.delays[self.calls] = self.stream.delay
        self.calls += 1
        part = self.played[self.place : self.place + len(out)]
        part[:] = out[: len(part), 0]
        self.place += len(part)

    @property
    def start(self) -> float:
        """When sample 0 was heard, of `time.monotonic`. Callbacks come in bursts, samples evenly."""
        start = float(np.median(self.taken[: self.calls] + self.delays[: self.calls]))
        return start if self.stream.delay else start + self.stream.output_latency

    @property
    def longest_delay(self) -> float:
        """Seconds from the device's call for a block until it was heard, at most."""
        return self.start - float(self.taken[: self.calls].min())

    def seconds_until_change(self, since: float) -> float:
        """From a moment of `time.monotonic` until the change was heard. Raises DeviceError if there was none."""
        return self.start + change(self.played, self.rate) / self.rate - since


def change(sound: FloatArray, rate: int) -> int:
    """The sample at which the level has got to its new place. Raises DeviceError where it has nowhere to go.

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
    return int(np.flatnonzero(level > after + LEFT * (before - after))[-1]) + 1  # a level is that of what follows


# -- round trips -----------------------------------------------------------------------------------------------------
def measure(server: Server, setup: Setup) -> dict[str, float]:
    """Play a chirp through a loopback: round trips as stated and as measured, in samples at `rate`.

    Of the device alone, and, if the setup has a model, of everything from the microphone to the loudspeaker: for
    that the parameters must pass the dry sound, at less than full gain. late, flags: samples that were missing, and
    what the device flagged meanwhile; drift_ms: by how much what it states changed. Where there is any of it the
    figures mean little. What was open is closed; configure again afterwards.
    """
    server.drop_session()
    server.setup = None
    whole = measure_whole(server, setup) if setup.model else {}
    device = measure_device(server, setup, round(whole.get("whole_rate", RATE_TO_MEASURE)))
    flags, drift_ms = device["flags"] + whole.get("flags", 0), max(device["drift_ms"], whole.get("drift_ms", 0.0))
    return {**whole, **device, "flags": flags, "drift_ms": drift_ms}


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
        flags, before = stream.flags, stream.round_trip
        wait_for_probe(probe, stream)
        flags, stated = stream.flags - flags, stream.round_trip
    finally:
        server.close_stream()
    found = delay_of(probe, flags)
    return {
        "rate": stream.rate,
        "stated": stated * stream.rate,
        "measured": found.samples,
        "confidence": found.confidence,
        "flags": flags,
        "drift_ms": 1000 * abs(stated - before),
    }


def measure_whole(server: Server, setup: Setup) -> dict[str, float]:
    """The same with the engine in between."""
    try:
        server.configure(replace(setup, source=MICROPHONE, second="", playing=True, guard=False))
        session, stream = server.ready()[0], server.stream
        if stream is None:
            raise DeviceError("The sound device went away before it could be measured; try again")
        probe = Probe(stream.rate)
        sleep(SETTLE_SECONDS)
        flags, before = stream.flags, stream.round_trip
        server.tap = probe.tap
        wait_for_probe(probe, stream)
        stated = server.loop_delays(session, stream)[0]
        drift_ms = 1000 * abs(stream.round_trip - before)
    finally:
        server.tap = None
        server.drop_session()
        server.setup = None
    late, flags = session.feed.late, stream.flags - flags
    return {
        "whole_rate": stream.rate,
        "whole_stated": stated,
        "whole_measured": delay_of(probe, late + flags).samples,
        "late": late,
        "flags": flags,
        "drift_ms": drift_ms,
    }


def delay_of(probe: Probe, lost: int) -> Delay:
    """What the probe found. Raises DisturbedError where that is nothing since something was lost; else DeviceError."""
    try:
        return probe.delay()
    except DeviceError:
        if lost:
            raise DisturbedError("Sound was lost while it was measured; measure again when less is going on") from None
        raise


# -- knobs -----------------------------------------------------------------------------------------------------------
def respond(server: Server, setup: Setup, tries: int) -> dict[str, float]:
    """Turn knobs while a tone plays: the longest time until each is fully heard, and what is stated, in seconds.

    late: samples that were missing meanwhile, and flags of the device: where there are any the times mean nothing.
    What was open is closed; configure again afterwards.
    """
    found: dict[str, float] = {}
    device = 0.0
    try:
        server.configure(replace(setup, source="tone", second="", playing=True))
        session, stream = server.ready()[0], server.stream
        if stream is None:
            raise DeviceError("The sound device went away before it could be measured; try again")
        sleep(SETTLE_SECONDS)
        for id, value in TURNS:
            turned = Snapshot().replace(output_gain=QUIET_DB).replace(**{id: value})
            turns = [turn_a_knob(server, stream, turned) for _ in range(tries)]
            found[id] = max(heard for heard, _ in turns)
            device = max(device, *(delay for _, delay in turns))
        latency = session.engine.latency
        samples = latency.hop + latency.crossfade + latency.resampling + latency.limiter + session.feed.lead
        found |= {"stated": (samples + stream.block) / session.rate + device}
        found |= {"late": session.feed.late, "flags": stream.flags}
    finally:
        server.tap = None
        server.shared.set_snapshot(Snapshot())
        server.drop_session()
        server.setup = None
    return found


def turn_a_knob(server: Server, stream: Stream, turned: Snapshot) -> tuple[float, float]:
    """One turn of a knob: seconds until it is heard, and how many of them at most are the device's."""
    server.shared.set_snapshot(Snapshot().replace(output_gain=QUIET_DB))
    sleep(LISTEN_SECONDS)
    listener = Listener(stream, LISTEN_SECONDS)
    server.tap = listener.tap
    sleep(TURN_SECONDS)
    since = monotonic()
    server.shared.set_snapshot(turned)
    wait_for_probe(listener, stream)
    return listener.seconds_until_change(since), listener.longest_delay


def wait_for_probe(probe: Probe | Listener, stream: Stream) -> None:
    """Until it is done. Raises DisturbedError if the device stands still for a while, DeviceError if it is gone."""
    while not probe.done:
        if reason := stream.failed:
            kind = DisturbedError if stream.active else DeviceError
            raise kind(f"'{stream.name}' stopped while it was measured ({reason}); try again")
        sleep(POLL_SECONDS)
