"""What a row's process is asked about its step."""

from collections.abc import Callable
from typing import Any

from dfcvae.bench.step import Step, flops_per_image, seconds_of_parts, seconds_per_step
from dfcvae.device import give_back, peak_memory, reset_peak_memory

COMPILING = 3  # steps until kernels are chosen and compiled


class Measured:
    """A step, built when it is asked to start: processes that start together build one after the other.

    Args:
        build: the step.
    """

    def __init__(self, build: Callable[[], Step]):
        self.build = build

    def start(self) -> dict[str, Any]:
        """Build, warm up, and tell what is the same in every round."""
        self.step = self.build()
        flops = flops_per_image(self.step)
        if self.step.device.type == "cuda":
            seconds_per_step(self.step, COMPILING)
        give_back(self.step.device)
        reset_peak_memory(self.step.device)
        return {"flops_per_image": flops, "arithmetic": self.step.arithmetic}

    def seconds(self, count: int, warm_up: int) -> float:
        """Of one step."""
        return seconds_per_step(self.step, count, warm_up)

    def rest(self) -> None:
        """Hold no more memory than needed while others have their turn."""
        give_back(self.step.device)

    def parts(self, count: int) -> dict[str, float]:
        """Seconds of the parts of a step."""
        return seconds_of_parts(self.step, count)

    def memory(self) -> int | None:
        """Peak since the start, in bytes."""
        return peak_memory(self.step.device)
