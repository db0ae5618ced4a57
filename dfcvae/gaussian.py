"""The diagonal Gaussian posterior q(z|x) = N(mu, diag exp(logvar)): sampling and divergence from the prior N(0, I)."""

import torch
from torch import Tensor

from dfcvae.device import at_least_float32


def sample_posterior(mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
    """Reparameterised draw ``z = mu + exp(logvar / 2) * eps`` (Kingma and Welling 2014, section 2.4).

    Args:
        mu: posterior means, (N, D).
        logvar: logarithms of the posterior variances, (N, D).
        eps: standard normal noise, (N, D). The caller draws it, so that a step can be repeated exactly.
    """
    return mu + torch.exp(0.5 * logvar) * eps


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z_d|x) || N(0, 1)) of each latent dimension in nats, (N, D); never negative.

    ``1/2 (mu^2 + sigma^2 - 1 - ln sigma^2)``. The variance part uses ``expm1``, which cancels far less than the plain
    formula where the posterior is close to the prior: in float32, an error of 1e-4 instead of 0.05 at ``logvar`` 0.001.
    """
    mu, logvar = at_least_float32(mu), at_least_float32(logvar)
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) of each image in nats: the sum over latent dimensions, (N,).

    Kingma and Welling 2014, appendix B, with the sign of a divergence: it is minimised.
    """
    return kl_per_dimension(mu, logvar).sum(dim=1)


def active_units(mu: Tensor, threshold: float = 0.01) -> int:
    """Number of latent dimensions the encoder uses: those with ``Var_x(E[z_d|x]) > threshold``.

    Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders", section 2 of the experiments.

    Args:
        mu: posterior means of many images, (N, D) with N >= 2.
        threshold: variance under which a dimension counts as ignored; the paper's value is 0.01.
    """
    return int((mu.float().var(dim=0) > threshold).sum())
