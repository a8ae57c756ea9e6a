"""`rtae export`: a checkpoint becomes a model folder, or nothing does."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rtae.audio.output import folder_problem
from rtae.errors import AudioFileError, ExportError, ModelError, TrainingError
from rtae.models.catalogue import check_name
from rtae.nets.autoencoder import Autoencoder
from rtae.nets.config import NetConfig
from rtae.nets.linear import LinearCode
from rtae.nets.reach import computed_reach
from rtae.runtime import OnnxModel
from rtae.spec import CARD_FILE, COMPONENTS, DECODER_FILE, ENCODER_FILE, LINEAR_FILE, PAPER_FOLDER, SPEC_FILE, ModelSpec
from rtae.training.checkpoint import Checkpoint, first_line
from rtae.training.data import DATA_FILE, Track, middle, survey
from rtae.training.losses import quality, spectral_distance

from .card import card
from .graph import decoder_graph, encoder_graph
from .verify import Verification, check_graphs, verify

FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]
STATISTICS_SECONDS = 20
VERIFY_SECONDS = 10
QUALITY_SECONDS = 10
SMALLEST_STD = 1e-6
SMALLEST_SHARE = 0.01  # of the largest deviation
COMPONENT_DECIMALS = 7  # what is left out are rounding errors, which differ from machine to machine
NOTES_MOST = 1 << 16  # bytes
KEPT = (PAPER_FOLDER,)  # in a model's folder: what is no part of the model, and stays when it is replaced


@dataclass(frozen=True)
class Exported:
    """Where the model is, what it promises, and what was measured."""

    folder: Path
    spec: ModelSpec
    verification: Verification


def check_target(name: str, into: Path, overwrite: bool) -> Path:
    """The folder to write. Raises ModelError for a name that is none, ExportError for a model that is there already."""
    check_name(name)
    target = into / name
    if target.exists() and not target.is_dir():
        raise ExportError(f"{target} is a file; choose another --name, or move it away")
    problem = folder_problem(into)
    if problem:
        raise ExportError(f"{problem}; choose another --into")
    if target.exists() and not overwrite:
        raise ExportError(f"There is a model in {target} already; choose another --name, or add --overwrite")
    return target


def load_network(run: Path) -> tuple[Checkpoint, Autoencoder]:
    """The averaged network of a run, in evaluation mode."""
    checkpoint = Checkpoint.load(run)
    if checkpoint.config.net.placed:
        raise ExportError(
            f"The decoder in {run} puts values where its encoder's pool found them, and a latent that is played has no "
            "places to give: export another decoder of the comparison"
        )
    net = Autoencoder(checkpoint.config.net)
    try:
        net.load_state_dict(checkpoint.average)
    except RuntimeError as error:
        reason = first_line(error)
        raise TrainingError(f"The checkpoint in {run} does not fit its own configuration: {reason}") from None
    if not all(bool(torch.isfinite(value).all()) for value in net.state_dict().values()):
        raise ExportError(f"The checkpoint in {run} holds values that are not finite; train again")
    return checkpoint, net.eval()


def load_tracks(run: Path, data: Path | None) -> tuple[dict[str, Any], list[Track], list[Track]]:
    """What the run was trained on: its record, the training tracks and the held-out ones.

    data: the folder, if it is no longer where it was; then songs held out are looked for in it as well, unless they
    came from another folder that is still there.
    """
    try:
        record = json.loads((run / DATA_FILE).read_text())
        folder = data or Path(record["folder"])
        held_folder = Path(record["held_out_folder"])
        if data and (record["held_out_folder"] == record["folder"] or not held_folder.is_dir()):
            held_folder = data
        names = set(record["training"]), set(record["held_out"])
        record["minutes"] = float(record["minutes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{run / DATA_FILE}, which says what the run was trained on, is not usable: {error}"
        ) from None
    config = Checkpoint.load(run).config
    groups = []
    for place, wanted in zip((folder, held_folder), names, strict=True):
        try:
            found = survey(place, config.net.sample_rate, config.crop).tracks
        except (AudioFileError, TrainingError) as error:
            raise ExportError(f"{error} (it was trained on these songs; if they moved, say --data FOLDER)") from None
        groups.append([track for track in found if track.path.relative_to(place).as_posix() in wanted])
    if not groups[0] or not groups[1]:
        raise ExportError(f"The songs that the run was trained on are not in {folder}; say where with --data FOLDER")
    return record, groups[0], groups[1]


@dataclass(frozen=True)
class LatentStatistics:
    """Of the latents over the training set.

    mean, std: per dimension, as the network gives them. components: (k, latent_dim), the first principal components of
    the latents divided by std, unit length; component_std: (k,), their deviation along each; component_share: (k,),
    the share of the whole variance that each explains.
    """

    mean: FloatArray64
    std: FloatArray64
    components: FloatArray64
    component_std: FloatArray64
    component_share: FloatArray64


@torch.no_grad()
def latent_statistics(net: Autoencoder, tracks: Sequence[Track]) -> LatentStatistics:
    """Statistics of the latents over the middle of each track."""
    count, total, squares, products = 0, 0.0, 0.0, 0.0
    for track in tracks:
        z = net.encoder(torch.from_numpy(middle(track, STATISTICS_SECONDS))[None, None])[0].double().numpy()
        count += z.shape[1]
        total, squares = total + z.sum(axis=1), squares + (z**2).sum(axis=1)
        products = products + z @ z.T
    mean = np.asarray(total / count)
    deviation = np.sqrt(np.maximum(np.asarray(squares / count) - mean**2, 0))
    # A dimension that never moves is left as it is: scaling it would only blow up rounding.
    # What hardly ever moves is not blown up to full size, and rounding errors with it.
    std = np.where(deviation > SMALLEST_STD, np.maximum(deviation, SMALLEST_SHARE * deviation.max()), 1.0)
    covariance = (np.asarray(products / count) - np.outer(mean, mean)) / np.outer(std, std)
    return LatentStatistics(mean, std, *principal_components(covariance))


def principal_components(covariance: FloatArray64) -> tuple[FloatArray64, FloatArray64, FloatArray64]:
    """Directions, deviations along them, and shares of the variance, the largest first, COMPONENTS at most.

    A direction's largest entry is positive, so that the same latents always give the same directions. What does not
    move has none.
    """
    variances, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = [i for i in np.argsort(variances)[::-1][:COMPONENTS] if variances[i] > SMALLEST_STD]
    components, found = directions.T[kept], variances[kept]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return components * np.sign(largest), np.sqrt(found), found / max(np.trace(covariance), SMALLEST_STD)


@torch.no_grad()
def held_out_quality(reconstruct: Callable[[FloatArray], FloatArray], tracks: Sequence[Track]) -> tuple[float, float]:
    """Mean SI-SDR and MR-STFT distance over tracks, of a function from audio (1, samples) to the same shape."""
    distance = spectral_distance()
    figures = []
    for track in tracks:
        audio = middle(track, QUALITY_SECONDS)[None]
        output = np.ascontiguousarray(reconstruct(audio)[:, : audio.shape[1]])
        figures.append(quality(torch.from_numpy(output)[None], torch.from_numpy(audio)[None], distance))
    si_sdr, mr_stft = np.mean(figures, axis=0)
    return float(si_sdr), float(mr_stft)


def read_linear(run: Path, config: NetConfig) -> LinearCode:
    """The linear code that was fitted to the run's training tracks. Raises ExportError."""
    try:
        return LinearCode.load(run / LINEAR_FILE, config.latent_dim, config.stride)
    except ModelError as error:
        raise ExportError(str(error)) from None


