"""What this machine computes: how many convolutions in a second."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch
from torch.nn.functional import conv2d

from dfcvae.device import has_bfloat16

CHANNELS, SIDE, TRIES = 256, 32, 7


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round the inputs of float32 convolutions to 10 bits of mantissa, for a while."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def convolution_peaks(device: torch.device) -> dict[str, float]:
    """Floating-point operations in a second of a 3x3 convolution of 256 channels, channels-last, by arithmetic.

    The best of several tries: what a network made of such convolutions alone could reach.
    """
    kinds = ["float32"] + ["tf32"] * (device.type == "cuda") + ["bfloat16"] * has_bfloat16(device)
    peaks = {}
    for kind in kinds:
        with tf32(kind == "tf32"):
            peaks[kind] = _peak(torch.bfloat16 if kind == "bfloat16" else torch.float32, device)
    return peaks


@torch.no_grad()
def _peak(dtype: torch.dtype, device: torch.device) -> float:
    gpu = device.type == "cuda"
    images, repeats = (256, 20) if gpu else (16, 2)
    x = torch.randn(images, CHANNELS, SIDE, SIDE, dtype=dtype, device=device)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=dtype, device=device)
    x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    flops = 2.0 * repeats * images * SIDE**2 * CHANNELS**2 * 9
    seconds = []
    for _ in range(TRIES):
        start = perf_counter()
        for _ in range(repeats):
            conv2d(x, weight, padding=1)
        if gpu:
            torch.cuda.synchronize(device)
        seconds.append(perf_counter() - start)
    return flops / min(seconds)


class Peaks:
    """What a child can be asked about the device alone."""

    def __init__(self, device: torch.device):
        self.device = device

    def convolutions(self) -> dict[str, float]:
        """Floating-point operations in a second, by arithmetic."""
        return convolution_peaks(self.device)
