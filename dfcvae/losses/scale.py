"""The scale of a term: its value for the mean image, so that weights travel between networks, layers and sizes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.losses.base import ImageLoss
from dfcvae.losses.pixel import mean_squared_error

AT_A_TIME = 16  # images; float64 copies of early feature maps are large


@torch.no_grad()
def measure_scales(batches: Callable[[], Iterable[Tensor]], loss: ImageLoss | None = None) -> dict[str, float]:
    """The mean over images of each term between the mean representation and the image's own, by term name.

    For mean squared distances (pixels; every tapped layer) it is the variance over images, averaged over C, H, W. A
    term divided by its scale is the part left unexplained: 0 is perfect, 1 no better than the mean image.

    Args:
        batches: called twice; images in [0, 1], (N, C, H, W) each, at least two images in all that differ.
        loss: the feature terms of the objective, if it has any.

    Returns:
        ``pixel`` and, with a loss, ``features/<layer>`` (its group and terms).

    Raises:
        UserError: if a target does not vary at all.
    """
    means: dict[str, Tensor] = {}
    count = 0
    for x in _parts(batches):
        count += len(x)
        for name, target in represent(x, loss).items():
            first = target.double().sum(dim=0)
            means[name] = means[name] + first if name in means else first
    sums = dict.fromkeys(means, 0.0)
    for x in _parts(batches):
        for name, target in represent(x, loss).items():
            mean = (means[name] / count).to(target.dtype).expand_as(target)
            compare = mean_squared_error if loss is None or name == "pixel" else loss.compare
            sums[name] += float(compare(mean, target).double().sum())
    constant = [name for name, total in sums.items() if not total > 0]
    if constant or not sums:
        raise UserError(f"Terms can be scaled only on images that differ; these do not vary: {', '.join(constant)}.")
    return {name: total / count for name, total in sums.items()}


@torch.no_grad()
def count_numbers(image: Tensor, loss: ImageLoss | None = None) -> dict[str, int]:
    """How many numbers of an image (1, C, H, W) in [0, 1] each term compares, by term name."""
    return {name: target[0].numel() for name, target in represent(image, loss).items()}


def represent(x: Tensor, loss: ImageLoss | None) -> dict[str, Tensor]:
    """What every term compares, (N, ...) by term name."""
    features = {} if loss is None else {f"{loss.group}/{name}": value for name, value in loss.represent(x).items()}
    return {"pixel": x} | features


def _parts(batches: Callable[[], Iterable[Tensor]]) -> Iterable[Tensor]:
    return (part for batch in batches() for part in batch.split(AT_A_TIME))
