"""Skin, ears, nose, eyes, eyebrows and mouth."""

import torch
from torch import Tensor

from dfcvae.data.synthetic.anatomy import Eyes, Hair, Head, Mouth, Scene
from dfcvae.data.synthetic.canvas import Canvas, bump, ellipse, scatter, smooth, wave

MOUTH_V = 0.39
NOSE_V = 0.21
_THROAT = (0.28, 0.06, 0.07)


def head_distance(canvas: Canvas, head: Head) -> Tensor:
    """Approximate signed distance to the outline of the head: a round skull over a jaw."""
    temples = -0.08
    below = (canvas.v - temples).clamp(min=0)
    above = (temples - canvas.v).clamp_(min=0).mul_(1 / (temples - head.crown))
    down = below.mul_(1 / (head.chin - temples))
    down = down * down
    # The jaw blends a circle's profile with a squarer one and narrows towards the chin.
    narrow = 1 - (0.22 - 0.12 * head.jaw) * down
    x = canvas.u / (head.width * narrow)
    down = down * (1 - head.jaw * 0.6 + head.jaw * 0.6 * down)
    return x.mul_(x).add_(above.mul_(above)).add_(down).sub_(1).mul_(head.width * 0.5)


def paint_ears(canvas: Canvas, head: Head) -> None:
    """Two ears at the height between eyes and nose."""
    canvas = canvas.window(-0.85, 0.85, -0.35, 0.4)
    x, y = canvas.u.abs() - head.width * 0.99, canvas.v - 0.06
    ear = canvas.edge((ellipse(x, y, 0.065, 0.125) - 1) * 0.04)
    inner = bump(x - 0.02, y, 0.045, 0.09)
    canvas.paint(ear, head.skin * (0.88 - 0.35 * inner + canvas.u * head.light_x * 0.25))


def paint_skin(canvas: Canvas, head: Head) -> None:
    """The face itself: light and shadow, cheeks, nose, freckles and the marks of age."""
    canvas = canvas.window(-0.8, 0.8, -1, 0.85)
    cover = canvas.edge(head_distance(canvas, head))
    canvas.paint(cover, head.skin * _relief(canvas, head))
    cheek = bump(canvas.u.abs() - head.width * 0.58, canvas.v - 0.17, 0.24, 0.19)
    nose_tip = bump(canvas.u, canvas.v - NOSE_V + 0.01, 0.13, 0.12)
    blush = (cheek * (0.10 + 0.45 * head.rosy)).add_(nose_tip * 0.10)
    canvas.rgb[0].mul_(1 + 0.08 * blush)
    canvas.rgb[1].mul_(1 - 0.55 * blush)
    canvas.rgb[2].mul_(1 - 0.40 * blush)


def _relief(canvas: Canvas, head: Head) -> Tensor:
    """Brightness of the skin: a lit dome with sockets, cheekbones and a nose on it."""
    u, v, side = canvas.u, canvas.v, head.light_x
    x, y = u * (1 / head.width), v * 1.4 - 0.05
    dome = x * side * 0.30 + y * head.light_y * 0.14
    rim = x * x * x * x
    light = 0.96 + dome - 0.14 * rim
    light -= 0.13 * bump(u.abs() - head.width * 0.46, v + 0.045, 0.17, 0.11)  # eye sockets
    light += 0.07 * bump(u - side * 0.08, v + 0.36, 0.34, 0.20)  # forehead
    light += 0.06 * bump(u.abs() - head.width * 0.55, v - 0.11, 0.17, 0.10)  # cheekbones
    light -= 0.10 * bump(u, v - MOUTH_V - 0.105, 0.13, 0.04)  # below the lips
    light += 0.05 * bump(u, v - head.chin + 0.10, 0.12, 0.09)  # chin
    return light.add_(_nose(canvas, head)).add_(0.02 * canvas.grain)


def _nose(canvas: Canvas, head: Head) -> Tensor:
    u, v, size = canvas.u, canvas.v, head.nose
    along = v - 0.04
    light = 0.09 * bump(u, along, 0.05 * size, 0.24)
    light += 0.11 * bump(u - head.light_x * 0.012, v - NOSE_V + 0.035, 0.055 * size, 0.055)
    flank = bump(u + head.light_x * 0.075 * size, along - 0.03, 0.06 * size, 0.22)
    light -= (0.08 + 0.18 * head.light_x.abs()) * flank
    wing = u.abs() - 0.080 * size
    light -= 0.14 * bump(wing - 0.02, v - NOSE_V, 0.035, 0.055)
    light -= 0.42 * bump(u.abs() - 0.045 * size, v - NOSE_V - 0.035, 0.042 * size, 0.030)  # nostrils
    light -= 0.13 * bump(u, v - NOSE_V - 0.06, 0.11 * size, 0.045)
    return light


def paint_freckles(canvas: Canvas, head: Head, scene: Scene) -> None:
    """Brown spots over nose and cheeks."""
    canvas = canvas.window(-0.7, 0.7, -0.25, 0.4)
    x, y, tone = scatter(canvas.u * 15 + canvas.v * 4, canvas.v * 15 - canvas.u * 4, scene.spots)
    size = 0.10 + 0.20 * tone
    spot = canvas.edge((ellipse(x, y, size, size) - 1) * size * 0.03) * (tone > 0.4)
    canvas.shade(1 - 0.36 * spot * smooth(bump(canvas.u, canvas.v - 0.11, head.width, 0.22) * 3))


