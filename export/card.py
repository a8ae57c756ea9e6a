"""CARD.md: what a model is, in words and figures, written from what was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from rtae.spec import ModelSpec


def card(spec: ModelSpec, notes: str = "") -> str:
    """The text of a model's card. notes: Markdown of the model's maker, after the first facts."""
    training, reach = spec.training, spec.reach
    ratio = spec.stride / spec.latent_dim
    lines = [
        f"# {spec.name}",
        "",
        f"A `{spec.preset}` autoencoder for music at {spec.sample_rate} Hz: {spec.latent_dim} latent values for every "
        f"{spec.stride} samples, {spec.frame_rate:.0f} times a second ({describe_ratio(ratio)}).",
        "",
        "| | |",
        "|---|---|",
        f"| latents of a 5 s window | ({spec.latent_dim}, {-(-spec.window // spec.stride) + spec.extra_frames}) |",
    ]
    if reach is not None:
        past_ms = 1000 * reach.receptive_field / spec.sample_rate
        lines += [
            f"| receptive field | {reach.receptive_field} samples ({past_ms:.0f} ms) of past |",
            f"| look-ahead | {reach.look_ahead} samples (to the end of a sample's own frame: {spec.stride - 1}) |",
        ]
    if spec.components:
        share = sum(training["component_share"])
        lines += [f"| principal components | {len(spec.components)}, {share:.0%} of the variance of the latents |"]
    lines += [f"| licence | {spec.licence} |", ""]
    lines += [notes.strip(), ""] if notes.strip() else []
    lines += ["## Training", ""]
    lines += training_lines(training)
    lines += ["", "## Proof of the export", "", "| check | largest difference | allowed |", "|---|---:|---:|"]
    lines += [f"| {c['name']} | {c['value']:.2g} | {c['limit']:.2g} |" for c in spec.verification["checks"]]
    lines += ["", "Cost of a hop on the exporting machine, one thread, mono:", "", "| hop | ms | times real time |"]
    lines += ["|---:|---:|---:|"]
    lines += [f"| {c['hop']} | {c['milliseconds']} | {c['real_time_factor']} |" for c in spec.verification["cost"]]
    return "\n".join([*lines, "", *data_lines(training)]).rstrip() + "\n"


def describe_ratio(ratio: float) -> str:
    """Values against samples, in words."""
    return f"{ratio:.1f} times fewer values than samples" if ratio > 1 else f"{1 / ratio:.2f} times more values"


def training_lines(training: dict[str, Any]) -> list[str]:
    """What the model was trained with and what it reached."""
    loss = {
        "spectral": "multi-resolution STFT, with weights for the waveform, energies, onsets and the floor",
        "mse": "mean squared error",
        "paper-vae": "sum of squared errors and KL divergence",
    }
    earlier = ""
    if training.get("earlier_steps"):
        earlier = f", after {training['earlier_steps']} steps in {training['earlier_minutes']:.0f} minutes of the runs "
        earlier += "that it was started from"
    return [
        f"{training['steps']} steps in {training['minutes']:.0f} minutes on {training['audio_minutes']:.0f} minutes of "
        f"audio in {training['tracks']} files{earlier}; loss: {loss[training['loss']]}.",
        "",
        f"On {training['held_out_tracks']} held-out tracks: SI-SDR {training['si_sdr_db']:.2f} dB (the best linear "
        f"code of this size: {training['linear_si_sdr_db']:.2f} dB), multi-resolution STFT distance "
        f"{training['mr_stft']:.3f} (linear: {training['linear_mr_stft']:.3f}).",
    ]


def data_lines(training: dict[str, Any]) -> list[str]:
    """The tracks, by folder."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in training["files"]:
        path = PurePosixPath(name)
        folders[str(path.parent)].append(path.stem)
    return ["## Data", ""] + [f"* `{folder}`: {', '.join(names)}" for folder, names in sorted(folders.items())]
