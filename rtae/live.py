"""`rtae play`, `rtae live` and `rtae latency`: the command line as a client of the audio process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from rtae.audio.file import AudioReader
from rtae.client import Client
from rtae.demo import DEMO_PATH
from rtae.errors import AudioFileError, DeviceError, DisturbedError, RtaeError
from rtae.params import TABLE, Snapshot
from rtae.setup import GENERATORS, MICROPHONE, Setup
from rtae.shared import Status
from rtae.show import bar, clock, say

POLL_SECONDS = 0.1
GUARD_SHOWN_DB = -1.0
SETTLE_SECONDS = 0.5
MISSING_SECONDS = 1.0
ATTEMPTS = 3  # to measure something while nothing is disturbed
LEAST_DRIFT_MS = 1.0  # of a delay that is stated, so that it counts as one


@contextmanager
def until_ctrl_c() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def describe(setup: Setup, facts: dict[str, Any]) -> str:
    """The device, the latency in its parts, and the hop if that was left to us, in words."""
    rate = facts["rate"]
    parts = ", ".join(f"{name.replace('_', ' ')} {1000 * n / rate:.0f}" for name, n in facts["latency"].items() if n)
    total = 1000 * sum(facts["latency"].values()) / rate
    hop = "" if setup.hop else f"; a hop of {facts['hop']} samples, found by measuring (--hop sets another)"
    return f"{facts['device']}, {rate} Hz, blocks of {facts['block']}; latency {total:.0f} ms ({parts}){hop}"


def play_songs(setup: Setup, songs: Sequence[str], values: Snapshot, record: Path | None, dry: bool) -> None:
    """Songs, one after another. Raises AudioFileError at once where one of them cannot be read."""
    for song in (*songs, *filter(None, [setup.second])):
        check_song(song)
    with Client(say) as client, until_ctrl_c() as stop:
        client.set(values)
        facts = client.configure(replace(setup, source=songs[0]))
        say(f"On {describe(setup, facts)}. Ctrl-C stops.")
        start_recording(client, record, dry)
        with bar(BarColumn(), TextColumn("{task.description}")) as progress:
            for number, song in enumerate(songs):
                try:
                    if number:
                        client.open(song)
                except AudioFileError as error:  # since it was checked
                    say(f"{error}. It is left out")
                    continue
                client.play()
                name = Path(song).name
                say(f"Playing {name} through {Path(setup.model).name}")
                length = stated_seconds(song)
                end = follow(client, stop, progress)
                if end.ended and end.position < length - MISSING_SECONDS:
                    say(f"Note: {name} is damaged or cut short: it ended after {clock(end.position)}")
                if stop.is_set():
                    break
        finish(client)


def check_song(song: str) -> None:
    """Raise AudioFileError if it is a file that cannot be read."""
    if song not in GENERATORS:
        with AudioReader(Path(song)):
            pass


def stated_seconds(song: str) -> float:
    """The length of a song, if its header can be trusted to say it, else 0. Says so where the song is cut short."""
    if song in GENERATORS:
        return 0.0
    with AudioReader(Path(song)) as reader:
        if reader.truncated:
            say(f"Note: {Path(song).name} is cut short; what there is of it is played")
        return 0.0 if reader.truncated or reader.info.guessed else reader.info.seconds


def play_live(setup: Setup, values: Snapshot, record: Path | None, dry: bool) -> None:
    """The microphone, until Ctrl-C."""
    with Client(say) as client, until_ctrl_c() as stop:
        client.set(values)
        facts = settled(client, replace(setup, source=MICROPHONE, playing=True))
        say(f"On {describe(setup, facts)}. Use headphones: speakers may feed back. Ctrl-C stops.")
        start_recording(client, record, dry)
        with bar(TextColumn("{task.description}")) as progress:
            follow(client, stop, progress)
        finish(client)


def start_recording(client: Client, record: Path | None, dry: bool) -> None:
    """If it is wanted."""
    if record is not None:
        say(f"Recording to {client.record(str(record), dry)}")


def follow(client: Client, stop: threading.Event, progress: Progress) -> Status:
    """Show where it stands until the source ends or Ctrl-C; the last that was shown."""
    task, at = progress.add_task(""), client.status()
    while not stop.wait(POLL_SECONDS):
        at = client.status()
        line = f"{clock(at.position)}{f' / {clock(at.duration)}' if at.duration else ''}   late {at.late:.0f} samples"
        if at.guard_db < GUARD_SHOWN_DB:
            line += f"   feedback: turned down by {-at.guard_db:.0f} dB"
        progress.update(task, completed=at.position, total=at.duration or None, description=line)
        if at.ended:
            break
    progress.remove_task(task)
    return at


def finish(client: Client) -> None:
    """Fade out, end the recording, sum up."""
    at = client.status()
    try:
        client.pause()
        seconds = client.stop_recording()
    except DeviceError:
        seconds = 0.0
    if seconds:
        say(f"Recorded {clock(seconds)}")
    say(
        f"Stopped at {clock(at.position)}; {at.late:.0f} samples came late, {at.overflows:.0f} were lost at the "
        f"input, {at.flags:.0f} times the device ran dry or over"
    )


def latency_report(setup: Setup, measure: bool = False) -> None:
    """The parts of the latency on this machine, for a song and for the microphone; also as measured, if wanted."""
    with Client(say) as client:
        song = replace(setup, source=str(DEMO_PATH), mode="relaxed", hop=2048)
        for name, wanted in (("a song, mode relaxed", song), ("microphone", replace(setup, source=MICROPHONE))):
            try:
                facts = settled(client, wanted)
            except RtaeError as error:
                say(f"{name}: {error}")
                continue
            say(f"{name}: {describe(wanted, facts)}")
            setup = replace(setup, hop=setup.hop or (facts["hop"] if wanted.source == MICROPHONE else 0))
        if measure:
            say_response("a song, mode relaxed", undisturbed(lambda: client.respond(song)))
            say_response(f"mode {setup.mode}", undisturbed(lambda: client.respond(setup)))
            say_measured(undisturbed(lambda: client.measure(setup)))


def undisturbed(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What is measured while nothing is disturbed; after some attempts what there is, with a remark, or the error."""
    for attempt in range(ATTEMPTS):
        try:
            found = measure()
        except DisturbedError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        late, flags, drift_ms = (found.get(name, 0) for name in ("late", "flags", "drift_ms"))
        if not (late or flags or drift_ms > LEAST_DRIFT_MS):
            return found
    say(
        f"Note: the sound was disturbed while this was measured ({late:.0f} samples came late, the device flagged "
        f"{flags:.0f} blocks, and its own delay changed by {drift_ms:.0f} ms), so what follows may be wrong; measure "
        "again when less is going on"
    )
    return found


def settled(client: Client, setup: Setup) -> dict[str, Any]:
    """Configure, and wait until the device has told its delays: what it says at first is up to 60 ms off."""
    client.configure(setup)
    sleep(SETTLE_SECONDS)
    return client.facts()


def say_response(name: str, found: dict[str, float]) -> None:
    """How long knobs take."""
    knobs = ", ".join(f"{1000 * found[id]:.0f} ms ({TABLE[id].label.lower()})" for id in found if id in TABLE)
    say(f"{name}: a turned knob was fully heard after at most {knobs}; stated are {1000 * found['stated']:.0f} ms")


def say_measured(found: dict[str, float]) -> None:
    """Round trips through the loopback: of the device alone, and of everything."""
    for name, prefix in (
        ("device, there and back", ""),
        ("microphone to loudspeaker, past the model", "whole_"),
    ):
        stated, measured = (1000 * found[prefix + key] / found[prefix + "rate"] for key in ("stated", "measured"))
        say(f"{name}: {measured:.1f} ms measured through the loopback, {stated:.1f} ms stated")
    say(f"Confidence {found['confidence']:.1f}; from 2 up the chirp was found for sure")
