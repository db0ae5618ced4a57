"""Who each face is: random anatomy, grooming and dress, and the CelebA attributes that are true of it.

Numbers are fields of shape (N, 1, 1), colours (3, N, 1, 1), lengths in half images.  Probabilities follow the
rough frequencies and correlations of CelebA, but nothing is certain, so that attributes can be told apart.
"""

import torch
from torch import Tensor

from dfcvae.data.synthetic.anatomy import Beard, Eyes, Hair, Head, Mouth, People, Pose
from dfcvae.data.synthetic.canvas import palette, ramp
from dfcvae.data.synthetic.dice import Dice, strand_table
from dfcvae.data.synthetic.dress import draw_scene, draw_wear

ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Pale_Skin",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
)

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


def draw_people(dice: Dice) -> People:
    """The random traits of the faces behind `dice`."""
    pose = _pose(dice)
    head = _head(dice)
    mouth = _mouth(dice, head)
    hair = _hair(dice, head)
    beard = _beard(dice, head, hair)
    eyes = _eyes(dice, head, mouth, hair)
    wear = draw_wear(dice, head, hair, beard)
    return People(pose, head, eyes, mouth, hair, beard, wear, draw_scene(dice))


def attributes_of(people: People) -> Tensor:
    """The attributes of `people` in the order of ATTRIBUTES, bool (N, len(ATTRIBUTES))."""
    _, head, eyes, mouth, hair, beard, wear, _ = people
    hatted = wear.hat > 0
    haired = ~hair.bald & ~hatted  # what a hat hides is not true of the picture
    true = {
        "5_o_Clock_Shadow": beard.stubble,
        "Arched_Eyebrows": eyes.arched,
        "Bald": hair.bald & ~hatted,
        "Bangs": hair.bangs & haired,
        "Big_Lips": mouth.full,
        "Big_Nose": head.big_nose,
        "Black_Hair": haired & (hair.kind == _BLACK),
        "Blond_Hair": haired & (hair.kind == _BLOND),
        "Brown_Hair": haired & (hair.kind == _BROWN),
        "Bushy_Eyebrows": eyes.bushy,
        "Eyeglasses": wear.glasses,
        "Goatee": beard.goatee,
        "Gray_Hair": haired & (hair.kind == _GRAY),
        "Heavy_Makeup": eyes.makeup,
        "Male": head.male,
        "Mouth_Slightly_Open": mouth.open,
        "Mustache": beard.mustache,
        "Narrow_Eyes": eyes.narrow,
        "No_Beard": ~(beard.stubble | beard.mustache | beard.goatee | beard.full),
        "Pale_Skin": head.pale,
        "Receding_Hairline": hair.receding & haired,
        "Rosy_Cheeks": head.rosy,
        "Sideburns": beard.sideburns,
        "Smiling": mouth.smiling,
        "Straight_Hair": hair.straight & haired,
        "Wavy_Hair": hair.wavy & haired,
        "Wearing_Earrings": wear.earrings,
        "Wearing_Hat": hatted,
        "Wearing_Lipstick": mouth.lipstick,
        "Wearing_Necklace": wear.necklace,
        "Wearing_Necktie": wear.necktie,
    }
    return torch.stack([true[name].view(-1) for name in ATTRIBUTES], dim=1)


def _by_sex(head: Head, male: float, female: float) -> Tensor:
    return torch.where(head.male, male, female)


def _pose(dice: Dice) -> Pose:
    return Pose(
        dx=dice.bell("dx", -0.07, 0.07),
        dy=dice.bell("dy", -0.05, 0.05),
        tilt=dice.bell("tilt", -0.22, 0.22),
        scale=dice.bell("scale", 0.90, 1.20),
        yaw=dice.uniform("yaw", -1, 1),
    )


