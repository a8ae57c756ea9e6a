"""What the commands print: tables, progress, and the last line that says what was done."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from rtae.errors import AudioFileError, ModelError
from rtae.spec import ModelSpec

if TYPE_CHECKING:
    from rtae.engine import Engine
    from rtae.export.verify import Verification
    from rtae.live_bench import Dropouts, LiveBench
    from rtae.params import Snapshot
    from rtae.training.config import TrainConfig
    from rtae.training.data import Survey
    from rtae.training.run import Report

console = Console(highlight=False)


def say(text: str) -> None:
    """One line; square brackets in it are no markup."""
    console.print(escape(text), soft_wrap=True)


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are any.

    >>> clock(3725), clock(65.4)
    ('1:02:05', '1:05')
    """
    if seconds == float("inf"):
        return "--:--"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@contextmanager
def bar(*columns: Any) -> Iterator[Progress]:
    """A progress bar that leaves nothing behind, and is not drawn where there is no terminal."""
    silent = not console.is_terminal
    with Progress(SpinnerColumn(), *columns, console=console, transient=True, disable=silent) as progress:
        yield progress


def write_json(path: Path, content: object) -> None:
    """Write figures, and say so. Raises AudioFileError."""
    save_json(path, content)
    say(f"Wrote {path}")


