"""Sound cards without PortAudio: the only file that knows miniaudio, which it imports when it is first needed.

miniaudio comes with its library and converts rates and channels by itself, so there is nothing to negotiate. It tells
neither dropouts nor the loss of a device: for the latter there is the rule about callbacks in `Stream.failed`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtae.audio.quiet import quiet_stderr
from rtae.audio.stream import Callback, Device, FloatArray, Request, Stream, choose
from rtae.errors import DeviceError

COMMON_RATE, COMMON_CHANNELS = 48_000, 2  # where a device does not say
MAX_CHANNELS = 254  # miniaudio's


@dataclass(frozen=True)
class Entry:
    """A device, and what miniaudio knows it by; identity None is the default of its system."""

    device: Device
    backend: Any
    identity: Any


def miniaudio() -> Any | None:
    """The module, or None where it is missing."""
    try:
        import miniaudio as module
    except (ImportError, OSError):
        return None
    return module


def backends(ma: Any) -> list[Any]:
    """The sound systems it can speak to, best first, without the one that only pretends."""
    enabled = ma.get_enabled_backends() - {ma.Backend.NULL, ma.Backend.CUSTOM}
    return sorted(enabled, key=lambda backend: int(backend.value))


def entries(ma: Any) -> list[Entry]:
    """Everything there is; of each system its default first."""
    found: list[Entry] = []
    for backend in backends(ma):
        try:
            with quiet_stderr():
                listing = ma.Devices([backend])
                outputs, inputs = listing.get_playbacks(), listing.get_captures()
        except ma.MiniaudioError:  # not installed or not running
            continue
        facts = {"output": outputs[:1], "input": inputs[:1]}
        if outputs or inputs:
            found.append(describe(len(found), "default", listing.backend, backend, None, facts, first=not found))
        for info in outputs:
            facts = {"output": [info]}
            found.append(describe(len(found), info["name"], listing.backend, backend, info["id"], facts))
        for info in inputs:
            facts = {"input": [info]}
            found.append(describe(len(found), info["name"], listing.backend, backend, info["id"], facts))
    return found


def describe(
    index: int,
    name: str,
    host: str,
    backend: Any,
    identity: Any,
    facts: dict[str, list[dict[str, Any]]],
    first: bool = False,
) -> Entry:
    """facts: what miniaudio tells of the device for "output" and for "input", empty for what it has not."""

    def channels(kind: str) -> int:
        return max((form["channels"] for info in facts.get(kind, []) for form in info["formats"]), default=0)

    rates = [form["samplerate"] for infos in facts.values() for info in infos for form in info["formats"]]
    outputs, inputs = (channels(kind) or COMMON_CHANNELS if facts.get(kind) else 0 for kind in ("output", "input"))
    rate = next((rate for rate in rates if rate), COMMON_RATE)
    device = Device(
        index,
        name,
        host,
        inputs,
        outputs,
        rate,
        default_output=first and outputs > 0,
        default_input=first and inputs > 0,
    )
    return Entry(device, backend, identity)


def devices() -> list[Device]:
    """All devices; none where miniaudio is missing."""
    ma = miniaudio()
    return [entry.device for entry in entries(ma)] if ma else []


def open_fallback(request: Request, callback: Callback, reason: str) -> Stream:
    """A stream through miniaudio. Raises DeviceError with `reason` if there is none to be had."""
    ma = miniaudio()
    if ma is None:
        raise DeviceError(reason)
    output = source = None
    systems: Sequence[Any] = backends(ma)
    if request.particular:
        found = entries(ma)
        listed = [entry.device for entry in found]
        output = found[choose(listed, request.output, "output").index] if request.output and request.outputs else None
        source = found[choose(listed, request.input, "input").index] if request.input and request.inputs else None
        systems = list({entry.backend for entry in (output, source) if entry} or systems)
        if output and source and len(systems) > 1:
            raise DeviceError(
                f"'{output.device.name}' ({output.device.host}) and '{source.device.name}' ({source.device.host}) "
                "cannot run together; choose an input and an output of the same sound system"
            )
    for system in systems:
        try:
            return MiniaudioStream(ma, system, request, callback, output, source)
        except ma.MiniaudioError as error:
            if request.particular:
                reason = (
                    f"'{request.output or request.input}' cannot be opened ({error.args[0]}); choose another device"
                )
    raise DeviceError(reason)


class MiniaudioStream(Stream):
    """A device by miniaudio. output, source: which ones, None for the system's default."""

    def __init__(
        self, ma: Any, system: Any, request: Request, callback: Callback, output: Entry | None, source: Entry | None
    ) -> None:
        self.ma = ma
        outputs, inputs = min(request.outputs, MAX_CHANNELS), min(request.inputs, MAX_CHANNELS)
        # miniaudio takes the period in whole milliseconds, and calls back with exactly what these are in samples.
        period_ms = max(1, round(1000 * request.block / request.rate))
        self.periods = max(2, round(1000 * request.latency_seconds / period_ms))
        block = max(1, request.rate * period_ms // 1000)
        common = {
            "sample_rate": request.rate,
            "buffersize_msec": period_ms,
            "callback_periods": self.periods,
            "backends": [system],
            "app_name": "RTAE",
        }
        float32 = ma.SampleFormat.FLOAT32
        output_id, source_id = (entry.identity if entry else None for entry in (output, source))
        with quiet_stderr():
            if outputs and inputs:
                self.device = ma.DuplexStream(
                    float32,
                    outputs,
                    float32,
                    inputs,
                    playback_device_id=output_id,
                    capture_device_id=source_id,
                    **common,
                )
            elif outputs:
                self.device = ma.PlaybackDevice(float32, outputs, device_id=output_id, **common)
            else:
                self.device = ma.CaptureDevice(float32, inputs, device_id=source_id, **common)
        names = list(dict.fromkeys(entry.device.name for entry in (output, source) if entry))
        name = " / ".join(names) or "default"
        host = f"{self.device.backend} (miniaudio)"
        super().__init__(callback, name, host, request.rate, outputs, inputs, block)
        self.patience = max(self.patience, request.latency_seconds)

    def begin(self) -> None:
        """Start the device."""
        moving = self.move()
        next(moving)
        try:
            self.device.start(moving)
        except self.ma.MiniaudioError as error:
            raise DeviceError(f"'{self.name}' does not start ({error.args[0]}); choose another device") from None

    def end(self) -> None:
        """Close the device."""
        self.device.close()

    @property
    def running(self) -> bool:
        """Whether it was started: miniaudio does not always notice an end."""
        return bool(self.device.running)

    @property
    def output_latency(self) -> float:
        """All of its buffer, in seconds: what was asked for."""
        return self.periods * self.block / self.rate if self.outputs else 0.0

    @property
    def input_latency(self) -> float:
        """One period, in seconds: what is recorded is given away at once."""
        return self.block / self.rate if self.inputs else 0.0

    def move(self) -> Generator[memoryview | bytes, Any, None]:
        """What miniaudio feeds: sent the number of samples to play or the bytes recorded, it yields bytes to play."""
        out = np.zeros((self.block, self.outputs), np.float32)
        asked = yield b""
        while True:
            source: FloatArray | None = None
            if self.inputs:
                source = np.frombuffer(asked, np.float32).reshape(-1, self.inputs)
            count = asked if source is None else len(source)
            if count > len(out):
                out = np.zeros((count, self.outputs), np.float32)
            self.run(out[:count], source)
            asked = yield out[:count].data.cast("B") if self.outputs else b""
