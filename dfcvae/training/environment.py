"""What a run was made with: versions, device, commit, command."""

import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from dfcvae.device import pick_device as pick_device
from dfcvae.device import process_rank as process_rank
from dfcvae.errors import UserError
from dfcvae.precision import default_precision

# Lightning warns of what is meant here: a network in eval mode, batches without workers, few of them, resumed runs.
CHATTER = (
    r"Checkpoint directory .* exists",
    r"Found \d+ module",
    r".*does not have many workers",
    r"You're resuming from a checkpoint that ended before the epoch ended",
    r".*LeafSpec",
    r"The number of training batches",
)
Precision = Literal["32-true", "bf16-mixed"]
PrecisionChoice = Literal["32-true", "bf16-mixed", "auto"]
VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
PACKAGES = ("dfcvae", "torch", "torchvision", "lightning", "torchmetrics", "numpy")


def environment() -> dict[str, Any]:
    """Plain values that say where the numbers of a run come from."""
    capability, cudnn = torch.backends.cpu.get_cpu_capability(), torch.backends.cudnn  # the vector instructions in use
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
    """The commit of the source tree this runs from, marked when there are changes; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    tracked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
    describe = [*git, "describe", "--always", "--dirty"]
    try:  # an installed copy inside somebody else's repository is not tracked there
        subprocess.run(tracked, capture_output=True, check=True, timeout=10)
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def pick_precision(precision: PrecisionChoice, device: torch.device) -> Precision:
    """What ``"auto"`` means on a device: mixed precision where the hardware multiplies matrices of bfloat16."""
    if precision != "auto":
        return precision
    return default_precision(device)


def check_accelerator(accelerator: str, devices: int = 1) -> None:
    """Refuse GPUs that are not there."""
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("The accelerator cuda was asked for, but PyTorch finds no CUDA GPU here; use auto or cpu.")
    gpus = torch.cuda.device_count()
    if accelerator != "cpu" and gpus and devices > gpus:
        raise UserError(f"training.devices is {devices}, but there are only {gpus} GPUs here; lower it.")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips and hints off the screen, and nothing else."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in CHATTER:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
