"""Audio files that are written: wav and flac, whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from rtae.audio.file import CHUNK, MAX_CHANNELS, MAX_RATE, MIN_RATE, mode_of, native, quoted, reason_of
from rtae.errors import AudioFileError

MAX_WAV_BYTES = 2**32 - 2**16  # A wav counts its bytes in 32 bits; past that its header is silently wrong.


@dataclass(frozen=True)
class Output:
    """What a format can hold; subtypes: bytes per sample."""

    format: str
    channels: int
    rate: int
    subtypes: dict[str, int]


OUTPUTS = {
    ".wav": Output("WAV", MAX_CHANNELS, MAX_RATE, {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}),
    ".flac": Output("FLAC", 8, 655_350, {"PCM_16": 2, "PCM_24": 3}),
}


BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


def to_steps(audio: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Samples as whole steps of so many bits, left-aligned in 32, clipped to +-1.

    libsndfile itself would scale by 2 ** (bits - 1) - 1, though it reads by 2 ** (bits - 1): what is read and written
    again would not be the same.
    """
    half = 2 ** (bits - 1)
    steps = np.clip(np.rint(audio.astype(np.float64) * half), -half, half - 1).astype(np.int64)
    aligned: NDArray[np.int32] = (steps << (32 - bits)).astype(np.int32)
    return aligned


def check_output(source: Path | None, target: Path) -> None:
    """Raise AudioFileError unless a wav or flac can be written at `target`, and it is not `source` by another name."""
    folder = target.parent
    try:
        folder_mode, mode = mode_of(folder), mode_of(target)
        same = source is not None and bool(mode and mode_of(source)) and target.samefile(source)
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be entered
        raise AudioFileError(f"Cannot write {quoted(target)}: {reason_of(error)}; give another path.") from error
    problem = ""
    if target.suffix.lower() not in OUTPUTS:
        problem = f"unknown format; its name must end in {' or '.join(OUTPUTS)}"
    elif not stat.S_ISDIR(folder_mode):
        problem = f"there is no folder {quoted(folder)}; create it first"
    elif stat.S_ISDIR(mode):
        problem = "it is a folder; give a file name"
    elif mode and not stat.S_ISREG(mode):  # replacing /dev/null would break the system
        problem = "it is a device or a pipe; give another name"
    elif same:
        problem = "it is the input file; give another name"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"no permission to write in {quoted(folder)}; choose another folder"
    if problem:
        raise AudioFileError(f"Cannot write {quoted(target)}: {problem}.")


def folder_problem(folder: Path) -> str:
    """Make a folder if there is none; why nothing can be written in it, or an empty text."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        return f"The folder {folder} cannot be made ({reason_of(error)})"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"No permission to write in {folder}"


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
            raise AudioFileError(f"{quoted(self.path)} exists and is kept; give another name or allow to overwrite.")
        self._output = OUTPUTS[self.path.suffix.lower()]
        self._channels, self._subtype = channels, subtype or "PCM_24"
        self._check_limits(rate)
        self._target = Path(os.path.realpath(self.path))
        # Created by libsndfile and not by `tempfile`, whose files only their owner may read.
        self._part = self._target.with_name(f".rtae-{uuid.uuid4().hex}.part")
        try:
            arguments = (rate, channels, self._subtype, None, self._output.format)
            self._file = sf.SoundFile(native(self._part), "w", *arguments)
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
            raise AudioFileError(f"Cannot write {output.format} {quoted(self.path)} with {problem} or another format.")

    def _failure(self, error: BaseException) -> AudioFileError:
        reason = reason_of(error)
        try:
            disk = shutil.disk_usage(self._target.parent)
        except OSError:  # the folder is gone
            pass
        else:
            if disk.total == 0:
                reason = "the system keeps no files there"  # as in /proc
            elif disk.free < 2**20:
                reason = "the disk is full"
        advice = "free some space, check the rights of its folder, or choose another folder"
        return AudioFileError(f"Cannot write {quoted(self.path)}: {reason}; {advice}.")

    def write(self, block: NDArray[np.float32]) -> None:
        """Append a block `(channels, n)`. NaN and infinity become 0; all subtypes but FLOAT are clipped to +-1.

        Raises ValueError for another shape, and AudioFileError if the disk fails or a wav would exceed 4 GiB.
        """
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise ValueError(f"Cannot write a block of shape {block.shape}; it must be ({self._channels}, n).")
        size = (self.samples + block.shape[1]) * self._channels * self._output.subtypes[self._subtype]
        if self._output.format == "WAV" and size > MAX_WAV_BYTES:
            raise AudioFileError(f"{quoted(self.path)} would exceed the 4 GiB of a wav; write a flac or shorter files.")
        for start in range(0, block.shape[1], CHUNK):
            audio = block[:, start : start + CHUNK].T.astype(np.float32, order="C")  # a copy: the caller's is kept
            audio[~np.isfinite(audio)] = 0.0
            try:
                self._file.write(audio if self._subtype == "FLOAT" else to_steps(audio, BITS[self._subtype]))
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
                raise AudioFileError(f"{quoted(self.path)} is not written: there are no samples; give some audio.")
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
