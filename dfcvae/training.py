"""The training loop. The plain VAE and the DFC-VAE take the same steps; they differ in their objective alone.

Everything random is a function of the seed and the step, so that a run resumed at a step takes the steps it would have
taken: a checkpoint holds no state of a generator or a data loader.
"""

import math
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dfcvae.build import build_objective, build_perceptual, build_vae, use_bfloat16_features
from dfcvae.checkpoint import save_checkpoint
from dfcvae.config import Experiment, TrainingConfig
from dfcvae.data import OWN, SYNTHETIC, Batches, Faces, Splits, TrainingBatches, as_splits, load_faces, tell_other_data
from dfcvae.data.batches import Batch
from dfcvae.device import (
    CPU,
    check_accelerator,
    determinism,
    ending_together,
    free_memory,
    keep_freed_memory,
    pick_device,
    pick_precision,
    process_rank,
    reset_peak_memory,
)
from dfcvae.errors import PreemptedError, UserError
from dfcvae.gaussian import active_units
from dfcvae.images import to_float
from dfcvae.losses import Objective
from dfcvae.losses.objective import OwnTerms
from dfcvae.metrics import LOG_EVERY, METRICS, MetricsLog, Progress, check_logger, read_rows
from dfcvae.run import (
    FACES_SHOWN,
    Cost,
    Resume,
    Run,
    StopRequest,
    checkpoint_to_resume,
    describe,
    draw,
    last_file,
    picture_interval,
)
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.targets import MEMORY_FRACTION, cached_targets
from dfcvae.vae import VAE, evaluating

Terms = dict[str, Tensor]
OnStep = Callable[[int, Terms, VAE], None]

