"""Sharpness without a reference."""

from torch import Tensor
from torch.nn.functional import conv2d

from dfcvae.images import to_rgb

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luma(images: Tensor) -> Tensor:
    """Brightness (N, 1, H, W) of images (N, 3 or 1, H, W)."""
    return (to_rgb(images) * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def laplacian_variance(images: Tensor) -> Tensor:
    """Variance over the pixels of the discrete Laplacian of the luma, (N,): a common measure of sharpness.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". Absolute values depend on the
    images; read it relative to that of the originals.

    Args:
        images: in [0, 1], (N, C, H, W), at least 4 pixels wide and high.
    """
    return conv2d(luma(images), images.new_tensor(LAPLACIAN).view(1, 1, 3, 3)).flatten(1).var(dim=1)
