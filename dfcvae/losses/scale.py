"""The scale of a term: the variance of its target over the training images, so that weights travel."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures

AT_A_TIME = 16  # images; float64 copies of early feature maps are large


@torch.no_grad()
def measure_variances(batches: Iterable[Tensor], features: VGGFeatures | None = None) -> dict[str, float]:
    """Variance over images of the pixels and of every feature, averaged over C, H, W, by term name.

    It is the mean squared error that the mean image (the mean feature map) would have, so that a term divided by it is
    the fraction of variance left unexplained.

    Args:
        batches: images in [0, 1], (N, C, H, W) each; at least two images in all that differ.
        features: the feature network of the objective, if it has one.

    Returns:
        ``pixel`` and ``features/<layer>`` for every layer of ``features``.

    Raises:
        UserError: if a target does not vary at all.
    """
    count = 0
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for x in (part for batch in batches for part in batch.split(AT_A_TIME)):
        count += len(x)
        targets = {"pixel": x}
        if features is not None:
            targets |= {f"features/{layer}": value for layer, value in features(x).items()}
        for name, target in targets.items():
            values = target.double()  # the mean square and the squared mean are close
            first, second = sums.get(name, (torch.zeros_like(values[0]),) * 2)
            sums[name] = first + values.sum(dim=0), second + values.square().sum(dim=0)
    variances = {
        name: (second / count - (first / count).square()).mean().item() for name, (first, second) in sums.items()
    }
    constant = [name for name, variance in variances.items() if not variance > 0]
    if constant or not variances:
        raise UserError(f"Terms can be scaled only on images that differ; these do not vary: {', '.join(constant)}.")
    return variances
