"""The same numbers from the same seed, bit for bit, on the same machine and number of threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Let PyTorch use deterministic algorithms alone for a while, if that is wanted; what has none is an error.

    A CPU needs it for few operations. On a GPU cuDNN and scattered sums would otherwise differ in the last bits from
    run to run, and cuBLAS needs a workspace of fixed size, which has to be set before its first use in the process.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")
    cudnn, strict = torch.backends.cudnn, torch.are_deterministic_algorithms_enabled()
    before = cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        cudnn.deterministic, cudnn.benchmark = before
