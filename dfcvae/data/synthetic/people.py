"""Who each face is: random anatomy, grooming, dress and background, and the CelebA attributes that are true of it.

Numbers are fields of shape (N, 1, 1), colours (3, N, 1, 1), lengths in half images; `v` is the height counted down
from the eyes. Probabilities follow the rough frequencies and correlations of CelebA, but nothing is certain, so that
attributes can be told apart.
"""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from dfcvae.data.synthetic.dice import Dice, palette, periodic_noise, ramp

BEANIE, CAP, WIDE_BRIM = 1, 2, 3

_SKIN = palette("ffe3d3 f6cfb6 e9b892 d09a70 a9744c 7d5236 553523")
_PALE_TONE = 0.09  # the part of the skin ramp called pale
_NATURAL_LIPS = torch.tensor([0.84, 0.60, 0.60])[:, None, None, None]  # relative to the skin
_BLACK, _BROWN, _BLOND, _GRAY, _RED = range(5)
_HAIR = "17130f 1d1a1c 241c17, 4a2f1d 5c3c22 6e4a2c, d9b25f e6c87f c99f54, 9c9a98 b9b6b2 d2cfca, a4451d 8e3418 b8582a"
_ACCENT = "f2efe6 1b2433 c9a13b b03a3a 6f9fc0 e3b7c0"


class People(SimpleNamespace):
    """The traits of N faces, by name; the face axis is the third from the end of every field."""

    def of(self, chosen: Tensor | slice) -> "People":
        """The traits of some of the faces."""
        return People(**{name: f[:, chosen] if f.dim() == 4 else f[chosen] for name, f in vars(self).items()})


def draw_people(dice: Dice) -> People:
    """The random traits of the faces behind `dice`."""
    p = People()
    for traits in (_head, _mouth, _eyes, _hair, _beard, _dress, _scene):
        traits(p, dice)
    return p


def _haired(p: People) -> Tensor:
    """Whose hair is seen: what a hat hides is not true of the picture."""
    return ~p.bald & (p.hat == 0)


_TRUTHS: dict[str, Callable[[People], Tensor]] = {
    "5_o_Clock_Shadow": lambda p: p.stubble,
    "Arched_Eyebrows": lambda p: p.arched,
    "Bald": lambda p: p.bald & (p.hat == 0),
    "Bangs": lambda p: p.bangs & _haired(p),
    "Big_Lips": lambda p: p.big_lips,
    "Big_Nose": lambda p: p.big_nose,
    "Black_Hair": lambda p: _haired(p) & (p.hair_kind == _BLACK),
    "Blond_Hair": lambda p: _haired(p) & (p.hair_kind == _BLOND),
    "Brown_Hair": lambda p: _haired(p) & (p.hair_kind == _BROWN),
    "Bushy_Eyebrows": lambda p: p.bushy,
    "Eyeglasses": lambda p: p.glasses,
    "Goatee": lambda p: p.goatee,
    "Gray_Hair": lambda p: _haired(p) & (p.hair_kind == _GRAY),
    "Heavy_Makeup": lambda p: p.makeup,
    "Male": lambda p: p.male,
    "Mouth_Slightly_Open": lambda p: p.open,
    "Mustache": lambda p: p.mustache,
    "Narrow_Eyes": lambda p: p.narrow,
    "No_Beard": lambda p: ~(p.stubble | p.mustache | p.goatee | p.full_beard),
    "Pale_Skin": lambda p: p.pale,
    "Receding_Hairline": lambda p: p.receding & _haired(p),
    "Rosy_Cheeks": lambda p: p.rosy,
    "Sideburns": lambda p: p.sideburns,
    "Smiling": lambda p: p.smiling,
    "Straight_Hair": lambda p: p.straight & _haired(p),
    "Wavy_Hair": lambda p: p.wavy & _haired(p),
    "Wearing_Earrings": lambda p: p.earrings,
    "Wearing_Hat": lambda p: p.hat > 0,
    "Wearing_Lipstick": lambda p: p.lipstick,
    "Wearing_Necklace": lambda p: p.necklace,
    "Wearing_Necktie": lambda p: p.necktie,
}
ATTRIBUTES: tuple[str, ...] = tuple(_TRUTHS)


