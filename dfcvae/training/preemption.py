"""A run that is asked to end saves itself first, at the step where it is."""

import signal
import threading
from pathlib import Path
from types import FrameType

import lightning as L
from lightning.pytorch.callbacks import Callback

from dfcvae.data.batches import Batch
from dfcvae.errors import PreemptedError

# SIGTERM: kill, docker stop, torchrun, SLURM at the end of the time; SIGUSR1: SLURM before it, if asked (--signal)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Preemption(Callback):
    """On SIGTERM or SIGUSR1, write the last checkpoint before the next step or batch of validation, and end the run.

    With several processes it is enough if one of them gets the signal: they agree before every step.

    Args:
        file: the checkpoint.
        parts: batches to a step.
    """

    def __init__(self, file: Path, parts: int):
        self.file, self.parts = file, parts
        self.received: int | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.received_sigterm:  # came while Lightning was preparing
            self.received = signal.SIGTERM
        if threading.current_thread() is threading.main_thread():  # no other may
            for number in SIGNALS:  # Lightning's own handler would end the run with status 0, and at its end it
                signal.signal(number, self._note)  # puts back those from before
            trainer._signal_connector.received_sigterm = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_index: int
    ) -> None:
        if batch_index % self.parts == 0:
            self._end_if_asked(trainer)

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        self._end_if_asked(trainer)

    def _end_if_asked(self, trainer: L.Trainer) -> None:
        if not trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            return
        trainer.save_checkpoint(self.file)
        asked = (
            f"{signal.Signals(self.received).name} came" if self.received is not None else "Another process was asked"
        )
        raise PreemptedError(
            f"{asked}: the run was saved after step {trainer.global_step:,} in {self.file}. The same command with "
            "--resume auto goes on there."
        )
