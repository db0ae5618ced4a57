"""Every published loss against an independent naive implementation, and its names."""

import copy
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from dfcvae.errors import UserError
from dfcvae.losses import LPIPS, NAMES, PRESETS, Preset, SSIMLoss, perceptual
from dfcvae.weights import vgg_arch
from tests.losses import naive

SIMILARITIES = {"ssim", "ms-ssim"}


@pytest.fixture(scope="module")
def networks():
    made = {}

    def network(name):
        arch = naive.ARCHS.get(name)
        if arch and arch not in made:
            made[arch] = naive.network(arch)
        return made.get(arch)

    return network


def images(name, size, count):
    size = 129 + size if name == "ms-ssim" else size  # at least 161
    return naive.waves(count, size, 0.4 if name in SIMILARITIES else 3.0), naive.waves(count, size)


def relative(a, b):
    return ((a - b).norm() / b.norm()).detach().item()


@pytest.mark.parametrize(("size", "count"), [(32, 2), pytest.param(47, 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_the_naive_implementation(name, size, count, networks):
    """In float64: in float32 a gradient jumps by a percent where rounding exchanges two numbers that are pooled."""
    network = networks(name)
    x_hat, x = (batch.double() for batch in images(name, size, count))
    ours, theirs = x_hat.clone().requires_grad_(), x_hat.clone().requires_grad_()
    loss = perceptual(name, network).double()
    terms, value = loss.terms(ours, x), loss(ours, x)
    naive_terms, weights = naive.loss(name, network and copy.deepcopy(network).double())
    others = naive_terms(theirs, x)
    assert list(terms) == list(loss.weights)
    for term, other in zip(terms.values(), others, strict=True):
        assert relative(term, other) < 1e-5
    expected = sum(weight * other for weight, other in zip(weights, others, strict=True))
    assert value.shape == (count,)
    assert value.dtype == torch.float64
    assert relative(value, expected) < 1e-5
    weight = torch.linspace(1, 2, count)  # images must not be mixed up
    (value * weight).sum().backward()
    (expected * weight).sum().backward()
    assert relative(ours.grad, theirs.grad) < 1e-5


def test_the_aliased_reading_is_what_a_hook_on_torchvisions_network_sees():
    """In-place ReLUs on, as torchvision ships them."""
    network, seen, caught = naive.network("vgg19_bn"), [], {}
    for index in (14, 24, 34, 43):
        network[index].register_forward_hook(lambda _m, _i, out, index=index: caught.__setitem__(index, out))
    x_hat, x = images("dfc", 32, 1)
    for image in (x_hat, x):
        with torch.no_grad():
            network((image - naive.MEAN) / naive.STD)
        seen.append(dict(caught))
    terms = perceptual("dfc-aliased", network).terms(x_hat, x)
    assert list(terms) == ["conv3_1", "relu3_4", "relu4_3", "conv5_2"]
    assert list(perceptual("dfc", network).weights) == ["conv3_1", "bn3_4", "bn4_3", "conv5_2"]
    for index, value in zip((14, 24, 34, 43), terms.values(), strict=True):
        assert value.item() == pytest.approx((seen[0][index] - seen[1][index]).square().mean().item(), rel=1e-4)


def test_structural_similarity_of_three_scales_has_powers_that_sum_to_one():
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

    x_hat, x = images("ms-ssim", 0, 2)
    powers = [0.0448, 0.2856, 0.3001]
    betas = tuple(power / sum(powers) for power in powers)
    expected = 1 - ms_ssim(x_hat, x, data_range=1.0, reduction="none", betas=betas)
    torch.testing.assert_close(SSIMLoss(3)(x_hat, x), expected)


def test_negative_structure_has_a_finite_gradient():
    """Fractional powers of a negative similarity are NaN, and the gradient of one cut off at 0 is too."""
    x = torch.rand(1, 3, 64, 64)
    x_hat = (1 - x).requires_grad_()
    value = SSIMLoss(3)(x_hat, x)
    value.sum().backward()
    assert 0.9 < value.item() <= 2
    assert torch.isfinite(x_hat.grad).all()


def test_negative_structure_of_one_scale_leaves_the_others_a_gradient():
    """A product of which one factor is 0 has none; here only the finest scale is inverted."""
    y, x = torch.arange(64).view(-1, 1), torch.arange(64)
    fine = 0.2 * (-1.0) ** (x + y).expand(1, 3, 64, 64)
    coarse = (2 * torch.pi * x / 32).sin().expand(1, 3, 64, 64)
    x_hat = (0.5 + 0.1 * coarse - fine).requires_grad_()
    SSIMLoss(3)(x_hat, 0.5 + 0.2 * coarse + fine).sum().backward()
    assert torch.isfinite(x_hat.grad).all()
    assert x_hat.grad.norm() > 1e-6


DFC = PRESETS["dfc"]
MISTAKES = [
    (lambda: perceptual("vgg_l1"), r"Unknown loss 'vgg_l1' \(did you mean 'vgg-l1'\?\); expected one of dfc-vae, dfc"),
    (lambda: perceptual("ssim", "random"), "ssim compares pixels and does not use a network"),
    (lambda: SSIMLoss(6), "scales: expected 1 to 5, got 6"),
    (lambda: perceptual(Preset("vgg11", ("conv9_1",)), "random"), "vgg11 has no layer 'conv9_1'"),
    (lambda: perceptual(replace(DFC, distance="l2"), "random"), "one of squared, absolute, .* got 'l2'"),
    (lambda: perceptual(replace(DFC, reduction="avg"), "random"), "one of mean, half-mean, sum, got 'avg'"),
    (lambda: perceptual("dfc", "/nowhere/vgg.pth"), "No weights file at /nowhere/vgg.pth"),
    (lambda: perceptual("dfc", nn.Linear(2, 2)), "the module Linear is not a VGG of torchvision; expected one of vgg1"),
    # 24 of vgg19_bn is bn3_4, which must not silently become another layer
    (lambda: perceptual(Preset("vgg19_bn", (24,)), naive.network("vgg16_bn")), "vgg16_bn has no layer 'bn3_4'"),
    (lambda: LPIPS(perceptual("dfc", "random").features), r"fitted to vgg16 at relu1_2.*got vgg19_bn at conv3_1"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_mistakes_are_sentences(make, message):
    with pytest.raises(UserError, match=message):
        make()


def batch(n, size, dtype=torch.float32):
    return torch.zeros(n, 3, size, size, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "x_hat", "x", "message"),
    [
        ("ssim", batch(2, 32), batch(1, 32), r"same shape \(N, C, H, W\), got \(2, 3, 32, 32\) and \(1, 3, 32, 32\)"),
        ("ssim", batch(1, 32), batch(1, 32, torch.uint8), r"float in \[0, 1\], got torch.uint8; divide by 255"),
        ("ms-ssim", batch(1, 64), batch(1, 64), "ms-ssim with 5 scales needs images of at least 161x161 pixels, got 6"),
        ("vgg-l1", batch(1, 8), batch(1, 8), "at least 16x16 pixels, got 8x8"),
    ],
)
def test_images_that_do_not_match_are_sentences(name, x_hat, x, message):
    loss = perceptual(name, None if name in SIMILARITIES else "random")
    with pytest.raises(UserError, match=message):
        loss(x_hat, x)


def test_a_ready_network_a_file_and_its_features_are_the_same_and_copied(networks, tmp_path):
    with torch.device("meta"):
        model = torchvision.models.vgg16(weights=None)
    model.classifier = nn.Linear(1, 1)  # the real one takes seconds to fill, and is not read
    model.features.to_empty(device="cpu").load_state_dict(networks("lpips").state_dict())
    torch.save(model.state_dict(), tmp_path / "vgg16.pth")
    preset = replace(PRESETS["content"], layers=("relu2_2",))
    losses = [perceptual(preset, given) for given in (model, model.features, tmp_path / "vgg16.pth")]
    assert vgg_arch(model) == "vgg16"
    for parameter in model.parameters():
        parameter.data.zero_()
    values = [loss(*images("content", 32, 1)) for loss in losses]
    assert values[0] > 0
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])
