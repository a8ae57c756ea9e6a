"""The state behind all knobs: values, undo, two snapshots and the way between them. It knows no window.

How a knob's turn, a controller's or a typed text becomes a value is here too, once for all of them: a *position* is
a place on a knob, 0 at its lowest value and 1 at its highest.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from rtae.errors import ParameterError
from rtae.params import PARAMETERS, TABLE, Parameter, Snapshot

HISTORY = 200
MERGE_SECONDS = 0.5  # two turns of one knob that follow this fast are one step, as with a wheel or a controller
SLOTS = ("A", "B")
Listener = Callable[[tuple[str, ...]], None]

# How loud it is, and what is compared with what: chance has no say in these. Some may not exist yet.
NOT_RANDOM = frozenset({"input_gain", "output_gain", "mix", "bypass", "ceiling", "difference", "match"})
# What chance draws from where the whole range would rarely be music, and how often a parameter leaves its default.
RANDOM_RANGES: Mapping[str, tuple[float, float]] = {
    "latent_scale": (0.5, 1.8),
    "noise_amount": (0, 1.5),
    "noise_speed": (0.2, 60),
    "random_mix": (0, 0.6),
    "gain_noise": (0, 1.2),
    "drop": (0, 0.6),
    "quantise": (0, 2),
    "blur": (0, 0.3),
    "echo": (0, 0.8),
    "map_pull": (0, 0.5),
    "dream_temperature": (0.7, 1.1),
    "map_x": (-3, 3),
    "map_y": (-3, 3),
    **{f"macro_{number}": (-2.0, 2.0) for number in range(1, 9)},
}
RANDOM_SHARE = 0.5
RANDOM_SHARES: Mapping[str, float] = {"freeze": 0.1, "noise_seed": 1.0, "noise_speed": 1.0, "random_mix": 0.25}


# -- positions ---------------------------------------------------------------------------------------------------------
def is_stepped(parameter: Parameter) -> bool:
    """Whether it has whole numbers only."""
    return parameter.curve in ("whole", "switch")


def to_position(parameter: Parameter, value: float) -> float:
    """The place of a value on its knob, 0 to 1. Raises ParameterError for a value out of range.

    >>> to_position(TABLE["freeze_length"], 0.01), to_position(TABLE["macro_1"], 0)
    (0.0, 0.5)
    """
    value = parameter.check(value)
    if parameter.curve == "log":
        return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
    return (value - parameter.low) / (parameter.high - parameter.low)


def from_position(parameter: Parameter, position: float) -> float:
    """The value at a place on the knob; beyond 0 and 1 are the ends, and what is no number gives the default.

    >>> from_position(TABLE["macro_1"], 0.75), from_position(TABLE["bypass"], 0.5)
    (2.0, 1.0)
    """
    if math.isnan(position):
        return float(parameter.default)
    if position <= 0 or position >= 1:  # exactly, whatever the curve rounds to
        return float(parameter.low if position <= 0 else parameter.high)
    if parameter.curve == "log":
        return parameter.nearest(parameter.low * (parameter.high / parameter.low) ** position)
    value = parameter.low + position * (parameter.high - parameter.low)
    # Not round(): its half goes to the even number, and a switch in the middle is to be on.
    return parameter.nearest(math.floor(value + 0.5) if is_stepped(parameter) else value)


# -- texts -------------------------------------------------------------------------------------------------------------
NUMBER = re.compile(r"([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d{1,3})?)\s*(%|[a-z]*)", re.ASCII)
LONGEST_TEXT = 64
WORDS = {"on": 1.0, "yes": 1.0, "true": 1.0, "off": 0.0, "no": 0.0, "false": 0.0}
# The factor of each unit that may be typed, by the unit of the parameter.
UNITS: Mapping[str, Mapping[str, float]] = {
    "dB": {"db": 1.0},
    "Hz": {"hz": 1.0, "khz": 1000.0, "k": 1000.0},
    "s": {"s": 1.0, "sec": 1.0, "ms": 0.001},
    "": {"%": 0.01},
}


def parse(parameter: Parameter, text: str) -> float:
    """What somebody typed, as a value. Raises ParameterError, which states the range.

    >>> parse(TABLE["input_gain"], "-6 dB"), parse(TABLE["mix"], "0,5"), parse(TABLE["echo_time"], "250ms")
    (-6.0, 0.5, 0.25)
    """
    typed = text.strip().lower().replace("\N{MINUS SIGN}", "-")
    if parameter.curve == "switch" and typed in WORDS:
        return WORDS[typed]
    found = NUMBER.fullmatch(typed) if len(text) <= LONGEST_TEXT else None
    factors = {"": 1.0, **UNITS.get(parameter.unit, {})}
    if found is None or found[2] not in factors or (found[2] == "%" and is_stepped(parameter)):
        shown = f"{text[:LONGEST_TEXT]!r}{' ...' if len(text) > LONGEST_TEXT else ''}"
        raise ParameterError(f"{parameter.id} cannot be {shown}; {allowed(parameter)}")
    value = float(found[1].replace(",", ".")) * factors[found[2]]
    try:
        return parameter.check(value)
    except ParameterError:
        raise ParameterError(f"{parameter.id} cannot be {text.strip()!r}; {allowed(parameter)}") from None


def allowed(parameter: Parameter) -> str:
    """The range in words.

    >>> allowed(TABLE["ceiling"]), allowed(TABLE["bypass"])
    ('allowed are -24 to 0 dB', 'allowed are on and off')
    """
    if parameter.curve == "switch":
        return "allowed are on and off"
    whole = "whole numbers from " if parameter.curve == "whole" else ""
    unit = f" {parameter.unit}" if parameter.unit else ""
    return f"allowed are {whole}{parameter.low:g} to {parameter.high:g}{unit}"


def text(parameter: Parameter, value: float) -> str:
    """A value to show: tenths of a decibel, hundredths of a plain number, else three digits that count.

    >>> text(TABLE["input_gain"], -6), text(TABLE["echo_time"], 0.25), text(TABLE["bypass"], 1), text(TABLE["mix"], 1)
    ('-6.0 dB', '0.25 s', 'on', '1.00')
    """
    if parameter.curve == "switch":
        return "on" if value else "off"
    if parameter.curve == "whole":
        return f"{value:.0f}"
    if parameter.unit == "dB":
        return f"{round(value, 1) + 0.0:.1f} dB"  # + 0.0: there is no "-0.0"
    if not parameter.unit:
        return f"{round(value, 2) + 0.0:.2f}"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    number = f"{round(value, digits):.{max(0, digits)}f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {parameter.unit}"


# -- the values and their history --------------------------------------------------------------------------------------
class Knobs:
    """All values, what they were before, and two snapshots. For one thread: others must hand their changes over.

    A drag is `begin`, any number of `set`, `end`: one step of undo. Without them, changes of the same knob within
    MERGE_SECONDS are one. clock: seconds, for tests.
    """

    def __init__(self, values: Snapshot | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._values = values or Snapshot()
        self._clock = clock
        self._past: deque[Snapshot] = deque(maxlen=HISTORY)
        self._future: list[Snapshot] = []
        self._gesture: Snapshot | None = None  # the values before it
        self._turning = ""  # the knob of the last step, which the next turn of it joins, and when it was turned
        self._turned = 0.0
        self._slots: dict[str, Snapshot] = {}
        self._listeners: list[Listener] = []

    @property
    def values(self) -> Snapshot:
        """As they are."""
        return self._values

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call it with the ids that changed, after each change. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # -- changes -------------------------------------------------------------------------------------------------------
    def set(self, id: str, value: float) -> None:
        """Turn one knob. Raises ParameterError."""
        self._change(self._values.replace(**{id: value}), turning=id)

    def set_position(self, id: str, position: float) -> None:
        """Turn one knob to a place from 0 to 1. Raises ParameterError for an unknown id."""
        self.set(id, from_position(known(id), position))

    def update(self, changes: Mapping[str, float]) -> None:
        """Set several at once, one step. Raises ParameterError and then changes none."""
        self._change(self._values.replace(**changes))

    def load(self, values: Snapshot) -> None:
        """Set all, as a preset does: one step."""
        self._change(values)

    def reset(self, id: str) -> None:
        """Back to the default. Raises ParameterError for an unknown id."""
        self.update({id: known(id).default})

    def randomise(self, amount: float, seed: int, only: Iterable[str] | None = None) -> None:
        """Move towards values drawn by chance; the same seed, from the same values, gives the same.

        amount: 0 stays here, 1 is what was drawn; switches and whole numbers jump with this probability. only: ids;
        gains, mix, bypass, ceiling and what is there to compare stay in any case. Raises ParameterError.
        """
        if not 0 <= amount <= 1:
            raise ParameterError(f"the amount is {amount}; allowed are 0 to 1")
        chosen = set(TABLE) if only is None else {known(id).id for id in only}
        drawn = {p.id: drawn_value(p, self._values[p.id], amount, seed) for p in PARAMETERS if p.id in chosen}
        self.update({id: value for id, value in drawn.items() if id not in NOT_RANDOM})

    def _change(self, values: Snapshot, turning: str = "") -> None:
        """New values, with a step of history before them; nothing happens if they are the old ones."""
        now = self._clock()
        joins = turning != "" and turning == self._turning and now - self._turned <= MERGE_SECONDS
        if values != self._values:
            if self._gesture is None and not joins:
                self._past.append(self._values)
            self._future.clear()
            self._turning, self._turned = turning, now
            self._show(values)

    def _show(self, values: Snapshot) -> None:
        """Take these values and tell the listeners which are new."""
        before, self._values = self._values, values
        changed = tuple(id for id in TABLE if before[id] != values[id])
        for listener in tuple(self._listeners) if changed else ():
            listener(changed)

    # -- history -------------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """A drag begins; one that was never ended ends first."""
        self.end()
        self._gesture, self._turning = self._values, ""

    def end(self) -> None:
        """The drag is over; nothing happens if there is none."""
        before, self._gesture, self._turning = self._gesture, None, ""
        if before is not None and before != self._values:
            self._past.append(before)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step back."""
        return bool(self._past) or (self._gesture is not None and self._gesture != self._values)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step forward."""
        return bool(self._future)

    def undo(self) -> bool:
        """One step back; a drag that goes on ends there. False if there is none."""
        self.end()
        if not self._past:
            return False
        self._future.append(self._values)
        self._show(self._past.pop())
        return True

    def redo(self) -> bool:
        """One step forward again. False if there is none."""
        self.end()
        if not self._future:
            return False
        self._past.append(self._values)
        self._show(self._future.pop())
        return True

    # -- two snapshots -------------------------------------------------------------------------------------------------
    def store(self, slot: str) -> None:
        """Keep the present values as "A" or "B". Raises ParameterError for another name."""
        self._slots[checked_slot(slot)] = self._values

    def stored(self, slot: str) -> Snapshot | None:
        """What is kept there, if anything. Raises ParameterError for another name than "A" or "B"."""
        return self._slots.get(checked_slot(slot))

    def recall(self, slot: str) -> None:
        """Go back to what is kept there. Raises ParameterError if there is nothing."""
        self.load(self._kept(slot))

    def morph(self, position: float) -> None:
        """Go to a place between A, at 0, and B, at 1; moves that follow each other are one step.

        Raises ParameterError unless both are stored and the place is from 0 to 1.
        """
        self._change(between(self._kept("A"), self._kept("B"), position), turning="morph")

    def _kept(self, slot: str) -> Snapshot:
        kept = self.stored(slot)
        if kept is None:
            raise ParameterError(f"Nothing is stored as {slot} yet; store the present values there first")
        return kept


def known(id: str) -> Parameter:
    """The parameter. Raises ParameterError for an unknown id."""
    if id not in TABLE:
        raise ParameterError(f"No parameter {id!r}; there are {', '.join(TABLE)}")
    return TABLE[id]


def checked_slot(slot: str) -> str:
    """The name, if there is such a slot. Raises ParameterError."""
    if slot not in SLOTS:
        raise ParameterError(f"No snapshot {slot!r}; there are {' and '.join(SLOTS)}")
    return slot


def between(first: Snapshot, second: Snapshot, place: float) -> Snapshot:
    """Values at a place from 0 to 1 between two snapshots: along each knob's curve, switches at the middle, whole
    numbers rounded; the ends are exact. Raises ParameterError for another place."""
    if not 0 <= place <= 1:
        raise ParameterError(f"the place between A and B is {place}; allowed are 0 to 1")
    if place in (0, 1):
        return second if place else first
    return Snapshot(tuple(along(p, first[p.id], second[p.id], place) for p in PARAMETERS))


def along(parameter: Parameter, start: float, end: float, share: float) -> float:
    """The value at a share of the way from one to another on the knob."""
    if start == end:  # which a curve might miss by a rounding
        return start
    if parameter.curve == "switch":
        return end if share >= 0.5 else start
    begin = to_position(parameter, start)
    return from_position(parameter, begin + share * (to_position(parameter, end) - begin))


def drawn_value(parameter: Parameter, present: float, amount: float, seed: int) -> float:
    """A value between the present one and one drawn by chance, which depends on the seed and the id alone."""
    rng = np.random.default_rng([seed, *parameter.id.encode()])
    leaves, place, jump = (float(number) for number in rng.random(3))
    low, high = RANDOM_RANGES.get(parameter.id, (parameter.low, parameter.high))
    start, end = to_position(parameter, low), to_position(parameter, high)
    target = float(parameter.default)
    if leaves < RANDOM_SHARES.get(parameter.id, RANDOM_SHARE):
        target = 1.0 if parameter.curve == "switch" else from_position(parameter, start + place * (end - start))
    if is_stepped(parameter):
        return target if jump < amount else present
    if amount == 1:
        return target
    return along(parameter, present, target, amount) if amount else present
