"""Everything around the head: backgrounds, clothes, hats, glasses and jewellery."""

import torch
from torch import Tensor

from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, scatter, wave
from dfcvae.data.synthetic.dice import lattice_noise, smooth
from dfcvae.data.synthetic.people import BEANIE, CAP, WIDE_BRIM, People

NECK_ROOT = 0.84  # v where neck and shoulders meet
_LEAF_TINT = torch.tensor([0.80, 1.05, 0.60])[:, None, None, None]


def paint_background(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Fill the picture with a gradient, then add each scene's pattern."""
    canvas.paint((_along(u, v, p) * 0.5 + 0.5).clamp_(0, 1), p.far)
    for kind, painter in enumerate((_blur, _stripes, _bricks, _foliage), 1):
        canvas.lay(painter, p, of=p.background == kind)


def _along(u: Tensor, v: Tensor, p: People) -> Tensor:
    return u * p.angle + v * (1 - p.angle * p.angle).sqrt()


def _blur(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    canvas.paint(smooth(lattice_noise(p.cells, u.shape[-1]) * 0.9 + 0.5), p.near)
    x, y, tone = scatter(u * 1.6, v * 1.6, p.spots)
    light = (1 - ellipse(x, y, 0.30, 0.30)).mul_(3).clamp_(0, 1)
    canvas.paint(light * (0.5 * tone), p.near * 0.5 + 0.5)


def _stripes(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    canvas.paint(canvas.edge(wave(_along(u, v, p) * p.pitch) * (0.25 / p.pitch)) * 0.7, p.near)


def _bricks(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    rows = v * p.pitch
    row = rows.floor()
    columns = u * (p.pitch * 0.5) + row * 0.5
    column = columns.floor()
    tone = (row * 0.37 + column * 0.61) - (row * 0.37 + column * 0.61).floor()
    canvas.shade(0.75 + 0.4 * tone + 0.12 * canvas.grain)
    joint_v = (0.5 - (rows - row - 0.5).abs()) / p.pitch
    joint_u = (0.5 - (columns - column - 0.5).abs()) * (2 / p.pitch)
    canvas.paint(canvas.line(torch.minimum(joint_u, joint_v), 0.016), p.near * 0.4 + 0.45)


def _foliage(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    canvas.shade(0.55 + 0.25 * canvas.grain)
    pitch = p.pitch * 0.65
    for layer in range(3):
        turn = 0.45 * layer
        x, y = (u + turn * v) * pitch, (v - turn * u) * (pitch * 1.3)
        x, y, tone = scatter(x + 0.31 * layer, y + 0.57 * layer, p.spots)
        lean = (tone - 0.5) * 1.6
        leaf = canvas.edge((ellipse(x + lean * y, y - lean * x, 0.46, 0.26) - 1) * (0.16 / pitch))
        light = (0.40 + 0.25 * layer - 0.4 * y) * (0.7 + 0.6 * tone)
        canvas.paint(leaf, p.near * _LEAF_TINT * light)


def paint_neck(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """The neck, dark under the chin, and the skin that a neckline can show."""
    half_width = p.head_width * (0.56 + 0.12 * p.male)
    spread = (v - NECK_ROOT + 0.14).clamp(min=0)
    neck = canvas.edge(u.abs() - half_width - spread * spread * 4)
    shadow = bump(u + p.light_x * 0.06, v - p.chin + 0.02, p.head_width * 1.1, 0.26)
    tone = 0.92 - 0.42 * shadow + u * p.light_x * 0.25
    canvas.paint(neck, p.skin * tone)


def paint_clothes(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Shoulders in patterned cloth with a neckline, or a collar and tie."""
    slope = (u.abs() - 0.24).clamp_(min=0)
    shoulder = canvas.edge(NECK_ROOT - 0.04 + slope * 0.12 + slope * slope * 0.16 - v)
    neckline = (ellipse(u, v - NECK_ROOT + 0.08, 0.30, 0.10 + p.neckline) - 1) * 0.09
    cloth = canvas._replace(rgb=(p.cloth + torch.zeros_like(canvas.rgb)))
    cloth.paint(_pattern(canvas, u, v, p), p.accent)
    cloth.shade(0.9 + 0.10 * canvas.grain + u * p.light_x * 0.2)
    canvas.paint(shoulder * (1 - canvas.edge(neckline)), cloth.rgb)
    canvas.shade(1 - 0.35 * canvas.line(neckline, 0.01) * shoulder)
    canvas.lay(_collar_and_tie, p, of=p.necktie)


def _pattern(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> Tensor:
    """Where cloth without a tie is of the accent's colour: stripes, checks or dots."""
    scale = 0.16 / p.cloth_pitch
    stripes = canvas.edge(wave(v * p.cloth_pitch + u * 0.8) * scale)
    across = canvas.edge(wave(u * p.cloth_pitch * 0.8) * scale)
    checks = (across + canvas.edge(wave(v * p.cloth_pitch * 0.8) * scale)) * 0.42
    row = (v * p.cloth_pitch).floor()
    x = u * p.cloth_pitch + row * 0.5
    x, y = x - x.floor() - 0.5, v * p.cloth_pitch - row - 0.5
    dots = canvas.edge((ellipse(x, y, 0.30, 0.30) - 1) * (0.15 / p.cloth_pitch))
    kinds = (p.cloth_pattern == kind for kind in (1, 2, 3))
    return sum(cover * (kind & ~p.necktie) for cover, kind in zip((stripes, checks, dots), kinds, strict=True))


def _collar_and_tie(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    x, v = u.abs(), v - NECK_ROOT
    shirt = canvas.edge(x - (0.30 - v * 0.75)) * canvas.edge(0.02 - v - x * 0.1)
    canvas.paint(shirt, p.accent * 0.25 + 0.7)
    canvas.shade(1 - 0.3 * canvas.line((x - (v + 0.02) * 0.9 - 0.07) * 0.7, 0.012) * shirt)
    knot = (v - 0.03).abs() - 0.05
    half_width = torch.where(v < 0.08, 0.075 - v * 0.35, 0.035 + v * 0.22)
    tie = canvas.edge(x - half_width) * canvas.edge(-0.02 - v)
    canvas.paint(tie, p.tie)
    diagonal = wave((u * 0.8 + v) * 7) * 0.5 + 0.5
    canvas.shade(1 + tie * (0.45 * diagonal - 0.2) - 0.25 * tie * canvas.line(knot, 0.012))


def paint_necklace(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """A chain of beads hanging on the chest."""
    hang = v - NECK_ROOT - 0.11 + u * u * 2.2
    reach = canvas.edge(u.abs() - 0.30)
    canvas.shade(1 - 0.3 * canvas.line(hang - 0.03, 0.012) * reach)
    canvas.paint(canvas.line(hang, 0.016) * reach, p.metal * (wave((u + u * u * u) * 11) * 0.25 + 0.8))


def paint_hat(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """A knitted beanie, a cap or a wide-brimmed hat."""
    width = torch.maximum(p.hair_width, p.head_width + 0.02) + 0.03
    spring = p.brim_v - 0.05
    dome = arch(u, v, spring, width, spring - torch.minimum(p.hair_top, p.crown - 0.05) + 0.05)
    rim = v - p.brim_v - 0.10 * u * u
    knitted, peaked, wide = (p.hat == kind for kind in (BEANIE, CAP, WIDE_BRIM))
    ribs = torch.where(knitted, wave(u * 9), wave(u * 1.5) * 0.4)
    light = 0.92 + 0.16 * ribs + u * p.light_x * 0.25 + 0.08 * canvas.grain
    light -= 0.2 * ellipse(u, v - spring, width, 0.6)
    canvas.paint(canvas.edge(torch.maximum(dome, rim)), p.felt * light)
    hem = torch.maximum(torch.maximum(dome, rim), (rim + 0.055).abs() - 0.055) - 0.02 * knitted
    band = torch.where(knitted, p.felt * 0.75 + 0.12, p.band)
    canvas.paint(canvas.edge(hem) * ~peaked, band * light)
    reach = torch.where(wide, 0.92, width * 0.86)
    canvas.shade(1 - 0.45 * bump(u, rim - 0.10, reach, 0.10) * ~knitted)
    # A wide brim lies level around the hat; a cap's peak hangs over the forehead and is seen from below.
    y = rim - 0.02 + torch.where(wide, 0.16, 0.10) * u * u - peaked * 0.015
    # The ellipse's distance is right above and below but far too soft at its tips: cut those.
    brim = torch.maximum((ellipse(u, y, reach, 0.075) - 1) * 0.04, u.abs() - reach * 0.96)
    canvas.paint(canvas.edge(brim) * ~knitted, p.felt * (light * 0.82 - 0.9 * y.clamp(-0.1, 0.1) - peaked * 0.22))


def paint_glasses(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Two lenses, clear or tinted, in a frame with a bridge and temples."""
    x, y = u.abs() - p.apart * 1.02, v - 0.012
    a, b = x * (1 / p.lens_width), y * (1 / p.lens_height)
    a, b = a * a, b * b
    # Between an ellipse and a rounded rectangle, |x|^2 + |y|^2 = 1 and |x|^6 + |y|^6 = 1.
    square = (a * a * a + b * b * b) * (1 - p.round)
    lens = (square + (a + b) * p.round - 1) * p.lens_height * (0.5 - 0.28 * (1 - p.round))
    glare = (1 - ((u * 1.5 + v) * 6 - 0.4).abs()).clamp_(min=0) * 0.22
    canvas.paint(canvas.edge(lens) * p.shade, p.tint + glare)
    canvas.paint(canvas.edge(lens) * glare, 1.0)
    bridge = torch.maximum((y + 0.035).abs() - p.rim * 0.9, x + p.lens_width * 0.92)
    temple = torch.maximum((y + 0.03).abs() - p.rim, p.lens_width * 0.95 - x)
    temple = torch.maximum(temple, u.abs() - p.head_width)
    frame = torch.minimum(torch.minimum(bridge, temple), lens.abs() - p.rim)
    canvas.paint(canvas.edge(frame), p.frame * (1.0 - y * 2))


def paint_earrings(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """A stud in each ear, most with a drop below."""
    x, y = u.abs() - p.head_width * 0.99, v - 0.20
    size = 0.030 + p.drop * 0.1
    stud = ellipse(x, y, 0.026, 0.026)
    hang = torch.minimum(stud, ellipse(x, y - 0.03 - p.drop, size, size + p.drop * 0.25))
    canvas.shade(1 - 0.5 * canvas.edge((hang - 2.2) * 0.015))
    gleam = 0.95 + 0.4 * bump(x + 0.01, y, 0.03, 0.2) - y * 0.8
    canvas.paint(canvas.edge((hang - 1) * 0.015), p.metal * gleam)
