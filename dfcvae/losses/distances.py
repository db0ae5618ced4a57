"""Distances of two tensors, image by image: what is done with each difference, and how the differences are reduced."""

from collections.abc import Iterable
from math import prod

from torch import Tensor

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError, nearest

CHARBONNIER_EPSILON = 1e-3


def squared(difference: Tensor) -> Tensor:
    """``sum d^2`` over everything but the first axis, (N,)."""
    return _image_sum(difference.square())


def absolute(difference: Tensor) -> Tensor:
    """``sum |d|`` over everything but the first axis, (N,)."""
    return _image_sum(difference.abs())


def norm(difference: Tensor) -> Tensor:
    """The Euclidean norm ``sqrt(sum d^2)``, (N,), with gradient 0 where it is 0, where the square root has NaN."""
    square = squared(difference)
    positive = square > 0
    return square.where(positive, 1.0).sqrt().where(positive, 0.0)


def charbonnier(difference: Tensor) -> Tensor:
    """``sum (sqrt(d^2 + eps^2) - eps)``, (N,), with eps = 0.001: the absolute distance, smooth at 0 and 0 there.

    Charbonnier et al. 1994, "Two deterministic half-quadratic regularization algorithms for computed imaging". The
    ``- eps`` is ours, so that identical tensors are at distance 0.
    """
    smooth = (difference.square() + CHARBONNIER_EPSILON**2).sqrt() - CHARBONNIER_EPSILON
    return _image_sum(smooth)


def _image_sum(values: Tensor) -> Tensor:
    # not by way of flatten, which would copy tensors in channels-last layout
    return values.sum(dim=tuple(range(1, values.dim())))


DISTANCES = {"squared": squared, "absolute": absolute, "norm": norm, "charbonnier": charbonnier}
# Divisor of the sum over C, H, W (of the root of that sum for the norm), as a multiple of C H W; 0 for none.
REDUCTIONS = {"mean": 1, "half-mean": 2, "sum": 0}


def compare(x_hat: Tensor, x: Tensor, distance: str = "squared", reduction: str = "mean") -> Tensor:
    """Distance of each pair of (N, ...): (N,), never below float32.

    Args:
        x_hat: one of each pair, (N, ...).
        x: the other, of the same shape.
        distance: ``"squared"``, ``"absolute"``, ``"norm"`` or ``"charbonnier"``.
        reduction: ``"mean"``, 1 / (C H W) times the sum over all numbers of an image; ``"half-mean"``, 1 / (2 C H W)
            times it; ``"sum"``. The norm takes the root of the sum first: its ``"mean"`` is ``||d|| / (C H W)``.
    """
    total = DISTANCES[distance](at_least_float32(x_hat) - at_least_float32(x))
    return total / (REDUCTIONS[reduction] * prod(x.shape[1:]) or 1)


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise a UserError unless ``value`` is one of the choices."""
    if value not in choices:
        raise UserError(f"A {what} is one of {', '.join(choices)}; {value!r} came{nearest(value, choices)}.")
