"""Audio files: read anything libsndfile knows. `rtae.audio.output` writes them.

Audio is `(channels, samples)` float32, full scale +-1. What a header claims is never trusted with memory: a forged or
damaged one may claim terabytes, so files are decoded in bounded chunks, and the length is what was decoded.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from rtae.audio.quiet import quiet_stderr
from rtae.audio.whole import cut_short, states_length
from rtae.errors import AudioFileError

MIN_RATE = 1000  # Hz. Less is a damaged header: no recorder writes it, and resampling would blow the file up.
MAX_RATE = 768_000  # Hz. The fastest converters on sale; libsndfile itself accepts two billion.
MAX_CHANNELS = 32  # A large mixing desk; libsndfile accepts 1024, which makes every buffer a thousand times larger.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".au", ".w64", ".rf64", ".snd")
)

_READABLE = "wav, flac, ogg (Vorbis, Opus), mp3, aiff, caf, au"
_TO_CONVERT = (".m4a", ".mp4", ".aac", ".webm", ".wma")  # common, and unknown to libsndfile
CHUNK = 65_536  # samples per channel in one call of libsndfile; 8 MiB with 32 channels
# Samples decoded before the target of a seek. An mp3 frame borrows bits of earlier ones, in near silence of many; an
# Opus decoder needs some past until it rounds alike. Elsewhere one: a seek also "succeeds" where there are no data.
_SEEK_LEAD = {"MPEG_LAYER_III": 65_536, "OPUS": 2048}
_OPEN_LENGTH = 2**62  # libsndfile says 2**63 - 1 samples if a header leaves the length open, as in a piped flac
_MP3 = "MP3"  # what is wrong with such a file, its decoder prints
_UNWRITTEN = np.uint32(0x7FC0_DEAD)  # a NaN that nobody writes; marks what the decoder did not fill


def quoted(path: Path) -> str:
    """A path for a message, which is one printable line: a name may hold line breaks and bytes that are no text."""
    return repr(str(path)).replace("\\\\", "\\")


def native(path: Path) -> str | bytes:
    """A path for soundfile, which encodes a str strictly and fails for names that are not UTF-8; bytes go through."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def mode_of(path: Path) -> int:
    """The file's type and rights, 0 if it does not exist. Raises OSError or ValueError (NUL) for what cannot be."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def reason_of(error: BaseException) -> str:
    """What an exception says, in one line without a full stop."""
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).replace("\n", " ").rstrip(".")


# Reading ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says. `samples` is per channel, 0 if the header leaves it open, and may be wrong.

    guessed: it does not say how many samples there are, and their number is a guess from the first of them (mp3).
    """

    path: Path
    rate: int
    channels: int
    samples: int
    format: str
    subtype: str
    guessed: bool = False

    @property
    def seconds(self) -> float:
        """Length according to the header."""
        return self.samples / self.rate


