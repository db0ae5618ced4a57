import math

import numpy as np
import pytest
import scipy.stats
import torch

from dfcvae.evaluation.measures import bootstrap_means, percentile_interval


def test_the_interval_is_that_of_scipy():
    values = torch.randn(60, generator=torch.Generator().manual_seed(1)).exp()
    result = scipy.stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = percentile_interval(bootstrap_means(values[:, None], resamples=4000)[:, 0])
    wanted = tuple(map(float, result.confidence_interval))
    assert (low, high) == pytest.approx(wanted, abs=0.06 * (wanted[1] - wanted[0]))


def test_every_resample_draws_whole_images_with_replacement():
    """Columns are measures of the same images, so what they have in common stays."""
    values = torch.stack([torch.arange(5.0), 10 * torch.arange(5.0)], dim=1)
    means = bootstrap_means(values, resamples=200)
    assert torch.allclose(means[:, 1], 10 * means[:, 0])
    sums = (5 * means[:, 0]).round()
    torch.testing.assert_close(sums, 5 * means[:, 0])  # sums of five of the numbers
    assert sums.min() < 5 < 15 < sums.max()
    assert torch.equal(means, bootstrap_means(values, resamples=200))
    assert not torch.equal(means, bootstrap_means(values, resamples=200, seed=1))


def test_the_percentiles_of_a_ramp():
    assert percentile_interval(torch.arange(1001.0).flip(0)) == (25, 975)


def test_infinite_values_stay_infinite():
    assert percentile_interval(bootstrap_means(torch.full((4, 1), math.inf))[:, 0]) == (math.inf, math.inf)
