"""What every loss between images is: both are represented in the same way, and the representations compared."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dfcvae.errors import UserError


class ImageLoss(nn.Module):
    """Weighted terms between reconstructions and originals, each (N,): no image's value depends on another's.

    A loss says how images are represented and how two representations of one image are compared; the rest is here.

    Attributes:
        weights: the weight of every term in the total, by name.
        group: what the names of its terms begin with in an objective: ``features/bn3_4``.
    """

    weights: dict[str, float]
    group = "features"

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        """What is compared, (N, ...) by term, of images (N, C, H, W) in [0, 1]."""
        raise NotImplementedError

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        """The value (N,) of a term for two representations (N, ...)."""
        raise NotImplementedError

    def terms(self, x_hat: Tensor, x: Tensor, target: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every term without its weight, (N,) by name.

        Args:
            x_hat: reconstructions in [0, 1], (N, C, H, W).
            x: originals in [0, 1], the same shape; a target, which gets no gradient.
            target: ``represent(x)``, where it is known already.

        Raises:
            UserError: if the shapes differ, or the images are not floating-point numbers.
        """
        check_images(x_hat, x)
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
    """Raise a UserError for pairs that would be broadcast, or for integers, which are not in [0, 1]."""
    if x_hat.shape != x.shape or x.dim() != 4:
        raise UserError(
            "Expected two batches of images of one shape (N, C, H, W), but "
            f"{tuple(x_hat.shape)} and {tuple(x.shape)} came."
        )
    for images in (x_hat, x):
        if not images.is_floating_point():
            raise UserError(f"Expected images as float in [0, 1], but {images.dtype} came; divide by 255.")
