"""Posteriors of many images at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from dfcvae.images import to_float


@torch.no_grad()
def encode_images(
    encode: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    device: torch.device | str | None = None,
    batch_size: int = 200,
) -> tuple[Tensor, Tensor]:
    """Posterior ``mu, logvar``, each (N, D) on the CPU, of many images.

    Args:
        encode: maps images in [0, 1] to ``mu, logvar``; in eval mode, as `VAE.load` leaves it.
        images: (N, C, H, W), uint8 as data sets keep them, or float in [0, 1].
        device: where ``encode`` computes (default: where the images are).
        batch_size: images at a time; the result does not depend on it.
    """
    parts = []
    for part in images.split(batch_size):
        x = part.to(device or part.device)
        parts.append(encode(to_float(x) if x.dtype == torch.uint8 else x))
    mu, logvar = (torch.cat([part[i].float().cpu() for part in parts]) for i in (0, 1))
    return mu, logvar
