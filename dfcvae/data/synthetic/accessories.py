"""Hats, glasses and earrings."""

import torch

from dfcvae.data.synthetic.anatomy import Eyes, Hair, Head, Wear
from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, wave
from dfcvae.data.synthetic.dress import HATS

_BEANIE, _CAP, _WIDE = (1 + HATS.index(name) for name in ("beanie", "cap", "wide brim"))


def paint_hat(canvas: Canvas, wear: Wear, hair: Hair, head: Head) -> None:
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


def paint_glasses(canvas: Canvas, wear: Wear, eyes: Eyes, head: Head) -> None:
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


def paint_earrings(canvas: Canvas, wear: Wear, head: Head) -> None:
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
