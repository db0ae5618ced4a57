"""What the presence of single parts does to a measure, over many recipes with and without them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from dfcvae.errors import UserError
from dfcvae.evaluation.intervals import LEVEL
from dfcvae.evaluation.seeds import OverSeeds


def main_effects(present: ArrayLike, values: ArrayLike) -> list[OverSeeds]:
    """How much a measure changes with each of L parts, the others as they are: least squares with 95 % intervals.

    ``mean over seeds of value = c + b_1 present_1 + ... + b_L present_L + error``, with one row for each of V recipes
    and V - 1 - L degrees of freedom. The error is mostly what parts do together beyond the sum of what they do alone,
    which all trainings of a recipe share: they are no independent draws of it, and more seeds make intervals no
    narrower than that.

    Args:
        present: which parts a recipe has, bool (V, L).
        values: of the measure, (V, S): one training of every recipe for each seed.

    Raises:
        UserError: if the effects cannot be told apart, since parts always come together, or there are too few recipes.
    """
    parts, y = np.asarray(present, float), np.asarray(values, float).mean(axis=1)
    design = np.hstack([np.ones((len(y), 1)), parts])
    freedom = len(y) - design.shape[1]
    if np.linalg.matrix_rank(design) < design.shape[1] or freedom < 1:
        raise UserError(
            f"The effects of {parts.shape[1]} parts cannot be told apart in {len(y)} variants: some come together "
            "always, or there are too few variants."
        )
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(np.square(y - design @ coefficients).sum()) / freedom
    widths = t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return [OverSeeds(float(coefficients[i]), float(widths[i])) for i in range(1, 1 + parts.shape[1])]
