"""Who each face is: random anatomy, grooming, dress and background, and the CelebA attributes that are true of it.

Numbers are fields of shape (N, 1, 1), colours (3, N, 1, 1), lengths in half images; `v` is the height counted down
from the eyes. Probabilities follow the rough frequencies and correlations of CelebA, but nothing is certain, so that
attributes can be told apart.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from dfcvae.data.synthetic.dice import Dice, palette, ramp, strand_table

CLOTH_PATTERNS = ("plain", "stripes", "checks", "dots")
BACKGROUNDS = ("gradient", "blur", "stripes", "bricks", "foliage")
HATS = ("no hat", "beanie", "cap", "wide brim")

_SKIN = palette("ffe3d3", "f6cfb6", "e9b892", "d09a70", "a9744c", "7d5236", "553523")
_PALE_TONE = 0.09  # the part of the skin ramp called pale
_BLACK, _BROWN, _BLOND, _GRAY, _RED = range(5)
_HAIR = (
    palette("17130f", "1d1a1c", "241c17"),
    palette("4a2f1d", "5c3c22", "6e4a2c"),
    palette("d9b25f", "e6c87f", "c99f54"),
    palette("9c9a98", "b9b6b2", "d2cfca"),
    palette("a4451d", "8e3418", "b8582a"),
)
_BROWN_IRIS = palette("4a2c17", "3a2416", "6b4a22", "2c1a10")
_IRIS = palette("4d6b8f", "6f93b0", "5d7a4e", "7c8a55")
_LIPSTICK = palette("b3172c", "8e1330", "d0335a", "e0567a", "c4453c", "7a1f45")
_EYE_SHADOW = palette("5a3a66", "3f4f7a", "7a4a3a", "386a66", "3a3338")
_CLOTH = palette("2b3a55", "7b1e2b", "e8e4da", "222222", "3f6b4f", "b8894a", "5a4b7a", "c4d3df", "d88a9a")
_ACCENT = palette("f2efe6", "1b2433", "c9a13b", "b03a3a", "6f9fc0", "e3b7c0")
_TIE = palette("8b1a26", "1f3566", "2f5d44", "6a2f6b", "b5812c", "30343a")
_METAL = palette("e5c158", "d8dce0", "f3efe4")
_FELT = palette("2b2b30", "7a2330", "35507a", "8a6a44", "4c5a3c", "d9d0bd", "c2703a")
_FRAME = palette("161414", "4a2b1a", "8a8d92", "b08a3e", "7a1f2c", "27406a")
_TINT = palette("0d0d10", "2b1c12", "1a2630")
_NEAR = palette("8fa3b5", "c9bfae", "5d7060", "3c4657", "b58a72", "d9dde0", "74606e", "2f2b2b", "a3b58a")
_FAR = palette("4a5866", "efe9dd", "2e3d30", "7f8ea0", "6e4a3a", "a9b4bd", "40323d", "5a5450", "5f7a4a")


class Traits(SimpleNamespace):
    """A group of traits of N faces, by name; the face axis is the third from the end of every field."""

    def of(self, chosen: Tensor | slice) -> "Traits":
        """The traits of some of the faces."""
        return Traits(**{name: f[:, chosen] if f.dim() == 4 else f[chosen] for name, f in vars(self).items()})


class People(NamedTuple):
    """All traits of N faces."""

    pose: Traits
    head: Traits
    eyes: Traits
    mouth: Traits
    hair: Traits
    beard: Traits
    wear: Traits
    scene: Traits


def draw_people(dice: Dice) -> People:
    """The random traits of the faces behind `dice`."""
    pose = Traits(
        dx=dice.bell("dx", -0.07, 0.07),
        dy=dice.bell("dy", -0.05, 0.05),
        tilt=dice.bell("tilt", -0.22, 0.22),  # sine of the roll angle
        scale=dice.bell("scale", 0.90, 1.20),
        yaw=dice.uniform("yaw", -1, 1),  # turned left or right
    )
    head = _head(dice)
    mouth = _mouth(dice, head)
    hair = _hair(dice, head)
    beard = _beard(dice, head, hair)
    return People(
        pose, head, _eyes(dice, head, mouth), mouth, hair, beard, _wear(dice, head, hair, beard), _scene(dice)
    )


def _haired(p: People) -> Tensor:
    """Whose hair is seen: what a hat hides is not true of the picture."""
    return ~p.hair.bald & (p.wear.hat == 0)


_TRUTHS: dict[str, Callable[[People], Tensor]] = {
    "5_o_Clock_Shadow": lambda p: p.beard.stubble,
    "Arched_Eyebrows": lambda p: p.eyes.arched,
    "Bald": lambda p: p.hair.bald & (p.wear.hat == 0),
    "Bangs": lambda p: p.hair.bangs & _haired(p),
    "Big_Lips": lambda p: p.mouth.full,
    "Big_Nose": lambda p: p.head.big_nose,
    "Black_Hair": lambda p: _haired(p) & (p.hair.kind == _BLACK),
    "Blond_Hair": lambda p: _haired(p) & (p.hair.kind == _BLOND),
    "Brown_Hair": lambda p: _haired(p) & (p.hair.kind == _BROWN),
    "Bushy_Eyebrows": lambda p: p.eyes.bushy,
    "Eyeglasses": lambda p: p.wear.glasses,
    "Goatee": lambda p: p.beard.goatee,
    "Gray_Hair": lambda p: _haired(p) & (p.hair.kind == _GRAY),
    "Heavy_Makeup": lambda p: p.eyes.makeup,
    "Male": lambda p: p.head.male,
    "Mouth_Slightly_Open": lambda p: p.mouth.open,
    "Mustache": lambda p: p.beard.mustache,
    "Narrow_Eyes": lambda p: p.eyes.narrow,
    "No_Beard": lambda p: ~(p.beard.stubble | p.beard.mustache | p.beard.goatee | p.beard.full),
    "Pale_Skin": lambda p: p.head.pale,
    "Receding_Hairline": lambda p: p.hair.receding & _haired(p),
    "Rosy_Cheeks": lambda p: p.head.rosy,
    "Sideburns": lambda p: p.beard.sideburns,
    "Smiling": lambda p: p.mouth.smiling,
    "Straight_Hair": lambda p: p.hair.straight & _haired(p),
    "Wavy_Hair": lambda p: p.hair.wavy & _haired(p),
    "Wearing_Earrings": lambda p: p.wear.earrings,
    "Wearing_Hat": lambda p: p.wear.hat > 0,
    "Wearing_Lipstick": lambda p: p.mouth.lipstick,
    "Wearing_Necklace": lambda p: p.wear.necklace,
    "Wearing_Necktie": lambda p: p.wear.necktie,
}
ATTRIBUTES: tuple[str, ...] = tuple(_TRUTHS)


def attributes_of(people: People) -> Tensor:
    """The attributes of `people` in the order of ATTRIBUTES, bool (N, len(ATTRIBUTES))."""
    return torch.stack([true(people).view(-1) for true in _TRUTHS.values()], dim=1)


def _head(dice: Dice) -> Traits:
    """Skull, skin and the light on them."""
    male = dice.chance("male", 0.46)
    tone = dice.uniform("tone")
    pale = tone < _PALE_TONE
    # Pale skin sits apart from the rest of the ramp, so that the label is a fact one can see.
    skin = ramp(torch.where(pale, tone * 0.3, 0.14 + 0.86 * tone * tone), _SKIN)
    hue = dice.bell("hue", -0.03, 0.03)
    big_nose = dice.chance("big nose", torch.where(male, 0.3, 0.14))
    return Traits(
        male=male,
        pale=pale,
        old=dice.chance("old", 0.22),
        skin=(skin + torch.stack([hue * 0, hue, -hue])).clamp(0, 1),
        width=dice.bell("head width", 0.43, 0.54) + male * 0.015,  # half of it, at the temples
        chin=dice.bell("chin", 0.60, 0.70) + male * 0.02,
        crown=dice.bell("crown", -0.70, -0.58),
        jaw=(dice.bell("jaw", 0, 0.8) + male * 0.25).clamp(0, 1),  # 0 pointed ... 1 square
        light_x=dice.uniform("light x", -1, 1),
        light_y=dice.uniform("light y", -0.9, 0.1),
        big_nose=big_nose,
        nose=dice.bell("nose", 0.8, 1.05) + big_nose * 0.4,
        rosy=dice.chance("rosy", torch.where(male, 0.05, 0.19)),
        freckled=dice.chance("freckled", 0.16),
    )


def _mouth(dice: Dice, head: Traits) -> Traits:
    lipstick = dice.chance("lipstick", torch.where(head.male, 0.03, 0.58))
    natural = head.skin * torch.tensor([0.84, 0.60, 0.60], device=head.skin.device)[:, None, None, None]
    smiling = dice.chance("smiling", 0.48)
    opened = dice.chance("open", torch.where(smiling, 0.68, 0.28))
    full = dice.chance("full lips", torch.where(head.male, 0.15, 0.32))
    swell = 1 + full * 0.75
    return Traits(
        lips=torch.where(lipstick, dice.color("lipstick color", _LIPSTICK, 0.04), natural),
        lipstick=lipstick,
        width=dice.bell("mouth width", 0.135, 0.185) + smiling * 0.035,
        smiling=smiling,
        # curvature, negative for a frown
        smile=torch.where(smiling, dice.uniform("smile", 0.75, 1.3), dice.uniform("frown", -0.20, 0.30)),
        open=opened,
        gap=opened * dice.uniform("gap", 0.03, 0.062),  # half the height of the opening
        full=full,
        upper=dice.bell("upper lip", 0.024, 0.036) * swell,
        lower=dice.bell("lower lip", 0.032, 0.046) * swell,
    )


def _eyes(dice: Dice, head: Traits, mouth: Traits) -> Traits:
    """Eyes and eyebrows."""
    makeup = dice.chance("makeup", torch.where(mouth.lipstick, 0.55, 0.06))
    narrow = dice.chance("narrow eyes", 0.13)
    arched = dice.chance("arched", torch.where(head.male, 0.10, 0.42))
    bushy = ~arched & dice.chance("bushy", torch.where(head.male, 0.38, 0.10))
    brown = dice.chance("brown eyes", torch.where(head.skin[1] < 0.55, 0.92, 0.25))
    height = torch.where(narrow, dice.bell("slit", 0.026, 0.034), dice.bell("wide", 0.050, 0.068))
    return Traits(
        iris=torch.where(brown, dice.color("brown iris", _BROWN_IRIS, 0.03), dice.color("iris", _IRIS, 0.04)),
        apart=head.width * dice.bell("eyes apart", 0.44, 0.50),  # distance of an eye from the middle
        upper=height,  # of the upper lid's arc
        lower=height * (0.62 - mouth.smiling * 0.12),
        narrow=narrow,
        gaze_x=dice.bell("gaze x", -0.035, 0.035),
        gaze_y=dice.bell("gaze y", -0.012, 0.012),
        lash=0.007 + ~head.male * 0.005 + makeup * 0.006,  # half the thickness of the lash line
        makeup=makeup,
        shadow=dice.color("eye shadow", _EYE_SHADOW, 0.05),
        brow_v=dice.bell("brow", -0.175, -0.135) - arched * 0.012,
        brow_thick=torch.where(bushy, dice.bell("bush", 0.040, 0.052), dice.bell("thin", 0.016, 0.026)),
        brow_arch=torch.where(arched, dice.bell("arch", 0.060, 0.085), dice.bell("flat", 0.004, 0.026)),
        brow_slope=dice.bell("brow slope", -0.035, 0.015),
        bushy=bushy,
        arched=arched,
    )


def _hair(dice: Dice, head: Traits) -> Traits:
    dark = head.skin[1] < 0.5  # dark skin goes mostly, not always, with black and brown hair
    gray = dice.chance("gray", torch.where(head.old, 0.6, 0.05))
    roll = dice.uniform("hair kind")
    edges = torch.where(dark, 0.58, 0.30), torch.where(dark, 0.86, 0.61), torch.where(dark, 0.93, 0.90)
    kind = (roll > edges[0]).long() + (roll > edges[1]) + (roll > edges[2]) * 2
    kind = torch.where(gray, _GRAY, kind)
    color = torch.zeros_like(head.skin)
    for which, shades in enumerate(_HAIR):
        color = torch.where(kind == which, dice.color(f"hair/{which}", shades, 0.02), color)
    style = dice.uniform("hair style")
    bald = style < torch.where(head.male, 0.14, 0.03)
    long = style > torch.where(head.male, 0.86, 0.22)  # falls below the ears
    receding = ~bald & ~long & dice.chance("receding", torch.where(head.male, 0.36, 0.12))
    texture = dice.uniform("hair texture")
    wavy = texture < torch.where(head.male, 0.33, 0.45)
    straight = texture > 0.60
    volume = dice.bell("volume", 0.02, 0.09) + long * 0.03 + wavy * 0.03
    return Traits(
        color=color,
        kind=kind,
        bald=bald,
        long=long,
        width=head.width + volume,  # half of its outline's
        top=head.crown - volume - 0.02,
        length=torch.where(long, dice.bell("length", 0.25, 1.5), dice.uniform("ear", -0.06, 0.04)),  # v of its end
        opening=torch.where(long, head.width * dice.bell("curtain", 0.80, 0.98), head.width * 0.96),  # for the face
        hairline=dice.bell("hairline", -0.43, -0.33),
        part=dice.uniform("part", -0.22, 0.22),
        sweep=torch.where(receding, -0.10, dice.uniform("sweep", -0.15, 0.35)),  # fall away from the parting
        receding=receding,
        recede=receding * dice.uniform("recede", 0.14, 0.22),
        bangs=~bald & ~receding & dice.chance("bangs", torch.where(head.male, 0.16, 0.36)),
        fringe=dice.bell("fringe", -0.22, -0.12),  # v of the lower end of the bangs
        wavy=wavy,
        straight=straight,
        swing=torch.where(wavy, dice.bell("swing", 0.05, 0.09), ~straight * 0.02),  # amplitude of the waves
        swings=dice.bell("swings", 1.6, 3.4),  # waves per unit of length
        phase=dice.uniform("phase"),
        gloss=dice.uniform("gloss", 0.1, 0.5),
        strands=strand_table(dice, "strands")[:, None],  # (N, 1, 1024) brightness across the strands
    )


def _beard(dice: Dice, head: Traits, hair: Traits) -> Traits:
    grows = head.male | dice.chance("bearded lady", 0.04)  # rare, not impossible
    roll = torch.where(grows, dice.uniform("beard"), 0.0)
    goatee = (roll > 0.68) & (roll < 0.84)
    full = roll > 0.84
    upper = ((roll > 0.56) & (roll < 0.68)) | full | (goatee & dice.chance("circle beard", 0.5))
    burns = dice.chance("sideburns", torch.where(head.male, 0.24, 0.02))
    return Traits(
        color=hair.color * dice.uniform("beard shade", 0.65, 0.9),
        stubble=(roll > 0.40) & (roll < 0.56),
        mustache=upper,
        goatee=goatee,
        full=full,
        sideburns=full | (~hair.long & ~hair.bald & burns),
        length=dice.bell("beard length", 0.0, 0.12),
    )


def _wear(dice: Dice, head: Traits, hair: Traits, beard: Traits) -> Traits:
    """Clothes and accessories."""
    hatted = dice.chance("hatted", torch.where(hair.bald, 0.22, 0.10))
    necktie = dice.chance("necktie", torch.where(head.male, 0.24, 0.03))
    sunny = dice.chance("sunny", 0.3)
    return Traits(
        cloth=dice.color("cloth", _CLOTH, 0.06),
        accent=dice.color("accent", _ACCENT, 0.06),
        pattern=dice.pick("cloth pattern", len(CLOTH_PATTERNS)),
        pitch=dice.uniform("cloth pitch", 5.0, 8.5),  # pattern repeats per unit of length
        neckline=dice.uniform("neckline", 0.02, 0.16),  # depth below the neck's root
        necktie=necktie,
        tie=dice.color("tie", _TIE, 0.05),
        necklace=~necktie & ~beard.full & dice.chance("necklace", torch.where(head.male, 0.06, 0.34)),
        metal=dice.color("metal", _METAL, 0.03),
        earrings=dice.chance("earrings", torch.where(head.male, 0.05, 0.42)),
        drop=dice.uniform("drop", 0.0, 0.12),  # length of the earrings
        hat=hatted * (1 + dice.pick("hat", len(HATS) - 1)),
        felt=dice.color("felt", _FELT, 0.05),
        band=dice.color("band", _ACCENT, 0.05),
        brim_v=dice.bell("brim", -0.36, -0.27),
        glasses=dice.chance("glasses", torch.where(head.old, 0.32, 0.13)),
        frame=dice.color("frame", _FRAME, 0.03),
        rim=dice.uniform("rim", 0.010, 0.022),  # half the thickness of the frame
        lens_width=dice.bell("lens width", 0.155, 0.19),
        lens_height=dice.bell("lens height", 0.10, 0.15),
        round=dice.uniform("round"),  # 0 rectangular ... 1 elliptic lenses
        tint=dice.color("tint", _TINT, 0.03),
        shade=torch.where(sunny, dice.uniform("sunglasses", 0.55, 0.93), dice.uniform("clear", 0.02, 0.12)),
    )


def _scene(dice: Dice) -> Traits:
    return Traits(
        near=dice.color("near", _NEAR, 0.08),
        far=dice.color("far", _FAR, 0.08),
        pattern=dice.pick("background", len(BACKGROUNDS)),
        angle=dice.uniform("angle", -0.98, 0.98),  # sine of the direction of gradients and stripes
        pitch=dice.uniform("background pitch", 3.0, 6.0),
        cells=dice.table("cells", 7, 7) * 2 - 1,
        coarse_grain=dice.table("coarse grain", 25, 25) * 2 - 1,  # with the next, the fine texture of everything
        fine_grain=dice.table("fine grain", 37, 37) * 2 - 1,
        spots=dice.table("spots", 3, 16, 16).transpose(0, 1),  # places and tones of freckles, leaves and lights
    )
