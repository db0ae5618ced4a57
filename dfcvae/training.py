"""The training loop. The plain VAE and the DFC-VAE take the same steps; they differ in their objective alone.

Everything random is a function of the seed and the step, so that a run resumed at a step takes the steps it would have
taken: a checkpoint holds no state of a generator or a data loader.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from copy import deepcopy
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dfcvae import device as machine
from dfcvae.build import (
    build_batches,
    build_objective,
    build_perceptual,
    build_vae,
    naming_its_faces,
    use_bfloat16_features,
)
from dfcvae.config import Experiment
from dfcvae.data import Faces, TrainingBatches, as_splits, load_faces, tell_other_data
from dfcvae.data.batches import Batch
from dfcvae.errors import UserError
from dfcvae.gaussian import active_units
from dfcvae.images import to_float
from dfcvae.losses import Objective
from dfcvae.losses.objective import OwnTerms
from dfcvae.metrics import Cost, check_logger, check_validation
from dfcvae.run import Recorder, Resume, Run, checkpoint_to_resume, describe, is_finished
from dfcvae.seeding import Stream, noise, ramp, rate, shift_of
from dfcvae.vae import VAE, evaluating

Terms = dict[str, Tensor]
OnStep = Callable[[int, Terms, VAE], None]

IMAGES_NAMED = 64  # at most, in the error of a step that is not finite


def train(
    experiment: Experiment,
    out: str | Path,
    *,
    resume: Resume = False,
    data: Any = None,
    terms: OwnTerms | None = None,
    mixture: bool = True,
    progress: bool = True,
    on_step: OnStep | None = None,
) -> Run:
    """Train a VAE into a run folder.

    Args:
        experiment: what to train.
        out: the run folder; must not hold a run already, unless ``resume``.
        resume: continue from the last checkpoint in ``out``, with the same experiment; "auto": if there is one. The
            numbers are those of a run on this device that was never stopped, whatever the step. Name, logger and
            ``picture_epochs`` may differ, and unless the schedule is cosine, ``epochs`` and ``max_steps``; the data set
            may have moved.
        data: your own faces instead of ``experiment.data.source``: a tensor or array of images, a Dataset, `Faces`, or
            a dict of the splits "train", "val" and "test" of any of these (`dfcvae.data.as_splits`).
        terms: your own terms of the loss, ``{"edges": (function, weight)}``, see `Objective`.
        mixture: at the end, fit the mixture that samples are drawn from to the latents of the training images, and keep
            it in ``out/latent`` (seconds; `dfcvae.load_prior`). A finished run without one gets it when it is resumed.
        progress: print the settings and the progress to stderr.
        on_step: called after every training step with its number (from 0), the batch means of its terms (of this rank),
            and the VAE.

    With several ``training.devices`` the program that calls this is started again for each further rank, so it should
    be a script or the command line, not a notebook.

    Raises:
        UserError: if the data, the feature weights or the run folder are not what the experiment needs, a checkpoint
            cannot be written, or a loss or gradient is not finite.
        PreemptedError: after SIGTERM or SIGUSR1; the last checkpoint was written at that step.
    """
    out, config, rank = Path(out), experiment.training, machine.process_rank()
    device, shown = machine.pick_device(config.accelerator), progress and rank == 0
    if rank >= config.devices:
        raise UserError(
            f"training.devices: expected the number of processes started, got {config.devices} in rank {rank}."
        )
    splits = None if data is None else as_splits(data, experiment.data, progress=shown)
    if splits is not None:
        experiment = naming_its_faces(experiment, data, splits)
    with machine.determinism(config.deterministic), machine.ending_together(config.devices, rank):
        machine.keep_freed_memory()
        checkpoint = checkpoint_to_resume(experiment, out, resume)  # empty if there is none
        start, about = checkpoint.get("step", 0), checkpoint.get("about", {})
        cost = Cost(out, config.batch_size, device, resumed=bool(checkpoint))
        # these may fail, and take less time than the data
        vae, perceptual = build_vae(experiment), build_perceptual(experiment.loss.features)
        machine.check_accelerator(config.accelerator, config.devices)
        check_logger(config.logger)
        splits = splits or load_faces(experiment.data, progress=shown)
        if len(splits["val"]) < 2:
            raise UserError(f"Validation needs at least 2 images, got {len(splits['val'])} in the validation split.")
        batches = build_batches(experiment, splits["train"], device)
        if not is_finished(out, start, config.total_steps(batches.steps)):
            tell_other_data(about, splits["train"])
            vae.to(device)
            images, scales = splits["train"].images, about.get("scales")
            objective = build_objective(experiment.loss, perceptual, images, scales, device, terms).to(device)
            if about.get("weights", objective.weights) != objective.weights:
                raise UserError(f"{out} cannot be resumed with other terms; its terms and weights: {about['weights']}.")
            if machine.pick_precision(config.precision, device) == "bf16-mixed":
                use_bfloat16_features(objective)
            if perceptual is not None:
                from dfcvae.targets import cached_targets

                before = about.get("targets_cached")  # a resumed run continues with the same numbers
                batches.targets = targets = cached_targets(experiment, perceptual, batches, device, before, shown)
                if targets is not None and not targets.rows.is_cuda:
                    batches.faces = batches.faces.to(machine.CPU)  # where background threads gather images and targets
            if rank == 0:
                describe(experiment, vae, objective, batches, splits, out, bool(checkpoint), shown)
            machine.reset_peak_memory(device)
            training = Training(experiment, vae, objective, batches)
            training.restore(checkpoint, out)
            recorder = Recorder(experiment, out, training.about, training.parts, checkpoint, batches.steps, cost, shown)
            _fit(training, splits["val"], recorder, on_step)
        elif shown:
            print(f"{out} is finished, at step {start:,}; nothing is left to train.", file=sys.stderr)
        if mixture and rank == 0:
            from dfcvae.fitted import fit_after_training

            fit_after_training(out, splits, device, progress=progress)
    return Run(out)


def _fit(training: "Training", faces: Faces, recorder: Recorder, on_step: OnStep | None) -> None:
    """The loop, from the step of the checkpoint to the last one; validates on ``faces``."""
    experiment, objective, device = training.experiment, training.objective, training.device
    with recorder, closing(training.batches.starting_at(recorder.start)) as feed:
        for step in range(recorder.start, recorder.last + 1):
            if recorder.validation_due(step):  # in rank 0, before the step
                with training.autocast():
                    found = validate(experiment, training.evaluated, objective, faces, device, recorder.interrupted)
                if found:  # nothing where a signal ended it
                    check_validation(found, step)
                    recorder.validated(step, found, training.evaluated, faces.images)
            recorder.stop_if_asked(step, training.fabric)  # here the other ranks wait for rank 0
            if step == recorder.last:
                break
            with recorder.cost.training():
                means = training.step(step, feed)
            recorder.trained(step, training.row(step, means) if recorder.row_due(step) else {})
            if on_step:
                on_step(step, means, training.vae)
                training.vae.train()  # it may have evaluated the model


class Training:
    """The state of a training and its step; with several ``training.devices``, one process of them.

    A checkpoint saves the states of ``parts`` and what ``about`` says. ``evaluated`` is the VAE to validate: the moving
    average of the weights, if there is one.
    """

    def __init__(self, experiment: Experiment, vae: VAE, objective: Objective, batches: TrainingBatches):
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments import LightningEnvironment
        from lightning.fabric.strategies import DDPStrategy

        config, self.device = experiment.training, next(vae.parameters()).device
        self.experiment, self.vae, self.objective, self.batches = experiment, vae, objective, batches
        self.fabric = fabric = Fabric(
            accelerator=self.device.type,
            devices=config.devices,
            strategy=DDPStrategy(timeout=timedelta(days=1)) if config.devices > 1 else "auto",  # others wait for rank 0
            plugins=[LightningEnvironment()],  # not a cluster's: `process_rank` knows this one only
        )
        fabric.launch()  # starts the other ranks
        if fabric.broadcast(batches.faces.fingerprint) != batches.faces.fingerprint:
            raise UserError("data: every rank of a run must get the same faces; seed whatever draws or splits them.")
        mixed = machine.pick_precision(config.precision, self.device) == "bf16-mixed"
        self.autocast = partial(torch.autocast, self.device.type, torch.bfloat16, enabled=mixed)
        self.ema = deepcopy(vae).requires_grad_(False) if config.ema_decay is not None else None
        self.evaluated = vae if self.ema is None else self.ema
        self.optimizer = torch.optim.Adam(vae.parameters(), config.learning_rate, betas=config.betas, fused=True)
        parts = {"vae": vae, "ema": self.ema, "likelihood": objective.likelihood, "optimizer": self.optimizer}
        self.parts: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
        self.about = {
            "vae": vae.config,
            "config": experiment.as_dict(),
            "weights": objective.weights,
            "scales": objective.scales,
            "targets_cached": batches.targets is not None,
            "fingerprint": batches.faces.fingerprint,
        }
        # DDP averages the gradients of all ranks
        self.model: Any = fabric.setup_module(vae) if config.devices > 1 else vae
        self.terms_of = torch.compile(terms_of) if config.compile else terms_of

    def restore(self, checkpoint: dict[str, Any], out: Path) -> None:
        """Load the states of a checkpoint of the run in ``out``, if it is not empty."""
        for name, part in self.parts.items() if checkpoint else ():
            try:
                part.load_state_dict(checkpoint[name])
            except (RuntimeError, ValueError, KeyError) as error:
                network = self.experiment.model.network
                raise UserError(
                    f"{out} cannot be resumed: its {name} does not fit the network {network} as it is. "
                    "Resume it with the code it was started with, or start a run in another folder."
                ) from error

    def step(self, step: int, feed: Iterator[Batch]) -> Terms:
        """One optimiser step on the next micro-batches; the batch means of all terms.

        Raises:
            UserError: if a loss or gradient is not finite.
        """
        experiment, config, fabric = self.experiment, self.experiment.training, self.fabric
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(config, step, self.batches.steps)
        kl_warmup, shift = ramp(step, experiment.loss.kl_warmup_steps), shift_of(experiment, step)
        if config.devices > 1 and self.objective.likelihood is not None:  # as DDP does with batch norm's
            torch.distributed.broadcast(self.objective.likelihood.variance, src=0)
        per_image: list[Terms] = []  # of each micro-batch
        for k in range(config.micro_batches):
            images, _, targets = fabric.to_device(next(feed))
            piece = (step * config.micro_batches + k) * config.devices + fabric.global_rank
            eps = noise(experiment, Stream.TRAIN_NOISE, piece, len(images), self.device)
            more = config.devices > 1 and k + 1 < config.micro_batches
            with fabric.no_backward_sync(self.model) if more else nullcontext():
                with self.autocast():
                    terms, _ = self.terms_of(self.model, self.objective, images, eps, kl_warmup, shift, targets)
                    loss = terms["total"].mean() / config.micro_batches  # the one line that takes a batch mean
                fabric.backward(loss)
            per_image.append({name: value.detach() for name, value in terms.items()})
        norm = torch.nn.utils.clip_grad_norm_(self.vae.parameters(), config.clip_norm or math.inf)
        means = {name: torch.stack([part[name].mean() for part in per_image]).mean() for name in terms}
        if not torch.isfinite(norm + means["total"]):
            raise _not_finite(step, per_image, self.batches.rows(step))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None and config.ema_decay is not None:
            # a lower decay in the first steps, or the initial weights would remain in the average for long
            _average(self.ema, self.vae, min(config.ema_decay, (step + 1) / (step + 11)) if step else 0.0)
        return means

    def row(self, step: int, means: Terms) -> dict[str, float]:
        """The metrics of a step over all ranks, with the learning rate and, in its warm-up, the KL weight."""
        values = cast(Tensor, self.fabric.all_reduce(torch.stack(list(means.values())), reduce_op="mean"))
        row = {f"train/{name}": value for name, value in zip(means, values.tolist(), strict=True)}
        training, loss = self.experiment.training, self.experiment.loss
        row["lr"] = training.learning_rate * rate(training, step, self.batches.steps)
        if loss.kl_warmup_steps:
            row["alpha"] = loss.alpha * ramp(step, loss.kl_warmup_steps)
        return row


def terms_of(
    vae: torch.nn.Module,
    objective: Objective,
    images: Tensor,
    eps: Tensor,
    kl_warmup: float = 1.0,
    shift: tuple[int, int] = (0, 0),
    targets: dict[str, Tensor] | None = None,
) -> tuple[Terms, Tensor]:
    """All terms and the weighted ``total``, (N,) each, of uint8 images, and the posterior means (N, D)."""
    x = to_float(images)  # (N, C, H, W)
    x_hat, mu, logvar = vae(x, eps)
    terms = objective.terms(x_hat, x, mu, logvar, shift, targets)  # (N,) each
    return terms | {"total": objective.total(terms, kl_warmup)}, mu


@torch.no_grad()
def validate(
    experiment: Experiment,
    vae: VAE,
    objective: Objective,
    faces: Faces,
    device: torch.device,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Means of all terms over faces, and the number of active units, by name: ``val/kl``, ..., ``val/active_units``.

    With all of the KL weight and without the random shift, so that totals compare between epochs. Empty as soon as
    ``interrupted()`` is true.
    """
    sums: Terms = {}
    means = []
    with evaluating(vae), evaluating(objective):
        for index, images in enumerate(faces.images.split(experiment.training.batch_size)):
            if interrupted():
                return {}
            eps = noise(experiment, Stream.VALIDATION_NOISE, index, len(images), device)
            terms, mu = terms_of(vae, objective, images.to(device), eps)
            sums = {name: sums.get(name, 0) + value.sum() for name, value in terms.items()}
            means.append(mu)
    metrics = {f"val/{name}": float(value) / len(faces) for name, value in sums.items()}
    return metrics | {"val/active_units": float(active_units(torch.cat(means)))}


