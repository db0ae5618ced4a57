"""The package's own step in one process, or in several that share the batch and average their gradients."""

from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from dfcvae.bench.measured import Measured
from dfcvae.bench.ours import OwnStep
from dfcvae.bench.settings import BenchSettings
from dfcvae.device import pick_precision

PATIENCE = timedelta(seconds=120)  # of a process for the others


def random_step(settings: BenchSettings) -> OwnStep:
    """The step on random images, whose speed is that of any others."""
    generator = torch.Generator().manual_seed(0)
    shape = (2 * settings.batch_size, 3, settings.size, settings.size)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return OwnStep(settings, images, pick_precision(settings.device))


def measured_alone(settings: BenchSettings) -> Measured:
    """In this process, with all threads."""
    return Measured(lambda: random_step(settings))


def measured_together(settings: BenchSettings, rank: int, processes: int, meeting: Path) -> Measured:
    """In one of some processes, each with its part of the threads and ``settings.batch_size`` images of its own.

    Args:
        settings: of a process.
        rank: of this process.
        processes: how many there are.
        meeting: a file that does not exist, where they find each other.
    """

    def build() -> OwnStep:
        gpu = settings.device.type == "cuda"
        if gpu:
            torch.cuda.set_device(rank)
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))  # more than processors take turns, slowly
        distributed.init_process_group(
            "nccl" if gpu else "gloo", f"file://{meeting}", PATIENCE, world_size=processes, rank=rank
        )
        step = random_step(settings)
        step.run_vae = DistributedDataParallel(step.module.vae)
        return step

    return Measured(build)
