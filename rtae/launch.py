"""Where the audio process begins: its code is loaded there and not in whoever starts it, a window above all."""

from __future__ import annotations

import importlib
from multiprocessing.connection import Connection


def serve(connection: Connection, shared_name: str) -> None:
    """See `rtae.host.serve`."""
    importlib.import_module("rtae.host").serve(connection, shared_name)
