"""Randomness as a pure function of (seed, face index, name, cell): numbers, colours and smooth noise.

Nothing here keeps state, so a face is the same whichever batch, order or thread it is drawn in.
"""

import math
import zlib

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
# Odd multipliers below 2**31: the product with a 32-bit word stays below 2**63, so int64 never overflows.
_MIX_A, _MIX_B, _STEP = 0x7FEB352D, 0x045D9F3B, 0x1E3779B1


def _mix(x: Tensor) -> Tensor:
    """Scramble 32-bit words held in int64: every input bit reaches every output bit."""
    x = x ^ (x >> 16)
    x = (x * _MIX_A) & _MASK
    x = x ^ (x >> 15)
    x = (x * _MIX_B) & _MASK
    return x ^ (x >> 16)


class Dice:
    """Random numbers for the faces `indices`, int64 (N,). Each name is an independent stream of numbers."""

    def __init__(self, indices: Tensor, seed: int) -> None:
        key = _mix((indices & _MASK) ^ 0x5BD1E995)
        for word in ((indices >> 32) & _MASK, seed & _MASK, (seed >> 32) & _MASK):
            key = _mix((key + word) & _MASK)
        self._key = key

    def table(self, name: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 (N, *shape)."""
        cells = torch.arange(math.prod(shape)) * _STEP + zlib.crc32(name.encode())
        words = _mix(_mix((self._key[:, None] + cells) & _MASK) ^ self._key[:, None])
        return ((words >> 8).float() * 2.0**-24).view(-1, *shape)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high), (N, 1, 1)."""
        return self.table(name, 1, 1) * (high - low) + low

    def bell(self, name: str, low: float, high: float) -> Tensor:
        """Bell-shaped in (low, high), most often near the middle, (N, 1, 1)."""
        parts = self.table(name, 3, 1, 1)
        return (parts[:, 0] + parts[:, 1] + parts[:, 2]) * ((high - low) / 3) + low

    def chance(self, name: str, probability: Tensor | float) -> Tensor:
        """True with the given probability (a number or one per face), bool (N, 1, 1)."""
        return self.table(name, 1, 1) < probability

    def pick(self, name: str, count: int) -> Tensor:
        """One of 0 ... count-1, int64 (N, 1, 1)."""
        return (self.table(name, 1, 1) * count).long()

    def color(self, name: str, colors: str, jitter: float) -> Tensor:
        """One of the colours, written as for `palette`, with each channel moved by up to `jitter`, (3, N, 1, 1)."""
        shades = palette(colors)
        row = self.pick(name, len(shades)).view(-1)
        shift = (self.table(name + "/jitter", 3) - 0.5) * (2 * jitter)
        return (shades[row] + shift).clamp(0, 1).T[:, :, None, None]


def palette(colors: str) -> Tensor:
    """Colours written as 'rrggbb rrggbb', (K, 3) in [0, 1]."""
    return torch.tensor([[level * (1 / 255) for level in bytes.fromhex(color)] for color in colors.split()])


def ramp(t: Tensor, stops: Tensor) -> Tensor:
    """Colours along a path: t in [0, 1] (N, 1, 1) through `stops` (K, 3) gives (3, N, 1, 1)."""
    place = t.view(-1) * (len(stops) - 1)
    left = place.long().clamp(max=len(stops) - 2)
    mix = (place - left)[:, None]
    return (stops[left] * (1 - mix) + stops[left + 1] * mix).T[:, :, None, None]


def smooth(t: Tensor) -> Tensor:
    """Smoothstep: 0 below 0, 1 above 1, an S between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def periodic_noise(values: Tensor, length: int) -> Tensor:
    """Smooth 1-D noise (N, length) through random `values` (N, K), the end joined to the beginning."""
    knots = values.shape[-1]
    place = torch.arange(length) * (knots / length)
    left = place.long()
    here, there = values[:, left], values[:, (left + 1) % knots]
    return here + (there - here) * smooth(place - left)


def lattice_noise(cells: Tensor, size: int) -> Tensor:
    """Smooth 2-D noise (N, size, size) through random values on a coarse grid, `cells` (N, G, G)."""
    place = (torch.arange(size) + 0.5) * ((cells.shape[-1] - 1) / size)
    left = place.long()
    mix = smooth(place - left)
    upper, lower = cells[:, left], cells[:, left + 1]
    rows = upper + (lower - upper) * mix[:, None]  # (N, size, G)
    here, there = rows[:, :, left], rows[:, :, left + 1]
    return there.sub_(here).mul_(mix).add_(here)
