"""How well models reproduce music: track by track, beside the best linear code of each model's size and the paper's.

What was measured is kept in the user's cache folder, by the checksums of the file and of the system, so a run that was
interrupted goes on where it was, and one more model or track costs only what is new.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from platformdirs import user_cache_path

from rtae.audio.file import checksum_of, find_audio, read_audio, reason_of
from rtae.bench import hop_costs
from rtae.errors import AudioFileError, RtaeError
from rtae.metrics import METRICS, SILENCE, Metric, si_sdr_below
from rtae.systems import System, streamed_difference, systems_of

FloatArray = NDArray[np.float32]
Figures = dict[str, Any]  # a number by a metric's name, None where it is undefined; for octaves, numbers by band
Progress = Callable[[int, int, str], None]
LONGEST_SECONDS = 300
SHORTEST = 4096  # samples at the model's rate: the longest window of the STFT distance, twice
LOUDEST = 1000.0  # full scale 1; above it squares of spectra leave float32
METHOD = 1  # part of what is kept: one higher whenever a figure is computed in another way
BELOW_EDGE = "si_sdr_below_edge"
COST_HOP = 2048


@dataclass(frozen=True)
class Evaluation:
    """systems: the input, the models, and each before its model, its baselines. scores: by track, then by system.

    skipped: why a file could not be measured. missing: what to install for the figures that are not there.
    facts: what is known of a system as such, by its name: see `facts_of`.
    """

    systems: tuple[System, ...]
    scores: dict[str, dict[str, Figures]]
    skipped: dict[str, str]
    missing: tuple[str, ...] = ()
    facts: dict[str, Figures] = field(default_factory=dict)

    def mean(self, system: str) -> Figures:
        """Over the tracks where a figure is defined."""
        rows = [row[system] for row in self.scores.values()]
        result: Figures = {}
        for metric in {metric: None for row in rows for metric in row}:
            values = [row.get(metric) for row in rows]
            if any(isinstance(value, dict) for value in values):
                bands = {band: None for value in values for band in value or {}}
                result[metric] = {b: mean_of([v[b] for v in values if v and b in v]) for b in bands}
            else:
                result[metric] = mean_of(values)
        return result

    def undefined(self, system: str) -> dict[str, int]:
        """For how many tracks a figure is undefined and left out of the mean, where that is any."""
        rows = [row[system] for row in self.scores.values()]
        counts = {metric: sum(row.get(metric, 0) is None for row in rows) for row in rows for metric in row}
        return {metric: count for metric, count in counts.items() if count}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = [system.name for system in self.systems]
        return {
            "mean": {name: self.mean(name) for name in names},
            "undefined": {name: self.undefined(name) for name in names},
            "systems": self.facts,
            "tracks": self.scores,
            "skipped": self.skipped,
            "missing": list(self.missing),
        }


def mean_of(values: Sequence[float | None]) -> float | None:
    """Of those that there are.

    >>> mean_of([1.0, None, 2.0]), mean_of([None])
    (1.5, None)
    """
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


# -- what was measured before ------------------------------------------------------------------------------------------
def cache_folder() -> Path:
    """Where figures are kept; safe to delete."""
    return user_cache_path("rtae") / "evaluate"


class Kept:
    """The figures of one system, one JSON line a track, added as they are measured; a line that was cut is ignored."""

    def __init__(self, system: System, fresh: bool) -> None:
        self.path = cache_folder() / f"{system.checksum[:40]}.jsonl"
        self.figures: dict[str, Figures] = {}
        for line in [] if fresh else self.lines():
            try:
                entry = json.loads(line)
                self.figures.setdefault(entry["track"], {}).update(entry["figures"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def lines(self) -> list[str]:
        """None if the file cannot be read: then all is measured again."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def add(self, track: str, figures: Figures) -> None:
        """Remember them, here and on disk. Raises RtaeError where the disk refuses."""
        self.figures.setdefault(track, {}).update(figures)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The first line break ends a line that an earlier run may have left unfinished.
            with self.path.open("a", encoding="utf-8") as out:
                out.write(f"\n{json.dumps({'track': track, 'figures': figures})}\n")
        except OSError as error:
            raise RtaeError(
                f"The cache {self.path.parent} cannot be written: {reason_of(error)}; free or mend it"
            ) from None


