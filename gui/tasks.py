"""Work that may take its time, done one after another by a thread of its own; the window never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from rtae.errors import RtaeError


class Tasks(QObject):
    """A queue of calls. What they return, or the words of their error, arrives in the window's thread."""

    arrived = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="rtae-tasks")
        self.arrived.connect(lambda call: call(), Qt.ConnectionType.QueuedConnection)
        self.waiting = 0

    def run(
        self,
        function: Callable[[], Any],
        done: Callable[[Any], None] = lambda _: None,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Call `function` in the other thread, then `done` with what it returned or `failed` with a sentence."""
        self.waiting += 1

        def work() -> None:
            try:
                result = function()
            except RtaeError as error:
                text = str(error)
                self.arrived.emit(lambda: self._leave(lambda: failed(text)))
            except Exception as error:  # a defect: it has to be seen, and the window has to live
                text = f"Something went wrong ({type(error).__name__}: {error})"
                self.arrived.emit(lambda: self._leave(lambda: failed(text)))
            else:
                self.arrived.emit(lambda: self._leave(lambda: done(result)))

        self.pool.submit(work)

    def _leave(self, action: Callable[[], None]) -> None:
        self.waiting -= 1
        action()

    def close(self) -> None:
        """What has not begun is dropped; what runs ends by itself."""
        self.pool.shutdown(wait=False, cancel_futures=True)
