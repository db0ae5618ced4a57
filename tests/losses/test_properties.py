"""Properties of every published loss over random images, and of the distances they are made of."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dfcvae.losses import NAMES, gram_matrix, perceptual
from dfcvae.losses.base import DISTANCES, REDUCTIONS, compare
from dfcvae.vgg import vgg_layers
from tests.losses.naive import ARCHS

SIMILARITIES = {"ssim", "ms-ssim"}
few = settings(max_examples=3)  # and the profile of conftest.py


@st.composite
def pairs(draw, size):
    """Two different batches of images in [0, 1], some of them with pixels at exactly 0 and 1, some nearly alike."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.rand(3, 3, size, size, generator=generator)
    contrast = draw(st.sampled_from([0.2, 1.0, 3.0]))  # 3: a third of the pixels are clipped
    x = (0.5 + contrast * (x - 0.5)).clamp(0, 1)
    noise = draw(st.sampled_from([0.01, 0.3])) * torch.randn(x.shape, generator=generator)
    return (x + noise).clamp(0, 1), x


def narrow(arch):
    """An untrained VGG of a sixteenth of the width: fast, and as good as any for what must hold of every network."""
    torch.manual_seed(0)
    layers = nn.Sequential(*vgg_layers(arch, 1 / 16).values())
    for module in layers:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return layers


# a full-width network, and large images: the slow tier has them
HEAVY = {"lpips", "ms-ssim"}
EVERY = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in NAMES]


@pytest.fixture(scope="module", params=EVERY)
def named(request):
    name = request.param
    network = "random" if name == "lpips" else narrow(ARCHS[name]) if name in ARCHS else None
    return name, perceptual(name, network)


def images_for(name):
    return pairs(176) if name == "ms-ssim" else pairs(32)


@few
@given(data=st.data())
def test_identity_symmetry_and_sign(named, data):
    name, loss = named
    x_hat, x = data.draw(images_for(name))
    values = loss(x_hat, x)
    rounding = 1e-6 if name in SIMILARITIES else 0
    assert loss(x, x).abs().max() <= rounding
    assert (values > -rounding).all()
    assert all((term > 0).all() for term in loss.terms(x_hat, x).values())
    torch.testing.assert_close(loss(x, x_hat), values, rtol=1e-4, atol=1e-7)


@few
@given(data=st.data())
def test_images_do_not_see_their_batch(named, data):
    name, loss = named
    x_hat, x = data.draw(images_for(name))
    values = loss(x_hat, x)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(loss(x_hat[order], x[order]), values[order], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(loss(x_hat[1:2], x[1:2]), values[1:2], rtol=1e-4, atol=1e-7)
    x_hat = x_hat.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x_hat, x)[0], x_hat)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


@few
@given(data=st.data())
def test_finite_gradients_at_identity_and_at_the_ends_of_the_range(named, data):
    name, loss = named
    x_hat, x = data.draw(images_for(name))
    for output, target in ((x, x), (x_hat, x), (torch.zeros_like(x), x), (x, torch.ones_like(x)), (x * 0, x * 0)):
        output = output.clone().requires_grad_()
        value = loss(output, target).sum()
        (gradient,) = torch.autograd.grad(value, output)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@few
@given(data=st.data())
def test_grey_images_are_taken_as_three_equal_channels(named, data):
    name, loss = named
    x_hat, x = (images[:, :1] for images in data.draw(images_for(name)))
    torch.testing.assert_close(loss(x_hat, x), loss(x_hat.expand(-1, 3, -1, -1), x.expand(-1, 3, -1, -1)))


def test_adds_nothing_to_a_checkpoint_and_stays_in_eval(named):
    name, loss = named
    x_hat, x = torch.rand(2, 2, 3, *(2 * [176 if name == "ms-ssim" else 32]))
    before = loss.eval()(x_hat, x)
    assert torch.equal(loss.train()(x_hat, x), before)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []


tensors = st.integers(0, 2**31).map(lambda seed: torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("distance", DISTANCES)
@given(a=tensors, b=tensors, factor=st.floats(0.1, 10))
@settings(max_examples=20)
def test_distances_equal_loops_and_scale_as_documented(distance, reduction, a, b, factor):
    divisor = {"mean": 60, "half-mean": 120, "sum": 1}[reduction]
    loops = {
        "squared": lambda d: sum(v * v for v in d),
        "absolute": lambda d: sum(abs(v) for v in d),
        "norm": lambda d: math.sqrt(sum(v * v for v in d)),
        "charbonnier": lambda d: sum(math.sqrt(v * v + 1e-6) - 1e-3 for v in d),
    }
    values = compare(a, b, distance, reduction)
    expected = [loops[distance]((p - q).flatten().tolist()) / divisor for p, q in zip(a, b, strict=True)]
    assert values.tolist() == pytest.approx(expected, rel=1e-4)
    power = {"squared": 2, "absolute": 1, "norm": 1}.get(distance)
    if power:
        scaled = compare(factor * a, factor * b, distance, reduction)
        torch.testing.assert_close(scaled, factor**power * values, rtol=1e-4, atol=0)


@given(features=tensors, factor=st.floats(0.1, 10))
@settings(max_examples=20)
def test_gram_matrices_equal_loops_one_image_at_a_time(features, factor):
    grams = gram_matrix(features)
    for image, gram in zip(features, grams, strict=True):
        for i in range(3):
            for j in range(3):
                assert gram[i, j].item() == pytest.approx((image[i] * image[j]).sum().item() / 60, rel=1e-3, abs=1e-6)
    torch.testing.assert_close(gram_matrix(factor * features), factor**2 * grams, rtol=1e-4, atol=1e-5)
    places = torch.randperm(20)
    shuffled = features.flatten(2)[:, :, places].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), grams, rtol=1e-4, atol=1e-5)  # style knows no place
