"""What the commands print: tables, progress, and the last line that says what was done."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from rtae.errors import AudioFileError, ModelError
from rtae.spec import ModelSpec

if TYPE_CHECKING:
    from rtae.engine import Engine
    from rtae.params import Snapshot
    from rtae.render import Rendered

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
    """Write figures beside the target and rename; what is not finite is null. Raises AudioFileError."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(json.dumps(jsonable(content), indent=1) + "\n")
        beside.replace(path)
    except OSError as error:
        raise AudioFileError(f"{path} cannot be written ({error.strerror}); choose another --json") from None
    finally:
        beside.unlink(missing_ok=True)
    say(f"Wrote {path}")


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
@contextmanager
def shares(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar in percent, to be called with what is done and all there is."""
    with bar(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")) as progress:
        task = progress.add_task(escape(text))
        yield lambda done, total: progress.update(task, completed=done, total=total)


def rendering(source: Path, target: Path, engine: Engine, values: Snapshot, second: Path | None = None) -> None:
    """`rtae render`."""
    from time import perf_counter

    from rtae.render import render

    start = perf_counter()
    with shares(f"Rendering through {engine.model.spec.name}") as progress:
        result = render(source, target, engine, values, progress, second=second)
    seconds = result.samples / result.rate
    say(
        f"Wrote {result.path}: {clock(seconds)} at {result.rate} Hz, {result.channels} channel"
        f"{'s' if result.channels > 1 else ''}, {seconds / (perf_counter() - start):.0f} times faster than real time"
    )
    say_notes(result, source)


def say_notes(done: Rendered, source: Path) -> None:
    """What was wrong with what was rendered, and with what came of it."""
    if done.truncated:
        say(f"Note: {source} is cut short or damaged; what could be read was rendered")
    if done.repaired:
        say(f"Note: {done.repaired} samples were not finite and were silenced")
    if done.silent_source:
        say(f"Note: {source} is silent")
    if done.silent:
        say("Note: the result is silent")


# -- what there is ---------------------------------------------------------------------------------------------------
def model_table() -> None:
    """`rtae models`."""
    from rtae.models import available, shipped_folder
    from rtae.models.catalogue import check_networks

    table = Table("model", "preset", "rate", "latents", "per second", "sees back", "SI-SDR", "from")
    broken = []
    for name, folder in available().items():
        try:
            spec = ModelSpec.load(folder)
            check_networks(folder)
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
