"""What each face wears and stands in front of: random clothes, accessories and backgrounds."""

import torch
from torch import Tensor

from dfcvae.data.synthetic.anatomy import Beard, Hair, Head, Scene, Wear
from dfcvae.data.synthetic.canvas import palette
from dfcvae.data.synthetic.dice import Dice

CLOTH_PATTERNS = ("plain", "stripes", "checks", "dots")
BACKGROUNDS = ("gradient", "blur", "stripes", "bricks", "foliage")
HATS = ("beanie", "cap", "wide brim")

_CLOTH = palette("2b3a55", "7b1e2b", "e8e4da", "222222", "3f6b4f", "b8894a", "5a4b7a", "c4d3df", "d88a9a")
_ACCENT = palette("f2efe6", "1b2433", "c9a13b", "b03a3a", "6f9fc0", "e3b7c0")
_TIE = palette("8b1a26", "1f3566", "2f5d44", "6a2f6b", "b5812c", "30343a")
_METAL = palette("e5c158", "d8dce0", "f3efe4")
_FELT = palette("2b2b30", "7a2330", "35507a", "8a6a44", "4c5a3c", "d9d0bd", "c2703a")
_FRAME = palette("161414", "4a2b1a", "8a8d92", "b08a3e", "7a1f2c", "27406a")
_TINT = palette("0d0d10", "2b1c12", "1a2630")
_NEAR = palette("8fa3b5", "c9bfae", "5d7060", "3c4657", "b58a72", "d9dde0", "74606e", "2f2b2b", "a3b58a")
_FAR = palette("4a5866", "efe9dd", "2e3d30", "7f8ea0", "6e4a3a", "a9b4bd", "40323d", "5a5450", "5f7a4a")


def draw_wear(dice: Dice, head: Head, hair: Hair, beard: Beard) -> Wear:
    """Random clothes and accessories."""
    hatted = dice.chance("hatted", torch.where(hair.bald, 0.22, 0.10))
    necktie = dice.chance("necktie", torch.where(head.male, 0.24, 0.03))
    necklace = ~necktie & ~beard.full & dice.chance("necklace", torch.where(head.male, 0.06, 0.34))
    glasses = dice.chance("glasses", torch.where(head.old, 0.32, 0.13))
    sunny = dice.chance("sunny", 0.3)
    return Wear(
        cloth=dice.color("cloth", _CLOTH, 0.06),
        accent=dice.color("accent", _ACCENT, 0.06),
        pattern=dice.pick("cloth pattern", len(CLOTH_PATTERNS)),
        pitch=dice.uniform("cloth pitch", 5.0, 8.5),
        neckline=dice.uniform("neckline", 0.02, 0.16),
        necktie=necktie,
        tie=dice.color("tie", _TIE, 0.05),
        necklace=necklace,
        metal=dice.color("metal", _METAL, 0.03),
        earrings=dice.chance("earrings", torch.where(head.male, 0.05, 0.42)),
        drop=dice.uniform("drop", 0.0, 0.12),
        hat=hatted * (1 + dice.pick("hat", len(HATS))),
        felt=dice.color("felt", _FELT, 0.05),
        band=dice.color("band", _ACCENT, 0.05),
        brim_v=dice.bell("brim", -0.36, -0.27),
        glasses=glasses,
        frame=dice.color("frame", _FRAME, 0.03),
        rim=dice.uniform("rim", 0.010, 0.022),
        lens_width=dice.bell("lens width", 0.155, 0.19),
        lens_height=dice.bell("lens height", 0.10, 0.15),
        round=dice.uniform("round"),
        tint=dice.color("tint", _TINT, 0.03),
        shade=torch.where(sunny, dice.uniform("sunglasses", 0.55, 0.93), dice.uniform("clear", 0.02, 0.12)),
    )


def draw_scene(dice: Dice) -> Scene:
    """Random backgrounds."""

    def noise(name: str, side: int) -> Tensor:
        return dice.table(name, side, side) * 2 - 1

    return Scene(
        near=dice.color("near", _NEAR, 0.08),
        far=dice.color("far", _FAR, 0.08),
        pattern=dice.pick("background", len(BACKGROUNDS)),
        angle=dice.uniform("angle", -0.98, 0.98),
        pitch=dice.uniform("background pitch", 3.0, 6.0),
        cells=noise("cells", 7),
        coarse_grain=noise("coarse grain", 25),
        fine_grain=noise("fine grain", 37),
        spots=dice.table("spots", 3, 16, 16).transpose(0, 1),
    )
