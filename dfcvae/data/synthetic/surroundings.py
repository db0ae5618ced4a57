"""Everything around the head: backgrounds, clothes, hats, glasses and jewellery."""

import torch
from torch import Tensor

from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, paint_some, scatter, smooth, wave
from dfcvae.data.synthetic.dice import lattice_noise
from dfcvae.data.synthetic.people import BACKGROUNDS, CLOTH_PATTERNS, HATS, Traits

NECK_ROOT = 0.84  # v where neck and shoulders meet
_LEAF_TINT = (0.80, 1.05, 0.60)


def paint_background(canvas: Canvas, scene: Traits) -> None:
    """Fill the picture with a gradient, then add each scene's pattern."""
    across = _along(canvas, scene)
    canvas.paint((across * 0.5 + 0.5).clamp_(0, 1), scene.far)
    for name, painter in {"blur": _blur, "stripes": _stripes, "bricks": _bricks, "foliage": _foliage}.items():
        paint_some(canvas, scene.pattern == BACKGROUNDS.index(name), painter, scene)


def _along(canvas: Canvas, scene: Traits) -> Tensor:
    return canvas.u * scene.angle + canvas.v * (1 - scene.angle * scene.angle).sqrt()


def _blur(canvas: Canvas, scene: Traits) -> None:
    noise = lattice_noise(scene.cells, canvas.u.shape[-1])
    canvas.paint(smooth(noise * 0.9 + 0.5), scene.near)
    x, y, tone = scatter(canvas.u * 1.6, canvas.v * 1.6, scene.spots)
    light = (1 - ellipse(x, y, 0.30, 0.30)).mul_(3).clamp_(0, 1)
    canvas.paint(light * (0.5 * tone), scene.near * 0.5 + 0.5)


def _stripes(canvas: Canvas, scene: Traits) -> None:
    phase = _along(canvas, scene) * scene.pitch
    canvas.paint(canvas.edge(wave(phase) * (0.25 / scene.pitch)) * 0.7, scene.near)


def _bricks(canvas: Canvas, scene: Traits) -> None:
    rows = canvas.v * scene.pitch
    row = rows.floor()
    columns = canvas.u * (scene.pitch * 0.5) + row * 0.5
    column = columns.floor()
    tone = (row * 0.37 + column * 0.61) - (row * 0.37 + column * 0.61).floor()
    canvas.shade(0.75 + 0.4 * tone + 0.12 * canvas.grain)
    joint_v = (0.5 - (rows - row - 0.5).abs()) / scene.pitch
    joint_u = (0.5 - (columns - column - 0.5).abs()) * (2 / scene.pitch)
    canvas.paint(canvas.line(torch.minimum(joint_u, joint_v), 0.016), scene.near * 0.4 + 0.45)


def _foliage(canvas: Canvas, scene: Traits) -> None:
    canvas.shade(0.55 + 0.25 * canvas.grain)
    pitch = scene.pitch * 0.65
    color = scene.near * torch.tensor(_LEAF_TINT, device=scene.near.device)[:, None, None, None]
    for layer in range(3):
        turn = 0.45 * layer
        x, y = (canvas.u + turn * canvas.v) * pitch, (canvas.v - turn * canvas.u) * (pitch * 1.3)
        x, y, tone = scatter(x + 0.31 * layer, y + 0.57 * layer, scene.spots)
        lean = (tone - 0.5) * 1.6
        leaf = canvas.edge((ellipse(x + lean * y, y - lean * x, 0.46, 0.26) - 1) * (0.16 / pitch))
        light = (0.40 + 0.25 * layer - 0.4 * y) * (0.7 + 0.6 * tone)
        canvas.paint(leaf, color * light)


def paint_neck(canvas: Canvas, head: Traits) -> None:
    """The neck, dark under the chin, and the skin that a neckline can show."""
    canvas = canvas.window(-1, 1, 0.25, 1)
    half_width = head.width * (0.56 + 0.12 * head.male)
    spread = (canvas.v - NECK_ROOT + 0.14).clamp(min=0)
    neck = canvas.edge(canvas.u.abs() - half_width - spread * spread * 4)
    shadow = bump(canvas.u + head.light_x * 0.06, canvas.v - head.chin + 0.02, head.width * 1.1, 0.26)
    tone = 0.92 - 0.42 * shadow + canvas.u * head.light_x * 0.25
    canvas.paint(neck, head.skin * tone)


