"""From the bytes of an image file to an upright RGB picture, or the reason why there is none."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"))
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF")  # Pillow's names; none of them starts another program
OTHER_KINDS = {
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "a zip",
    b"8BPS": "a Photoshop image",
    b"<!do": "a web page",
    b"<htm": "a web page",
}
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


class Undecodable(Exception):  # noqa: N818 - a finding about a file, not a failure of the program
    """A file is no readable image; the text is a short clause that says why."""


def decode(data: bytes) -> Image.Image:
    """The picture in the bytes of a file: RGB, the first of several, upright, on white where it is transparent.

    What the file is called does not matter. 16 bits become 8 by scaling. Colour profiles are not applied.

    Raises:
        Undecodable: it is no JPEG, PNG, WebP, BMP or TIFF image, or it is damaged or cut short.
    """
    try:
        # JPEG's draft mode would be faster, but it changes pixels (by up to 7 of 255 after the resize).
        image = Image.open(BytesIO(data), formats=FORMATS)
        image.load()
        if image.mode == "RGB" and image.format == "JPEG" and "exif" not in image.info:
            return image
        return _upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise Undecodable("too many pixels") from error
    except Undecodable:
        raise
    except Exception as error:  # Pillow's readers let almost any exception out when a file is damaged
        raise Undecodable(_reason(data, error)) from error


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow's warnings about odd files from the terminal; what matters of them is in the result."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _upright_rgb(image: Image.Image) -> Image.Image:
    sixteen = image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format == "PNG")  # "I" is what old Pillows say
    image = _upright(image)
    if sixteen:  # Pillow's own conversion clips
        levels = np.asarray(image).astype(np.float64) * (255 / 65535)
        image = Image.fromarray(levels.round().astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise Undecodable("its pixels are 32-bit numbers, whose range is not defined")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF says nothing about the pixels
        return image


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty file"
    start = data[:64].lstrip()[:4].lower()
    for mark, kind in OTHER_KINDS.items():
        if start == mark.lower():
            return kind
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a JPEG, PNG, WebP, BMP or TIFF image"
    return f"damaged or cut short ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
