"""Sound cards: the only file that knows sounddevice (PortAudio), which it imports when it is first needed.

Opening, closing and listing may hang for minutes where a sound server is frozen; only a process that may be killed
should do it. PortAudio's names and defaults are those of its first use, until `devices(rescan=True)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.audio import fallback
from rtae.audio.clock import SILENT, ClockStream
from rtae.audio.quiet import quiet_stderr
from rtae.audio.stream import NO_CARD, Callback, Device, FloatArray, Kind, Request, Stream, choose, offers
from rtae.errors import DeviceError

__all__ = [
    "NO_CARD",
    "NO_LIBRARY",
    "SILENT",
    "Callback",
    "Device",
    "Request",
    "Stream",
    "devices",
    "find_device",
    "open_stream",
    "quiet_stderr",
]

DELAYS = 64  # callbacks whose delay is remembered; single ones jump by a period
LONGEST_ROUND = 5.0  # seconds; some sound systems leave the time of recording at 0, or at another clock's
# Which no other rate or channel count can mend: gone, in use, or of two sound systems.
INVALID_DEVICE, BAD_COMBINATION, UNAVAILABLE = -9996, -9993, -9985

NO_LIBRARY = (
    "The PortAudio library is not installed. Install it (Debian and Ubuntu: apt install libportaudio2; Fedora: "
    "dnf install portaudio; Arch: pacman -S portaudio; macOS: brew install portaudio)"
)

# Streams that PortAudio holds. Kept alive here, since a dropped one would call into freed memory.
held: set[PortAudioStream] = set()


# -- what there is ---------------------------------------------------------------------------------------------------
def portaudio() -> Any:
    """The sounddevice module. Raises DeviceError where PortAudio is missing or does not start."""
    try:
        with quiet_stderr():
            import sounddevice
    except (OSError, ImportError):
        raise DeviceError(NO_LIBRARY) from None
    except Exception as error:  # sounddevice.PortAudioError, which cannot be imported then
        raise DeviceError(f"PortAudio does not start ({error}); restart the sound server, or the computer") from None
    return sounddevice


def devices(rescan: bool = False) -> list[Device]:
    """All devices, by miniaudio where PortAudio is missing or has none.

    rescan: look again, which is possible only while nothing is open. Raises DeviceError.
    """
    try:
        sd = portaudio()
    except DeviceError:
        found = fallback.devices()
        if found:
            return found
        raise
    if rescan:
        look_again(sd)
    return listed(sd) or fallback.devices()


def look_again(sd: Any) -> None:
    """Have PortAudio list the devices anew: it does so only when it is initialised."""
    if held:
        raise DeviceError("Sound cards can be looked for only while none is open; stop first")
    try:
        with quiet_stderr():
            while sd._initialized:
                sd._terminate()
            sd._initialize()
    except sd.PortAudioError as error:
        raise DeviceError(f"PortAudio does not start ({error}); restart the sound server, or the computer") from None


def listed(sd: Any) -> list[Device]:
    """PortAudio's devices. Raises DeviceError."""
    try:
        hosts = [str(host["name"]) for host in sd.query_hostapis()]
        default_input, default_output = sd.default.device
        return [
            Device(
                index=index,
                name=str(entry["name"]),
                host=hosts[entry["hostapi"]],
                inputs=int(entry["max_input_channels"]),
                outputs=int(entry["max_output_channels"]),
                rate=round(entry["default_samplerate"]),
                latency=float(entry["default_low_output_latency"]),
                input_latency=float(entry["default_low_input_latency"]),
                default_output=index == default_output,
                default_input=index == default_input,
            )
            for index, entry in enumerate(sd.query_devices())
        ]
    except sd.PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list the sound cards: {error}") from None


def find_device(wanted: str | None, kind: Kind) -> Device:
    """A device by index, name or part of it; the system's default where nothing is wanted.

    Raises DeviceError, which lists what there is.
    """
    return choose(devices(), wanted, kind)


def open_stream(request: Request, callback: Callback, silent: bool = False) -> Stream:
    """A stream as near to what is wanted as the device allows, not yet started.

    silent: a silent one, paced by the clock, where no certain device is wanted and none works; with the output
    "silent" it is the one wanted. Raises DeviceError.
    """
    if request.output == SILENT:
        return ClockStream(request, callback)
    try:
        try:
            sd = portaudio()
        except DeviceError as error:
            return fallback.open_fallback(request, callback, str(error))
        found = listed(sd)
        if not found:
            return fallback.open_fallback(request, callback, NO_CARD)
        output = choose(found, request.output, "output") if request.outputs else None
        source = choose(found, request.input, "input") if request.inputs else None
        return negotiate(sd, request, callback, output, source)
    except DeviceError as error:
        if silent and not request.particular:
            return ClockStream(request, callback, str(error))
        raise