def paint_clothes(canvas: Canvas, head: Traits, wear: Traits) -> None:
    """Shoulders in patterned cloth with a neckline, or a collar and tie."""
    canvas = canvas.window(-1, 1, 0.45, 1)
    u, v = canvas.u, canvas.v
    slope = (u.abs() - 0.24).clamp_(min=0)
    shoulder = canvas.edge(NECK_ROOT - 0.04 + slope * 0.12 + slope * slope * 0.16 - v)
    neckline = (ellipse(u, v - NECK_ROOT + 0.08, 0.30, 0.10 + wear.neckline) - 1) * 0.09
    cover = shoulder * (1 - canvas.edge(neckline))
    cloth = canvas._replace(rgb=(wear.cloth + torch.zeros_like(canvas.rgb)))
    for name, painter in {"stripes": _cloth_stripes, "checks": _checks, "dots": _dots}.items():
        paint_some(cloth, (wear.pattern == CLOTH_PATTERNS.index(name)) & ~wear.necktie, painter, wear)
    cloth.shade(0.9 + 0.10 * canvas.grain + u * head.light_x * 0.2)
    canvas.paint(cover, cloth.rgb)
    canvas.shade(1 - 0.35 * canvas.line(neckline, 0.01) * shoulder)
    paint_some(canvas, wear.necktie, _collar_and_tie, wear)


def _cloth_stripes(canvas: Canvas, wear: Traits) -> None:
    canvas.paint(canvas.edge(wave(canvas.v * wear.pitch + canvas.u * 0.8) * (0.16 / wear.pitch)), wear.accent)


def _checks(canvas: Canvas, wear: Traits) -> None:
    scale = 0.16 / wear.pitch
    across = canvas.edge(wave(canvas.u * wear.pitch * 0.8) * scale)
    down = canvas.edge(wave(canvas.v * wear.pitch * 0.8) * scale)
    canvas.paint(across.add_(down).mul_(0.42), wear.accent)


def _dots(canvas: Canvas, wear: Traits) -> None:
    row = (canvas.v * wear.pitch).floor()
    x = canvas.u * wear.pitch + row * 0.5
    x = x - x.floor() - 0.5
    y = canvas.v * wear.pitch - row - 0.5
    canvas.paint(canvas.edge((ellipse(x, y, 0.30, 0.30) - 1) * (0.15 / wear.pitch)), wear.accent)


def _collar_and_tie(canvas: Canvas, wear: Traits) -> None:
    u, v = canvas.u.abs(), canvas.v - NECK_ROOT
    shirt = canvas.edge(u - (0.30 - v * 0.75))
    shirt = shirt * canvas.edge(0.02 - v - u * 0.1)
    canvas.paint(shirt, wear.accent * 0.25 + 0.7)
    canvas.shade(1 - 0.3 * canvas.line((u - (v + 0.02) * 0.9 - 0.07) * 0.7, 0.012) * shirt)
    knot = (v - 0.03).abs() - 0.05
    half_width = torch.where(v < 0.08, 0.075 - v * 0.35, 0.035 + v * 0.22)
    tie = canvas.edge(u - half_width) * canvas.edge(-0.02 - v)
    canvas.paint(tie, wear.tie)
    diagonal = wave((canvas.u * 0.8 + v) * 7) * 0.5 + 0.5
    canvas.shade(1 + tie * (0.45 * diagonal - 0.2) - 0.25 * tie * canvas.line(knot, 0.012))


def paint_necklace(canvas: Canvas, wear: Traits) -> None:
    """A chain of beads hanging on the chest."""
    canvas = canvas.window(-1, 1, 0.4, 1)
    u, v = canvas.u, canvas.v
    hang = v - NECK_ROOT - 0.11 + u * u * 2.2
    chain = canvas.line(hang, 0.016) * canvas.edge(u.abs() - 0.30)
    bead = wave((u + u * u * u) * 11) * 0.25 + 0.8
    canvas.shade(1 - 0.3 * canvas.line(hang - 0.03, 0.012) * canvas.edge(u.abs() - 0.30))
    canvas.paint(chain, wear.metal * bead)


_BEANIE, _CAP, _WIDE = (HATS.index(name) for name in ("beanie", "cap", "wide brim"))