def paint_age(canvas: Canvas, head: Head) -> None:
    """Lines across the forehead, bags under the eyes, folds beside the mouth."""
    canvas = canvas.window(-0.7, 0.7, -0.65, 0.5)
    u, v = canvas.u, canvas.v
    forehead = bump(u, v + 0.30, 0.34, 0.12) * wave(v * 15 + u * u)
    bags = bump(u.abs() - head.width * 0.46, v - 0.095, 0.11, 0.03)
    folds = bump(u.abs() - 0.10 - (v - 0.18) * 0.45, v - 0.29, 0.022, 0.13)
    canvas.shade(1 - 0.10 * forehead - 0.16 * bags - 0.22 * folds)


def paint_eyes(canvas: Canvas, eyes: Eyes, head: Head) -> None:
    """Lids and lashes, the white of the eyes, iris, pupil and the light in them."""
    canvas = canvas.window(-0.75, 0.75, -0.36, 0.20)
    u, v = canvas.u, canvas.v
    side = torch.where(u < 0, -1.0, 1.0)
    x = u * side - eyes.apart
    half_width = head.width * 0.245
    y = v + 0.10 * x  # outer corners sit a little higher
    t = x * (1 / half_width)
    arc = 1 - t * t  # negative beyond the corners, where the lids cross and nothing is inside them
    lid, floor = y + eyes.upper * arc, eyes.lower * arc - y
    canvas.paint(bump(x, y + eyes.upper * 0.9, half_width * 1.3, 0.085) * (eyes.makeup * 0.75), eyes.shadow)
    canvas.shade(1 - 0.25 * canvas.line(lid + 0.026, 0.008) * smooth(arc * 3))
    open_eye = canvas.edge(-torch.minimum(lid, floor))
    white = 0.93 - 0.30 * (1 - lid * (1 / eyes.upper)).clamp(0, 1)
    canvas.paint(open_eye, white[None])
    x, y = x - eyes.gaze_x * side, y - eyes.gaze_y
    from_center = ellipse(x, y, 0.052, 0.052)
    iris = canvas.edge((from_center - 1) * 0.026) * open_eye
    canvas.paint(iris, eyes.iris * (0.55 + 0.65 * (1 - from_center).clamp(0, 1) + y * 5))
    canvas.paint(canvas.edge((from_center - 0.19) * 0.055) * open_eye, 0.03)
    canvas.paint(bump(x - side * head.light_x * 0.018, y + 0.018, 0.022, 0.022) * open_eye, 1.0)
    lashes = canvas.line(lid, eyes.lash) * smooth(arc * 5 + 0.6)
    canvas.paint(lashes.mul_(0.9), 0.07)
    canvas.shade(1 - 0.25 * canvas.line(floor, 0.006) * smooth(arc * 5))


def paint_eyebrows(canvas: Canvas, eyes: Eyes, head: Head, hair: Hair) -> None:
    """Tapered arcs of fine hair."""
    canvas = canvas.window(-0.75, 0.75, -0.55, 0.05)
    half_width = head.width * 0.30
    t = (canvas.u.abs() - eyes.apart * 1.02) * (1 / half_width)
    arch = 1 - (t - 0.15) * (t - 0.15)
    y = canvas.v - eyes.brow_v + eyes.brow_arch * arch + eyes.brow_slope * t
    thickness = eyes.brow_thick * (1 - 0.45 * smooth(t * 0.9 + 0.1))
    hairs = wave(canvas.u * 21 + canvas.v * canvas.u.sign() * 14)
    body = canvas.edge(y.abs() - thickness - 0.003 * hairs) * smooth((1.0 - t.abs()) * 5)
    strength = 0.70 + 0.2 * eyes.bushy + 0.07 * hairs
    canvas.paint(body * strength, hair.color * 0.55)


def paint_mouth(canvas: Canvas, mouth: Mouth, head: Head) -> None:
    """Lips along a smile or a frown, closed or open on teeth."""
    canvas = canvas.window(-0.5, 0.5, 0.05, 0.65)
    u = canvas.u
    t = u * (1 / mouth.width)
    t2 = t * t
    arc = 1 - t2
    y = canvas.v - MOUTH_V - mouth.smile * 0.075 * (0.45 - t2)
    roof, floor = y + 0.35 * mouth.gap * arc, y - mouth.gap * arc
    bow = 1 - 0.28 * bump(u, u * 0, 0.06, 1.0)
    lips = torch.maximum(-roof - mouth.upper * arc * bow, floor - mouth.lower * arc)
    fullness = 1 + 0.25 * bump(u - head.light_x * 0.04, floor - mouth.lower * 0.55, 0.10, 0.022)
    fullness -= 0.18 * (roof < 0)
    canvas.paint(canvas.edge(lips), mouth.lips * fullness)
    opening = canvas.edge(torch.maximum(-roof, floor)) * mouth.open
    canvas.paint(opening, torch.tensor(_THROAT, device=u.device)[:, None, None, None])
    teeth = canvas.edge(roof - mouth.gap * (0.45 + 0.5 * mouth.smiling) * arc) * opening
    canvas.paint(teeth, 0.93 - 0.1 * t2[None])
    seam = canvas.line(roof, 0.007) * smooth(arc * 6 + 0.5) * (1 - 0.6 * mouth.open)
    corner = bump(u.abs() - mouth.width, y - 0.0, 0.03, 0.03)
    crease = bump(u.abs() - mouth.width - 0.055 + (y + 0.05) * 0.5, y + 0.04, 0.02, 0.10) * mouth.smiling
    canvas.shade(1 - 0.55 * seam - 0.3 * corner - 0.13 * crease)
