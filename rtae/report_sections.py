"""The sections of the report: each an experiment on the user's songs, and words that follow from its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtae import plots
from rtae.clips import level_db
from rtae.errors import RtaeError
from rtae.experiments import (
    AMOUNT,
    Interpolation,
    envelope_likeness,
    interpolate,
    perturb,
    random_latents,
    snr_db,
    spectral_flatness,
    through,
)
from rtae.prior import KINDS, load
from rtae.report_clusters import components, how_many, silhouette_scores, the_clusters
from rtae.report_ground import MAIN, MODELS, VAE, Excerpt, Ground, Section, by_size, in_words, likeness, listed
from rtae.runtime import OnnxModel
from rtae.sample import sample

FloatArray = NDArray[np.float32]
MOST_SHOWN = 4  # songs of which there are pictures
WARM_SECONDS = 5.0  # of each dream, which begins in silence: its way out of there is not how it moves


# -- the experiments ---------------------------------------------------------------------------------------------------
def reconstruction(ground: Ground) -> Section:
    """Songs and what one model makes of them, on top of each other."""
    model = ground.models[MAIN]
    text, pictures, sounds = [], [], []
    for excerpt in ground.excerpts[:MOST_SHOWN]:
        output = through(model, excerpt.audio)
        text.append(in_words(excerpt.name, likeness(output, excerpt.audio, ground.rate)))
        drawn = plots.overlay(excerpt.audio, {MAIN: output}, ground.rate, excerpt.name)
        pictures.append((f"{excerpt.name} from {excerpt.start:.0f} s on, and {MAIN}", plots.image(drawn)))
        sounds += [(excerpt.name, excerpt.audio), (f"{excerpt.name}, through {MAIN}", output)]
    return Section(f"Songs through the model {MAIN}", tuple(text), tuple(pictures), tuple(sounds))


def three_models(ground: Ground) -> Section:
    """The first song through all models."""
    song = ground.excerpts[0]
    outputs = {name: through(ground.models[name], song.audio) for name in MODELS}
    figures = {name: likeness(output, song.audio, ground.rate) for name, output in outputs.items()}
    order = sorted(figures, key=lambda name: -figures[name].snr)
    first = f"In order of accuracy: {listed(order)}, {figures[order[0]].snr - figures[order[-1]].snr:.1f} dB apart."
    text = (first, *(in_words(name, figures[name]) for name in MODELS))
    picture = plots.image(plots.overlay(song.audio, outputs, ground.rate, song.name))
    sounds = ((song.name, song.audio), *outputs.items())
    return Section("Three models, one song", text, ((f"{song.name} and each model", picture),), sounds)


def own_songs(ground: Ground) -> Section:
    """Every song against what each model's card says of music it did not learn from."""
    rows, means = [], {}
    snrs = {
        excerpt.name: [snr_db(through(ground.models[name], excerpt.audio), excerpt.audio) for name in MODELS]
        for excerpt in ground.excerpts
    }
    for name, values in snrs.items():
        rows.append((name, *(f"{value:.1f} dB" for value in values)))
    text = []
    for number, name in enumerate(MODELS):
        card = ground.models[name].spec.training.get("si_sdr_db")
        means[name] = float(np.mean([values[number] for values in snrs.values()]))
        if isinstance(card, int | float):
            apart = means[name] - card
            verdict = (
                "about as well as"
                if abs(apart) < 1
                else f"{abs(apart):.1f} dB {'better' if apart > 0 else 'worse'} than"
            )
            text.append(f"{name} reproduces these songs {verdict} the held-out songs of its training ({card:.1f} dB).")
    worst, best = (pick(snrs, key=lambda name: snrs[name][MODELS.index(MAIN)]) for pick in (min, max))
    if len(snrs) > 1:
        text.append(f"{MAIN} has the least trouble with {best}, and the most with {worst}.")
    mean = ("mean", *(f"{means[name]:.1f} dB" for name in MODELS))
    table = (("song", *MODELS), *rows, mean)
    return Section("Songs of one's own", tuple(text), table=table)


def two_ends(ground: Ground) -> tuple[Excerpt, Excerpt]:
    """Two songs, or both halves of one."""
    if len(ground.excerpts) > 1:
        return ground.excerpts[0], ground.excerpts[1]
    song = ground.excerpts[0]
    half = len(song.audio) // 2
    return (
        Excerpt(f"{song.name}, first half", song.audio[:half], song.start),
        Excerpt(f"{song.name}, second half", song.audio[half:], song.start + half / ground.rate),
    )


