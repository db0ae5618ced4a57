"""The training step. It is the same for the plain VAE and the DFC-VAE, and for training and validation."""

import math
from collections.abc import Mapping
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfcvae.config import Experiment
from dfcvae.data.batches import Batch
from dfcvae.gaussian import active_units
from dfcvae.images import to_float
from dfcvae.losses import Objective
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

LOG_EVERY = 10  # steps between two rows of training metrics


class VAETraining(L.LightningModule):
    """Trains a VAE on an objective.

    Args:
        vae: the model.
        objective: what it is trained on.
        experiment: optimiser, schedule, KL warm-up and seed; kept in every checkpoint. The KL weight is raised linearly
            in training only: validation always uses all of it, so that its totals compare between epochs.
        steps_per_epoch: for the learning-rate schedule.
    """

    ema: AveragedModel | None
    _ddp_params_and_buffers_to_ignore: list[str]

    def __init__(self, vae: VAE, objective: Objective, experiment: Experiment, steps_per_epoch: int):
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.experiment = experiment
        self.steps_per_epoch = steps_per_epoch
        training = experiment.training
        self.ema = None
        if training.ema_decay is not None:
            self.ema = AveragedModel(vae, use_buffers=True).requires_grad_(False)
        self.validation_means: list[Tensor] = []
        self.parts_of_step: list[dict[str, Tensor]] = []  # the terms of each, of the latest step
        self.trained_step = torch.compile(self.step) if training.compile else self.step
        self.targets_kept = False  # what a resumed run has to know
        self.fingerprint = ""  # of the data, see `Faces`
        # every process has the same frozen network: none need tell the others of it in every step
        frozen = [name for name, _ in self.named_buffers() if name.startswith("objective.perceptual.")]
        self._ddp_params_and_buffers_to_ignore = frozen

    @property
    def evaluated(self) -> VAE:
        """The VAE that validation, pictures and loading use: the moving average where one is kept."""
        return self.vae if self.ema is None else cast(VAE, self.ema.module)

    def step(
        self,
        vae: VAE,
        batch: Batch,
        eps: Tensor,
        kl_warmup: float = 1.0,
        shift: tuple[int, int] = (0, 0),
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Batch means of all terms and the total, and the posterior means (N, D), for uint8 images (N, C, H, W)."""
        terms, mu = self.per_image(vae, batch, eps, kl_warmup, shift)
        return {name: value.mean() for name, value in terms.items()}, mu

    def per_image(
        self, vae: VAE, batch: Batch, eps: Tensor, kl_warmup: float, shift: tuple[int, int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """All terms and the total, (N,) each, and the posterior means (N, D)."""
        x = to_float(batch.images)  # (N, C, H, W)
        x_hat, mu, logvar = vae(x, eps)
        terms = self.objective.terms(x_hat, x, mu, logvar, shift, batch.targets)  # (N,) each
        return terms | {"total": self.objective.total(terms, kl_warmup)}, mu

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        warmup, part = self.kl_warmup(self.global_step), batch_index % self.experiment.training.parts
        eps = self.noise_of_part(self.global_step, part, len(batch.images))
        means, _ = self.trained_step(self.vae, batch, eps, warmup, self.shift())
        self._log_step({name: value.detach() for name, value in means.items()}, batch_index)
        return means["total"]

    def kl_warmup(self, step: int) -> float:
        """Factor of the KL weight in a training step."""
        return ramp(step, self.experiment.loss.kl_warmup_steps)

    def noise_of_part(self, step: int, part: int, n: int) -> Tensor:
        """The noise (n, D) of this process in a part of a training step."""
        training = self.experiment.training
        piece = part * training.devices + self.global_rank  # of the images of a whole step
        return self.noise(Stream.TRAIN_NOISE, step, training.batch_size)[piece * n : (piece + 1) * n]

    def _log_step(self, means: dict[str, Tensor], batch_index: int) -> None:
        """Log every tenth step and the last one, with the mean over their parts."""
        training, step = self.experiment.training, self.global_step + 1
        if batch_index % training.parts == 0:
            self.parts_of_step = []
        self.parts_of_step.append(means)
        logged = step % LOG_EVERY == 0 or step == training.total_steps(self.steps_per_epoch)
        if (batch_index + 1) % training.parts == 0 and logged:
            parts = self.parts_of_step
            self._log("train", {name: torch.stack([part[name] for part in parts]).mean() for name in means}, 1)
            self.log_dict(self.settings(self.global_step), on_step=True, on_epoch=False)

    def settings(self, step: int) -> dict[str, float]:
        """What changes from step to step by plan: the learning rate, and the KL weight where it is warmed up."""
        settings = {"lr": self.experiment.training.learning_rate * self._rate(step)}
        if self.experiment.loss.kl_warmup_steps:
            settings["alpha"] = self.experiment.loss.alpha * self.kl_warmup(step)
        return settings

    def on_validation_start(self) -> None:
        """Give all processes the statistics of the first, which is saved; DDP does so before a training step only."""
        if self.trainer.world_size > 1:
            ignored = set(self._ddp_params_and_buffers_to_ignore)
            for name, buffer in self.named_buffers():
                if name not in ignored:
                    torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        n = len(batch.images)
        eps = self.noise(Stream.VALIDATION_NOISE, batch_index, n)
        means, mu = self.step(self.evaluated, batch, eps)
        self.validation_means.append(mu)
        self._log("val", means, n)

    def on_validation_epoch_end(self) -> None:
        active = active_units(torch.cat(self.validation_means))
        self.validation_means.clear()
        several = self.experiment.training.devices > 1
        self.log("val/active_units", float(active), prog_bar=True, sync_dist=several)

    def noise(self, stream: Stream, counter: int, n: int) -> Tensor:
        """Standard normal noise (n, D) that depends on the seed, the stream and the counter alone."""
        generator = seeded_generator(self.experiment.training.seed, stream, counter, self.device)
        return torch.randn(n, self.vae.latent_dim, generator=generator, device=self.device)

    def shift(self, step: int | None = None) -> tuple[int, int]:
        """Rows and columns to move both images by before the feature network, a function of seed and step (this)."""
        features = self.experiment.loss.features
        if features is None or features.shift < 2:
            return 0, 0
        generator = seeded_generator(
            self.experiment.training.seed, Stream.SHIFT, self.global_step if step is None else step
        )
        down, right = (torch.randint(features.shift, (2,), generator=generator) - features.shift // 2).tolist()
        return down, right

    def _log(self, stage: str, means: Mapping[str, Tensor], n: int) -> None:
        values = {f"{stage}/{name}": value for name, value in means.items()}
        train = stage == "train"
        # not on Lightning's progress bar, which would wait for the device in every step to read them
        several = self.experiment.training.devices > 1
        self.log_dict(values, batch_size=n, on_step=train, on_epoch=not train, sync_dist=several)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_index: int) -> None:
        if self.ema is not None and (batch_index + 1) % self.experiment.training.parts == 0:
            assert self.experiment.training.ema_decay is not None
            # the first steps are forgotten faster, or the average would hold the initial weights for long
            decay = min(self.experiment.training.ema_decay, self.global_step / (10 + self.global_step))
            self.ema.multi_avg_fn = get_ema_multi_avg_fn(decay)
            self.ema.update_parameters(self.vae)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # plain values only, so that a checkpoint loads with weights_only=True
        checkpoint["hyper_parameters"] = {
            "vae": self.vae.config,
            "config": self.experiment.as_dict(),
            "scales": self.objective.scales,
            "targets_kept": self.targets_kept,
            "fingerprint": self.fingerprint,
        }

    def configure_optimizers(self) -> Any:
        config = self.experiment.training
        # fused: fast, and it leaves out a step by itself where the device says so (see `FiniteSteps`)
        optimizer = torch.optim.Adam(self.vae.parameters(), config.learning_rate, betas=config.betas, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient. (Lightning refuses to do it for a fused optimiser in mixed precision.)"""
        if self.experiment.training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.experiment.training.clip_norm)

    def _rate(self, step: int) -> float:
        """Factor of the learning rate, a function of the step alone."""
        config = self.experiment.training
        warmup = ramp(step, config.warmup_steps)
        if config.schedule == "exponential":
            return warmup * config.decay ** (step // self.steps_per_epoch)
        if config.schedule == "cosine":
            return warmup * 0.5 * (1 + math.cos(math.pi * step / config.total_steps(self.steps_per_epoch)))
        return warmup


def ramp(step: int, length: int) -> float:
    """Rises linearly from ``1 / length`` in step 0 to 1 in step ``length - 1``, where it stays."""
    return min(1.0, (step + 1) / length) if length else 1.0
