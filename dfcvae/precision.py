"""Where mixed precision ends: losses are computed in float32 or better."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors as float32, others (float64 in numerical checks) as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
