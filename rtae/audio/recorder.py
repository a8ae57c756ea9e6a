"""Records what is heard, while it plays. Whatever happens, up to kill -9, the file is whole but for the last moment.

    feed() --> ring --> thread --> _WavTake or _FlacTake --> file
    (never waits)       every 0.1 s: the audio, then the length in the header

So unlike `file.AudioWriter` it writes under the final name from the start.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from rtae.audio.file import MIN_RATE, quoted, reason_of
from rtae.audio.output import MAX_WAV_BYTES, OUTPUTS, check_output
from rtae.errors import AudioFileError
from rtae.ring import Ring

FloatArray = NDArray[np.float32]
PcmArray = NDArray[np.int32]  # (samples, channels), 24 bits
ROOM_SECONDS = 4.0
POLL_SECONDS = 0.1
STOP_SECONDS = 5.0
_CHUNK = 8192  # samples per channel that are written, or fail, at once
_SAMPLE_BYTES = 3
# RIFF: its size, WAVE; fmt: 16 bytes, kind, channels, rate, bytes per second and per sample, bits; data: its size
_WAV_HEADER = struct.Struct("<4sI4s 4sIHHIIHH 4sI")
_FLAC_BLOCK, _FLAC_TOTAL = 8, 21  # where STREAMINFO tells the samples per frame, and in all (RFC 9639, section 8.2)
_ADVICE = "free some space, check the rights of its folder, or record to another folder"


def default_name(folder: Path, now: datetime, suffix: str = ".wav") -> Path:
    """A name in `folder` that tells when the recording began.

    >>> default_name(Path("takes"), datetime(2026, 11, 22, 16, 5, 1)).name
    'rtae-2026-11-22-160501.wav'
    """
    return folder / f"rtae-{now:%Y-%m-%d-%H%M%S}{suffix}"


class Recorder:
    """Records blocks of audio to a wav or flac of 24 bits, by suffix. A context manager.

    path: where to; if it exists it is kept, and `take-2.wav`, `take-3.wav`, ... is written. rate: Hz. max_bytes: a wav
    that would get larger goes on in the next free number, without a gap.

    Threads: one calls `feed`, any other `stop`. Raises AudioFileError if the file cannot be created. Later nothing is
    raised: `error` says why the recording ended, and what was written until then stays.
    """

    def __init__(self, path: Path, rate: int, channels: int, max_bytes: int = MAX_WAV_BYTES) -> None:
        _check_limits(path, rate, channels)
        if max_bytes < _WAV_HEADER.size + _SAMPLE_BYTES * channels + 1:
            raise ValueError(f"No sample fits in files of {max_bytes} bytes; give more.")
        self.rate, self.channels = rate, channels
        self.paths: list[Path] = []  # all files of this recording, in their order
        self.lost = 0  # samples that came while the disk was too slow and the ring full
        self.error: AudioFileError | None = None
        self._asked, self._max_bytes, self._samples = path, max_bytes, 0
        self._ring = Ring(channels, int(ROOM_SECONDS * rate))
        self._take = self._next_take()
        self._stopping = threading.Event()
        # A daemon: a disk that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The first file, whose name differs from the one asked for if that existed."""
        return self.paths[0]

    @property
    def seconds(self) -> float:
        """How much is in the files so far."""
        return self._samples / self.rate

    def feed(self, block: FloatArray) -> None:
        """Take a block `(channels, n)`; only copies it. Once stopped, by `stop` or an error, nothing happens."""
        if not self._stopping.is_set():
            self.lost += block.shape[1] - self._ring.write(block)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Write what was fed and close the file, within `timeout` seconds; twice does no harm.

        A recording without a single sample leaves no file.
        """
        self._stopping.set()
        self._thread.join(timeout)
        if self._thread.is_alive() and self.error is None:
            self.error = AudioFileError(
                f"The disk of {quoted(self.path)} did not finish within {timeout:g} s, and the end of the recording "
                "may be missing; check the disk, and record to another folder."
            )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.wait(POLL_SECONDS):
                self._drain()
            self._drain()
        except Exception as error:  # a defect as well ends as a message, and not as a thread that is gone unnoticed
            self._fail(error)
        try:
            self._take.close()
        except Exception as error:  # as above
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._stopping.set()
        if isinstance(error, AudioFileError):  # of the next file
            self.error = self.error or error
        elif self.error is None:
            self.error = AudioFileError(
                f"Recording to {quoted(self.paths[-1])} ended after {self.seconds:.1f} s: "
                f"{reason_of(error)}; {_ADVICE}."
            )

    def _drain(self) -> None:
        while self._ring.stored:
            pcm = _pcm(self._ring.read(_CHUNK))
            while len(pcm):
                room = self._take.room(self._max_bytes)
                if room == 0:
                    self._take.close()
                    self._take = self._next_take()
                    room = self._take.room(self._max_bytes)
                self._take.append(pcm[:room])
                self._samples += len(pcm[:room])
                pcm = pcm[room:]
        self._take.check_presence()

    def _next_take(self) -> _Take:
        path, raw = _create(self._asked)
        try:
            take = _TAKES[path.suffix.lower()](path, raw, self.rate, self.channels)
        except (OSError, sf.LibsndfileError) as error:
            raw.close()
            path.unlink(missing_ok=True)
            raise AudioFileError(f"Cannot write {quoted(path)}: {reason_of(error)}; {_ADVICE}.") from error
        self.paths.append(path)
        return take


def _check_limits(path: Path, rate: int, channels: int) -> None:
    check_output(None, path)
    output = OUTPUTS[path.suffix.lower()]
    if not (1 <= channels <= output.channels and MIN_RATE <= rate <= output.rate):
        raise AudioFileError(
            f"Cannot record {channels} channels at {rate} Hz to {quoted(path)}; a {output.format} takes 1 to "
            f"{output.channels} channels and {MIN_RATE} to {output.rate} Hz. Choose others, or another format."
        )


def _create(path: Path) -> tuple[Path, io.FileIO]:
    """Create and open the first of `take.wav`, `take-2.wav`, `take-3.wav`, ... that does not exist."""
    for number in itertools.count(1):
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            # Unbuffered: what is written is with the operating system at once, and outlives the process.
            return free, io.FileIO(free, "x+")
        except FileExistsError:
            continue
        except OSError as error:
            raise AudioFileError(f"Cannot create {quoted(free)}: {reason_of(error)}; {_ADVICE}.") from error
    raise AssertionError("endless")


def _pcm(block: FloatArray) -> PcmArray:
    """Samples of 24 bits. A scale of 2^23 leaves what comes from a file of 24 bits as it is; libsndfile's does not."""
    finite = np.where(np.isfinite(block), block, np.float32(0.0)).T
    steps: PcmArray = np.clip(np.rint(finite * 2.0**23), -(2**23), 2**23 - 1).astype(np.int32, order="C")
    return steps


