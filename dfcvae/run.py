"""The folder of a training run: what it holds at the start, pictures, cost, and how a run stops and resumes."""

import json
import signal
import sys
import threading
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from dfcvae.checkpoint import load_checkpoint, save_checkpoint
from dfcvae.config import Experiment
from dfcvae.data import Splits, TrainingBatches, source_name
from dfcvae.device import environment, pick_precision, process_rank
from dfcvae.errors import PreemptedError, UserError
from dfcvae.fields import flat
from dfcvae.files import remove_leftovers, write_atomically
from dfcvae.images import grid, rows, save_png, to_float
from dfcvae.losses import Objective, accounting_table, beta_eff
from dfcvae.metrics import LOG_EVERY, METRICS, Cost, MetricsLog, Progress, history, last_validation, read_rows
from dfcvae.seeding import Stream, noise, seeded_generator
from dfcvae.vae import VAE

Resume = bool | Literal["auto"]

FACES_SHOWN, SAMPLES_SHOWN = 8, 32
PICTURES_KEPT = 50  # of each kind
# SIGTERM: kill, docker stop, torchrun, SLURM at the time limit; SIGUSR1: SLURM before it, if requested (--signal)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
FREE = {"training.logger", "training.picture_epochs", "name"}  # may differ in a resumed run


