"""The scales of the terms of an objective, and a common unit of KL weights."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.losses.base import ImageLoss
from dfcvae.losses.objective import Objective
from dfcvae.losses.pixel import mean_squared_error
from dfcvae.vgg import layer_names

AT_A_TIME = 16  # images; float64 copies of early feature maps are large


@torch.no_grad()
def measure_scales(batches: Callable[[], Iterable[Tensor]], loss: ImageLoss | None = None) -> dict[str, float]:
    """The mean over images of each term between the mean representation and the image's own, by term name.

    For mean squared distances (pixels; every tapped layer) it is the variance over images, averaged over C, H, W. A
    term divided by its scale is the fraction left unexplained: 0 is perfect, 1 no better than the mean image.

    Args:
        batches: called twice; images in [0, 1], (N, C, H, W) each, at least two different images in total.
        loss: the feature terms of the objective, if any.

    Returns:
        ``pixel`` and, with a loss, ``features/<layer>`` (its group and terms).

    Raises:
        UserError: if a target is constant.
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
        raise UserError(f"Scaling the terms needs images that differ; these terms do not vary: {', '.join(constant)}.")
    return {name: total / count for name, total in sums.items()}


@torch.no_grad()
def count_numbers(image: Tensor, loss: ImageLoss | None = None) -> dict[str, int]:
    """Number of values that each term compares for an image (1, C, H, W) in [0, 1], by term name."""
    return {name: target[0].numel() for name, target in represent(image, loss).items()}


def represent(x: Tensor, loss: ImageLoss | None) -> dict[str, Tensor]:
    """The representations compared by every term, (N, ...) by term name."""
    features = {} if loss is None else {f"{loss.group}/{name}": value for name, value in loss.represent(x).items()}
    return {"pixel": x} | features


def _parts(batches: Callable[[], Iterable[Tensor]]) -> Iterable[Tensor]:
    return (part for batch in batches() for part in batch.split(AT_A_TIME))


def beta_eff(objective: Objective, pixels: int) -> float:
    """The KL weight relative to the pixel term in a common unit: beta_eff of ``1/2 SSE + beta_eff KL``.

    SSE is the squared pixel error summed over channels, height and width, in [0, 1]; so 1 is the exact ELBO of unit
    Gaussian noise, and implementations with other reductions can be compared. With ``f`` the factor of the mean squared
    error in the total: ``f / pixels SSE + alpha KL``, hence ``beta_eff = alpha pixels / (2 f)``. Infinite without a
    pixel term. Under a likelihood it is ``alpha`` times the variance.

    Args:
        objective: the objective with its weights.
        pixels: values in one image, C * H * W.
    """
    factor = objective.factor("pixel")
    return objective.weights["kl"] * pixels / (2 * factor) if factor else float("inf")


def accounting_table(objective: Objective, sizes: Mapping[str, float], pixels: int) -> str:
    """The weights, scales and values of all terms, and beta_eff, as a text table.

    Args:
        objective: the objective with its weights.
        sizes: value of every term on some batch, by name.
        pixels: values in one image, C * H * W.
    """
    lines = [f"{'term':<24}{'weight':>12}{'divided by':>12}{'now':>12}{'weighted':>12}"]
    for name, weight in objective.weights.items():
        label, size = _label(objective, name), sizes[name]
        lines.append(f"{label:<24}{weight:>12.4g}{objective.scales[name]:>12.4g}{size:>12.4g}{weight * size:>12.4g}")
    currency = beta_eff(objective, pixels)
    lines.append(f"KL weight of the pixel part, in units of 1/2 SSE + beta_eff KL: beta_eff = {currency:.3g}")
    return "\n".join(lines)


def _label(objective: Objective, name: str) -> str:
    """``features/24 bn3_4`` for a layer: torchvision's index and the name."""
    group, _, layer = name.partition("/")
    features = getattr(objective.perceptual, "features", None)
    if not layer or features is None:
        return name
    return f"{group}/{layer_names(features.arch).index(layer)} {layer}"
