"""What a sound device is to the rest of the program, whichever library drives it: what there is, what can be asked
of it, and a running stream that says how it fares.

Threads: `run` belongs to the device's thread, all else to the owner's. Each count has one writer, so nothing locks.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rtae.errors import DeviceError, ParameterError

FloatArray = NDArray[np.float32]
# From the device's thread: (samples, outputs) to fill, and (samples, inputs) or None to read. Both are the device's
# own memory and good for the duration of the call only. It should neither wait nor raise.
Callback = Callable[[FloatArray, FloatArray | None], None]
Kind = Literal["output", "input"]

NO_CARD = "No sound card was found. Connect one, or start a sound server (PipeWire or PulseAudio)"
NO_INPUT = "No sound input was found. Connect a microphone or an interface, or go on without an input"

PATIENCE_SECONDS = 0.5  # without a callback, until a stream counts as failed
PATIENCE_PERIODS = 10
START_SECONDS = 2.0  # until the first callback: a wireless loudspeaker has to wake up
EVEN_SECONDS = 0.005  # between callbacks: the device waits for its time, and does not just fill its buffer

COMMON_RATES = (48_000, 44_100)  # Hz
# name, low, high, unit
LIMITS = (
    ("rate", 1000, 768_000, "Hz"),
    ("outputs", 0, 256, "channels"),
    ("inputs", 0, 256, "channels"),
    ("block", 1, 65_536, "samples"),
    # Libraries take any number: a typing error gave a buffer of 15.9 s.
    ("latency_seconds", 0.001, 2.0, "s"),
)


@dataclass(frozen=True)
class Device:
    """One device of the system.

    rate: its default, in Hz; latency, input_latency: what the library states as the lowest, in seconds.
    """

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    latency: float = 0.0
    input_latency: float = 0.0
    default_output: bool = False
    default_input: bool = False

    @property
    def default(self) -> bool:
        """Whether the system uses it where nothing else is wanted."""
        return self.default_output or self.default_input

    def serves(self, kind: Kind) -> bool:
        """Whether it has such channels at all."""
        return (self.outputs if kind == "output" else self.inputs) > 0

    def is_default(self, kind: Kind) -> bool:
        """Whether it is the system's output or input."""
        return self.default_output if kind == "output" else self.default_input


def choose(found: Sequence[Device], wanted: str | None, kind: Kind) -> Device:
    """The device by index, name, or part of "name, host"; the system's default where nothing is wanted.

    Of several with such a name the system's default, else the first. Raises DeviceError, which lists what there is.
    """
    usable = [device for device in found if device.serves(kind)]
    if not usable:
        raise DeviceError(NO_INPUT if found and kind == "input" else NO_CARD)
    name = (wanted or "").strip().lower()
    exact = [device for device in usable if name and name in (str(device.index), device.name.lower())]
    exact = exact or [device for device in usable if name == lasting_name(device, usable).lower()]
    part = [device for device in usable if not name.isdigit() and name in f"{device.name}, {device.host}".lower()]
    hits = exact or part  # every name holds the empty one
    if hits:
        return next((device for device in hits if device.is_default(kind)), hits[0])
    listed = ", ".join(f"{device.index} {device.name}" for device in usable)
    raise DeviceError(f"No {kind} device {wanted!r}; there are {listed}")


def lasting_name(device: Device, found: Sequence[Device]) -> str:
    """What a device is called however many others come and go: "name, host"; its number where that names two."""
    same = [other for other in found if (other.name, other.host) == (device.name, device.host)]
    return f"{device.name}, {device.host}" if len(same) == 1 else str(device.index)


def pin(found: Sequence[Device], wanted: str | None, kind: Kind) -> str | None:
    """The name for a number, which will mean another device once one is connected. Raises DeviceError."""
    if wanted is None or not wanted.strip().isdigit():
        return wanted
    return lasting_name(choose(found, wanted, kind), found)


@dataclass(frozen=True)
class Request:
    """What a stream should be like. What it is like is in its own `rate`, `outputs`, `inputs` and `block`.

    rate in Hz, outputs and inputs in channels, block in samples; latency_seconds: of the device's buffer, each way.
    output, input: index or name of a device, None for the system's default. Raises ParameterError for a value outside
    of `LIMITS`.
    """

    rate: int
    outputs: int
    inputs: int = 0
    output: str | None = None
    input: str | None = None
    block: int = 512
    latency_seconds: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high, unit in LIMITS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParameterError(f"{name} is {value}; allowed are {low} to {high} {unit}")
        if not self.outputs + self.inputs:
            raise ParameterError("A stream needs channels; give outputs, inputs or both")

    @property
    def particular(self) -> bool:
        """Whether certain devices are wanted, and not just any."""
        return bool(self.output or self.input)


def offers(request: Request, output: Device | None, source: Device | None) -> Iterator[tuple[int, int, int]]:
    """Rates with channels of output and input, best first: more channels, another rate, fewer channels."""
    own = [device.rate for device in (output, source) if device]
    rates = dict.fromkeys((request.rate, *own, *COMMON_RATES))
    outputs = counts(request.outputs, output.outputs if output else 0)
    inputs = counts(request.inputs, source.inputs if source else 0)
    every = product(rates, outputs, inputs)
    return iter(sorted(every, key=lambda offer: (offer[1] < outputs[0]) + (offer[2] < inputs[0])))


