"""Encoders and decoders by name. An encoder maps images to (mu, logvar), a decoder maps z to images in [0, 1].

Both use PyTorch's default initialisation (Kaiming uniform with a = sqrt(5) for convolutions and linear layers, ones
and zeros for batch normalisation).
"""

from itertools import pairwise
from math import log2

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle

from dfcvae.device import at_least_float32

SIZES = (32, 64, 128, 256)


class Encoder(nn.Module):
    """A convolutional trunk with two linear heads."""

    def __init__(self, trunk: nn.Sequential, features: int, latent_dim: int):
        super().__init__()
        self.trunk = trunk
        self.mu = nn.Linear(features, latent_dim)
        self.logvar = nn.Linear(features, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x).flatten(1)  # (N, C, H, W) -> (N, F)
        return self.mu(h), self.logvar(h)  # (N, D), (N, D)


class Decoder(nn.Module):
    """A linear layer onto a small grid of feature maps, upsampling stages, and a sigmoid."""

    def __init__(self, stages: nn.Sequential, channels: int, grid: int, latent_dim: int):
        super().__init__()
        self.project = nn.Linear(latent_dim, channels * grid * grid)
        self.unflatten = nn.Unflatten(1, (channels, grid, grid))
        self.stages = stages

    def forward(self, z: Tensor) -> Tensor:
        h = self.unflatten(self.project(z))  # (N, D) -> (N, F, grid, grid)
        return at_least_float32(self.stages(h)).sigmoid()  # (N, C, H, W) in [0, 1]


