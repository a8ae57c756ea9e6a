"""Draws docs/dreams.png: the demo track through `vae`, and what its priors make up, all at one loudness.

Run from the project's folder with the extra `analysis` installed: python docs/make_dream_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtae import plots
from rtae.demo import DEMO_PATH
from rtae.experiments import read_song, through
from rtae.models import find
from rtae.prior import KINDS, load
from rtae.runtime import OnnxModel
from rtae.sample import sample

START, SECONDS, WARM_SECONDS, SEED = 20.0, 8.0, 10.0, 3
LOUDNESS = 0.1  # RMS


def main() -> None:
    """Make the sounds, draw, save."""
    folder = find("vae")
    model = OnnxModel.load(folder)
    rate = model.spec.sample_rate
    sounds = {"the demo track through vae": through(model, read_song(DEMO_PATH, rate, START, SECONDS))}
    for kind in KINDS:
        audio = sample(model, load(kind, folder, model.spec), WARM_SECONDS + SECONDS, 1.0, SEED)[0]
        sounds[f"{kind} prior"] = audio[round(WARM_SECONDS * rate) :]
    even = {name: audio * np.float32(LOUDNESS / np.sqrt(np.mean(audio**2))) for name, audio in sounds.items()}
    plots.save(plots.waves(even, rate, "at one loudness, temperature 1"), Path(__file__).parent / "dreams.png")


if __name__ == "__main__":
    main()
