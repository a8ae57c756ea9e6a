"""The client of the audio process: starts it, gives it commands and parameters, and starts it anew if it dies.

A window or a command line holds one `Client`. Nothing here can hang with a sound server: every answer has a deadline,
and a process that misses it is killed and started again where it was.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from rtae import errors
from rtae.errors import DeviceError, RtaeError
from rtae.launch import Launched, launch
from rtae.params import Snapshot
from rtae.setup import HUNG, Setup
from rtae.shared import SharedState, Status

START_SECONDS = 20.0
ANSWER_SECONDS = 8.0
LOADING_SECONDS = 15.0
MEASURING_SECONDS = 40.0
DEADLINES = dict.fromkeys(("configure", "open", "second", "model"), LOADING_SECONDS)
DEADLINES |= dict.fromkeys(("measure", "respond"), MEASURING_SECONDS)
RESTART_PAUSE = 1.0
MOST_RESTARTS = 5  # in a row, none of which could be configured


class Client:
    """The audio process, as its user sees it.

    notify: told, in plain words and from a thread of this object, what happened by itself: a device that went away, a
    process that had to be started again. launched: the first process, if it is under way already. Raises DeviceError
    where the process cannot start.
    """

    def __init__(self, notify: Callable[[str], None] = lambda _: None, launched: Launched | None = None) -> None:
        self.notify, self.launched = notify, launched
        self.shared = SharedState()
        self.setup: Setup | None = None
        self.recording: tuple[str, bool] | None = None  # path, and whether it is the dry sound
        self.closing = False
        self.restarts = self.failures = 0
        self.lock = threading.RLock()  # one command at a time, and no command during a restart
        self.answers: dict[int, tuple[bool, Any]] = {}
        self.arrived = threading.Condition()
        self.number = 0
        self.process: Any = None
        try:
            self.start()
        except DeviceError:
            self.shared.close()
            raise
        self.watcher = threading.Thread(target=self.watch, name="rtae-watch", daemon=True)
        self.watcher.start()

    # -- what it can do ----------------------------------------------------------------------------------------------
    def configure(self, setup: Setup) -> dict[str, Any]:
        """Open a device, a model and sources. Raises RtaeError's children, by what was wrong."""
        facts: dict[str, Any] = self.call("configure", setup=setup)
        # A process that is started again may give the devices other numbers.
        self.setup = replace(setup, output=facts["output"], input=facts["input"])
        return facts

    def open(self, source: str, position: float = 0.0) -> dict[str, Any]:
        """Another source A: a path, or one of `rtae.setup.SOURCES`."""
        facts: dict[str, Any] = self.call("open", source=source, position=position)
        self.remember(source=source)
        return facts

    def second(self, source: str) -> None:
        """Another source B; an empty name is none."""
        self.call("second", source=source)
        self.remember(second=source)

    def play(self) -> None:
        """Play."""
        self.call("play")
        self.remember(playing=True)

    def pause(self) -> None:
        """Hold."""
        self.call("pause")
        self.remember(playing=False)

    def tone(self) -> None:
        """A test tone for a moment, past model and knobs; then what was there before."""
        self.call("tone")

    def seek(self, seconds: float) -> None:
        """Go to a place in source A."""
        self.call("seek", seconds=seconds)

    def seek_second(self, seconds: float) -> None:
        """Go to a place in source B."""
        self.call("seek_second", seconds=seconds)

    def loop(self, start: float | None, end: float = 0.0) -> None:
        """Loop a region of source A; None ends it."""
        self.call("loop", start=start, end=end)
        self.remember(loop=None if start is None else (start, end))

    def model(self, folder: str) -> dict[str, Any]:
        """Another model, by its folder."""
        facts: dict[str, Any] = self.call("model", folder=folder)
        self.remember(model=folder)
        return facts

    def record(self, path: str, dry: bool = False) -> str:
        """Start recording; answers with the name of the file."""
        name = str(self.call("record", path=path, dry=dry))
        self.recording = (path, dry)
        return name

    def stop_recording(self) -> float:
        """Seconds recorded."""
        self.recording = None
        return float(self.call("stop_recording"))

    def perform(self) -> None:
        """Note what is done to the parameters from now on; the song goes on where it is."""
        self.call("perform")

    def stop_performing(self, path: str) -> float:
        """Write what was noted to a file; seconds of it."""
        return float(self.call("stop_performing", path=path))

    def measure(self, setup: Setup) -> dict[str, float]:
        """Round trips through a loopback; see `rtae.host.Server.measure`. Nothing is open afterwards."""
        self.setup, values = None, self.shared.snapshot()
        self.set(Snapshot().replace(mix=0, output_gain=-12))
        try:
            return dict(self.call("measure", setup=setup))
        finally:
            self.set(values)

    def respond(self, setup: Setup, tries: int = 3) -> dict[str, float]:
        """Seconds until a turned knob is heard; see `rtae.host.Server.respond`. Nothing is open afterwards."""
        self.setup, values = None, self.shared.snapshot()
        try:
            return dict(self.call("respond", setup=setup, tries=tries))
        finally:
            self.set(values)

    def devices(self) -> list[Any]:
        """All devices."""
        return list(self.call("list_devices"))

    def facts(self) -> dict[str, Any]:
        """What was agreed with the device, and the latency in its parts."""
        return dict(self.call("facts"))

    def set(self, values: Snapshot) -> None:
        """The parameters; heard from the next hop on."""
        self.shared.set_snapshot(values)

    def status(self) -> Status:
        """Where it stands."""
        return self.shared.status()

    def remember(self, **changes: Any) -> None:
        """What a restart has to bring back."""
        if self.setup is not None:
            self.setup = replace(self.setup, **changes)

    # -- commands and answers ----------------------------------------------------------------------------------------
    def call(self, name: str, **arguments: Any) -> Any:
        """One command. Raises what the audio process raised, or DeviceError where it does not answer."""
        with self.lock:
            self.number += 1
            number = self.number
            try:
                self.connection.send((number, name, arguments))
            except (OSError, ValueError):
                raise DeviceError("The audio process ended; it is being started again, try once more") from None
            good, result = self.wait_for(number, name)
        if good:
            return result
        kind, text = result
        raise getattr(errors, kind, RtaeError)(text)

    def wait_for(self, number: int, name: str) -> tuple[bool, Any]:
        """The answer to a command; kills a process that gives none, so that the watcher starts another."""
        process = self.process
        deadline = monotonic() + DEADLINES.get(name, ANSWER_SECONDS)
        with self.arrived:
            while number not in self.answers:
                left = deadline - monotonic()
                if left <= 0 or not process.is_alive():
                    process.kill()
                    raise DeviceError(f"The sound system did not answer ('{name}'); the audio process starts anew")
                self.arrived.wait(min(left, 0.1))
            return self.answers.pop(number)

    def listen(self, connection: Any) -> None:
        """The thread that reads one process's messages, until it ends."""
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                return
            if message[0] == "event":
                self.ready.set()
                if message[1]:
                    self.notify(message[1])
                continue
            with self.arrived:
                self.answers[message[0]] = (message[1], message[2])
                self.arrived.notify_all()

    # -- the process -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """A fresh process. Raises DeviceError where it does not come up."""
        launched, self.launched = self.launched or launch(), None
        self.ready = threading.Event()
        self.process, self.connection = launched.process, launched.connection
        with contextlib.suppress(OSError):  # it is gone already, which is noticed below
            self.connection.send(self.shared.name)
        threading.Thread(target=self.listen, args=(self.connection,), name="rtae-listen", daemon=True).start()
        deadline = monotonic() + START_SECONDS
        while not self.ready.wait(0.1):
            if monotonic() > deadline or not self.process.is_alive():
                self.process.kill()
                raise DeviceError("The audio process does not start; try again, or start the program from a terminal")

    def watch(self) -> None:
        """The thread that starts the process again when it dies."""
        while not self.closing:
            self.process.join(0.1)
            if self.closing or self.process.is_alive():
                continue
            code = self.process.exitcode
            reason = "the sound server froze" if code == HUNG else f"exit code {code}"
            self.notify(f"The audio process ended ({reason}); it is started again where it was")
            with self.lock:
                if not self.closing:
                    self.restart()

    def restart(self) -> None:
        """A new process with the old one's setup and place."""
        position = self.shared.status().position
        self.shared.set_status(Status(position=position))  # what the dead process said last holds no longer
        if self.setup is not None:
            self.setup = replace(self.setup, position=position)
        self.restarts += 1
        try:
            self.start()
            if self.setup is not None:
                self.call("configure", setup=self.setup)
                if self.recording is not None:
                    path, dry = self.recording
                    self.notify(f"The recording goes on in {self.call('record', path=path, dry=dry)}")
            self.failures = 0
        except RtaeError as error:
            self.failures += 1
            self.notify(str(error))
            sleep(RESTART_PAUSE)
        if self.failures >= MOST_RESTARTS:
            self.notify("The audio process does not come back; check the sound server, then configure it again")
            self.setup, self.failures = None, 0

    def close(self) -> None:
        """End the process and remove the shared memory; may be called twice."""
        if self.closing:
            return
        self.closing = True
        with self.lock:
            with contextlib.suppress(OSError, ValueError):
                self.connection.send((0, "end", {}))
            self.process.join(3.0)
            self.process.kill()
            self.process.join(1.0)
            self.connection.close()
        self.watcher.join()
        self.shared.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
