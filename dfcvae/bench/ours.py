"""The package's own training step, as `dfcvae train` takes it, without the loop around it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfcvae.bench.faces import decoded_faces, endless
from dfcvae.bench.measured import Measured
from dfcvae.bench.popular import BETA, KL_WEIGHT, LEARNING_RATE
from dfcvae.bench.settings import ARCH, LATENT_DIM, BenchSettings
from dfcvae.bench.step import Outputs
from dfcvae.build import build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import Faces, TrainingBatches
from dfcvae.data.batches import Batch
from dfcvae.device import keep_freed_memory
from dfcvae.images import to_float
from dfcvae.seeding import Stream
from dfcvae.targets import Targets
from dfcvae.training.module import VAETraining


def bench_experiment(
    settings: BenchSettings, precision: str, compiled: bool = False, weights: str = "random"
) -> Experiment:
    """The popular recipe as an experiment of this package."""
    features = FeatureConfig(preset="dfc", weights=weights, arch=ARCH, layers=list(settings.indices))
    return Experiment(
        "bench",
        DataConfig(size=settings.size),
        ModelConfig("strided", LATENT_DIM),
        LossConfig(alpha=KL_WEIGHT, beta=BETA, scale="none", features=features),
        TrainingConfig(
            batch_size=settings.batch_size,
            learning_rate=LEARNING_RATE,
            schedule="exponential",
            precision="bf16-mixed" if precision == "bf16-mixed" else "32-true",
            accelerator=settings.device.type,  # type: ignore[arg-type]
            compile=compiled,
        ),
    )


class OwnStep:
    """One training step of this package.

    Args:
        settings: sizes and device.
        images: uint8 (n, 3, size, size), what it is trained on.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        kept: compute the originals' features once and keep them.
        compiled: the whole forward pass through ``torch.compile``.
        weights: of the feature network: ``"random"``, at full width, or ``"compact"``.
    """

    def __init__(
        self,
        settings: BenchSettings,
        images: Tensor,
        precision: str,
        kept: bool = False,
        compiled: bool = False,
        weights: str = "random",
    ):
        keep_freed_memory()
        self.device, self.batch_size = settings.device, settings.batch_size
        experiment = bench_experiment(settings, precision, compiled, weights)
        perceptual = build_perceptual(experiment.loss.features)
        assert perceptual is not None
        objective = build_objective(experiment.loss, perceptual, images)
        faces = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ()).to(self.device)
        self.module = VAETraining(build_vae(experiment), objective, experiment, len(faces)).to(self.device)
        self.bfloat16 = precision == "bf16-mixed"
        self.arithmetic = "bfloat16" if self.bfloat16 else "float32"
        if self.bfloat16:
            use_bfloat16_features(objective)
        self.run_vae: Any = self.module.vae  # or what wraps it
        self.optimizer: torch.optim.Optimizer = self.module.configure_optimizers()["optimizer"]
        targets = Targets(perceptual, faces.images, True, self.device, progress=False).in_memory() if kept else None
        self.batches = endless(TrainingBatches(faces, self.batch_size, seed=0, targets=targets))
        self.taken = 0
        torch.backends.cudnn.allow_tf32 = False  # float32 here is float32

    def fetch(self) -> Batch:
        return next(self.batches)

    def total(self, batch: Batch) -> Tensor:
        with self._autocast():
            means, _ = self.module.trained_step(self.run_vae, batch, self._eps(batch))
        return means["total"]

    def forward(self, batch: Batch) -> Outputs:
        with self._autocast():
            return self.run_vae(to_float(batch.images), self._eps(batch))

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        objective = self.module.objective
        with self._autocast():
            terms = objective.terms(outputs[0], to_float(batch.images), *outputs[1:], target=batch.targets)
            return objective.total(terms).mean()

    def update(self, loss: Tensor) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1

    def _eps(self, batch: Batch) -> Tensor:
        return self.module.noise(Stream.TRAIN_NOISE, self.taken, len(batch.images))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def measured_own(
    settings: BenchSettings, folder: Path, precision: str, kept: bool, compiled: bool, weights: str = "random"
) -> Measured:
    """The package's own step."""
    return Measured(lambda: OwnStep(settings, decoded_faces(folder, settings.size), precision, kept, compiled, weights))
