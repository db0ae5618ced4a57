"""Ten thousand steps: memory, file handles and threads stay as they are, and files few."""

import os
import threading
from dataclasses import replace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from dfcvae.data import Faces
from dfcvae.data.batches import AHEAD
from dfcvae.networks import NETWORKS, Decoder, Encoder
from dfcvae.training import run as module
from dfcvae.training import train

EPOCHS, STEPS = 100, 100  # of an epoch


def smallest(size, channels, latent_dim):
    """One linear map each way, of sixteenths of an image."""
    enlarged = nn.Sequential(nn.Upsample(scale_factor=16), nn.Conv2d(4, channels, 1))
    return Encoder(nn.Sequential(nn.AvgPool2d(16)), channels * 4, latent_dim), Decoder(enlarged, 4, 2, latent_dim)


class Watch(Callback):
    """What the process holds at the end of every epoch: MiB resident, open files, threads."""

    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        self.seen.append((resident, len(os.listdir("/proc/self/fd")), threading.active_count()))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads what the process holds from /proc")
def test_ten_thousand_steps_take_no_more_than_a_few(experiment, tmp_path, monkeypatch):
    watch = Watch()
    monkeypatch.setitem(NETWORKS, "hou2016", smallest)
    monkeypatch.setattr(module, "DivergenceGuard", lambda: watch)
    monkeypatch.setattr("dfcvae.training.callbacks.PATIENCE_STEPS", 10**9)  # of noise nothing is learnt
    images = torch.randint(256, (2 * STEPS, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    faces = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ())
    splits = {"train": faces, "val": faces.subset(4), "test": faces.subset(4)}
    training = replace(experiment.training, epochs=EPOCHS, batch_size=2, ema_decay=0.9, skip_nonfinite=1)
    long = replace(experiment, loss=replace(experiment.loss, alpha=0.0, features=None), training=training)
    before = threading.active_count()  # with what other tests have left
    train(long, tmp_path / "x", splits=splits, progress=False)
    memory, files, threads = zip(*watch.seen, strict=True)
    print(memory[::10])
    assert len(memory) == EPOCHS
    assert memory[-1] - memory[9] < 16
    assert len(set(files[9:])) == 1
    assert max(threads) <= before + 2 * AHEAD  # those that gather an epoch, and perhaps of the one before
    names = [path.name for path in (tmp_path / "x").rglob("*") if path.is_file()]
    assert len([name for name in names if name.endswith(".png")]) == 2 * 50
    assert len([name for name in names if not name.endswith(".png")]) == 8  # the mixture among them
    rows = (tmp_path / "x/metrics.csv").read_text().count("\n")
    assert rows == 1 + EPOCHS * (STEPS // 10 + 1)
