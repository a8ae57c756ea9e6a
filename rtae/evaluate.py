"""How well models reproduce music: per track, beside the best linear code of each model's size.

Needs the extra `train`, for the same measures that training uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from rtae.audio.file import find_audio, read_audio
from rtae.errors import AudioFileError, RtaeError
from rtae.nets.linear import LinearCode
from rtae.runtime import OnnxModel
from rtae.spec import LINEAR_FILE
from rtae.training.losses import quality, spectral_distance

FloatArray = NDArray[np.float32]
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Score:
    """One system on one track: SI-SDR in dB, multi-resolution STFT distance."""

    si_sdr: float
    mr_stft: float


@dataclass(frozen=True)
class Evaluation:
    """systems: names of the models and, each before its model, of the linear codes; scores: by track, then system.

    skipped: why a file could not be measured.
    """

    systems: tuple[str, ...]
    scores: dict[str, dict[str, Score]]
    skipped: dict[str, str]

    def mean(self, system: str) -> Score:
        """Over all tracks."""
        scores = [row[system] for row in self.scores.values()]
        return Score(float(np.mean([s.si_sdr for s in scores])), float(np.mean([s.mr_stft for s in scores])))


def linear_code(folder: Path, model: OnnxModel) -> LinearCode | None:
    """The linear code that came with a model, if one did. Raises ModelError where it is not one of its size."""
    path = folder / LINEAR_FILE
    if not path.exists():
        return None
    return LinearCode.load(path, model.spec.latent_dim, model.spec.stride)


def systems_of(folders: Sequence[Path]) -> dict[str, tuple[int, Callable[[FloatArray], FloatArray]]]:
    """Name, sample rate and function of every model and its linear code."""
    systems: dict[str, tuple[int, Callable[[FloatArray], FloatArray]]] = {}
    for folder in folders:
        model = OnnxModel.load(folder)
        rate, name = model.spec.sample_rate, folder.name if folder.name not in systems else str(folder)
        linear = linear_code(folder, model)
        label = f"linear {model.spec.stride} to {model.spec.latent_dim}"
        if linear is not None and label not in systems:
            systems[label] = (rate, linear.reconstruct)
        systems[name] = (rate, lambda audio, m=model: m.decode(m.encode(audio)))  # type: ignore[misc]
    return systems


def evaluate(
    folders: Sequence[Path], songs: Path, progress: Callable[[int, int, str], None] = lambda *_: None
) -> Evaluation:
    """Measure models on a folder of songs, nested, each mixed to mono at the model's rate.

    Raises AudioFileError where there are none, ModelError for broken models.
    """
    systems = systems_of(folders)
    found = find_audio(songs)
    if not found:
        raise AudioFileError(f"No audio files in {songs}")
    distance = spectral_distance()
    scores: dict[str, dict[str, Score]] = {}
    skipped: dict[str, str] = {}
    for number, path in enumerate(found):
        name = path.relative_to(songs).as_posix()
        progress(number, len(found), name)
        try:
            audio, rate = read_audio(path, max_seconds=LONGEST_SECONDS)
            scores[name] = {
                system: measure(function, resampled(audio, rate, own), distance)
                for system, (own, function) in systems.items()
            }
        except RtaeError as error:
            skipped[name] = str(error)
    if not scores:
        raise AudioFileError(f"None of the files in {songs} could be measured: {next(iter(skipped.values()))}")
    return Evaluation(tuple(systems), scores, skipped)


def resampled(audio: FloatArray, rate: int, own: int) -> FloatArray:
    """Mono, (1, samples), at a model's rate. Raises AudioFileError where too little is left to measure."""
    mono = audio.mean(axis=0)
    mono = mono if rate == own else soxr.resample(mono, rate, own)
    if len(mono) < 4096 or float(np.abs(mono).max()) < 1e-4:
        raise AudioFileError("too short or too quiet to be measured")
    return np.asarray(mono, np.float32)[None]


def measure(function: Callable[[FloatArray], FloatArray], audio: FloatArray, distance: torch.nn.Module) -> Score:
    """One system on one track."""
    output = np.ascontiguousarray(function(audio)[:, : audio.shape[1]])
    score = Score(*quality(torch.from_numpy(output)[None], torch.from_numpy(audio)[None], distance))
    if not (np.isfinite(score.si_sdr) and np.isfinite(score.mr_stft)):
        raise AudioFileError("so loud that its figures are not finite")
    return score
