"""The optimisers of training, and what of theirs a checkpoint keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rtae.errors import TrainingError
from rtae.training.config import TrainConfig

BANKS = ("encoder.analysis.", "decoder.synthesis.")  # the shortcut
MOMENTS = ("exp_avg", "exp_avg_sq")
MATRICES = ("GG", "Q")  # SOAP's: what gradients correlate with along each axis of a weight, and its eigenvectors
LARGEST_MATRIX = 256  # a longer axis is left as it is
SOAP_BETAS = (0.95, 0.99)
SOAP_EVERY = 10  # steps between two updates of the eigenvectors


def build_optimizer(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """Adam, or SOAP, for all weights; the shortcut, which starts where it should be, learns more slowly.

    SOAP (Vyas et al. 2024) is Adam along the axes in which gradients do not correlate, which Shampoo finds.
    """
    slow = [weight for name, weight in net.named_parameters() if name.startswith(BANKS)]
    fast = [weight for name, weight in net.named_parameters() if not name.startswith(BANKS)]
    groups = [{"params": fast, "factor": 1.0}, {"params": slow, "factor": config.shortcut_rate}]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    from pytorch_optimizer import SOAP  # takes a second to load, which the paper's experiments need not wait for

    return SOAP(
        groups,
        lr=config.learning_rate,
        betas=SOAP_BETAS,
        weight_decay=0.0,
        precondition_frequency=SOAP_EVERY,
        max_precondition_dim=LARGEST_MATRIX,
    )


def kept_state(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps: tensors named `moment.weight`, and SOAP's matrices, `Q.axis.weight`."""
    kept: dict[str, Tensor] = {}
    for name, weight in net.named_parameters():
        state = optimizer.state.get(weight, {})
        kept.update({f"{moment}.{name}": state[moment] for moment in MOMENTS if moment in state})
        for kind in MATRICES:
            for axis, matrix in enumerate(state.get(kind, ())):
                if len(matrix):
                    kept[f"{kind}.{axis}.{name}"] = matrix
    return kept


def preconditioned(config: TrainConfig, weight: Tensor) -> Iterator[int]:
    """The axes of a weight along which SOAP has matrices."""
    if config.optimizer == "soap" and weight.dim() > 1:
        yield from (axis for axis, size in enumerate(weight.shape) if size <= LARGEST_MATRIX)


def check_state(config: TrainConfig, net: nn.Module, kept: dict[str, Tensor]) -> None:
    """Raise TrainingError where something of `kept_state` is missing, or does not fit the network."""
    for name, weight in net.named_parameters():
        wanted = {f"{moment}.{name}": weight.shape for moment in MOMENTS}
        for axis in preconditioned(config, weight):
            square = torch.Size((weight.shape[axis],) * 2)
            wanted.update({f"{kind}.{axis}.{name}": square for kind in MATRICES})
        for key, shape in wanted.items():
            if key not in kept or kept[key].shape != shape:
                raise TrainingError(f"The checkpoint has no {key} that fits; train again")


def in_order(matrix: Tensor, kind: str) -> Tensor:
    """A copy that lies in memory as the optimiser's own does, since products round by that."""
    return matrix.mT.clone(memory_format=torch.contiguous_format).mT if kind == "Q" else matrix.clone()


def restore_state(
    optimizer: torch.optim.Optimizer, config: TrainConfig, net: nn.Module, kept: dict[str, Tensor], step: int
) -> None:
    """Put back what `kept_state` took at this step."""
    for name, weight in net.named_parameters():
        state: dict[str, Any] = {moment: kept[f"{moment}.{name}"].clone() for moment in MOMENTS}
        if config.optimizer == "adam":
            state["step"] = torch.tensor(float(step))
        else:
            axes = set(preconditioned(config, weight))
            for kind in MATRICES:
                found = [kept[f"{kind}.{axis}.{name}"] if axis in axes else None for axis in range(weight.dim())]
                state[kind] = [[] if matrix is None else in_order(matrix, kind) for matrix in found]
            state |= {"precondition_frequency": SOAP_EVERY, "shampoo_beta": SOAP_BETAS[1]}
        optimizer.state[weight] = state
    if config.optimizer == "soap":
        for group in optimizer.param_groups:
            group["step"] = step