def _average(ema: VAE, vae: VAE, decay: float) -> None:
    """Move an exponential moving average towards the weights and batch norm statistics; counters are copied."""
    pairs = list(zip(ema.state_dict().values(), vae.state_dict().values(), strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    get_ema_multi_avg_fn(decay)(*map(list, zip(*floats, strict=True)), 0)
    for average, value in pairs:
        if not average.is_floating_point():
            average.copy_(value)


def _not_finite(step: int, per_image: list[Terms], rows: list[int]) -> UserError:
    """The error of a step whose loss or gradient is not finite: names the terms and the images."""
    values = {name: torch.cat([part[name] for part in per_image]) for name in per_image[0]}
    names = [name for name, value in values.items() if name != "total" and not torch.isfinite(value).all()]
    wrong = (~torch.isfinite(values["total"])).tolist()
    images = [row for row, is_wrong in zip(rows, wrong, strict=True) if is_wrong] or rows
    named = ", ".join(map(str, images[:IMAGES_NAMED])) + (", ..." if len(images) > IMAGES_NAMED else "")
    return UserError(
        f"Training stopped before step {step + 1:,}: {', '.join(names) or 'the gradient'} not finite, for the training "
        f"images {named} (rows of the training split, from 0). The last checkpoint is intact. Start a "
        "new run with a lower training.learning_rate, or with training.clip_norm."
    )
