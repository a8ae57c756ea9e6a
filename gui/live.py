"""What the pictures are fed with, pulled out of shared memory: only what is new, dry and wet of the same moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtae.effects import on_map
from rtae.shared import LATENT_DIMS, SharedState
from rtae.spec import ModelSpec

FloatArray = NDArray[np.float32]
SCOPE_SECONDS = 3.0
MOST_SECONDS = 0.5  # after a stall of the window, older sound is left out of the spectrograms
TRAIL_SECONDS = 1.5
TRAIL_RATE = 40.0  # points per second
CLOUD_POINTS = 3000


class Live:
    """A reader of one shared state.

    latency: samples by which the wet signal is behind the dry one.
    """

    def __init__(self) -> None:
        self.seen_audio = self.seen_latents = 0
        self.latency = 0
        self.cloud: FloatArray = np.zeros((0, 2), np.float32)

    def new_model(self) -> None:
        """The cloud of places begins anew."""
        self.cloud = np.zeros((0, 2), np.float32)

    def scope(self, shared: SharedState, rate: int) -> tuple[FloatArray, FloatArray, int]:
        """Input and output of the last seconds, (samples,) each, and how many samples of output there were so far."""
        end = shared.count("scope")
        count = round(SCOPE_SECONDS * rate)
        block = shared.until("scope", end, count + self.latency)
        wet = block[1, max(0, block.shape[1] - count) :]
        dry = block[0, : max(0, block.shape[1] - self.latency)][-count:]
        return dry, wet, end

    def audio(self, shared: SharedState, rate: int) -> tuple[FloatArray, FloatArray]:
        """What is new since the last call."""
        end = shared.count("scope")
        fresh = min(end - self.seen_audio, round(MOST_SECONDS * rate))
        self.seen_audio = end
        if fresh <= 0:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        block = shared.until("scope", end, fresh + self.latency)
        return block[0, :fresh], block[1, block.shape[1] - fresh :]

    def latents(self, shared: SharedState, spec: ModelSpec) -> FloatArray:
        """Frames since the last call, (latent_dim, frames)."""
        end = shared.count("latents")
        fresh = min(end - self.seen_latents, round(MOST_SECONDS * spec.frame_rate))
        self.seen_latents = end
        dims = min(spec.latent_dim, LATENT_DIMS)
        return shared.until("latents", end, max(0, fresh))[:dims]

    def trail(self, shared: SharedState, spec: ModelSpec) -> FloatArray:
        """Places of the last seconds on the map, (points, 2); none if the model has no components."""
        if not spec.components or spec.latent_dim > LATENT_DIMS:
            return np.zeros((0, 2), np.float32)
        count = min(round(TRAIL_SECONDS * spec.frame_rate), shared.count("latents"))
        z = shared.newest("latents", count)[: spec.latent_dim]
        if z.shape[1] == 0:
            return np.zeros((0, 2), np.float32)
        step = max(1, round(spec.frame_rate / TRAIL_RATE))
        return np.asarray(on_map(z[:, ::-step][:, ::-1], spec)[:2].T, np.float32)

    def grow_cloud(self, trail: FloatArray) -> FloatArray:
        """The places seen so far, and these."""
        self.cloud = np.concatenate([self.cloud, trail])[-CLOUD_POINTS:]
        return self.cloud
