"""Backgrounds and clothes: everything behind and below the head."""

import torch

from dfcvae.data.synthetic.anatomy import Head, Scene, Wear
from dfcvae.data.synthetic.canvas import Canvas, bump, ellipse, paint_some, scatter, smooth, wave
from dfcvae.data.synthetic.dice import lattice_noise
from dfcvae.data.synthetic.dress import BACKGROUNDS, CLOTH_PATTERNS

NECK_ROOT = 0.84  # v where neck and shoulders meet
_LEAF_TINT = (0.80, 1.05, 0.60)


def paint_background(canvas: Canvas, scene: Scene) -> None:
    """Fill the picture with a gradient, then add each scene's pattern."""
    across = _along(canvas, scene)
    canvas.paint((across * 0.5 + 0.5).clamp_(0, 1), scene.far)
    painters = {"blur": _blur, "stripes": _stripes, "bricks": _bricks, "foliage": _foliage}
    for which, name in enumerate(BACKGROUNDS):
        if name in painters:
            paint_some(canvas, scene.pattern == which, painters[name], scene)


def _along(canvas: Canvas, scene: Scene) -> torch.Tensor:
    return canvas.u * scene.angle + canvas.v * (1 - scene.angle * scene.angle).sqrt()


def _blur(canvas: Canvas, scene: Scene) -> None:
    noise = lattice_noise(scene.cells, canvas.u.shape[-1])
    canvas.paint(smooth(noise * 0.9 + 0.5), scene.near)
    x, y, tone = scatter(canvas.u * 1.6, canvas.v * 1.6, scene.spots)
    light = (1 - ellipse(x, y, 0.30, 0.30)).mul_(3).clamp_(0, 1)
    canvas.paint(light * (0.5 * tone), scene.near * 0.5 + 0.5)


def _stripes(canvas: Canvas, scene: Scene) -> None:
    phase = _along(canvas, scene) * scene.pitch
    canvas.paint(canvas.edge(wave(phase) * (0.25 / scene.pitch)) * 0.7, scene.near)


def _bricks(canvas: Canvas, scene: Scene) -> None:
    rows = canvas.v * scene.pitch
    row = rows.floor()
    columns = canvas.u * (scene.pitch * 0.5) + row * 0.5
    column = columns.floor()
    tone = (row * 0.37 + column * 0.61) - (row * 0.37 + column * 0.61).floor()
    canvas.shade(0.75 + 0.4 * tone + 0.12 * canvas.grain)
    joint_v = (0.5 - (rows - row - 0.5).abs()) / scene.pitch
    joint_u = (0.5 - (columns - column - 0.5).abs()) * (2 / scene.pitch)
    canvas.paint(canvas.line(torch.minimum(joint_u, joint_v), 0.016), scene.near * 0.4 + 0.45)


def _foliage(canvas: Canvas, scene: Scene) -> None:
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


def paint_neck(canvas: Canvas, head: Head) -> None:
    """The neck, dark under the chin, and the skin that a neckline can show."""
    canvas = canvas.window(-1, 1, 0.25, 1)
    half_width = head.width * (0.56 + 0.12 * head.male)
    spread = (canvas.v - NECK_ROOT + 0.14).clamp(min=0)
    neck = canvas.edge(canvas.u.abs() - half_width - spread * spread * 4)
    shadow = bump(canvas.u + head.light_x * 0.06, canvas.v - head.chin + 0.02, head.width * 1.1, 0.26)
    tone = 0.92 - 0.42 * shadow + canvas.u * head.light_x * 0.25
    canvas.paint(neck, head.skin * tone)


def paint_clothes(canvas: Canvas, head: Head, wear: Wear) -> None:
    """Shoulders in patterned cloth with a neckline, or a collar and tie."""
    canvas = canvas.window(-1, 1, 0.45, 1)
    u, v = canvas.u, canvas.v
    slope = (u.abs() - 0.24).clamp_(min=0)
    shoulder = canvas.edge(NECK_ROOT - 0.04 + slope * 0.12 + slope * slope * 0.16 - v)
    neckline = (ellipse(u, v - NECK_ROOT + 0.08, 0.30, 0.10 + wear.neckline) - 1) * 0.09
    cover = shoulder * (1 - canvas.edge(neckline))
    cloth = canvas._replace(rgb=(wear.cloth + torch.zeros_like(canvas.rgb)))
    painters = {"stripes": _cloth_stripes, "checks": _checks, "dots": _dots}
    for which, name in enumerate(CLOTH_PATTERNS):
        if name in painters:
            paint_some(cloth, (wear.pattern == which) & ~wear.necktie, painters[name], wear)
    cloth.shade(0.9 + 0.10 * canvas.grain + u * head.light_x * 0.2)
    canvas.paint(cover, cloth.rgb)
    canvas.shade(1 - 0.35 * canvas.line(neckline, 0.01) * shoulder)
    paint_some(canvas, wear.necktie, _collar_and_tie, wear)


def _cloth_stripes(canvas: Canvas, wear: Wear) -> None:
    canvas.paint(canvas.edge(wave(canvas.v * wear.pitch + canvas.u * 0.8) * (0.16 / wear.pitch)), wear.accent)


def _checks(canvas: Canvas, wear: Wear) -> None:
    scale = 0.16 / wear.pitch
    across = canvas.edge(wave(canvas.u * wear.pitch * 0.8) * scale)
    down = canvas.edge(wave(canvas.v * wear.pitch * 0.8) * scale)
    canvas.paint(across.add_(down).mul_(0.42), wear.accent)


def _dots(canvas: Canvas, wear: Wear) -> None:
    row = (canvas.v * wear.pitch).floor()
    x = canvas.u * wear.pitch + row * 0.5
    x = x - x.floor() - 0.5
    y = canvas.v * wear.pitch - row - 0.5
    canvas.paint(canvas.edge((ellipse(x, y, 0.30, 0.30) - 1) * (0.15 / wear.pitch)), wear.accent)


def _collar_and_tie(canvas: Canvas, wear: Wear) -> None:
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


def paint_necklace(canvas: Canvas, wear: Wear) -> None:
    """A chain of beads hanging on the chest."""
    canvas = canvas.window(-1, 1, 0.4, 1)
    u, v = canvas.u, canvas.v
    hang = v - NECK_ROOT - 0.11 + u * u * 2.2
    chain = canvas.line(hang, 0.016) * canvas.edge(u.abs() - 0.30)
    bead = wave((u + u * u * u) * 11) * 0.25 + 0.8
    canvas.shade(1 - 0.3 * canvas.line(hang - 0.03, 0.012) * canvas.edge(u.abs() - 0.30))
    canvas.paint(chain, wear.metal * bead)
