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
    Parameter("noise_seed", "Noise seed", "", 0, 65_535, 0, "whole", "The same seed gives the same noise."),
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
