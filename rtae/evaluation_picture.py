"""The picture of an evaluation: bars for each figure, then three tracks of each model as waves and spectrograms.

The three are the worst, the median and the best by SI-SDR. Needs the extra `analysis`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from rtae.audio.file import read_audio, reason_of
from rtae.errors import AudioFileError
from rtae.evaluate import BELOW_EDGE, LONGEST_SECONDS, Evaluation, resampled
from rtae.metrics import METRICS, middle
from rtae.systems import System

FloatArray = NDArray[np.float32]
INK, DIM, PAPER, PANEL = "#d8dee9", "#7b8494", "#14171c", "#1b1f26"
COLOURS = ("#7b8494", "#5fb3b3", "#c594c5", "#ec5f67", "#99c794", "#f99157", "#6699cc", "#fac863", "#ab7967")
WIDTH, BARS_HEIGHT, OCTAVES_HEIGHT, ROW_HEIGHT = 15.0, 4.6, 2.6, 2.3
SECONDS = 10.0
WAVE_SECONDS = 0.02
LOUD_DB, SOFT_DB = -30.0, -130.0
DPI = 80
BARS = {
    "snr": METRICS["snr"].label,
    "si_sdr": METRICS["si_sdr"].label,
    BELOW_EDGE: "SI-SDR dB below the edge",
    **{name: metric.label for name, metric in METRICS.items() if name not in ("snr", "si_sdr", "octaves")},
}

LESS_IS_BETTER = {name for name, metric in METRICS.items() if metric.best == 0}


def draw(result: Evaluation, songs: Path, target: Path) -> None:
    """Write a PNG, beside and renamed. Raises AudioFileError where it cannot be written."""
    models = [system for system in result.systems if system.kind == "model"]
    chosen = {system.name: extremes(result, system.name) for system in models}
    rows = sum(map(len, chosen.values()))
    height = BARS_HEIGHT + OCTAVES_HEIGHT + ROW_HEIGHT * rows
    with mpl.rc_context({"text.color": INK, "axes.labelcolor": DIM, "xtick.color": DIM, "ytick.color": DIM}):
        figure = Figure(figsize=(WIDTH, height), facecolor=PAPER, layout="constrained")
        parts: Any = figure.subfigures(3, 1, height_ratios=[BARS_HEIGHT, OCTAVES_HEIGHT, max(ROW_HEIGHT * rows, 0.1)])
        for part in parts:
            part.set_facecolor(PAPER)
        bars, octaves, tracks = parts
        draw_bars(bars, result)
        draw_octaves(octaves, result)
        if rows:
            axes = tracks.subplots(rows, 4, squeeze=False, width_ratios=[1.2, 1, 1, 1])
            pairs = [(system, *pick) for system in models for pick in chosen[system.name]]
            for row, (system, kind, track) in zip(axes, pairs, strict=True):
                draw_track(row, system, f"{kind} of {system.name}", songs / track, track)
        save(figure, target)


def save(figure: Figure, target: Path) -> None:
    """Beside and renamed. Raises AudioFileError."""
    beside = target.with_name(target.name + ".part")
    try:
        figure.savefig(beside, dpi=DPI, facecolor=PAPER, format="png")
        beside.replace(target)
    except OSError as error:
        raise AudioFileError(f"{target} cannot be written ({reason_of(error)}); choose another --picture") from None
    finally:
        beside.unlink(missing_ok=True)


def extremes(result: Evaluation, system: str) -> list[tuple[str, str]]:
    """What it is, and the track: worst, median and best by SI-SDR; fewer where there are not three tracks."""
    order = sorted(result.scores, key=lambda track: result.scores[track][system].get("si_sdr") or 0.0)
    picks = {len(order) - 1: "best", 0: "worst"}
    if len(order) > 2:
        picks[len(order) // 2] = "median"
    return [(picks[at], order[at]) for at in sorted(picks)]


def colours_of(result: Evaluation) -> dict[str, str]:
    """One for each system."""
    return {system.name: COLOURS[number % len(COLOURS)] for number, system in enumerate(result.systems)}


def dress(axes: Axes, title: str) -> None:
    """The looks that all panels share."""
    axes.set_facecolor(PANEL)
    axes.set_title(title, fontsize=9, color=INK, parse_math=False)
    axes.tick_params(labelsize=7, length=2)
    for spine in axes.spines.values():
        spine.set_color("#333a45")


def draw_bars(part: Any, result: Evaluation) -> None:
    """One panel for each figure, one bar for each system that has it."""
    means = {system.name: result.mean(system.name) for system in result.systems}
    shown = [name for name in BARS if any(row.get(name) is not None for row in means.values())]
    colours = colours_of(result)
    columns = 4
    panels = part.subplots(max(1, -(-len(shown) // columns)), columns, squeeze=False).ravel()
    for axes, name in zip(panels, shown, strict=False):
        values = {system: row[name] for system, row in means.items() if row.get(name) is not None}
        bars = axes.bar(
            range(len(values)), list(values.values()), color=[colours[system] for system in values], width=0.7
        )
        axes.bar_label(bars, fmt="%.3g", fontsize=7, color=INK, padding=1)
        axes.margins(y=0.15)
        axes.set_xticks([])
        dress(axes, f"{BARS[name]} ({'less' if name in LESS_IS_BETTER else 'more'} is better)")
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles = [Patch(color=colours[system.name], label=system.name) for system in result.systems]
    legend = part.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8), fontsize=9)
    legend.get_frame().set(facecolor=PAPER, edgecolor=PAPER)


def draw_octaves(part: Any, result: Evaluation) -> None:
    """One line for each system: energy of the output against the input."""
    axes = part.subplots()
    colours = colours_of(result)
    bands: dict[str, None] = {}
    for system in result.systems:
        octaves = result.mean(system.name).get("octaves") or {}
        bands.update(dict.fromkeys(octaves))
        there = {band: value for band, value in octaves.items() if value is not None}
        axes.plot(list(there), list(there.values()), "o-", color=colours[system.name], markersize=4, linewidth=1.2)
    axes.axhspan(-3, 3, color=INK, alpha=0.06, linewidth=0)
    axes.axhline(0, color=DIM, linewidth=0.6)
    axes.set_ylim(-30, 6)
    dress(axes, "Energy of the output against the input, dB, by octave (Hz); the band is within 3 dB")


def draw_track(row: Any, system: System, kind: str, path: Path, name: str) -> None:
    """A short stretch of both waves, and spectrograms of input, output and difference."""
    audio = resampled(*read_audio(path, max_seconds=LONGEST_SECONDS), system.rate)
    output = system.run(audio)[:, : audio.shape[1]]
    target, got = (middle(sound[0], system.rate, SECONDS) for sound in (audio, output))
    count = min(len(target), round(WAVE_SECONDS * system.rate))
    start = int(np.clip(int(np.abs(target).argmax()) - count // 2, 0, len(target) - count))
    time = 1000 * np.arange(count) / system.rate
    waves, *spectrograms = row
    waves.plot(time, target[start : start + count], color=INK, linewidth=1.0, label="input")
    waves.plot(time, got[start : start + count], color="#f99157", linewidth=1.0, label="output")
    waves.margins(x=0, y=0.25)
    waves.set_xlabel("ms, around the loudest sample", fontsize=7)
    legend = waves.legend(fontsize=7, loc="upper right", ncols=2)
    legend.get_frame().set(facecolor=PANEL, edgecolor=PANEL)
    dress(waves, f"{kind}: {name if len(name) < 36 else '...' + name[-33:]}")
    sounds = {"input": target, "output": got, "difference": got - target}
    for axes, (title, sound) in zip(spectrograms, sounds.items(), strict=True):
        draw_spectrogram(axes, sound, system.rate)
        dress(axes, title)


def draw_spectrogram(axes: Axes, sound: FloatArray, rate: int) -> None:
    """In dB, on a scale that is the same everywhere; white noise, so soft that it lies below it, stands for silence."""
    size = min(1024, len(sound))
    hiss = np.random.default_rng(0).normal(0, 1e-7, len(sound))  # the logarithm of 0 is a warning
    axes.specgram(sound + hiss, NFFT=size, Fs=rate, noverlap=size * 3 // 4, cmap="magma", vmin=SOFT_DB, vmax=LOUD_DB)
    ticks = [hz for hz in (2000, 4000, 6000, 8000, 10_000, 15_000, 20_000) if hz <= rate / 2]
    axes.set_yticks(ticks, [f"{hz // 1000}k" for hz in ticks])
    axes.set_ylim(0, rate / 2)
    axes.set_xlabel("seconds", fontsize=7)
