"""How little it takes for a beat tracker to change its mind about songs.

For each song the F-measure of the beats that librosa finds (`rtae.metrics.beat_f`): of what lies between the song and
what a model makes of it, by the share of the way; of the song with white noise, by its level; and of the model's sound
with the song's own treble, from the given frequency on. Below it, the correlation of the onset strengths that the beats
are found in with those of the song. Run from the project's folder with the extras `train` and `analysis` installed:
python docs/measure_beats.py SONGS RUN HERTZ ["PART OF A SONG'S NAME" ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from rtae.export.exporter import load_network
from rtae.metrics import beat_f, low_passed
from rtae.training.data import survey

SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
NOISES_DB = (-50, -40, -30, -20)


def onset_correlation(song: NDArray[np.float32], sound: NDArray[np.float32], rate: int) -> float:
    """Of the onset strengths of both, (samples,) each."""
    strengths = [librosa.onset.onset_strength(y=y, sr=rate) for y in (song, sound)]
    return float(np.corrcoef(*strengths)[0, 1])


@torch.no_grad()
def main(songs: Path, run: Path, hertz: float, wanted: list[str]) -> None:
    """Print a row for each song of which a part of the name is wanted, or for all."""
    checkpoint, net = load_network(run)
    rate = checkpoint.config.net.sample_rate
    noise_names = "".join(f"{level:7d}" for level in NOISES_DB)
    print(f"{'':32}" + "".join(f"{share:7.1f}" for share in SHARES) + f"{noise_names} dB  own treble")
    for track in survey(songs, rate, checkpoint.config.crop).tracks:
        if wanted and not any(part in track.path.stem for part in wanted):
            continue
        song = track.read(0, track.samples)
        output = net(torch.from_numpy(song)[None, None])[0, 0].numpy()
        noise = np.random.default_rng(0).standard_normal(len(song)).astype(np.float32) * np.sqrt(np.mean(song**2))
        tried = [song + share * (output - song) for share in SHARES]
        tried += [song + noise * 10 ** (level / 20) for level in NOISES_DB]
        tried.append(low_passed(output, rate, hertz) + song - low_passed(song, rate, hertz))
        sounds = [np.asarray(sound, np.float32) for sound in tried]
        figures = [beat_f(song, sound, rate) for sound in sounds]
        beats = "".join("      -" if figure is None else f"{figure:7.2f}" for figure in figures)
        onsets = "".join(f"{onset_correlation(song, sound, rate):7.4f}" for sound in sounds)
        print(f"{track.path.stem[:32]:32}{beats}\n{'':32}{onsets}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
