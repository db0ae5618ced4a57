"""From the bytes of an image file to the square array that a network sees: decode, crop, resize."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dfcvae.config import DataConfig
from dfcvae.errors import UserError
from dfcvae.fields import Positive, Range, check_fields
from dfcvae.files import LFS_MAGIC

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"))
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF")  # Pillow's names; none of them starts another program
FILTERS = {name: Image.Resampling[name.upper()] for name in ("bilinear", "bicubic", "box")}
CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
DEFAULT_CROP = 148
Crop = Annotated[int, Range(1, CELEBA_WIDTH, f"1 to {CELEBA_WIDTH} pixels")] | Literal["auto", "authors", "full"]
AUTHORS_CROP = 30, 40, 138  # left, top and side of the crop in the code of Hou et al.: not in the centre


class Undecodable(Exception):  # noqa: N818 - a finding about a file, not a failure of the program
    """A file that is not a readable image; the text is a short clause that says why."""


def decode(data: bytes) -> Image.Image:
    """The picture in the bytes of a file: RGB, the first of several, upright, transparent parts on white.

    The file's name does not matter. 16 bits are scaled to 8. Colour profiles are not applied.

    Raises:
        Undecodable: it is not a JPEG, PNG, WebP, BMP or TIFF image, or it is corrupted or truncated.
    """
    try:
        with quiet_pillow():
            # JPEG's draft mode would be faster, but it changes pixels (by up to 7 of 255 after the resize).
            image = Image.open(BytesIO(data), formats=FORMATS)
            image.load()
            plain = image.mode == "RGB" and image.format == "JPEG" and "exif" not in image.info
            return image if plain else upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise Undecodable("too many pixels") from error
    except Undecodable:
        raise
    except Exception as error:  # Pillow raises almost any exception for a corrupted file
        reason = f"corrupted or truncated ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        if not data:
            reason = "empty file"
        elif data.startswith(LFS_MAGIC):
            reason = "a git-lfs pointer: run `git lfs pull`"
        elif isinstance(error, Image.UnidentifiedImageError):
            reason = "not a JPEG, PNG, WebP, BMP or TIFF image"
        raise Undecodable(reason) from error


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silences Pillow's warnings about unusual files; those that cannot be read raise."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB, see `decode`; raises `Undecodable` if its pixels are 32-bit numbers."""
    # old versions of Pillow read 16-bit PNG files in mode "I"
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    with suppress(Exception):  # unreadable EXIF says nothing about the pixels
        image = ImageOps.exif_transpose(image)
    if sixteen_bits:  # Pillow's own conversion clips
        levels = np.asarray(image).astype(np.float64) * (255 / 65535)
        image = Image.fromarray(levels.round().astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise Undecodable("its pixels are 32-bit numbers, whose range is not defined")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


@dataclass(frozen=True)
class Rendering:
    """How an image becomes an array: a square crop, then an antialiased resize (Pillow's).

    The fields are those of `DataConfig`; a UsageError if a value is out of range. A crop in pixels of an aligned CelebA
    image, which is 178 wide, is that fraction of the shorter side of an image of another size. One channel is luma
    (ITU-R 601).
    """

    size: Positive = 64
    channels: Literal[1, 3] = 3
    crop: Crop = "auto"
    filter: Literal["bilinear", "bicubic", "box"] = "bilinear"

    def __post_init__(self) -> None:
        check_fields(self, "data.")

    @staticmethod
    def of(config: DataConfig) -> "Rendering":
        """That of a data configuration."""
        return Rendering(config.size, config.channels, config.crop, config.filter)  # type: ignore[arg-type]  # checked

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The crop (left, top, right, bottom) of an image of this size, rounded as in torchvision, or a UserError."""
        aligned = is_aligned(width, height)
        if self.crop == "authors":
            if not aligned:
                raise UserError(
                    f"crop: 'authors' needs aligned CelebA images ({CELEBA_WIDTH} x {CELEBA_HEIGHT}, or scaled), "
                    f"got an image of {width} x {height}. Choose 'full' or a number."
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
