"""The best linear code of a given size: frames of audio, and the first principal components of many of them.

It is the floor under every model of that latent size, and what a model's linear shortcut starts from. Frames are not
centred (audio has no offset worth a dimension), so this is the eigenvalue problem of their correlation matrix; by the
theorem of Eckart and Young (1936) no linear code of as many values per frame has a smaller squared error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae.errors import ModelError

FloatArray = NDArray[np.float32]
SMALLEST_DEVIATION = 1e-5  # -100 dBFS


@dataclass(frozen=True)
class LinearCode:
    """basis: (latent_dim, stride) float32 with orthonormal rows, the strongest first; rows beyond `stride` are zero.

    deviation: (latent_dim,), root mean square of each value over the audio it was fitted to, 1 for those that are
        always zero; known after `fit` only, since no file keeps it.
    """

    basis: FloatArray
    deviation: FloatArray | None = None

    @classmethod
    def fit(cls, pieces: Iterable[NDArray[np.floating]], stride: int, latent_dim: int) -> LinearCode:
        """The code of pieces of mono audio, each (samples,); what is over a whole number of frames is left out."""
        correlation, count = np.zeros((stride, stride)), 0
        for piece in pieces:
            frames = piece[: len(piece) // stride * stride].reshape(-1, stride).astype(np.float64)
            correlation += frames.T @ frames
            count += len(frames)
        energies, vectors = np.linalg.eigh(correlation)
        basis = np.zeros((latent_dim, stride), np.float32)
        kept = min(latent_dim, stride)
        basis[:kept] = vectors[:, ::-1].T[:kept]
        deviation = np.zeros(latent_dim, np.float32)
        deviation[:kept] = np.sqrt(np.maximum(energies[::-1][:kept], 0) / max(count, 1))
        return cls(basis, np.where(deviation > SMALLEST_DEVIATION, deviation, np.float32(1)))

    def save(self, path: Path) -> None:
        """Write the basis as .npy, beside and renamed. Raises OSError."""
        beside = path.with_name(path.name + ".part")
        with beside.open("wb") as out:
            np.save(out, self.basis, allow_pickle=False)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path, latent_dim: int, stride: int) -> LinearCode:
        """The code in a file. Raises ModelError where it is none of this size."""
        problem = f"it is not a table of {latent_dim} x {stride} finite numbers"
        try:
            basis = np.load(path, allow_pickle=False)
        except OSError as error:
            problem = error.strerror or problem
        except (ValueError, EOFError):
            pass  # numpy would advise to load it as a pickle
        else:
            fits = isinstance(basis, np.ndarray) and basis.shape == (latent_dim, stride) and basis.dtype.kind == "f"
            if fits and bool(np.isfinite(basis).all()):
                return cls(basis.astype(np.float32))
        raise ModelError(f"{path} is not the linear code of this model ({problem}); train or export it again")

    def reconstruct(self, audio: FloatArray) -> FloatArray:
        """Audio (..., samples) through the code: encoded, decoded, cut to the length it had."""
        stride = self.basis.shape[1]
        samples = audio.shape[-1]
        padded = np.zeros((*audio.shape[:-1], -(-samples // stride) * stride), np.float32)
        padded[..., :samples] = audio
        frames = padded.reshape(*audio.shape[:-1], -1, stride)
        coded: FloatArray = (frames @ self.basis.T @ self.basis).reshape(padded.shape)
        return coded[..., :samples]

    def error(self, pieces: Iterable[FloatArray]) -> float:
        """The mean square of what is left of pieces of mono audio, each (samples,); 0 of none."""
        squares, count = 0.0, 0
        for piece in pieces:
            squares += float(np.square(piece - self.reconstruct(piece), dtype=np.float64).sum())
            count += len(piece)
        return squares / max(count, 1)