# Files --------------------------------------------------------------------------------------------------------------


class _Take:
    """One file. After each `append` it is valid as it lies on the disk."""

    def __init__(self, path: Path, raw: io.FileIO, rate: int, channels: int) -> None:
        self.path, self.raw, self.rate, self.channels = path, raw, rate, channels
        self.samples = 0

    def room(self, max_bytes: int) -> int:
        """Samples that still fit in."""
        raise NotImplementedError

    def append(self, pcm: PcmArray) -> None:
        """Write audio and the new length. Raises OSError, after which only `close` is allowed."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is held back; after an error cut off what is not whole."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; remove it if it holds nothing. Once closed, nothing happens."""
        if self.raw.closed:
            return
        try:
            self.finish()
        finally:
            self.raw.close()
            if self.samples == 0:
                self.path.unlink(missing_ok=True)

    def check_presence(self) -> None:
        """Raise OSError if the file was deleted: some systems let one write on, into nothing."""
        # Some file systems count no links at all, hence the second look.
        if os.fstat(self.raw.fileno()).st_nlink == 0 and not self.path.exists():
            raise FileNotFoundError(0, "the file was deleted")


def _write_all(raw: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[raw.write(view) or 0 :]  # a disk that is nearly full takes a part first, and then fails


class _WavTake(_Take):
    def __init__(self, path: Path, raw: io.FileIO, rate: int, channels: int) -> None:
        super().__init__(path, raw, rate, channels)
        self.step = _SAMPLE_BYTES * channels
        self.write_header()

    def write_header(self) -> None:
        size = self.samples * self.step
        riff = (b"RIFF", _WAV_HEADER.size - 8 + size + size % 2, b"WAVE")
        kind = (b"fmt ", 16, 1, self.channels, self.rate, self.rate * self.step, self.step, 8 * _SAMPLE_BYTES)
        self.raw.seek(0)
        _write_all(self.raw, _WAV_HEADER.pack(*riff, *kind, b"data", size))

    def room(self, max_bytes: int) -> int:
        return max(0, (max_bytes - _WAV_HEADER.size - 1) // self.step - self.samples)

    def append(self, pcm: PcmArray) -> None:
        low_bytes = pcm.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :_SAMPLE_BYTES]
        self.raw.seek(_WAV_HEADER.size + self.samples * self.step)
        # A chunk of odd length is followed by a byte, which the next block overwrites.
        total = self.samples + len(pcm)
        _write_all(self.raw, low_bytes.tobytes() + bytes(total * self.step % 2))
        self.samples = total
        self.write_header()

    def finish(self) -> None:
        size = self.samples * self.step
        self.raw.truncate(_WAV_HEADER.size + size + size % 2)


class _FlacTake(_Take):
    def __init__(self, path: Path, raw: io.FileIO, rate: int, channels: int) -> None:
        super().__init__(path, raw, rate, channels)
        self.sink = _Sink(raw)
        self.encoder = sf.SoundFile(self.sink, "w", rate, channels, "PCM_24", None, "FLAC")
        self.whole_bytes = 0

    def room(self, max_bytes: int) -> int:
        return _CHUNK  # a flac counts far enough for days

    def append(self, pcm: PcmArray) -> None:
        try:
            self.encoder.write(pcm << 8)
        except (sf.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
            raise self.sink.error or OSError(0, reason_of(error)) from error
        if self.sink.error:
            raise self.sink.error
        self.samples += len(pcm)
        self.whole_bytes = self.raw.seek(0, io.SEEK_END)
        self.write_length()

    def write_length(self) -> None:
        """Announce the frames that are written; without a length, half of all programs refuse the file."""
        end = self.raw.tell()
        self.raw.seek(_FLAC_BLOCK)
        info = self.raw.read(_FLAC_TOTAL + 1 - _FLAC_BLOCK)
        frame = int.from_bytes(info[:2], "big")
        total = (self.samples - 1) // frame * frame  # a frame is written when the sample after it has come
        self.raw.seek(_FLAC_TOTAL)
        # 36 bits; the four before them are the end of the sample size.
        _write_all(self.raw, ((info[-1] >> 4) << 36 | total).to_bytes(5, "big"))
        self.raw.seek(end)

    def finish(self) -> None:
        try:
            self.encoder.close()  # writes the last frame, the length and a checksum of all
        except sf.LibsndfileError as error:
            self.sink.error = self.sink.error or OSError(0, reason_of(error))
        if self.sink.error:
            self.raw.truncate(self.whole_bytes)
            raise self.sink.error


class _Sink:
    """A file for libsndfile that remembers its first error and then refuses to write: nothing may raise through C."""

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None
        self.tell, self.readinto = raw.tell, raw.readinto

    def seek(self, offset: int, whence: int) -> int:
        return self.raw.seek(offset, whence)

    def read(self, count: int) -> bytes:
        return self.raw.read(count)

    def write(self, data: bytes) -> int:
        if self.error:
            return 0
        try:
            _write_all(self.raw, data)
        except OSError as error:
            self.error = error
            return 0
        return len(data)


_TAKES: dict[str, type[_Take]] = {".wav": _WavTake, ".flac": _FlacTake}
