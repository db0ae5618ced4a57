"""Automatic balance: every term as a Gaussian likelihood with its own maximum-likelihood variance."""

from collections.abc import Mapping
from math import pi

import torch
from torch import Tensor, nn

MEMORY = 0.99  # of the running mean squared errors: about a hundred batches
FLOOR = 1e-6  # smallest variance, as a share of the one at the start


class GaussianLikelihood(nn.Module):
    """Negative log-likelihoods of mean squared errors, in nats per image.

    A term t that compares K numbers has ``-log N(target | output, s I) = K/2 * (error / s + log(2 pi s))`` for a mean
    squared error ``error`` and one variance s for all its numbers, whose maximum-likelihood value is the expected
    error. That optimum is followed by a running mean over training batches, so that an image's value does not depend on
    its batch, and validation and training compute the same. The gradient is that of ``K/2 * log(error)``: no weight is
    left to tune.

    Rybkin, Daniilidis and Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders" (arXiv 2006.13202),
    section 3.2, for pixels; carried over here to features. The derivation is in docs/losses.md.

    Args:
        numbers: K of every term, by name.
        variances: s of every term to begin with; that of its target, which is the error of the mean image.
    """

    variance: Tensor
    floor: Tensor

    def __init__(self, numbers: Mapping[str, int], variances: Mapping[str, float]):
        super().__init__()
        self.numbers = dict(numbers)
        start = torch.tensor([variances[name] for name in numbers])
        self.register_buffer("variance", start)
        self.register_buffer("floor", FLOOR * start, persistent=False)

    def forward(self, errors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``-log N`` of every term, (N,) nats by name, for mean squared errors (N,); training updates the variances."""
        variance = self.variance.clone()  # the update below must not reach the graph
        if self.training:
            self._update(errors)
        return {
            name: numbers / 2 * (errors[name] / variance[i] + torch.log(2 * pi * variance[i]))
            for i, (name, numbers) in enumerate(self.numbers.items())
        }

    @torch.no_grad()
    def _update(self, errors: Mapping[str, Tensor]) -> None:
        now = torch.stack([errors[name].mean() for name in self.numbers])
        self.variance.lerp_(now.maximum(self.floor), 1 - MEMORY)
