"""Synthetic faces from their indices: lay the painted parts over each other, from the back to the front."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dfcvae.data.synthetic import face, surroundings
from dfcvae.data.synthetic.canvas import Canvas, paint_some
from dfcvae.data.synthetic.dice import Dice, lattice_noise
from dfcvae.data.synthetic.people import ATTRIBUTES, People, attributes_of, draw_people

MIN_SIZE, MAX_SIZE = 16, 256
_EYE_LINE = -0.10  # screen height of the eyes in [-1, 1]: 45 % from the top
_DRAWN_AT_ONCE = 1024  # faces whose traits are drawn together
_PIXELS_AT_ONCE = 1 << 18  # pixels painted together: bounds the memory and keeps the work inside the cache


def render_faces(
    indices: Tensor | range | Sequence[int],
    *,
    seed: int = 0,
    size: int = 64,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the synthetic faces with the given indices.

    Face i of a seed is the same, bit for bit, in every batch and at every place in it; at another size it is the same
    face at another resolution. There are as many faces as there are int64 numbers.

    Args:
        indices: which faces, a 1-D integer tensor, range or sequence of length N >= 0.
        seed: which population of faces.
        size: height and width in pixels, 16 to 256.
        device: where to draw; by default where `indices` is, or the CPU.

    Returns:
        Images, uint8 (N, 3, size, size), RGB; and attributes, bool (N, len(ATTRIBUTES)).

    Raises:
        ValueError: `size` is not an integer from 16 to 256, or `indices` is not a 1-D list of integers.
    """
    if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(
            f"size must be an integer from {MIN_SIZE} to {MAX_SIZE} pixels, got {size!r}; "
            "draw at the nearest size in that range and resize the images."
        )
    who = (
        indices
        if isinstance(indices, Tensor)
        else torch.tensor(list(indices), dtype=None if len(indices) else torch.int64)
    )
    if who.dim() != 1 or who.is_floating_point() or who.is_complex() or who.dtype == torch.bool:
        raise ValueError(
            f"indices must be a 1-D list of integers, got {who.dtype} of shape {tuple(who.shape)}; "
            "pass for example range(64) or torch.arange(64)."
        )
    who = who.to(device=device, dtype=torch.int64)
    images = torch.empty(len(who), 3, size, size, dtype=torch.uint8, device=who.device)
    attributes = torch.empty(len(who), len(ATTRIBUTES), dtype=torch.bool, device=who.device)
    for first in range(0, len(who), _DRAWN_AT_ONCE):
        block = slice(first, first + _DRAWN_AT_ONCE)
        people = draw_people(Dice(who[block], seed))
        attributes[block] = attributes_of(people)
        images[block] = paint_people(people, size)
    return images, attributes


def paint_people(people: People, size: int) -> Tensor:
    """Images of `people`, uint8 (N, 3, size, size), painted a few at a time."""
    count = len(people.pose.dx)
    step = max(1, _PIXELS_AT_ONCE // size**2)
    parts = (slice(first, first + step) for first in range(0, count, step))
    return torch.cat([_paint(People._make(group.of(part) for group in people), size) for part in parts])


def _paint(people: People, size: int) -> Tensor:
    """Images of a few faces, uint8 (N, 3, size, size): the parts laid over each other, from the back to the front."""
    pose, head, eyes, mouth, hair, beard, wear, scene = people
    steps = (torch.arange(size, device=pose.dx.device) + 0.5) * (2 / size) - 1
    x, y = steps[None, None, :] - pose.dx, steps[None, :, None] - (pose.dy + _EYE_LINE)
    cosine, zoom = (1 - pose.tilt * pose.tilt).sqrt(), 1 / pose.scale
    u = x * (cosine * zoom) + y * (pose.tilt * zoom)
    v = y * (cosine * zoom) - x * (pose.tilt * zoom)
    grain = lattice_noise(scene.coarse_grain, size).add_(lattice_noise(scene.fine_grain, size)).mul_(0.8)
    canvas = Canvas(scene.near.expand(3, len(u), size, size).contiguous(), u, v, grain, 2 / size)
    # for the front of a head that is turned aside: the middle moves more than the edges
    front = canvas._replace(u=u - pose.yaw * 0.055 * (1 - u * u * 3).clamp(min=-0.3))

    surroundings.paint_background(canvas, scene)
    mane = face.comb(canvas, hair, head)
    canvas.paint(canvas.edge(mane.distance), mane.color * 0.62)  # the hair behind neck and ears, in the shade
    surroundings.paint_neck(canvas, head)
    surroundings.paint_clothes(canvas, head, wear)
    paint_some(canvas, wear.necklace, surroundings.paint_necklace, wear)
    face.paint_ears(canvas, head)
    face.paint_skin(canvas, head)
    paint_some(front, head.freckled, face.paint_freckles, head, scene)
    paint_some(front, head.old, face.paint_age, head)
    face.paint_eyes(front, eyes, head)
    face.paint_eyebrows(front, eyes, head, hair)
    hairy = beard.stubble | beard.mustache | beard.goatee | beard.full | beard.sideburns
    paint_some(canvas, hairy, face.paint_beard, beard, head)
    face.paint_mouth(front, mouth, head)
    face.paint_hair(canvas, hair, mane)
    paint_some(canvas, hair.bald, face.paint_scalp, head)
    paint_some(canvas, wear.earrings, surroundings.paint_earrings, wear, head)
    paint_some(front, wear.glasses, surroundings.paint_glasses, wear, eyes, head)
    paint_some(canvas, wear.hat > 0, surroundings.paint_hat, wear, hair, head)
    return canvas.rgb.mul_(255).add_(0.5).clamp_(0, 255).to(torch.uint8).transpose(0, 1)
