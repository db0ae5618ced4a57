"""Memory: how much is free, how much was used at the peak, and keeping large freed blocks in the process."""

import ctypes
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
SHARED_BY = {"cpu": "DFCVAE_SHARED_CPU", "cuda": "DFCVAE_SHARED_CUDA"}
"""Environment variables: how many processes were started to share the memory, by type of device."""
KEEP_BYTES = 2**30
KEEP_BYTES_OLD = 2**25  # all that an older glibc accepts
MEMINFO = Path("/proc/meminfo")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CGROUP = Path("/sys/fs/cgroup")
CGROUP_V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
CGROUP_V1 = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    "total_inactive_file",
)


def keep_freed_memory() -> None:
    """Ask glibc not to return freed activations to the kernel; elsewhere, do nothing.

    By default every step maps its large tensors anew and faults them in page by page, which made a CPU training step
    about 1.4 times slower than with this.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(M_MMAP_THRESHOLD, KEEP_BYTES) or mallopt(M_MMAP_THRESHOLD, KEEP_BYTES_OLD)
            mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def free_memory(device: torch.device) -> int:
    """Bytes that a device could still hold, within the limit of a container; 0 where that cannot be told.

    The part of this process, where several were started together, who all ask before any of them has taken its own.
    """
    sharers = int(os.environ.get(SHARED_BY.get(device.type, ""), 1))
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // sharers
    limits = [_cgroup_room(*CGROUP_V2), _cgroup_room(*CGROUP_V1)]
    return min([_available(), *(limit for limit in limits if limit is not None)]) // sharers


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


def forget_peak(device: torch.device) -> bool:
    """Begin anew: building a network costs more than running it. False where the system cannot (some containers)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        CLEAR.write_text("5")  # proc(5): reset the peak resident set size
        return True
    except OSError:
        return False


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


def _available() -> int:
    if MEMINFO.is_file():
        line = next((line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable")), ": 0")
        return 1024 * int(line.split()[1])
    with suppress(AttributeError, ValueError, OSError):  # macOS tells only how much there is in all
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 0


def _cgroup_room(limit: str, used: str, stat: str, cached: str) -> int | None:
    """What a Linux container may still take, its file cache among it; None without a limit."""
    try:
        room = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
        lines = (line.split() for line in (CGROUP / stat).read_text().splitlines())
        return max(0, room + sum(int(value) for name, value in lines if name == cached))
    except (OSError, ValueError):  # no such file, or "max"
        return None