class _Decoder(sf.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    def seekable(self) -> bool:
        # soundfile seeks to where it already is after each read of a seekable file. In a truncated flac that seek
        # fails, and good audio is lost with it.
        return False


def _check_input(path: Path) -> None:
    try:
        mode = mode_of(path)
        problem = ""
        if not mode:
            problem = "does not exist; check the path"
        elif stat.S_ISDIR(mode):
            problem = "is a folder; give one audio file"
        elif not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            problem = "is a device or a pipe; give an audio file on disk"
        elif path.stat().st_size == 0:
            problem = "is empty (0 bytes); copy or export it again"
        else:
            path.open("rb").close()
    except (OSError, ValueError) as error:
        raise AudioFileError(f"{quoted(path)} cannot be opened ({reason_of(error)}); check path and rights.") from error
    if problem:
        raise AudioFileError(f"{quoted(path)} {problem}.")


def _open(path: Path) -> _Decoder:
    try:
        with quiet_stderr():
            return _Decoder(native(path))
    except (RuntimeError, TypeError, ValueError, MemoryError, OSError) as error:  # TypeError: a headerless .raw
        if cut_short(path):
            message = f"{quoted(path)} is cut short, and nothing of it can be read; copy or export it again."
            raise AudioFileError(message) from error
        advice = f"readable are {_READABLE}."
        if path.suffix.lower() in _TO_CONVERT:
            advice += f" Convert it first: ffmpeg -i {quoted(path)} {quoted(path.with_suffix('.wav'))}"
        raise AudioFileError(f"{quoted(path)} is not audio that can be read; {advice}") from error


class AudioReader:
    """Reads one audio file from front to back, with exact seeks. A context manager.

    Damage is survived: NaN and infinity become 0 and are counted in `repaired` (values of all channels). Where the
    decoder fails or the data end early, all that is good is given, reading ends, and `truncated` is True: from the
    start where the container shows it (wav, aiff, ogg, au, caf), else (flac, mp3) once the end is reached.

    Raises AudioFileError if the path is no readable audio file, or its rate or channels are outside of the limits.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        _check_input(self._path)
        self._file = _open(self._path)
        self.info = self._checked_info()
        self.repaired = 0
        self.truncated = cut_short(self._path)
        self._position = 0
        self._ended = False

    def _checked_info(self) -> AudioInfo:
        rate, channels, samples = self._file.samplerate, self._file.channels, self._file.frames
        problem = ""
        if not MIN_RATE <= rate <= MAX_RATE:
            problem = f"a rate of {rate} Hz; allowed are {MIN_RATE} to {MAX_RATE} Hz. Resample it"
        elif not 1 <= channels <= MAX_CHANNELS:
            problem = f"{channels} channels; allowed are 1 to {MAX_CHANNELS}. Mix it down"
        if problem:
            self._file.close()
            raise AudioFileError(f"{quoted(self._path)} claims {problem}, or replace it if it is damaged.")
        samples = samples if 0 <= samples < _OPEN_LENGTH else 0
        guessed = self._file.format == _MP3 and not states_length(self._path)
        return AudioInfo(self._path, rate, channels, samples, self._file.format, self._file.subtype, guessed)

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.info.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.info.channels

    @property
    def position(self) -> int:
        """The sample that the next `read` starts with."""
        return self._position

    def read(self, count: int) -> NDArray[np.float32]:
        """The next samples, `(channels, n)` with n <= count, all finite; n is 0 at the end only.

        Raises ValueError if count is negative, and MemoryError if what is there does not fit.
        """
        if count < 0:
            raise ValueError(f"Cannot read {count} samples; give 0 or more.")
        chunks = [np.zeros((self.channels, 0), np.float32)]
        while count > 0 and not self._ended:
            chunk = self._decode(min(count, CHUNK))
            broken = ~np.isfinite(chunk)
            self.repaired += int(np.count_nonzero(broken))
            chunk[broken] = 0.0
            chunks.append(chunk)
            count -= chunk.shape[1]
        return chunks[1] if len(chunks) == 2 else np.concatenate(chunks, axis=1)

    def _quiet(self) -> AbstractContextManager[None]:
        """For calls of a decoder that prints."""
        return quiet_stderr() if self.info.format == _MP3 else nullcontext()

    def _decode(self, count: int) -> NDArray[np.float32]:
        """At most `CHUNK` samples, unrepaired; none at the end, or once the decoder failed."""
        buffer = np.full((count, self.channels), _UNWRITTEN).view(np.float32)
        failed = False
        try:
            with self._quiet():
                got = int(self._file.buffer_read_into(buffer, "float32"))
        except sf.LibsndfileError:
            # How many samples came before the failure is not told, but they are in the buffer.
            failed = True
            unwritten = (buffer.view(np.uint32) == _UNWRITTEN).any(axis=1)
            got = int(np.argmax(unwritten)) if unwritten.any() else count
        self._position += got
        if failed or got == 0:
            self._ended = True
            early = self._position < self.info.samples
            # What stands behind the last sample, such as a tag, may make a decoder fail too.
            self.truncated |= (early and not self.info.guessed) or (failed and (early or not self.info.samples))
        return np.ascontiguousarray(buffer[:got].T)

    def seek(self, sample: int) -> None:
        """Go to a sample; before the start means 0, past the end means the end.

        What is read next is what reading on from the start gives: the same bits, in mp3 and Opus the same but for
        their decoders' rounding. Going back in Ogg Vorbis decodes from the start: 2 ms per second of audio.
        """
        target = max(0, sample)
        if self.info.samples:
            target = min(target, self.info.samples)
        start = max(0, target - _SEEK_LEAD.get(self.info.subtype, 1))
        if self.info.subtype == "VORBIS":
            # Seeks in Vorbis start with wrong samples, and in the last page they miss by up to a block for good
            # (libsndfile#885): no seeking, but decoding from here or from the start.
            start = self._position if self._position <= target else 0
        try:
            with self._quiet():
                reached = start == self._position or self._file.seek(start) == start
        except (sf.LibsndfileError, OverflowError):
            reached = False
        if not (reached and self._skip(start, target)):  # damaged, or of unknown length: slow, but exact
            self._file.close()
            self._file = _open(self._path)
            self._skip(0, target)

    def _skip(self, start: int, target: int) -> bool:
        self._position, self._ended = start, False
        while self._position < target and not self._ended:
            self._decode(min(target - self._position, CHUNK))
        return self._position == target

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_audio(path: str | os.PathLike[str], *, max_seconds: float | None = None) -> tuple[NDArray[np.float32], int]:
    """A whole file, or its first `max_seconds`: `(channels, samples)` and the rate in Hz.

    Raises AudioFileError if the file cannot be read, holds no samples, or does not fit in memory.
    """
    with AudioReader(path) as reader:
        count = sys.maxsize if max_seconds is None else max(1, round(min(max_seconds * reader.rate, sys.maxsize)))
        try:
            audio = reader.read(count)
        except MemoryError as error:
            raise AudioFileError(f"{quoted(Path(path))} does not fit in memory; cut it in parts.") from error
        if audio.shape[1] == 0:
            raise AudioFileError(f"{quoted(Path(path))} holds no samples; record or export it again.")
        return audio, reader.rate


def checksum_of(path: Path, *facts: object) -> str:
    """SHA-256 of a file, and of facts about what is made of it. Raises AudioFileError."""
    digest = hashlib.sha256("".join(f"{fact} " for fact in facts).encode())
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AudioFileError(f"{quoted(path)} cannot be read ({reason_of(error)}); check path and rights.") from None
    return digest.hexdigest()


def find_audio(folder: str | os.PathLike[str]) -> list[Path]:
    """All files below a folder whose suffix is in `AUDIO_SUFFIXES`, sorted; [] if there are none.

    Hidden files and folders are skipped; links to folders are followed, each real folder once. Raises AudioFileError
    if the folder does not exist, is no folder, or cannot be opened.
    """
    root = Path(folder)
    try:
        os.scandir(root).close()
    except (OSError, ValueError) as error:
        reasons = {FileNotFoundError: "does not exist", NotADirectoryError: "is not a folder"}
        problem = next((text for kind, text in reasons.items() if isinstance(error, kind)), reason_of(error))
        raise AudioFileError(f"{quoted(root)}: {problem}; give a folder with audio files.") from error
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            paths = [Path(place, name) for name in names if not name.startswith(".")]
            found += [path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
        seen.add(real)
    return sorted(found)
