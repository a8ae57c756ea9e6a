"""Draws docs/demo.png: waveforms and spectrograms of the demo track before and after the model `small`.

Run from the project's folder with the extra `analysis` installed: python docs/make_demo_picture.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("agg")
from matplotlib import pyplot as plt

from rtae.audio.file import read_audio
from rtae.demo import DEMO_PATH
from rtae.engine import Engine
from rtae.models import find
from rtae.params import Snapshot
from rtae.render import rendered_blocks
from rtae.runtime import OnnxModel

START, SECONDS = 15.0, 6.0
BENT = Snapshot().replace(noise_amount=1.5, noise_share=0.5)
INK, PAPER, ACCENT = "#d8dee9", "#14171c", "#5fb3b3"


def main() -> None:
    """Render twice, draw, save."""
    audio, rate = read_audio(DEMO_PATH)
    engine = Engine(OnnxModel.load(find("small")))

    def through(values: Snapshot) -> np.ndarray:
        engine.prepare(rate, audio.shape[0])
        return np.concatenate(list(rendered_blocks(iter([audio]), engine, values)), axis=1)

    part = slice(int(START * rate), int((START + SECONDS) * rate))
    sounds = {
        "the demo track": audio,
        "through small": through(Snapshot()),
        "through small, latent noise at 1.5": through(BENT),
    }
    plt.rcParams.update({"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    figure, axes = plt.subplots(
        2, 3, figsize=(12, 5), height_ratios=[1, 2], sharex=True, sharey="row", facecolor=PAPER, layout="constrained"
    )
    for column, (title, sound) in enumerate(sounds.items()):
        mono = sound.mean(axis=0)[part]
        top, bottom = axes[:, column]
        top.plot(np.arange(len(mono)) / rate, mono, color=ACCENT, linewidth=0.3)
        top.set_title(title, color=INK, fontsize=11)
        bottom.specgram(mono, NFFT=2048, Fs=rate, noverlap=1536, cmap="magma", vmin=-140, vmax=-30)
        bottom.set_ylim(0, 12_000)
        bottom.set_xlabel("seconds")
        for axis in (top, bottom):
            axis.set_facecolor(PAPER)
    axes[1, 0].set_ylabel("Hz")
    figure.savefig(Path(__file__).with_name("demo.png"), dpi=80, facecolor=PAPER)


if __name__ == "__main__":
    main()
