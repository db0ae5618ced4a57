import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from dfcvae.gaussian import active_units, kl_divergence, kl_per_dimension, sample_posterior


@pytest.fixture
def posterior():
    return torch.randn(16, 7), torch.randn(16, 7)


def test_kl_equals_torch_distributions(posterior):
    mu, logvar = posterior
    expected = torch_kl(Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros(7), torch.ones(7)))
    torch.testing.assert_close(kl_per_dimension(mu, logvar), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kl_divergence(mu, logvar), expected.sum(1), rtol=1e-5, atol=1e-6)


def test_kl_is_zero_at_the_prior_and_never_negative():
    assert kl_divergence(torch.zeros(3, 5), torch.zeros(3, 5)).tolist() == [0, 0, 0]
    tiny = torch.linspace(-1e-3, 1e-3, 2001)[:, None]
    assert (kl_divergence(torch.zeros_like(tiny), tiny) >= 0).all()


def test_kl_is_float32_for_bfloat16_input(posterior):
    mu, logvar = (p.bfloat16() for p in posterior)
    assert kl_divergence(mu, logvar).dtype == torch.float32


def test_sample_has_the_moments_of_the_posterior():
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -1.0]])
    z = sample_posterior(mu, logvar, torch.randn(200_000, 2))
    torch.testing.assert_close(z.mean(0), mu[0], rtol=0, atol=0.01)
    torch.testing.assert_close(z.var(0), logvar[0].exp(), rtol=0.02, atol=0)


def test_active_units_counts_the_dimensions_that_vary():
    mu = torch.randn(1000, 5) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0])
    assert active_units(mu) == (np.cov(mu.T).diagonal() > 0.01).sum() == 3
    assert active_units(mu, threshold=0.001) == 4
