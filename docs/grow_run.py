"""Gives the network of a run more channels or a longer memory, without changing what it does, to train on from there.

FACTOR: so many times the channels. After Chen et al. 2016 ("Net2Net"): what a new channel hears is drawn by chance, and
what it says is nothing at first. FRAMES: so many past frames more that the first layer of the decoder hears, with
weights of nothing. What is written is a run that `rtae train --from` goes on from. Run from the project's folder with
the extra `train` installed:
python docs/grow_run.py OUT RUN FACTOR FRAMES
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from average_runs import write
from search_networks import remembering, wider

from rtae.export.exporter import load_network
from rtae.nets.autoencoder import Autoencoder


def grown(net: Autoencoder, factor: float, frames: int) -> Autoencoder:
    """A network with more weights that does the same."""
    large = Autoencoder(remembering(frames)(wider(factor)(net.config)))
    old, new = net.state_dict(), large.state_dict()
    for name, value in new.items():
        had = old[name]
        if value.ndim == 3:  # a convolution has its inputs in the second place, a transposed one in the first
            said = value[had.shape[0] :] if name.startswith("decoder") else value[:, had.shape[1] :]
            said.zero_()
            value[..., had.shape[2] :] = 0  # the oldest frames, in a transposed convolution
        value[tuple(map(slice, had.shape))] = had
    large.load_state_dict(new)
    return large


@torch.no_grad()
def main(out: Path, run: Path, factor: float, frames: int) -> None:
    """Write the run."""
    torch.manual_seed(0)
    start, net = load_network(run)
    large = grown(net, factor, frames)
    audio = torch.randn(1, 1, 22_050)
    change = float((large.eval()(audio) - net(audio)).abs().max())
    config = replace(start.config, net=large.config)
    write(out, replace(start, config=config, model={}, average=large.state_dict(), optimizer={}), run)
    print(f"{sum(weight.numel() for weight in large.parameters())} weights; on noise it differs by {change:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
