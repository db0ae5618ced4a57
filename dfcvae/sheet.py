"""Labelled pictures of faces and animations of them, drawn with Pillow, which every command and the explorer share."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from dfcvae.images import grid, save_animation, save_png, to_float, to_image, to_rgb, to_uint8

SIDE = 128  # pixels; smaller faces are enlarged to at least this
GAP = 3  # pixels between faces
LETTERS, SMALL_LETTERS, NARROW = 13, 9, 64  # pixels: height of letters, and above faces narrower than the last
ONE_WAY = 16  # frames of an animation, at least; with the way back 30
SECONDS = 3.0  # of an animation, there and back
save = save_png


def enlarge(images: Tensor, scale: int | None = None) -> Tensor:
    """Images (N, C, H, W) in [0, 1] as RGB (N, 3, scale H, scale W), smoothly (bicubic).

    Args:
        images: of any size.
        scale: factor (default: the smallest with which the long side has 128 pixels or more).
    """
    scale = scale or -(-SIDE // max(images.shape[-2:]))
    images = to_float(to_uint8(to_rgb(images).cpu()))  # so that differences in the last bit stay invisible
    return images if scale == 1 else interpolate(images, scale_factor=scale, mode="bicubic").clamp(0, 1)


def sheet(
    faces: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = (), scale: int | None = None
) -> Image.Image:
    """Faces in a grid on white, with a label left of each row and above each column.

    Args:
        faces: (R, S, C, H, W) in [0, 1].
        rows: R labels, which may have several lines, or none.
        columns: S labels, shortened to the width of a face, or none.
        scale: see `enlarge`.
    """
    tiles = enlarge(faces.flatten(0, 1), scale)
    height, width = tiles.shape[-2:]
    font = ImageFont.load_default(LETTERS)
    small = ImageFont.load_default(LETTERS if width >= NARROW else SMALL_LETTERS)
    picture = to_image(grid(tiles, columns=faces.shape[1], pad=GAP))
    left = round(max((font.getlength(line) for label in rows for line in label.split("\n")), default=-8)) + 8
    above = LETTERS + 6 if any(columns) else 0
    canvas = Image.new("RGB", (picture.width + left, picture.height + above), "white")
    canvas.paste(picture, (left, above))
    draw = ImageDraw.Draw(canvas)
    for i, label in enumerate(columns):
        centre = left + GAP + (width + GAP) * i + width / 2
        draw.text((centre, above / 2 + 1), _shortened(label, width, small), "black", small, "mm")
    for i, label in enumerate(rows):
        middle = above + GAP + (height + GAP) * i + height / 2
        draw.multiline_text((left - 4, middle), label, "black", font, "rm", align="right")
    return canvas


def _shortened(label: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A label, cut off where it is wider than a face."""
    shown = label
    while len(shown) > 1 and font.getlength(shown) > width:
        shown = shown[:-2] + "…"
    return shown


def numbered(images: Tensor, columns: int = 8, scale: int | None = None) -> Image.Image:
    """Images (N, C, H, W) line by line; the number of one, from 0, is the label of its row plus that of its column."""
    columns = min(columns, len(images))
    labels = [f"+{i}" for i in range(columns)], [str(i) for i in range(0, len(images), columns)]
    return sheet(lines(images, columns), labels[1], labels[0], scale)


def lines(images: Tensor, columns: int) -> Tensor:
    """Images (N, C, H, W) as lines (R, columns, C, H, W), the last one filled up with white."""
    blank = images.new_ones(-len(images) % columns, *images.shape[1:])
    return torch.cat([images, blank]).unflatten(0, (-1, columns))


def save_moving(
    frames: Sequence[Image.Image], path: str | Path, *, back: bool = True, seconds: float = SECONDS
) -> Path:
    """Write frames of equal size as a GIF or MP4 that loops.

    Args:
        frames: in order.
        path: a .gif or .mp4 file.
        back: append the frames in reverse; else the last one leads to the first.
        seconds: duration of the loop, which is longer where a frame would last less than 20 ms.

    Raises:
        UserError: for another suffix, or if PyAV is needed and missing.
    """
    moving = [*frames, *frames[-2:0:-1]] if back else frames
    return save_animation(moving, path, max(0.02, seconds / len(moving)))
