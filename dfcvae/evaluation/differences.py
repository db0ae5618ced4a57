"""Differences between models over images, and between recipes over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean, stdev

import torch
from scipy.stats import t, ttest_rel

from dfcvae.errors import UserError
from dfcvae.evaluation.measures import LEVEL, Measurements, percentile_interval


@dataclass(frozen=True)
class Estimate:
    """A measure, or a difference of two, with its 95 % interval."""

    mean: float
    low: float = nan  # without an interval
    high: float = nan
    p: float = nan  # of a difference, two-sided; NaN if undefined
    seeds: bool = False  # whether the interval is one over trainings, mean +- half_width; else it is one over images

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def interval(self) -> str:
        """The interval as text; empty without one."""
        if isnan(self.low):
            return ""
        return f"± {self.half_width:.2g}" if self.seeds else f"[{self.low:.3g}, {self.high:.3g}]"

    def __str__(self) -> str:
        return f"{self.mean:.4g} {self.interval}".rstrip()


def paired_differences(model: Measurements, other: Measurements, seed: int = 0) -> dict[str, Estimate]:
    """Differences of every measure that both models have and that is computed from values per image.

    The interval is that of the percentile bootstrap over images, the same resampled images for both models; p is that
    of the paired t-test (Student 1908) on the values per image, for ``sharpness`` on the Laplacian variances. p-values
    are not adjusted for the number of measures. Both hold for other images and these two models, not for other
    trainings of them.

    Raises:
        UserError: if the numbers of images differ.
    """
    images = {len(next(iter(measured.per_image.values()))) for measured in (model, other)}
    if len(images) > 1:
        raise UserError(f"Paired differences need measures of the same images, got {' and '.join(map(str, images))}.")
    drawn, drawn_other = model.resampled(seed), other.resampled(seed)
    values, values_other = model.values(), other.values()
    differences = {}
    for name in drawn:
        if name in drawn_other:
            low, high = percentile_interval(drawn[name] - drawn_other[name])
            p = _p_value(model.per_image[name], other.per_image[name])
            differences[name] = Estimate(values[name] - values_other[name], low, high, p)
    return differences


def _p_value(a: torch.Tensor, b: torch.Tensor) -> float:
    difference = (a - b).double()
    if not torch.isfinite(difference).all() or bool((difference == difference[0]).all()):
        return nan
    return float(ttest_rel(a.double().numpy(), b.double().numpy()).pvalue)


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval of S values, one per training: ``m +- t_{0.975, S-1} s / sqrt(S)``.

    Of differences between two recipes with the same seeds, it is the paired comparison of the recipes. It equals
    ``scipy.stats.ttest_1samp(values, 0).confidence_interval()``, which warns where all values are equal, as counts of
    active units often are.
    """
    if len(values) < 2:
        return Estimate(fmean(values), seeds=True)
    mean = fmean(values)
    half_width = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(mean, mean - half_width, mean + half_width, seeds=True)
