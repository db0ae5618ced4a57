"""What the presence of single parts does to a measure, over many trainings with and without them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from dfcvae.errors import UserError
from dfcvae.evaluation.intervals import LEVEL
from dfcvae.evaluation.seeds import OverSeeds


def main_effects(present: ArrayLike, seeds: ArrayLike, values: ArrayLike) -> list[OverSeeds]:
    """How much a measure changes with each of L parts, the others as they are: least squares with 95 % intervals.

    ``value = c + b_1 present_1 + ... + b_L present_L + effect of the seed + error``. The error holds what parts do
    together beyond the sum of what they do alone, so that intervals are wide where effects do not add up.

    Args:
        present: which parts a training had, bool (R, L).
        seeds: of the trainings, int (R,).
        values: of the measure, (R,).

    Raises:
        UserError: if the effects cannot be told apart, since parts always come together, or there are too few runs.
    """
    parts, y = np.asarray(present, float), np.asarray(values, float)
    kinds = np.unique(seeds)
    of_seed = (np.asarray(seeds)[:, None] == kinds[1:]).astype(float)
    design = np.hstack([np.ones((len(y), 1)), parts, of_seed])
    freedom = len(y) - design.shape[1]
    if np.linalg.matrix_rank(design) < design.shape[1] or freedom < 1:
        raise UserError(
            f"The effects of {parts.shape[1]} parts cannot be told apart in {len(y)} runs: some come together always, "
            "or there are too few runs."
        )
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(np.square(y - design @ coefficients).sum()) / freedom
    widths = t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return [OverSeeds(float(coefficients[i]), float(widths[i])) for i in range(1, 1 + parts.shape[1])]
