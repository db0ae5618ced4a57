"""The losses in any training loop: other precisions, compiled, mapped, differentiated twice, at any size."""

import pytest
import torch

from dfcvae.errors import UserError
from dfcvae.losses import NAMES, gram_matrix, perceptual
from tests.losses.test_properties import ARCHS, HEAVY, narrow

SLOW = pytest.mark.slow
SMALL = [name for name in NAMES if name not in HEAVY] + [pytest.param("lpips", marks=SLOW)]  # ms-ssim needs 161 pixels
COMPILED = ["content", "style", *(pytest.param(name, marks=SLOW) for name in ("dfc", "vgg-l1", "lpips", "ssim"))]


def made(name):
    return perceptual(name, "random" if name == "lpips" else narrow(ARCHS[name]) if name in ARCHS else None)


@pytest.fixture
def pair():
    return torch.rand(2, 3, 32, 32, requires_grad=True), torch.rand(2, 3, 32, 32)


@pytest.mark.parametrize("name", SMALL)
def test_reductions_are_float32_under_autocast(name, pair):
    loss = made(name)
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss.terms(*pair)
        values = loss(*pair)
    assert all(term.dtype == torch.float32 for term in (*terms.values(), values))
    torch.testing.assert_close(values, loss(*pair), rtol=0.1, atol=1e-4)
    if name in ("ssim", "ms-ssim"):
        torch.testing.assert_close(values, loss(*pair), rtol=1e-6, atol=0)  # no network: nothing may be rounded


def test_gram_matrices_are_float32_under_autocast_and_of_half_precision():
    features = torch.rand(2, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        grams = gram_matrix(features)
    torch.testing.assert_close(grams, gram_matrix(features), rtol=1e-6, atol=0)
    assert torch.equal(gram_matrix(features.bfloat16()), gram_matrix(features.bfloat16().float()))


def test_half_precision_features_are_reduced_in_float32():
    """A sum of 65,536 numbers in bfloat16 would stop growing at 256 times its terms."""
    loss = made("vgg-l1-sum")
    loss.features.bfloat16()
    x_hat, x = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    terms = loss.terms(x_hat, x)
    assert loss.represent(x)["relu1_1"].dtype == torch.bfloat16
    assert all(term.dtype == torch.float32 for term in terms.values())
    full = made("vgg-l1-sum").terms(x_hat, x)
    for layer, term in terms.items():
        torch.testing.assert_close(term, full[layer], rtol=0.05, atol=0)


def test_lpips_divides_half_precision_features_by_their_length_in_float32():
    loss = made("lpips")
    loss.features.bfloat16()
    x = torch.rand(1, 3, 32, 32)
    outputs = loss.features(x)
    for name, value in loss.represent(x).items():
        vector = outputs[name].float()
        length = (vector.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(value, loss.get_buffer(f"scale_{name}") * vector / length, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_second_derivatives_are_finite(name, pair):
    x_hat, x = pair
    loss = made(name)
    for start in (x_hat, x.clone().requires_grad_()):
        (gradient,) = torch.autograd.grad(loss(start, x).sum(), start, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), start)
        assert torch.isfinite(second).all()


@pytest.mark.parametrize("name", COMPILED)
def test_compiles_without_a_graph_break(name, pair):
    torch._dynamo.reset()  # it compiles one piece of code only so many times
    x_hat, x = (images.detach().double() for images in pair)
    x_hat.requires_grad_()
    loss = made(name).double()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=name not in ("ssim",))
    value = compiled(x_hat, x)
    torch.testing.assert_close(value, loss(x_hat, x))
    (gradient,) = torch.autograd.grad(value.sum(), x_hat)
    (expected,) = torch.autograd.grad(loss(x_hat, x).sum(), x_hat)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "ssim"])
def test_maps_over_a_further_axis(name):
    """`torch.func.vmap`, and the gradient of every image by itself. Not SSIM: torchmetrics checks types of tensors."""
    loss = made(name).double()  # so that rounding exchanges no two numbers that are pooled
    x_hat, x = torch.rand(2, 2, 2, 3, 32, 32).double()
    torch.testing.assert_close(
        torch.func.vmap(loss)(x_hat, x), torch.stack([loss(a, b) for a, b in zip(x_hat, x, strict=True)])
    )
    one = torch.func.grad(lambda a, b: loss(a[None], b[None])[0])
    gradients = torch.func.vmap(one)(x_hat[0], x[0])
    images = x_hat[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(images, x[0]).sum(), images)
    torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("name", SMALL)
def test_works_from_the_smallest_size_the_network_allows(name):
    loss = made(name)
    pools = [layer for layer in loss.features.layers if layer.startswith("pool")] if name in ARCHS else []
    smallest = 2 ** len(pools) if name in ARCHS else 11
    x_hat, x = torch.rand(2, 2, 3, smallest, smallest + 5)
    assert torch.isfinite(loss(x_hat, x)).all()
    with pytest.raises(UserError, match=f"at least {smallest}x{smallest} pixels"):
        loss(x_hat[..., 1:, :], x[..., 1:, :])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", SMALL)
def test_cuda_equals_cpu(name, pair):
    loss = made(name)
    expected = loss(*pair)
    values = loss.cuda()(*(images.cuda() for images in pair)).cpu()
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-6)
