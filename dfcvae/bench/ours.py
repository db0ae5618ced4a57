"""The package's own training step, as `dfcvae train` takes it, without the loop around it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfcvae.bench.faces import decoded_faces, row_batches
from dfcvae.bench.measured import Measured
from dfcvae.bench.popular import BETA, KL_WEIGHT, LEARNING_RATE
from dfcvae.bench.settings import ARCH, LATENT_DIM, BenchSettings
from dfcvae.bench.step import Batch, Outputs
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import Faces
from dfcvae.images import to_float
from dfcvae.losses import ImageLoss
from dfcvae.seeding import Stream
from dfcvae.training import build_objective, build_perceptual, build_vae
from dfcvae.training.memory import keep_freed_memory
from dfcvae.training.module import VAETraining


def bench_experiment(settings: BenchSettings, precision: str) -> Experiment:
    """The popular recipe as an experiment of this package."""
    features = FeatureConfig(preset="dfc", weights="random", arch=ARCH, layers=list(settings.indices))
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
        ),
    )


class OwnStep:
    """One training step of this package.

    Args:
        settings: sizes and device.
        faces: what it is trained on, from `numbered`; with ``kept``, image i at row 2 i and its mirror image behind it.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        kept: compute the originals' features once and keep them in bfloat16.
    """

    def __init__(self, settings: BenchSettings, faces: Faces, precision: str, kept: bool = False):
        keep_freed_memory()
        self.device, self.batch_size = settings.device, settings.batch_size
        experiment = bench_experiment(settings, precision)
        perceptual = build_perceptual(experiment.loss.features)
        assert perceptual is not None
        if kept:
            perceptual = KeptTargets(perceptual.to(self.device), faces.images, self.batch_size)
        objective = build_objective(experiment.loss, perceptual, faces.images)
        self.module = VAETraining(build_vae(experiment), objective, experiment, len(faces)).to(self.device)
        self.run_vae: Any = self.module.vae  # or what wraps it
        self.optimizer: torch.optim.Optimizer = self.module.configure_optimizers()["optimizer"]
        self.batches = row_batches(faces, self.batch_size, flip=not kept)
        self.bfloat16 = precision == "bf16-mixed"
        self.arithmetic = "bfloat16" if self.bfloat16 else "float32"
        self.taken = 0
        torch.backends.cudnn.allow_tf32 = False  # float32 here is float32

    def fetch(self) -> Batch:
        images, rows = next(self.batches)
        return images.to(self.device), rows.to(self.device)

    def total(self, batch: Batch) -> Tensor:
        images, _ = batch
        with self._autocast():
            means, _ = self.module.step(self.run_vae, images, self._eps(batch), **self._targets(batch))
        return means["total"]

    def forward(self, batch: Batch) -> Outputs:
        with self._autocast():
            return self.run_vae(to_float(batch[0]), self._eps(batch))

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        objective = self.module.objective
        with self._autocast():
            terms = objective.terms(outputs[0], to_float(batch[0]), *outputs[1:], **self._targets(batch))
            return objective.total(terms).mean()

    def update(self, loss: Tensor) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.taken += 1

    def _eps(self, batch: Batch) -> Tensor:
        return self.module.noise(Stream.TRAIN_NOISE, self.taken, len(batch[0]))

    def _targets(self, batch: Batch) -> dict[str, Any]:
        """Kept targets as further arguments of a step; none while the step does not take them, see `KeptTargets`."""
        perceptual = self.module.objective.perceptual
        if isinstance(perceptual, KeptTargets):
            perceptual.rows = batch[1]
        return {}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


class KeptTargets(ImageLoss):
    """A loss whose targets' representations were computed once for all images, and are kept in bfloat16.

    Args:
        loss: on the device of the training.
        images: uint8 (n, C, H, W), all there are.
        batch_size: how many to represent at a time.

    Attributes:
        rows: which images the next batch holds, (N,); to be set ahead of `terms`.
    """

    def __init__(self, loss: ImageLoss, images: Tensor, batch_size: int):
        super().__init__()
        self.loss, self.weights, self.group = loss, loss.weights, loss.group
        self.rows: Tensor | None = None
        device = next(loss.buffers()).device
        with torch.no_grad():
            parts = [loss.represent(to_float(part.to(device))) for part in images.split(batch_size)]
        self.kept = {name: torch.cat([part[name].bfloat16() for part in parts]) for name in self.weights}

    def terms(self, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        output = self.loss.represent(x_hat)
        targets = {name: kept[self.rows].to(output[name].dtype) for name, kept in self.kept.items()}
        return {name: self.loss.compare(output[name], target) for name, target in targets.items()}


def measured_own(settings: BenchSettings, folder: Path, precision: str, kept: bool) -> Measured:
    """The package's own step."""
    return Measured(lambda: OwnStep(settings, decoded_faces(folder, settings.size), precision, kept))
