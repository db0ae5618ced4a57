"""Distances of two tensors, image by image."""

from torch import Tensor


def mean_squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """``1/(C H W) * sum (x_hat - x)^2`` of each image of (N, C, H, W), in float32: (N,)."""
    return (x_hat.float() - x.float()).square().flatten(1).mean(dim=1)
