"""Numbers gone wrong: no training step is taken with a loss or a gradient that is not finite."""

import warnings
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from dfcvae.data import TrainingBatches
from dfcvae.errors import UserError
from dfcvae.training.module import LOG_EVERY, VAETraining

IMAGES_TOLD = 64


class FiniteSteps(Callback):
    """Leave out steps that are not finite; end the run, with what caused it, when there are too many of them.

    Whether a step is finite is decided on the device, from the norm of the gradient and the total: where it is not, the
    fused Adam leaves the weights and its own state alone (``found_inf``, made for loss scaling). So nothing waits for
    a GPU. What was decided there is read with the row of metrics of every tenth step, which waits anyway, and before
    anything is validated or saved; on a CPU it is read after every step. Steps between the one too many and the
    reading are left out as well, so that the weights are those before it.

    Args:
        batches: of the training images, to tell which of them it were.
        allowed: steps that may be left out; with 0 the first one ends the run.

    Attributes:
        count: steps left out so far, of all sessions of the run.

    Raises:
        UserError: names the step, its terms that are not finite, and the images.
    """

    def __init__(self, batches: TrainingBatches, allowed: int):
        self.batches, self.allowed, self.count = batches, allowed, 0
        self.unread: list[tuple[int, Tensor, list[dict[str, Tensor]]]] = []  # step, whether it was wrong, its terms
        self.before: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.skipped = torch.tensor(float(self.count), device=module.device)

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: object, batch_index: int
    ) -> None:
        if self.allowed and batch_index % self.batches.parts == 0:
            self.before = [statistic.clone() for statistic in _statistics(module)]

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(module, VAETraining)
        norm = torch.nn.utils.get_total_norm([p.grad for p in module.vae.parameters() if p.grad is not None])
        parts = module.parts_of_step
        total = torch.stack([part["total"] for part in parts]).sum()
        wrong = (~torch.isfinite(norm + total)).float()
        wrong = trainer.strategy.reduce(wrong, reduce_op="sum").clamp(max=1)  # the total of any process
        self.skipped += wrong
        optimizer.found_inf = torch.maximum(wrong, (self.skipped > self.allowed).float())  # type: ignore[attr-defined]
        for before, after in zip(self.before, _statistics(module), strict=bool(self.allowed)):
            after.copy_(torch.where(wrong.bool(), before, after))
        self.unread.append((trainer.global_step, wrong, parts))

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if module.device.type == "cpu" or trainer.global_step % LOG_EVERY == 0:
            self._read(trainer, module)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._read(trainer, module)

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._read(trainer, module)

    def _read(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        unread, self.unread = self.unread, []
        if not unread:
            return
        for (step, _, parts), wrong in zip(
            unread, torch.stack([wrong for _, wrong, _ in unread]).tolist(), strict=True
        ):
            if not wrong:
                continue
            self.count += 1
            names = [n for n in parts[0] if n != "total" and not all(bool(torch.isfinite(p[n])) for p in parts)]
            what = f"{', '.join(names) or 'the gradient'} not finite"
            if self.count > self.allowed:
                raise self._too_many(step, what, trainer, module)
            warnings.warn(
                f"Step {step + 1:,} was left out: {what} ({self.count} of at most {self.allowed} such steps).",
                stacklevel=1,
            )

    def _too_many(self, step: int, what: str, trainer: L.Trainer, module: L.LightningModule) -> UserError:
        images = self._images(step, trainer, module)
        told = ", ".join(map(str, images[:IMAGES_TOLD])) + (", ..." if len(images) > IMAGES_TOLD else "")
        before = f" {self.count - 1} steps were left out before." if self.allowed else ""
        return UserError(
            f"Training stopped before step {step + 1:,}: {what}, with the training images {told} (rows of the training "
            f"split, from 0).{before} The checkpoint before it is kept. Lower training.learning_rate, set "
            "training.clip_norm, or leave out so many such steps with training.skip_nonfinite."
        )

    @torch.no_grad()
    def _images(self, step: int, trainer: L.Trainer, module: L.LightningModule) -> list[int]:
        """Rows of the images whose total is not finite when the step is computed again; all of it, if none is."""
        assert isinstance(module, VAETraining)
        every, wrong = [], []
        for part, (rows, batch) in enumerate(self.batches.of_step(step)):
            batch = trainer.strategy.batch_to_device(batch, module.device)
            eps = module.noise_of_part(step, part, len(rows))
            with trainer.precision_plugin.forward_context():
                terms, _ = module.per_image(module.vae, batch, eps, module.kl_warmup(step), module.shift(step))
            every += rows.tolist()
            wrong += rows[~torch.isfinite(terms["total"]).to(rows.device)].tolist()
        return wrong or every


def _statistics(module: L.LightningModule) -> list[Tensor]:
    """What a forward pass changes: statistics of the batch norms, fitted variances."""
    assert isinstance(module, VAETraining)
    likelihood = module.objective.likelihood
    return [*module.vae.buffers(), *(likelihood.buffers() if likelihood is not None else ())]
