import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import MultivariateNormal

from dfcvae.errors import UserError
from dfcvae.latent import Prior, fit_gaussian, fit_mixture
from dfcvae.vae import VAE


def two_clouds(n, seed=0):
    """Posterior means in two places, with small variances."""
    g = torch.Generator().manual_seed(seed)
    mu = torch.randn(n, 3, generator=g) * torch.tensor([0.5, 1.0, 0.2])
    mu[: n // 4] += torch.tensor([6.0, 0, -4.0])
    return mu, torch.full((n, 3), -2.0)


def test_the_standard_prior_draws_what_the_vae_draws():
    vae = VAE("hou2016", 32, 3, 8).eval()
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    z = Prior.standard(8).sample(3, generator=generators[0])
    torch.testing.assert_close(vae.decode_all(z), vae.sample(3, generator=generators[1]), rtol=0, atol=0)


def test_densities_are_those_of_torch_and_scikit_learn():
    z = torch.randn(20, 3)
    expected = MultivariateNormal(torch.zeros(3), torch.eye(3)).log_prob(z)
    torch.testing.assert_close(Prior.standard(3).log_prob(z), expected)
    points = torch.cat([torch.randn(300, 3) @ torch.randn(3, 3), torch.randn(100, 3) + 4]).double().numpy()
    mixture = GaussianMixture(3, random_state=0).fit(points)
    factors = torch.linalg.cholesky(torch.as_tensor(mixture.covariances_))
    ours = Prior(torch.as_tensor(mixture.weights_), torch.as_tensor(mixture.means_), factors)
    torch.testing.assert_close(
        ours.log_prob(torch.as_tensor(points)), torch.as_tensor(mixture.score_samples(points)), rtol=1e-6, atol=1e-6
    )


def test_the_gaussian_has_the_moments_of_draws_from_the_posteriors():
    mu, logvar = torch.randn(2000, 3) @ torch.randn(3, 3) + 2, torch.randn(2000, 3)
    prior = fit_gaussian(mu, logvar)
    draws = (mu[:, None] + (logvar / 2).exp()[:, None] * torch.randn(2000, 200, 3)).flatten(0, 1)
    torch.testing.assert_close(prior.means[0], draws.mean(dim=0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(prior.factors[0] @ prior.factors[0].T, torch.cov(draws.T), atol=0.05, rtol=0.03)
    assert torch.equal(prior.factors[0].tril(), prior.factors[0])


def test_draws_have_the_moments_of_the_prior_and_temperature_scales_their_spread():
    prior = Prior(torch.tensor([0.25, 0.75]), torch.tensor([[9.0, 0], [0, -9.0]]), torch.randn(2, 2, 2).tril())
    for temperature in (1.0, 0.5):
        z = prior.sample(200_000, temperature=temperature, generator=torch.Generator().manual_seed(1))
        first = (z - prior.means[0]).norm(dim=1) < (z - prior.means[1]).norm(dim=1)
        assert first.float().mean() == pytest.approx(0.25, abs=0.01)
        for k, cloud in enumerate((z[first], z[~first])):
            torch.testing.assert_close(cloud.mean(dim=0), prior.means[k], atol=0.03, rtol=0)
            covariance = temperature**2 * prior.factors[k] @ prior.factors[k].T
            torch.testing.assert_close(torch.cov(cloud.T), covariance, atol=0.03, rtol=0.03)


def test_the_number_of_components_is_the_one_that_held_out_faces_like_best():
    posterior, held_out = two_clouds(800), two_clouds(400, seed=1)
    prior, likelihood = fit_mixture(posterior, held_out, (1, 2, 40))
    assert likelihood.keys() == {"1 full", "2 full", "40 full", "2 tied", "40 tied"}
    assert len(prior.weights) == 2
    again, _ = fit_mixture(posterior, held_out, (1, 2, 40))
    first, same, other = (
        p.sample(5, generator=torch.Generator().manual_seed(s)) for p, s in ((prior, 3), (again, 3), (again, 4))
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert sorted(prior.weights.tolist()) == pytest.approx([0.25, 0.75], abs=0.03)
    assert likelihood["1 full"] < max(likelihood.values()) - 0.5
    assert likelihood["40 full"] < max(likelihood.values())


def test_components_share_their_covariance_where_that_predicts_better():
    """Many clouds of the same shape, few faces in each: a covariance for each would be mostly noise."""

    def draw(n, seed):
        g = torch.Generator().manual_seed(seed)
        centres = 8 * torch.randn(8, 10, generator=torch.Generator().manual_seed(9))
        shape = torch.randn(10, 10, generator=torch.Generator().manual_seed(8))
        return centres[torch.arange(n) % 8] + torch.randn(n, 10, generator=g) @ shape, torch.full((n, 10), -9.0)

    prior, likelihood = fit_mixture(draw(400, 1), draw(200, 2), (1, 8))
    assert likelihood["8 tied"] > likelihood["8 full"] > likelihood["1 full"]
    assert torch.equal(prior.factors[0], prior.factors[7])


def test_too_many_components_for_the_faces_are_not_tried():
    _, likelihood = fit_mixture(two_clouds(30), two_clouds(30, 1), (1, 2, 4, 8))
    assert likelihood.keys() == {"1 full", "2 full", "2 tied", "4 tied"}
    with pytest.raises(UserError, match="in 3 latent dimensions needs at least 12 faces, got 8; use the Gaussian"):
        fit_mixture(two_clouds(8), two_clouds(30, 1), (2, 4))
