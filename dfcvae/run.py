"""The folder of a training run: what it holds at the start, pictures, cost, and how a run stops and resumes."""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from dfcvae.checkpoint import load_checkpoint
from dfcvae.config import Experiment, flat
from dfcvae.data import Splits, TrainingBatches, source_name
from dfcvae.device import environment, peak_memory, pick_precision, process_rank
from dfcvae.errors import UserError
from dfcvae.files import remove_leftovers, write_atomically
from dfcvae.images import grid, rows, save_png, to_float
from dfcvae.losses import Objective, accounting_table, beta_eff
from dfcvae.metrics import history, last_validation
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.sheet import enlarge
from dfcvae.vae import VAE

Resume = bool | Literal["auto"]

RESUME = "resume=True; --resume on the command line"
COST = "cost.json"
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


def checkpoint_to_resume(experiment: Experiment, out: Path, resume: Resume) -> dict[str, Any] | None:
    """The checkpoint that a run resumes from, or None if it starts.

    Files that a killed process left incomplete are removed from the run folder.

    Args:
        experiment: what to train.
        out: the run folder.
        resume: true requires a checkpoint, false forbids one, and "auto" takes one if there is any.

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
            for file in existing:  # a best checkpoint without a last one: of a run killed between the two, perhaps
                file.replace(file.with_suffix(".ckpt.before"))
    elif existing:
        raise UserError(f"{out} already holds a run. Resume it ({RESUME}), or choose another folder.")
    return None


def _resumable(experiment: Experiment, file: Path, out: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(f"Nothing to resume in {out}: expected {file}. Start the run without resume.")
    checkpoint = load_checkpoint(file)
    if not checkpoint.keys() >= {"optimizer", "step"}:
        raise UserError(f"{file} holds a model but no training state to resume. Start a run in another folder.")
    saved = Experiment.from_dict(checkpoint["about"]["config"])  # fields added since have their defaults
    before, now = flat(saved.as_dict()), flat(experiment.as_dict())
    free = set(FREE)
    if experiment.training.schedule != "cosine":  # whose learning rates depend on the length of the run
        free |= {"training.epochs", "training.max_steps"}
    changed = [
        name for name in sorted(before | now) if name not in free and before.get(name, "-") != now.get(name, "-")
    ]
    if changed:
        differences = ", ".join(
            f"{name} was {before.get(name, '-')!r} and is now {now.get(name, '-')!r}" for name in changed
        )
        raise UserError(
            f"The run in {out} cannot be resumed with another experiment: {differences}. Start a run in another folder."
        )
    return checkpoint


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

    If ``shown``, stderr says what is trained on what, and how. The terms are measured on the first micro-batch, outside
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
    generator = seeded_generator(experiment.training.seed, Stream.TRAIN_NOISE, 0, x.device)
    eps = torch.randn(len(x), vae.latent_dim, generator=generator, device=x.device)
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
    training, per_epoch, shape = (
        experiment.training,
        batches.steps,
        "x".join(map(str, splits["train"].images.shape[1:])),
    )
    million = sum(p.numel() for p in vae.parameters()) / 1e6
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    cached = "cached" if batches.targets is not None else "computed in every step"
    lines = {
        "data": f"{source_name(experiment.data)}, {len(splits['train']):,} training and {len(splits['val']):,} "
        f"validation images of {shape}",
        "model": f"{experiment.model.network}, {vae.latent_dim} latent dimensions, {million:.1f} million parameters",
        "steps": f"{training.total_steps(per_epoch):,} of {training.batch_size} images, {per_epoch:,} per epoch",
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
    x = to_float(faces.to(next(vae.parameters()).device))
    samples = vae.sample(SAMPLES_SHOWN, generator=seeded_generator(seed, Stream.PICTURES))
    pictures = {"reconstructions": rows(enlarge(x), enlarge(vae.reconstruct(x))), "samples": grid(enlarge(samples))}
    for name, picture in pictures.items():
        save_png(picture, out / "pictures" / f"{name}-{epoch:04d}.png")
    return pictures


class StopRequest:
    """Notes SIGTERM and SIGUSR1 within a ``with`` block, and restores the previous handlers at its end."""

    received: int | None = None

    def __enter__(self) -> "StopRequest":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
            self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            if handler is not None:  # it was not set from Python
                signal.signal(number, handler)


class Cost:
    """The cost of a run, written to ``cost.json`` with every checkpoint; a resumed run adds to it.

    ``images`` seen in training, ``training_seconds`` of these steps alone, ``images_per_second`` of both,
    ``total_seconds`` including data, preparation, validation and pictures, and ``peak_memory_mib`` of the process (of
    the GPU, if used; null where unknown). Steps that a killed process lost are counted once, when repeated.
    """

    def __init__(self, out: Path, images_per_step: int, device: torch.device, resumed: bool):
        self.file, self.images_per_step, self.device, self.begun = (
            out / COST,
            images_per_step,
            device,
            time.perf_counter(),
        )
        before = read_cost(out) if resumed else {}
        self.spent = {key: before.get(key) or 0 for key in ("training_seconds", "total_seconds", "peak_memory_mib")}

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count the time of this block as training."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent["training_seconds"] += time.perf_counter() - begun

    def save(self, step: int) -> None:
        """Write the cost of the first ``step`` steps."""
        images, seconds, peak = step * self.images_per_step, self.spent["training_seconds"], peak_memory(self.device)
        written = {
            "images": images,
            "training_seconds": round(seconds, 2),
            "total_seconds": round(self.spent["total_seconds"] + time.perf_counter() - self.begun, 2),
            "images_per_second": round(images / seconds, 2) if seconds else None,
            "peak_memory_mib": None if peak is None else max(round(peak / 2**20), self.spent["peak_memory_mib"]),
        }
        write_atomically(self.file, json.dumps(written, indent=2) + "\n")


def read_cost(out: Path) -> dict[str, Any]:
    """What a run has cost so far; empty for a run folder without the file.

    Raises:
        UserError: if the file is corrupted.
    """
    file = out / COST
    try:
        cost = json.loads(file.read_text()) if file.is_file() else {}
        if not isinstance(cost, dict) or not all(isinstance(value, int | float | None) for value in cost.values()):
            raise ValueError("expected numbers by name")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is corrupted ({error}); move it elsewhere to restart the cost count.") from error
    return cost
