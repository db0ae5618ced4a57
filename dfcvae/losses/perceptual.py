"""The feature-perceptual loss: distances between two images as a frozen network sees them."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.losses.base import DISTANCES, REDUCTIONS, ImageLoss, check_choice, compare
from dfcvae.vgg import Layer, resolve_layers


class PerceptualLoss(ImageLoss):
    """Weighted sum over layers of a feature distance, per image: ``sum_l w_l * d(phi_l(x_hat), phi_l(x))``.

    By default d is the mean squared distance ``1/(C_l H_l W_l) * sum (phi_l(x_hat) - phi_l(x))^2``: Hou et al. 2016
    (arXiv 1610.00291), section 3.2, without the factor 1/2 of its formula, as the authors' code has it.

    Args:
        features: the frozen network phi with its layers.
        weights: one w_l for all layers, one for each in the network's order (a sequence, tensor or array), or a dict by
            layer, by index or name.
        distance: ``"squared"``, ``"absolute"``, ``"norm"`` or ``"charbonnier"`` (see `dfcvae.losses.base`).
        reduction: ``"mean"``, ``"half-mean"`` or ``"sum"`` over C, H and W.
        gram: compare the Gram matrices of the layers, which represent style without position, instead of the layers.

    Raises:
        UserError: for weights that do not fit the layers, or an unknown distance or reduction.
    """

    def __init__(
        self,
        features: VGGFeatures,
        weights: float | Sequence[float] | Tensor | Mapping[Layer, float] = 1.0,
        distance: str = "squared",
        reduction: str = "mean",
        gram: bool = False,
    ):
        super().__init__()
        check_choice("distance", distance, DISTANCES)
        check_choice("reduction", reduction, REDUCTIONS)
        self.features = features
        self.distance, self.reduction, self.gram = distance, reduction, gram
        self.weights = _by_layer(weights, features)

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        outputs = self.features(images)
        return {name: gram_matrix(output) for name, output in outputs.items()} if self.gram else outputs

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return compare(output, target, self.distance, self.reduction)

    def extra_repr(self) -> str:
        kind = ", Gram matrices" if self.gram else ""
        return f"{self.features.arch}, {self.distance} distance, {self.reduction}{kind}, weights {self.weights}"


def _by_layer(weights: Any, features: VGGFeatures) -> dict[str, float]:
    """The weight of every layer by name, from one of the forms that `PerceptualLoss` takes."""
    layers = features.names
    if isinstance(weights, Mapping):
        named = dict(zip(resolve_layers(features.arch, list(weights)), weights.values(), strict=True))
        fit = named.keys() == set(layers)
    else:
        values = weights.tolist() if hasattr(weights, "tolist") else weights  # a tensor or an array
        values = [values] * len(layers) if isinstance(values, Real) else list(values)
        named = dict(zip(layers, values, strict=False))
        fit = len(values) == len(layers)
    if not fit or not all(isinstance(weight, Real) for weight in named.values()):
        raise UserError(
            f"Weights: expected one number, or one for each of the {len(layers)} layers ({', '.join(layers)}), got "
            f"{weights}."
        )
    return {layer: named[layer] for layer in layers}


def gram_matrix(features: Tensor) -> Tensor:
    """``G_ij = 1/(C H W) * sum_p F_ip F_jp`` of each image of (N, C, H, W): (N, C, C), never below float32.

    Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks", equation 3, normalised as in Johnson
    et al. 2016 (arXiv 1603.08155), equation 3.
    """
    flat = at_least_float32(features).flatten(2)  # (N, C, H W)
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])
