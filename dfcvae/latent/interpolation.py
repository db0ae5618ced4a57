"""Paths between points of the latent space."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

PARALLEL = 1e-4  # radians between two directions under which the great circle through them is not defined well


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """``(1 - t) start + t end`` for ``steps`` values of t from 0 to 1: latents (steps, D), both ends included.

    Hou et al. 2016 (arXiv 1610.00291), section 4.2. Decode the result to see the faces in between.

    Args:
        start: latent (D,).
        end: latent (D,).
        steps: number of points, at least 2.

    Raises:
        ValueError: if there are fewer than two steps.
    """
    return torch.lerp(start, end, _fractions(steps, start)[:, None])


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The great circle from start to end: ``(sin((1 - t) w) start + sin(t w) end) / sin w``, latents (steps, D).

    w is the angle between the two. In many dimensions a straight line passes nearer to the origin than draws from the
    prior ever lie; this path does not (White 2016, "Sampling Generative Networks", arXiv 1609.04468). Where the two
    point in the same or in opposite directions, it is the straight line.

    Args:
        start: latent (D,).
        end: latent (D,).
        steps: number of points, at least 2.

    Raises:
        ValueError: if there are fewer than two steps.
    """
    t = _fractions(steps, start)[:, None]
    cosine = torch.nn.functional.cosine_similarity(start.double(), end.double(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if min(angle, torch.pi - angle) < PARALLEL:
        return interpolate(start, end, steps)
    weights = torch.sin((1 - t) * angle) / torch.sin(angle), torch.sin(t * angle) / torch.sin(angle)
    return (weights[0] * start + weights[1] * end).to(start.dtype)


def path(points: Tensor, steps: int, between: Callable[[Tensor, Tensor, int], Tensor] = interpolate) -> Tensor:
    """A way through several points, each once: latents (1 + (P - 1) (steps - 1), D).

    Args:
        points: latents (P, D), at least two.
        steps: points from one to the next, both included.
        between: ``interpolate`` or ``slerp``.

    Raises:
        ValueError: if there are fewer than two points or steps.
    """
    if len(points) < 2:
        raise ValueError(f"Expected at least 2 points, a start and an end; {len(points)} came.")
    legs = [between(start, end, steps)[1:] for start, end in pairwise(points)]
    return torch.cat([points[:1], *legs])


def face_grid(
    corners: Tensor, rows: int, columns: int, between: Callable[[Tensor, Tensor, int], Tensor] = interpolate
) -> Tensor:
    """Mixtures of four latents, (rows, columns, D), with the corners at the corners; bilinear with ``interpolate``.

    Args:
        corners: latents (4, D): top left, top right, bottom left, bottom right.
        rows: at least 2.
        columns: at least 2.
        between: ``interpolate`` or ``slerp``.

    Raises:
        ValueError: if there are not four corners, or fewer than two rows or columns.
    """
    if len(corners) != 4:
        raise ValueError(f"Expected 4 corners; {len(corners)} came.")
    top, bottom = between(corners[0], corners[1], columns), between(corners[2], corners[3], columns)
    return torch.stack([between(start, end, rows) for start, end in zip(top, bottom, strict=True)], dim=1)


def _fractions(steps: int, like: Tensor) -> Tensor:
    if steps < 2:
        raise ValueError(f"Expected at least 2 steps, the two ends; {steps} came.")
    return torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)
