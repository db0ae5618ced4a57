"""The memory of this process, or of its GPU: its peak, and what it can do without."""

import ctypes
import sys
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak(device: torch.device) -> None:
    """Begin anew, where the system can: building a network costs more than running it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        try:
            CLEAR.write_text("5")  # proc(5): reset the peak resident set size
        except OSError:
            return  # some containers forbid it; the peak then holds the building too


def peak_memory(device: torch.device) -> int | None:
    """Bytes: what PyTorch allocated on the GPU, else the resident set of the process; None where nothing tells.

    The resident set includes the libraries (0.6 GB and more), but no worker processes of a data loader.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():  # unlike getrusage's, this figure is not inherited from the parent process
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back(device: torch.device) -> None:
    """Return freed memory to the system, where that can be done, so that many rows fit beside each other."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # musl has none
            trim(0)
