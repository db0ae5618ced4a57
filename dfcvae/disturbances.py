"""Distortions of faces, like those of reconstructions, that a perceptual loss has to detect."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, grid_sample, interpolate, pad

WEAKEST = 0.05  # smallest strength; the largest is 1
Disturbance = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Images (N, C, H, W) in [0, 1], strengths (N, 1, 1, 1) in (0, 1] and a generator to disturbed images."""


def noise(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """White noise with a standard deviation of at most 0.25."""
    return x + 0.25 * strength * torch.randn(x.shape, generator=generator)


def blur(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A Gaussian filter with a standard deviation of at most a sixteenth of the side."""
    radius = max(2, x.shape[-1] // 8)
    at = torch.arange(-radius, radius + 1)
    sigma = (strength * x.shape[-1] / 16).clamp_min(0.3).flatten(1)  # (N, 1)
    kernel = (-0.5 * (at / sigma).square()).softmax(dim=1)  # (N, K)
    n, c, height, width = x.shape
    flat = pad(x, (radius,) * 4, mode="replicate").reshape(1, n * c, height + 2 * radius, width + 2 * radius)
    kernel = kernel.repeat_interleave(c, dim=0)[:, None, :, None]
    return conv2d(conv2d(flat, kernel, groups=n * c), kernel.mT, groups=n * c).view(x.shape)


def lines(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Coloured horizontal and vertical lines of random strength, at most 0.2."""
    n, c, height, width = x.shape
    rows, columns = torch.randn(n, c, height, 1, generator=generator), torch.randn(n, c, 1, width, generator=generator)
    return x + 0.14 * strength * (rows + columns)


def mesh(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A pattern that repeats every 2, 4 or 8 pixels, as pooling and upsampling produce it."""
    n, c, height, width = x.shape
    period = int(2 ** torch.randint(1, 4, (1,), generator=generator))
    tile = torch.randn(n, c, period, period, generator=generator)
    tile = tile - tile.mean(dim=(2, 3), keepdim=True)
    tiled = tile.repeat(1, 1, -(-height // period), -(-width // period))
    return x + 0.15 * strength * tiled[..., :height, :width]


def colour(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A cast of at most about 0.3 in each channel, and a contrast changed by at most a third."""
    cast = torch.randn(*x.shape[:2], 1, 1, generator=generator)
    contrast = 1 + strength * (torch.rand(len(x), 1, 1, 1, generator=generator) - 0.5) * 2 / 3
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + contrast * (x - mean) + 0.15 * strength * cast


def pixelation(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Squares of 2 to 8 pixels with one colour each, blended with the image."""
    side = int(2 ** torch.randint(1, 4, (1,), generator=generator))
    coarse = avg_pool2d(x, side, ceil_mode=True)
    large = interpolate(coarse, scale_factor=side)[..., : x.shape[-2], : x.shape[-1]]
    return x + strength * (large - x)


def mixture(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A double exposure with the next face of the batch, which makes up at most 60 %."""
    return x + 0.6 * strength * (x.roll(1, dims=0) - x)


def shift(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth warp: every pixel moves by at most about a sixteenth of the side."""
    n, size = len(x), x.shape[-1]
    field = torch.randn(n, 2, 4, 4, generator=generator) * (strength / 16)
    field = interpolate(field, size=x.shape[-2:], mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    at = (torch.arange(size) + 0.5) * 2 / size - 1
    identity = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)
    return grid_sample(x, identity + field, padding_mode="border", align_corners=False)


def occlusion(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A grey square over at most half of the side, at a random place."""
    height, width = x.shape[-2:]
    centre = torch.rand(len(x), 2, generator=generator).view(-1, 2, 1, 1)
    below = (torch.linspace(0, 1, height)[:, None] - centre[:, :1]).abs()  # (N, 1, H, 1)
    beside = (torch.linspace(0, 1, width) - centre[:, 1:]).abs()  # (N, 1, 1, W)
    inside = (below < strength / 4) & (beside < strength / 4)
    return torch.where(inside, torch.full_like(x, 0.5), x)


def posterisation(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Only 3 to 12 levels of each channel."""
    levels = (12 - 9 * strength).round()
    return (x * levels).round() / levels


DISTURBANCES: dict[str, Disturbance] = {
    "noise": noise,
    "blur": blur,
    "lines": lines,
    "mesh": mesh,
    "colour": colour,
    "pixelation": pixelation,
    "mixture": mixture,
}
"""The distortions that a distilled network is trained on."""

UNSEEN: dict[str, Disturbance] = {"shift": shift, "occlusion": occlusion, "posterisation": posterisation}
"""Further distortions, only for measuring its fidelity."""


def disturb(x: Tensor, disturbance: Disturbance, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) in [0, 1], each disturbed at its own random strength; in [0, 1]."""
    strength = WEAKEST + (1 - WEAKEST) * torch.rand(len(x), 1, 1, 1, generator=generator)
    return disturbance(x, strength, generator).clamp(0, 1)
