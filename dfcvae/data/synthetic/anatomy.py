"""The parts a face is described by, each a group of random traits.

Numbers are fields of shape (N, 1, 1), colours (3, N, 1, 1), lengths in half images, `v` counted
down from the eyes.
"""

from typing import NamedTuple

from torch import Tensor


class Pose(NamedTuple):
    """Where the face is in the frame."""

    dx: Tensor
    dy: Tensor
    tilt: Tensor  # sine of the roll angle
    scale: Tensor
    yaw: Tensor  # -1 ... 1, turned left or right


class Head(NamedTuple):
    """Skull, skin and the light on them."""

    male: Tensor  # bool
    pale: Tensor  # bool
    old: Tensor  # bool
    skin: Tensor
    width: Tensor  # half-width at the temples
    chin: Tensor  # v of the chin
    crown: Tensor  # v of the top of the skull
    jaw: Tensor  # 0 pointed ... 1 square
    light_x: Tensor
    light_y: Tensor
    big_nose: Tensor  # bool
    nose: Tensor  # size, about 1
    rosy: Tensor  # bool
    freckled: Tensor  # bool


class Eyes(NamedTuple):
    """Eyes and eyebrows."""

    iris: Tensor
    apart: Tensor  # distance of an eye from the middle
    upper: Tensor  # height of the upper lid's arc
    lower: Tensor
    narrow: Tensor  # bool
    gaze_x: Tensor
    gaze_y: Tensor
    lash: Tensor  # half-thickness of the lash line
    makeup: Tensor  # bool
    shadow: Tensor
    brow_v: Tensor
    brow_thick: Tensor
    brow_arch: Tensor
    brow_slope: Tensor
    bushy: Tensor  # bool
    arched: Tensor  # bool


class Mouth(NamedTuple):
    """Lips and expression."""

    lips: Tensor
    lipstick: Tensor  # bool
    width: Tensor
    smiling: Tensor  # bool
    smile: Tensor  # curvature, negative is a frown
    open: Tensor  # bool
    gap: Tensor  # half the height of the opening
    full: Tensor  # bool
    upper: Tensor  # lip heights
    lower: Tensor


class Hair(NamedTuple):
    """Hair on the head."""

    color: Tensor
    kind: Tensor  # int64, which of the five colour families
    bald: Tensor  # bool
    long: Tensor  # bool, falls below the ears
    width: Tensor  # half-width of its outline
    top: Tensor  # v of its top
    length: Tensor  # v of its lower end
    opening: Tensor  # half-width of the face's opening in it
    hairline: Tensor  # v of the top of that opening
    part: Tensor  # sideways place of the parting
    sweep: Tensor  # how much lower the hair falls away from the parting
    receding: Tensor  # bool
    recede: Tensor
    bangs: Tensor  # bool
    fringe: Tensor  # v of the lower end of the bangs
    wavy: Tensor  # bool
    straight: Tensor  # bool
    swing: Tensor  # amplitude of the waves
    swings: Tensor  # waves per unit of length
    phase: Tensor
    gloss: Tensor
    strands: Tensor  # (N, 1, 1024) brightness across the strands


class Beard(NamedTuple):
    """Hair on the face."""

    color: Tensor
    stubble: Tensor  # bool, each of these
    mustache: Tensor
    goatee: Tensor
    full: Tensor
    sideburns: Tensor
    length: Tensor


class Wear(NamedTuple):
    """Clothes and accessories."""

    cloth: Tensor
    accent: Tensor
    pattern: Tensor  # int64, an index into the clothes' patterns
    pitch: Tensor  # pattern repeats per unit of length
    neckline: Tensor  # depth of the neckline below the neck's root
    necktie: Tensor  # bool
    tie: Tensor
    necklace: Tensor  # bool
    metal: Tensor
    earrings: Tensor  # bool
    drop: Tensor  # length of the earrings
    hat: Tensor  # int64, 0 for none, else 1 + an index into the hats
    felt: Tensor
    band: Tensor
    brim_v: Tensor
    glasses: Tensor  # bool
    frame: Tensor
    rim: Tensor  # half-thickness of the frame
    lens_width: Tensor
    lens_height: Tensor
    round: Tensor  # 0 rectangular ... 1 elliptic lenses
    tint: Tensor
    shade: Tensor  # opacity of the tint


class Scene(NamedTuple):
    """Background."""

    near: Tensor
    far: Tensor
    pattern: Tensor  # int64, an index into the backgrounds
    angle: Tensor  # sine of the direction of gradients and stripes
    pitch: Tensor
    cells: Tensor  # (N, 7, 7) coarse random values
    coarse_grain: Tensor  # (N, 25, 25), with the next the fine texture of everything in the picture
    fine_grain: Tensor  # (N, 37, 37)
    spots: Tensor  # (3, N, 16, 16) places and tones of freckles, leaves and lights


class People(NamedTuple):
    """Everything about N faces."""

    pose: Pose
    head: Head
    eyes: Eyes
    mouth: Mouth
    hair: Hair
    beard: Beard
    wear: Wear
    scene: Scene
