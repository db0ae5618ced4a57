"""What happens beside the training step: progress, pictures, warnings, checkpoints."""

import warnings
from math import ceil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.files import whole
from dfcvae.images import grid, rows, save_png, to_float, to_uint8
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.training.module import VAETraining

COLLAPSED_NATS = 1.0
PATIENCE_STEPS = 300  # before, an untrained encoder looks the same
FACES_SHOWN = 8
SAMPLES_SHOWN = 32
PICTURES_KEPT = 50  # of each kind in a run


class DivergenceGuard(Callback):
    """Stop before a model whose validation is not finite reaches a checkpoint; `FiniteSteps` looks after training."""

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        wrong = [name for name, value in metrics.items() if not torch.isfinite(value)]
        if wrong:
            raise UserError(
                f"Training diverged before step {trainer.global_step}: {', '.join(wrong)} not finite. The checkpoint "
                "of the epoch before is kept. Lower training.learning_rate, or set training.clip_norm."
            )


class CollapseWarning(Callback):
    """Say so when the posterior carries nothing, which a loss curve does not show."""

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        kl, active = float(metrics["val/kl"]), int(metrics["val/active_units"])
        if trainer.global_step >= PATIENCE_STEPS and (kl < COLLAPSED_NATS or active == 0):
            warnings.warn(
                f"The posterior has collapsed: KL {kl:.3g} nats, {active} active units. The decoder ignores z, and "
                "every reconstruction is the mean face. Lower loss.alpha, or raise loss.beta; the table printed at the "
                "start says what they mean (beta_eff of 1 is the ELBO of unit noise).",
                stacklevel=1,
            )


class Pictures(Callback):
    """Reconstructions of fixed held-out faces and decodings of fixed latents, over time.

    Args:
        faces: uint8 images (N, C, H, W), the same in every picture.
        folder: where the PNGs go.
        every: epochs between two pictures; more, in a run so long that there would be more than 50 of a kind.
        epochs: of the whole run.
        seed: of the latents.
    """

    def __init__(self, faces: Tensor, folder: Path, every: int, epochs: int, seed: int):
        self.faces, self.folder, self.seed = faces, folder, seed
        self.every = every * ceil(epochs / (every * PICTURES_KEPT))

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every or not isinstance(module, VAETraining) or not trainer.is_global_zero:
            return
        x = to_float(self.faces).to(module.device)
        samples = module.evaluated.sample(SAMPLES_SHOWN, generator=seeded_generator(self.seed, Stream.PICTURES))
        pictures = {"reconstructions": rows(x, module.evaluated.reconstruct(x)), "samples": grid(samples)}
        for name, picture in pictures.items():
            save_png(picture, self.folder / f"{name}-{epoch:04d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                for name, picture in pictures.items():
                    array = to_uint8(picture).permute(1, 2, 0).numpy()  # wandb would show floats black
                    logger.log_image(f"pictures/{name}", [array], step=trainer.global_step)


class ProgressBar(TQDMProgressBar):
    """One line for the epoch: the named terms, and images per second."""

    def __init__(self, batch_size: int):
        super().__init__(refresh_rate=10)
        self.batch_size = batch_size

    def get_metrics(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, Any]:
        values = {name: value for name, value in super().get_metrics(trainer, module).items() if name != "v_num"}
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
        values = logged | values
        shown = self.train_progress_bar.format_dict
        if shown["n"] and shown["elapsed"]:
            values["images/s"] = f"{shown['n'] * self.batch_size / shown['elapsed']:.0f}"
        return {name.removeprefix("train/").replace("features/", ""): value for name, value in values.items()}


class MovableCheckpoint(ModelCheckpoint):
    """Remembers its best checkpoint also in a run folder that was moved or copied before it was resumed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = ("best_model_path", "last_model_path", "kth_best_model_path")
        moved = {name: here(state_dict[name]) for name in paths if name in state_dict}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": best})


class AtomicCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its target and rename it, so that a crash or a full disk leaves the old one whole.

    Raises:
        UserError: if it cannot be written.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        try:
            with whole(Path(path)) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except OSError as error:
            raise UserError(
                f"The checkpoint of step {checkpoint.get('global_step')} could not be written to {path} "
                f"({error.strerror or error}); the one before is whole, if there was one. Make room, or see to the "
                "permissions, then go on with --resume auto."
            ) from error
