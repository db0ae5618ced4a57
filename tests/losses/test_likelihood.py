"""Automatic balance: the likelihood, its maximum, and that no weight is left to tune."""

import math

import pytest
import torch
from torch.distributions import Normal

from dfcvae.build import build_objective, build_perceptual
from dfcvae.config import FeatureConfig, LossConfig
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.gaussian import kl_divergence
from dfcvae.images import to_float
from dfcvae.losses import GaussianLikelihood, Objective, PerceptualLoss, beta_eff, count_numbers, measure_scales
from dfcvae.losses.base import mean_squared_error
from dfcvae.losses.objective import FLOOR, MEMORY


@pytest.fixture(scope="module")
def perceptual():
    return PerceptualLoss(VGGFeatures("vgg11_bn", [4, 9], "random"))


@pytest.fixture
def posterior():
    return torch.randn(4, 5), torch.randn(4, 5)


def objective(perceptual, variances, alpha=1.0):
    numbers = count_numbers(torch.rand(1, 3, 64, 64), perceptual)
    return Objective(alpha, 1.0, 1.0, perceptual, likelihood=GaussianLikelihood(numbers, variances))


VARIANCES = {"pixel": 0.05, "features/conv2_1": 0.7, "features/bn3_1": 2.0}


def test_the_total_is_the_negative_elbo(perceptual, x, x_hat, posterior):
    """Against torch.distributions: alpha 1 and no other weight."""
    made = objective(perceptual, VARIANCES).eval()
    terms = made.terms(x_hat, x, *posterior)
    targets = {"pixel": (x, x_hat)}
    for layer in perceptual.weights:
        targets[f"features/{layer}"] = (perceptual.features(x)[layer], perceptual.features(x_hat)[layer])
    expected = kl_divergence(*posterior)
    for name, (target, output) in targets.items():
        nats = -Normal(output, math.sqrt(VARIANCES[name])).log_prob(target).flatten(1).sum(dim=1)
        torch.testing.assert_close(terms[name], nats, rtol=1e-4, atol=0)
        expected = expected + nats
    torch.testing.assert_close(made.total(terms), expected, rtol=1e-4, atol=0)


def test_training_follows_the_mean_error_and_validation_does_not():
    likelihood = GaussianLikelihood({"pixel": 100}, {"pixel": 1.0})
    errors = {"pixel": torch.tensor([0.1, 0.3])}
    likelihood.eval()(errors)
    assert likelihood.variance.item() == 1.0
    likelihood.train()
    likelihood(errors)
    assert likelihood.variance.item() == pytest.approx(MEMORY * 1.0 + (1 - MEMORY) * 0.2)
    for _ in range(2_000):
        likelihood(errors)
    assert likelihood.variance.item() == pytest.approx(0.2, rel=1e-4)


def test_the_value_of_an_image_does_not_depend_on_its_batch_in_training_either(perceptual, x, x_hat, posterior):
    made = [objective(perceptual, VARIANCES).train() for _ in range(2)]
    together = made[0].terms(x_hat, x, *posterior)
    alone = made[1].terms(x_hat[:1], x[:1], *(p[:1] for p in posterior))
    for name, value in together.items():
        torch.testing.assert_close(value[:1], alone[name], rtol=1e-5, atol=1e-4)


def test_no_gradient_flows_through_the_variance():
    """Away from the fitted variance, where such a gradient would not cancel: d/dx K/2 error / s, with s constant."""
    x = torch.rand(2, 3, 8, 8)
    x_hat = torch.rand(2, 3, 8, 8, requires_grad=True)
    likelihood = GaussianLikelihood({"pixel": 192}, {"pixel": 0.5}).train()
    value = likelihood({"pixel": mean_squared_error(x_hat, x)})["pixel"].sum()
    (gradient,) = torch.autograd.grad(value, x_hat)
    torch.testing.assert_close(gradient, 96 / 0.5 * 2 * (x_hat - x).detach() / 192)


def test_a_perfect_term_stays_finite():
    likelihood = GaussianLikelihood({"pixel": 100}, {"pixel": 0.05})
    for _ in range(5_000):
        value = likelihood({"pixel": torch.zeros(2)})["pixel"]
    assert likelihood.variance.item() == pytest.approx(FLOOR * 0.05, rel=0.01)
    assert torch.isfinite(value).all()


def test_beta_eff_is_alpha_times_the_variance(perceptual):
    made = objective(perceptual, VARIANCES, alpha=3.0)
    assert beta_eff(made, 3 * 64 * 64) == pytest.approx(3.0 * 0.05)


def test_built_from_a_configuration_it_starts_at_the_mean_image(splits):
    config = FeatureConfig(arch="vgg11_bn", layers=[4, "bn3_1"], weights="random")
    loss = LossConfig(alpha=1.0, scale="likelihood", features=config)
    perceptual = build_perceptual(config)
    made = build_objective(loss, perceptual, splits["train"].images)
    x = to_float(splits["train"].images)
    scales = measure_scales(lambda: [x], perceptual)
    assert made.likelihood.variance.tolist() == pytest.approx(list(scales.values()), rel=1e-4)
    assert made.likelihood.numbers == {
        "pixel": 3 * 32 * 32,
        "features/conv2_1": 128 * 16 * 16,
        "features/bn3_1": 256 * 64,
    }
    assert set(made.state_dict()) == {"likelihood.variance"}  # the fitted variances go on after a resume


@pytest.mark.parametrize("preset", ["vgg-l1", "vae-123", "ssim", "content"])
def test_other_distances_have_no_gaussian_likelihood(preset, splits):
    config = FeatureConfig(preset, weights="imagenet" if preset == "ssim" else "random")
    loss = LossConfig(scale="likelihood", features=config)
    with pytest.raises(UserError, match="requires mean squared distances; choose features with distance squared"):
        build_objective(loss, build_perceptual(config), splits["train"].images)
