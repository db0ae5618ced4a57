"""Synthetic faces: an unlimited, deterministic face data set with true attributes, drawn in pure PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dfcvae.data.synthetic import face, surroundings
from dfcvae.data.synthetic.canvas import Canvas
from dfcvae.data.synthetic.dice import Dice, lattice_noise
from dfcvae.data.synthetic.people import ATTRIBUTES, People, attributes_of, draw_people

__all__ = ["ATTRIBUTES", "paint", "render_faces"]

_EYE_LINE = -0.10  # screen height of the eyes in [-1, 1]: 45 % from the top
_PIXELS_AT_ONCE = 1 << 18  # pixels painted together: bounds the memory and keeps the work inside the cache


def render_faces(indices: Tensor | Sequence[int], *, seed: int = 0, size: int = 64) -> tuple[Tensor, Tensor]:
    """Draw the synthetic faces with the given indices.

    Face i of a seed is the same, bit for bit, in every batch and at every place in it; at another size it is the same
    face at another resolution. There are as many faces as there are int64 numbers.

    Args:
        indices: which faces, N >= 0 integers.
        seed: which population of faces.
        size: height and width in pixels.

    Returns:
        Images, uint8 (N, 3, size, size), RGB; and attributes, bool (N, len(ATTRIBUTES)).
    """
    who = torch.as_tensor(indices)
    people = draw_people(Dice(who.long(), seed))
    images = torch.empty(len(who), 3, size, size, dtype=torch.uint8)
    step = max(1, _PIXELS_AT_ONCE // size**2)
    for block in (slice(first, first + step) for first in range(0, len(who), step)):
        images[block] = paint(people.of(block), size)
    return images, attributes_of(people)


def paint(p: People, size: int) -> Tensor:
    """Images of a few faces, uint8 (N, 3, size, size): the parts laid over each other, from the back to the front."""
    steps = (torch.arange(size) + 0.5) * (2 / size) - 1
    x, y = steps[None, None, :] - p.dx, steps[None, :, None] - (p.dy + _EYE_LINE)
    cosine, zoom = (1 - p.tilt * p.tilt).sqrt(), 1 / p.scale
    u = x * (cosine * zoom) + y * (p.tilt * zoom)
    v = y * (cosine * zoom) - x * (p.tilt * zoom)
    grain = lattice_noise(p.coarse_grain, size).add_(lattice_noise(p.fine_grain, size)).mul_(0.8)
    canvas = Canvas(p.near.expand(3, len(u), size, size).contiguous(), u, v, grain, 2 / size)
    # for the front of a head that is turned aside: the middle moves more than the edges
    front = canvas._replace(u=u - p.yaw * 0.055 * (1 - u * u * 3).clamp(min=-0.3))

    surroundings.paint_background(canvas, u, v, p)
    strand, distance, color = face.comb(canvas, u, v, p)
    canvas.paint(canvas.edge(distance), color * 0.62)  # the hair behind neck and ears, in the shade
    canvas.lay(surroundings.paint_neck, p, (-1, 1, 0.25, 1))
    canvas.lay(surroundings.paint_clothes, p, (-1, 1, 0.45, 1))
    canvas.lay(surroundings.paint_necklace, p, (-1, 1, 0.4, 1), p.necklace)
    canvas.lay(face.paint_ears, p, (-0.85, 0.85, -0.35, 0.4))
    canvas.lay(face.paint_skin, p, (-0.8, 0.8, -1, 0.85))
    front.lay(face.paint_freckles, p, (-0.7, 0.7, -0.25, 0.4), p.freckled)
    front.lay(face.paint_age, p, (-0.7, 0.7, -0.65, 0.5), p.old)
    front.lay(face.paint_eyes, p, (-0.75, 0.75, -0.36, 0.20))
    front.lay(face.paint_eyebrows, p, (-0.75, 0.75, -0.55, 0.05))
    hairy = p.stubble | p.mustache | p.goatee | p.full_beard | p.sideburns
    canvas.lay(face.paint_beard, p, (-0.8, 0.8, -0.35, 1), hairy)
    front.lay(face.paint_mouth, p, (-0.5, 0.5, 0.05, 0.65))
    face.paint_hair(canvas, p, strand, distance, color)
    canvas.lay(surroundings.paint_earrings, p, (-0.9, 0.9, -0.1, 0.5), p.earrings)
    front.lay(surroundings.paint_glasses, p, (-0.85, 0.85, -0.45, 0.30), p.glasses)
    canvas.lay(surroundings.paint_hat, p, (-1, 1, -1, 0), p.hat > 0)
    return canvas.rgb.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8).transpose(0, 1)
