"""Audio files: read anything libsndfile knows, write wav and flac. The only live file that knows `soundfile`.

Audio is `(channels, samples)` float32, full scale +-1. What a header claims is never trusted with memory: a forged or
damaged one may claim terabytes, so files are decoded in bounded chunks, and the length is what was decoded.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from rtae.errors import AudioFileError

MIN_RATE = 1000  # Hz. Less is a damaged header: no recorder writes it, and resampling would blow the file up.
MAX_RATE = 768_000  # Hz. The fastest converters on sale; libsndfile itself accepts two billion.
MAX_CHANNELS = 32  # A large mixing desk; libsndfile accepts 1024, which makes every buffer a thousand times larger.
MAX_WAV_BYTES = 2**32 - 2**16  # A wav counts its bytes in 32 bits; past that its header is silently wrong.
AUDIO_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".au", ".w64", ".rf64", ".snd")
)

_READABLE = "wav, flac, ogg (Vorbis, Opus), mp3, aiff, caf, au"
_TO_CONVERT = (".m4a", ".mp4", ".aac", ".webm", ".wma")  # common, and unknown to libsndfile
_CHUNK = 65_536  # samples per channel in one call of libsndfile; 8 MiB with 32 channels
# Samples decoded before the target of a seek. An mp3 frame borrows bits of earlier ones, in near silence of many; an
# Opus decoder needs some past until it rounds alike. Elsewhere one: a seek also "succeeds" where there are no data.
_SEEK_LEAD = {"MPEG_LAYER_III": 65_536, "OPUS": 2048}
_OPEN_LENGTH = 2**62  # libsndfile says 2**63 - 1 samples if a header leaves the length open, as in a piped flac
_UNWRITTEN = np.uint32(0x7FC0_DEAD)  # a NaN that nobody writes; marks what the decoder did not fill


def _quoted(path: Path) -> str:
    # A file name may hold line breaks and bytes that are no text; a message is one printable line.
    return repr(str(path)).replace("\\\\", "\\")


def _native(path: Path) -> str | bytes:
    # soundfile encodes a str strictly, which fails for names that are not UTF-8; bytes go through as they are.
    return str(path) if os.name == "nt" else os.fsencode(path)


def _mode(path: Path) -> int:
    """The file's type and rights, 0 if it does not exist. Raises OSError or ValueError (NUL) for what cannot be."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).replace("\n", " ").rstrip(".")


# Reading ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says. `samples` is per channel, 0 if the header leaves it open, and may be wrong."""

    path: Path
    rate: int
    channels: int
    samples: int
    format: str
    subtype: str

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
        mode = _mode(path)
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
        raise AudioFileError(f"{_quoted(path)} cannot be opened ({_reason(error)}); check path and rights.") from error
    if problem:
        raise AudioFileError(f"{_quoted(path)} {problem}.")


def _open(path: Path) -> _Decoder:
    try:
        return _Decoder(_native(path))
    except (RuntimeError, TypeError, ValueError, MemoryError, OSError) as error:  # TypeError: a headerless .raw
        advice = f"readable are {_READABLE}."
        if path.suffix.lower() in _TO_CONVERT:
            advice += f" Convert it first: ffmpeg -i {_quoted(path)} {_quoted(path.with_suffix('.wav'))}"
        raise AudioFileError(f"{_quoted(path)} is not audio that can be read; {advice}") from error


