"""A training run: from an experiment to a folder with checkpoints, metrics and pictures."""

import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.environments import LightningEnvironment

from dfcvae.config import Experiment
from dfcvae.data import Batches, Faces, Splits, TrainingBatches, load_faces, tell_other_data
from dfcvae.errors import UserError
from dfcvae.fitted import fit_after_training
from dfcvae.memory import free_memory, keep_freed_memory
from dfcvae.training.build import CPU, build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.training.callbacks import (
    FACES_SHOWN,
    AtomicCheckpoints,
    CollapseWarning,
    DivergenceGuard,
    MovableCheckpoint,
    Pictures,
    ProgressBar,
)
from dfcvae.training.cost import Cost
from dfcvae.training.csv_log import CSVLog, last_validation
from dfcvae.training.description import describe
from dfcvae.training.determinism import determinism
from dfcvae.training.environment import (
    check_accelerator,
    pick_device,
    pick_precision,
    process_rank,
    quiet_lightning,
)
from dfcvae.training.module import LOG_EVERY, VAETraining
from dfcvae.training.nonfinite import FiniteSteps
from dfcvae.training.preemption import Preemption
from dfcvae.training.processes import ending_together
from dfcvae.training.progress import PENDING, Steps
from dfcvae.training.resume import Resume, checkpoint_to_resume, last_file
from dfcvae.training.targets import SHARE, Targets, choose_targets
from dfcvae.training.wandb_log import wandb_logger

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
    resume: Resume = False,
    splits: Splits | None = None,
    mixture: bool = True,
    progress: bool = True,
) -> Run:
    """Train as the experiment says, into the folder ``out``.

    Args:
        experiment: what to train.
        out: run folder; must not hold a run already, unless ``resume``.
        resume: go on from the last checkpoint in ``out``, with the same experiment; "auto": if there is one. The
            numbers are those of a run that was never stopped, at whatever step it was. Unless the schedule is cosine,
            ``training.epochs`` and ``max_steps`` may differ.
        splits: the faces, if the caller has them loaded.
        mixture: at the end, fit the mixture that samples are drawn from to the latents of the training images, and keep
            it in ``out/latent`` (seconds; `dfcvae.load_prior`). A finished run without one gets it when it is resumed.
        progress: show a progress bar.

    With several ``training.devices`` the program that calls this is started again for each of the others, so that it
    should be a script, or the command line, but no notebook.

    Raises:
        UserError: if the data, the feature weights or the run folder are not what the experiment needs, a checkpoint
            cannot be written, or the numbers are no longer finite.
        PreemptedError: if the process got SIGTERM or SIGUSR1; the last checkpoint was written before, at that step.
    """
    with determinism(experiment.training.deterministic), ending_together(experiment.training.devices, process_rank()):
        splits = _train(experiment, Path(out), resume, splits, progress)
        if mixture and process_rank() == 0:
            fit_after_training(out, splits, pick_device(experiment.training.accelerator), progress=progress)
    return Run(Path(out), last_validation(Path(out) / METRICS))


def _train(experiment: Experiment, out: Path, resume: Resume, splits: Splits | None, progress: bool) -> Splits:
    """Train to the last step, unless that is done already; the faces."""
    begun = time.perf_counter()
    keep_freed_memory()
    checkpoint = checkpoint_to_resume(experiment, out, resume)
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
    if checkpoint and checkpoint["global_step"] >= total_steps and not checkpoint.get(PENDING):
        return splits
    about = checkpoint["hyper_parameters"] if checkpoint else {}
    tell_other_data(about, splits["train"])
    objective = build_objective(experiment.loss, perceptual, splits["train"].images, about.get("scales"), device)
    module = VAETraining(vae, objective, experiment, batches.steps).to(device)
    module.fingerprint = splits["train"].fingerprint
    if pick_precision(experiment.training.precision, device) == "bf16-mixed":
        use_bfloat16_features(objective)
    kept = about.get("targets_kept", False) if checkpoint else None
    _keep_targets(module, batches, total_steps / batches.steps, kept, progress)
    if first:
        describe(module, batches, out, resumed=checkpoint is not None)
    with quiet_lightning():
        trainer = _trainer(experiment, out, module, batches, splits, checkpoint, begun, progress)
        last = str(last_file(out)) if checkpoint else None
        _fit(trainer, module, batches, Batches(splits["val"], experiment.training.batch_size), last)
    return splits


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
    begun: float,
    progress: bool,
) -> L.Trainer:
    training = experiment.training
    faces, epochs = splits["val"].images[:FACES_SHOWN], ceil(training.total_steps(batches.steps) / batches.steps)
    finite = FiniteSteps(batches, training.skip_nonfinite)
    callbacks: list[Callback] = [
        Steps(batches, training.total_steps(batches.steps)),
        finite,  # before whatever saves
        Preemption(last_file(out), training.parts),
        DivergenceGuard(),
        CollapseWarning(),
        Cost(out, training.batch_size, finite, begun, resumed=checkpoint is not None),
        Pictures(faces, out / "pictures", training.picture_epochs, epochs, training.seed),
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
    columns += [*module.settings(0)]
    epoch = module.steps_per_epoch
    last = experiment.training.total_steps(epoch)
    loggers: list[Logger] = [CSVLog(out / METRICS, columns, LOG_EVERY, epoch, last, resumed_at)]
    if experiment.training.logger == "wandb":
        loggers.append(wandb_logger(experiment, out, resumed=resumed_at > 0))
    if experiment.training.logger == "tensorboard":
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    return loggers