def save_json(path: Path, content: object) -> None:
    """Write figures beside the target and rename; what is not finite is null. Raises AudioFileError."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(json.dumps(jsonable(content), indent=1) + "\n")
        beside.replace(path)
    except OSError as error:
        raise AudioFileError(f"{path} cannot be written ({error.strerror}); choose another --json") from None
    finally:
        beside.unlink(missing_ok=True)


def jsonable(content: Any) -> Any:
    """The content with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {key: jsonable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [jsonable(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def check_json(path: Path | None) -> None:
    """Find out before the work that figures can be written there. Raises AudioFileError."""
    if path is not None and (path.is_dir() or not path.name or not path.absolute().parent.is_dir()):
        raise AudioFileError(f"{path} cannot be written: it is a folder, or is in none; choose another --json")


# -- playing and rendering -------------------------------------------------------------------------------------------
def rendering(source: Path, target: Path, engine: Engine, values: Snapshot, second: Path | None = None) -> None:
    """`rtae render`."""
    from time import perf_counter

    from rtae.render import render

    start = perf_counter()
    with bar(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")) as progress:
        task = progress.add_task(f"Rendering through {engine.model.spec.name}")
        result = render(
            source,
            target,
            engine,
            values,
            lambda done, total: progress.update(task, completed=done, total=total),
            second=second,
        )
    seconds = result.samples / result.rate
    say(
        f"Wrote {result.path}: {clock(seconds)} at {result.rate} Hz, {result.channels} channel"
        f"{'s' if result.channels > 1 else ''}, {seconds / (perf_counter() - start):.0f} times faster than real time"
    )
    if result.truncated:
        say(f"Note: {source} ends earlier than it says, or is damaged; what could be read was rendered")
    if result.repaired:
        say(f"Note: {result.repaired} samples were not finite and were silenced")
    if result.silent:
        say("Note: the result is silent")


# -- what there is ---------------------------------------------------------------------------------------------------
def model_table() -> None:
    """`rtae models`."""
    from rtae.models import available, shipped_folder

    table = Table("model", "preset", "rate", "latents", "per second", "sees back", "SI-SDR", "from")
    broken = []
    for name, folder in available().items():
        try:
            spec = ModelSpec.load(folder)
        except ModelError as error:
            broken.append(str(error))
            continue
        origin = "shipped" if folder.parent == shipped_folder() else "yours"
        past = f"{1000 * spec.reach.receptive_field / spec.sample_rate:.0f} ms" if spec.reach else "unknown"
        quality = spec.training.get("si_sdr_db")
        table.add_row(
            escape(name),
            escape(spec.preset),
            f"{spec.sample_rate} Hz",
            f"{spec.latent_dim} x",
            f"{spec.frame_rate:.0f}",
            past,
            f"{quality:.1f} dB" if isinstance(quality, int | float) else "-",
            origin,
        )
    console.print(table)
    if not table.row_count:
        say("No model can be used; export one with: rtae export RUN --name NAME")
    for error in broken:
        say(f"Not usable: {error}")


def device_table() -> None:
    """`rtae devices`."""
    from rtae.audio.device import NO_CARD
    from rtae.client import Client

    with Client() as client:  # listing may hang with a frozen sound server, which must not hang this process
        found = client.devices()
    table = Table("", "device", "through", "in", "out", "rate", "latency")
    for device in found:
        table.add_row(
            f"{device.index}{' *' if device.default else ''}",
            escape(device.name),
            device.host,
            str(device.inputs),
            str(device.outputs),
            f"{device.rate} Hz",
            f"{1000 * device.latency:.0f} ms",
        )
    console.print(table)
    say("* is the system's default" if found else NO_CARD)


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
    console.print(hops)
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
    console.print(ratios)
    console.print(latency)
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
    said = 0.0
    with until_ctrl_c() as stop, bar(BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn()) as progress:
        task = progress.add_task("Starting", total=60 * minutes * len(blocks))
        for number, block in enumerate(blocks):

            def report(seconds: float, streams: Sequence[Dropouts], number: int = number, block: int = block) -> None:
                nonlocal said
                line = f"blocks of {block}; dropouts so far: " + ", ".join(f"{s.name} {s.flags}" for s in streams)
                done = 60 * minutes * number + seconds
                progress.update(task, completed=done, description=escape(line))
                if not console.is_terminal and done >= said + 60:
                    said = 60 * (done // 60)
                    say(f"{said / 60:.0f} of {minutes * len(blocks):g} minutes: {line}")

            if not stop.is_set():
                results.append(live_bench(chosen, block, 60 * minutes, stop, report, notify=say))
                if target is not None:  # after each one, since they take long
                    save_json(target, [result.to_dict() for result in results])
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
    console.print(table)
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
        f"Until the window is there: {start['ours']:.2f} s, {start['ours'] / start['empty']:.2f} times what an empty "
        f"one takes ({start['empty']:.2f} s; medians, taken in turn)"
    )
    playing = measure_playing(60 * minutes)
    say(
        f"While it plays and draws everything: {playing['cpu']:.0%} of a core, {playing['frames_per_second']:.1f} "
        f"frames a second. A frame's work took {playing['slowest_frame_ms']:.0f} ms at most, the longest time between "
        f"two was {playing['longest_gap_ms']:.0f} ms. The window's thread was blocked for over 50 ms "
        f"{playing['frames_over_50_ms']} times in {clock(playing['seconds'])}"
    )
    if target is not None:
        write_json(target, [{"start_seconds": start, "playing": playing}])


def mebibytes(value: float) -> str:
    """In words, where there is such a value."""
    return f"{value:.1f} MiB" if math.isfinite(value) else "unknown"


# -- training and export ----------------------------------------------------------------------------------------------
def survey_folder(folder: Path, rate: int, crop: int) -> Survey:
    """Decode a folder with a progress bar, and say what was found."""
    from rtae.training.data import survey

    with bar(TextColumn("Reading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        found = survey(
            folder,
            rate,
            crop,
            lambda done, total, name: progress.update(task, completed=done, total=total, description=escape(name)),
        )
    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(found.rates().items()))
    say(f"{folder}: {len(found.tracks)} files, {found.minutes:.1f} minutes ({rates}); {len(found.skipped)} skipped")
    for reason, count in Counter(found.skipped.values()).most_common(8):
        say(f"  skipped {count}: {reason}")
    if found.repaired:
        say(f"  {found.repaired} samples were not finite and were silenced")
    return found


def training(
    config: TrainConfig,
    folder: Path,
    out: Path,
    held_out: Path | None,
    resume: bool,
    threads: int | None,
    start: str | None = None,
) -> None:
    """`rtae train`."""
    import torch

    from rtae.models import available
    from rtae.training.checkpoint import Checkpoint
    from rtae.training.run import prepare_run, train

    prepare_run(config, out, resume)
    begin = Checkpoint.load(available().get(start, Path(start))) if start else None
    if threads is not None:
        torch.set_num_threads(min(threads, os.cpu_count() or 1))
    rate, crop = config.net.sample_rate, config.crop
    material = survey_folder(folder, rate, crop)
    held = survey_folder(held_out, rate, crop) if held_out else None
    columns = (BarColumn(), TextColumn("{task.description}"))
    with bar(*columns) as progress:
        task = progress.add_task("starting", total=1.0)

        def report(at: Report) -> None:
            line = (
                f"step {at.step}, loss {at.loss:.3f}, {at.steps_per_second:.1f} steps/s, {clock(at.seconds_left)} left"
            )
            progress.update(task, completed=at.progress, description=line)
            if at.si_sdr is not None:
                say(f"step {at.step}: loss {at.loss:.3f}, SI-SDR {at.si_sdr:.2f} dB, MR-STFT {at.mr_stft:.3f}")
            if at.warning:
                say(f"  warning: {at.warning}")

        module = train(config, material, out, report, resume, held, start=begin)
    done = module.progress() >= 1
    say(f"{'Trained' if done else 'Stopped after'} {module.step} steps, {clock(module.elapsed())}; checkpoint in {out}")
    say(
        f"Next: rtae export {out} --name NAME"
        if done
        else f"Continue with the same command and --resume, or: rtae export {out} --name NAME"
    )


def verification_table(verification: Verification) -> None:
    """Checks and cost of an export."""
    checks = Table("check", "measured", "allowed", "")
    for check in verification.checks:
        checks.add_row(check.name, f"{check.value:.2g}", f"{check.limit:.2g}", "ok" if check.passed else "FAILED")
    console.print(checks)
    cost = Table("hop", "ms", "times real time", title="cost, one thread, mono")
    for row in verification.cost:
        cost.add_row(f"{row['hop']:.0f}", f"{row['milliseconds']:.2f}", f"{row['real_time_factor']:.0f}")
    console.print(cost)


def exporting(run: Path, name: str, into: Path | None, data: Path | None, licence: str, overwrite: bool) -> None:
    """`rtae export`."""
    from rtae.export.exporter import export
    from rtae.models import user_folder

    target = into or user_folder()
    with bar(TextColumn("{task.description}")) as progress:
        task = progress.add_task("")
        done = export(
            run,
            name,
            target,
            data,
            licence,
            overwrite,
            say=lambda text: progress.update(task, description=text.capitalize()),
            show=verification_table,
        )
    facts = done.spec.training
    say(
        f"On {facts['held_out_tracks']} held-out songs: SI-SDR {facts['si_sdr_db']:.2f} dB (linear code "
        f"{facts['linear_si_sdr_db']:.2f}), MR-STFT {facts['mr_stft']:.3f} (linear code {facts['linear_mr_stft']:.3f})"
    )
    own = into is None
    say(f"Wrote {done.folder}. Play it: rtae play SONG --model {name if own else done.folder}")
