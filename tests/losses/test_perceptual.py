"""The perceptual loss on any layers, its weights, and the mistakes that it notices."""

import numpy as np
import pytest
import torch
from torch import nn

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.losses import Objective, PerceptualLoss, SSIMLoss
from tests.losses import naive

LAYERS, WEIGHTS = [0, 5, "bn3_2", "conv4_1"], [0.5, 1.0, 2.0, 3.0]
INDICES = [0, 5, 12, 15]


@pytest.fixture(scope="module")
def loss():
    return PerceptualLoss(VGGFeatures("vgg11_bn", LAYERS, naive.network("vgg11_bn")), WEIGHTS)


def test_values_and_gradient_equal_the_naive_implementation(x, x_hat):
    """Of any layers and weights; in float64, where rounding exchanges no two numbers that are pooled."""
    network = naive.network("vgg11_bn")
    loss = PerceptualLoss(VGGFeatures("vgg11_bn", LAYERS, network), WEIGHTS).double()
    x, x_hat = x.double(), x_hat.detach().double().requires_grad_()
    pairs = zip(*(naive.captured(network.double(), images, INDICES) for images in (x_hat, x)), strict=True)
    expected = [naive.each(naive.mean_square, a, b) for a, b in pairs]
    terms = loss.terms(x_hat, x)
    for name, other in zip(terms, expected, strict=True):
        torch.testing.assert_close(terms[name], other, rtol=1e-5, atol=1e-8)
        (gradient,) = torch.autograd.grad(terms[name].sum(), x_hat, retain_graph=True)
        assert (gradient.flatten(1).norm(dim=1) > 0).all(), name
    total = sum(weight * other for weight, other in zip(WEIGHTS, expected, strict=True))
    torch.testing.assert_close(loss(x_hat, x), total, rtol=1e-5, atol=1e-8)
    found, wanted = (torch.autograd.grad(value.sum(), x_hat)[0] for value in (loss(x_hat, x), total))
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


def test_the_original_gets_no_gradient(loss, x, x_hat):
    x.requires_grad_()
    loss(x_hat, x).sum().backward()
    assert x.grad is None


@pytest.fixture(scope="module")
def features():
    return VGGFeatures("vgg11", [0, 3], "random")


@pytest.mark.parametrize(
    "weights",
    [[2.0, 3.0], (2, 3), torch.tensor([2.0, 3.0]), np.array([2.0, 3.0]), {"conv2_1": 3.0, 0: 2.0}],
    ids=["list", "tuple", "tensor", "array", "dict"],
)
def test_weights_in_every_form(weights, features, x, x_hat):
    loss = PerceptualLoss(features, weights)
    assert loss.weights == {"conv1_1": 2.0, "conv2_1": 3.0}
    assert loss(x_hat, x).shape == (4,)
    torch.testing.assert_close(loss(x_hat, x), PerceptualLoss(features, [2.0, 3.0])(x_hat, x))
    for weight in (0.5, np.float32(0.5), torch.tensor(0.5)):  # of all layers
        assert PerceptualLoss(features, weight).weights == {"conv1_1": 0.5, "conv2_1": 0.5}


@pytest.mark.parametrize(
    "weights", [[1, 2, 3], torch.ones(4), torch.ones(2, 1), {"conv1_1": 1.0}, {0: 1, "relu1_1": 2}, ["a", "b"], "ab"]
)
def test_weights_that_do_not_fit_are_sentences(weights, features):
    with pytest.raises(UserError, match=r"one number, or one for each of the 2 layers \(conv1_1, conv2_1\), got"):
        PerceptualLoss(features, weights)


def plain(x_hat, x):
    """The terms of an objective without features."""
    objective = Objective(0.1, 1.0)
    return objective.terms(x_hat, x, torch.zeros(len(x), 2), torch.zeros(len(x), 2))


def shallow():
    return PerceptualLoss(VGGFeatures("vgg11", [0], "random"))


MAKE = {"features": shallow, "ssim": SSIMLoss, "pixels": lambda: plain}
CONVERT = r"originals in \[0, 1\], got .* to .*; convert them: \(x \+ 1\) / 2 from \[-1, 1\], x / 255"


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (2 * a - 1, 2 * b - 1), CONVERT),
        (lambda a, b: (255 * a, 255 * b), CONVERT),
        (lambda a, b: ((a - 0.45) / 0.22, (b - 0.45) / 0.22), CONVERT),
        (lambda a, b: (a[:, :2], b[:, :2]), r"C 3 \(RGB\) or 1 \(grey\), got \(4, 2, 64, 64\); drop an alpha channel"),
        (lambda a, b: (a[:, [0, 1, 2, 2]], b[:, [0, 1, 2, 2]]), r"got \(4, 4, 64, 64\); drop an alpha channel"),
        (lambda a, b: (a.movedim(1, -1), b.movedim(1, -1)), r"got \(4, 64, 64, 3\); .* permute images whose channels"),
        (lambda a, b: (b, a), r"Only the originals require a gradient.*: swap the arguments, loss\(x_hat, x\)"),
    ],
)
def test_usual_mistakes_are_sentences(kind, change, message, x, x_hat):
    loss = MAKE[kind]()
    for _ in range(2):  # until it is mended
        with pytest.raises(UserError, match=message):
            loss(*change(x_hat, x))
    loss(x_hat, x)


def test_reconstructions_outside_the_range_are_a_warning_once(features, x, x_hat):
    loss = PerceptualLoss(features)
    with pytest.warns(UserWarning, match=r"reconstructions in \[0, 1\], got -.*; end the network in a sigmoid"):
        loss(3 * x_hat - 1, x)
    loss(3 * x_hat - 1, 2 * x - 1)  # only the first call waits for a GPU
    loss = PerceptualLoss(features)
    loss(1.16 * x_hat - 0.08, 1.16 * x - 0.08)  # a little is taken, and swapped arguments if nothing trains
    with torch.no_grad():
        torch.testing.assert_close(loss(x, x_hat), loss(x_hat, x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_only_the_first_call_waits_for_a_gpu(x, x_hat):
    loss, x_hat, x = shallow().cuda(), x_hat.cuda(), x.cuda()
    loss(x_hat, x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x_hat, x).mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_weights_lost_on_the_meta_device_are_a_sentence(x):
    with torch.device("meta"):
        model = nn.ModuleDict({"loss": shallow(), "line": nn.Linear(2, 2)})
    assert model["loss"](x, x).tolist() == [0] * 4  # even there it has them
    loss = model.to_empty(device="cpu")["loss"]
    for _ in range(2):
        with pytest.raises(UserError, match=r"has lost its weights: to_empty was called .* build VGGFeatures after"):
            loss(x, x)


def test_gradient_equals_finite_differences():
    loss = PerceptualLoss(VGGFeatures("vgg11", ["conv1_1", "conv2_1"], "random")).double()
    x, x_hat = torch.rand(2, 3, 4, 4).double(), torch.rand(2, 3, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: loss(image, x), x_hat)


def test_compiled_and_mapped_losses_have_no_check_that_breaks_them(features, x, x_hat):
    torch._dynamo.reset()
    loss = PerceptualLoss(features)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    values = compiled(x_hat, x)
    mapped = torch.func.vmap(lambda a, b: loss(a[None], b[None])[0])(x_hat, x)
    assert not getattr(loss, "range_checked", False)
    for found in (mapped, loss(x_hat, x), compiled(x_hat, x)):
        torch.testing.assert_close(found, values, rtol=1e-4, atol=1e-6)