class AudioReader:
    """Reads one audio file from front to back, with exact seeks. A context manager.

    Damage is survived: NaN and infinity become 0 and are counted in `repaired` (values of all channels). Where the
    decoder fails or the data end early, all that is good is given, reading ends, and `truncated` is True; but not for
    a cut wav, aiff or ogg, whose length libsndfile corrects when it opens them.

    Raises AudioFileError if the path is no readable audio file, or its rate or channels are outside of the limits.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        _check_input(self._path)
        self._file = _open(self._path)
        self.info = self._checked_info()
        self.repaired = 0
        self.truncated = False
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
            raise AudioFileError(f"{_quoted(self._path)} claims {problem}, or replace it if it is damaged.")
        samples = samples if 0 <= samples < _OPEN_LENGTH else 0
        return AudioInfo(self._path, rate, channels, samples, self._file.format, self._file.subtype)

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
            chunk = self._decode(min(count, _CHUNK))
            broken = ~np.isfinite(chunk)
            self.repaired += int(np.count_nonzero(broken))
            chunk[broken] = 0.0
            chunks.append(chunk)
            count -= chunk.shape[1]
        return chunks[1] if len(chunks) == 2 else np.concatenate(chunks, axis=1)

    def _decode(self, count: int) -> NDArray[np.float32]:
        """At most `_CHUNK` samples, unrepaired; none at the end, or once the decoder failed."""
        buffer = np.full((count, self.channels), _UNWRITTEN).view(np.float32)
        failed = False
        try:
            got = int(self._file.buffer_read_into(buffer, "float32"))
        except sf.LibsndfileError:
            # How many samples came before the failure is not told, but they are in the buffer.
            failed = True
            unwritten = (buffer.view(np.uint32) == _UNWRITTEN).any(axis=1)
            got = int(np.argmax(unwritten)) if unwritten.any() else count
        self._position += got
        if failed or got == 0:
            self._ended = True
            self.truncated |= failed or self._position < self.info.samples
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
            # (libsndfile issue 885): no seeking, but decoding from here or from the start.
            start = self._position if self._position <= target else 0
        try:
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
            self._decode(min(target - self._position, _CHUNK))
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
            raise AudioFileError(f"{_quoted(Path(path))} does not fit in memory; cut it in parts.") from error
        if audio.shape[1] == 0:
            raise AudioFileError(f"{_quoted(Path(path))} holds no samples; record or export it again.")
        return audio, reader.rate


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
        problem = next((text for kind, text in reasons.items() if isinstance(error, kind)), _reason(error))
        raise AudioFileError(f"{_quoted(root)}: {problem}; give a folder with audio files.") from error
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


# Writing ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Output:
    format: str
    channels: int
    rate: int
    subtypes: dict[str, int]  # bytes per sample


_OUTPUTS = {
    ".wav": _Output("WAV", MAX_CHANNELS, MAX_RATE, {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}),
    ".flac": _Output("FLAC", 8, 655_350, {"PCM_16": 2, "PCM_24": 3}),
}


def check_output(source: Path | None, target: Path) -> None:
    """Raise AudioFileError unless a wav or flac can be written at `target`, and it is not `source` by another name."""
    folder = target.parent
    try:
        folder_mode, mode = _mode(folder), _mode(target)
        same = source is not None and bool(mode and _mode(source)) and target.samefile(source)
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be entered
        raise AudioFileError(f"Cannot write {_quoted(target)}: {_reason(error)}; give another path.") from error
    problem = ""
    if target.suffix.lower() not in _OUTPUTS:
        problem = f"unknown format; its name must end in {' or '.join(_OUTPUTS)}"
    elif not stat.S_ISDIR(folder_mode):
        problem = f"there is no folder {_quoted(folder)}; create it first"
    elif stat.S_ISDIR(mode):
        problem = "it is a folder; give a file name"
    elif mode and not stat.S_ISREG(mode):  # replacing /dev/null would break the system
        problem = "it is a device or a pipe; give another name"
    elif same:
        problem = "it is the input file; give another name"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"no permission to write in {_quoted(folder)}; choose another folder"
    if problem:
        raise AudioFileError(f"Cannot write {_quoted(target)}: {problem}.")


class AudioWriter:
    """Writes one wav or flac, by suffix. A context manager: the file appears whole on a clean exit, or not at all.

    rate: Hz. subtype: PCM_16, PCM_24 (default), and for wav PCM_32 and FLOAT. The audio goes to a hidden temporary
    file in the target's folder, which replaces the target at the end; after an exception it is removed and an
    existing target is as it was. A link is followed.

    Raises AudioFileError if path, rate, channels or subtype do not fit, if the target exists and `overwrite` is
    False, if the disk fails or fills up, and on exit if there were no samples.
    """

    def __init__(
        self, path: str | os.PathLike[str], rate: int, channels: int, subtype: str | None = None, overwrite: bool = True
    ) -> None:
        self.path = Path(path)
        self.samples = 0
        check_output(None, self.path)
        if not overwrite and self.path.exists():
            raise AudioFileError(f"{_quoted(self.path)} exists and is kept; give another name or allow to overwrite.")
        self._output = _OUTPUTS[self.path.suffix.lower()]
        self._channels, self._subtype = channels, subtype or "PCM_24"
        self._check_limits(rate)
        self._target = Path(os.path.realpath(self.path))
        # Created by libsndfile and not by `tempfile`, whose files only their owner may read.
        self._part = self._target.with_name(f".rtae-{uuid.uuid4().hex}.part")
        try:
            arguments = (rate, channels, self._subtype, None, self._output.format)
            self._file = sf.SoundFile(_native(self._part), "w", *arguments)
        except (RuntimeError, OSError, TypeError, ValueError) as error:
            self._part.unlink(missing_ok=True)
            raise self._failure(error) from error

    def _check_limits(self, rate: int) -> None:
        output, problem = self._output, ""
        if not 1 <= self._channels <= output.channels:
            problem = f"{self._channels} channels; allowed are 1 to {output.channels}. Choose fewer channels"
        elif not MIN_RATE <= rate <= output.rate:
            problem = f"a rate of {rate} Hz; allowed are {MIN_RATE} to {output.rate} Hz. Choose another rate"
        elif self._subtype not in output.subtypes:
            problem = f"subtype {self._subtype}; allowed are {', '.join(output.subtypes)}. Choose another subtype"
        if problem:
            raise AudioFileError(f"Cannot write {output.format} {_quoted(self.path)} with {problem} or another format.")

    def _failure(self, error: BaseException) -> AudioFileError:
        try:
            full = shutil.disk_usage(self._target.parent).free < 2**20
        except OSError:  # the folder is gone
            full = False
        reason = "the disk is full" if full else _reason(error)
        advice = "free some space, check the rights of its folder, or choose another folder"
        return AudioFileError(f"Cannot write {_quoted(self.path)}: {reason}; {advice}.")

    def write(self, block: NDArray[np.float32]) -> None:
        """Append a block `(channels, n)`. NaN and infinity become 0; all subtypes but FLOAT are clipped to +-1.

        Raises ValueError for another shape, and AudioFileError if the disk fails or a wav would exceed 4 GiB.
        """
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise ValueError(f"Cannot write a block of shape {block.shape}; it must be ({self._channels}, n).")
        size = (self.samples + block.shape[1]) * self._channels * self._output.subtypes[self._subtype]
        if self._output.format == "WAV" and size > MAX_WAV_BYTES:
            raise AudioFileError(
                f"{_quoted(self.path)} would exceed the 4 GiB of a wav; write a flac or shorter files."
            )
        for start in range(0, block.shape[1], _CHUNK):
            audio = block[:, start : start + _CHUNK].T.astype(np.float32, order="C")  # a copy: the caller's is kept
            audio[~np.isfinite(audio)] = 0.0
            if self._subtype != "FLOAT":
                np.clip(audio, -1.0, 1.0, out=audio)
            try:
                self._file.write(audio)
            except (sf.LibsndfileError, OSError, AssertionError) as error:  # soundfile asserts that all was written
                raise self._failure(error) from error
            self.samples += len(audio)

    def close(self) -> None:
        """Finish the file and put it in its place; `with` does this. Once closed or discarded, nothing happens."""
        if self._file.closed:
            return
        try:
            self._file.close()
            if self.samples == 0:
                raise AudioFileError(f"{_quoted(self.path)} is not written: there are no samples; give some audio.")
            self._part.replace(self._target)
        except (sf.LibsndfileError, OSError) as error:
            raise error if isinstance(error, AudioFileError) else self._failure(error) from error
        finally:
            self._part.unlink(missing_ok=True)  # not there any more if all went well

    def discard(self) -> None:
        """Throw away what was written and leave an existing target alone; `with` does this after an exception."""
        try:
            self._file.close()
        except sf.LibsndfileError:
            pass  # a full disk; the file goes anyway
        finally:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
