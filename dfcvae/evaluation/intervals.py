"""Confidence intervals of measures over a set of images, by the bootstrap."""

import torch
from torch import Tensor

from dfcvae.seeding import Stream, seeded_generator

RESAMPLES = 1000
LEVEL = 0.95


def bootstrap_means(values: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """Means over resampled images, (R, M): each of R times, N images are drawn with replacement.

    Efron 1979, "Bootstrap Methods: Another Look at the Jackknife". The measures of an image are drawn together, so that
    quantities made of several of them, such as ratios, can be computed from each row.

    Not `scipy.stats.bootstrap`, which gives the interval of one statistic: here the same draws serve all measures,
    their ratios and the differences of models, and infinite values (the PSNR of equal images) have an interval.

    Args:
        values: M measures of N images, (N, M), on the CPU.
        resamples: R.
        seed: of the draws; the same for the same N, whatever the values.
    """
    generator = seeded_generator(seed, Stream.RESAMPLES)
    values, n = values.double(), len(values)
    # one resample at a time: all of 200,000 images at once would need 1.6 GB for their indices alone
    rows = (torch.randint(n, (n,), generator=generator) for _ in range(resamples))
    return torch.stack([values[drawn].mean(dim=0) for drawn in rows])


def percentile_interval(draws: Tensor) -> tuple[float, float]:
    """The interval that holds the middle 95 % of draws (R,): the percentile bootstrap.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=draws.dtype)
    low, high = torch.quantile(draws, tails, interpolation="nearest").tolist()  # defined for infinite values too
    return low, high
