"""Where the audio process begins: its code is loaded there and not in whoever starts it, a window above all.

Nothing is imported here that takes time, so that the process can be started first, and all else be loaded meanwhile.
"""

from __future__ import annotations

import importlib
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Launched:
    """A process that loads its code, and the pipe to it; it serves once it is sent the name of the shared memory."""

    process: Any
    connection: Any


def launch() -> Launched:
    """A fresh audio process."""
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), name="rtae-audio", daemon=True)
    process.start()
    theirs.close()
    return Launched(process, connection)


def serve(connection: Connection) -> None:
    """See `rtae.host.serve`."""
    host = importlib.import_module("rtae.host")
    try:
        shared_name = connection.recv()
    except EOFError:  # nobody wanted it after all
        return
    host.serve(connection, shared_name)
