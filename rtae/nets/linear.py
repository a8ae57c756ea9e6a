"""The best linear code of a given size: frames of audio, and the first principal components of many of them.

It is the floor under every model of that latent size, and what a model's linear shortcut starts from. Frames are not
centred (audio has no offset worth a dimension), so this is the eigenvalue problem of their correlation matrix; by the
theorem of Eckart and Young (1936) no linear code of as many values per frame has a smaller squared error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class LinearCode:
    """basis: (latent_dim, stride) float32 with orthonormal rows, the strongest first; rows beyond `stride` are zero."""

    basis: FloatArray

    @classmethod
    def fit(cls, pieces: Iterable[NDArray[np.floating]], stride: int, latent_dim: int) -> LinearCode:
        """The code of pieces of mono audio, each (samples,); what is over a whole number of frames is left out."""
        correlation = np.zeros((stride, stride))
        for piece in pieces:
            frames = piece[: len(piece) // stride * stride].reshape(-1, stride).astype(np.float64)
            correlation += frames.T @ frames
        _, vectors = np.linalg.eigh(correlation)
        basis = np.zeros((latent_dim, stride), np.float32)
        kept = min(latent_dim, stride)
        basis[:kept] = vectors[:, ::-1].T[:kept]
        return cls(basis)

    def reconstruct(self, audio: FloatArray) -> FloatArray:
        """Audio (..., samples) through the code: encoded, decoded, cut to the length it had."""
        stride = self.basis.shape[1]
        samples = audio.shape[-1]
        padded = np.zeros((*audio.shape[:-1], -(-samples // stride) * stride), np.float32)
        padded[..., :samples] = audio
        frames = padded.reshape(*audio.shape[:-1], -1, stride)
        coded: FloatArray = (frames @ self.basis.T @ self.basis).reshape(padded.shape)
        return coded[..., :samples]