def attributes_of(people: People) -> Tensor:
    """The attributes of `people` in the order of ATTRIBUTES, bool (N, len(ATTRIBUTES))."""
    return torch.stack([true(people).view(-1) for true in _TRUTHS.values()], dim=1)


def _head(p: People, dice: Dice) -> None:
    """Skull, skin and nose."""
    p.male = dice.chance("male", 0.46)
    p.old = dice.chance("old", 0.22)
    tone = dice.uniform("tone")
    p.pale = tone < _PALE_TONE
    # Pale skin sits apart from the rest of the ramp, so that the label is a fact one can see.
    skin = ramp(torch.where(p.pale, tone * 0.3, 0.14 + 0.86 * tone * tone), _SKIN)
    hue = dice.bell("hue", -0.03, 0.03)
    p.skin = (skin + torch.stack([hue * 0, hue, -hue])).clamp(0, 1)
    p.head_width = dice.bell("head width", 0.43, 0.54) + p.male * 0.015  # half of it, at the temples
    p.chin = dice.bell("chin", 0.60, 0.70) + p.male * 0.02
    p.crown = dice.bell("crown", -0.70, -0.58)
    p.jaw = (dice.bell("jaw", 0, 0.8) + p.male * 0.25).clamp(0, 1)  # 0 pointed ... 1 square
    p.big_nose = dice.chance("big nose", torch.where(p.male, 0.3, 0.14))
    p.nose = dice.bell("nose", 0.8, 1.05) + p.big_nose * 0.4
    p.rosy = dice.chance("rosy", torch.where(p.male, 0.05, 0.19))
    p.freckled = dice.chance("freckled", 0.16)


def _mouth(p: People, dice: Dice) -> None:
    p.lipstick = dice.chance("lipstick", torch.where(p.male, 0.03, 0.58))
    painted = dice.color("lipstick color", "b3172c 8e1330 d0335a e0567a c4453c 7a1f45", 0.04)
    p.lips = torch.where(p.lipstick, painted, p.skin * _NATURAL_LIPS)
    p.smiling = dice.chance("smiling", 0.48)
    p.mouth_width = dice.bell("mouth width", 0.135, 0.185) + p.smiling * 0.035
    # curvature, negative for a frown
    p.smile = torch.where(p.smiling, dice.uniform("smile", 0.75, 1.3), dice.uniform("frown", -0.20, 0.30))
    p.open = dice.chance("open", torch.where(p.smiling, 0.68, 0.28))
    p.gap = p.open * dice.uniform("gap", 0.03, 0.062)  # half the height of the opening
    p.big_lips = dice.chance("full lips", torch.where(p.male, 0.15, 0.32))
    swell = 1 + p.big_lips * 0.75
    p.upper_lip = dice.bell("upper lip", 0.024, 0.036) * swell
    p.lower_lip = dice.bell("lower lip", 0.032, 0.046) * swell


def _eyes(p: People, dice: Dice) -> None:
    """Eyes and eyebrows."""
    p.makeup = dice.chance("makeup", torch.where(p.lipstick, 0.55, 0.06))
    p.shadow = dice.color("eye shadow", "5a3a66 3f4f7a 7a4a3a 386a66 3a3338", 0.05)
    p.narrow = dice.chance("narrow eyes", 0.13)
    # the height of the lids' arcs
    p.upper_lid = torch.where(p.narrow, dice.bell("slit", 0.026, 0.034), dice.bell("wide", 0.050, 0.068))
    p.lower_lid = p.upper_lid * (0.62 - p.smiling * 0.12)
    is_brown = dice.chance("brown eyes", torch.where(p.skin[1] < 0.55, 0.92, 0.25))
    brown = dice.color("brown iris", "4a2c17 3a2416 6b4a22 2c1a10", 0.03)
    p.iris = torch.where(is_brown, brown, dice.color("iris", "4d6b8f 6f93b0 5d7a4e 7c8a55", 0.04))
    p.apart = p.head_width * dice.bell("eyes apart", 0.44, 0.50)  # distance of an eye from the middle
    p.gaze_x = dice.bell("gaze x", -0.035, 0.035)
    p.gaze_y = dice.bell("gaze y", -0.012, 0.012)
    p.lash = 0.007 + ~p.male * 0.005 + p.makeup * 0.006  # half the thickness of the lash line
    p.arched = dice.chance("arched", torch.where(p.male, 0.10, 0.42))
    p.bushy = ~p.arched & dice.chance("bushy", torch.where(p.male, 0.38, 0.10))
    p.brow_v = dice.bell("brow", -0.175, -0.135) - p.arched * 0.012
    p.brow_thick = torch.where(p.bushy, dice.bell("bush", 0.040, 0.052), dice.bell("thin", 0.016, 0.026))
    p.brow_arch = torch.where(p.arched, dice.bell("arch", 0.060, 0.085), dice.bell("flat", 0.004, 0.026))
    p.brow_slope = dice.bell("brow slope", -0.035, 0.015)


