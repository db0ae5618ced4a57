"""The losses in any training loop: other precisions, compiled, mapped, differentiated twice, at any size."""

import pytest
import torch
from torch import nn

from dfcvae.errors import UserError
from dfcvae.losses import NAMES, SSIMLoss, gram_matrix, perceptual
from dfcvae.vgg import vgg_layers
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
def test_double_precision_stays(name):
    loss = made(name).double()
    x_hat, x = torch.rand(1, 3, 32, 32).double(), torch.rand(1, 3, 32, 32).double()
    value = loss(x_hat, x)
    assert value.dtype == torch.float64
    torch.testing.assert_close(value.float(), made(name)(x_hat.float(), x.float()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_second_derivatives_are_finite(name, pair):
    x_hat, x = pair
    loss = made(name)
    for start in (x_hat, x.clone().requires_grad_()):
        (gradient,) = torch.autograd.grad(loss(start, x).sum(), start, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), start)
        assert torch.isfinite(second).all()


@pytest.mark.parametrize("name", ["content", "style", "ssim"])
def test_second_derivatives_equal_differences_of_the_first(name):
    loss = made(name).double()
    x = torch.rand(1, 3, 32, 32).double()
    x_hat = torch.rand(1, 3, 32, 32).double().requires_grad_()
    direction = torch.randn(1, 3, 32, 32).double()

    def slope(images):
        (gradient,) = torch.autograd.grad(loss(images, x).sum(), images, create_graph=True)
        return (gradient * direction).sum()

    (curvature,) = torch.autograd.grad(slope(x_hat), x_hat)
    step = 1e-6
    ahead, behind = (slope((x_hat + s * direction).detach().requires_grad_()) for s in (step, -step))
    assert (curvature * direction).sum().item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=1e-3)


@pytest.mark.parametrize("name", COMPILED)
def test_compiles_without_a_graph_break(name, pair):
    torch._dynamo.reset()  # it compiles one piece of code only so many times
    x_hat, x = pair
    loss = made(name)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=name not in ("ssim",))
    value = compiled(x_hat, x)
    torch.testing.assert_close(value, loss(x_hat, x))
    (gradient,) = torch.autograd.grad(value.sum(), x_hat)
    (expected,) = torch.autograd.grad(loss(x_hat, x).sum(), x_hat)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "ssim"])
def test_maps_over_a_further_axis(name):
    """`torch.func.vmap`, and the gradient of every image by itself. Not SSIM: torchmetrics checks types of tensors."""
    loss = made(name)
    x_hat, x = torch.rand(2, 2, 3, 32, 32), torch.rand(2, 2, 3, 32, 32)
    torch.testing.assert_close(
        torch.func.vmap(loss)(x_hat, x), torch.stack([loss(a, b) for a, b in zip(x_hat, x, strict=True)])
    )
    one = torch.func.grad(lambda a, b: loss(a[None], b[None])[0])
    gradients = torch.func.vmap(one)(x_hat[0], x[0])
    images = x_hat[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(images, x[0]).sum(), images)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", SMALL)
def test_works_from_the_smallest_size_the_network_allows(name):
    loss = made(name)
    smallest = 11
    if name in ARCHS:
        layers = list(loss.features.layers)
        smallest = 2 ** sum(layer.startswith("pool") for layer in layers)
    x_hat, x = torch.rand(2, 3, smallest, smallest + 5), torch.rand(2, 3, smallest, smallest + 5)
    assert torch.isfinite(loss(x_hat, x)).all()
    with pytest.raises(UserError, match=f"at least {smallest}x{smallest} pixels"):
        loss(x_hat[..., : smallest - 1, :], x[..., : smallest - 1, :]) if smallest > 1 else pytest.skip("any size")


def test_multiscale_similarity_with_fewer_scales(pair):
    loss = SSIMLoss(2)
    x_hat, x = pair
    (gradient,) = torch.autograd.grad(loss(x_hat, x).sum(), x_hat)
    assert torch.isfinite(gradient).all()
    with pytest.raises(UserError, match="ms-ssim with 3 scales needs images of at least 41x41"):
        SSIMLoss(3)(x_hat, x)


def test_trains_an_image_towards_its_target():
    """Alone, in a loop of its own: each loss falls, and the images come nearer."""
    loss = perceptual("perceptual-mse", nn.Sequential(*vgg_layers("vgg19", 1 / 4).values()))
    x = torch.rand(1, 3, 32, 32)
    x_hat = torch.full_like(x, 0.5).requires_grad_()
    optimizer = torch.optim.Adam([x_hat], 0.05)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(x_hat, x).mean()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]
    assert (x_hat - x).square().mean() < (0.5 - x).square().mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", SMALL)
def test_cuda_equals_cpu(name, pair):
    loss = made(name)
    expected = loss(*pair)
    values = loss.cuda()(*(images.cuda() for images in pair)).cpu()
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-6)


def one_rank(rank, folder, broadcast):
    """A model that holds its loss, in two processes: whether rank 1's copy of a constant was overwritten, and grads."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = ModelWithLoss()
    parallel = nn.parallel.DistributedDataParallel(model, broadcast_buffers=broadcast)
    constant = next(model.loss.features.buffers())
    constant += rank
    x = torch.rand(4, 3, 8, 8)[2 * rank : 2 * rank + 2]
    parallel(x)
    kept = bool((constant == model.first + rank).all())
    constant.copy_(model.first)
    parallel(x).mean().backward()
    torch.save((kept, model.line.weight.grad), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


class ModelWithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Conv2d(3, 3, 1)
        self.loss = made("perceptual-mse")
        self.first = next(self.loss.features.buffers()).clone()

    def forward(self, x):
        return self.loss(self.line(x).sigmoid(), x)


@pytest.mark.slow
@pytest.mark.parametrize("broadcast", [False, True])
def test_distributed_training_sends_the_network_in_every_step_unless_told_not_to(broadcast, tmp_path):
    torch.multiprocessing.spawn(one_rank, (tmp_path, broadcast), nprocs=2)
    (_, first), (kept, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert kept is not broadcast
    assert torch.equal(first, second)
    torch.manual_seed(0)
    model = ModelWithLoss()
    model(torch.rand(4, 3, 8, 8)).mean().backward()
    torch.testing.assert_close(first, model.line.weight.grad)
