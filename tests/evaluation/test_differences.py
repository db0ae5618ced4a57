"""Bootstrap intervals, and statistics of differences, against textbook formulas and scipy."""

import math

import pytest
import scipy.stats
import torch

from dfcvae.errors import UserError
from dfcvae.evaluation.measures import (
    Measurements,
    bootstrap_means,
    over_seeds,
    paired_differences,
    percentile_interval,
)


def measurements(n=200, offset=0.0, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    mse = torch.rand(n, generator=torch.Generator().manual_seed(9)) + offset + 0.01 * torch.rand(n, generator=generator)
    sharpness, original = torch.rand(n, generator=generator), torch.full((n,), 2.0)
    values = {"mse": mse, "sharpness": sharpness, "original_sharpness": original} | more
    return Measurements(values, {"mse": 0.5}, {"mesh": 1.0}, torch.zeros(3))


def test_the_difference_is_that_of_the_reported_measures():
    a, b = measurements(), measurements(offset=0.1, seed=1)
    found = paired_differences(a, b)
    assert found.keys() == {"mse", "sharpness"}  # what belongs to the whole set has no interval
    for name, difference in found.items():
        assert difference.mean == pytest.approx(a.values()[name] - b.values()[name], rel=1e-9)
        assert difference.low < difference.mean < difference.high


def test_the_interval_is_that_of_scipys_bootstrap_of_the_differences():
    a, b = measurements(), measurements(offset=0.1, seed=1)
    difference = paired_differences(a, b)["mse"]
    values = ((a.per_image["mse"] - b.per_image["mse"]) / 0.5).numpy()
    result = scipy.stats.bootstrap(
        (values,), lambda v, axis: v.mean(axis), n_resamples=4000, method="percentile", rng=0
    )
    low, high = map(float, result.confidence_interval)
    assert difference.low == pytest.approx(low, abs=0.15 * (high - low))
    assert difference.high == pytest.approx(high, abs=0.15 * (high - low))
    # not that of two independent samples, which is many times wider, as most of the spread is that of the images
    spread = math.hypot(float(a.per_image["mse"].std()), float(b.per_image["mse"].std())) / 0.5 / math.sqrt(200)
    assert difference.high - difference.low < 0.2 * 4 * spread


def test_p_is_that_of_the_textbook_formula():
    a, b = measurements(n=30), measurements(n=30, offset=0.001, seed=1)
    d = (a.per_image["mse"] - b.per_image["mse"]).double()
    t = float(d.mean() / (d.std() / math.sqrt(30)))
    wanted = 2 * scipy.stats.t.sf(abs(t), 29)
    assert paired_differences(a, b)["mse"].p == pytest.approx(wanted, rel=1e-3)


def test_a_model_does_not_differ_from_itself_and_infinite_values_have_no_p():
    difference = paired_differences(measurements(), measurements())["mse"]
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
    assert math.isnan(difference.p)
    a, b = (measurements(psnr=torch.full((200,), value)) for value in (math.inf, 20.0))
    assert math.isnan(paired_differences(a, b)["psnr"].p)


def test_measures_of_different_images_cannot_be_paired():
    with pytest.raises(UserError, match="need measures of the same images, got 200 and 30"):
        paired_differences(measurements(), measurements(n=30))


def test_over_seeds_is_students_interval():
    values = [0.9, 1.1, 1.3]
    found = over_seeds(values)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((1.1, low, high))
    assert str(found) == "1.1 ± 0.5"


def test_one_seed_has_no_interval_and_equal_values_a_narrow_one():
    found = over_seeds([0.25])
    assert found.mean == 0.25
    assert math.isnan(found.half_width)
    assert str(found) == "0.25"
    assert str(over_seeds([7.0, 7.0, 7.0])) == "7 ± 0"


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


def test_the_percentiles_of_a_ramp_and_of_infinite_values():
    assert percentile_interval(torch.arange(1001.0).flip(0)) == (25, 975)
    assert percentile_interval(bootstrap_means(torch.full((4, 1), math.inf))[:, 0]) == (math.inf, math.inf)
