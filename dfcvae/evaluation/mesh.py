"""The mesh artefact: dots and lines on the grid of the feature network's pooling, left by losses on its deep layers."""

import torch
from torch import Tensor

from dfcvae.errors import UserError

PERIOD = 8  # pixels: three poolings, as before conv4; it holds the periods 2 and 4 of the layers above too
APART = 2  # frequencies between a peak and what surrounds it: the window below spreads a peak over the nearest ones
ASIDE = (-4, -3, 3, 4)  # frequencies off an axis, for the same reason
YCBCR = ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813))  # ITU-R BT.601


def power_spectrum(images: Tensor) -> Tensor:
    """Power by frequency (N, C, H, W) of images (N, C, H, W): of the luma and, for RGB, of two colour differences.

    Under a Hann window. In YCbCr, since faces have little fine detail in colour and a mesh may have much.

    Raises:
        UserError: if the images are not square with sides that are a multiple of 8 and at least 32 pixels.
    """
    height, width = images.shape[-2:]
    if height != width or width % PERIOD or width < 4 * PERIOD:
        raise UserError(
            f"A mesh of period {PERIOD} is measured in square images of a multiple of {PERIOD} and at least "
            f"{4 * PERIOD} pixels, but {height}x{width} came."
        )
    channels = images.float()
    if images.shape[1] == 3:
        channels = torch.einsum("dc,nchw->ndhw", channels.new_tensor(YCBCR), channels)
    window = torch.hann_window(width, device=images.device)
    centred = channels - channels.mean(dim=(2, 3), keepdim=True)
    return torch.fft.fft2(centred * window[:, None] * window).abs().square()


def mesh_energy(power: Tensor, original: Tensor) -> float:
    """Energy of a grid in a set of images, relative to what the originals hold at the same frequencies.

    The mean over channels and over the grid's frequencies f (multiples of 1/8 cycles per pixel in both directions,
    without the constant) of ``(P(f) - S(f)) / P_0(f)``: P the power spectrum, S the geometric mean of P at the eight
    frequencies two steps around f, P_0 the originals' power. 0 is no mesh, whatever the sharpness; 1 is a mesh with as
    much energy as all detail of the originals there.

    Args:
        power: mean `power_spectrum` of reconstructions or samples, (C, H, H).
        original: that of the originals.
    """
    rings = [(a, b) for a in (-APART, 0, APART) for b in (-APART, 0, APART) if (a, b) != (0, 0)]
    around = torch.stack([power.roll(offset, (1, 2)) for offset in rings]).log().mean(dim=0).exp()
    step = power.shape[-1] // PERIOD
    excess = ((power - around) / original)[:, ::step, ::step]
    return float(excess.flatten(1)[:, 1:].mean())  # the first is the constant


def plaid_energy(power: Tensor, original: Tensor) -> float:
    """Energy of horizontal and vertical lines across a set of images, relative to the originals' there.

    The mean over channels and over the frequencies f on both axes of the spectrum, from 1/8 to 1/2 cycles per pixel, of
    ``(P(f) - S(f)) / P_0(f)``: P and P_0 as in `mesh_energy`, S the geometric mean of P at the frequencies beside the
    axis. Lines of changing strength spread along an axis, away from the multiples of 1/8. Originals themselves have
    about 0.5: faces have horizontal and vertical edges.

    Args:
        power: mean `power_spectrum` of reconstructions or samples, (C, H, H).
        original: that of the originals.
    """
    size = power.shape[-1]
    along = torch.arange(size // PERIOD, size // 2 + 1)
    excess = []
    for spectrum, natural in ((power, original), (power.mT, original.mT)):  # the horizontal axis, then the vertical
        beside = torch.stack([spectrum[:, aside, along] for aside in ASIDE]).log().mean(dim=0).exp()
        excess.append((spectrum[:, 0, along] - beside) / natural[:, 0, along])
    return float(torch.stack(excess).mean())
