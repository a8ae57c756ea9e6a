"""The training loop's own part of the model: what a step does, how it is scheduled, and its running average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from rtae.errors import TrainingError
from rtae.nets.autoencoder import Autoencoder
from rtae.training.checkpoint import Checkpoint, first_line
from rtae.training.config import TrainConfig
from rtae.training.data import Example
from rtae.training.losses import TrainingLoss, quality, spectral_distance
from rtae.training.optimizer import build_optimizer, check_state, kept_state, restore_state
from rtae.training.variational import LatentFigures, divergence, draw, kl_weight
from rtae.training.watch import LossWatch

FINAL_RATE = 0.05


@dataclass(frozen=True)
class TrackQuality:
    """One held-out track: its name, both figures, and both waveforms (1, 1, samples)."""

    name: str
    si_sdr: float
    mr_stft: float
    target: Tensor
    output: Tensor


class TrainingModule(lightning.LightningModule):
    """An autoencoder, its average, and where its training stands.

    step and seconds count over all resumptions; Lightning's own counters start anew with each.
    """

    def __init__(self, config: TrainConfig, net: Autoencoder, basis: Tensor | None = None) -> None:
        """basis: the linear code's, (latent_dim, stride), which the floor of the loss is computed with."""
        super().__init__()
        self.config = config
        self.net = net
        self.average = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.loss = TrainingLoss(config, basis)
        self.distance = spectral_distance()
        self.step = 0
        self.seconds = 0.0
        self.earlier = (0, 0.0)  # steps and seconds of the runs that this one was started from
        self.started = monotonic()
        self.kept: dict[str, Tensor] = {}  # of the optimiser, from a checkpoint
        self.losses: list[float] = []
        self.parts: list[tuple[float, float]] = []  # of a variational network's losses: reconstruction, KL divergence
        self.watch = LossWatch()
        self.latents = LatentFigures()
        self.results: list[TrackQuality] = []

    # -- where the training stands -----------------------------------------------------------------------------------
    def elapsed(self) -> float:
        """Seconds of training, over all resumptions."""
        return self.seconds + monotonic() - self.started

    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1; the larger one of steps and minutes."""
        steps = self.step / self.config.steps if self.config.steps else 0.0
        minutes = self.elapsed() / 60 / self.config.minutes if self.config.minutes else 0.0
        return min(1.0, max(steps, minutes))

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue where a checkpoint stands."""
        try:
            self.net.load_state_dict(checkpoint.average)
            self.net.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise TrainingError(f"The checkpoint does not fit its own configuration: {first_line(error)}") from None
        check_state(self.config, self.net, checkpoint.optimizer)
        self.average = {name: value.clone() for name, value in checkpoint.average.items()}
        self.step, self.seconds, self.kept = checkpoint.step, checkpoint.seconds, checkpoint.optimizer
        self.earlier = checkpoint.earlier_steps, checkpoint.earlier_seconds

    def checkpoint(self) -> Checkpoint:
        """Where the training stands now."""
        model = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        kept = kept_state(self.optimizers(), self.net)  # type: ignore[arg-type]
        return Checkpoint(self.config, self.step, self.elapsed(), model, dict(self.average), kept, *self.earlier)

    # -- a training step ---------------------------------------------------------------------------------------------
    def configure_optimizers(self) -> torch.optim.Optimizer:
        """That of the configuration, where it stood if this goes on."""
        optimizer = build_optimizer(self.config, self.net)
        if self.kept:
            restore_state(optimizer, self.config, self.net, self.kept, self.step)
        return optimizer

    def learning_rate(self) -> float:
        """The rate of this step: linear warm-up, then a cosine over the budget."""
        warm = min(1.0, (self.step + 1) / self.config.warmup) if self.config.warmup else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress()))
        return self.config.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine)

    def on_train_start(self) -> None:
        """Training time starts to count."""
        self.started = monotonic()

    def on_train_batch_start(self, batch: Example, batch_idx: int) -> None:
        """Set the rate; keep batch norm's statistics once they are frozen."""
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = self.learning_rate() * group["factor"]
        if self.progress() >= self.config.freeze_norm_at:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.eval()

    def not_finite(self, what: str) -> TrainingError:
        """What to raise where numbers are none: the problem, when it came, and what to do."""
        return TrainingError(
            f"{what} at step {self.step}. The last good checkpoint is kept; start again with a lower --learning-rate "
            f"than {self.config.learning_rate:g}"
        )

    def training_step(self, batch: Example, batch_idx: int) -> Tensor:
        """The loss. Raises TrainingError where it is not a number, or runs away."""
        audio = batch.audio
        loss = self.variational_loss(audio) if self.config.net.variational else self.loss(self.net(audio), *batch)
        if not torch.isfinite(loss):
            raise self.not_finite(f"The loss is {float(loss.detach())}")
        self.losses.append(float(loss.detach()))
        self.watch_loss(batch)
        return loss

    def watch_loss(self, batch: Example) -> None:
        """Raise TrainingError where the loss has risen far above what it was. Of variational networks, a part of it."""
        silence = float(self.loss(torch.zeros_like(batch.audio), *batch)) if self.watch.asks else None
        self.watch.add(self.parts[-1][0] if self.config.net.variational else self.losses[-1], silence)
        if self.watch.diverged:
            raise TrainingError(
                f"The loss has risen from {self.watch.start:.3g} to {self.watch.now:.3g} by step {self.step}: this "
                f"training diverges. Start again with a lower --learning-rate than {self.config.learning_rate:g}"
            )

    def variational_loss(self, batch: Tensor) -> Tensor:
        """Reconstruction from a draw, and the weighted KL divergence, summed over dimensions and averaged over time."""
        mean, log_variance = self.net.encoder.distribution(batch)
        z = draw(mean, log_variance, self.config.seed, self.step)
        reconstruction: Tensor = self.loss(self.net.decoder(z)[..., : batch.shape[-1]], batch)
        nats = divergence(mean, log_variance)
        kl = nats.sum() if self.config.loss == "paper-vae" else nats.sum(dim=1).mean()
        self.parts.append((float(reconstruction.detach()), float(kl.detach())))
        return reconstruction + kl_weight(self.config, self.progress()) * kl

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step of the weights, of their average and of the count: nobody sees one without the others."""
        try:
            super().optimizer_step(*args, **kwargs)
        except torch.linalg.LinAlgError:  # SOAP's axes of gradients that are not numbers
            raise self.not_finite("The gradients are not finite") from None
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)
        self.step += 1
        if self.progress() >= 1:
            self.trainer.should_stop = True

    # -- validation --------------------------------------------------------------------------------------------------
    @contextmanager
    def averaged(self) -> Iterator[Autoencoder]:
        """The network with its averaged weights, in evaluation mode, for as long as this lasts."""
        trained = {name: value.clone() for name, value in self.net.state_dict().items()}
        modes = {module: module.training for module in self.net.modules()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        try:
            yield self.net
        finally:
            self.net.load_state_dict(trained)
            for module, mode in modes.items():
                module.training = mode

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.results, self.latents = [], LatentFigures()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Measure the averaged network on one held-out track: (name, (1, 1, samples))."""
        (name,), target = batch
        with self.averaged() as net:
            output = net(target)
            if self.config.net.variational:
                self.latents.add(*net.encoder.distribution(target))
        self.results.append(TrackQuality(name, *quality(output, target, self.distance), target, output))