def paint_hat(canvas: Canvas, wear: Traits, hair: Traits, head: Traits) -> None:
    """A knitted beanie, a cap or a wide-brimmed hat."""
    canvas = canvas.window(-1, 1, -1, 0.0)
    u, v = canvas.u, canvas.v
    width = torch.maximum(hair.width, head.width + 0.02) + 0.03
    spring = wear.brim_v - 0.05
    dome = arch(u, v, spring, width, spring - torch.minimum(hair.top, head.crown - 0.05) + 0.05)
    rim = v - wear.brim_v - 0.10 * u * u
    knitted = wear.hat == _BEANIE
    ribs = torch.where(knitted, wave(u * 9), wave(u * 1.5) * 0.4)
    light = 0.92 + 0.16 * ribs + u * head.light_x * 0.25 + 0.08 * canvas.grain
    light -= 0.2 * ellipse(u, v - spring, width, 0.6)
    canvas.paint(canvas.edge(torch.maximum(dome, rim)), wear.felt * light)
    hem = torch.maximum(torch.maximum(dome, rim), (rim + 0.055).abs() - 0.055) - 0.02 * knitted
    band = torch.where(knitted, wear.felt * 0.75 + 0.12, wear.band)
    canvas.paint(canvas.edge(hem) * (wear.hat != _CAP), band * light)
    wide, peaked = wear.hat == _WIDE, wear.hat == _CAP
    reach = torch.where(wide, 0.92, width * 0.86)
    canvas.shade(1 - 0.45 * bump(u, rim - 0.10, reach, 0.10) * ~knitted)
    # A wide brim lies level around the hat; a cap's peak hangs over the forehead and is seen from below.
    y = rim - 0.02 + torch.where(wide, 0.16, 0.10) * u * u - peaked * 0.015
    # The ellipse's distance is right above and below but far too soft at its tips: cut those.
    brim = torch.maximum((ellipse(u, y, reach, 0.075) - 1) * 0.04, u.abs() - reach * 0.96)
    canvas.paint(canvas.edge(brim) * ~knitted, wear.felt * (light * 0.82 - 0.9 * y.clamp(-0.1, 0.1) - peaked * 0.22))


def paint_glasses(canvas: Canvas, wear: Traits, eyes: Traits, head: Traits) -> None:
    """Two lenses, clear or tinted, in a frame with a bridge and temples."""
    canvas = canvas.window(-0.85, 0.85, -0.45, 0.30)
    u, v = canvas.u, canvas.v
    x, y = u.abs() - eyes.apart * 1.02, v - 0.012
    a, b = x * (1 / wear.lens_width), y * (1 / wear.lens_height)
    a, b = a * a, b * b
    # Between an ellipse and a rounded rectangle, |x|^2 + |y|^2 = 1 and |x|^6 + |y|^6 = 1.
    square = (a * a * a + b * b * b) * (1 - wear.round)
    lens = (square + (a + b) * wear.round - 1) * wear.lens_height * (0.5 - 0.28 * (1 - wear.round))
    glare = (1 - ((u * 1.5 + v) * 6 - 0.4).abs()).clamp_(min=0) * 0.22
    canvas.paint(canvas.edge(lens) * wear.shade, wear.tint + glare)
    canvas.paint(canvas.edge(lens) * glare, 1.0)
    bridge = torch.maximum((y + 0.035).abs() - wear.rim * 0.9, x + wear.lens_width * 0.92)
    temple = torch.maximum((y + 0.03).abs() - wear.rim, wear.lens_width * 0.95 - x)
    temple = torch.maximum(temple, u.abs() - head.width)
    frame = torch.minimum(torch.minimum(bridge, temple), lens.abs() - wear.rim)
    canvas.paint(canvas.edge(frame), wear.frame * (1.0 - y * 2))


def paint_earrings(canvas: Canvas, wear: Traits, head: Traits) -> None:
    """A stud in each ear, most with a drop below."""
    canvas = canvas.window(-0.9, 0.9, -0.1, 0.5)
    x = canvas.u.abs() - head.width * 0.99
    y = canvas.v - 0.20
    size = 0.030 + wear.drop * 0.1
    stud = ellipse(x, y, 0.026, 0.026)
    hang = torch.minimum(stud, ellipse(x, y - 0.03 - wear.drop, size, size + wear.drop * 0.25))
    canvas.shade(1 - 0.5 * canvas.edge((hang - 2.2) * 0.015))
    gleam = 0.95 + 0.4 * bump(x + 0.01, y, 0.03, 0.2) - y * 0.8
    canvas.paint(canvas.edge((hang - 1) * 0.015), wear.metal * gleam)
