"""Paths between points of the latent space."""

import torch
from torch import Tensor


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """``(1 - t) start + t end`` for ``steps`` values of t from 0 to 1: latents (steps, D), both ends included.

    Hou et al. 2016 (arXiv 1610.00291), section 4.2. Decode the result to see the faces in between.

    Args:
        start: latent (D,).
        end: latent (D,).
        steps: number of points, at least 2.

    Raises:
        ValueError: if there are fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"Expected at least 2 steps, the two ends; {steps} came.")
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device)[:, None])
