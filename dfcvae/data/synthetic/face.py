"""The painted head: skin, ears, nose, eyes, eyebrows, mouth, hair and beard."""

import torch
from torch import Tensor

from dfcvae.data.synthetic.canvas import Canvas, arch, bump, ellipse, scatter, wave
from dfcvae.data.synthetic.dice import smooth
from dfcvae.data.synthetic.people import People

MOUTH_V = 0.39
NOSE_V = 0.21
_THROAT = torch.tensor([0.28, 0.06, 0.07])[:, None, None, None]


def head_distance(u: Tensor, v: Tensor, p: People) -> Tensor:
    """Approximate signed distance to the outline of the head: a round skull over a jaw."""
    temples = -0.08
    below = (v - temples).clamp(min=0)
    above = (temples - v).clamp_(min=0).mul_(1 / (temples - p.crown))
    down = below.mul_(1 / (p.chin - temples))
    down = down * down
    # The jaw blends a circle's profile with a squarer one and narrows towards the chin.
    narrow = 1 - (0.22 - 0.12 * p.jaw) * down
    x = u / (p.head_width * narrow)
    down = down * (1 - p.jaw * 0.6 + p.jaw * 0.6 * down)
    return x.mul_(x).add_(above.mul_(above)).add_(down).sub_(1).mul_(p.head_width * 0.5)


