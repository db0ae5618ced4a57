"""What a training step of the benchmark is, and how it and its parts are timed."""

from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

Batch = Any  # images (N, C, H, W) on the device, and what each kind of step knows of them besides
Outputs = tuple[Tensor, Tensor, Tensor]  # x_hat (N, C, H, W), mu and logvar (N, D)
PARTS = ("data", "VAE", "features", "optimiser")


class Step(Protocol):
    """A training step in pieces.

    Attributes:
        device: where it runs.
        batch_size: images in a step.
        arithmetic: what its convolutions are computed in: ``"float32"``, ``"tf32"`` or ``"bfloat16"``.
    """

    device: torch.device
    batch_size: int
    arithmetic: str

    def fetch(self) -> Batch:
        """The next batch, on the device."""

    def forward(self, batch: Batch) -> Outputs:
        """The VAE on a batch."""

    def loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """What is minimised, a scalar, from the outputs of the VAE."""

    def total(self, batch: Batch) -> Tensor:
        """``loss`` of ``forward``, in the way that the step is written."""

    def update(self, loss: Tensor) -> None:
        """Change the weights by their gradients, clear these, and log."""


def train(step: Step, count: int) -> Tensor:
    """Take ``count`` steps; returns the last loss."""
    for _ in range(count):
        loss = step.total(step.fetch())
        loss.backward()
        step.update(loss)
    return loss.detach()


def seconds_per_step(step: Step, count: int, warm_up: int = 0) -> float:
    """Wall-clock seconds of one step, averaged over ``count`` after some that do not count."""
    if warm_up:
        train(step, warm_up)
    start = _now(step.device)
    train(step, count)
    return (_now(step.device) - start) / count


def seconds_of_parts(step: Step, count: int) -> dict[str, float]:
    """Wall-clock seconds of each part of a step, averaged over ``count`` steps.

    The graph is cut at the outputs of the VAE, and the backward pass done in two halves: first through the feature
    network, then through the VAE. It is the same work with a synchronisation between the parts.
    """
    spent = dict.fromkeys(PARTS, 0.0)
    for _ in range(count):
        times = [_now(step.device)]
        batch = step.fetch()
        times.append(_now(step.device))
        outputs = step.forward(batch)
        times.append(_now(step.device))
        leaves = tuple(output.detach().requires_grad_() for output in outputs)
        loss = step.loss(batch, (leaves[0], leaves[1], leaves[2]))
        loss.backward()
        times.append(_now(step.device))
        torch.autograd.backward(outputs, [leaf.grad for leaf in leaves])
        times.append(_now(step.device))
        step.update(loss)
        times.append(_now(step.device))
        data, forward, features, backward, optimiser = (b - a for a, b in pairwise(times))
        for part, value in zip(PARTS, (data, forward + backward, features, optimiser), strict=True):
            spent[part] += value / count
    return spent


def flops_per_image(step: Step) -> float:
    """Floating-point operations of one step for each image, of convolutions and matrix products; takes a step.

    A multiplication and an addition count as two.
    """
    counter: Any = FlopCounterMode(display=False)
    with counter, torch.compiler.set_stance("force_eager"):  # it does not see into compiled code
        train(step, 1)
    return float(counter.get_total_flops()) / step.batch_size


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()