def _hair(p: People, dice: Dice) -> None:
    dark = p.skin[1] < 0.5  # dark skin goes mostly, not always, with black and brown hair
    gray = dice.chance("gray", torch.where(p.old, 0.6, 0.05))
    roll = dice.uniform("hair kind")
    edges = torch.where(dark, 0.58, 0.30), torch.where(dark, 0.86, 0.61), torch.where(dark, 0.93, 0.90)
    kind = (roll > edges[0]).long() + (roll > edges[1]) + (roll > edges[2]) * 2
    p.hair_kind = torch.where(gray, _GRAY, kind)
    p.hair_color = torch.zeros_like(p.skin)
    for which, shades in enumerate(_HAIR.split(", ")):
        p.hair_color = torch.where(p.hair_kind == which, dice.color(f"hair/{which}", shades, 0.02), p.hair_color)
    p.gloss = dice.uniform("gloss", 0.1, 0.5)
    locks, fine = periodic_noise(dice.table("strands/locks", 32), 1024), dice.table("strands/fine", 85)
    p.strands = (locks * 1.8 + periodic_noise(fine, 1024) * 1.4 - 1.6)[:, None]  # (N, 1, 1024) brightness across them
    texture = dice.uniform("hair texture")
    p.wavy = texture < torch.where(p.male, 0.33, 0.45)
    p.straight = texture > 0.60
    p.swing = torch.where(p.wavy, dice.bell("swing", 0.05, 0.09), ~p.straight * 0.02)  # amplitude of the waves
    p.swings = dice.bell("swings", 1.6, 3.4)  # waves per unit of length
    p.phase = dice.uniform("phase")
    style = dice.uniform("hair style")
    p.bald = style < torch.where(p.male, 0.14, 0.03)
    p.long = style > torch.where(p.male, 0.86, 0.22)  # falls below the ears
    volume = dice.bell("volume", 0.02, 0.09) + p.long * 0.03 + p.wavy * 0.03
    p.hair_width = p.head_width + volume  # half of its outline's
    p.hair_top = p.crown - volume - 0.02
    p.hair_end = torch.where(p.long, dice.bell("length", 0.25, 1.5), dice.uniform("ear", -0.06, 0.04))
    p.opening = p.head_width * torch.where(p.long, dice.bell("curtain", 0.80, 0.98), 0.96)  # for the face
    p.hairline = dice.bell("hairline", -0.43, -0.33)
    p.receding = ~p.bald & ~p.long & dice.chance("receding", torch.where(p.male, 0.36, 0.12))
    p.recede = p.receding * dice.uniform("recede", 0.14, 0.22)
    p.part = dice.uniform("part", -0.22, 0.22)
    p.sweep = torch.where(p.receding, -0.10, dice.uniform("sweep", -0.15, 0.35))  # fall away from the parting
    p.bangs = ~p.bald & ~p.receding & dice.chance("bangs", torch.where(p.male, 0.16, 0.36))
    p.fringe = dice.bell("fringe", -0.22, -0.12)  # v of the lower end of the bangs


def _beard(p: People, dice: Dice) -> None:
    grows = p.male | dice.chance("bearded lady", 0.04)  # rare, not impossible
    roll = torch.where(grows, dice.uniform("beard"), 0.0)
    p.beard_color = p.hair_color * dice.uniform("beard shade", 0.65, 0.9)
    p.beard_length = dice.bell("beard length", 0.0, 0.12)
    p.stubble = (roll > 0.40) & (roll < 0.56)
    p.goatee = (roll > 0.68) & (roll < 0.84)
    p.full_beard = roll > 0.84
    p.mustache = ((roll > 0.56) & (roll < 0.68)) | p.full_beard | (p.goatee & dice.chance("circle beard", 0.5))
    burns = dice.chance("sideburns", torch.where(p.male, 0.24, 0.02))
    p.sideburns = p.full_beard | (~p.long & ~p.bald & burns)


