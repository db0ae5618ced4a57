"""Bounds on the likelihood of images, with a Gaussian decoder whose one variance is fitted to the images themselves."""

from collections.abc import Callable, Iterable
from math import log, pi

import torch
from torch import Tensor

from dfcvae.gaussian import sample_posterior
from dfcvae.seeding import Stream, seeded_generator


def posterior_noise(images: Iterable[int], draws: int, latent_dim: int, seed: int) -> Tensor:
    """Standard normal noise (N, K, D) of the images with these numbers: the same in batches of any size."""
    generators = (seeded_generator(seed, Stream.EVALUATION, image) for image in images)
    return torch.stack([torch.randn(draws, latent_dim, generator=generator) for generator in generators])


def posterior_draws(
    decode: Callable[[Tensor], Tensor], x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared errors and log ratios of K draws from the posterior of each image, each (N, K) in float64 on the CPU.

    ``|x - decode(z)|^2``, summed over all numbers of an image, and ``ln p(z) - ln q(z|x)`` in nats, which is
    ``1/2 sum_d (eps_d^2 + logvar_d - z_d^2)``, of images (N, C, H, W), posteriors (N, D) and noise (N, K, D).
    """
    errors, ratios = [], []
    for noise in eps.unbind(dim=1):  # one draw at a time, as K batches of images may not fit into memory
        z = sample_posterior(mu, logvar, noise)  # (N, D)
        errors.append((decode(z) - x).double().square().flatten(1).sum(dim=1).cpu())
        ratios.append((noise.square() + logvar - z.square()).double().sum(dim=1).cpu() / 2)
    return torch.stack(errors, dim=1), torch.stack(ratios, dim=1)


def gaussian_log_likelihood(squared_error: Tensor, numbers: int, variance: float) -> Tensor:
    """``ln N(x | x_hat, s I) = -1/2 (|x - x_hat|^2 / s + K ln(2 pi s))`` in nats, of K numbers; shape preserved."""
    return -(squared_error / variance + numbers * log(2 * pi * variance)) / 2


def importance_weighted_bound(log_likelihood: Tensor, log_ratio: Tensor) -> Tensor:
    """``ln 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`` in nats, (N,).

    Of ``ln p(x|z_k)`` and ``ln p(z_k) - ln q(z_k|x)``, each (N, K): Burda, Grosse and Salakhutdinov 2016, "Importance
    Weighted Autoencoders" (arXiv 1509.00519), equation 8. Its expectation is the ELBO for one draw, never falls with K,
    and approaches ln p(x).
    """
    return torch.logsumexp(log_likelihood + log_ratio, dim=1) - log(log_likelihood.shape[1])


def likelihood_bounds(
    squared_error: Tensor, log_ratio: Tensor, kl: Tensor, numbers: int
) -> tuple[dict[str, Tensor], float]:
    """Bounds on ``-ln p(x)`` of each image in nats, and the decoder's variance s they were computed with.

    s is the mean squared error over all images and draws, which among all single variances gives the best ELBO: a model
    trained with any loss is given the decoder noise that suits it. They bound densities, and may be negative.
    ``negative_elbo`` is ``E_q[-ln N(x | decode(z), s I)] + KL(q(z|x) || p(z))``, its expectation the mean over the
    draws; ``negative_iwae``, where there are several draws, is minus the importance-weighted bound.

    Of what `posterior_draws` returns, each (N, K), the KL divergence of each image in nats (N,), and C * H * W.
    """
    variance = float(squared_error.mean()) / numbers
    log_likelihood = gaussian_log_likelihood(squared_error, numbers, variance)
    bounds = {"negative_elbo": kl - log_likelihood.mean(dim=1)}
    if squared_error.shape[1] > 1:
        bounds["negative_iwae"] = -importance_weighted_bound(log_likelihood, log_ratio)
    return bounds, variance