# -- measuring ---------------------------------------------------------------------------------------------------------
def evaluate(
    folders: Sequence[Path],
    songs: Path,
    progress: Progress = lambda *_: None,
    metrics: Mapping[str, Metric] = METRICS,
    fresh: bool = False,
) -> Evaluation:
    """Measure models on a folder of songs, nested, each mixed to mono at the model's rate.

    metrics: by name; those whose packages are missing are left out. fresh: measure again what was measured before.
    Raises AudioFileError where there are no songs, ModelError for broken models.
    """
    systems = systems_of(folders)
    found = find_audio(songs)
    if not found:
        raise AudioFileError(f"No audio files in {songs}")
    usable = {name: metric for name, metric in metrics.items() if not metric.missing()}
    run = Run(systems, usable, {system.name: Kept(system, fresh) for system in systems})
    scores: dict[str, dict[str, Figures]] = {}
    skipped: dict[str, str] = {}
    for number, path in enumerate(found):
        name = path.relative_to(songs).as_posix()
        try:
            scores[name] = run.track(path, lambda at, n=number, f=name: progress(n, len(found), f"{f} {at}"))  # type: ignore[misc]
        except AudioFileError as error:
            skipped[name] = str(error)
    if not scores:
        raise AudioFileError(f"None of the files in {songs} could be measured: {next(iter(skipped.values()))}")
    progress(len(found), len(found), "streaming and cost")
    audio, rate = read_audio(songs / next(iter(scores)), max_seconds=LONGEST_SECONDS)
    facts = {system.name: facts_of(system, audio, rate) for system in systems}
    missing = dict.fromkeys(sentence for metric in metrics.values() if (sentence := metric.missing()))
    return Evaluation(systems, scores, skipped, tuple(missing), facts)


@dataclass(frozen=True)
class Run:
    """What is asked for: every system's figures, kept ones taken from `kept`, by the system's name."""

    systems: tuple[System, ...]
    metrics: Mapping[str, Metric]
    kept: dict[str, Kept]

    def track(self, path: Path, progress: Callable[[str], None]) -> dict[str, Figures]:
        """One file, by system. Raises AudioFileError where it cannot be measured."""
        progress("")
        key = checksum_of(path, METHOD, LONGEST_SECONDS)[:40]
        decoded: tuple[FloatArray, int] | None = None
        for system in self.systems:
            wanted = self.missing(system, key)
            if wanted:
                progress(f"through {system.name}")
                decoded = decoded or read_audio(path, max_seconds=LONGEST_SECONDS)
                figures = measure(system, resampled(*decoded, system.rate), {n: self.metrics[n] for n in wanted})
                self.kept[system.name].add(f"{key} {system.rate}", figures)
        return {system.name: self.figures(system, key) for system in self.systems}

    def wanted(self, system: System) -> list[str]:
        """The metrics that say something about a system."""
        return [name for name in self.metrics if not system.metrics or name in system.metrics]

    def missing(self, system: System, key: str) -> list[str]:
        """Those of a track that were not measured before."""
        there = self.kept[system.name].figures.get(f"{key} {system.rate}", {})
        return [name for name in self.wanted(system) if name not in there]

    def figures(self, system: System, key: str) -> Figures:
        """Those of a track, all measured by now; the one below the band edge goes with SI-SDR."""
        there = self.kept[system.name].figures.get(f"{key} {system.rate}", {})  # none if none are wanted
        wanted = self.wanted(system)
        order = [n for name in wanted for n in ([name, BELOW_EDGE] if name == "si_sdr" else [name])]
        return {name: there.get(name) for name in order}


def resampled(audio: FloatArray, rate: int, own: int) -> FloatArray:
    """Mono, (1, samples), at a model's rate. Raises AudioFileError where there is too little or too much to measure."""
    mono = audio.mean(axis=0)
    if float(np.abs(mono).max(initial=0)) > LOUDEST:
        raise AudioFileError("so loud that its figures are not finite")
    mono = mono if rate == own else soxr.resample(mono, rate, own)
    if len(mono) < SHORTEST or float(np.abs(mono).max()) < SILENCE:
        raise AudioFileError("too short or too quiet to be measured")
    return np.asarray(mono, np.float32)[None]


def measure(system: System, audio: FloatArray, metrics: Mapping[str, Metric]) -> Figures:
    """One system on one track, (1, samples) at its rate."""
    target = audio[0]
    output = np.ascontiguousarray(system.run(audio)[0, : len(target)])
    output = np.nan_to_num(output, nan=0.0, posinf=LOUDEST, neginf=-LOUDEST)
    figures = {name: metric.measure(target, output, system.rate) for name, metric in metrics.items()}
    if "si_sdr" in figures:
        edge = system.edge_hz
        figures[BELOW_EDGE] = None if edge is None else si_sdr_below(target, output, system.rate, edge)
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in figures.items()}


def facts_of(system: System, audio: FloatArray, rate: int) -> Figures:
    """What is known of a system as such.

    edge_hz: where its linear code ends. streamed_difference: between stream and whole, see `streamed_difference`, on
    one track. cost: of models, on one thread, for hops of 10 ms and of COST_HOP samples.
    """
    facts: Figures = {
        "kind": system.kind,
        "rate": system.rate,
        "edge_hz": system.edge_hz,
        "values_per_second": system.values_per_second,
    }
    if system.model is not None:
        facts["streamed_difference"] = streamed_difference(system.model, resampled(audio, rate, system.rate))
        facts["cost"] = [asdict(cost) for cost in hop_costs(system.model, (system.rate // 100, COST_HOP))]
    return facts
