"""Where a run is, as a function of its step: batches, epochs and Lightning's counters follow from it."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from dfcvae.data import TrainingBatches

PENDING = "validation_pending"  # in a checkpoint: its epoch is trained, but not validated


class Steps(Callback):
    """Start the batches at the right step, also in a run that is resumed within an epoch, and stop after the last step.

    (With Lightning's own `max_steps` a run that ended there does not go on when it is resumed. And what it saves of its
    loops leads to the same place only from the end of an epoch.)
    """

    def __init__(self, batches: TrainingBatches, last: int):
        self.batches, self.last = batches, last

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.batches.step = trainer.global_step

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.batches.step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step >= self.last:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.on_train_batch_end(trainer)  # of a run that only lacks its last validation

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[PENDING] = trainer.validating

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        step, steps = checkpoint["global_step"], self.batches.steps
        # within an epoch only the end of the run is validated, and the run may end later now
        pending = checkpoint.get(PENDING, False) and (step % steps == 0 or step >= self.last)
        checkpoint["loops"]["fit_loop"] |= loops_at(step, steps, self.batches.parts, pending)


def loops_at(step: int, steps: int, parts: int, pending: bool) -> dict[str, Any]:
    """The state of Lightning's loops after ``step`` training steps, between two of them.

    Args:
        step: training steps done.
        steps: of an epoch.
        parts: batches to a step.
        pending: the epoch that ends here, or the run, is still to be validated, from the first batch.
    """
    epochs, done = ((step - 1) // steps, steps) if pending else divmod(step, steps)
    begun = epochs + (done > 0)
    batches = _counter(done * parts)
    return {
        "epoch_progress": _both(_counter(begun, epochs)),
        "epoch_loop.batch_progress": {"total": _counter(step * parts), "current": batches, "is_last_batch": pending},
        # one batch begun and none done is how Lightning knows that it has to validate
        "epoch_loop.val_loop.batch_progress": _both(_counter(int(pending), 0)) | {"is_last_batch": False},
        "epoch_loop.state_dict": {"_batches_that_stepped": step - pending},  # the step of the next row of metrics
    }


def _counter(begun: int, done: int | None = None) -> dict[str, int]:
    done = begun if done is None else done
    return {"ready": begun, "started": begun, "processed": done, "completed": done}


def _both(counter: dict[str, int]) -> dict[str, Any]:
    return {"total": counter, "current": dict(counter)}