def _head(dice: Dice) -> Head:
    male = dice.chance("male", 0.46)
    tone = dice.uniform("tone")
    pale = tone < _PALE_TONE
    # Pale skin sits apart from the rest of the ramp, so that the label is a fact one can see.
    skin = ramp(torch.where(pale, tone * 0.3, 0.14 + 0.86 * tone * tone), _SKIN)
    hue = dice.bell("hue", -0.03, 0.03)
    big_nose = dice.chance("big nose", torch.where(male, 0.3, 0.14))
    return Head(
        male=male,
        pale=pale,
        old=dice.chance("old", 0.22),
        skin=(skin + torch.stack([hue * 0, hue, -hue])).clamp(0, 1),
        width=dice.bell("head width", 0.43, 0.54) + male * 0.015,
        chin=dice.bell("chin", 0.60, 0.70) + male * 0.02,
        crown=dice.bell("crown", -0.70, -0.58),
        jaw=(dice.bell("jaw", 0, 0.8) + male * 0.25).clamp(0, 1),
        light_x=dice.uniform("light x", -1, 1),
        light_y=dice.uniform("light y", -0.9, 0.1),
        big_nose=big_nose,
        nose=dice.bell("nose", 0.8, 1.05) + big_nose * 0.4,
        rosy=dice.chance("rosy", torch.where(male, 0.05, 0.19)),
        freckled=dice.chance("freckled", 0.16),
    )


def _mouth(dice: Dice, head: Head) -> Mouth:
    lipstick = dice.chance("lipstick", _by_sex(head, 0.03, 0.58))
    natural = head.skin * torch.tensor([0.84, 0.60, 0.60], device=head.skin.device)[:, None, None, None]
    smiling = dice.chance("smiling", 0.48)
    opened = dice.chance("open", torch.where(smiling, 0.68, 0.28))
    full = dice.chance("full lips", _by_sex(head, 0.15, 0.32))
    swell = 1 + full * 0.75
    return Mouth(
        lips=torch.where(lipstick, dice.color("lipstick color", _LIPSTICK, 0.04), natural),
        lipstick=lipstick,
        width=dice.bell("mouth width", 0.135, 0.185) + smiling * 0.035,
        smiling=smiling,
        smile=torch.where(smiling, dice.uniform("smile", 0.75, 1.3), dice.uniform("frown", -0.20, 0.30)),
        open=opened,
        gap=opened * dice.uniform("gap", 0.03, 0.062),
        full=full,
        upper=dice.bell("upper lip", 0.024, 0.036) * swell,
        lower=dice.bell("lower lip", 0.032, 0.046) * swell,
    )


def _eyes(dice: Dice, head: Head, mouth: Mouth, hair: Hair) -> Eyes:
    makeup = dice.chance("makeup", torch.where(mouth.lipstick, 0.55, 0.06))
    narrow = dice.chance("narrow eyes", 0.13)
    arched = dice.chance("arched", _by_sex(head, 0.10, 0.42))
    bushy = ~arched & dice.chance("bushy", _by_sex(head, 0.38, 0.10))
    brown = dice.chance("brown eyes", torch.where(head.skin[1] < 0.55, 0.92, 0.25))
    height = torch.where(narrow, dice.bell("slit", 0.026, 0.034), dice.bell("wide", 0.050, 0.068))
    brow_thick = torch.where(bushy, dice.bell("bush", 0.040, 0.052), dice.bell("thin", 0.016, 0.026))
    return Eyes(
        iris=torch.where(brown, dice.color("brown iris", _BROWN_IRIS, 0.03), dice.color("iris", _IRIS, 0.04)),
        apart=head.width * dice.bell("eyes apart", 0.44, 0.50),
        upper=height,
        lower=height * (0.62 - mouth.smiling * 0.12),
        narrow=narrow,
        gaze_x=dice.bell("gaze x", -0.035, 0.035),
        gaze_y=dice.bell("gaze y", -0.012, 0.012),
        lash=0.007 + ~head.male * 0.005 + makeup * 0.006,
        makeup=makeup,
        shadow=dice.color("eye shadow", _EYE_SHADOW, 0.05),
        brow_v=dice.bell("brow", -0.175, -0.135) - arched * 0.012,
        brow_thick=brow_thick,
        brow_arch=torch.where(arched, dice.bell("arch", 0.060, 0.085), dice.bell("flat", 0.004, 0.026)),
        brow_slope=dice.bell("brow slope", -0.035, 0.015),
        bushy=bushy,
        arched=arched,
    )


