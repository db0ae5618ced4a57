"""The machine: device, precision, determinism, ranks, memory, and a record of what a run was made with."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dfcvae.errors import UserError

Precision = Literal["32-true", "bf16-mixed"]
CPU = torch.device("cpu")

VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
PACKAGES = ("dfcvae", "torch", "torchvision", "lightning", "torchmetrics", "numpy")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
WATCH_SECONDS = 2
LOST_CONNECTION = ("gloo", "NCCL", "Connection closed", "Connection reset", "Broken pipe")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEEP_BYTES, KEEP_BYTES_OLD_GLIBC = 2**30, 2**25
MEMINFO, STATUS, CLEAR = Path("/proc/meminfo"), Path("/proc/self/status"), Path("/proc/self/clear_refs")
SHARED_BY = {"cpu": "DFCVAE_SHARED_CPU", "cuda": "DFCVAE_SHARED_CUDA"}
"""Environment variables: the number of processes started together that share the memory, by type of device."""
MEMORY_FRACTION = 0.5  # of the free memory, which a cache may fill
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (  # version 2 and 1: limit, usage, statistics, and the name of the reclaimable cache in them
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def pick_device(accelerator: str = "auto") -> torch.device:
    """The GPU of this process, or the CPU where there is none or ``accelerator`` is ``"cpu"``."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return CPU
    return torch.device("cuda", process_rank())


def check_accelerator(accelerator: str, devices: int = 1) -> None:
    """Raise a UserError if the requested GPUs do not exist, and say so where a GPU is not used."""
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("training.accelerator: cuda was requested, but PyTorch finds no CUDA GPU; use auto or cpu.")
    gpus = torch.cuda.device_count()
    if accelerator != "cpu" and gpus and devices > gpus:
        raise UserError(f"training.devices: expected at most {gpus} (the GPUs of this machine), got {devices}.")
    if accelerator == "auto" and torch.backends.mps.is_available():  # it has no float64, in which the scales are summed
        print("Apple's GPU (mps) is not supported; training on the CPU.", file=sys.stderr)


def process_rank() -> int:
    """Rank of this process in its run: Lightning numbers the processes it starts; 0 for a single one."""
    return int(os.environ.get("LOCAL_RANK", 0))


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors as float32, others (float64 in numerical checks) unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; others emulate it, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older versions
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def pick_precision(precision: str, device: torch.device) -> Precision:
    """``"auto"`` is mixed precision where the hardware multiplies bfloat16 matrices."""
    mixed = has_bfloat16(device) if precision == "auto" else precision == "bf16-mixed"
    return "bf16-mixed" if mixed else "32-true"


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Use deterministic algorithms only, if ``wanted``; an operation that has none raises an error.

    On a GPU, cuDNN and scattered sums would otherwise differ in the last bits from run to run, and cuBLAS needs a
    workspace of fixed size, which has to be set before its first use in the process.
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


@contextmanager
def ending_together(world_size: int, rank: int) -> Iterator[None]:
    """End a process with a clear message when another rank of its run has ended.

    The connection to it breaks, which is an error of the next gradient exchange. On GPUs that exchange may block for
    minutes: Lightning ends rank 0 when a rank that it started ends, and the others watch rank 0 here.

    Raises:
        UserError: if the connection to another rank breaks.
    """
    if world_size == 1:
        yield
        return
    if rank > 0:
        threading.Thread(target=_watch, args=(os.getppid(), rank), daemon=True).start()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and not any(w in str(error) for w in LOST_CONNECTION):
            raise
        raise UserError(
            f"Rank {rank} of {world_size} lost the connection to another rank, which has ended; see that rank's log "
            "for the cause. The last checkpoint is intact; resume the run."
        ) from error


def _watch(parent: int, rank: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    print(f"dfcvae: the process that started rank {rank} has ended; rank {rank} ends too.", file=sys.stderr)
    os._exit(1)  # the main thread may block forever in a collective operation


def environment() -> dict[str, Any]:
    """Versions, device, commit and command: where the numbers of a run come from, as plain values."""
    capability, cudnn = torch.backends.cpu.get_cpu_capability(), torch.backends.cudnn
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {capability}, {torch.get_num_threads()} threads",
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": {"version": cudnn.version(), "deterministic": cudnn.deterministic, "benchmark": cudnn.benchmark},
        "float32": {"matmul": torch.get_float32_matmul_precision(), "cudnn_tf32": cudnn.allow_tf32},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {package: version(package) for package in PACKAGES},
    }


def _commit() -> str | None:
    """The commit of the source tree, marked when there are changes; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    tracked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
    describe = [*git, "describe", "--always", "--dirty"]
    try:  # a copy installed inside someone else's repository is not tracked there
        subprocess.run(tracked, capture_output=True, check=True, timeout=10)
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def keep_freed_memory() -> None:
    """Ask glibc not to return freed activations to the kernel; elsewhere, do nothing.

    By default every step maps its large tensors again and faults them in page by page, which made a CPU training step
    about 1.4 times slower.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(M_MMAP_THRESHOLD, KEEP_BYTES) or mallopt(M_MMAP_THRESHOLD, KEEP_BYTES_OLD_GLIBC)
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def free_memory(device: torch.device) -> int:
    """Bytes that a device could still hold, within the limit of a container; 0 where that is unknown.

    Processes that were started together each get an equal part: all ask before any of them has allocated its own.
    """
    processes = int(os.environ.get(SHARED_BY.get(device.type, ""), 1))
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // processes
    limits = [room for files in CGROUP_FILES if (room := _cgroup_room(*files)) is not None]
    return min([_available(), *limits]) // processes


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder."""
    return shutil.disk_usage(folder).free


def reset_peak_memory(device: torch.device) -> bool:
    """Start measuring the peak again; False where the system does not allow it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        CLEAR.write_text("5")  # proc(5): reset the peak resident set size
        return True
    except OSError:
        return False


def release_memory(device: torch.device) -> None:
    """Return freed memory to the system, where possible."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None  # musl has none of them


def peak_memory(device: torch.device) -> int | None:
    """Bytes: PyTorch's allocations on the GPU, else the resident set of the process; None where that is unknown.

    The resident set includes the libraries (0.6 GB and more), but not the worker processes of a data loader.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.exists():  # unlike getrusage's, this value is not inherited from the parent process
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _available() -> int:
    if MEMINFO.is_file():
        line = next((line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable")), ": 0")
        return 1024 * int(line.split()[1])
    with suppress(AttributeError, ValueError, OSError):  # macOS reports only the total
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 0


def _cgroup_room(limit: str, used: str, stat: str, cached: str) -> int | None:
    """Bytes that a Linux container may still take, including its file cache; None without a limit."""
    try:
        room = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
        lines = (line.split() for line in (CGROUP / stat).read_text().splitlines())
        return max(0, room + sum(int(value) for name, value in lines if name == cached))
    except (OSError, ValueError):  # no such file, or "max"
        return None
