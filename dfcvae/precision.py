"""Where mixed precision pays, and where it ends: losses are computed in float32 or better."""

from typing import Literal

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors as float32, others (float64 in numerical checks) as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices itself; others emulate it, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, and not in every version
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def default_precision(device: torch.device) -> Literal["32-true", "bf16-mixed"]:
    """Mixed precision where the device gains by it."""
    return "bf16-mixed" if has_bfloat16(device) else "32-true"
