"""What a run cost: time, images a second, memory."""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from dfcvae.errors import UserError
from dfcvae.files import write_whole
from dfcvae.memory import forget_peak, peak_memory
from dfcvae.training.nonfinite import FiniteSteps

FILE = "cost.json"


class Cost(Callback):
    """Keep ``cost.json`` in the run folder, written with every checkpoint; a resumed run adds to it.

    ``images`` seen in training, ``training_seconds`` of these steps alone, ``images_per_second`` of both,
    ``total_seconds`` with reading, preparing, validating and pictures, ``peak_memory_mib`` of the process (of the GPU,
    where there is one; null where nothing tells), ``skipped_steps`` that were not finite. Steps
    that a killed session lost are counted once, when they were made again.

    Args:
        folder: the run folder.
        images_per_step: of all devices.
        finite: counts the steps that were left out.
        begun: when the run was, by `time.perf_counter`.
        resumed: add to what the file says already.
    """

    def __init__(self, folder: Path, images_per_step: int, finite: FiniteSteps, begun: float, resumed: bool):
        self.file, self.images_per_step, self.finite, self.begun = folder / FILE, images_per_step, finite, begun
        before = read_cost(folder) if resumed else {}
        self.spent = {key: before.get(key) or 0 for key in ("training_seconds", "total_seconds", "peak_memory_mib")}

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        forget_peak(module.device)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.steps_begun: float | None = time.perf_counter()  # within an epoch, perhaps; others:

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.steps_begun = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)  # the steps may still be waiting there
        self._stop_clock()

    def _stop_clock(self) -> None:
        if self.steps_begun is not None:
            self.spent["training_seconds"] += time.perf_counter() - self.steps_begun
        self.steps_begun = None

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._stop_clock()  # of a run that is ended within an epoch
        if not trainer.is_global_zero:
            return
        images, seconds = trainer.global_step * self.images_per_step, self.spent["training_seconds"]
        peak = peak_memory(module.device)
        written = {
            "images": images,
            "training_seconds": round(seconds, 2),
            "total_seconds": round(self.spent["total_seconds"] + time.perf_counter() - self.begun, 2),
            "images_per_second": round(images / seconds, 2) if seconds else None,
            "peak_memory_mib": None if peak is None else max(round(peak / 2**20), self.spent["peak_memory_mib"]),
            "skipped_steps": self.finite.count,
        }
        write_whole(self.file, json.dumps(written, indent=2) + "\n")


def read_cost(folder: Path) -> dict[str, Any]:
    """What a run has cost so far; empty for a run folder without the file.

    Raises:
        UserError: if the file is damaged.
    """
    file = folder / FILE
    try:
        cost = json.loads(file.read_text()) if file.is_file() else {}
        if not isinstance(cost, dict) or not all(isinstance(value, int | float | None) for value in cost.values()):
            raise ValueError("it should hold numbers by name")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged ({error}); move it elsewhere, and the cost is counted anew.") from error
    return cost
