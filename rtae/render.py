"""A whole file through the engine, faster than real time, into a new file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.audio.file import AudioReader
from rtae.audio.output import AudioWriter, check_output
from rtae.engine import Engine
from rtae.errors import AudioFileError
from rtae.params import Snapshot
from rtae.performance import Performance, replay
from rtae.source import FileSource, Generator, Source

FloatArray = NDArray[np.float32]
BLOCK = 1 << 15
SILENCE_PEAK = 10 ** (-80 / 20)


@dataclass(frozen=True)
class Rendered:
    """What came out: its length, its highest peak (full scale 1), and what was wrong with the input.

    repaired: samples of the input, and of the model's output, that were not finite; truncated: the input ends early;
    source_peak: the input's highest peak.
    """

    path: Path
    samples: int
    rate: int
    channels: int
    peak: float
    repaired: int
    truncated: bool
    source_peak: float

    @property
    def silent(self) -> bool:
        """Nothing to hear."""
        return self.peak < SILENCE_PEAK

    @property
    def silent_source(self) -> bool:
        """Nothing to hear in the input."""
        return self.source_peak < SILENCE_PEAK


class Peak:
    """The highest peak of what was added. level: full scale 1."""

    def __init__(self) -> None:
        self.level = 0.0

    def add(self, block: FloatArray) -> None:
        """One block more, (rows, n)."""
        self.level = max(self.level, float(np.abs(block).max(initial=0)))

    def watch(self, blocks: Iterator[FloatArray], rows: int) -> Iterator[FloatArray]:
        """Blocks as they pass, of which the first rows are added."""
        for block in blocks:
            self.add(block[:rows])
            yield block


def rendered_blocks(blocks: Iterator[FloatArray], engine: Engine, values: Snapshot) -> Iterator[FloatArray]:
    """Blocks (rows, n) through a prepared engine, its latency taken off: as many samples come out as went in."""
    skip = latency = engine.latency.total
    for block in blocks:
        out = engine.process(block, values)
        yield out[:, min(skip, out.shape[1]) :]
        skip -= min(skip, out.shape[1])
    while latency:
        count = min(latency, BLOCK)
        out = engine.process(np.zeros((engine.rows, count), np.float32), values)
        yield out[:, min(skip, count) :]
        skip -= min(skip, count)
        latency -= count


def read_blocks(reader: AudioReader) -> Iterator[FloatArray]:
    """The rest of a file."""
    while (block := reader.read(BLOCK)).shape[1]:
        yield block


def render(
    source: Path,
    target: Path,
    engine: Engine,
    values: Snapshot,
    progress: Callable[[int, int], None] = lambda *_: None,
    subtype: str | None = None,
    second: Path | None = None,
) -> Rendered:
    """Render a file at its own rate and channels.

    target: .wav or .flac; written beside and renamed, so a failure leaves what was there. progress: called with the
    samples that are done and those the source claims to have. second: a song whose latents the parameter
    `interpolation` mixes in. Raises AudioFileError, ParameterError.
    """
    check_output(source, target)
    with AudioReader(source) as reader, ExitStack() as stack:
        engine.prepare(reader.rate, reader.channels, second=second is not None)
        other = FileSource(second, reader.rate, reader.channels) if second is not None else None
        if other is not None:
            stack.callback(other.close)
        first = reader.read(BLOCK)
        if first.shape[1] == 0:
            raise AudioFileError(f"{source} holds no samples; choose a file with sound in it")
        done, before, after = 0, Peak(), Peak()
        with AudioWriter(target, reader.rate, reader.channels, subtype) as writer:
            blocks = before.watch(both(first, read_blocks(reader), other), reader.channels)
            for block in rendered_blocks(blocks, engine, values):
                writer.write(block)
                after.add(block)
                done += block.shape[1]
                progress(done, max(done, reader.info.samples))
        repaired = reader.repaired + engine.meters.broken
        facts = (after.level, repaired, reader.truncated, before.level)
        return Rendered(target, done, reader.rate, reader.channels, *facts)


def render_performance(
    performance: Performance,
    song: Path,
    target: Path,
    engine: Engine,
    progress: Callable[[int, int], None] = lambda *_: None,
    subtype: str | None = None,
    second: Path | None = None,
) -> Rendered:
    """Render what was played: the song from its place on, read as it was then, with every change of a value.

    song, second: files, or generators by name, in place of the performance's own. The engine's latency is taken off, as
    it is when a song is played; past the song's end there is silence, into which it fades as it did. See `render`.
    """
    check_output(song, target)
    rate, channels = performance.rate, performance.channels
    engine.prepare(rate, channels, second=second is not None)
    latency = engine.latency.total
    if performance.length <= latency:
        raise AudioFileError("Nothing was played in the performance; record a longer one")
    done, total, before, after = 0, performance.length - latency, Peak(), Peak()
    with ExitStack() as stack:
        sources = [open_at(song, rate, channels, performance.start_seconds)]
        stack.callback(sources[0].close)
        if second is not None:
            sources.append(open_at(second, rate, channels, performance.second_start_seconds))
            stack.callback(sources[1].close)
        writer = stack.enter_context(AudioWriter(target, rate, channels, subtype))
        blocks = before.watch(source_blocks(sources, performance.length), channels)
        for block in replay(engine, performance, blocks):
            late = min(latency, block.shape[1])
            latency -= late
            writer.write(block[:, late:])
            after.add(block[:, late:])
            done += block.shape[1] - late
            progress(done, total)
        readers = [source.reader for source in sources if isinstance(source, FileSource)]
        repaired = sum(reader.repaired for reader in readers) + engine.meters.broken
        truncated = any(reader.truncated for reader in readers)
        return Rendered(target, done, rate, channels, after.level, repaired, truncated, before.level)


def open_at(song: Path, rate: int, channels: int, seconds: float) -> Source:
    """A file or a generator at a place."""
    name = str(song)
    generator = name in Generator.KINDS
    source: Source = Generator(name, rate, channels) if generator else FileSource(song, rate, channels)
    if seconds:
        source.seek(seconds)
    return source


def source_blocks(sources: Sequence[Source], length: int) -> Iterator[FloatArray]:
    """So many samples of all sources, those of the second below."""
    while length:
        count = min(length, BLOCK)
        yield np.concatenate([source.read(count) for source in sources])
        length -= count


def both(first: FloatArray, rest: Iterator[FloatArray], other: FileSource | None) -> Iterator[FloatArray]:
    """One block, then the others, each with what a second source has for it below."""
    for block in chain([first], rest):
        yield block if other is None else np.concatenate([block, other.read(block.shape[1])])
