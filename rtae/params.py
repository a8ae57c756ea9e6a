"""The one table of parameters. Knobs, command-line options, presets and shared memory are made from it.

A parameter is declared here and nowhere else; its value is always a float within [low, high].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rtae.errors import ParameterError

Curve = Literal["linear", "log", "whole", "switch"]
MACROS = 8


@dataclass(frozen=True)
class Parameter:
    """One knob.

    unit: "dB", "Hz", "%" is never used (shares go from 0 to 1), "" for plain numbers.
    curve: how a knob's turn maps to the value; "whole" takes whole numbers, "switch" only 0 and 1.
    """

    id: str
    label: str
    unit: str
    low: float
    high: float
    default: float
    curve: Curve
    help: str

    def check(self, value: float) -> float:
        """The value, if it is allowed. Raises ParameterError with the range.

        >>> TABLE["mix"].check(0.5)
        0.5
        """
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and self.low <= number <= self.high):
            unit = f" {self.unit}" if self.unit else ""
            raise ParameterError(f"{self.id} is {value}; allowed are {self.low:g} to {self.high:g}{unit}")
        if self.curve in ("whole", "switch") and number != round(number):
            raise ParameterError(f"{self.id} is {value}; it must be a whole number")
        return number

    def nearest(self, value: float) -> float:
        """The allowed value nearest to this one; the default for what is not a number."""
        if not math.isfinite(value):
            return float(self.default)
        value = min(max(value, self.low), self.high)
        return float(round(value)) if self.curve in ("whole", "switch") else value


PARAMETERS = (
    Parameter("input_gain", "Input gain", "dB", -60, 24, 0, "linear", "Gain before the model."),
    Parameter("output_gain", "Output gain", "dB", -60, 24, 0, "linear", "Gain after the mix."),
    Parameter("mix", "Mix", "", 0, 1, 1, "linear", "0 is the dry input, 1 the model's output."),
    Parameter("bypass", "Bypass", "", 0, 1, 0, "switch", "1 passes the input, delayed; only the ceiling still holds."),
    Parameter("ceiling", "Ceiling", "dB", -24, 0, 0, "linear", "Peaks are limited to this level."),
    Parameter("latent_scale", "Latent scale", "", 0, 4, 1, "linear", "Every latent value is multiplied by this."),
    Parameter(
        "interpolation",
        "A to B",
        "",
        0,
        1,
        0,
        "linear",
        "Latents of a second source mixed in: (1 - a) A + a B; without one it does nothing.",
    ),
    Parameter(
        "noise_amount",
        "Noise",
        "",
        0,
        4,
        0,
        "linear",
        "Noise added to the latents; at 1, and full speed, it is uniform within ±0.75.",
    ),
    Parameter("noise_share", "Noise share", "", 0, 1, 1, "linear", "Share of the latent dimensions that get noise."),
    Parameter(
        "noise_speed",
        "Noise speed",
        "Hz",
        0.05,
        1000,
        1000,
        "log",
        "New noise values per second; from the frame rate up, one for each latent frame.",
    ),
    Parameter("noise_seed", "Seed", "", 0, 65_535, 0, "whole", "The same seed gives the same noise, choice and order."),
    Parameter(
        "random_mix", "Random", "", 0, 1, 0, "linear", "Random latents in place of the song's: 0 none, 1 nothing else."
    ),
    Parameter(
        "gain_noise",
        "Gain noise",
        "",
        0,
        2,
        0,
        "linear",
        "Each latent dimension gets louder and softer by itself: at 1 by up to 6 dB, at the speed of the noise.",
    ),
    Parameter("drop", "Drop", "", 0, 1, 0, "linear", "Share of the latent dimensions that are muted."),
    Parameter("permute", "Permute", "", 0, 1, 0, "linear", "Share of the latent dimensions that change places."),
    Parameter(
        "quantise", "Quantise", "", 0, 4, 0, "linear", "Latents are rounded to steps of so many standard deviations."
    ),
    Parameter(
        "dream_temperature",
        "Dream temperature",
        "",
        0,
        2,
        0.9375,  # a float32 holds it exactly, so that a knob set back is at its default
        "linear",
        "How much chance there is in a dream: 0 none, 1 as much as in music.",
    ),
    Parameter("dream_seed", "Dream seed", "", 0, 65_535, 0, "whole", "The same seed dreams the same music."),
    Parameter("freeze", "Freeze", "", 0, 1, 0, "switch", "1 holds the latest latents and loops them; 0 lets go."),
    Parameter("freeze_length", "Freeze time", "s", 0.01, 2, 0.25, "log", "How much of the latents freeze loops."),
    Parameter("blur", "Blur", "s", 0, 1, 0, "linear", "Latents are averaged over so much of their past."),
    Parameter(
        "echo", "Echo", "", 0, 1, 0, "linear", "Earlier latents are added, four times, each weaker by this factor."
    ),
    Parameter("echo_time", "Echo time", "s", 0.02, 1, 0.25, "log", "From one echo of the latents to the next."),
    Parameter("map_pull", "Map pull", "", 0, 1, 0, "linear", "How firmly the latents are drawn to a place on the map."),
    Parameter("map_x", "Map x", "", -4, 4, 0, "linear", "That place along the first principal component."),
    Parameter("map_y", "Map y", "", -4, 4, 0, "linear", "That place along the second principal component."),
    *(
        Parameter(
            f"macro_{number}",
            f"Macro {number}",
            "",
            -4,
            4,
            0,
            "linear",
            f"Moves the latents along principal component {number}, in standard deviations of the music.",
        )
        for number in range(1, MACROS + 1)
    ),
    Parameter(
        "difference",
        "Difference",
        "",
        0,
        1,
        0,
        "switch",
        "1 plays what the model changes: the input minus the model's output; the mix does not matter then.",
    ),
    Parameter(
        "match",
        "Match level",
        "",
        0,
        1,
        0,
        "switch",
        "1 keeps the model's output as loud as the input, on average, by up to 24 dB.",
    ),
)
TABLE: Mapping[str, Parameter] = {parameter.id: parameter for parameter in PARAMETERS}


@dataclass(frozen=True)
class Snapshot(Mapping[str, float]):
    """The value of every parameter at one moment; immutable, so that a hop sees one consistent state.

    values_: in the order of PARAMETERS, as they lie in shared memory.

    >>> Snapshot().replace(mix=0.5)["mix"]
    0.5
    """

    values_: tuple[float, ...] = tuple(float(parameter.default) for parameter in PARAMETERS)

    def __getitem__(self, key: str) -> float:
        return self.values_[INDEX[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(self.values_)

    def replace(self, **changes: float) -> Snapshot:
        """A copy with some values changed. Raises ParameterError for unknown names and values out of range."""
        values = list(self.values_)
        for name, value in changes.items():
            if name not in TABLE:
                raise ParameterError(f"No parameter {name!r}; there are {', '.join(TABLE)}")
            values[INDEX[name]] = TABLE[name].check(value)
        return Snapshot(tuple(values))


INDEX: Mapping[str, int] = {parameter.id: index for index, parameter in enumerate(PARAMETERS)}
