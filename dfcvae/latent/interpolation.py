"""Latents of images, and paths through the latent space: between points and along single dimensions."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dfcvae.gaussian import kl_per_dimension
from dfcvae.images import check_range, to_float

ENCODED_AT_ONCE = 200
PARALLEL = 1e-4  # radians between two directions, below which the great circle through them is ill-conditioned

Between = Callable[[Tensor, Tensor, int], Tensor]  # `interpolate` or `slerp`


@torch.no_grad()
def encode_images(
    encode: Callable[[Tensor], tuple[Tensor, Tensor]], images: Tensor, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Posterior ``mu, logvar``, each (N, D) on the CPU, of many images (N, C, H, W): uint8, or float in [0, 1].

    ``encode`` maps images in [0, 1], 200 at a time, to ``mu, logvar`` on a device (default: that of the images).
    A UserError for floats out of range.
    """
    parts = []
    for part in images.split(ENCODED_AT_ONCE):
        x = part.to(device or part.device)
        if x.dtype != torch.uint8:
            check_range(x)
        parts.append(encode(to_float(x) if x.dtype == torch.uint8 else x))
    mu, logvar = (torch.cat([values.float().cpu() for values in column]) for column in zip(*parts, strict=True))
    return mu, logvar


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """``(1 - t) start + t end`` of two latents (D,), for ``steps`` values of t from 0 to 1: latents (steps, D).

    Both ends included; a ValueError for fewer than two steps. Hou et al. 2016 (arXiv 1610.00291), section 4.2. Decode
    the result to see the faces in between.
    """
    return torch.lerp(start, end, _fractions(steps, start))


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The great circle from start to end: ``(sin((1 - t) w) start + sin(t w) end) / sin w``, latents (steps, D).

    w is the angle between the two. In many dimensions a straight line passes nearer to the origin than draws from the
    prior ever lie; this path does not (White 2016, "Sampling Generative Networks", arXiv 1609.04468). Between parallel
    or opposite latents it is the straight line. Arguments and errors are those of `interpolate`.
    """
    t = _fractions(steps, start)
    angle = cosine_similarity(start.double(), end.double(), dim=0).clamp(-1, 1).arccos()
    if min(angle, torch.pi - angle) < PARALLEL:
        return interpolate(start, end, steps)
    weights = torch.sin((1 - t) * angle) / torch.sin(angle), torch.sin(t * angle) / torch.sin(angle)
    return (weights[0] * start + weights[1] * end).to(start.dtype)


def path(points: Tensor, steps: int, between: Between = interpolate) -> Tensor:
    """A path through points (P, D), each once: latents (1 + (P - 1) (steps - 1), D), ``steps`` from each to the next.

    A ValueError for fewer than two points or steps.
    """
    if len(points) < 2:
        raise ValueError(f"Expected at least 2 points, got {len(points)}.")
    return torch.cat([points[:1], *(between(start, end, steps)[1:] for start, end in pairwise(points))])


def face_grid(corners: Tensor, rows: int, columns: int, between: Between = interpolate) -> Tensor:
    """Mixtures of four latents (4, D), top left, top right, bottom left, bottom right: (rows, columns, D).

    Bilinear with ``between=interpolate``; or ``slerp``. A ValueError if there are not four corners, or fewer than two
    rows or columns.
    """
    if len(corners) != 4:
        raise ValueError(f"Expected 4 corners, got {len(corners)}.")
    top, bottom = between(corners[0], corners[1], columns), between(corners[2], corners[3], columns)
    return torch.stack([between(start, end, rows) for start, end in zip(top, bottom, strict=True)], dim=1)


def by_kl(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """The latent dimensions by how much they encode: ``indices, nats``, each (D,), most informative first.

    The measure is the mean of ``KL(q(z_d|x) || N(0, 1))`` over the posteriors of many faces, ``mu`` and ``logvar``
    (N, D); near 0, a dimension is unused.
    """
    nats, indices = kl_per_dimension(mu, logvar).mean(dim=0).sort(descending=True)
    return indices, nats


def traverse(z: Tensor, dimension: int, values: Tensor) -> Tensor:
    """Copies of a latent (D,) with one dimension set to each of ``values`` (V,): latents (V, D)."""
    copies = z.repeat(len(values), 1)
    copies[:, dimension] = values.to(copies)
    return copies


def _fractions(steps: int, like: Tensor) -> Tensor:
    """0 to 1 in equal steps, (steps, 1)."""
    if steps < 2:
        raise ValueError(f"Expected at least 2 steps, got {steps}.")
    return torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)[:, None]
