"""The training step of the popular implementations, and the measures that make it faster, one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dfcvae.bench.faces import JPEGFaces, decoded_faces, jpeg_batches, row_batches
from dfcvae.bench.measured import Measured
from dfcvae.bench.network import collect, fold_batch_norms, popular_network
from dfcvae.bench.settings import LATENT_DIM, BenchSettings
from dfcvae.bench.step import Batch, Outputs
from dfcvae.device import has_bfloat16, keep_freed_memory
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.vae import VAE

NO_BFLOAT16 = "This device has no bfloat16 arithmetic, and emulating it is slower than float32."
BETA, KL_WEIGHT, LEARNING_RATE = 0.5, 0.00025, 5e-3


@dataclass(frozen=True)
class Measures:
    """What is done to the popular step to make it faster; nothing by default.

    Args:
        keep_memory: keep freed memory in the process instead of giving it back to the kernel.
        truncate: run the feature network to the deepest layer that is compared, not to its end.
        no_grad: record no graph of the originals' features.
        fold: fold the frozen batch norms into the convolutions.
        channels_last: the feature network in channels-last memory format.
        bfloat16: autocast, and the feature network's weights in bfloat16.
        fused: one kernel for all of Adam's update.
        cached: decoded rows from memory instead of a JPEG file for each image.
        kept: the originals' features computed once, and kept in bfloat16.
        compiled: the VAE through ``torch.compile``.
    """

    keep_memory: bool = False
    truncate: bool = False
    no_grad: bool = False
    fold: bool = False
    channels_last: bool = False
    bfloat16: bool = False
    fused: bool = False
    cached: bool = False
    kept: bool = False
    compiled: bool = False


class PopularStep:
    """One training step as the popular implementations take it, or with some measures.

    Args:
        settings: sizes and device.
        folder: of JPEG files.
        measures: what is done differently.
    """

    def __init__(self, settings: BenchSettings, folder: Path, measures: Measures):
        if measures.keep_memory:
            keep_freed_memory()
        torch.manual_seed(0)
        self.measures, self.device, self.batch_size = measures, settings.device, settings.batch_size
        self.layers = settings.indices
        reduced = "tf32" if self.device.type == "cuda" else "float32"  # what PyTorch does with float32 unless told
        self.arithmetic = "bfloat16" if measures.bfloat16 else reduced
        self.vae = VAE("strided", settings.size, 3, LATENT_DIM).to(self.device)
        self.run_vae: Callable[..., Outputs] = torch.compile(self.vae) if measures.compiled else self.vae
        self.features = self._network()
        self.optimizer = torch.optim.Adam(self.vae.parameters(), LEARNING_RATE, fused=measures.fused or None)
        if measures.cached:
            self.batches = row_batches(decoded_faces(folder, settings.size), self.batch_size)
        else:
            pin = self.device.type == "cuda"
            self.batches = jpeg_batches(folder, settings.size, self.batch_size, pin)
        self.kept = self._keep(folder, settings.size) if measures.kept else None
        self.logged: dict[str, Tensor] = {}

    def _network(self) -> nn.Sequential:
        network, measures = popular_network(), self.measures
        if measures.truncate:
            network = network[: self.layers[-1] + 1]
        if measures.fold:
            network = fold_batch_norms(network, self.layers)
        if measures.bfloat16:
            network = network.bfloat16()
        if measures.channels_last:
            network = network.to(memory_format=torch.channels_last)
        return network.to(self.device)

    @torch.no_grad()
    def _keep(self, folder: Path, size: int) -> list[Tensor]:
        """The features of every image and its mirror image, in the order of their numbers, (2 n, ...) by layer."""
        images = JPEGFaces(folder, size).all_images()
        parts = [
            [output.bfloat16() for output in self.see(part.to(self.device))] for part in images.split(self.batch_size)
        ]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def see(self, images: Tensor) -> list[Tensor]:
        """The features of images, by layer."""
        if self.measures.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return collect(self.features, images.to(next(self.features.parameters()).dtype), self.layers)

    def fetch(self) -> Batch:
        images, numbers = next(self.batches)
        images = images.to(self.device, non_blocking=True)
        return (to_float(images) if images.dtype == torch.uint8 else images), numbers

    def forward(self, batch: Batch) -> Outputs:
        images, _ = batch
        eps = torch.randn(len(images), LATENT_DIM, device=self.device)
        with self._autocast():
            return self.run_vae(images, eps)

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        (x, numbers), (x_hat, mu, logvar) = batch, outputs
        with self._autocast():
            if self.kept is not None:
                targets = [kept[numbers.to(self.device)].float() for kept in self.kept]
            else:
                with torch.set_grad_enabled(not self.measures.no_grad):
                    targets = self.see(x)
            pixel = mse_loss(x_hat, x)
            features = sum(mse_loss(a.float(), b.float()) for a, b in zip(self.see(x_hat), targets, strict=True))
            kl = torch.mean(-0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1), dim=0)
            total = BETA * (pixel + features) + KL_WEIGHT * kl
        self.logged = {"reconstruction": pixel + features, "kl": kl}
        return total

    def total(self, batch: Batch) -> Tensor:
        return self.loss(batch, self.forward(batch))

    def update(self, loss: Tensor) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        for value in (loss, *self.logged.values()):
            value.item()  # what logging each step's values as numbers costs: a wait for the device

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.measures.bfloat16)


def measured_popular(settings: BenchSettings, folder: Path, measures: Measures) -> Measured:
    """The popular step with some measures."""

    def build() -> PopularStep:
        if measures.bfloat16 and not has_bfloat16(settings.device):
            raise UserError(NO_BFLOAT16)
        return PopularStep(settings, folder, measures)

    return Measured(build)
