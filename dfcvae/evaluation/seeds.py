"""What several trainings with different seeds say of a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

from scipy.stats import t

from dfcvae.evaluation.intervals import LEVEL


@dataclass(frozen=True)
class OverSeeds:
    """A mean over trainings.

    Args:
        mean: of the trainings.
        half_width: of its 95 % interval; NaN with one training.
    """

    mean: float
    half_width: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width

    def __str__(self) -> str:
        return f"{self.mean:.4g}" if self.half_width != self.half_width else f"{self.mean:.4g} ± {self.half_width:.2g}"


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean and Student's t interval of one value per training: ``m +- t_{0.975, S-1} s / sqrt(S)``.

    Of differences between two recipes with the same seeds, whose initial weights and order of images are the same,
    it is the paired comparison of the recipes.

    Args:
        values: S numbers, one for each seed.
    """
    if len(values) < 2:
        return OverSeeds(fmean(values), nan)
    width = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return OverSeeds(fmean(values), width)
