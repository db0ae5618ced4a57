"""Where computations run."""

import os

import torch


def process_rank() -> int:
    """Which of the processes of a run this is, as Lightning numbers those it starts; 0 for the only one."""
    return int(os.environ.get("LOCAL_RANK", 0))


def pick_device(accelerator: str = "auto") -> torch.device:
    """This process's GPU where there is one and it is not declined."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", process_rank())