def paint_ears(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Two ears at the height between eyes and nose."""
    x, y = u.abs() - p.head_width * 0.99, v - 0.06
    ear = canvas.edge((ellipse(x, y, 0.065, 0.125) - 1) * 0.04)
    inner = bump(x - 0.02, y, 0.045, 0.09)
    canvas.paint(ear, p.skin * (0.88 - 0.35 * inner + u * p.light_x * 0.25))


def paint_skin(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """The face itself: light and shadow, cheeks, nose, freckles and the marks of age."""
    canvas.paint(canvas.edge(head_distance(u, v, p)), p.skin * _relief(canvas, u, v, p))
    cheek = bump(u.abs() - p.head_width * 0.58, v - 0.17, 0.24, 0.19)
    nose_tip = bump(u, v - NOSE_V + 0.01, 0.13, 0.12)
    blush = (cheek * (0.10 + 0.45 * p.rosy)).add_(nose_tip * 0.10)
    for channel, strength in zip(canvas.rgb, (0.08, -0.55, -0.40), strict=True):
        channel.mul_(1 + strength * blush)


def _relief(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> Tensor:
    """Brightness of the skin: a lit dome with sockets, cheekbones and a nose on it."""
    x, y = u * (1 / p.head_width), v * 1.4 - 0.05
    dome = x * p.light_x * 0.30 + y * p.light_y * 0.14
    light = 0.96 + dome - 0.14 * (x * x * x * x)
    light -= 0.13 * bump(u.abs() - p.head_width * 0.46, v + 0.045, 0.17, 0.11)  # eye sockets
    light += 0.07 * bump(u - p.light_x * 0.08, v + 0.36, 0.34, 0.20)  # forehead
    light += 0.06 * bump(u.abs() - p.head_width * 0.55, v - 0.11, 0.17, 0.10)  # cheekbones
    light -= 0.10 * bump(u, v - MOUTH_V - 0.105, 0.13, 0.04)  # below the lips
    light += 0.05 * bump(u, v - p.chin + 0.10, 0.12, 0.09)  # chin
    return light.add_(_nose(u, v, p)).add_(0.02 * canvas.grain)


def _nose(u: Tensor, v: Tensor, p: People) -> Tensor:
    size, along = p.nose, v - 0.04
    light = 0.09 * bump(u, along, 0.05 * size, 0.24)
    light += 0.11 * bump(u - p.light_x * 0.012, v - NOSE_V + 0.035, 0.055 * size, 0.055)
    flank = bump(u + p.light_x * 0.075 * size, along - 0.03, 0.06 * size, 0.22)
    light -= (0.08 + 0.18 * p.light_x.abs()) * flank
    light -= 0.14 * bump(u.abs() - 0.080 * size - 0.02, v - NOSE_V, 0.035, 0.055)
    light -= 0.42 * bump(u.abs() - 0.045 * size, v - NOSE_V - 0.035, 0.042 * size, 0.030)  # nostrils
    return light - 0.13 * bump(u, v - NOSE_V - 0.06, 0.11 * size, 0.045)


def paint_freckles(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Brown spots over nose and cheeks."""
    x, y, tone = scatter(u * 15 + v * 4, v * 15 - u * 4, p.spots)
    size = 0.10 + 0.20 * tone
    spot = canvas.edge((ellipse(x, y, size, size) - 1) * size * 0.03) * (tone > 0.4)
    canvas.shade(1 - 0.36 * spot * smooth(bump(u, v - 0.11, p.head_width, 0.22) * 3))


def paint_age(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Lines across the forehead, bags under the eyes, folds beside the mouth."""
    forehead = bump(u, v + 0.30, 0.34, 0.12) * wave(v * 15 + u * u)
    bags = bump(u.abs() - p.head_width * 0.46, v - 0.095, 0.11, 0.03)
    folds = bump(u.abs() - 0.10 - (v - 0.18) * 0.45, v - 0.29, 0.022, 0.13)
    canvas.shade(1 - 0.10 * forehead - 0.16 * bags - 0.22 * folds)


def paint_eyes(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Lids and lashes, the white of the eyes, iris, pupil and the light in them."""
    side = torch.where(u < 0, -1.0, 1.0)
    x = u * side - p.apart
    y = v + 0.10 * x  # outer corners sit a little higher
    half_width = p.head_width * 0.245
    t = x * (1 / half_width)
    arc = 1 - t * t  # negative beyond the corners, where the lids cross and nothing is inside them
    lid, floor = y + p.upper_lid * arc, p.lower_lid * arc - y
    canvas.paint(bump(x, y + p.upper_lid * 0.9, half_width * 1.3, 0.085) * (p.makeup * 0.75), p.shadow)
    canvas.shade(1 - 0.25 * canvas.line(lid + 0.026, 0.008) * smooth(arc * 3))
    open_eye = canvas.edge(-torch.minimum(lid, floor))
    canvas.paint(open_eye, 0.93 - 0.30 * (1 - lid * (1 / p.upper_lid)).clamp(0, 1))
    x, y = x - p.gaze_x * side, y - p.gaze_y
    from_center = ellipse(x, y, 0.052, 0.052)
    iris = canvas.edge((from_center - 1) * 0.026) * open_eye
    canvas.paint(iris, p.iris * (0.55 + 0.65 * (1 - from_center).clamp(0, 1) + y * 5))
    canvas.paint(canvas.edge((from_center - 0.19) * 0.055) * open_eye, 0.03)
    canvas.paint(bump(x - side * p.light_x * 0.018, y + 0.018, 0.022, 0.022) * open_eye, 1.0)
    canvas.paint(canvas.line(lid, p.lash) * smooth(arc * 5 + 0.6) * 0.9, 0.07)
    canvas.shade(1 - 0.25 * canvas.line(floor, 0.006) * smooth(arc * 5))


def paint_eyebrows(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Tapered arcs of fine hair."""
    t = (u.abs() - p.apart * 1.02) * (1 / (p.head_width * 0.30))
    arch = 1 - (t - 0.15) * (t - 0.15)
    y = v - p.brow_v + p.brow_arch * arch + p.brow_slope * t
    thickness = p.brow_thick * (1 - 0.45 * smooth(t * 0.9 + 0.1))
    hairs = wave(u * 21 + v * u.sign() * 14)
    body = canvas.edge(y.abs() - thickness - 0.003 * hairs) * smooth((1.0 - t.abs()) * 5)
    canvas.paint(body * (0.70 + 0.2 * p.bushy + 0.07 * hairs), p.hair_color * 0.55)


def paint_mouth(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Lips along a smile or a frown, closed or open on teeth."""
    t = u * (1 / p.mouth_width)
    t2 = t * t
    arc = 1 - t2
    y = v - MOUTH_V - p.smile * 0.075 * (0.45 - t2)
    roof, floor = y + 0.35 * p.gap * arc, y - p.gap * arc
    bow = 1 - 0.28 * bump(u, u * 0, 0.06, 1.0)
    lips = torch.maximum(-roof - p.upper_lip * arc * bow, floor - p.lower_lip * arc)
    fullness = 1 + 0.25 * bump(u - p.light_x * 0.04, floor - p.lower_lip * 0.55, 0.10, 0.022)
    fullness -= 0.18 * (roof < 0)
    canvas.paint(canvas.edge(lips), p.lips * fullness)
    opening = canvas.edge(torch.maximum(-roof, floor)) * p.open
    canvas.paint(opening, _THROAT)
    teeth = canvas.edge(roof - p.gap * (0.45 + 0.5 * p.smiling) * arc) * opening
    canvas.paint(teeth, 0.93 - 0.1 * t2)
    seam = canvas.line(roof, 0.007) * smooth(arc * 6 + 0.5) * (1 - 0.6 * p.open)
    corner = bump(u.abs() - p.mouth_width, y, 0.03, 0.03)
    crease = bump(u.abs() - p.mouth_width - 0.055 + (y + 0.05) * 0.5, y + 0.04, 0.02, 0.10) * p.smiling
    canvas.shade(1 - 0.55 * seam - 0.3 * corner - 0.13 * crease)


_NOWHERE = 9.0  # a signed distance that is outside everything


def comb(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> tuple[Tensor, Tensor, Tensor]:
    """The hair of the head at every pixel, whether it will be seen there or not; bald heads have no outline.

    Returns:
        Dark and light strands, about [-1, 1], and the signed distance to the outline, (N, h, w) each; and the colour.
    """
    # strands spring from the parting and run down the head
    spread = (v + 1.15).clamp(0.30, 1.05)
    across = (u - p.part) / spread
    across = across.add_(p.swing * wave(v * p.swings + p.phase + across.abs()))
    count, _, length = p.strands.shape
    place = (across * (length * 0.28)).add_(4 * length).long().bitwise_and_(length - 1)
    strand = p.strands.view(count, length).gather(1, place.view(count, -1)).view_as(u)

    # an arch over the head with a ragged lower end
    spring = p.hair_top * 0.2
    flare = (v - spring).clamp_(min=0).mul_(0.10 * p.long)
    sway = p.swing * 0.45 * wave(v * p.swings + p.phase)
    outline = arch(u.abs() - flare + sway, v, spring, p.hair_width, spring - p.hair_top)
    distance = torch.maximum(outline + 0.012 * strand, v - p.hair_end - 0.04 * strand)

    band = v + 0.50 + 0.25 * u * u - 0.03 * strand
    gloss = (1 - band * band * 40).clamp_(min=0) * p.gloss * (0.7 + 0.5 * strand)
    light = 0.90 + 0.27 * strand + u * p.light_x * 0.30 + 0.05 * canvas.grain
    color = (p.hair_color * light + 0.28 * gloss * (p.hair_color * 0.6 + 0.4)).clamp_(0, 1)
    return strand, distance.add_(p.bald * _NOWHERE), color


def paint_hair(canvas: Canvas, p: People, strand: Tensor, distance: Tensor, color: Tensor) -> None:
    """The hair around the face, everything in the outline but an opening, or the shine of a bald head."""
    u, v = canvas.u, canvas.v
    rise = p.recede * smooth((u.abs() - 0.04) * 5)
    lean = v + rise - p.sweep * ((u - p.part).abs() - 0.2)
    opening = arch(u, lean, p.hairline + 0.30, p.opening, 0.30) + 0.015 * strand
    before = torch.maximum(distance, -opening)
    fringe = torch.maximum(distance, v - p.fringe - 0.05 * strand)
    before = torch.where(p.bangs, torch.minimum(before, fringe), before)
    canvas.shade(1 - 0.22 * canvas.edge(torch.maximum(distance, -opening - 0.03)))
    canvas.paint(canvas.edge(before), color)
    shine = bump(u - p.light_x * 0.16, v - p.crown * 0.72, 0.20, 0.12)
    canvas.paint(shine * (p.bald * 0.45), 1.0)


def paint_beard(canvas: Canvas, u: Tensor, v: Tensor, p: People) -> None:
    """Stubble, full beards, goatees, mustaches and sideburns."""
    x = u.abs()
    hairs = canvas.grain * 0.6 + 0.4 * wave(u * 13 + v * v * u * 7) + 0.4 * wave(u * 9.3 - v * 2 * u)
    skull = head_distance(u, v, p)
    cheek_line = 0.34 - 0.30 * smooth(x * (1 / p.head_width) * 1.5 - 0.5)
    lips = (1 - ellipse(u, v - MOUTH_V - 0.01, 0.19, 0.085)) * 0.08
    jaw = torch.maximum(cheek_line - v, lips)
    growth = p.beard_length * p.full_beard * smooth(v * 4 - 1)
    full = torch.maximum(jaw, skull - growth - 0.015 * hairs - 0.012)
    chin = (ellipse(u, v - p.chin + 0.06, 0.17, 0.15 + p.beard_length * 0.5) - 1) * 0.08
    goatee = torch.maximum(chin, lips) + 0.012 * hairs
    droop = v - MOUTH_V + 0.085 - x * 0.35
    mustache = torch.maximum(droop.abs() - 0.042 * (1.15 - x * 3.2), x - 0.22) + 0.010 * hairs
    strip = torch.maximum((x - p.head_width * 0.93).abs() - 0.055, (v - 0.06).abs() - 0.17) + 0.01 * hairs
    burns = torch.maximum(strip, skull)
    body = torch.full_like(u, _NOWHERE)
    for grown, shape in ((p.full_beard, full), (p.goatee, goatee), (p.mustache, mustache), (p.sideburns, burns)):
        body = torch.where(grown, torch.minimum(body, shape), body)
    shade = smooth(0.5 - jaw * 12) * canvas.edge(skull) * (0.75 + 0.45 * canvas.grain)
    canvas.paint(shade * (p.stubble * 0.62), p.beard_color * 0.6 + 0.08)
    canvas.paint(canvas.edge(body) * 0.94, p.beard_color * (0.88 + 0.28 * hairs))