IMAGES_NAMED = 64  # at most, in the error of a step that is not finite
COLLAPSED_NATS, PATIENCE_STEPS = 1.0, 300  # earlier, an untrained encoder looks the same


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
            numbers are those of a run that was never stopped, whatever the step. Unless the schedule is cosine,
            ``training.epochs`` and ``max_steps`` may differ.
        data: your own faces instead of ``experiment.data.source``: a tensor or array of images, a Dataset, `Faces`, or
            a dict of the splits "train", "val" and "test" of any of these (`dfcvae.data.as_splits`).
        terms: your own terms of the loss, ``{"edges": (function, weight)}``, see `Objective`.
        mixture: at the end, fit the mixture that samples are drawn from to the latents of the training images, and keep
            it in ``out/latent`` (seconds; `dfcvae.load_prior`). A finished run without one gets it when it is resumed.
        progress: say on stderr what is trained and how far it is.
        on_step: called after every training step with its number (from 0), the batch means of its terms (of this rank),
            and the VAE.

    With several ``training.devices`` the program that calls this is started again for each further rank, so it should
    be a script or the command line, not a notebook.

    Raises:
        UserError: if the data, the feature weights or the run folder are not what the experiment needs, a checkpoint
            cannot be written, or a loss or gradient is not finite.
        PreemptedError: after SIGTERM or SIGUSR1; the last checkpoint was written at that step.
    """
    out, config, rank = Path(out), experiment.training, process_rank()
    device, shown = pick_device(config.accelerator), progress and rank == 0
    if rank >= config.devices:
        raise UserError(
            f"training.devices: expected the number of processes started, got {config.devices} in rank {rank}."
        )
    splits = None if data is None else as_splits(data, experiment.data, progress=shown)
    if splits is not None:
        experiment = _naming_its_faces(experiment, data, splits)
    with determinism(config.deterministic), ending_together(config.devices, rank):
        keep_freed_memory()
        checkpoint = checkpoint_to_resume(experiment, out, resume)
        about = checkpoint["about"] if checkpoint else {}
        cost = Cost(out, config.batch_size, device, resumed=checkpoint is not None)
        vae, perceptual = build_vae(experiment), build_perceptual(experiment.loss.features)  # may fail: before the data
        check_accelerator(config.accelerator, config.devices)
        check_logger(config.logger)
        splits = splits or load_faces(experiment.data, progress=shown)
        if len(splits["val"]) < 2:
            raise UserError(f"Validation needs at least 2 images, got {len(splits['val'])} in the validation split.")
        batches = _training_batches(experiment, splits["train"], device)
        if checkpoint is None or not _finished(checkpoint["step"], config.total_steps(batches.steps), out):
            tell_other_data(about, splits["train"])
            images = splits["train"].images
            scales = about.get("scales")
            objective = build_objective(experiment.loss, perceptual, images, scales, device, terms).to(device)
            if about.get("weights", objective.weights) != objective.weights:
                raise UserError(f"{out} cannot be resumed with other terms; its terms and weights: {about['weights']}.")
            vae.to(device)
            if pick_precision(config.precision, device) == "bf16-mixed":
                use_bfloat16_features(objective)
            before = about.get("targets_cached")  # a resumed run continues with the same numbers
            batches.targets = cached_targets(experiment, perceptual, batches, device, before, shown)
            if batches.targets is not None and not batches.targets.rows.is_cuda:
                batches.faces = batches.faces.to(CPU)  # so that background threads gather all of a batch
            if rank == 0:
                describe(experiment, vae, objective, batches, splits, out, checkpoint is not None, shown)
            reset_peak_memory(device)
            _fit(experiment, vae, objective, batches, splits["val"], out, checkpoint, cost, shown, on_step)
        elif shown:
            print(f"{out} is finished, at step {checkpoint['step']:,}; nothing is left to train.", file=sys.stderr)
        if mixture and rank == 0:
            from dfcvae.fitted import fit_after_training

            fit_after_training(out, splits, device, progress=progress)
    return Run(out)


def _fit(
    experiment: Experiment,
    vae: VAE,
    objective: Objective,
    batches: TrainingBatches,
    validation: Faces,
    out: Path,
    checkpoint: dict[str, Any] | None,
    cost: Cost,
    shown: bool,
    on_step: OnStep | None,
) -> None:
    """The loop, from the step of the checkpoint to the last one."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment
    from lightning.fabric.strategies import DDPStrategy

    config, device = experiment.training, cost.device
    start, last = checkpoint["step"] if checkpoint else 0, config.total_steps(batches.steps)
    fabric = Fabric(
        accelerator=device.type,
        devices=config.devices,
        strategy=DDPStrategy(timeout=timedelta(days=1)) if config.devices > 1 else "auto",  # others wait for rank 0
        plugins=[LightningEnvironment()],  # not a cluster's: `process_rank` knows this one only
    )
    fabric.launch()  # starts the other ranks
    if fabric.broadcast(batches.faces.fingerprint) != batches.faces.fingerprint:
        raise UserError("data: every rank of a run must get the same faces; seed whatever draws or splits them.")
    mixed = pick_precision(config.precision, device) == "bf16-mixed"
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=mixed)

    ema = deepcopy(vae).requires_grad_(False) if config.ema_decay is not None else None
    evaluated = vae if ema is None else ema
    optimizer = torch.optim.Adam(vae.parameters(), config.learning_rate, betas=config.betas, fused=True)
    state: dict[str, Any] = {"vae": vae, "ema": ema, "likelihood": objective.likelihood, "optimizer": optimizer}
    state = {name: part for name, part in state.items() if part is not None}
    about = {
        "vae": vae.config,
        "config": experiment.as_dict(),
        "weights": objective.weights,
        "scales": objective.scales,
        "targets_cached": batches.targets is not None,
        "fingerprint": batches.faces.fingerprint,
    }
    for name, part in state.items() if checkpoint else ():
        try:
            part.load_state_dict(checkpoint[name])  # type: ignore[index]
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{out} cannot be resumed: its {name} does not fit the network {experiment.model.network} as it is. "
                "Resume it with the code it was started with, or start a run in another folder."
            ) from error
    model: Any = fabric.setup_module(vae) if config.devices > 1 else vae  # DDP: averages the gradients of all ranks
    step_terms = torch.compile(terms_of) if config.compile else terms_of
    best = checkpoint.get("best", math.inf) if checkpoint else math.inf

    def save(step: int) -> None:
        if log is not None:  # rank 0
            states = {name: part.state_dict() for name, part in state.items()}
            save_checkpoint(last_file(out), {"step": step, "about": about, "best": log.best} | states)
            cost.save(step)

    def stop_if_asked(step: int) -> None:
        asked = stop.received is not None
        if config.devices > 1:  # one request is enough: all ranks save and end at the same step
            asked = bool(fabric.all_reduce(torch.tensor(float(asked), device=device), reduce_op="sum"))
        if asked:
            save(step)
            fabric.barrier()
            name = Signals(stop.received).name if stop.received is not None else "a signal in another rank"
            raise PreemptedError(
                f"Received {name}; saved step {step:,} in {last_file(out)}. Resume it with --resume auto."
            )

    with (
        StopRequest() as stop,
        closing(batches.starting_at(start)) as feed,
        closing(Progress(experiment, start, last, batches.steps, shown)) as progress,
        closing(MetricsLog(out, experiment, objective.weights, batches.steps, start, best))
        if fabric.is_global_zero
        else nullcontext() as log,
    ):
        for step in range(start, last + 1):
            ends_epoch = step > 0 and (step % batches.steps == 0 or step == last)
            if log is not None and ends_epoch and step not in log.validated:  # in rank 0, before the step
                with autocast():
                    found = validate(experiment, evaluated, objective, validation, device, lambda: bool(stop.received))
                if found:  # nothing where a signal ended it
                    _check(found, step)
                    epoch = -(-step // batches.steps)
                    if found["val/total"] < log.best:
                        model_only = {"step": step, "epoch": epoch, "about": about, "vae": evaluated.state_dict()}
                        save_checkpoint(last_file(out).with_name("best.ckpt"), model_only)
                    log.write(step, found)
                    progress.validated(found)
                    save(step)
                    if epoch % picture_interval(config.picture_epochs, -(-last // batches.steps)) == 0:
                        log.draw(step, draw(evaluated, validation.images[:FACES_SHOWN], config.seed, epoch, out))
            stop_if_asked(step)  # here the other ranks wait for rank 0
            if step == last:
                break

            with cost.training():
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * rate(config, step, batches.steps)
                kl_warmup, shift = ramp(step, experiment.loss.kl_warmup_steps), shift_of(experiment, step)
                if config.devices > 1 and objective.likelihood is not None:  # DDP shares those of batch norm itself
                    torch.distributed.broadcast(objective.likelihood.variance, src=0)
                per_image: list[Terms] = []  # of each micro-batch
                for k in range(config.micro_batches):
                    batch = fabric.to_device(next(feed))
                    piece = (step * config.micro_batches + k) * config.devices + fabric.global_rank
                    eps = noise(experiment, Stream.TRAIN_NOISE, piece, len(batch.images), device)
                    more = config.devices > 1 and k + 1 < config.micro_batches
                    with fabric.no_backward_sync(model) if more else nullcontext():
                        with autocast():
                            terms, _ = step_terms(model, objective, batch, eps, kl_warmup, shift)
                            loss = terms["total"].mean() / config.micro_batches  # the one line that takes a batch mean
                        fabric.backward(loss)
                    per_image.append({name: value.detach() for name, value in terms.items()})
                norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), config.clip_norm or math.inf)
                means = {name: torch.stack([part[name].mean() for part in per_image]).mean() for name in terms}
                if not torch.isfinite(norm + means["total"]):
                    raise _not_finite(step, per_image, batches.rows(step))
                optimizer.step()
                optimizer.zero_grad()
                if ema is not None and config.ema_decay is not None:
                    # the first steps are forgotten faster, or the average would hold the initial weights for long
                    decay = min(config.ema_decay, (step + 1) / (step + 11)) if step else 0.0
                    _average(ema, vae, decay)

            known: dict[str, float] = {}
            if (step + 1) % LOG_EVERY == 0 or step + 1 == last:
                row = torch.stack(list(means.values()))
                row = cast(Tensor, fabric.all_reduce(row, reduce_op="mean"))
                known = dict(zip(means, row.tolist(), strict=True))
                if log is not None:
                    log.write(step + 1, _row(known, experiment, step, batches.steps))
            progress.step(known["total"] if known else None)
            if on_step:
                on_step(step, means, vae)
                vae.train()  # whatever it did


def terms_of(
    vae: torch.nn.Module,
    objective: Objective,
    batch: Batch,
    eps: Tensor,
    kl_warmup: float = 1.0,
    shift: tuple[int, int] = (0, 0),
) -> tuple[Terms, Tensor]:
    """All terms and the weighted ``total``, (N,) each, and the posterior means (N, D)."""
    x = to_float(batch.images)  # (N, C, H, W)
    x_hat, mu, logvar = vae(x, eps)
    terms = objective.terms(x_hat, x, mu, logvar, shift, batch.targets)  # (N,) each
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
        for index, batch in enumerate(Batches(faces, experiment.training.batch_size)):
            if interrupted():
                return {}
            batch = Batch(batch.images.to(device), batch.attributes)
            eps = noise(experiment, Stream.VALIDATION_NOISE, index, len(batch.images), device)
            terms, mu = terms_of(vae, objective, batch, eps)
            sums = {name: sums.get(name, 0) + value.sum() for name, value in terms.items()}
            means.append(mu)
    metrics = {f"val/{name}": float(value) / len(faces) for name, value in sums.items()}
    return metrics | {"val/active_units": float(active_units(torch.cat(means)))}


def noise(experiment: Experiment, stream: Stream, counter: int, n: int, device: torch.device) -> Tensor:
    """Standard normal noise (n, D), a function of the seed, the stream and the counter alone."""
    generator = seeded_generator(experiment.training.seed, stream, counter, device)
    return torch.randn(n, experiment.model.latent_dim, generator=generator, device=device)


def ramp(step: int, length: int) -> float:
    """Rises linearly from ``1 / length`` in step 0 to 1 in step ``length - 1``, where it stays."""
    return min(1.0, (step + 1) / length) if length else 1.0


def rate(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Factor of the learning rate, a function of the step alone."""
    warmup = ramp(step, config.warmup_steps)
    if config.schedule == "exponential":
        return warmup * config.decay ** (step // steps_per_epoch)
    if config.schedule == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * step / config.total_steps(steps_per_epoch)))
    return warmup


def shift_of(experiment: Experiment, step: int) -> tuple[int, int]:
    """Rows and columns to move both images by before the feature network, a function of seed and step."""
    features = experiment.loss.features
    if features is None or features.shift < 2:
        return 0, 0
    generator = seeded_generator(experiment.training.seed, Stream.SHIFT, step)
    down, right = (torch.randint(features.shift, (2,), generator=generator) - features.shift // 2).tolist()
    return down, right


def _naming_its_faces(experiment: Experiment, data: Any, splits: Splits) -> Experiment:
    """The experiment with the source of the faces that it is trained on."""
    source = experiment.data.source
    loaded = isinstance(data, Mapping) and all(isinstance(part, Faces) for part in data.values())  # by `load_faces`
    if isinstance(data, str | Path):
        source = str(data)
    elif not loaded or (source == SYNTHETIC and splits["train"].fingerprint != SYNTHETIC):
        source = OWN
    return replace(experiment, data=replace(experiment.data, source=source))


def _training_batches(experiment: Experiment, faces: Faces, device: torch.device) -> TrainingBatches:
    """Batches of the training split, which is moved to a GPU that has room for it."""
    config = experiment.training
    if device.type == "cuda" and faces.images.numel() < MEMORY_FRACTION * free_memory(device):
        faces = faces.to(device)
    flip = experiment.data.flip
    return TrainingBatches(
        faces, config.batch_size, config.seed, flip, config.micro_batches, process_rank(), config.devices
    )


def _finished(step: int, last: int, out: Path) -> bool:
    """Whether all steps are taken, and the last one is validated."""
    rows = read_rows(out / METRICS) if (out / METRICS).is_file() else []
    return step > last or (step == last and any(row["val/total"] and int(row["step"]) + 1 == step for row in rows))


def _check(metrics: dict[str, float], step: int) -> None:
    """Raise a UserError for a validation that is not finite, and warn of a collapsed posterior."""
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    if wrong:
        raise UserError(
            f"Training diverged before step {step:,}: {', '.join(wrong)} not finite. The checkpoint of the previous "
            "epoch is intact. Start a new run with a lower training.learning_rate, or with training.clip_norm."
        )
    if step >= PATIENCE_STEPS and (metrics["val/kl"] < COLLAPSED_NATS or not metrics["val/active_units"]):
        warnings.warn(
            f"The posterior has collapsed: KL {metrics['val/kl']:.3g} nats, {metrics['val/active_units']:.0f} active "
            "units. The decoder ignores z, and every reconstruction is the mean face. Lower loss.alpha, or raise "
            "loss.beta; the table printed at the start says what they mean (beta_eff of 1 is the ELBO of unit noise).",
            stacklevel=1,
        )


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


def _row(means: dict[str, float], experiment: Experiment, step: int, steps_per_epoch: int) -> dict[str, float]:
    """Training metrics of a step, with what changes by plan: the learning rate, and the KL weight in its warm-up."""
    row = {f"train/{name}": value for name, value in means.items()}
    row["lr"] = experiment.training.learning_rate * rate(experiment.training, step, steps_per_epoch)
    if experiment.loss.kl_warmup_steps:
        row["alpha"] = experiment.loss.alpha * ramp(step, experiment.loss.kl_warmup_steps)
    return row
