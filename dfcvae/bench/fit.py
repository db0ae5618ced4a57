"""How time grows: the exponent of a power law."""

from collections.abc import Sequence
from math import log


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The slope of log seconds against log size by least squares: 1 where twice the size takes twice the time.

    None if there are not two different sizes to fit.
    """
    x, y = [log(size) for size in sizes], [log(value) for value in seconds]
    if len(set(x)) < 2:
        return None
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - x_mean) ** 2 for a in x)
