"""How hard each term of the loss pulls at a network's weights, and how much of that is noise.

For each term, with the weight that the run gives it: the mean norm of its gradient over batches, and the norm of the
mean gradient, which is what the noise leaves. Terms that pull against each other have large means, and drown the others
in a step whose norm is bounded. Run from the project's folder with the extra `train` installed:
python docs/measure_gradients.py SONGS RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import default_collate

from rtae.export.exporter import load_network
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.linear import LinearCode
from rtae.spec import LINEAR_FILE
from rtae.training.data import Crops, survey
from rtae.training.losses import TrainingLoss
from rtae.training.run import linear_floors

BATCHES = 60


def gradient(loss: Tensor, net: Autoencoder) -> Tensor:
    """Of all weights, in one row; zeros where the loss does not depend on them."""
    weights = list(net.parameters())
    if not loss.requires_grad:
        return torch.zeros(sum(weight.numel() for weight in weights))
    found = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
    return torch.cat([one.flatten() for one in found])


def main(songs: Path, run: Path) -> None:
    """Print the table."""
    checkpoint, net = load_network(run)  # batch norm keeps its statistics, as in all but the beginning of a training
    config = checkpoint.config
    linear = LinearCode.load(run / LINEAR_FILE, config.net.latent_dim, config.net.stride)
    loss = TrainingLoss(config, torch.from_numpy(linear.basis))
    tracks = survey(songs, config.net.sample_rate, config.crop).tracks
    floors = linear_floors(tracks, linear)
    crops = Crops(tracks, config.crop, BATCHES * config.batch, 0, config.gain_db, floors=floors)
    found: dict[str, list[Tensor]] = {name: [] for name in loss.terms()}
    for number in range(BATCHES):
        batch = default_collate([crops[number * config.batch + place] for place in range(config.batch)])
        output, terms = net(batch.audio), loss.terms(batch.floor)
        for name, gradients in found.items():
            weight, term = terms[name]
            gradients.append(gradient(weight * term(output, batch.audio), net))
    found["all"] = [torch.stack(parts).sum(dim=0) for parts in zip(*found.values(), strict=True)]
    print(f"{'term':10}{'weight':>8}{'mean norm':>11}{'norm of mean':>14}")
    for name, gradients in found.items():
        rows = torch.stack(gradients)
        weight = f"{terms[name][0]:g}" if name in terms else ""
        print(f"{name:10}{weight:>8}{float(rows.norm(dim=1).mean()):11.1f}{float(rows.mean(dim=0).norm()):14.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
