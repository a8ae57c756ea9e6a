"""What `rtae bench` prints: costs, dropouts, memory, the window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtae import show
from rtae.show import bar, check_json, clock, say, write_json

if TYPE_CHECKING:
    from rtae.live_bench import Dropouts, LiveBench


def bench_table(names: Sequence[str], target: Path | None) -> None:
    """`rtae bench`."""
    from rtae.bench import DEVICE_RATE, bench
    from rtae.models import available, find
    from rtae.runtime import OnnxModel

    check_json(target)
    chosen = [find(name) for name in names] or list(available().values())
    results = []
    with bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        for folder in chosen:
            progress.update(task, description=f"Measuring {folder.name}")
            results.append(bench(OnnxModel.load(folder)))
    hops = Table("model", "hop", "encode", "decode", "times real time", title="onnxruntime, one thread, mono")
    for result in results:
        for cost in result.hops:
            hops.add_row(
                escape(result.model),
                str(cost.hop),
                f"{cost.encode_ms:.3f} ms",
                f"{cost.decode_ms:.3f} ms",
                f"{cost.real_time_factor:.0f}",
            )
    show.console.print(hops)
    ratios = Table("model", "engine / bare onnxruntime", "engine, times real time", "full windows / slices")
    latency = Table("model", "hop", "crossfade", "look-ahead", "resampling", "limiter", "sum", title="latency, samples")
    for result in results:
        ratios.add_row(
            escape(result.model),
            f"{result.engine_over_bare:.2f}",
            f"{result.real_time_factor:.0f}",
            f"{result.full_over_slices:.1f}",
        )
        parts = [str(value) for value in asdict(result.latency).values()]
        latency.add_row(escape(result.model), *parts, f"{result.latency.total} = {result.latency_ms} ms")
    show.console.print(ratios)
    show.console.print(latency)
    say(f"Ratios: hops of about 2048 samples, full windows at about 2205. Latency: at {DEVICE_RATE} Hz.")
    if target is not None:
        write_json(target, [result.to_dict() for result in results])


def live_bench_table(names: Sequence[str], minutes: float, blocks: Sequence[int], target: Path | None) -> None:
    """`rtae bench --live`."""
    from rtae.live import until_ctrl_c
    from rtae.live_bench import live_bench
    from rtae.models import available, find

    check_json(target)
    chosen = [find(name) for name in names] or list(available().values())
    results: list[LiveBench] = []
    with until_ctrl_c() as stop, bar(BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()) as progress:
        task = progress.add_task("Starting", total=60 * minutes * len(blocks))
        for number, block in enumerate(blocks):

            def report(seconds: float, streams: Sequence[Dropouts], number: int = number, block: int = block) -> None:
                flags = ", ".join(f"{stream.name} {stream.flags}" for stream in streams)
                progress.update(
                    task,
                    completed=60 * minutes * number + seconds,
                    description=escape(f"blocks of {block}; dropouts so far: {flags}"),
                )

            if not stop.is_set():
                results.append(live_bench(chosen, block, 60 * minutes, stop, report, notify=say))
    print_dropouts(results)
    if target is not None:
        write_json(target, [result.to_dict() for result in results])


def print_dropouts(results: Sequence[LiveBench]) -> None:
    """One row for each stream."""
    table = Table("block", "stream", "dropouts", "late", "dips", "load", "restarts", "minutes")
    for result in results:
        for stream in result.streams:
            ours = ("-" if value is None else str(value) for value in (stream.late, stream.dips))
            load = "-" if stream.load is None else f"{stream.load:.0%}"
            restarts = "-" if stream.restarts is None else str(stream.restarts)
            row = (str(result.block), escape(stream.name), str(stream.flags), *ours, load, restarts)
            table.add_row(*row, f"{result.seconds / 60:.1f}")
        table.add_section()
    show.console.print(table)
    if results:
        first = results[0]
        say(
            f"On {first.device}, {first.rate} Hz, device latency {first.device_latency_ms:.0f} ms; all at one time "
            "and beside a window that stalls 500 ms every second and a process that burns one core. Dropouts are the "
            "device's; late samples and dips are of our own ring."
        )


def soak_table(name: str, minutes: float, target: Path | None) -> None:
    """`rtae bench --soak`."""
    from rtae.live import until_ctrl_c
    from rtae.live_bench import soak
    from rtae.models import find

    check_json(target)
    folder = find(name)
    with until_ctrl_c() as stop, bar(BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()) as progress:
        task = progress.add_task("Starting", total=60 * minutes)

        def report(seconds: float, mb: float) -> None:
            progress.update(task, completed=seconds, description=f"{mb:.1f} MiB")

        done = soak(folder, 60 * minutes, stop, report, notify=say)
    stream = done.stream
    say(
        f"Memory of the audio process with {stream.name}: {done.start_mb:.1f} MiB at the start, "
        f"{mebibytes(done.minute_mb)} after one minute, {mebibytes(done.end_mb)} after {clock(done.seconds)}; growth "
        f"after the first minute: {mebibytes(done.growth_mb)}"
    )
    say(f"Device dropouts: {stream.flags}; late samples: {stream.late}; restarts: {stream.restarts}")
    if target is not None:
        write_json(target, done.to_dict())


def window_table(minutes: float, target: Path | None) -> None:
    """`rtae bench --window`."""
    from rtae.gui.bench import measure_playing, measure_start

    check_json(target)
    start = measure_start()
    say(
        f"Until the window can be used: {start['ours']:.2f} s, {start['ours'] / start['empty']:.2f} times what an "
        f"empty one takes ({start['empty']:.2f} s; medians, taken in turn)"
    )
    playing = measure_playing(60 * minutes)
    say(
        f"While it plays and draws everything: {playing['cpu']:.0%} of a core, {playing['frames_per_second']:.1f} "
        f"frames a second. A frame's work took {playing['slowest_frame_ms']:.0f} ms at most, the longest time between "
        f"two was {playing['longest_gap_ms']:.0f} ms. The window's thread was busy for "
        f"{playing['longest_block_ms']:.0f} ms at a stretch, at most, and for over 50 ms "
        f"{playing['blocked_over_50_ms']} times in {clock(playing['seconds'])}"
    )
    if target is not None:
        write_json(target, [{"start_seconds": start, "playing": playing}])


def mebibytes(value: float) -> str:
    """In words, where there is such a value."""
    return f"{value:.1f} MiB" if math.isfinite(value) else "unknown"
