"""Distances of two tensors, image by image."""

from torch import Tensor

from dfcvae.device import at_least_float32


def mean_squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """``1/(C H W) * sum (x_hat - x)^2`` of each image of (N, C, H, W): (N,), never below float32."""
    return (at_least_float32(x_hat) - at_least_float32(x)).square().flatten(1).mean(dim=1)
