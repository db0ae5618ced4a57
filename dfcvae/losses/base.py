"""The base of all losses between images: representations, distances and named terms."""

import warnings
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError, nearest
from dfcvae.images import HIGHEST, LOWEST, check_range


class ImageLoss(nn.Module):
    """Weighted terms between reconstructions and originals, each (N,): images do not affect each other's values.

    A subclass defines how images are represented and how two representations are compared; the rest is here.

    Attributes:
        weights: the weight of every term in the total, by name.
        group: prefix of its terms' names in an objective, as in ``features/bn3_4``.
    """

    weights: dict[str, float]
    group = "features"

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        """Representations (N, ...), by term, of images (N, C, H, W) in [0, 1]."""
        raise NotImplementedError

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        """The value (N,) of a term for two representations (N, ...)."""
        raise NotImplementedError

    def terms(self, x_hat: Tensor, x: Tensor, target: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every term without its weight, (N,) by name.

        Args:
            x_hat: reconstructions in [0, 1], (N, C, H, W).
            x: originals in [0, 1], the same shape; they get no gradient.
            target: ``represent(x)``, if it is already known.

        Raises:
            UserError: if the images are not two batches of the same shape, RGB or grey, as floating-point numbers; if
                the originals of the first call are not in [0, 1]; or if only the originals require a gradient.
        """
        check_images(x_hat, x)
        check_range_once(self, x_hat, x)
        if target is None:
            with torch.no_grad():
                target = self.represent(x)
        output = self.represent(x_hat)
        return {name: self.compare(output[name], target[name]) for name in self.weights}

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The weighted sum of the terms, (N,), for images in [0, 1], (N, C, H, W)."""
        return weighted_sum(self.weights, self.terms(x_hat, x))


def weighted_sum(weights: Mapping[str, float], terms: Mapping[str, Tensor]) -> Tensor:
    """``sum_t w_t * term_t``, (N,)."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum(dim=0)


def check_images(x_hat: Tensor, x: Tensor) -> None:
    """Raise a UserError for pairs that would be broadcast or give no gradient, and for what is not a batch of images.

    Integers are not in [0, 1]. Nothing here waits for a GPU.
    """
    if x_hat.shape != x.shape or x.dim() != 4:
        raise UserError(
            "Expected two batches of images of the same shape (N, C, H, W), got "
            f"{tuple(x_hat.shape)} and {tuple(x.shape)}."
        )
    for images in (x_hat, x):
        if not images.is_floating_point():
            raise UserError(f"Expected images as float in [0, 1], got {images.dtype}; divide by 255.")
    if x.shape[1] not in (1, 3):
        raise UserError(
            f"Expected images (N, C, H, W) with C 3 (RGB) or 1 (grey), got {tuple(x.shape)}; drop an alpha channel "
            "(x[:, :3]), or permute images whose channels are last."
        )
    if x.requires_grad and not x_hat.requires_grad and torch.is_grad_enabled():
        raise UserError(
            "Only the originals require a gradient, and a loss gives them none: swap the arguments, loss(x_hat, x)."
        )


def check_range_once(owner: Any, x_hat: Tensor, x: Tensor) -> None:
    """In the first call for ``owner``: raise a UserError for originals outside [0, 1], warn of such reconstructions.

    Later calls, which would have a GPU wait, are not checked; neither is compiled or mapped code, which cannot be.
    """
    if torch.compiler.is_compiling() or getattr(owner, "range_checked", False):
        return
    try:
        lowest, highest = map(float, x_hat.detach().aminmax())
        check_range(x, "originals")
    except RuntimeError:  # within torch.func.vmap, or without values
        return
    owner.range_checked = True
    if lowest < LOWEST or highest > HIGHEST:
        text = f"Expected reconstructions in [0, 1], got {lowest:.3g} to {highest:.3g}; end the network in a sigmoid."
        warnings.warn(text, stacklevel=2)


CHARBONNIER_EPSILON = 1e-3


def squared(difference: Tensor) -> Tensor:
    """``sum d^2`` over everything but the first axis, (N,)."""
    return _image_sum(difference.square())


def absolute(difference: Tensor) -> Tensor:
    """``sum |d|`` over everything but the first axis, (N,)."""
    return _image_sum(difference.abs())


def norm(difference: Tensor) -> Tensor:
    """The Euclidean norm ``sqrt(sum d^2)``, (N,), with gradient 0 at 0, where the square root's is NaN."""
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
    # without flatten, which would copy channels-last tensors
    return values.sum(dim=tuple(range(1, values.dim())))


DISTANCES = {"squared": squared, "absolute": absolute, "norm": norm, "charbonnier": charbonnier}
# Divisor of the sum over C, H, W (of the root of that sum for the norm), as a multiple of C H W; 0 for none.
REDUCTIONS = {"mean": 1, "half-mean": 2, "sum": 0}


def compare(x_hat: Tensor, x: Tensor, distance: str = "squared", reduction: str = "mean") -> Tensor:
    """Distance of each pair of (N, ...): (N,), never below float32.

    Args:
        x_hat: one tensor of each pair, (N, ...).
        x: the other, of the same shape.
        distance: ``"squared"``, ``"absolute"``, ``"norm"`` or ``"charbonnier"``.
        reduction: ``"mean"``, 1 / (C H W) times the sum over all numbers of an image; ``"half-mean"``, 1 / (2 C H W)
            times it; ``"sum"``. The norm takes the root of the sum first: its ``"mean"`` is ``||d|| / (C H W)``.
    """
    total = DISTANCES[distance](at_least_float32(x_hat) - at_least_float32(x))
    return total / (REDUCTIONS[reduction] * prod(x.shape[1:]) or 1)


def mean_squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """``1/(C H W) * sum (x_hat - x)^2`` of each image of (N, C, H, W): (N,), never below float32."""
    return (at_least_float32(x_hat) - at_least_float32(x)).square().flatten(1).mean(dim=1)


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise a UserError unless ``value`` is one of the choices."""
    if value not in choices:
        raise UserError(f"{what}: expected one of {', '.join(choices)}, got {value!r}{nearest(value, choices)}.")
