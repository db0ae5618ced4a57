"""A training run: from an experiment to a folder with checkpoints, metrics and pictures."""

import json
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor

from dfcvae.config import Experiment, flat
from dfcvae.data import Batches, Faces, Splits, TrainingBatches, load_faces
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.losses import accounting_table, beta_eff
from dfcvae.memory import free_memory, keep_freed_memory
from dfcvae.seeding import Stream
from dfcvae.training.build import CPU, build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.training.callbacks import (
    FACES_SHOWN,
    AtomicCheckpoints,
    CollapseWarning,
    DivergenceGuard,
    MovableCheckpoint,
    Pictures,
    ProgressBar,
    Steps,
)
from dfcvae.training.cost import Cost
from dfcvae.training.csv_log import CSVLog, last_validation
from dfcvae.training.environment import (
    check_accelerator,
    environment,
    pick_device,
    pick_precision,
    process_rank,
    quiet_lightning,
)
from dfcvae.training.module import LOG_EVERY, VAETraining
from dfcvae.training.targets import SHARE, Targets, choose_targets
from dfcvae.training.wandb_log import wandb_logger
from dfcvae.vae import load_checkpoint

METRICS = "metrics.csv"


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and the validation metrics of its last epoch."""

    folder: Path
    metrics: dict[str, float]


def train(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: bool = False,
    splits: Splits | None = None,
    progress: bool = True,
) -> Run:
    """Train as the experiment says, into the folder ``out``.

    Args:
        experiment: what to train.
        out: run folder; must not hold a run already, unless ``resume``.
        resume: go on from the last checkpoint in ``out``, with the same experiment. The numbers are those of a run
            that was never stopped. Unless the schedule is cosine, ``training.epochs`` and ``max_steps`` may differ.
        splits: the faces, if the caller has them loaded.
        progress: show a progress bar.

    With several ``training.devices`` the program that calls this is started again for each of the others, so that it
    should be a script, or the command line, but no notebook.

    Raises:
        UserError: if the data, the feature weights or the run folder are not what the experiment needs.
    """
    keep_freed_memory()
    out = Path(out)
    checkpoint = _last_checkpoint(experiment, out) if resume else None
    cost = Cost(out, experiment.training.batch_size, resumed=resume)
    if not resume and (out / "checkpoints").exists():
        raise UserError(f"{out} already holds a run; continue it with --resume, or choose another folder with --out.")
    # mistakes show before the data is read
    vae, perceptual = build_vae(experiment), build_perceptual(experiment.loss.features)
    first = process_rank() == 0
    progress = progress and first
    check_accelerator(experiment.training.accelerator, experiment.training.devices)
    splits = splits or load_faces(experiment.data, progress=progress)
    if len(splits["val"]) < 2:
        raise UserError(f"Validation needs at least 2 images, but the validation split holds {len(splits['val'])}.")
    device = pick_device(experiment.training.accelerator)
    batches = _training_batches(experiment, splits["train"], device)
    total_steps = experiment.training.total_steps(batches.steps)
    if checkpoint and checkpoint["global_step"] >= total_steps:
        return Run(out, last_validation(out / METRICS))
    about = checkpoint["hyper_parameters"] if checkpoint else {}
    objective = build_objective(experiment.loss, perceptual, splits["train"].images, about.get("scales"), device)
    module = VAETraining(vae, objective, experiment, batches.steps).to(device)
    if pick_precision(experiment.training.precision, device) == "bf16-mixed":
        use_bfloat16_features(objective)
    kept = about.get("targets_kept", False) if checkpoint else None
    _keep_targets(module, batches, total_steps / batches.steps, kept, progress)
    if first:
        _describe(module, batches, out, resumed=checkpoint is not None)
    with quiet_lightning():
        trainer = _trainer(experiment, out, module, batches, splits, checkpoint, cost, progress)
        last = str(out / "checkpoints" / "last.ckpt") if checkpoint else None
        _fit(trainer, module, batches, Batches(splits["val"], experiment.training.batch_size), last)
    return Run(out, last_validation(out / METRICS))


def _training_batches(experiment: Experiment, faces: Faces, device: torch.device) -> TrainingBatches:
    """Batches of the training split, which is moved to a GPU that has room for it."""
    training = experiment.training
    if device.type == "cuda" and faces.images.numel() < SHARE * free_memory(device):
        faces = faces.to(device)
    share = (process_rank(), training.devices)
    return TrainingBatches(faces, training.batch_size, training.seed, experiment.data.flip, training.parts, share)


def _keep_targets(
    module: VAETraining, batches: TrainingBatches, epochs: float, before: bool | None, progress: bool
) -> None:
    """Let the batches bring the features of their images, if the experiment says so or it pays."""
    config, perceptual = module.experiment.loss.features, module.objective.perceptual
    if config is None or perceptual is None:
        return
    if config.cache_targets == "auto" and module.device.type == "cpu" and module.experiment.training.devices > 1:
        return  # each process would keep all of them, and find other room
    targets = Targets(perceptual, batches.faces.images, batches.flip, module.device, progress)
    kept = choose_targets(config, targets, epochs, before)
    if kept is not None:
        module.targets_kept, batches.targets = True, kept
        if not kept.rows.is_cuda:
            batches.faces = batches.faces.to(CPU)  # so that all of a batch is gathered ahead, by threads


def _fit(
    trainer: L.Trainer, module: VAETraining, batches: TrainingBatches, validation: Batches, last: str | None
) -> None:
    try:
        trainer.fit(module, batches, validation, ckpt_path=last, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()  # or the next run of this process would be logged into this one


def _trainer(
    experiment: Experiment,
    out: Path,
    module: VAETraining,
    batches: TrainingBatches,
    splits: Splits,
    checkpoint: dict[str, Any] | None,
    cost: Cost,
    progress: bool,
) -> L.Trainer:
    training = experiment.training
    callbacks: list[Callback] = [
        Steps(batches, training.total_steps(batches.steps)),
        DivergenceGuard(),
        CollapseWarning(),
        cost,
        Pictures(splits["val"].images[:FACES_SHOWN], out / "pictures", training.picture_epochs, training.seed),
        _checkpoint(out, "best", monitor="val/total", save_weights_only=True, save_on_train_epoch_end=False),
        _checkpoint(out, "last", save_on_train_epoch_end=True),
    ]
    if progress:
        callbacks.append(ProgressBar(training.batch_size // training.parts))
    return L.Trainer(
        accelerator=training.accelerator,
        devices=training.devices,
        strategy="ddp" if training.devices > 1 else "auto",
        precision=pick_precision(training.precision, module.device),
        accumulate_grad_batches=training.parts,
        max_epochs=-1,
        gradient_clip_val=training.clip_norm,
        callbacks=callbacks,
        logger=_loggers(experiment, out, module, checkpoint["global_step"] if checkpoint else 0),
        plugins=[AtomicCheckpoints(), LightningEnvironment()],  # not a cluster's, as `process_rank` knows only this
        log_every_n_steps=LOG_EVERY,
        num_sanity_val_steps=0,
        enable_progress_bar=progress,
        enable_model_summary=False,
        default_root_dir=out,
    )


def _checkpoint(out: Path, name: str, **when: Any) -> ModelCheckpoint:
    return MovableCheckpoint(out / "checkpoints", name, enable_version_counter=False, **when)


def _loggers(experiment: Experiment, out: Path, module: VAETraining, resumed_at: int) -> list[Logger]:
    terms = [*module.objective.weights, "total"]
    columns = [f"{stage}/{term}" for stage in ("train", "val") for term in terms] + ["val/active_units"]
    loggers: list[Logger] = [CSVLog(out / METRICS, columns, LOG_EVERY, resumed_at)]
    if experiment.training.logger == "wandb":
        loggers.append(wandb_logger(experiment, out))
    if experiment.training.logger == "tensorboard":
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    return loggers


def _describe(module: VAETraining, batches: TrainingBatches, out: Path, resumed: bool) -> None:
    """Write into the run folder what the run is, and with what it was begun."""
    out.mkdir(parents=True, exist_ok=True)
    module.experiment.save(out / "config.yaml")
    if not resumed:
        (out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
        _account(module, to_float(next(iter(batches)).images).to(module.device), out)


def _account(module: VAETraining, x: Tensor, out: Path) -> None:
    """Print and save what the weights mean, with the size of every term on the first batch."""
    with torch.no_grad():
        vae = deepcopy(module.vae)  # a step in training mode, as the first one, would change the batch norm statistics
        x_hat, mu, logvar = vae(x, module.noise(Stream.TRAIN_NOISE, 0, len(x)))
        terms = module.objective.eval().to(x.device).terms(x_hat, x, mu, logvar)
        module.objective.train()
    sizes = {name: float(value.mean()) for name, value in terms.items()}
    objective, pixels = module.objective, x[0].numel()
    currency = beta_eff(objective, pixels)
    print(accounting_table(objective, sizes, pixels))
    report = {
        "weights": objective.weights,
        "scales": objective.scales,
        "first_batch": sizes,
        "beta_eff": currency if isfinite(currency) else None,
    }
    (out / "accounting.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")


def _last_checkpoint(experiment: Experiment, out: Path) -> dict[str, Any]:
    file = out / "checkpoints" / "last.ckpt"
    if not file.is_file():
        raise UserError(f"There is nothing to resume in {out}: expected {file}. Start the run without --resume.")
    checkpoint = load_checkpoint(file)
    saved = Experiment.from_dict(checkpoint["hyper_parameters"]["config"])  # with what was added since, by default
    before, now = flat(saved.as_dict()), flat(experiment.as_dict())
    free = {"training.logger", "training.picture_epochs", "name"}
    if experiment.training.schedule != "cosine":  # its learning rates depend on the length of the run
        free |= {"training.epochs", "training.max_steps"}
    changed = [
        name for name in sorted(before | now) if name not in free and before.get(name, "-") != now.get(name, "-")
    ]
    if changed:
        told = ", ".join(f"{name} was {before.get(name, '-')!r} and is now {now.get(name, '-')!r}" for name in changed)
        raise UserError(f"The run in {out} cannot be resumed with another experiment: {told}. Start a new one (--out).")
    return checkpoint
