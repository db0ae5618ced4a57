"""The bounds on ln p(x), on a linear Gaussian model whose ln p(x) is known."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from dfcvae.evaluation.likelihood import (
    gaussian_log_likelihood,
    importance_weighted_bound,
    likelihood_bounds,
    posterior_draws,
    posterior_noise,
)
from dfcvae.gaussian import kl_divergence

LATENT, SHAPE, VARIANCE = 3, (1, 4, 4), 0.3


class Linear:
    """``x = W z + b + noise`` with orthogonal columns in W, so that the true posterior is diagonal."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        basis, _ = torch.linalg.qr(torch.randn(16, LATENT, generator=generator, dtype=torch.float64))
        self.w, self.b = basis * torch.tensor([2.0, 1.0, 0.5]), torch.randn(16, generator=generator).double()
        z, noise = torch.randn(40, LATENT, generator=generator), torch.randn(40, 16, generator=generator)
        self.x = (self.mean(z.double()) + VARIANCE**0.5 * noise).view(40, *SHAPE)

    def mean(self, z):
        return z @ self.w.T + self.b

    def decode(self, z):
        return self.mean(z).view(-1, *SHAPE)

    def posterior(self):
        precision = 1 + self.w.square().sum(dim=0) / VARIANCE
        mu = (self.x.flatten(1) - self.b) @ self.w / VARIANCE / precision
        return mu, -precision.log().expand_as(mu)

    def log_p(self):
        covariance = self.w @ self.w.T + VARIANCE * torch.eye(16)
        return MultivariateNormal(self.b, covariance).log_prob(self.x.flatten(1))

    def bounds(self, mu, logvar, k, seed=0):
        noise = posterior_noise(range(len(mu)), k, LATENT, seed)
        error, ratio = posterior_draws(self.decode, self.x, mu, logvar, noise)
        likelihood = gaussian_log_likelihood(error, 16, VARIANCE)
        elbo = likelihood.mean(dim=1) - kl_divergence(mu, logvar)
        return elbo, importance_weighted_bound(likelihood, ratio)


@pytest.fixture(scope="module")
def model():
    return Linear()


def test_with_the_true_posterior_the_bound_is_the_likelihood(model):
    mu, logvar = model.posterior()
    for k in (1, 7):
        torch.testing.assert_close(model.bounds(mu, logvar, k)[1], model.log_p())
    elbo = model.bounds(mu, logvar, 2000)[0]  # tight too, but for the noise of its draws
    torch.testing.assert_close(elbo, model.log_p(), rtol=0, atol=0.2)


def test_with_another_posterior_it_rises_to_the_likelihood_with_k(model):
    mu, logvar = model.posterior()
    mu, logvar = mu + 0.3, logvar + 0.5
    bounds = [model.bounds(mu, logvar, k)[1].mean().item() for k in (1, 5, 50, 2000)]
    elbo = model.bounds(mu, logvar, 2000)[0].mean().item()
    assert bounds[0] == pytest.approx(elbo, abs=0.5)  # with one draw the two have the same expectation
    assert elbo < bounds[1] < bounds[2] < bounds[3]
    assert bounds[3] == pytest.approx(model.log_p().mean().item(), abs=0.03)


def test_the_variance_is_the_one_that_makes_the_bound_largest(model):
    mu, logvar = model.posterior()
    mu, noise = mu + 0.3, posterior_noise(range(40), 20, LATENT, 0)
    error, ratio = posterior_draws(model.decode, model.x, mu, logvar, noise)
    kl = kl_divergence(mu, logvar)
    bounds, variance = likelihood_bounds(error, ratio, kl, 16)
    elbo = bounds["negative_elbo"].mean().item()
    assert elbo == pytest.approx(kl.mean().item() + 8 * (1 + math.log(2 * math.pi * variance)))
    for other in (0.8 * variance, 1.2 * variance):
        assert (kl - gaussian_log_likelihood(error, 16, other).mean(dim=1)).mean().item() > elbo + 0.1
    assert bounds["negative_iwae"].mean().item() < elbo - 0.1
    assert "negative_iwae" not in likelihood_bounds(error[:, :1], ratio[:, :1], kl, 16)[0]


def test_the_noise_of_an_image_depends_on_its_place_and_the_seed_alone():
    noise = posterior_noise(range(6), 2, 3, 0)
    assert noise.shape == (6, 2, 3)
    assert torch.equal(noise[4:], posterior_noise(range(4, 6), 2, 3, 0))
    assert not torch.equal(noise, posterior_noise(range(6), 2, 3, 1))
    assert len(noise.unique()) == noise.numel()
