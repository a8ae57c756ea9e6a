"""What the audio process is asked to do: model, sources, devices, as one immutable record that a restart can repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtae.audio.stream import Request
from rtae.errors import ParameterError

MICROPHONE = "microphone"
DREAM = "dream"  # silence to the ear, while the model's prior makes the latents up
GENERATORS = ("silence", "tone", "noise", DREAM)
SOURCES = (*GENERATORS, MICROPHONE)
HUNG = 70  # exit code of the audio process: the sound server froze, and PortAudio with it
MODES: Mapping[str, tuple[int, float, float]] = {
    # block in frames, device latency in seconds, lead of our ring in seconds beyond a block. After a stall a sound
    # server asks for all that it missed at once, up to its whole buffer: the lead of "relaxed" covers that and 20 ms
    # more (measured over PulseAudio, frozen for 80 ms: 20 dips in 20 tries with a lead of 0.06, none with 0.12).
    "live": (256, 0.035, 0.015),
    "relaxed": (512, 0.1, 0.12),
}


@dataclass(frozen=True)
class Setup:
    """All that the audio process needs to be where it was.

    source, second: a file's path, or one of SOURCES; second may be empty. output, input: devices by number or name,
    None for the system's default, "silent" for none. mode: one of MODES. block: frames, 0 for the mode's.
    hop, quality: see `rtae.engine.Engine`; a hop of 0 is the smallest that this machine keeps up with, found by
    measuring. loop: start and end in seconds, or None. position: seconds. follow_default: use the default device if
    the chosen one is gone. guard: duck the output where a microphone hears the loudspeakers.
    """

    model: str
    source: str = "silence"
    second: str = ""
    output: str | None = None
    input: str | None = None
    mode: str = "relaxed"
    block: int = 0
    hop: int = 2048
    quality: str = "HQ"
    channels: int = 2
    loop: tuple[float, float] | None = None
    position: float = 0.0
    playing: bool = False
    follow_default: bool = False
    guard: bool = True
    lead_seconds: float = -1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ParameterError(f"No mode {self.mode!r}; there are {', '.join(MODES)}")

    @property
    def lead(self) -> float:
        """Seconds that our own ring is ahead of the device, beyond a block."""
        return self.lead_seconds if self.lead_seconds >= 0 else MODES[self.mode][2]

    def request(self, rate: int, outputs: int, inputs: int) -> Request:
        """What to ask the devices for."""
        block, latency_seconds, _ = MODES[self.mode]
        return Request(
            rate=rate,
            outputs=outputs,
            inputs=inputs,
            output=self.output,
            input=self.input,
            block=self.block or block,
            latency_seconds=latency_seconds,
        )
