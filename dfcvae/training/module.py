"""The training step. It is the same for the plain VAE and the DFC-VAE, and for training and validation."""

import math
from collections.abc import Mapping
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfcvae.config import Experiment
from dfcvae.data.batches import Batch
from dfcvae.gaussian import active_units
from dfcvae.images import to_float
from dfcvae.losses import Objective
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE


class VAETraining(L.LightningModule):
    """Trains a VAE on an objective.

    Args:
        vae: the model.
        objective: what it is trained on.
        experiment: optimiser, schedule, KL warm-up and seed; kept in every checkpoint. The KL weight is raised linearly
            in training only: validation always uses all of it, so that its totals compare between epochs.
        steps_per_epoch: for the learning-rate schedule.
    """

    def __init__(self, vae: VAE, objective: Objective, experiment: Experiment, steps_per_epoch: int):
        super().__init__()
        self.vae = vae
        self.objective = objective
        self.experiment = experiment
        self.steps_per_epoch = steps_per_epoch
        training = experiment.training
        self.ema: AveragedModel | None = None
        if training.ema_decay is not None:
            average = get_ema_multi_avg_fn(training.ema_decay)
            self.ema = AveragedModel(vae, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.validation_means: list[Tensor] = []

    @property
    def evaluated(self) -> VAE:
        """The VAE that validation, pictures and loading use: the moving average where one is kept."""
        return self.vae if self.ema is None else cast(VAE, self.ema.module)

    def step(
        self, vae: VAE, images: Tensor, eps: Tensor, kl_warmup: float = 1.0, shift: tuple[int, int] = (0, 0)
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Batch means of all terms and the total, and the posterior means (N, D), for uint8 images (N, C, H, W)."""
        x = to_float(images)  # (N, C, H, W)
        x_hat, mu, logvar = vae(x, eps)
        terms = self.objective.terms(x_hat, x, mu, logvar, shift)  # (N,) each
        terms["total"] = self.objective.total(terms, kl_warmup)
        return {name: value.mean() for name, value in terms.items()}, mu

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images, _ = batch
        ramp = self.experiment.loss.kl_warmup_steps
        warmup = min(1.0, (self.global_step + 1) / ramp) if ramp else 1.0
        eps = self.noise(Stream.TRAIN_NOISE, self.global_step, len(images))
        means, _ = self.step(self.vae, images, eps, warmup, self.shift())
        self._log("train", means, len(images))
        return means["total"]

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        images, _ = batch
        eps = self.noise(Stream.VALIDATION_NOISE, batch_index, len(images))
        means, mu = self.step(self.evaluated, images, eps)
        self.validation_means.append(mu)
        self._log("val", means, len(images))

    def on_validation_epoch_end(self) -> None:
        active = active_units(torch.cat(self.validation_means))
        self.validation_means.clear()
        self.log("val/active_units", float(active), prog_bar=True)

    def noise(self, stream: Stream, counter: int, n: int) -> Tensor:
        """Standard normal noise (n, D) that depends on the seed, the stream and the counter alone."""
        generator = seeded_generator(self.experiment.training.seed, stream, counter, self.device)
        return torch.randn(n, self.vae.latent_dim, generator=generator, device=self.device)

    def shift(self) -> tuple[int, int]:
        """Rows and columns to move both images by before the feature network, a function of seed and step."""
        features = self.experiment.loss.features
        if features is None or features.shift < 2:
            return 0, 0
        generator = seeded_generator(self.experiment.training.seed, Stream.SHIFT, self.global_step)
        down, right = (torch.randint(features.shift, (2,), generator=generator) - features.shift // 2).tolist()
        return down, right

    def _log(self, stage: str, means: Mapping[str, Tensor], n: int) -> None:
        values = {f"{stage}/{name}": value for name, value in means.items()}
        train = stage == "train"
        self.log_dict(values, batch_size=n, on_step=train, on_epoch=not train, prog_bar=train)

    def on_train_batch_end(self, *_: object) -> None:
        if self.ema is not None:
            self.ema.update_parameters(self.vae)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # plain values only, so that a checkpoint loads with weights_only=True
        checkpoint["hyper_parameters"] = {
            "vae": self.vae.config,
            "config": self.experiment.as_dict(),
            "scales": self.objective.scales,
        }

    def configure_optimizers(self) -> Any:
        config = self.experiment.training
        optimizer = torch.optim.Adam(self.vae.parameters(), config.learning_rate, betas=config.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Factor of the learning rate, a function of the step alone."""
        config = self.experiment.training
        if config.schedule == "exponential":
            return config.decay ** (step // self.steps_per_epoch)
        if config.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / config.total_steps(self.steps_per_epoch)))
        return 1.0
