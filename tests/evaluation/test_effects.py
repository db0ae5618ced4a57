import numpy as np
import pytest
from scipy.stats import linregress, t
from sklearn.linear_model import LinearRegression

from dfcvae.errors import UserError
from dfcvae.evaluation.effects import main_effects


def test_effects_that_add_up_are_found_exactly():
    present = [[a, b] for a in (0, 1) for b in (0, 1)]
    values = [[5 + 2 * a - 3 * b + 10 * seed for seed in range(3)] for a, b in present]
    effects = main_effects(present, values)
    assert [effect.mean for effect in effects] == pytest.approx([2, -3])
    assert [effect.half_width for effect in effects] == pytest.approx([0, 0], abs=1e-9)


def test_one_part_and_one_seed_is_simple_regression():
    present, values = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 1.5, 4.0, 3.2])
    (effect,) = main_effects(present[:, None], values[:, None])
    wanted = linregress(present, values)
    assert effect.mean == pytest.approx(wanted.slope)
    assert effect.half_width == pytest.approx(t.ppf(0.975, 3) * wanted.stderr)


def test_several_parts_are_those_of_a_regression_over_all_trainings():
    rng = np.random.default_rng(0)
    present, seeds = rng.integers(0, 2, (10, 4)), 3
    values = (present @ [1.0, -1.0, 0.5, 0.0])[:, None] + np.arange(seeds) + 0.1 * rng.standard_normal((10, seeds))
    rows = [[*parts, *np.eye(seeds)[seed]] for parts in present for seed in range(seeds)]
    wanted = LinearRegression(fit_intercept=False).fit(rows, values.flatten()).coef_[:4]
    effects = main_effects(present, values)
    np.testing.assert_allclose([effect.mean for effect in effects], wanted)
    assert all(effect.low < truth < effect.high for effect, truth in zip(effects, [1, -1, 0.5, 0], strict=True))


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_intervals_hold_the_truth_as_often_as_they_say_where_parts_do_not_add_up(seeds):
    """The shipped study's variants, true effects of 0, and what parts do together shared by all seeds of a variant."""
    shipped = ["1111", "0000", "1000", "0100", "0010", "0001", "1110", "0111"]
    present, rng, held = [[int(part) for part in variant] for variant in shipped], np.random.default_rng(seeds), []
    for _ in range(500):
        together = rng.standard_normal((len(shipped), 1))
        values = together + 0.3 * rng.standard_normal((len(shipped), seeds))
        held += [effect.low < 0 < effect.high for effect in main_effects(present, values)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    "present",
    [[[0, 0], [1, 1], [0, 0], [1, 1]], [[0], [1]]],
    ids=["always together", "too few"],
)
def test_effects_that_cannot_be_told_apart_are_told(present):
    with pytest.raises(UserError, match="cannot be told apart"):
        main_effects(present, [[value] for value in range(len(present))])
