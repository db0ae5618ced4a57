"""Random numbers as a function of (seed, purpose, counter), independent of earlier draws."""

from enum import IntEnum

import numpy as np
import torch


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
