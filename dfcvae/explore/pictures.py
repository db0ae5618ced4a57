"""Pictures as a page takes them without a further request."""

from base64 import b64encode
from io import BytesIO

from torch import Tensor

from dfcvae.images import to_image


def data_url(picture: Tensor) -> str:
    """One picture (3 or 1, H, W) in [0, 1] as a PNG in a data URL: every pixel as it is; the browser enlarges it."""
    buffer = BytesIO()
    to_image(picture).save(buffer, "PNG", compress_level=1)  # noise hardly compresses, and a slider waits for it
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()
