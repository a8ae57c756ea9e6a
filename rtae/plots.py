"""Pictures of the experiments, drawn by matplotlib without a screen. Needs the extra `analysis`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtae.errors import AudioFileError

if TYPE_CHECKING:
    from rtae.analysis import Analysis
    from rtae.collapse import Course

FloatArray = NDArray[np.float32]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b", "#bcbd22", "#17becf")
FFT, HOP = 1024, 256
GREY = "#8a8f98"
DPI = 110
POINTS = 2000  # columns in which a waveform is drawn; more cannot be seen
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "rtae",
    "text.parse_math": False,  # a song's name may hold dollars
}
FORMATS = ("png", "svg")


def drawable(name: str) -> str:
    """A song's name, whose bytes may be no text, as something that can be drawn."""
    return name.encode("utf-8", "replace").decode("utf-8")


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def image(drawn: Figure, kind: str = "png") -> bytes:
    """The figure as a file's content; the same each time."""
    out = BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        drawn.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()


def save(drawn: Figure, path: Path) -> None:
    """Write a figure beside its place, and rename it; png or svg by suffix. Raises AudioFileError."""
    kind = path.suffix.lower().lstrip(".")
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(image(drawn, kind))
        beside.replace(path)
    except OSError as error:
        raise AudioFileError(f"{path} cannot be written ({error.strerror}); choose another --out") from None
    finally:
        beside.unlink(missing_ok=True)