class ReplicateConv2d(nn.Conv2d):
    """A 3x3 convolution with replication padding, which preserves the size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(replicate(x))


class UpConv2d(nn.Conv2d):
    """Nearest upsampling by 2 and a `ReplicateConv2d`, computed as one convolution of the small image.

    Both are linear: the outputs of a 3x3 convolution of the enlarged image, at the four pixels that replace one small
    pixel, are four 3x3 convolutions of the small image. Equal up to rounding, without storing the enlarged image.
    """

    taps: Tensor  # (2, 3, 3): of an even and an odd enlarged pixel, what each tap sees of the small neighbours

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__(fan_in, fan_out, 3)
        taps = torch.tensor([[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])
        self.register_buffer("taps", taps.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.einsum("pak,qbl,oikl->opqiab", self.taps, self.taps, self.weight)  # (C', 2, 2, C, 3, 3)
        assert self.bias is not None
        four = conv2d(replicate(x), weight.flatten(0, 2), self.bias.repeat_interleave(4))  # (N, 4 C', H, W)
        return pixel_shuffle(four, 2)  # (N, C', 2 H, 2 W)


class Upsample(nn.Module):
    """Doubles height and width with the Lanczos filter of three lobes: ``U x U^T``, edges replicated.

    Upsampling repeats the spectrum: content of frequency f (cycles per small image of n pixels) also appears at n - f,
    unless the filter removes it. At f = 0.3 n, nearest upsampling leaves 0.51 of it, bilinear 0.13, this one 0.013.

    Args:
        size: side n of the small image.
        border: repeat the edge this often around the result: padding at no cost, for the convolution that follows.
    """

    matrix: Tensor  # (2 n + 2 border, n)

    def __init__(self, size: int, border: int = 0):
        super().__init__()
        position = (torch.arange(2 * size, dtype=torch.float64) + 0.5) / 2 - 0.5  # of enlarged pixels
        taps = position.floor()[:, None] + torch.arange(-2, 4)  # (2 n, 6)
        distance = position[:, None] - taps
        weights = torch.sinc(distance) * torch.sinc(distance / 3)
        matrix = torch.zeros(2 * size, size, dtype=torch.float64)
        matrix.scatter_add_(1, taps.clamp(0, size - 1).long(), weights / weights.sum(dim=1, keepdim=True))
        rows = torch.arange(-border, 2 * size + border).clamp(0, 2 * size - 1)
        self.register_buffer("matrix", matrix[rows].float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):  # in bfloat16 the weights do not sum to 1
                return self.matrix @ (x.to(self.matrix.dtype) @ self.matrix.T)
        return self.matrix @ (x @ self.matrix.T)  # (N, C, n, n) -> (N, C, 2 n, 2 n)


def replicate(x: Tensor) -> Tensor:
    """An image with its edge repeated once around it.

    The same as ``pad(x, (1, 1, 1, 1), mode="replicate")``, whose backward pass torch.compile gets wrong.
    """
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    return torch.cat([x[..., :1], x, x[..., -1:]], dim=3)


def hou2016(size: int, channels: int, latent_dim: int) -> tuple[Encoder, Decoder]:
    """The network of Hou et al. 2016 (arXiv 1610.00291, section 3.1 and figure 2).

    Encoder: stages of conv 4x4 stride 2, batch norm, LeakyReLU(0.2), down to a 4x4 grid. Decoder: stages of nearest
    upsampling by 2, replication padding 1, conv 3x3, batch norm, LeakyReLU(0.2); the last stage is the bare
    convolution. The paper has four stages for 64 pixels, widths 32-64-128-256. Other sizes get one stage per
    factor of two, with the width doubling from 32 up to 512.
    """
    widths = [min(32 * 2**i, 512) for i in range(int(log2(size)) - 2)]
    down: list[nn.Module] = []
    for fan_in, fan_out in pairwise([channels, *widths]):
        down += [nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1), nn.BatchNorm2d(fan_out), nn.LeakyReLU(0.2)]
    up: list[nn.Module] = []
    for fan_in, fan_out in pairwise([*widths[::-1], channels]):
        up += [nn.Identity(), UpConv2d(fan_in, fan_out)]  # the Identity preserves the indices in the names of weights
        up += [nn.BatchNorm2d(fan_out), nn.LeakyReLU(0.2)]
    encoder = Encoder(nn.Sequential(*down), widths[-1] * 4 * 4, latent_dim)
    return encoder, Decoder(nn.Sequential(*up[:-2]), widths[-1], 4, latent_dim)


def strided(size: int, channels: int, latent_dim: int) -> tuple[Encoder, Decoder]:
    """The network of the widely used PyTorch-VAE collection (``models/vanilla_vae.py``), layer for layer.

    Encoder: five stages of conv 3x3 stride 2, batch norm, LeakyReLU(0.01), widths 32-64-128-256-512. Decoder: four
    stages of transposed conv 3x3 stride 2 back to 32 channels, one more with 32 channels, then conv 3x3. The
    original ends in a tanh; here, as everywhere in this package, images are in [0, 1] and the output is a sigmoid. The
    grid is ``size / 32`` pixels wide (2x2 at 64).
    """
    widths = [32, 64, 128, 256, 512]
    grid = size // 32
    down: list[nn.Module] = []
    for fan_in, fan_out in pairwise([channels, *widths]):
        down += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), nn.BatchNorm2d(fan_out), nn.LeakyReLU()]
    up: list[nn.Module] = []
    for fan_in, fan_out in pairwise([*widths[::-1], 32]):
        up += [nn.ConvTranspose2d(fan_in, fan_out, 3, stride=2, padding=1, output_padding=1)]
        up += [nn.BatchNorm2d(fan_out), nn.LeakyReLU()]
    up += [nn.Conv2d(32, channels, 3, padding=1)]
    encoder = Encoder(nn.Sequential(*down), 512 * grid * grid, latent_dim)
    return encoder, Decoder(nn.Sequential(*up), 512, grid, latent_dim)


def smooth(size: int, channels: int, latent_dim: int) -> tuple[Encoder, Decoder]:
    """The encoder of `hou2016`, and a decoder that draws no lines.

    What nearest upsampling leaves of mirrored frequencies, feature losses, which reward detail, amplify to horizontal
    and vertical lines. Here every stage upsamples with `Upsample`, then conv 3x3, batch norm, LeakyReLU(0.2); the
    linear layer gives a grid of 8x8, on which the decoder is free; and the last stage, 16 channels wide, is followed by
    a 3x3 convolution to the image.
    """
    encoder, _ = hou2016(size, channels, latent_dim)
    widths = [min(32 * 2**i, 512) for i in range(int(log2(size)) - 2)][-2::-1]  # from the grid of 8x8 up
    up: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(0.2)]
    for stage, (fan_in, fan_out) in enumerate(pairwise([*widths, 16])):
        up += [Upsample(8 * 2**stage, border=1), nn.Conv2d(fan_in, fan_out, 3)]  # 3x3 with replication padding
        up += [nn.BatchNorm2d(fan_out), nn.LeakyReLU(0.2)]
    return encoder, Decoder(nn.Sequential(*up, ReplicateConv2d(16, channels, 3)), widths[0], 8, latent_dim)


NETWORKS = {"hou2016": hou2016, "smooth": smooth, "strided": strided}
