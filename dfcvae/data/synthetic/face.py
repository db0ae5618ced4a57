"""The painted head: skin, ears, nose, eyes, eyebrows, mouth, hair and beard."""

from typing import NamedTuple

import torch
from torch import Tensor

from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, scatter, smooth, wave
from dfcvae.data.synthetic.people import Traits

MOUTH_V = 0.39
NOSE_V = 0.21
_THROAT = (0.28, 0.06, 0.07)


def head_distance(canvas: Canvas, head: Traits) -> Tensor:
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


def paint_ears(canvas: Canvas, head: Traits) -> None:
    """Two ears at the height between eyes and nose."""
    canvas = canvas.window(-0.85, 0.85, -0.35, 0.4)
    x, y = canvas.u.abs() - head.width * 0.99, canvas.v - 0.06
    ear = canvas.edge((ellipse(x, y, 0.065, 0.125) - 1) * 0.04)
    inner = bump(x - 0.02, y, 0.045, 0.09)
    canvas.paint(ear, head.skin * (0.88 - 0.35 * inner + canvas.u * head.light_x * 0.25))


def paint_skin(canvas: Canvas, head: Traits) -> None:
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


def _relief(canvas: Canvas, head: Traits) -> Tensor:
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


def _nose(canvas: Canvas, head: Traits) -> Tensor:
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


def paint_freckles(canvas: Canvas, head: Traits, scene: Traits) -> None:
    """Brown spots over nose and cheeks."""
    canvas = canvas.window(-0.7, 0.7, -0.25, 0.4)
    x, y, tone = scatter(canvas.u * 15 + canvas.v * 4, canvas.v * 15 - canvas.u * 4, scene.spots)
    size = 0.10 + 0.20 * tone
    spot = canvas.edge((ellipse(x, y, size, size) - 1) * size * 0.03) * (tone > 0.4)
    canvas.shade(1 - 0.36 * spot * smooth(bump(canvas.u, canvas.v - 0.11, head.width, 0.22) * 3))


def paint_age(canvas: Canvas, head: Traits) -> None:
    """Lines across the forehead, bags under the eyes, folds beside the mouth."""
    canvas = canvas.window(-0.7, 0.7, -0.65, 0.5)
    u, v = canvas.u, canvas.v
    forehead = bump(u, v + 0.30, 0.34, 0.12) * wave(v * 15 + u * u)
    bags = bump(u.abs() - head.width * 0.46, v - 0.095, 0.11, 0.03)
    folds = bump(u.abs() - 0.10 - (v - 0.18) * 0.45, v - 0.29, 0.022, 0.13)
    canvas.shade(1 - 0.10 * forehead - 0.16 * bags - 0.22 * folds)


def paint_eyes(canvas: Canvas, eyes: Traits, head: Traits) -> None:
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


def paint_eyebrows(canvas: Canvas, eyes: Traits, head: Traits, hair: Traits) -> None:
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


def paint_mouth(canvas: Canvas, mouth: Traits, head: Traits) -> None:
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


_NOWHERE = 9.0  # a signed distance that is outside everything


class Mane(NamedTuple):
    """The hair of the head at every pixel, whether it will be seen there or not."""

    strand: Tensor  # (N, h, w) dark and light strands, about [-1, 1]
    distance: Tensor  # (N, h, w) signed distance to the outline
    color: Tensor  # (3, N, h, w)


def comb(canvas: Canvas, hair: Traits, head: Traits) -> Mane:
    """Lay out the hair over the whole picture; bald heads have none inside any outline."""
    u, v = canvas.u, canvas.v
    # strands spring from the parting and run down the head
    spread = (v + 1.15).clamp(0.30, 1.05)
    across = (u - hair.part) / spread
    across = across.add_(hair.swing * wave(v * hair.swings + hair.phase + across.abs()))
    count, _, length = hair.strands.shape
    place = (across * (length * 0.28)).add_(4 * length).long().bitwise_and_(length - 1)
    strand = hair.strands.view(count, length).gather(1, place.view(count, -1)).view_as(u)

    # an arch over the head with a ragged lower end
    spring = hair.top * 0.2
    flare = (v - spring).clamp_(min=0).mul_(0.10 * hair.long)
    sway = hair.swing * 0.45 * wave(v * hair.swings + hair.phase)
    outline = arch(u.abs() - flare + sway, v, spring, hair.width, spring - hair.top)
    distance = torch.maximum(outline + 0.012 * strand, v - hair.length - 0.04 * strand)

    band = v + 0.50 + 0.25 * u * u - 0.03 * strand
    gloss = (1 - band * band * 40).clamp_(min=0) * hair.gloss * (0.7 + 0.5 * strand)
    light = 0.90 + 0.27 * strand + u * head.light_x * 0.30 + 0.05 * canvas.grain
    color = (hair.color * light + 0.28 * gloss * (hair.color * 0.6 + 0.4)).clamp_(0, 1)
    return Mane(strand, distance.add_(hair.bald * _NOWHERE), color)


def paint_hair(canvas: Canvas, hair: Traits, mane: Mane) -> None:
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


def paint_scalp(canvas: Canvas, head: Traits) -> None:
    """The shine of a bald head."""
    canvas = canvas.window(-0.7, 0.7, -1, -0.2)
    shine = bump(canvas.u - head.light_x * 0.16, canvas.v - head.crown * 0.72, 0.20, 0.12)
    canvas.paint(shine * 0.45, 1.0)


def paint_beard(canvas: Canvas, beard: Traits, head: Traits) -> None:
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
