"""The audio process, started before the window's libraries are loaded: both take about as long, side by side."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from rtae.errors import RtaeError
from rtae.launch import Launched, launch

if TYPE_CHECKING:
    from rtae.client import Client


class Ahead:
    """A client that is on its way. Whoever takes it closes it; `close` does where nobody has."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="rtae-ahead")
        self.client: Future[Client] | None = self.pool.submit(meet, launch())
        self.pool.shutdown(wait=False)

    def take(self) -> Client:
        """Waits for it, the first time; from then on, after one that failed, it is a new one. Raises DeviceError."""
        coming, self.client = self.client, None
        return meet() if coming is None else coming.result()

    def close(self) -> None:
        """End it, if nobody took it."""
        coming, self.client = self.client, None
        if coming is not None:
            try:
                coming.result().close()
            except RtaeError:
                return


def meet(launched: Launched | None = None) -> Client:
    """A client of a process that is under way, or of a new one. Raises DeviceError."""
    from rtae.client import Client  # here: with it comes numpy, and the process is to start before

    return Client(launched=launched)
