import numpy as np
import pytest
from scipy.stats import linregress, t
from sklearn.linear_model import LinearRegression

from dfcvae.errors import UserError
from dfcvae.evaluation.effects import main_effects


def test_effects_that_add_up_are_found_exactly():
    present = [[a, b] for a in (0, 1) for b in (0, 1) for _ in range(3)]
    seeds = [0, 1, 2] * 4
    values = [5 + 2 * a - 3 * b + 10 * seed for (a, b), seed in zip(present, seeds, strict=True)]
    effects = main_effects(present, seeds, values)
    assert [effect.mean for effect in effects] == pytest.approx([2, -3])
    assert [effect.half_width for effect in effects] == pytest.approx([0, 0], abs=1e-9)


def test_one_part_and_one_seed_is_simple_regression():
    present, values = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 1.5, 4.0, 3.2])
    (effect,) = main_effects(present[:, None], np.zeros(5), values)
    wanted = linregress(present, values)
    assert effect.mean == pytest.approx(wanted.slope)
    assert effect.half_width == pytest.approx(t.ppf(0.975, 3) * wanted.stderr)


def test_several_parts_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    present, seeds = rng.integers(0, 2, (30, 4)), np.repeat([0, 1, 2], 10)
    values = present @ [1.0, -1.0, 0.5, 0.0] + seeds + 0.1 * rng.standard_normal(30)
    design = np.hstack([present, (seeds[:, None] == [1, 2]).astype(float)])
    wanted = LinearRegression().fit(design, values).coef_[:4]
    effects = main_effects(present, seeds, values)
    np.testing.assert_allclose([effect.mean for effect in effects], wanted)
    assert all(effect.low < truth < effect.high for effect, truth in zip(effects, [1, -1, 0.5, 0], strict=True))


@pytest.mark.parametrize(
    "present",
    [[[0, 0], [1, 1], [0, 0], [1, 1]], [[0], [1]]],
    ids=["always together", "too few"],
)
def test_effects_that_cannot_be_told_apart_are_told(present):
    with pytest.raises(UserError, match="cannot be told apart"):
        main_effects(present, [0] * len(present), list(range(len(present))))
