"""How much arithmetic a training step takes."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from dfcvae.build import build_perceptual, build_vae
from dfcvae.config import Experiment


def flops_per_image(experiment: Experiment) -> float:
    """Floating-point operations of a training step for each of its images: convolutions and matrix products.

    A multiplication and an addition are two operations. Forward and backward of the VAE, of the feature network for
    the reconstruction, and its forward for the original (which a run that keeps the features of its images saves).
    """
    vae, perceptual = build_vae(experiment).train(), build_perceptual(experiment.loss.features)

    def flops(n: int) -> int:
        x = torch.rand(n, *vae.image_shape)
        with FlopCounterMode(display=False) as counter:
            x_hat, mu, logvar = vae(x, torch.zeros(n, vae.latent_dim))
            loss = x_hat.sum() + mu.sum() + logvar.sum()
            if perceptual is not None:
                loss = loss + perceptual(x_hat, x).sum()
            loss.backward()
        return counter.get_total_flops()

    # the difference leaves out what a step does once, whatever its batch: the kernels of upsampling convolutions
    return (flops(4) - flops(2)) / 2