def counts(wanted: int, most: int) -> list[int]:
    """Channel counts to try: the wanted one, then more than that, which loses nothing, then fewer.

    >>> counts(1, 8), counts(6, 2), counts(4, 8)
    ([1, 2, 8], [2, 1], [4, 8, 2, 1])
    """
    first = min(wanted, most)
    others = sorted({2, most, 1} - {first}, key=lambda count: (count < first, abs(count - first)))
    return [first, *(count for count in others if count <= most and first)]


class Stream(ABC):
    """One opened device, silent until `start`. The owner polls `failed`, and after `close` drops it.

    rate, outputs, inputs, block: what was agreed; callbacks: how many there were, the latest at `last_callback`
    (`time.monotonic`); underflows: output that starved; overflows: input that was lost; error: what the callback
    raised, after which the output is silence.
    delay: seconds until the latest block is heard, 0 if that is not told.
    even: False while the device, which had run dry, fills all of its own
    buffer anew without waiting; measured over PulseAudio: 12 blocks in 0.4 ms, more than any ring of ours holds.
    """

    def __init__(self, callback: Callback, name: str, host: str, rate: int, outputs: int, inputs: int, block: int):
        self.callback = callback
        self.name, self.host = name, host
        self.rate, self.outputs, self.inputs, self.block = rate, outputs, inputs, block
        self.callbacks = self.underflows = self.overflows = 0
        self.last_callback = self.delay = 0.0
        self.error: BaseException | None = None
        self.patience = max(PATIENCE_SECONDS, PATIENCE_PERIODS * block / rate)
        self.started = self.finished = self.closed = False
        self.even, self.starved = True, False
        self.pace = min(EVEN_SECONDS, 0.5 * block / rate)
        self.closer: threading.Thread | None = None

    # -- what a library has to do ------------------------------------------------------------------------------------
    @abstractmethod
    def begin(self) -> None:
        """Let the callbacks come. Raises DeviceError."""

    @abstractmethod
    def end(self) -> None:
        """Stop at once and let go of the device. May hang or raise."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether the library holds it for running; only asked between start and close."""

    @property
    @abstractmethod
    def output_latency(self) -> float:
        """Seconds from the callback to the loudspeaker."""

    @property
    @abstractmethod
    def input_latency(self) -> float:
        """Seconds from the microphone to the callback."""

    def run(self, out: FloatArray, source: FloatArray | None) -> None:
        """From the device's thread, once a block. Never raises, and always fills the output."""
        now = time.monotonic()
        self.even = not self.starved and (self.even or now - self.last_callback >= self.pace)
        self.starved = False
        self.last_callback = now
        self.callbacks += 1
        if self.error is None and not self.closed:
            try:
                self.callback(out, source)
                return
            except BaseException as error:  # a library prints it at best, and the owner never hears of it
                self.error = error
        out[:] = 0

    # -- for the owner -----------------------------------------------------------------------------------------------
    @property
    def round_trip(self) -> float:
        """Seconds that the devices take there and back, as they state it now."""
        return self.output_latency + self.input_latency

    @property
    def flags(self) -> int:
        """Dropouts that the device reported."""
        return self.underflows + self.overflows

    @property
    def active(self) -> bool:
        """Whether it plays as far as the library knows; a device that hangs is still active."""
        return self.started and not self.closed and not self.finished and self.running

    @property
    def failed(self) -> str | None:
        """Why it will not go on, or None. A device that only hung may come back, and with it None."""
        if self.error is not None:
            return f"The sound callback failed with {type(self.error).__name__}: {self.error}"
        if not self.started or self.closed:
            return None
        if not self.active:
            return f"'{self.name}' went away: it was unplugged, or its sound server ended"
        silence = time.monotonic() - self.last_callback
        if silence > (self.patience if self.callbacks else max(START_SECONDS, self.patience)):
            return f"'{self.name}' has asked for no sound for {silence:.1f} s: it hangs, or its sound server does"
        return None

    def start(self) -> None:
        """Let the callbacks come. Raises DeviceError."""
        self.last_callback = time.monotonic()
        self.begin()
        self.started = True

    def close(self, timeout: float = 1.0) -> bool:
        """Stop at once and let go of the device. False if that takes longer than `timeout` seconds.

        Libraries wait up to minutes for a server that is frozen, and cannot be interrupted; nor can the end of the
        interpreter, which waits for them. The owner of a stream that hangs should end its process with `os._exit`.
        """
        if self.closer is None:
            self.closed = True
            self.closer = threading.Thread(target=self.end_quietly, name="rtae-close", daemon=True)
            self.closer.start()
        self.closer.join(timeout)
        return not self.closer.is_alive()

    def end_quietly(self) -> None:
        """`end`, whose failure changes nothing for the owner: the device is gone either way."""
        try:
            self.end()
        except Exception as error:  # whatever a device's library raises: there is nobody left whom it could stop
            self.error = self.error or error