def dip(walk: Interpolation, way: str) -> float:
    """By how many dB the quietest step is below the line between the levels of both ends."""
    steps = walk.along(way)
    line = np.linspace(steps[0].level_db, steps[-1].level_db, len(steps))
    return float(max(line - np.array([step.level_db for step in steps])))


def between(ground: Ground) -> Section:
    """From one song to another."""
    first, second = two_ends(ground)
    walk = interpolate(ground.models[MAIN], first.audio, second.audio)
    straight, round_ = dip(walk, "linear"), dip(walk, "spherical")
    middle = walk.along("linear")[2]
    text = (
        f"From {first.name} to {second.name} in {MAIN}. Their latents stand at {walk.angle:.0f} degrees, "
        + by_size(abs(walk.angle - 90), (15, "not quite strangers"), (0, "as those of strangers do"))
        + f". On the straight line the sound gets {straight:.1f} dB too quiet on the way, on the circle "
        f"{max(0.0, round_):.1f} dB.",
        f"Halfway the waveform correlates by {middle.like_first:.2f} with the one and by {middle.like_second:.2f} with "
        "the other: "
        + by_size(
            min(middle.like_first, middle.like_second),
            (0.3, "both sound at once, as in a mix."),
            (-2, "one of the two prevails."),
        ),
    )
    pictures, sounds = [], []
    for way in ("linear", "spherical"):
        shown = {f"{step.share:.2f}": step.audio for step in walk.along(way)}
        pictures.append((f"share of the second song, {way}", plots.image(plots.waves(shown, ground.rate, way))))
    sounds += [(f"{100 * step.share:.0f} %, linear", step.audio) for step in walk.along("linear")]
    sounds += [(f"{100 * step.share:.0f} %, spherical", step.audio) for step in walk.along("spherical")[1:-1]]
    return Section("From one song to another", text, tuple(pictures), tuple(sounds))