def _dress(p: People, dice: Dice) -> None:
    p.cloth = dice.color("cloth", "2b3a55 7b1e2b e8e4da 222222 3f6b4f b8894a 5a4b7a c4d3df d88a9a", 0.06)
    p.accent = dice.color("accent", _ACCENT, 0.06)
    p.cloth_pattern = dice.pick("cloth pattern", 4)  # plain, stripes, checks, dots
    p.cloth_pitch = dice.uniform("cloth pitch", 5.0, 8.5)  # pattern repeats per unit of length
    p.neckline = dice.uniform("neckline", 0.02, 0.16)  # depth below the neck's root
    p.necktie = dice.chance("necktie", torch.where(p.male, 0.24, 0.03))
    p.tie = dice.color("tie", "8b1a26 1f3566 2f5d44 6a2f6b b5812c 30343a", 0.05)
    p.necklace = ~p.necktie & ~p.full_beard & dice.chance("necklace", torch.where(p.male, 0.06, 0.34))
    p.metal = dice.color("metal", "e5c158 d8dce0 f3efe4", 0.03)
    p.earrings = dice.chance("earrings", torch.where(p.male, 0.05, 0.42))
    p.drop = dice.uniform("drop", 0.0, 0.12)  # length of the earrings
    p.hat = dice.chance("hatted", torch.where(p.bald, 0.22, 0.10)) * (1 + dice.pick("hat", 3))
    p.felt = dice.color("felt", "2b2b30 7a2330 35507a 8a6a44 4c5a3c d9d0bd c2703a", 0.05)
    p.band = dice.color("band", _ACCENT, 0.05)
    p.brim_v = dice.bell("brim", -0.36, -0.27)
    p.glasses = dice.chance("glasses", torch.where(p.old, 0.32, 0.13))
    p.frame = dice.color("frame", "161414 4a2b1a 8a8d92 b08a3e 7a1f2c 27406a", 0.03)
    p.rim = dice.uniform("rim", 0.010, 0.022)  # half the thickness of the frame
    p.lens_width = dice.bell("lens width", 0.155, 0.19)
    p.lens_height = dice.bell("lens height", 0.10, 0.15)
    p.round = dice.uniform("round")  # 0 rectangular ... 1 elliptic lenses
    p.tint = dice.color("tint", "0d0d10 2b1c12 1a2630", 0.03)
    sunny = dice.chance("sunny", 0.3)
    p.shade = torch.where(sunny, dice.uniform("sunglasses", 0.55, 0.93), dice.uniform("clear", 0.02, 0.12))


def _scene(p: People, dice: Dice) -> None:
    """Pose, light and background."""
    p.dx = dice.bell("dx", -0.07, 0.07)
    p.dy = dice.bell("dy", -0.05, 0.05)
    p.tilt = dice.bell("tilt", -0.22, 0.22)  # sine of the roll angle
    p.scale = dice.bell("scale", 0.90, 1.20)
    p.yaw = dice.uniform("yaw", -1, 1)  # turned left or right
    p.light_x = dice.uniform("light x", -1, 1)
    p.light_y = dice.uniform("light y", -0.9, 0.1)
    p.near = dice.color("near", "8fa3b5 c9bfae 5d7060 3c4657 b58a72 d9dde0 74606e 2f2b2b a3b58a", 0.08)
    p.far = dice.color("far", "4a5866 efe9dd 2e3d30 7f8ea0 6e4a3a a9b4bd 40323d 5a5450 5f7a4a", 0.08)
    p.background = dice.pick("background", 5)  # gradient, blur, stripes, bricks, foliage
    p.angle = dice.uniform("angle", -0.98, 0.98)  # sine of the direction of gradients and stripes
    p.pitch = dice.uniform("background pitch", 3.0, 6.0)
    p.cells = dice.table("cells", 7, 7) * 2 - 1
    p.coarse_grain = dice.table("coarse grain", 25, 25) * 2 - 1  # with the next, the fine texture of everything
    p.fine_grain = dice.table("fine grain", 37, 37) * 2 - 1
    p.spots = dice.table("spots", 3, 16, 16).transpose(0, 1)  # places and tones of freckles, leaves and lights
