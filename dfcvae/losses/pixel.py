"""Distances in pixels: mean squared error, and single- and multi-scale structural similarity."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError
from dfcvae.losses.base import ImageLoss


def mean_squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """``1/(C H W) * sum (x_hat - x)^2`` of each image of (N, C, H, W): (N,), never below float32."""
    return (at_least_float32(x_hat) - at_least_float32(x)).square().flatten(1).mean(dim=1)


WINDOW = 11  # pixels: the Gaussian window of standard deviation 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
SMALLEST = 1e-8  # smallest similarity raised to a power: undefined below 0, no gradient at 0


class SSIMLoss(ImageLoss):
    """``1 - SSIM`` or, with several scales, ``1 - MS-SSIM``, per image: 0 for identical images, at most 2.

    SSIM: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", Gaussian window
    of 11 pixels, K1 = 0.01, K2 = 0.03, as computed by torchmetrics. MS-SSIM: Wang, Simoncelli and Bovik 2003,
    "Multiscale Structural Similarity for Image Quality Assessment", equation 7: contrast and structure of each scale,
    and the full SSIM of the coarsest, to the power of the scale's weight; each scale halves the image by averaging.
    A similarity below 0 counts as 1e-8.

    Args:
        scales: 1 for SSIM; 5 for MS-SSIM as published, which needs sides over 160 pixels; with 2 to 4 the weights of
            the finest scales are used, divided by their sum.

    Raises:
        UserError: for another number of scales; when called, for images too small for them.
    """

    group = "pixels"

    def __init__(self, scales: int = 1):
        super().__init__()
        if scales not in range(1, 6):
            raise UserError(f"scales: expected 1 to 5, got {scales}.")
        self.scales = scales
        self.name = "ssim" if scales == 1 else "ms-ssim"
        self.weights = {self.name: 1.0}

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        return {self.name: at_least_float32(images)}

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        smallest = (WINDOW - 1) * 2 ** (self.scales - 1) + 1
        if min(output.shape[-2:]) < smallest:
            raise UserError(
                f"{self.name} with {self.scales} scale{'s' * (self.scales > 1)} needs images of at least {smallest}x"
                f"{smallest} pixels, got {output.shape[-2]}x{output.shape[-1]}; use larger images or fewer "
                "scales: SSIMLoss(scales=...), or ssim."
            )
        with torch.autocast(output.device.type, enabled=False):
            return 1 - self._similarity(output, target)

    def _similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """SSIM or MS-SSIM, (N,)."""
        if self.scales == 1:
            return _ssim(output, target)[0]
        kept = SCALE_WEIGHTS[: self.scales]
        weights = kept if self.scales == 5 else [weight / sum(kept) for weight in kept]  # the published sum is 1.0001
        similarity = torch.ones_like(output[:, 0, 0, 0])
        for scale, weight in enumerate(weights):
            full, structure = _ssim(output, target)
            factor = full if scale == self.scales - 1 else structure
            similarity = similarity * factor.clamp(min=SMALLEST) ** weight
            output, target = avg_pool2d(output, 2), avg_pool2d(target, 2)
        return similarity


def _ssim(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor, (N,) each."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # slow to import

    function = cast(Callable[..., tuple[Tensor, Tensor]], structural_similarity_index_measure)
    return function(output, target, data_range=1.0, reduction="none", return_contrast_sensitivity=True)
