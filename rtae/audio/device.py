"""Sound cards: the only file that knows sounddevice (PortAudio), which it imports when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.errors import DeviceError

FloatArray = NDArray[np.float32]
Fill = Callable[[NDArray[np.float32]], None]
LATENCY_SECONDS = 0.1
BLOCK = 1024

NO_LIBRARY = (
    "The PortAudio library is not installed. Install it (Debian and Ubuntu: apt install libportaudio2; Fedora: "
    "dnf install portaudio; Arch: pacman -S portaudio; macOS: brew install portaudio)"
)
NO_CARD = "No sound card was found. Connect one, or start a sound server (PipeWire or PulseAudio)"


@dataclass(frozen=True)
class Device:
    """One device of the system.

    rate: its default, in Hz; latency: what PortAudio states as its low output latency, in seconds.
    """

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    latency: float
    default: bool


def portaudio() -> Any:
    """The sounddevice module. Raises DeviceError where PortAudio is missing."""
    try:
        import sounddevice
    except OSError:
        raise DeviceError(NO_LIBRARY) from None
    return sounddevice


def devices() -> list[Device]:
    """All devices. Raises DeviceError where PortAudio is missing or does not answer."""
    sd = portaudio()
    try:
        hosts = [host["name"] for host in sd.query_hostapis()]
        default = set(sd.default.device)
        return [
            Device(
                index=index,
                name=str(entry["name"]),
                host=hosts[entry["hostapi"]],
                inputs=int(entry["max_input_channels"]),
                outputs=int(entry["max_output_channels"]),
                rate=round(entry["default_samplerate"]),
                latency=float(entry["default_low_output_latency"]),
                default=index in default,
            )
            for index, entry in enumerate(sd.query_devices())
        ]
    except sd.PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list the sound cards: {error}") from None


def find_output(wanted: str | None) -> Device:
    """An output device by index or part of its name; the system's default where nothing is wanted.

    Raises DeviceError, which lists what there is.
    """
    outputs = [device for device in devices() if device.outputs]
    if not outputs:
        raise DeviceError(NO_CARD)
    if wanted is None:
        return next((device for device in outputs if device.default), outputs[0])
    for device in outputs:
        if wanted == str(device.index) or (not wanted.isdigit() and wanted.lower() in device.name.lower()):
            return device
    listed = ", ".join(f"{device.index} {device.name}" for device in outputs)
    raise DeviceError(f"No output device {wanted!r}; there are {listed}")


class OutputStream:
    """A running output.

    fill: called from the audio thread with an array (samples, channels) to fill; must neither wait nor raise.
    """

    def __init__(self, device: Device, rate: int, channels: int, fill: Fill) -> None:
        sd = portaudio()
        self.flags = 0
        self.fill = fill
        try:
            self.stream = sd.OutputStream(
                samplerate=rate,
                blocksize=BLOCK,
                device=device.index,
                channels=channels,
                dtype="float32",
                latency=LATENCY_SECONDS,
                callback=self.callback,
            )
            self.stream.start()
        except (sd.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"'{device.name}' cannot play {channels} channels at {rate} Hz ({error}); "
                "choose another --device (list them with: rtae devices)"
            ) from None

    def callback(self, out: FloatArray, frames: int, time: object, status: Any) -> None:
        """PortAudio's thread: move samples, count flags, nothing else."""
        if status:
            self.flags += 1
        self.fill(out)

    @property
    def active(self) -> bool:
        """Whether it still asks for sound; False once the device or its server is gone."""
        return bool(self.stream.active)

    @property
    def latency(self) -> float:
        """Seconds from `fill` to the speaker, as PortAudio states them."""
        return float(self.stream.latency)

    def close(self) -> None:
        """Stop and let go of the device."""
        self.stream.close(ignore_errors=True)
