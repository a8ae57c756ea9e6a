"""Gives the network of a run so many times the channels, without a change to what it does, to train on from there.

After Chen et al. 2016 ("Net2Net"): what a new channel hears is drawn by chance, and what it says is nothing at first.
What is written is a run that `rtae train --from` goes on from. Run from the project's folder with the extra `train`
installed:
python docs/widen_run.py OUT RUN FACTOR
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from average_runs import write
from search_networks import wider

from rtae.nets.autoencoder import Autoencoder
from rtae.training.checkpoint import Checkpoint


def widened(net: Autoencoder, factor: float) -> Autoencoder:
    """A wider network that does the same."""
    wide = Autoencoder(wider(factor)(net.config))
    old, new = net.state_dict(), wide.state_dict()
    for name, value in new.items():
        had = old[name]
        if value.ndim == 3:  # a convolution has its inputs in the second place, a transposed one in the first
            said = value[had.shape[0] :] if name.startswith("decoder") else value[:, had.shape[1] :]
            said.zero_()
        value[tuple(map(slice, had.shape))] = had
    wide.load_state_dict(new)
    return wide


@torch.no_grad()
def main(out: Path, run: Path, factor: float) -> None:
    """Write the run."""
    torch.manual_seed(0)
    start = Checkpoint.load(run)
    net = Autoencoder(start.config.net)
    net.load_state_dict(start.average)
    wide = widened(net, factor)
    audio = torch.randn(1, 1, 22_050)
    change = float((wide.eval()(audio) - net.eval()(audio)).abs().max())
    config = replace(start.config, net=wide.config)
    write(out, replace(start, config=config, model={}, average=wide.state_dict(), optimizer={}), run)
    print(f"{sum(weight.numel() for weight in wide.parameters())} weights; on noise it differs by {change:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
