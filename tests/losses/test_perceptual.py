"""Properties every perceptual loss must have, and a second implementation on torchvision's own network."""

import pytest
import torch
import torchvision
from torch import nn

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.losses import PerceptualLoss
from dfcvae.weights import load_vgg_weights

ARCH, LAYERS, WEIGHTS = "vgg11_bn", [0, 5, "bn3_2", "conv4_1"], [0.5, 1.0, 2.0, 3.0]
INDICES = [0, 5, 12, 15]


@pytest.fixture(scope="module")
def loss():
    return PerceptualLoss(VGGFeatures(ARCH, LAYERS, "random"), WEIGHTS)


@pytest.fixture(scope="module")
def reference():
    """A naive implementation: torchvision's network, one image and one layer at a time."""
    network = torchvision.models.vgg11_bn(weights=None).features.eval()
    network.load_state_dict(load_vgg_weights(ARCH, "random")[0], strict=False)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def features(image, index):
        h = ((image - mean) / std)[None]
        for position in range(index + 1):
            h = network[position](h)
        return h.clone()

    def distance(a, b, index):
        difference = features(a, index) - features(b, index)
        return (difference**2).sum() / difference.numel()

    return distance


def test_equals_the_naive_implementation(loss, reference, x, x_hat):
    terms = loss.terms(x_hat, x)
    for name, index in zip(terms, INDICES, strict=True):
        expected = torch.stack([reference(a, b, index) for a, b in zip(x_hat, x, strict=True)])
        torch.testing.assert_close(terms[name], expected, rtol=1e-4, atol=1e-6)
    total = sum(w * term for w, term in zip(WEIGHTS, terms.values(), strict=True))
    torch.testing.assert_close(loss(x_hat, x), total)


def test_gradient_equals_the_naive_implementation(loss, reference, x, x_hat):
    loss(x_hat, x).sum().backward()
    copy = x_hat.detach().clone().requires_grad_()
    pairs = zip(INDICES, WEIGHTS, strict=True)
    sum(w * reference(a, b, i) for i, w in pairs for a, b in zip(copy, x, strict=True)).backward()
    torch.testing.assert_close(x_hat.grad, copy.grad, rtol=1e-3, atol=1e-6)


def test_zero_with_finite_gradient_at_identical_images(loss, x):
    x_hat = x.clone().requires_grad_()
    value = loss(x_hat, x)
    assert value.tolist() == [0, 0, 0, 0]
    value.sum().backward()
    assert torch.isfinite(x_hat.grad).all()


def test_symmetric_and_positive(loss, x, x_hat):
    torch.testing.assert_close(loss(x_hat, x), loss(x, x_hat))
    assert (loss(x_hat, x) > 0).all()
    assert all((term > 0).all() for term in loss.terms(x_hat, x).values())


def test_the_value_of_an_image_does_not_depend_on_its_batch(loss, x, x_hat):
    loss.train()
    alone = torch.cat([loss(x_hat[i : i + 1], x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(loss(x_hat, x), alone, rtol=1e-4, atol=1e-6)
    others = torch.cat([x_hat[:1], torch.zeros(3, 3, 64, 64)])
    torch.testing.assert_close(loss(others, x)[0], alone[0], rtol=1e-4, atol=1e-6)


def test_every_term_has_a_gradient_on_the_reconstruction(loss, x, x_hat):
    for name, term in loss.terms(x_hat, x).items():
        (gradient,) = torch.autograd.grad(term.sum(), x_hat, retain_graph=True)
        assert (gradient.flatten(1).norm(dim=1) > 0).all(), name


def test_gradient_equals_finite_differences():
    loss = PerceptualLoss(VGGFeatures("vgg11", ["conv1_1", "conv2_1"], "random")).double()
    x, x_hat = torch.rand(2, 3, 4, 4).double(), torch.rand(2, 3, 4, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: loss(image, x), x_hat)


def test_is_float32_under_autocast(loss, x, x_hat):
    x, x_hat = x[:1, :, :32, :32], x_hat[:1, :, :32, :32]  # bfloat16 is slow without its instructions
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(x_hat, x)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(x_hat, x), rtol=0.05, atol=0)


def test_one_weight_or_one_for_each_layer():
    features = VGGFeatures("vgg11", [0, 3], "random")
    assert PerceptualLoss(features, 0.5).weights == {"conv1_1": 0.5, "conv2_1": 0.5}
    with pytest.raises(UserError, match=r"one for each of the 2 layers \(conv1_1, conv2_1\), got 3"):
        PerceptualLoss(features, [1, 2, 3])


def test_adds_nothing_to_a_checkpoint(loss):
    assert nn.ModuleDict({"loss": loss}).state_dict() == {}


def test_the_original_gets_no_gradient(loss, x, x_hat):
    x.requires_grad_()
    loss(x_hat, x).sum().backward()
    assert x.grad is None
