"""The feature-perceptual loss: distances between two images as a frozen network sees them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.losses.pixel import mean_squared_error


class PerceptualLoss(nn.Module):
    """Weighted sum over layers of the mean squared feature distance, per image.

    ``sum_l w_l * 1/(C_l H_l W_l) * sum (phi_l(x_hat) - phi_l(x))^2``: Hou et al. 2016 (arXiv 1610.00291), section 3.2,
    without the factor 1/2 of its formula, as the authors' code has it.

    Args:
        features: the frozen network phi with its layers.
        weights: one w_l for all layers, or one for each in the network's order.

    Raises:
        UserError: if there is not one weight for each layer.
    """

    def __init__(self, features: VGGFeatures, weights: float | Sequence[float] = 1.0):
        super().__init__()
        self.features = features
        layers = features.names
        values = list(weights) if isinstance(weights, Sequence) else [weights] * len(layers)
        if len(values) != len(layers):
            raise UserError(
                f"Expected one weight, or one for each of the {len(layers)} layers ({', '.join(layers)}), but "
                f"{len(values)} came: {values}."
            )
        self.weights = dict(zip(layers, values, strict=True))

    def terms(self, x_hat: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Distance in each layer, unweighted, (N,) by layer name, for images in [0, 1]; x gets no gradient."""
        with torch.no_grad():
            target = self.features(x)
        output = self.features(x_hat)
        return {name: mean_squared_error(output[name], target[name]) for name in self.weights}

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The weighted sum, (N,), for images in [0, 1], (N, C, H, W)."""
        terms = self.terms(x_hat, x)
        return torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum(dim=0)
