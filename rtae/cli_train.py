"""The commands that make models, and those of what a model makes up by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from rtae.cli_options import Json, find_source, is_typed, require_extra

HeldOut = Annotated[
    Path | None, typer.Option("--held-out", help="Folder to measure on, instead of a tenth of the songs.")
]
Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Start from another run's folder, or a model that holds its checkpoint: with its network and weights "
        "of the loss, but for the floor, and a learning rate of 0.0005, unless you give others.",
    ),
]
ShortcutFrames = Annotated[
    int, typer.Option(min=0, max=16, help="Length of the linear shortcut, in latent frames; 0 leaves it out.")
]
Symmetric = Annotated[bool, typer.Option("--symmetric", help="Pad on both sides: sees ahead, adds latency.")]
FloorWeight = Annotated[
    float, typer.Option(help="Weight of the term that keeps the waveform as exact as the best linear code's.")
]
FloorDb = Annotated[
    float, typer.Option(help="Decibels by which it may be less exact: more is brighter, in treble of unknown phase.")
]
Loss = Annotated[
    str,
    typer.Option(
        help="spectral, mse, or paper-vae (of --model vae); these two with --shortcut-frames 0 and --optimizer adam "
        "are the paper's."
    ),
]
Optimizer = Annotated[
    str, typer.Option(help="soap, or adam, whose steps are a fifth to a third quicker and go less far.")
]


def train(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder of songs, nested, in any format and rate.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoint, metrics.csv, previews.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Preset: large, small, tiny or vae.")] = "small",
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Train for so long [default: 60].")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Train for so many steps.")] = None,
    held_out: HeldOut = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly.")] = False,
    start: Start = None,
    shortcut_frames: ShortcutFrames = 3,
    symmetric: Symmetric = False,
    loss: Loss = "spectral",
    optimizer: Optimizer = "soap",
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    batch: Annotated[int, typer.Option(min=1, help="Examples per step.")] = 4,
    crop: Annotated[int, typer.Option(min=4096, help="Samples per example.")] = 8192,
    waveform_weight: Annotated[float, typer.Option(help="Weight of the waveform term beside the spectral one.")] = 1.0,
    energy_weight: Annotated[float, typer.Option(help="Weight of the term that keeps the energy of each band.")] = 0.5,
    onset_weight: Annotated[float, typer.Option(help="Weight of the term that keeps the strength of onsets.")] = 1.0,
    floor_weight: FloorWeight = 40.0,
    floor_db: FloorDb = -0.3,
    kl_weight: Annotated[float, typer.Option(help="With --model vae: weight of the KL divergence, once up.")] = 0.01,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two validations.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and examples.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Processor cores to use [default: all].")] = None,
) -> None:
    """Train a model on a folder of songs. Ctrl-C stops and keeps a checkpoint that --resume continues."""
    require_extra("train", "torch", "lightning", "auraloss", "pytorch_optimizer", "safetensors")
    from dataclasses import replace

    from rtae.models import available
    from rtae.nets.config import preset
    from rtae.show_training import training
    from rtae.training.checkpoint import Checkpoint
    from rtae.training.config import TrainConfig

    config = TrainConfig(
        net=replace(preset(model), shortcut_frames=shortcut_frames, causal=not symmetric),
        steps=steps,
        minutes=60 if minutes is None and steps is None else minutes,
        crop=crop,
        batch=batch,
        loss=loss,
        waveform_weight=waveform_weight,
        energy_weight=energy_weight,
        onset_weight=onset_weight,
        floor_weight=floor_weight,
        floor_db=floor_db,
        kl_weight=kl_weight,
        optimizer=optimizer,
        learning_rate=learning_rate,
        validate_every=validate_every,
        seed=seed,
    )
    typed = {name for name in context.params if is_typed(context, name)}
    begin = Checkpoint.load(available().get(start, Path(start))) if start else None
    if resume:
        config = Checkpoint.load(out).config.continued(config, typed)
    elif begin:
        config = begin.config.further(config, typed)
    training(config, folder, out, held_out, resume, threads, begin)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    name: Annotated[str, typer.Option(help="What the model shall be called.")],
    into: Annotated[Path | None, typer.Option(help="Folder of models [default: your own].")] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of songs, if it has moved.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the model, for its card.")] = "not stated",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of that name.")] = False,
    notes: Annotated[
        Path | None, typer.Option(help="Text (Markdown) for the card: how the model sounds, what bending it does.")
    ] = None,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Keep the checkpoint in the model's folder: --from goes on from it.")
    ] = False,
) -> None:
    """Export a trained model to ONNX, if it verifies."""
    require_extra("train", "torch", "lightning", "auraloss", "onnx", "safetensors")
    from rtae.show_training import exporting

    exporting(run, name, into, data, licence, overwrite, notes, checkpoint)


def prior(
    folder: Annotated[Path, typer.Argument(help="A folder of songs, nested, in any format and rate.")],
    out: Annotated[Path, typer.Option(help="Folder of the training: its checkpoint.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model whose latents are learned.")] = "tiny",
    minutes: Annotated[float, typer.Option(min=0.01, help="Train for so long.")] = 15.0,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Folder to measure on, instead of a tenth of the songs.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    into: Annotated[Path | None, typer.Option(help="Folder to write it to [default: the model's own].")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and examples.")] = 0,
) -> None:
    """Train what a model dreams with: how its latents move. Ctrl-C stops and keeps what was learned."""
    require_extra("train", "torch", "lightning", "auraloss", "onnx", "safetensors")
    from rtae.dreaming import training_prior
    from rtae.training.prior import PriorConfig

    training_prior(folder, model, out, PriorConfig(minutes=minutes, seed=seed), held_out, resume, into)


def sample(
    target: Annotated[Path, typer.Argument(help="A .wav or .flac file.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model that has a prior: its name or folder.")] = "vae",
    seconds: Annotated[float, typer.Option(help="Length.")] = 20.0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0: no chance at all; 1: as in music.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, max=65_535, help="The same seed makes the same music.")] = 0,
    song: Annotated[Path | None, typer.Option("--continue", help="A song to go on from the end of.")] = None,
    prior: Annotated[str, typer.Option(help="network, gaussian, or independent, the paper's.")] = "network",
) -> None:
    """Write music that a model makes up."""
    from rtae.dreaming import sampling

    sampling(target, model, prior, seconds, temperature, seed, find_source(song) if song else None)


def priors(
    model: Annotated[str, typer.Argument(help="A model that has a prior, by its name or folder.")],
    on: Annotated[Path, typer.Option(help="Folder of music that neither has met.")],
    clips: Annotated[int, typer.Option(min=4, max=1000, help="Clips of 5 s of each kind.")] = 60,
    seed: Annotated[int, typer.Option(min=0, max=65_535, help="Seed of the dreams.")] = 0,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of the dreams.")] = 0.95,
    json: Json = None,
) -> None:
    """Measure how far what a model makes up is from music."""
    from rtae.dreaming import prior_table

    prior_table(model, on, clips, seed, temperature, json)


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "export": export,
    "prior": prior,
    "sample": sample,
    "priors": priors,
}
