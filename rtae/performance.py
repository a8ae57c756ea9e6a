"""A recorded performance of the knobs: which values the engine was given at which sample, to be replayed exactly.

The engine reads the values of a call of `process` when a chunk is completed within that call, and the chunks' borders
are fixed by the stream's own sample count. So it suffices to know, for each change, how many samples the engine had
been given before the call that first used it: whoever cuts the same audio there, however else it is cut, has every
chunk completed with the same values, and gets the same samples.

    live     |--block--|--block--|--block--|        values a, a, b: one event, (2 blocks, b)
    chunks   |-----chunk-----|-----chunk-----|      the first one is completed with a, the second with b
    replay   |----------a--------|----b------...
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.engine import HIGHEST_RATE, LOWEST_RATE, QUALITIES, Engine
from rtae.errors import PresetError
from rtae.params import PARAMETERS, Snapshot
from rtae.presets import FORMAT, read_json, read_text, read_values, shown, unknown_note, write_text
from rtae.spec import WINDOW, is_whole

FloatArray = NDArray[np.float32]
WHAT = "a performance"
MAX_BYTES = 10_000_000
HEADER_BYTES = 200_000  # what of them is kept for all that is no event
MAX_CHANNELS = 64
MAX_SECONDS = 24 * 3600
MAX_TEXT = 4096
LATEST_START = 1e6  # seconds


@dataclass(frozen=True)
class Performance:
    """What was played, through what, and every change of a value.

    song, second: paths, or the name of a generator, or "microphone"; second is "" where there was none. model: a name
    or a folder. hop, quality, rate, channels: of the engine. start_seconds, second_start_seconds: the places in the
    songs at sample 0. length: samples that the engine was given in all. events: (sample, values by id), where
    `sample` counts those that the engine had been given, since it was prepared, before the call of `process` that
    first used these values; what an event does not mention stays, and before the first one all is at its default.
    notes: what a file held that this program does not know, in sentences.
    """

    song: str
    model: str
    hop: int
    quality: str
    rate: int
    channels: int
    length: int
    start_seconds: float = 0.0
    second: str = ""
    second_start_seconds: float = 0.0
    events: tuple[tuple[int, Mapping[str, float]], ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def timeline(self) -> Iterator[tuple[int, Snapshot]]:
        """The values from each sample on, in order."""
        values = Snapshot()
        for sample, changes in self.events:
            values = values.replace(**changes)
            yield sample, values

    def holding(self, values: Mapping[str, float]) -> Performance:
        """The same with some values that never change. Raises ParameterError."""
        kept = dict(Snapshot().replace(**values)) if values else {}
        held = {id: kept[id] for id in values}
        events = [(sample, {id: v for id, v in changes.items() if id not in held}) for sample, changes in self.events]
        if not events or events[0][0] > 0:
            events.insert(0, (0, {}))
        events[0] = (0, {**events[0][1], **held})
        return replace(self, events=tuple(events))


class Log:
    """Takes down a performance while it is played; `note` is cheap enough to be called before each block.

    full: the file would become larger than one may be; nothing is taken down from then on, and it ends there.
    """

    def __init__(self) -> None:
        self.full = False
        self._changes: list[tuple[int, tuple[float, ...]]] = []
        self._last: tuple[float, ...] | None = None
        self._bytes = 0
        self._end = 0

    def note(self, sample: int, snapshot: Snapshot) -> None:
        """Before a call of `Engine.process`: how many samples it was given so far, and the values of this call."""
        if snapshot.values_ == self._last or self.full:
            return
        if self._changes and self._changes[-1][0] == sample:  # no sample was played with the values before
            self._changes.pop()
            self._last = self._changes[-1][1] if self._changes else None
            if snapshot.values_ == self._last:
                return
        self._bytes += cost(self._last, snapshot.values_)
        if self._bytes > MAX_BYTES - HEADER_BYTES:
            self.full, self._end = True, sample
            return
        self._changes.append((sample, snapshot.values_))
        self._last = snapshot.values_

    def finish(self, length: int, **played: Any) -> Performance:
        """The performance; length: samples the engine was given in all; played: the other fields of Performance."""
        before: tuple[float, ...] | None = None
        events = []
        for sample, values in self._changes:
            # The first one holds all values, so that it sounds the same when a default has changed.
            changed = zip(PARAMETERS, values, before or (None,) * len(values), strict=True)
            events.append((sample, {p.id: value for p, value, old in changed if value != old}))
            before = values
        return Performance(length=self._end if self.full else length, events=tuple(events), **played)


def cost(before: tuple[float, ...] | None, after: tuple[float, ...]) -> int:
    """Bytes that an event takes in a file, at most."""
    changed = len(after) if before is None else sum(old != new for old, new in zip(before, after, strict=True))
    return 32 + 48 * changed


# -- files -------------------------------------------------------------------------------------------------------------
FIELDS = ("song", "model", "hop", "quality", "rate", "channels", "length")
OPTIONAL = ("start_seconds", "second", "second_start_seconds")


def save(path: Path, performance: Performance) -> None:
    """Write a performance, whole or not at all, one event a line. Raises PresetError."""
    header = {"format": FORMAT} | {key: getattr(performance, key) for key in FIELDS + OPTIONAL}
    events = ",\n".join(json.dumps([sample, dict(v)], allow_nan=False) for sample, v in performance.events)
    text = f'{json.dumps(header, indent=1, allow_nan=False)[:-2]},\n "events": [\n{events}\n]\n}}\n'
    if len(text) > MAX_BYTES:
        raise PresetError(f"The performance has too many events: its file would exceed {MAX_BYTES} bytes")
    write_text(path, text, "the performance")


def load(path: Path) -> Performance:
    """The performance in a file; ids that this program does not know are skipped and noted. Raises PresetError."""
    content = read_json(path, MAX_BYTES, WHAT)
    where = str(path)
    missing = [key for key in (*FIELDS, "events") if key not in content]
    if missing:
        raise PresetError(f"{where} is not {WHAT}: it has no {missing[0]}")
    rate = whole_number(content, "rate", LOWEST_RATE, HIGHEST_RATE, where)
    length = whole_number(content, "length", 0, MAX_SECONDS * rate, where)
    if content["quality"] not in QUALITIES:
        quality = shown(content["quality"])
        raise PresetError(f"{where}: its quality is {quality}; allowed are {', '.join(QUALITIES)}")
    events, unknown = read_events(content["events"], length, where)
    return Performance(
        song=path_text(content, "song", where),
        model=read_text(content, "model", MAX_TEXT, where),
        hop=whole_number(content, "hop", 1, WINDOW, where),
        quality=content["quality"],
        rate=rate,
        channels=whole_number(content, "channels", 1, MAX_CHANNELS, where),
        length=length,
        start_seconds=seconds(content, "start_seconds", where),
        second=path_text(content, "second", where),
        second_start_seconds=seconds(content, "second_start_seconds", where),
        events=events,
        notes=unknown_note(unknown),
    )


def read_events(content: object, length: int, where: str) -> tuple[tuple[tuple[int, dict[str, float]], ...], list[str]]:
    """The events, and all ids that this program does not know. Raises PresetError."""
    if not isinstance(content, list):
        raise PresetError(f"{where}: its events must be a list, not {shown(content)}")
    events, unknown, last = [], dict[str, None](), -1
    for number, event in enumerate(content, 1):
        place = f"{where}, event {number}"
        if not (isinstance(event, list) and len(event) == 2 and is_whole(event[0])):
            raise PresetError(f"{place}: it must be a sample's number and values by id, not {shown(event)}")
        if not last < event[0] <= length:
            raise PresetError(
                f"{place}: it is at sample {shown(event[0])}; allowed are {last + 1} to {length}, in order"
            )
        last = event[0]
        values, others = read_values(event[1], place)
        unknown.update(dict.fromkeys(others))
        events.append((last, values))
    return tuple(events), list(unknown)


def whole_number(content: Mapping[str, Any], key: str, low: int, high: int, where: str) -> int:
    """A whole number within its range. Raises PresetError."""
    value = content[key]
    if not (is_whole(value) and low <= value <= high):
        raise PresetError(f"{where}: its {key} is {shown(value)}; allowed are whole numbers from {low} to {high}")
    return int(value)


def seconds(content: Mapping[str, Any], key: str, where: str) -> float:
    """A place in a song. Raises PresetError."""
    value = content.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_START:
        raise PresetError(f"{where}: its {key} is {shown(value)}; allowed are 0 to {LATEST_START:g} seconds")
    return float(value)


def path_text(content: Mapping[str, Any], key: str, where: str) -> str:
    """A path as text, which may hold any character but one. Raises PresetError."""
    text = content.get(key, "")
    if not isinstance(text, str) or len(text) > MAX_TEXT or "\0" in text:
        raise PresetError(f"{where}: its {key} must be a path of at most {MAX_TEXT} characters, not {shown(text)}")
    return text


# -- replay ------------------------------------------------------------------------------------------------------------
def replay(engine: Engine, performance: Performance, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """A source's blocks, of any lengths, through an engine that was prepared as it was for the performance.

    What comes out is, to the bit, what came out then, delayed by the engine's latency as it was then; blocks beyond
    the performance are played with its last values.
    """
    timeline = performance.timeline()
    values, following, position = Snapshot(), next(timeline, None), 0
    for block in blocks:
        start = 0
        while start < block.shape[1]:
            while following is not None and following[0] <= position:
                values, following = following[1], next(timeline, None)
            end = block.shape[1]
            if following is not None:
                end = min(end, start + following[0] - position)
            yield engine.process(block[:, start:end], values)
            position += end - start
            start = end
