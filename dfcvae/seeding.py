"""What a training step draws and how its rates change, as functions of the seed and the step alone.

Random numbers depend on (seed, purpose, counter), not on earlier draws.
"""

import math
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from dfcvae.config import Experiment, TrainingConfig


class Stream(IntEnum):
    """Purposes that must not share random numbers."""

    WEIGHTS = 0
    ORDER = 1
    FLIPS = 2
    TRAIN_NOISE = 3
    VALIDATION_NOISE = 4
    PICTURES = 5
    EVALUATION = 6
    SHIFT = 7
    RESAMPLES = 8
    SAMPLES = 9


def seeded_generator(
    seed: int, stream: Stream, counter: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A generator that depends only on its arguments, so that a resumed run draws the same numbers."""
    entropy = np.random.SeedSequence((seed, stream, counter)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(entropy >> np.uint64(1)))


def noise(experiment: Experiment, stream: Stream, counter: int, n: int, device: torch.device) -> Tensor:
    """Standard normal noise (n, D), a function of the arguments alone (a GPU draws other numbers than a CPU)."""
    generator = seeded_generator(experiment.training.seed, stream, counter, device)
    return torch.randn(n, experiment.model.latent_dim, generator=generator, device=device)


def ramp(step: int, length: int) -> float:
    """Rises linearly from ``1 / length`` in step 0 to 1 in step ``length - 1``, where it stays."""
    return min(1.0, (step + 1) / length) if length else 1.0


def rate(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """Factor of the learning rate, a function of the step alone."""
    warmup = ramp(step, config.warmup_steps)
    if config.schedule == "exponential":
        return warmup * config.decay ** (step // steps_per_epoch)
    if config.schedule == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * step / config.total_steps(steps_per_epoch)))
    return warmup


def shift_of(experiment: Experiment, step: int) -> tuple[int, int]:
    """Rows and columns to move both images by before the feature network, a function of seed and step."""
    features = experiment.loss.features
    if features is None or features.shift < 2:
        return 0, 0
    generator = seeded_generator(experiment.training.seed, Stream.SHIFT, step)
    down, right = (torch.randint(features.shift, (2,), generator=generator) - features.shift // 2).tolist()
    return down, right
