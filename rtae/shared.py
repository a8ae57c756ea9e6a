"""What the audio process and its client both see: one block of shared memory.

    | parameters | status | counts | scope ring | latent ring |

Parameters are written by the client and copied once per block by the audio process; the rest is written by the audio
process, and the client reads it whenever it likes. Single values are whole machine words, which arrive whole; a ring's
count moves after its data, so what a reader takes for written is written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from multiprocessing import shared_memory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtae.params import PARAMETERS, Snapshot

FloatArray = NDArray[np.float32]
SCOPE_SAMPLES = 1 << 18
LATENT_FRAMES = 1 << 12
LATENT_DIMS = 64


@dataclass(frozen=True)
class Status:
    """Where the audio process stands. All fields are floats, since they travel as one array.

    position, duration: seconds of the source, second_position of source B; playing, ended: 0 or 1. late: samples that
    the worker delivered too late, flags: callbacks that the device flagged, both while something sounded; overflows:
    samples of input that were lost; all since the device was opened. load: share of real time that the worker is busy.
    Levels are peaks of the last block, full scale 1; limiter_gain is 1 at rest. guard_db: what the feedback guard does
    to the output, 0 at rest.
    """

    position: float = 0.0
    duration: float = 0.0
    playing: float = 0.0
    ended: float = 0.0
    input_peak: float = 0.0
    output_peak: float = 0.0
    limiter_gain: float = 1.0
    broken: float = 0.0
    late: float = 0.0
    overflows: float = 0.0
    flags: float = 0.0
    load: float = 0.0
    recorded_seconds: float = 0.0
    guard_db: float = 0.0
    second_position: float = 0.0


STATUS_FIELDS = tuple(field.name for field in fields(Status))
LAYOUT: tuple[tuple[str, tuple[int, ...], Any], ...] = (
    ("parameters", (len(PARAMETERS),), np.float32),
    ("status", (len(STATUS_FIELDS),), np.float64),
    ("counts", (2,), np.int64),
    ("scope", (2, SCOPE_SAMPLES), np.float32),
    ("latents", (LATENT_DIMS, LATENT_FRAMES), np.float32),
)


class SharedState:
    """The block: made without a name, opened with one. Whoever made it must `close` it last, which removes it."""

    def __init__(self, name: str | None = None) -> None:
        offsets, size = [], 0
        for _, shape, kind in LAYOUT:
            offsets.append(size)
            size += -(-int(np.prod(shape)) * np.dtype(kind).itemsize // 64) * 64
        self.owner = name is None
        self.memory = shared_memory.SharedMemory(name, create=self.owner, size=size if self.owner else 0)
        self.views: dict[str, NDArray[Any]] = {
            label: np.ndarray(shape, kind, self.memory.buf, offset)
            for (label, shape, kind), offset in zip(LAYOUT, offsets, strict=True)
        }
        self.latest = b"", Snapshot()  # parameters as they lie here, and what they mean
        if self.owner:
            self.set_snapshot(Snapshot())

    @property
    def name(self) -> str:
        """To open it by."""
        return self.memory.name

    def set_snapshot(self, values: Snapshot) -> None:
        """The client's side: all parameters."""
        self.views["parameters"][:] = values.values_

    def snapshot(self) -> Snapshot:
        """The audio's side: all parameters; what is not a number, or out of range, is at its nearest allowed value."""
        raw, (known, values) = self.views["parameters"].tobytes(), self.latest
        if raw != known:
            read = np.frombuffer(raw, np.float32).tolist()
            values = Snapshot(tuple(p.nearest(value) for p, value in zip(PARAMETERS, read, strict=True)))
            self.latest = raw, values  # at once: threads may ask for it
        return values

    def set_status(self, status: Status) -> None:
        """The audio's side."""
        self.views["status"][:] = [getattr(status, name) for name in STATUS_FIELDS]

    def status(self) -> Status:
        """The client's side."""
        return Status(*self.views["status"].tolist())

    def write_scope(self, dry: FloatArray, wet: FloatArray) -> None:
        """Mono input and output, (samples,) each."""
        self.write_ring(0, "scope", np.stack([dry, wet]))

    def write_latents(self, z: FloatArray) -> None:
        """Frames of the first channel's latents, (latent_dim, frames)."""
        rows = np.zeros((LATENT_DIMS, z.shape[1]), np.float32)
        rows[: min(len(z), LATENT_DIMS)] = z[:LATENT_DIMS]
        self.write_ring(1, "latents", rows)

    def write_ring(self, which: int, name: str, block: FloatArray) -> None:
        """Append columns, the count last."""
        ring, counts = self.views[name], self.views["counts"]
        block = block[:, -ring.shape[1] :]
        places = (int(counts[which]) + np.arange(block.shape[1])) % ring.shape[1]
        ring[:, places] = block
        counts[which] += block.shape[1]

    def newest(self, name: str, count: int) -> FloatArray:
        """The newest columns of "scope" or "latents", (rows, count); zeros where there are none yet."""
        return self.until(name, self.count(name), count)

    def count(self, name: str) -> int:
        """Columns written so far."""
        return int(self.views["counts"][0 if name == "scope" else 1])

    def until(self, name: str, end: int, count: int) -> FloatArray:
        """The columns before number `end`, (rows, count); zeros before the first one."""
        ring = self.views[name]
        size = ring.shape[1]
        count = min(count, size)
        columns = np.zeros((len(ring), count), np.float32)
        known = min(count, end)
        if known > 0:
            place = (end - known) % size
            first = min(known, size - place)
            columns[:, count - known : count - known + first] = ring[:, place : place + first]
            columns[:, count - known + first :] = ring[:, : known - first]
        return columns

    def close(self) -> None:
        """Let go of it; its maker removes it."""
        self.views = {}
        self.memory.close()
        if self.owner:
            self.memory.unlink()
