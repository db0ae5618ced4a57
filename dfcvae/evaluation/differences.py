"""Differences between models over images, between recipes over seeds, and the effects of a recipe's parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import t, ttest_rel

from dfcvae.errors import UserError
from dfcvae.evaluation.measures import LEVEL, Measurements, percentile_interval


@dataclass(frozen=True)
class Estimate:
    """A measure, or a difference of two.

    Args:
        mean: its value.
        low: lower end of its 95 % interval; NaN without one.
        high: upper end.
        p: of a difference, two-sided; NaN if undefined.
        seeds: whether the interval is one over trainings, ``mean +- half_width``; else it is one over images.
    """

    mean: float
    low: float = nan
    high: float = nan
    p: float = nan
    seeds: bool = False

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

    Args:
        model: measured on some images.
        other: measured on the same images in the same order.
        seed: of the resampling.

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
    """Mean and Student's t interval of one value per training: ``m +- t_{0.975, S-1} s / sqrt(S)``.

    Of differences between two recipes with the same seeds, it is the paired comparison of the recipes. It equals
    ``scipy.stats.ttest_1samp(values, 0).confidence_interval()``, which warns where all values are equal, as counts of
    active units often are.

    Args:
        values: S numbers, one for each seed.
    """
    if len(values) < 2:
        return Estimate(fmean(values), seeds=True)
    return _around(fmean(values), float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values)))


def _around(mean: float, half_width: float) -> Estimate:
    return Estimate(mean, mean - half_width, mean + half_width, seeds=True)


def main_effects(present: ArrayLike, values: ArrayLike) -> list[Estimate]:
    """How much a measure changes with each of L parts, the others held fixed: least squares with 95 % intervals.

    ``mean over seeds of value = c + b_1 present_1 + ... + b_L present_L + error``, with one row for each of V recipes
    and V - 1 - L degrees of freedom. The error is mostly the interaction of parts, which all trainings of a recipe
    share: more seeds do not make the intervals narrower than that.

    Args:
        present: which parts a recipe has, bool (V, L).
        values: of the measure, (V, S): one training of every recipe for each seed.

    Raises:
        UserError: if the effects are not identifiable: parts always occur together, or there are too few recipes.
    """
    parts, y = np.asarray(present, float), np.asarray(values, float).mean(axis=1)
    design = np.hstack([np.ones((len(y), 1)), parts])
    freedom = len(y) - design.shape[1]
    if np.linalg.matrix_rank(design) < design.shape[1] or freedom < 1:
        raise UserError(
            f"The effects of {parts.shape[1]} parts cannot be separated with {len(y)} variants: some parts always "
            "occur together, or there are too few variants."
        )
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(np.square(y - design @ coefficients).sum()) / freedom
    widths = t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return [_around(float(coefficients[i]), float(widths[i])) for i in range(1, 1 + parts.shape[1])]
