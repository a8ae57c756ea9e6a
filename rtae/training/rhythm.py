"""What comes next if the rhythm goes on: for a network that foresees latents, whose own memory is too short for a beat.

    latents --> log energies --> movement --+--> likeness to itself, lag by lag --> softmax --+
                                            +--> what followed, lag by lag -------------------+--> foreseen movement

An attention over the last four seconds whose keys and queries are the movements of the energies themselves, so that
nothing has to be learned before a rhythm can be seen.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SMOOTH = 4  # frames over which an energy is averaged
LOCAL = 32  # frames whose average a movement is relative to
LAGS = tuple(range(32, 226, 2))  # frames: 0.28 to 1.95 s at 115 frames a second
SPANS = (96, 192)  # frames that are compared with what was a lag earlier, one head each
AHEAD = (1, 3, 5, 8)  # frames ahead of the newest one that are foreseen
MOST_GROUPS = 8
ENERGY_FLOOR = 1e-4  # square standard deviations
LIKENESS_FLOOR = 1.0  # square nats, of sums over a span: silence is like nothing
SHARPNESS = 12.0  # of the attention; where it could be learned it stayed within 4 % of this
KEPT = LAGS[-1] + SPANS[-1]  # movements that the newest frame depends on
CONTEXT = KEPT + SMOOTH + LOCAL - 2  # the same in latents


def group_matrix(dims: int) -> np.ndarray:
    """(dims, groups): the mean over neighbouring dimensions, which carry neighbouring frequencies."""
    groups = min(dims, MOST_GROUPS)
    table = np.zeros((dims, groups), np.float32)
    table[np.arange(dims), np.arange(dims) * groups // dims] = 1
    return table / table.sum(axis=0)


class Rhythm(nn.Module):
    """Foreseen movements, and how sure they are. Nothing here is trained."""

    groups: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("groups", torch.from_numpy(group_matrix(dims)))

    @property
    def size(self) -> int:
        """Values per frame."""
        return len(SPANS) * (self.groups.shape[1] * len(AHEAD) + 1)

    def first_guess(self) -> Tensor:
        """(dims, size): the weights by which a scale follows what is foreseen of its energy, half of it in nats."""
        table = torch.zeros(len(self.groups), len(SPANS), self.size // len(SPANS))
        follows = 0.5 / len(SPANS) * (self.groups > 0).float()
        table[:, :, : self.groups.shape[1] * len(AHEAD) : len(AHEAD)] = follows[:, None]
        return table.flatten(1)

    def movements(self, x: Tensor) -> Tensor:
        """Latents less their mean (batch, n, dims) -> (batch, groups, n - SMOOTH - LOCAL + 2), in nats."""
        energies = functional.avg_pool1d((x.square() @ self.groups).transpose(1, 2), SMOOTH, 1)
        logs = torch.log(energies + ENERGY_FLOOR)
        return logs[..., LOCAL - 1 :] - functional.avg_pool1d(logs, LOCAL, 1)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Latents less their mean (batch, CONTEXT - 1 + n, dims) -> (batch, n, size), one row for each newest frame."""
        moves = self.movements(x)
        end, longest = moves.shape[2], LAGS[-1]
        frames = x.shape[1] - CONTEXT + 1
        power = moves.square().sum(1)
        products = torch.stack(
            [(moves[..., longest:] * moves[..., longest - lag : end - lag]).sum(1) for lag in LAGS], 1
        )
        parts = []
        for span in SPANS:
            same = functional.avg_pool1d(products, span, 1)[..., -frames:] * span  # (batch, lags, frames)
            powers = functional.avg_pool1d(power, span, 1) * span
            last = powers.shape[1]
            before = torch.stack([powers[:, last - frames - lag : last - lag] for lag in LAGS], 1)
            likeness = same / torch.sqrt(before * powers[:, None, -frames:] + LIKENESS_FLOOR**2)
            weights = torch.softmax(SHARPNESS * likeness, 1)
            foreseen = torch.zeros(len(x), self.groups.shape[1], len(AHEAD), frames)
            for weight, lag in zip(weights.unbind(1), LAGS, strict=True):
                for place, ahead in enumerate(AHEAD):  # what followed is in the past: no lag is as short as that
                    followed = moves[..., end - frames - lag + ahead : end - lag + ahead]
                    foreseen[:, :, place].addcmul_(weight[:, None], followed)
            parts += [foreseen.flatten(1, 2), likeness.amax(1, keepdim=True)]
        return torch.cat(parts, 1).transpose(1, 2)