@dataclass(frozen=True)
class Run:
    """A run folder: ``Run("runs/vae").history`` reads one of an earlier training.

    Args:
        folder: where `dfcvae.train` wrote it.
    """

    folder: Path

    @property
    def model(self) -> VAE:
        """The model of the best validation, in eval mode."""
        return VAE.load(self.folder)

    @property
    def experiment(self) -> Experiment:
        """What was trained, with all values."""
        return Experiment.load(Path(self.folder) / "config.yaml")

    @property
    def history(self) -> list[dict[str, float]]:
        """All rows of metrics: ``step``, ``epoch``, and ``train/...`` or ``val/...``; for ``pandas.DataFrame``."""
        return history(Path(self.folder))

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics of the last epoch: ``val/kl``, ``val/total``, ..."""
        return last_validation(Path(self.folder))


def last_file(out: Path) -> Path:
    """The checkpoint from which a run is resumed."""
    return out / "checkpoints" / "last.ckpt"


def checkpoint_to_resume(experiment: Experiment, out: Path, resume: Resume) -> dict[str, Any]:
    """The checkpoint that a run resumes from; empty if it starts.

    ``resume`` true requires a checkpoint, false forbids one, and "auto" takes one if there is any. Files that a killed
    process left incomplete are removed from the run folder.

    Raises:
        UserError: if there is a run that should not be resumed, none to resume, or one with another experiment.
    """
    last = last_file(out)
    if process_rank() == 0:
        for folder in (out, last.parent):
            remove_leftovers(folder)
    if resume is True or (resume == "auto" and last.is_file()):
        return _resumable(experiment, last, out)
    existing = sorted(last.parent.glob("*.ckpt"))
    if resume == "auto":
        if process_rank() == 0:
            for file in existing:  # the best one, of a run that was killed before it wrote the last one
                file.replace(file.with_suffix(".ckpt.before"))
    elif existing:
        raise UserError(
            f"{out} already holds a run. Resume it (--resume, or resume=True in Python), or choose another folder "
            "(--out)."
        )
    return {}


def _resumable(experiment: Experiment, file: Path, out: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(f"Nothing to resume in {out}: expected {file}. Start the run without resume.")
    checkpoint = load_checkpoint(file)
    if not checkpoint.keys() >= {"optimizer", "step"}:
        raise UserError(f"{file} holds a model but no training state to resume. Start a run in another folder.")
    saved = Experiment.from_dict(checkpoint["about"]["config"])  # fields added since have their defaults
    # a data set may have moved
    before, now = (flat(of.as_dict()) | {"data.source": source_name(of.data)} for of in (saved, experiment))
    free = set(FREE)
    if experiment.training.schedule != "cosine":  # whose learning rates depend on the length of the run
        free |= {"training.epochs", "training.max_steps"}
    pairs = {name: (before.get(name, "-"), now.get(name, "-")) for name in sorted(before | now) if name not in free}
    changed = [f"{name} was {old!r} and is now {new!r}" for name, (old, new) in pairs.items() if old != new]
    if changed:
        raise UserError(
            f"The run in {out} cannot be resumed with another experiment: {', '.join(changed)}. Start a run in another "
            "folder."
        )
    return checkpoint


def is_finished(out: Path, step: int, last: int) -> bool:
    """Whether all steps of a run are taken, and the last one is validated."""
    if step == last and (out / METRICS).is_file():
        return any(row["val/total"] and int(row["step"]) + 1 == step for row in read_rows(out / METRICS))
    return step > last


def describe(
    experiment: Experiment,
    vae: VAE,
    objective: Objective,
    batches: TrainingBatches,
    splits: Splits,
    out: Path,
    resumed: bool,
    shown: bool,
) -> None:
    """Write the resolved configuration and, when the run starts, the environment and what the weights mean.

    If ``shown``, the settings are printed to stderr. The terms are measured on the first micro-batch, outside
    mixed precision, without changing the VAE.
    """
    experiment.save(out / "config.yaml")
    device = next(vae.parameters()).device
    if shown:
        print(_opening(experiment, vae, batches, splits, device, out), file=sys.stderr)
    if resumed:
        return
    x = to_float(next(batches.starting_at(0)).images).to(device)
    write_atomically(out / "environment.json", json.dumps(environment(), indent=2) + "\n")
    eps = noise(experiment, Stream.TRAIN_NOISE, 0, len(x), device)
    with torch.no_grad():
        x_hat, mu, logvar = deepcopy(vae)(x, eps)  # in training mode, which updates the statistics of batch norm
        terms = objective.eval().terms(x_hat, x, mu, logvar)
        objective.train()
    sizes, pixels = {name: float(value.mean()) for name, value in terms.items()}, x[0].numel()
    currency = beta_eff(objective, pixels)
    if shown:
        print(accounting_table(objective, sizes, pixels), file=sys.stderr)
    report = {
        "weights": objective.weights,
        "scales": objective.scales,
        "first_batch": {name: size if isfinite(size) else None for name, size in sizes.items()},
        "beta_eff": currency if isfinite(currency) else None,
    }
    write_atomically(out / "accounting.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


def _opening(
    experiment: Experiment, vae: VAE, batches: TrainingBatches, splits: Splits, device: torch.device, out: Path
) -> str:
    """What a run trains, on what, and where."""
    training, shape = experiment.training, "x".join(map(str, splits["train"].images.shape[1:]))
    steps = training.total_steps(batches.steps)
    million = sum(p.numel() for p in vae.parameters()) / 1e6
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    cached = "cached" if batches.targets is not None else "computed in every step"
    lines = {
        "data": f"{source_name(experiment.data)}, {len(splits['train']):,} training and {len(splits['val']):,} "
        f"validation images of {shape}",
        "model": f"{experiment.model.network}, {vae.latent_dim} latent dimensions, {million:.1f} million parameters",
        "steps": f"{steps:,} of {training.batch_size} images, {batches.steps:,} per epoch",
        "device": f"{name}, {pick_precision(training.precision, device)}"
        + (f"; features of the originals are {cached}" if experiment.loss.features else ""),
        "folder": str(out),
    }
    return "\n".join(f"{label:<8}{text}" for label, text in lines.items())


def picture_interval(every: int, epochs: int) -> int:
    """Epochs between two pictures: ``every``, or a multiple in a run so long that there would be more than 50."""
    return every * ceil(epochs / (every * PICTURES_KEPT))


def draw(vae: VAE, faces: Tensor, seed: int, epoch: int, out: Path) -> dict[str, Tensor]:
    """Draw and save reconstructions of held-out faces, uint8 (N, C, H, W), and decodings of fixed latents, enlarged."""
    from dfcvae.sheet import enlarge

    x = to_float(faces.to(next(vae.parameters()).device))
    samples = vae.sample(SAMPLES_SHOWN, generator=seeded_generator(seed, Stream.PICTURES))
    pictures = {"reconstructions": rows(enlarge(x), enlarge(vae.reconstruct(x))), "samples": grid(enlarge(samples))}
    for name, picture in pictures.items():
        save_png(picture, out / "pictures" / f"{name}-{epoch:04d}.png")
    return pictures


class Recorder:
    """Keeps the folder of a run up to date while it trains: metrics, checkpoints, pictures, cost; progress on stderr.

    In a ``with`` block, which notes SIGTERM and SIGUSR1. Only rank 0 writes. A checkpoint holds ``about`` and the
    states of ``parts``; ``checkpoint`` is what the run continues from, empty for a new one.
    """

    def __init__(
        self,
        experiment: Experiment,
        out: Path,
        about: dict[str, Any],
        parts: dict[str, Any],
        checkpoint: dict[str, Any],
        steps_per_epoch: int,
        cost: Cost,
        shown: bool,
    ):
        self.experiment, self.config, self.out, self.about = experiment, experiment.training, out, about
        self.parts, self.steps_per_epoch, self.cost, self.shown = parts, steps_per_epoch, cost, shown
        self.start, self.last = checkpoint.get("step", 0), self.config.total_steps(steps_per_epoch)
        self.best = checkpoint.get("best", inf)  # lowest val/total
        self.received = 0  # a signal
        self.log: MetricsLog | None = None

    def __enter__(self) -> "Recorder":
        with ExitStack() as stack:
            main = threading.current_thread() is threading.main_thread()  # no other thread may set handlers
            for number in SIGNALS if main else ():
                before = signal.signal(number, self._note)
                if before is not None:  # it was set from Python
                    stack.callback(signal.signal, number, before)
            progress = Progress(self.experiment, self.start, self.last, self.steps_per_epoch, self.shown)
            self.progress = stack.enter_context(closing(progress))
            if process_rank() == 0:
                log = MetricsLog(self.out, self.experiment, self.about["weights"], self.steps_per_epoch, self.start)
                self.log = stack.enter_context(closing(log))
            self.ended = stack.pop_all()
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __exit__(self, *error: Any) -> None:
        self.ended.__exit__(*error)

    def interrupted(self) -> bool:
        """Whether a signal was received."""
        return bool(self.received)

    def validation_due(self, step: int) -> bool:
        """Whether this process validates the model after ``step`` steps: at the end of an epoch and of the run."""
        ends_epoch = step > 0 and (step % self.steps_per_epoch == 0 or step == self.last)
        return self.log is not None and ends_epoch and step not in self.log.validated

    def validated(self, step: int, metrics: dict[str, float], vae: VAE, images: Tensor) -> None:
        """Log and save a model after ``step`` steps, and draw its reconstructions of the first images (N, C, H, W)."""
        assert self.log is not None
        epoch = ceil(step / self.steps_per_epoch)
        if metrics["val/total"] < self.best:
            self.best = metrics["val/total"]
            best = {"step": step, "epoch": epoch, "about": self.about, "vae": vae.state_dict()}
            save_checkpoint(last_file(self.out).with_name("best.ckpt"), best)
        self.log.write(step, metrics)
        self.progress.validated(metrics)
        self.save(step)
        if epoch % picture_interval(self.config.picture_epochs, ceil(self.last / self.steps_per_epoch)) == 0:
            self.log.draw(step, draw(vae, images[:FACES_SHOWN], self.config.seed, epoch, self.out))

    def row_due(self, step: int) -> bool:
        """Whether the training metrics of a step are logged."""
        return (step + 1) % LOG_EVERY == 0 or step + 1 == self.last

    def trained(self, step: int, row: dict[str, float]) -> None:
        """Count a step, and log its metrics, if there are any."""
        if row and self.log is not None:
            self.log.write(step + 1, row)
        self.progress.step(row.get("train/total"))

    def save(self, step: int) -> None:
        """Write the checkpoint from which the run is resumed, after ``step`` steps."""
        if self.log is not None:
            states = {name: part.state_dict() for name, part in self.parts.items()}
            save_checkpoint(last_file(self.out), {"step": step, "about": self.about, "best": self.best} | states)
            self.cost.save(step)

    def stop_if_asked(self, step: int, fabric: Any) -> None:
        """Save after ``step`` steps and raise a PreemptedError if this rank, or another one, received a signal."""
        asked = bool(self.received)
        if self.config.devices > 1:  # one request is enough: all ranks save and end at the same step
            asked = bool(fabric.all_reduce(torch.tensor(float(asked), device=self.cost.device), reduce_op="sum"))
        if asked:
            self.save(step)
            fabric.barrier()
            name = signal.Signals(self.received).name if self.received else "a signal in another rank"
            raise PreemptedError(
                f"Received {name}; saved step {step:,} in {last_file(self.out)}. Resume it with --resume auto."
            )