def build(
    name: str, licence: str, checkpoint: Checkpoint, net: Autoencoder, statistics: LatentStatistics
) -> tuple[ModelSpec, bytes, bytes]:
    """Graphs and spec, not verified yet."""
    config = checkpoint.config.net
    mean, std = statistics.mean, statistics.std
    encoder, decoder = encoder_graph(net, std), decoder_graph(net, std)
    check_graphs(encoder, decoder)
    spec = ModelSpec(
        name=name,
        preset=config.preset,
        sample_rate=config.sample_rate,
        stride=config.stride,
        latent_dim=config.latent_dim,
        extra_frames=config.extra_frames,
        reach=computed_reach(config),
        latent_mean=tuple((mean / std).tolist()),
        latent_std=tuple(std.tolist()),
        files={
            ENCODER_FILE: hashlib.sha256(encoder).hexdigest(),
            DECODER_FILE: hashlib.sha256(decoder).hexdigest(),
        },
        licence=licence,
        components=tuple(tuple(row) for row in statistics.components.round(COMPONENT_DECIMALS).tolist()),
        component_std=tuple(statistics.component_std.round(COMPONENT_DECIMALS).tolist()),
    )
    return spec, encoder, decoder


def training_facts(
    checkpoint: Checkpoint, record: dict[str, Any], model: OnnxModel, linear: LinearCode, held: Sequence[Track]
) -> dict[str, Any]:
    """What the card says about the training."""
    si_sdr, mr_stft = held_out_quality(lambda audio: model.decode(model.encode(audio)), held)
    linear_si_sdr, linear_mr_stft = held_out_quality(linear.reconstruct, held)
    return {
        "steps": checkpoint.step,
        "minutes": round(checkpoint.seconds / 60, 1),
        "earlier_steps": checkpoint.earlier_steps,
        "earlier_minutes": round(checkpoint.earlier_seconds / 60, 1),
        "loss": checkpoint.config.loss,
        "tracks": len(record["training"]),
        "audio_minutes": record["minutes"],
        "held_out_tracks": len(held),
        "si_sdr_db": round(si_sdr, 3),
        "mr_stft": round(mr_stft, 4),
        "linear_si_sdr_db": round(linear_si_sdr, 3),
        "linear_mr_stft": round(linear_mr_stft, 4),
        "files": record["training"],
    }


