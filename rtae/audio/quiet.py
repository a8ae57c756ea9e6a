"""Keeps libraries from printing: PortAudio, ALSA and JACK write to file descriptor 2, past Python.

They do so when they look for devices, and PortAudio's own thread does when a running device is lost: who does not want
to see that either stays in `quiet_stderr` for as long as the stream is open.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

STDERR = 2


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Descriptor 2 is the null device meanwhile, for all threads; then what it was, which may be closed."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
    try:
        saved = os.dup(STDERR)
    except OSError:  # closed, as in a program without a console
        saved = -1
    sink = os.open(os.devnull, os.O_WRONLY)
    if sink != STDERR:  # which it is where descriptor 2 was the lowest free one
        os.dup2(sink, STDERR)
        os.close(sink)
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        if saved < 0:
            os.close(STDERR)
        else:
            os.dup2(saved, STDERR)
            os.close(saved)
