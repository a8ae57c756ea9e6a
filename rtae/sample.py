"""Music that a model's prior makes up, decoded into a file: `rtae sample`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from rtae.audio.file import read_audio
from rtae.audio.output import AudioWriter, check_output
from rtae.errors import AudioFileError, ParameterError
from rtae.params import TABLE
from rtae.prior import Dream, Prior, load
from rtae.runtime import OnnxModel

FloatArray = NDArray[np.float32]
LONGEST_SECONDS = 3600.0
HEARD_SECONDS = 8.0  # of a song that is continued
CHUNK_FRAMES = 512
PEAK = 0.98  # what is louder is turned down as a whole


def heard_of(song: Path, model: OnnxModel) -> FloatArray:
    """Latents of the end of a song, (latent_dim, frames), mixed to mono. Raises AudioFileError."""
    audio, rate = read_audio(song)
    mono = audio[:, -round((HEARD_SECONDS + 1) * rate) :].mean(axis=0)
    own = model.spec.sample_rate
    mono = np.asarray(mono if rate == own else soxr.resample(mono, rate, own), np.float32)
    whole = len(mono) // model.spec.stride
    if whole < 1:
        raise AudioFileError(f"{song} is too short to be continued: give at least {model.spec.stride / own:.2f} s")
    frames = round(HEARD_SECONDS * model.spec.frame_rate)
    heard: FloatArray = model.encode(mono[None])[0][:, :whole][:, -frames:]
    return heard


def decoded(
    model: OnnxModel, dream: Dream, frames: int, temperature: float, seed: int, heard: FloatArray | None = None
) -> Iterator[FloatArray]:
    """So many frames of a dream as audio, (1, samples) each, joined as if decoded in one go.

    heard: latents before the first one, which are not decoded but let the sound go on from theirs.
    """
    spec = model.spec
    past = spec.reach.decoder_past if spec.reach else spec.window // spec.stride
    ahead = spec.reach.decoder_future if spec.reach else 0
    before = np.zeros((spec.latent_dim, 0), np.float32) if heard is None else heard[:, -past:] if past else heard[:, :0]
    first = 0
    while first < frames:
        count = min(CHUNK_FRAMES, frames - first)
        fresh = dream.latents(first, count, temperature, seed)
        z = np.concatenate([before, fresh], axis=1)
        audio = model.decode(z[None])
        yield audio[:, before.shape[1] * spec.stride :]
        first += count
        before = z[:, z.shape[1] - past - ahead :] if past + ahead else z[:, :0]


def sample(
    model: OnnxModel,
    prior: Prior,
    seconds: float,
    temperature: float,
    seed: int,
    heard: FloatArray | None = None,
    progress: Callable[[float, float], None] = lambda *_: None,
) -> FloatArray:
    """Audio that the prior makes up, (1, samples), finite. Raises ParameterError for an impossible length."""
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ParameterError(f"{seconds:g} s cannot be made up; allowed are lengths above 0 and up to an hour")
    TABLE["dream_temperature"].check(temperature)
    samples = max(1, round(seconds * model.spec.sample_rate))
    frames = -(-samples // model.spec.stride)
    dream, parts, done = Dream(prior, heard), [], 0
    for part in decoded(model, dream, frames, temperature, seed, heard):
        parts.append(part)
        done += part.shape[1]
        progress(done, samples)
    return np.nan_to_num(np.concatenate(parts, axis=1)[:, :samples], nan=0, posinf=0, neginf=0)


def sample_to_file(
    folder: Path,
    target: Path,
    kind: str,
    seconds: float,
    temperature: float,
    seed: int,
    song: Path | None = None,
    progress: Callable[[float, float], None] = lambda *_: None,
) -> float:
    """Write a sample of the model in a folder; by how many dB it had to be turned down. Raises RtaeError."""
    check_output(song, target)
    model = OnnxModel.load(folder)
    prior = load(kind, folder, model.spec)
    heard = heard_of(song, model) if song is not None else None
    audio = sample(model, prior, seconds, temperature, seed, heard, progress)
    peak = float(np.abs(audio).max())
    gain = min(1.0, PEAK / max(peak, 1e-9))
    with AudioWriter(target, model.spec.sample_rate, 1) as out:
        out.write(audio * np.float32(gain))
    return float(-20 * np.log10(gain))
