"""Keeps libraries from printing: PortAudio, ALSA, JACK and the decoder of mp3 write to file descriptor 2, past Python.

They do so when they look for devices, and PortAudio's own thread does when a running device is lost: who does not want
to see that either stays in `quiet_stderr` for as long as the stream is open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

STDERR = 2


class Quiet:
    """Descriptor 2 as it was before it was the null device, while anybody wants it to be that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted, self.saved = 0, -1

    def begin(self) -> None:
        """One more wants quiet."""
        with self.lock:
            if not self.wanted:
                self.saved = to_null()
            self.wanted += 1

    def end(self) -> None:
        """One less; after the last one it is what it was, which may be closed."""
        with self.lock:
            self.wanted -= 1
            if self.wanted:
                return
            flush()
            if self.saved < 0:
                os.close(STDERR)
            else:
                os.dup2(self.saved, STDERR)
                os.close(self.saved)


def to_null() -> int:
    """Make descriptor 2 the null device; a copy of what it was, -1 if it was closed, as without a console."""
    flush()
    try:
        saved = os.dup(STDERR)
    except OSError:
        saved = -1
    sink = os.open(os.devnull, os.O_WRONLY)
    if sink != STDERR:  # which it is where descriptor 2 was the lowest free one
        os.dup2(sink, STDERR)
        os.close(sink)
    return saved


def flush() -> None:
    """What Python has yet to write there."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Descriptor 2 is the null device meanwhile, for all threads: until the last of those that are in here leaves."""
    QUIET.begin()
    try:
        yield
    finally:
        QUIET.end()


QUIET = Quiet()  # one, as the descriptor is the whole process's
