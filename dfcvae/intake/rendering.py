"""From a picture of any size to the square array that a network sees: crop, then antialiased resize."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfcvae.errors import UserError, nearest

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}
CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
DEFAULT_CROP = 148
AUTHORS_CROP = 30, 40, 138  # left, top and side of the crop in the code of Hou et al.: not in the centre
CROPS = ("auto", "authors", "full")


@dataclass(frozen=True)
class Rendering:
    """How an image becomes an array: a square crop, then an antialiased resize (Pillow's).

    Args:
        size: side of the result, in pixels.
        channels: 3 for RGB, 1 for luma (ITU-R 601).
        crop: which square to keep. A number is the side of the central square in pixels of an aligned CelebA image,
            which is 178 wide; in an image of another size it is that fraction of the shorter side. ``"authors"``:
            the 138 pixels from (30, 40) of the DFC-VAE authors' code, for aligned CelebA alone. ``"full"``: the
            largest central square. ``"auto"``: 148 for aligned CelebA images of any size, else ``"full"``.
        filter: a key of `FILTERS`.

    Raises:
        UserError: a value is out of range.
    """

    size: int
    channels: int
    crop: int | str
    filter: str

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"The image size should be at least 1 pixel, not {self.size}.")
        if self.channels not in (1, 3):
            raise UserError(f"Images have 3 channels (RGB) or 1 (luma), not {self.channels}.")
        if isinstance(self.crop, str) and self.crop not in CROPS:
            raise UserError(
                f"The crop should be a number of pixels or one of {', '.join(CROPS)}, not {self.crop!r}"
                f"{nearest(self.crop, CROPS)}."
            )
        if isinstance(self.crop, int) and not 1 <= self.crop <= CELEBA_WIDTH:
            raise UserError(f"The crop should be 1 to {CELEBA_WIDTH} pixels of CelebA's width, not {self.crop}.")
        if self.filter not in FILTERS:
            raise UserError(
                f"The resize filter should be one of {', '.join(FILTERS)}, not {self.filter!r}"
                f"{nearest(self.filter, FILTERS)}."
            )

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The crop (left, top, right, bottom) in an image of this size, rounded as torchvision does.

        Raises:
            UserError: the authors' crop of an image that is not shaped like aligned CelebA.
        """
        aligned = is_aligned(width, height)
        if self.crop == "authors":
            if not aligned:
                raise UserError(
                    f"The crop 'authors' is a place in aligned CelebA images ({CELEBA_WIDTH} x {CELEBA_HEIGHT}, or "
                    f"scaled), but an image of {width} x {height} came. Choose 'full' or a number."
                )
            left, top, side = (round(length * width / CELEBA_WIDTH) for length in AUTHORS_CROP)
            return left, top, left + side, top + side
        pixels = self.crop if isinstance(self.crop, int) else CELEBA_WIDTH
        if self.crop == "auto" and aligned:
            pixels = DEFAULT_CROP
        side = max(1, round(pixels / CELEBA_WIDTH * min(width, height)))
        left, top = round((width - side) / 2), round((height - side) / 2)
        return left, top, left + side, top + side

    def render(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image as uint8 ``(channels, size, size)``."""
        # Not `resize(box=...)`, whose filter looks across the edge of the crop (differs by up to 11 of 255).
        return self.fit(image.crop(self.box(*image.size)))

    def fit(self, face: Image.Image) -> NDArray[np.uint8]:
        """A square RGB image, not cropped further, as uint8 ``(channels, size, size)``."""
        if self.channels == 1:
            face = face.convert("L")
        face = face.resize((self.size, self.size), FILTERS[self.filter])
        pixels: NDArray[np.uint8] = np.asarray(face).reshape(self.size, self.size, -1).transpose(2, 0, 1)
        return pixels


def is_aligned(width: int, height: int) -> bool:
    """Whether an image has the shape of an aligned CelebA image, 178 x 218, at any scale (to within a pixel)."""
    return abs(width - height * CELEBA_WIDTH / CELEBA_HEIGHT) <= 1