def disturbed(ground: Ground) -> Section:
    """Random values in some dimensions."""
    song, model = ground.excerpts[0], ground.models[MAIN]
    count = model.spec.latent_dim
    clean = through(model, song.audio)
    quarter, every = max(1, count // 4), range(count)
    sounds = {
        name: perturb(model, song.audio, dimensions, AMOUNT, add, ground.seed)
        for name, dimensions, add in (
            (f"in place of the last {count // 2} of {count} dimensions", every[count // 2 :], False),
            (f"in place of the first {quarter}", every[:quarter], False),
            ("added to all dimensions", every, True),
            ("in place of all dimensions", every, False),
        )
    }
    text = [f"Values within +-{AMOUNT}, in standard deviations of the latents, a new one for each frame, in {MAIN}."]
    for name, output in sounds.items():
        left = snr_db(output, clean)
        heard = by_size(
            left,
            (15, "a light noise over the song"),
            (3, "the song with noise over it"),
            (-3, "song and noise alike"),
            (-1e9, "noise, and little of the song"),
        )
        rhythm = envelope_likeness(output, clean, ground.rate)
        text.append(
            f"{name[0].upper()}{name[1:]}: the song is {above(left)} what was done to it, {heard}; its loudness "
            f"over time correlates by {rhythm:.2f}."
        )
    picture = plots.image(plots.waves({"as it was": clean, **sounds}, ground.rate, song.name))
    return Section("Random values in the latents", tuple(text), ((song.name, picture),), tuple(sounds.items()))


def above(decibels: float) -> str:
    """How far something is above something, or below it.

    >>> above(3), above(-1.25), above(-0.01)
    ('3.0 dB above', '1.2 dB below', 'as loud as')
    """
    if abs(decibels) < 0.05:
        return "as loud as"
    return f"{abs(decibels):.1f} dB {'above' if decibels > 0 else 'below'}"


def of_chance(ground: Ground) -> Section:
    """Latents that are nothing but random."""
    samples = round(ground.seconds * ground.rate)
    sounds = {name: random_latents(ground.models[name], samples, seed=ground.seed) for name in MODELS}
    song = ground.excerpts[0]
    white = np.random.default_rng(ground.seed).standard_normal(samples).astype(np.float32)
    real, noise = spectral_flatness(song.audio), spectral_flatness(white)
    flatness = {name: spectral_flatness(audio) for name, audio in sounds.items()}
    swing = {name: loudness_swing(audio, ground.rate) for name, audio in {song.name: song.audio, **sounds}.items()}
    table = [
        ("", "spectral flatness", "swing of the loudness"),
        (song.name, f"{real:.4f}", f"{swing[song.name]:.1f} dB"),
    ]
    table += [(name, f"{flatness[name]:.4f}", f"{swing[name]:.1f} dB") for name in MODELS]
    table.append(("white noise", f"{noise:.4f}", f"{loudness_swing(white, ground.rate):.1f} dB"))
    steady = [name for name in MODELS if swing[name] < 0.5 * swing[song.name]]
    text = [
        "Values within +-1 that know nothing of each other, decoded. "
        + (
            f"Nothing moves in {listed(steady)}: the loudness swings less than half as much as in the song. That is "
            "noise, as in the paper."
            if steady
            else "Its loudness swings as that of music does."
        ),
        f"The flatness of a spectrum is {noise:.2f} for white noise and {real:.4f} for {song.name}; "
        + listed([f"{flatness[name]:.4f} for {name}" for name in MODELS])
        + ": latents colour the noise, each in its decoder's way.",
    ]
    picture = plots.image(plots.waves(sounds, ground.rate, "random latents"))
    return Section("Latents of chance", tuple(text), (("each model", picture),), tuple(sounds.items()), tuple(table))


def loudness_swing(audio: FloatArray, rate: int) -> float:
    """Standard deviation of the level of stretches of 50 ms, dB; what is 60 dB below the loudest counts as that."""
    size = max(1, rate // 20)
    count = max(1, len(audio) // size)
    levels = np.array([level_db(part) for part in np.array_split(audio[: count * size], count)])
    return float(np.maximum(levels, levels.max() - 60).std())


def variational(ground: Ground) -> Section:
    """The variational autoencoder, and what priors make up, where there are any."""
    title = "The variational autoencoder, and what it makes up"
    song = ground.excerpts[0]
    sounds: dict[str, FloatArray] = {}
    text: list[str] = []
    model = ground.models.get(VAE)
    if model is None:
        text.append(f"There is no model '{VAE}' here, so this is about the others alone.")
    else:
        output = through(model, song.audio)
        text.append(in_words(f"{song.name} through {VAE}", likeness(output, song.audio, ground.rate)))
        samples = round(ground.seconds * ground.rate)
        shape = (1, model.spec.latent_dim, -(-samples // model.spec.stride))
        chance = np.random.default_rng(ground.seed).standard_normal(shape, np.float32)
        sounds |= {f"{song.name} through {VAE}": output}
        sounds["its own prior: independent normal values"] = model.decode(chance)[0, :samples]
    dreams = {
        f"{name}, {kind}": audio
        for name, one in ground.models.items()
        for kind, audio in made_up(one, ground.folders[name], ground.seconds, ground.seed).items()
    }
    if not dreams:
        text.append("No model here has learned how its latents move, so none can make up more than noise.")
    swing = loudness_swing(song.audio, ground.rate)
    for name, audio in {**dict(list(sounds.items())[1:]), **dreams}.items():
        own = loudness_swing(audio, ground.rate)
        moves = by_size(
            own / max(swing, 0.1), (0.75, "it moves as music does"), (0.4, "it moves somewhat"), (0, "it is steady")
        )
        text.append(
            f"{name}: the loudness swings by {own:.1f} dB where the song's does by {swing:.1f} dB, {moves}; spectral "
            f"flatness {spectral_flatness(audio):.4f}."
        )
    sounds |= dreams
    pictures = ((("what is decoded", plots.image(plots.waves(sounds, ground.rate, "")))),) if sounds else ()
    return Section(title, tuple(text), pictures, tuple(sounds.items()))


def made_up(model: OnnxModel, folder: Path, seconds: float, seed: int) -> dict[str, FloatArray]:
    """What the priors of a model make up, by kind; nothing where it has none."""
    made: dict[str, FloatArray] = {}
    for kind in KINDS:
        try:
            audio = sample(model, load(kind, folder, model.spec), WARM_SECONDS + seconds, 1.0, seed)[0]
        except RtaeError:
            continue  # it has no such prior
        made[f"{kind} prior"] = audio[round(WARM_SECONDS * model.spec.sample_rate) :]
    return made


SECTIONS: dict[str, Callable[[Ground], Section]] = {
    "Reconstructions": reconstruction,
    "Three models": three_models,
    "Songs of one's own": own_songs,
    "Principal components": components,
    "Elbows": how_many,
    "Clusters": the_clusters,
    "Silhouettes": silhouette_scores,
    "Interpolation": between,
    "Perturbation": disturbed,
    "Random latents": of_chance,
    "The VAE": variational,
}
