"""The popular step computes what it should, and no measure changes that."""

from dataclasses import fields

import pytest
import torch
import torchvision
from torch import nn

from dfcvae.bench.faces import JPEGFaces
from dfcvae.bench.network import collect, fold_batch_norms, popular_network
from dfcvae.bench.popular import Measures, PopularStep
from dfcvae.images import IMAGENET_MEAN, IMAGENET_STD
from dfcvae.losses import perceptual

pytestmark = pytest.mark.slow  # they start processes and run whole networks

ALIASED = [14, 25, 35, 43]  # what the popular loop returns for 14, 24, 34 and 43


@pytest.fixture(scope="module")
def popular(folder, settings):
    return PopularStep(settings, folder, Measures())


@pytest.fixture(scope="module")
def batch(popular):
    images = torch.rand(2, 3, 32, 32)
    return images, torch.tensor([0, 5])


@pytest.fixture(scope="module")
def outputs(popular, batch):
    torch.manual_seed(1)
    return tuple(output.detach() for output in popular.forward(batch))


def test_the_network_is_torchvisions():
    with torch.device("meta"):
        expected = torchvision.models.vgg19_bn(weights=None).features
    network = popular_network()
    assert [str(module) for module in network] == [str(module) for module in expected]
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_loss_equals_a_computation_by_hand(popular, batch, outputs):
    (x, _), (x_hat, mu, logvar) = batch, outputs
    expected = 0.5 * ((x_hat - x) ** 2).mean()
    a, b = x_hat, x
    for index, module in enumerate(popular.features):
        a, b = module(a.clone()), module(b.clone())
        if index in ALIASED:
            expected = expected + 0.5 * ((a - b) ** 2).mean()
    variance = logvar.exp()
    expected = expected + 0.00025 * (0.5 * (mu**2 + variance - logvar - 1)).sum() / 2
    torch.testing.assert_close(popular.loss(batch, outputs), expected, rtol=1e-5, atol=0)


def test_the_feature_terms_equal_the_aliased_loss_of_this_package(popular, batch, outputs):
    (x, _), (x_hat, _, _) = batch, outputs
    # the popular code does not normalise its images, this package does: take that back
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    expected = perceptual("dfc-aliased", popular.features)(x_hat * std + mean, x * std + mean).mean()
    pairs = zip(popular.see(x_hat), popular.see(x), strict=True)
    torch.testing.assert_close(sum(((a - b) ** 2).mean() for a, b in pairs), expected, rtol=1e-4, atol=0)


PRECISION = {"bfloat16": 0.03, "kept": 0.01}  # the others: float32
WITHOUT_COMPILING = [field.name for field in fields(Measures) if field.name not in ("compiled", "keep_memory")]


@pytest.mark.parametrize("name", WITHOUT_COMPILING)
def test_a_measure_leaves_the_loss_as_it_is(name, popular, batch, outputs, folder, settings):
    step = PopularStep(settings, folder, Measures(**{name: True}))
    if name == "kept":  # its targets are those of the files
        batch = JPEGFaces(folder, 32).all_images()[batch[1]], batch[1]
    expected = popular.loss(batch, outputs)
    torch.testing.assert_close(step.loss(batch, outputs), expected, rtol=PRECISION.get(name, 1e-4), atol=0)
    assert step.arithmetic == ("bfloat16" if name == "bfloat16" else "float32")


def test_folding_is_exact_for_batch_norms_that_do_something():
    layers = [14, 24, 34, 43]
    network = popular_network()[:44]
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    folded = fold_batch_norms(network, layers)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in folded) == 1  # behind conv3_1, which is collected
    x = torch.rand(2, 3, 32, 32)
    for output, expected in zip(collect(folded, x, layers), collect(network, x, layers), strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)


def test_a_step_trains_and_leaves_the_network_alone(popular, batch, folder, settings):
    step = PopularStep(settings, folder, Measures(cached=True))
    before = [parameter.clone() for parameter in step.vae.parameters()]
    frozen = {name: value.clone() for name, value in step.features.state_dict().items()}
    loss = step.total(step.fetch())
    loss.backward()
    step.update(loss)
    assert all(not torch.equal(a, b) for a, b in zip(before, step.vae.parameters(), strict=True))
    assert all(torch.equal(value, frozen[name]) for name, value in step.features.state_dict().items())
    assert all(parameter.grad is None for parameter in step.vae.parameters())
