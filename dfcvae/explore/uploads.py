"""Image files from the browser: anything may come."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfcvae.config import DataConfig
from dfcvae.data import decode_face
from dfcvae.data.decode import FORMATS, Undecodable, quiet_pillow
from dfcvae.errors import UserError, printable

LARGEST = 50 * 2**20  # bytes of a file
MOST_PIXELS = 64_000_000  # of a picture: they take 3 bytes each, and a second or so, before they are made small
FILE_TOO_LARGE = f"The file is larger than {LARGEST // 2**20} MB; upload a smaller one."


def read_upload(encoded: bytes, name: str, data: DataConfig) -> NDArray[np.uint8]:
    """The bytes of an uploaded image file as uint8 (C, size, size), cropped like the training data.

    Raises:
        UserError: if it is no image that can be read, or a larger one than a server should decode for a page.
    """
    if len(encoded) > LARGEST:
        raise UserError(FILE_TOO_LARGE)
    width, height = _shape(encoded)
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{printable(name)} has {width:,} x {height:,} pixels, more than {MOST_PIXELS // 10**6} million; upload a "
            "smaller picture."
        )
    try:
        return decode_face(encoded, data)
    except Undecodable as error:
        raise UserError(f"{printable(name)} is no image that can be read ({error}); upload a JPEG or PNG.") from error


def _shape(encoded: bytes) -> tuple[int, int]:
    """Width and height from the head of a file, without decoding it; 0 and 0 if it is no image."""
    try:
        with quiet_pillow(), Image.open(BytesIO(encoded), formats=FORMATS) as image:
            return image.size
    except Exception:  # Pillow's readers raise almost anything; `decode_face` finds out why
        return 0, 0