def negotiate(sd: Any, request: Request, callback: Callback, output: Device | None, source: Device | None) -> Stream:
    """The first of the offers that PortAudio accepts. Raises DeviceError with the reason for refusing the first."""
    reason: Exception | None = None
    for rate, outputs, inputs in offers(request, output, source):
        try:
            return PortAudioStream(sd, request, callback, output, source, rate, outputs, inputs)
        except (sd.PortAudioError, ValueError) as error:
            reason = reason or error
            if error.args[1:2] in ((INVALID_DEVICE,), (BAD_COMBINATION,), (UNAVAILABLE,)):
                reason = error
                break
    names = " and ".join(f"'{device.name}' ({device.host})" for device in (output, source) if device)
    if output and source and output.host != source.host:
        raise DeviceError(f"{names} cannot run together; choose an input and an output of the same sound system")
    raise DeviceError(f"{names} cannot be opened ({reason}); choose another one (list them with: rtae devices)")


class PortAudioStream(Stream):
    """A device by PortAudio. Raises its errors where it refuses."""

    def __init__(
        self,
        sd: Any,
        request: Request,
        callback: Callback,
        output: Device | None,
        source: Device | None,
        rate: int,
        outputs: int,
        inputs: int,
    ) -> None:
        used = [device for device in (output, source) if device]
        name = " / ".join(dict.fromkeys(device.name for device in used))
        super().__init__(callback, name, used[0].host, rate, outputs, inputs, request.block)
        # Over PulseAudio the callbacks of a long buffer come in bursts, 0.55 s apart for one of 2 s.
        self.patience = max(self.patience, request.latency_seconds)
        self.delays, self.rounds = np.zeros(DELAYS), np.zeros(DELAYS)
        self.nothing: FloatArray = np.zeros((request.block, 0), np.float32)
        kind, move = {
            (True, False): (sd.OutputStream, self.play),
            (False, True): (sd.InputStream, self.record),
            (True, True): (sd.Stream, self.play_and_record),
        }[output is not None, source is not None]
        both = output is not None and source is not None
        indices = [device.index for device in (source, output) if device]
        with quiet_stderr():
            self.stream = kind(
                samplerate=rate,
                blocksize=request.block,
                device=tuple(indices) if both else indices[0],
                channels=(inputs, outputs) if both else outputs or inputs,
                dtype="float32",
                latency=request.latency_seconds,
                callback=move,
                finished_callback=self.finish,
            )
        self.error_type = sd.PortAudioError
        held.add(self)

    def begin(self) -> None:
        """Start PortAudio's thread."""
        try:
            with quiet_stderr():
                self.stream.start()
        except self.error_type as error:
            raise DeviceError(f"'{self.name}' does not start ({error}); choose another device") from None

    def end(self) -> None:
        """Close, which throws away what is not yet played; may hang."""
        self.stream.close(ignore_errors=True)
        held.discard(self)

    @property
    def running(self) -> bool:
        """As PortAudio says, which knows of a server that ended, not of one that is frozen."""
        try:
            return bool(self.stream.active)
        except self.error_type:
            return False

    @property
    def output_latency(self) -> float:
        """Measured where there were callbacks, since what PortAudio states is too little."""
        stated = self.stream.latency
        return self.median(self.delays) or float(stated[1] if self.inputs else stated)

    @property
    def input_latency(self) -> float:
        """What a round trip takes beyond the output.

        PortAudio states a buffer that is full, which it is not once both directions run: a sample waits in the one
        or in the other. Over PulseAudio this gives 139.2 ms there and back where 139.3 are measured, and the two
        stated ones together 221 ms.
        """
        if not self.inputs:
            return 0.0
        stated = self.stream.latency
        both = self.median(self.rounds)
        if not self.outputs or not 0 < both < LONGEST_ROUND:
            return float(stated[0] if self.outputs else stated)
        return max(0.0, both - self.output_latency)

    def median(self, ring: NDArray[np.float64]) -> float:
        """Of what callbacks noted; 0 where there is nothing."""
        known = ring[: self.callbacks]
        known = known[known > 0]
        return float(np.median(known)) if known.size else 0.0

    # -- PortAudio's thread: move samples, count flags, nothing else -------------------------------------------------
    def play(self, out: FloatArray, frames: int, time: Any, status: Any) -> None:
        """The callback of an output."""
        self.note(time, status)
        self.run(out, None)

    def record(self, source: FloatArray, frames: int, time: Any, status: Any) -> None:
        """The callback of an input."""
        self.note(time, status)
        self.run(self.nothing, source)

    def play_and_record(self, source: FloatArray, out: FloatArray, frames: int, time: Any, status: Any) -> None:
        """The callback of both."""
        self.note(time, status)
        self.run(out, source)

    def note(self, time: Any, status: Any) -> None:
        """Remember the delays, and count what was lost."""
        place = self.callbacks % DELAYS
        self.delay = self.delays[place] = time.outputBufferDacTime - time.currentTime
        self.rounds[place] = time.outputBufferDacTime - time.inputBufferAdcTime
        if status:
            self.starved = bool(status.output_underflow)
            self.underflows += bool(status.output_underflow or status.output_overflow)
            self.overflows += bool(status.input_overflow or status.input_underflow)

    def finish(self) -> None:
        """PortAudio stopped, for whatever reason."""
        self.finished = True
