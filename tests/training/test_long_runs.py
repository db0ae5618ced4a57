"""Ten thousand steps: memory, file handles and threads stay as they are, and files as many."""

import os
import threading
from dataclasses import replace

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback

from dfcvae.memory import peak_memory  # noqa: F401
from dfcvae.networks import NETWORKS
from dfcvae.training import train
from dfcvae.training import run as module

STEPS, EPOCHS = 10_000, 100


class Watch(Callback):
    """What the process holds at the end of every epoch: MiB resident, open files, threads."""

    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        self.seen.append((resident, len(os.listdir("/proc/self/fd")), threading.active_count()))
