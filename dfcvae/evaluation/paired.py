"""Differences between two models that were measured on the same images."""

from dataclasses import dataclass
from math import nan

import torch
from scipy.stats import ttest_rel

from dfcvae.errors import UserError
from dfcvae.evaluation.intervals import percentile_interval
from dfcvae.evaluation.measures import Measurements


@dataclass(frozen=True)
class Difference:
    """How much more of a measure a model has than another.

    Args:
        value: measure of the model minus that of the other.
        low: lower end of the 95 % interval.
        high: its upper end.
        p: two-sided p-value, NaN where it is not defined.
    """

    value: float
    low: float
    high: float
    p: float


def paired_differences(model: Measurements, other: Measurements, seed: int = 0) -> dict[str, Difference]:
    """Of every measure that both have and that is made of values per image.

    The interval is that of the percentile bootstrap over images, the same resampled images for both models; p is that
    of the paired t-test (Student 1908) on the values per image, for ``sharpness`` on the Laplacian variances. Measures
    are many: p-values are not adjusted for that. Both speak of other images and these two models, not of other
    trainings of them.

    Args:
        model: measured on some images.
        other: measured on the same images in the same order.
        seed: of the resampling.

    Raises:
        UserError: if the numbers of images differ.
    """
    images = {len(next(iter(measured.per_image.values()))) for measured in (model, other)}
    if len(images) > 1:
        raise UserError(f"Only measures of the same images can be paired, but {' and '.join(map(str, images))} came.")
    drawn, drawn_other = model.resampled(seed), other.resampled(seed)
    values, values_other = model.values(), other.values()
    differences = {}
    for name in drawn:
        if name in drawn_other:
            low, high = percentile_interval(drawn[name] - drawn_other[name])
            p = _p_value(model.per_image[name], other.per_image[name])
            differences[name] = Difference(values[name] - values_other[name], low, high, p)
    return differences


def _p_value(a: torch.Tensor, b: torch.Tensor) -> float:
    difference = (a - b).double()
    if not torch.isfinite(difference).all() or bool((difference == difference[0]).all()):
        return nan
    return float(ttest_rel(a.double().numpy(), b.double().numpy()).pvalue)