def _hair_color(dice: Dice, head: Head) -> tuple[Tensor, Tensor]:
    roll = dice.uniform("hair kind")
    luma = head.skin[1]
    dark = luma < 0.5  # dark skin goes mostly, not always, with black and brown hair
    gray = dice.chance("gray", torch.where(head.old, 0.6, 0.05))
    edges = torch.where(dark, 0.58, 0.30), torch.where(dark, 0.86, 0.61), torch.where(dark, 0.93, 0.90)
    kind = (roll > edges[0]).long() + (roll > edges[1]) + (roll > edges[2]) * 2
    kind = torch.where(gray, _GRAY, kind)
    color = torch.zeros_like(head.skin)
    for which, shades in enumerate(_HAIR):
        color = torch.where(kind == which, dice.color(f"hair/{which}", shades, 0.02), color)
    return kind, color


def _hair(dice: Dice, head: Head) -> Hair:
    kind, color = _hair_color(dice, head)
    style = dice.uniform("hair style")
    bald = style < torch.where(head.male, 0.14, 0.03)
    long = style > torch.where(head.male, 0.86, 0.22)
    receding = ~bald & ~long & dice.chance("receding", _by_sex(head, 0.36, 0.12))
    bangs = ~bald & ~receding & dice.chance("bangs", _by_sex(head, 0.16, 0.36))
    texture = dice.uniform("hair texture")
    wavy = texture < torch.where(head.male, 0.33, 0.45)
    straight = texture > 0.60
    volume = dice.bell("volume", 0.02, 0.09) + long * 0.03 + wavy * 0.03
    far = dice.bell("length", 0.25, 1.5)
    return Hair(
        color=color,
        kind=kind,
        bald=bald,
        long=long,
        width=head.width + volume,
        top=head.crown - volume - 0.02,
        length=torch.where(long, far, dice.uniform("ear", -0.06, 0.04)),
        opening=torch.where(long, head.width * dice.bell("curtain", 0.80, 0.98), head.width * 0.96),
        hairline=dice.bell("hairline", -0.43, -0.33),
        part=dice.uniform("part", -0.22, 0.22),
        sweep=torch.where(receding, -0.10, dice.uniform("sweep", -0.15, 0.35)),
        receding=receding,
        recede=receding * dice.uniform("recede", 0.14, 0.22),
        bangs=bangs,
        fringe=dice.bell("fringe", -0.22, -0.12),
        wavy=wavy,
        straight=straight,
        swing=torch.where(wavy, dice.bell("swing", 0.05, 0.09), ~straight * 0.02),
        swings=dice.bell("swings", 1.6, 3.4),
        phase=dice.uniform("phase"),
        gloss=dice.uniform("gloss", 0.1, 0.5),
        strands=strand_table(dice, "strands")[:, None],
    )


def _beard(dice: Dice, head: Head, hair: Hair) -> Beard:
    grows = head.male | dice.chance("bearded lady", 0.04)  # rare, not impossible
    roll = torch.where(grows, dice.uniform("beard"), 0.0)
    stubble = (roll > 0.40) & (roll < 0.56)
    upper = (roll > 0.56) & (roll < 0.68)
    goatee = (roll > 0.68) & (roll < 0.84)
    full = roll > 0.84
    return Beard(
        color=hair.color * dice.uniform("beard shade", 0.65, 0.9),
        stubble=stubble,
        mustache=upper | full | (goatee & dice.chance("circle beard", 0.5)),
        goatee=goatee,
        full=full,
        sideburns=full | (~hair.long & ~hair.bald & dice.chance("sideburns", _by_sex(head, 0.24, 0.02))),
        length=dice.bell("beard length", 0.0, 0.12),
    )