def wave(
    axis: Any, audio: FloatArray, rate: int, colour: str, alpha: float = 1.0, start: float = 0, width: float = 0.9
) -> None:
    """One waveform: line where there are few samples, otherwise what lies between the peaks."""
    if len(audio) <= 2 * POINTS:
        axis.plot(start + np.arange(len(audio)) / rate, audio, color=colour, linewidth=width, alpha=alpha)
        return
    size = len(audio) // POINTS
    columns = audio[: len(audio) // size * size].reshape(-1, size)
    seconds = start + np.arange(len(columns)) * size / rate
    low, high = columns.min(axis=1), columns.max(axis=1)
    axis.fill_between(seconds, low, high, color=colour, alpha=alpha, linewidth=0.3)


def spectrogram(axis: Any, audio: FloatArray, rate: int) -> None:
    """Power in dB over time and frequency, 90 dB deep."""
    count = -(-len(audio) // HOP)
    padded = np.pad(audio, (FFT // 2, FFT // 2 + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:count] * np.hanning(FFT)
    level = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)) / (FFT / 4) + 1e-9)  # a full tone has 0 dB
    extent = (0, len(audio) / rate, 0, rate / 2)
    axis.imshow(level.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-100, vmax=-10)
    axis.set_ylabel("Hz")


def overlay(original: FloatArray, outputs: Mapping[str, FloatArray], rate: int, title: str) -> Figure:
    """Waveforms on top of each other, as a whole and 20 ms around the loudest moment, and spectrograms."""
    with rc_context(STYLE):
        drawn = figure(11, 2.3 * len(outputs) + 0.3)
        axes = drawn.subplots(len(outputs), 3, squeeze=False, width_ratios=[2, 1.2, 1.6], sharex="col")
        half = max(8, rate // 100)
        middle = int(np.clip(np.argmax(np.abs(original)), half, max(half, len(original) - half)))
        near = slice(middle - half, middle + half)
        for row, (name, output) in zip(axes, outputs.items(), strict=True):
            wave(row[0], original, rate, GREY, 0.9)
            wave(row[0], output, rate, COLOURS[0], 0.55)
            row[0].set_ylabel(name)
            wave(row[1], original[near], rate, GREY, start=near.start / rate, width=3)
            wave(row[1], output[near], rate, COLOURS[1], start=near.start / rate)
            spectrogram(row[2], output, rate)
        axes[0, 0].set_title(drawable(title))
        axes[0, 1].set_title("20 ms: the song grey, the output red")
        axes[0, 2].set_title("spectrogram of the output")
        for axis in axes[-1]:
            axis.set_xlabel("seconds")
    return drawn


def waves(sounds: Mapping[str, FloatArray], rate: int, title: str) -> Figure:
    """Waveforms and spectrograms, one sound below the other."""
    with rc_context(STYLE):
        drawn = figure(11, 1.25 * len(sounds) + 0.4)
        axes = drawn.subplots(len(sounds), 2, squeeze=False, sharex=True)
        top = max(1e-3, *(float(np.abs(sound).max(initial=0)) for sound in sounds.values()))
        for number, (row, (name, sound)) in enumerate(zip(axes, sounds.items(), strict=True)):
            wave(row[0], sound, rate, COLOURS[number % len(COLOURS)])
            row[0].set_ylim(-top, top)
            row[0].set_ylabel(fill(drawable(name), 16), rotation=0, ha="right", va="center")
            spectrogram(row[1], sound, rate)
        axes[0, 0].set_title(drawable(title))
        for axis in axes[-1]:
            axis.set_xlabel("seconds")
    return drawn


def scatter(analyses: Mapping[str, Analysis], title: str) -> Figure:
    """All models' clips on the plane of their first two components, in one picture."""
    with rc_context(STYLE):
        drawn = figure(6.5, 5)
        axis = drawn.subplots()
        for colour, (name, analysis) in zip(COLOURS, analyses.items(), strict=False):
            scores, share = analysis.embedding.scores, analysis.embedding.explained
            label = f"{name}: {100 * share[0]:.1f} % + {100 * (share[1] if len(share) > 1 else 0):.1f} %"
            axis.scatter(*plane(scores), s=14, color=colour, alpha=0.6, linewidths=0, label=label)
        axis.set_title(title)
        axis.set_xlabel("first component")
        axis.set_ylabel("second component")
        axis.legend(title="variance explained")
    return drawn


def plane(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two columns; zeros where there is one."""
    return scores[:, 0], scores[:, 1] if scores.shape[1] > 1 else np.zeros(len(scores))


def elbows(analyses: Mapping[str, Analysis], title: str) -> Figure:
    """What is left within clusters, by their number, with the line that finds the elbow."""
    with rc_context(STYLE):
        drawn = figure(3.6 * len(analyses), 3.2)
        axes = drawn.subplots(1, len(analyses), squeeze=False)[0]
        for axis, colour, (name, analysis) in zip(axes, COLOURS, analyses.items(), strict=False):
            inertias = np.array([one.inertia for one in analysis.tried])
            share, numbers = 100 * inertias / inertias[0], np.arange(1, len(inertias) + 1)
            axis.plot(numbers[[0, -1]], share[[0, -1]], color=GREY, linestyle="--", linewidth=1)
            axis.plot(numbers, share, color=colour, marker="o", markersize=4)
            axis.plot([analysis.elbow], [share[analysis.elbow - 1]], "o", color="k", fillstyle="none", markersize=12)
            axis.set_title(f"{name}: elbow at {analysis.elbow}")
            axis.set_xlabel("clusters")
            axis.set_ylim(0)
        axes[0].set_ylabel("squared distance to the centres, %")
        drawn.suptitle(title)
    return drawn


def silhouettes(analyses: Mapping[str, Analysis], title: str) -> Figure:
    """The silhouette score by number of clusters, all models in one picture; the elbow is ringed."""
    with rc_context(STYLE):
        drawn = figure(6.5, 3.4)
        axis = drawn.subplots()
        for colour, (name, analysis) in zip(COLOURS, analyses.items(), strict=False):
            scores = [one.silhouette for one in analysis.tried[1:]]
            axis.plot(range(2, len(scores) + 2), scores, color=colour, marker="o", markersize=4, label=name)
            if analysis.elbow > 1:
                axis.plot([analysis.elbow], [analysis.best.silhouette], "o", color="k", fillstyle="none", markersize=12)
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_xlabel("clusters")
        axis.set_ylabel("silhouette")
        axis.set_title(title)
        axis.legend()
    return drawn


def clusters(analyses: Mapping[str, Analysis], title: str) -> Figure:
    """The clusters at the elbow on the plane of two components, with their centres, one model beside the other."""
    with rc_context(STYLE):
        drawn = figure(3.8 * len(analyses), 3.7)
        axes = drawn.subplots(1, len(analyses), squeeze=False)[0]
        for axis, (name, analysis) in zip(axes, analyses.items(), strict=True):
            best = analysis.best
            across, up = plane(analysis.embedding.scores)
            for label in range(best.k):
                mine = best.labels == label
                colour = COLOURS[label % len(COLOURS)]
                axis.scatter(
                    across[mine], up[mine], s=12, color=colour, alpha=0.7, linewidths=0, label=str(int(mine.sum()))
                )
            axis.scatter(*plane(best.centres), marker="X", s=60, color="k", linewidths=0)
            axis.set_title(f"{name}: {best.k} clusters, silhouette {best.silhouette:.2f}")
            axis.set_xlabel("first component")
            axis.legend(title="clips", fontsize=8)
        axes[0].set_ylabel("second component")
        drawn.suptitle(title)
    return drawn


def decoders(original: FloatArray, outputs: Sequence[tuple[str, FloatArray]], rate: int, song: str) -> Figure:
    """The same song through several decoders, below the song itself."""
    return waves({"the song": original, **dict(outputs)}, rate, song)


def courses(trained: Sequence[Course], titles: Mapping[str, str]) -> Figure:
    """Trainings of a variational autoencoder side by side: loss, what the latents carry, quality."""
    with rc_context(STYLE):
        drawn = figure(11, 6.4)
        axes = drawn.subplots(2, 3)
        loss, kl, quality = axes[0]
        active, principal, dimensions = axes[1]
        count, width = trained[0].dimensions.shape[1], 0.8 / len(trained)
        lines = []
        for number, (colour, course) in enumerate(zip(COLOURS, trained, strict=False)):
            look: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3}
            loss.plot(course.steps, course.loss / course.loss[0], label=course.fall, **look)
            kl.plot(course.steps, course.kl, **look)
            lines += quality.plot(course.steps, course.si_sdr, label=titles[course.name], **look)
            active.plot(course.steps, course.active, **look)
            principal.plot(course.steps, course.dimensions_95, **look)
            places = np.arange(1, count + 1) + (number - (len(trained) - 1) / 2) * width
            dimensions.bar(places, course.dimensions[-1], width, color=colour)
        loss.set_title("loss, as a share of the first one")
        loss.set_ylim(0)
        loss.legend(loc="upper right")
        kl.set_title("KL, nats per frame")
        kl.set_yscale("symlog", linthresh=1)
        kl.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        quality.set_title("SI-SDR of held-out songs, dB")
        active.set_title("dimensions that move")
        principal.set_title("components with 95 % of the variance")
        for axis in (active, principal):
            axis.axhline(count, color=GREY, linestyle="--", linewidth=1)
            axis.set_ylim(0, 1.1 * count)
        dimensions.set_title("nats of each dimension, at the end")
        dimensions.set_xlabel("dimension")
        dimensions.set_xticks(range(1, count + 1, max(1, count // 8)))
        for axis in (loss, kl, quality, active, principal):
            axis.set_xlabel("step")
        drawn.legend(handles=lines, loc="outside lower center", ncols=len(trained))
    return drawn
