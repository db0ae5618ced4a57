"""The training step of the widely used DFC-VAE implementations, the baseline of `dfcvae bench`.

Their choices are reproduced, including mistakes: all of vgg19_bn runs, on images that are not normalised, and records a
graph for the originals too; batch norms are not folded; the ReLUs work in place, so that layers 24 and 34 are actually
25 and 35; every step waits for the device to read the values it logs. Two differences do not affect the speed: the
network's weights are random, and its unused classifier (471 MiB) is omitted.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dfcvae.build import build_vae
from dfcvae.config import Experiment
from dfcvae.data.batches import Batch
from dfcvae.images import to_float
from dfcvae.vgg import vgg_layers
from dfcvae.weights import load_vgg_weights

LAYERS = (14, 24, 34, 43)  # torchvision's indices, as in their code


class PopularStep:
    """One training step of an experiment's VAE, with batches that are on the device already."""

    def __init__(self, experiment: Experiment, batches: Iterator[Batch], device: torch.device):
        self.alpha, self.beta, self.batches = experiment.loss.alpha, experiment.loss.beta, batches
        self.vae = build_vae(experiment).to(device)
        self.network = nn.Sequential(*vgg_layers("vgg19_bn").values())
        self.network.load_state_dict(load_vgg_weights("vgg19_bn", "random")[0], strict=False)  # it has no counters
        for layer in self.network:
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # as in torchvision
        self.network.requires_grad_(False).eval().to(device)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), experiment.training.learning_rate)

    def __call__(self) -> Tensor:
        """Take the step; returns its loss."""
        batch = next(self.batches)
        eps = torch.randn(len(batch.images), self.vae.latent_dim, device=batch.images.device)
        values = self.losses(batch, eps)
        values["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.logged = {name: value.item() for name, value in values.items()}
        return values["loss"].detach()

    def losses(self, batch: Batch, eps: Tensor) -> dict[str, Tensor]:
        """The loss and its two terms, scalars."""
        x = to_float(batch.images)  # (N, 3, H, W)
        x_hat, mu, logvar = self.vae(x, eps)
        pairs = zip(self.features(x_hat), self.features(x), strict=True)
        reconstruction = mse_loss(x_hat, x) + sum(mse_loss(a, b) for a, b in pairs)
        kl = torch.mean(-0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1), dim=0)
        return {"loss": self.beta * reconstruction + self.alpha * kl, "reconstruction": reconstruction, "kl": kl}

    def features(self, x: Tensor) -> list[Tensor]:
        """The outputs of `LAYERS`, or what the next layer has overwritten them with."""
        outputs = []
        for index, layer in enumerate(self.network):
            x = layer(x)
            if index in LAYERS:
                outputs.append(x)
        return outputs
