"""Every published loss against an independent naive implementation, against frozen numbers, and its names."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from dfcvae.errors import UserError
from dfcvae.losses import NAMES, PRESETS, Preset, SSIMLoss, perceptual
from dfcvae.losses.lpips import LPIPS
from dfcvae.weights import vgg_arch
from tests.losses import naive
from tests.losses.golden import ARCHS, GOLDEN, frozen

LARGE = {"ms-ssim"}  # needs sides over 160


@pytest.fixture(scope="module")
def networks():
    made = {}

    def network(name):
        arch = ARCHS.get(name)
        if arch and arch not in made:
            made[arch] = naive.network(arch)
        return made.get(arch)

    return network


def images(name, size, count):
    size = 161 + size if name in LARGE else size
    return naive.waves(count, size, 0.4), naive.waves(count, size)


def relative(a, b):
    return ((a - b).norm() / b.norm()).detach().item()


@pytest.mark.parametrize(("size", "count"), [(32, 2), pytest.param(47, 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_the_naive_implementation(name, size, count, networks):
    """In float32, against the naive implementation in float64.

    A gradient jumps where the larger of two pooled numbers, or the sign of one, changes, so that rounding can throw any
    float32 implementation off by a percent: these images are such that it does not.
    """
    network, exact = networks(name), copy.deepcopy(networks(name))
    x_hat, x = images(name, size, count)
    pixels = exact is None  # of variances as differences of squares float32 itself is only good to 1e-5
    precision = torch.float32 if pixels else torch.float64
    if not pixels:
        exact.double()
        x_hat = naive.waves(count, size, 3.0)
    ours, theirs = x_hat.clone().requires_grad_(), x_hat.to(precision, copy=True).requires_grad_()
    loss = perceptual(name, network)
    terms = loss.terms(ours, x)
    naive_terms, weights = naive.loss(name, exact)
    others = naive_terms(theirs, x.to(precision))
    assert list(terms) == list(loss.weights)
    for term, other in zip(terms.values(), others, strict=True):
        assert relative(term, other) < 1e-5
    value, expected = loss(ours, x), sum(weight * other for weight, other in zip(weights, others, strict=True))
    assert value.shape == (count,)
    assert relative(value, expected) < 1e-5
    weight = torch.linspace(1, 2, count)  # images must not be mixed up
    (value * weight).sum().backward()
    (expected * weight).sum().backward()
    assert relative(ours.grad, theirs.grad) < 1e-5


def test_the_aliased_reading_is_what_a_hook_on_torchvisions_network_sees(networks):
    """In-place ReLUs on, as torchvision ships them."""
    x_hat, x = images("dfc", 32, 1)
    network = naive.network("vgg19_bn")
    caught = {}
    for index in (14, 24, 34, 43):
        network[index].register_forward_hook(lambda _m, _i, out, index=index: caught.__setitem__(index, out))
    seen = []
    for image in (x_hat, x):
        with torch.no_grad():
            network((image - naive.MEAN) / naive.STD)
        seen.append(dict(caught))
    terms = perceptual("dfc-aliased", network).terms(x_hat, x)
    assert list(terms) == ["conv3_1", "relu3_4", "relu4_3", "conv5_2"]
    assert list(perceptual("dfc", network).weights) == ["conv3_1", "bn3_4", "bn4_3", "conv5_2"]
    for index, value in zip((14, 24, 34, 43), terms.values(), strict=True):
        assert value.item() == pytest.approx((seen[0][index] - seen[1][index]).square().mean().item(), rel=1e-5)


def test_sum_reverses_the_effective_weighting():
    """At 64 px the numbers per layer fall by 32 where the weights rise by 32."""
    loss = perceptual("vgg-l1-sum", "random")
    numbers = {name: value[0].numel() for name, value in loss.represent(torch.zeros(1, 3, 64, 64)).items()}
    assert list(numbers.values()) == [262_144, 131_072, 65_536, 32_768, 8_192]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_frozen_numbers(name):
    recorded = json.loads(GOLDEN.read_text())[name]
    assert frozen(name) == {term: pytest.approx(values, rel=2e-5) for term, values in recorded.items()}


def test_lpips_equals_torchmetrics(networks):
    from torchmetrics.functional.image.lpips import _LPIPS, _lpips_update

    network = networks("lpips")
    oracle = _LPIPS(net="vgg", pretrained=True, pnet_rand=True).eval()
    slices = [module for part in range(1, 6) for module in getattr(oracle.net, f"slice{part}")]
    for ours, theirs in zip(network, slices, strict=False):
        theirs.load_state_dict(ours.state_dict())
    x_hat, x = images("lpips", 64, 2)
    ours = perceptual("lpips", network)(x_hat, x)
    for i in range(2):
        expected = _lpips_update(x_hat[i : i + 1], x[i : i + 1], oracle, normalize=True)
        assert ours[i].item() == pytest.approx(expected.item(), rel=1e-5)


def test_structural_similarity_equals_torchmetrics():
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as ms_ssim,
    )
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    x_hat, x = images("ms-ssim", 40, 2)
    x_hat = (x_hat + 0.1 * torch.rand_like(x_hat)).clamp(0, 1)
    expected = 1 - ssim(x_hat, x, data_range=1.0, reduction="none")
    torch.testing.assert_close(perceptual("ssim")(x_hat, x), expected)
    expected = 1 - ms_ssim(x_hat, x, data_range=1.0, reduction="none")
    torch.testing.assert_close(perceptual("ms-ssim")(x_hat, x), expected)
    betas = (0.0448, 0.2856, 0.3001)
    betas = tuple(beta / sum(betas) for beta in betas)
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: perceptual("vgg_l1"),
            r"Unknown loss 'vgg_l1' \(did you mean 'vgg-l1'\?\); expected one of dfc-vae, dfc",
        ),
        (lambda: perceptual("ssim", "random"), "ssim compares pixels and does not use a network"),
        (lambda: SSIMLoss(6), "scales: expected 1 to 5, got 6"),
        (lambda: perceptual(Preset("vgg11", ("conv9_1",)), "random"), "vgg11 has no layer 'conv9_1'"),
        (lambda: perceptual(replace(PRESETS["dfc"], distance="l2"), "random"), "one of squared, absolute, .* got 'l2'"),
        (
            lambda: perceptual(replace(PRESETS["dfc"], reduction="avg"), "random"),
            "one of mean, half-mean, sum, got 'avg'",
        ),
        (lambda: perceptual(replace(PRESETS["dfc"], weights=(1.0, 2.0)), "random"), "each of the 4 layers .* got"),
        (lambda: perceptual("dfc", "/nowhere/vgg.pth"), "No weights file at /nowhere/vgg.pth"),
        (
            lambda: perceptual("dfc", nn.Linear(2, 2)),
            "the module Linear is not a VGG of torchvision; expected one of vgg11",
        ),
    ],
)
def test_mistakes_are_sentences(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_images_that_do_not_match_are_sentences():
    loss = perceptual("ssim")
    with pytest.raises(UserError, match=r"same shape \(N, C, H, W\), got \(2, 3, 32, 32\) and \(1, 3, 32, 32\)"):
        loss(torch.rand(2, 3, 32, 32), torch.rand(1, 3, 32, 32))
    with pytest.raises(UserError, match=r"float in \[0, 1\], got torch.uint8; divide by 255"):
        loss(torch.rand(1, 3, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(UserError, match="at least 161x161 pixels, got 64x64; use larger images or fewer scales"):
        perceptual("ms-ssim")(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    with pytest.raises(UserError, match="at least 16x16 pixels, got 8x8"):
        perceptual("vgg-l1", "random")(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))


def test_a_ready_network_a_file_and_its_features_are_the_same(networks, tmp_path):
    with torch.device("meta"):
        model = torchvision.models.vgg16(weights=None)
    model.classifier = nn.Linear(1, 1)  # the real one takes seconds to fill, and is not read
    model.features.to_empty(device="cpu").load_state_dict(networks("lpips").state_dict())
    torch.save(model.state_dict(), tmp_path / "vgg16.pth")
    x_hat, x = images("content", 32, 1)
    preset = replace(PRESETS["content"], layers=("relu2_2",))
    values = [perceptual(preset, given)(x_hat, x) for given in (model, model.features, tmp_path / "vgg16.pth")]
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])
    assert vgg_arch(model) == "vgg16"


def test_a_given_network_is_copied_not_held(networks):
    network = naive.network("vgg11")
    preset = replace(PRESETS["content"], layers=("conv2_1",))
    loss = perceptual(preset, network)
    x_hat, x = images("content", 32, 1)
    before = loss(x_hat, x)
    for parameter in network.parameters():
        parameter.data.zero_()
    assert torch.equal(loss(x_hat, x), before)


def test_indices_are_those_of_the_presets_network():
    """24 of vgg19_bn is bn3_4, which vgg16_bn does not have: it must not silently become another layer."""
    preset = Preset("vgg19_bn", (24,))
    with pytest.raises(UserError, match="vgg16_bn has no layer 'bn3_4'"):
        perceptual(preset, naive.network("vgg16_bn"))


def test_lpips_of_another_network_is_a_sentence():
    with pytest.raises(UserError, match=r"LPIPS was fitted to vgg16 at relu1_2.*got vgg19_bn at conv3_1"):
        LPIPS(perceptual("dfc", "random").features)


@pytest.mark.parametrize("name", NAMES)
def test_adds_nothing_to_a_checkpoint_and_stays_in_eval(name, networks):
    loss = perceptual(name, networks(name))
    x_hat, x = images(name, 32, 2)
    before = loss(x_hat, x)
    loss.train()
    assert torch.equal(loss(x_hat, x), before)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
