"""Hair on the head and on the face, drawn strand by strand."""

from typing import NamedTuple

import torch
from torch import Tensor

from dfcvae.data.synthetic.anatomy import Beard, Hair, Head
from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, smooth, wave
from dfcvae.data.synthetic.features import MOUTH_V, head_distance

_NOWHERE = 9.0  # a signed distance that is outside everything


class Mane(NamedTuple):
    """The hair of the head at every pixel, whether it will be seen there or not."""

    strand: Tensor  # (N, h, w) dark and light strands, about [-1, 1]
    distance: Tensor  # (N, h, w) signed distance to the outline
    color: Tensor  # (3, N, h, w)


def comb(canvas: Canvas, hair: Hair, head: Head) -> Mane:
    """Lay out the hair over the whole picture; bald heads have none inside any outline."""
    strand = _strands(canvas, hair)
    distance = _outline(canvas, hair, strand).add_(hair.bald * _NOWHERE)
    return Mane(strand, distance, _color(canvas, hair, head, strand))


def _strands(canvas: Canvas, hair: Hair) -> Tensor:
    """Brightness of strands that spring from the parting and run down the head."""
    u, v = canvas.u, canvas.v
    spread = (v + 1.15).clamp(0.30, 1.05)
    across = (u - hair.part) / spread
    across = across.add_(hair.swing * wave(v * hair.swings + hair.phase + across.abs()))
    table = hair.strands
    length = table.shape[-1]
    place = (across * (length * 0.28)).add_(4 * length).long().bitwise_and_(length - 1)
    return table.view(len(table), length).gather(1, place.view(len(table), -1)).view_as(u)


def _color(canvas: Canvas, hair: Hair, head: Head, strand: Tensor) -> Tensor:
    band = canvas.v + 0.50 + 0.25 * canvas.u * canvas.u - 0.03 * strand
    gloss = (1 - band * band * 40).clamp_(min=0) * hair.gloss * (0.7 + 0.5 * strand)
    light = 0.90 + 0.27 * strand + canvas.u * head.light_x * 0.30 + 0.05 * canvas.grain
    return (hair.color * light + 0.28 * gloss * (hair.color * 0.6 + 0.4)).clamp_(0, 1)


def _outline(canvas: Canvas, hair: Hair, strand: Tensor) -> Tensor:
    """Signed distance to an arch over the head with a ragged lower end."""
    spring = hair.top * 0.2
    flare = (canvas.v - spring).clamp_(min=0).mul_(0.10 * hair.long)
    sway = hair.swing * 0.45 * wave(canvas.v * hair.swings + hair.phase)
    outline = arch(canvas.u.abs() - flare + sway, canvas.v, spring, hair.width, spring - hair.top)
    return torch.maximum(outline + 0.012 * strand, canvas.v - hair.length - 0.04 * strand)


def paint_hair_behind(canvas: Canvas, mane: Mane) -> None:
    """The shaded hair behind neck and ears."""
    canvas.paint(canvas.edge(mane.distance), mane.color * 0.62)


def paint_hair_before(canvas: Canvas, hair: Hair, mane: Mane) -> None:
    """The hair around the face: everything in the outline except an opening for the face."""
    u, v = canvas.u, canvas.v
    rise = hair.recede * smooth((u.abs() - 0.04) * 5)
    crown = hair.hairline + 0.30
    lean = v + rise - hair.sweep * ((u - hair.part).abs() - 0.2)
    opening = arch(u, lean, crown, hair.opening, 0.30) + 0.015 * mane.strand
    before = torch.maximum(mane.distance, -opening)
    fringe = torch.maximum(mane.distance, v - hair.fringe - 0.05 * mane.strand)
    before = torch.where(hair.bangs, torch.minimum(before, fringe), before)
    shadow = canvas.edge(torch.maximum(mane.distance, -opening - 0.03))
    canvas.shade(1 - 0.22 * shadow)
    canvas.paint(canvas.edge(before), mane.color)


def paint_scalp(canvas: Canvas, head: Head) -> None:
    """The shine of a bald head."""
    canvas = canvas.window(-0.7, 0.7, -1, -0.2)
    shine = bump(canvas.u - head.light_x * 0.16, canvas.v - head.crown * 0.72, 0.20, 0.12)
    canvas.paint(shine * 0.45, 1.0)


def paint_beard(canvas: Canvas, beard: Beard, head: Head) -> None:
    """Stubble, full beards, goatees, mustaches and sideburns."""
    canvas = canvas.window(-0.8, 0.8, -0.35, 1)
    u, v, x = canvas.u, canvas.v, canvas.u.abs()
    hairs = canvas.grain * 0.6 + 0.4 * wave(u * 13 + v * v * u * 7) + 0.4 * wave(u * 9.3 - v * 2 * u)
    skull = head_distance(canvas, head)
    cheek_line = 0.34 - 0.30 * smooth(x * (1 / head.width) * 1.5 - 0.5)
    lips = (1 - ellipse(u, v - MOUTH_V - 0.01, 0.19, 0.085)) * 0.08
    jaw = torch.maximum(cheek_line - v, lips)
    growth = beard.length * beard.full * smooth(v * 4 - 1)
    full = torch.maximum(jaw, skull - growth - 0.015 * hairs - 0.012)
    chin = (ellipse(u, v - head.chin + 0.06, 0.17, 0.15 + beard.length * 0.5) - 1) * 0.08
    goatee = torch.maximum(chin, lips) + 0.012 * hairs
    droop = v - MOUTH_V + 0.085 - x * 0.35
    mustache = torch.maximum(droop.abs() - 0.042 * (1.15 - x * 3.2), x - 0.22) + 0.010 * hairs
    strip = torch.maximum((x - head.width * 0.93).abs() - 0.055, (v - 0.06).abs() - 0.17) + 0.01 * hairs
    strip = torch.maximum(strip, skull)
    body = torch.full_like(u, _NOWHERE)
    present = (beard.full, beard.goatee, beard.mustache, beard.sideburns)
    for grown, shape in zip(present, (full, goatee, mustache, strip), strict=True):
        body = torch.where(grown, torch.minimum(body, shape), body)
    shade = smooth(0.5 - jaw * 12) * canvas.edge(skull) * (0.75 + 0.45 * canvas.grain)
    canvas.paint(shade * (beard.stubble * 0.62), beard.color * 0.6 + 0.08)
    canvas.paint(canvas.edge(body) * 0.94, beard.color * (0.88 + 0.28 * hairs))