def export(
    run: Path,
    name: str,
    into: Path,
    data: Path | None = None,
    licence: str = "not stated",
    overwrite: bool = False,
    notes: Path | None = None,
    keep_checkpoint: bool = False,
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Verification], None] = lambda _: None,
) -> Exported:
    """Export the checkpoint of a run as the model `into`/`name`.

    data: the folder of songs, if it has moved since. notes: a Markdown file that goes into the card.
    keep_checkpoint: copy the run's checkpoint into the model's folder. say: told what is going on. show: given the
    verification, passed or not. Raises RtaeError, of whichever kind; then nothing was written.
    """
    target = check_target(name, into, overwrite)
    words = read_notes(notes) if notes else ""
    checkpoint, net = load_network(run)
    linear = read_linear(run, net.config)
    say("reading the songs that it was trained on")
    record, tracks, held = load_tracks(run, data)
    say("measuring the latents")
    statistics = latent_statistics(net, tracks)
    spec, encoder, decoder = build(name, licence, checkpoint, net, statistics)
    model = OnnxModel(spec, encoder, decoder)
    say("verifying")
    music = np.concatenate([middle(track, VERIFY_SECONDS) for track in held])[None]
    verification = verify(net, model, music[:, : VERIFY_SECONDS * spec.sample_rate])
    show(verification)
    verification.require()
    say("measuring the quality on held-out songs")
    training = training_facts(checkpoint, record, model, linear, held)
    training["component_share"] = statistics.component_share.round(4).tolist()
    spec = replace(spec, verification=verification.to_dict(), training=training)
    files = {ENCODER_FILE: encoder, DECODER_FILE: decoder}
    files |= {SPEC_FILE: spec.to_json().encode(), CARD_FILE: card(spec, words).encode()}
    write(target, files, linear, checkpoint if keep_checkpoint else None)
    return Exported(target, spec, verification)


def read_notes(path: Path) -> str:
    """Text for the card. Raises ExportError."""
    try:
        with path.open("rb") as file:
            content = file.read(NOTES_MOST + 1)
        if len(content) > NOTES_MOST:
            raise ExportError(f"{path} is longer than the {NOTES_MOST // 1024} KB that notes may have")
        return content.decode()
    except OSError as error:
        raise ExportError(f"The notes in {path} cannot be read ({error.strerror}); say another file") from None
    except UnicodeDecodeError:
        raise ExportError(f"{path} is not a text in UTF-8; say another file") from None


def write(target: Path, files: dict[str, bytes], linear: LinearCode, checkpoint: Checkpoint | None = None) -> None:
    """All files into a folder beside the target, which then takes its name. Raises ExportError."""
    beside, old = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.old")
    try:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, content in files.items():
            (beside / name).write_bytes(content)
        linear.save(beside / LINEAR_FILE)
        if checkpoint is not None:
            checkpoint.save(beside, alone=True)
        for name in KEPT:
            if (target / name).is_dir():
                shutil.copytree(target / name, beside / name)
        if target.exists():
            target.replace(old)
        beside.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{target} cannot be written ({error.strerror}); choose another --into") from None
    finally:
        # Whatever happened, Ctrl-C included: the old model or the new one, and nothing else.
        if old.exists() and not target.exists():
            old.replace(target)
        shutil.rmtree(beside, ignore_errors=True)
