"""The contract of the frozen feature network, line by line."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import IMAGENET_MEAN, IMAGENET_STD
from dfcvae.vgg import ARCHS, layer_names, resolve_layers
from tests.losses import naive

# The published index table (torchvision 0.2 to 0.29): which module of `features` is called what.
VGG19_BN = {0: "conv1_1", 2: "relu1_1", 6: "pool1", 14: "conv3_1", 24: "bn3_4", 25: "relu3_4", 26: "pool3"}
VGG19_BN |= {34: "bn4_3", 35: "relu4_3", 39: "pool4", 43: "conv5_2", 52: "pool5"}
VGG19 = {1: "relu1_1", 6: "relu2_1", 11: "relu3_1", 20: "relu4_1", 29: "relu5_1", 36: "pool5"}


@pytest.fixture(scope="module")
def vgg():
    return VGGFeatures("vgg11_bn", [4, "bn3_2", 15], "random")


@pytest.mark.parametrize("arch", ARCHS)
def test_names_and_indices_match_torchvision(arch):
    with torch.device("meta"):
        reference = getattr(torchvision.models, arch)(weights=None).features
    names = layer_names(arch)
    assert len(names) == len(reference)
    kinds = {"conv": nn.Conv2d, "bn": nn.BatchNorm2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    for name, module in zip(names, reference, strict=True):
        assert isinstance(module, kinds[name.rstrip("0123456789_")])
    blocks = [int(name[4:]) for name in names if name.startswith("pool")]
    assert blocks == [1, 2, 3, 4, 5]


def test_published_index_tables():
    assert {i: layer_names("vgg19_bn")[i] for i in VGG19_BN} == VGG19_BN
    assert {i: layer_names("vgg19")[i] for i in VGG19} == VGG19


@pytest.mark.parametrize(
    ("arch", "layers", "pooling"),
    [("vgg19_bn", [14, 24, 34, 43], "max"), ("vgg11", [0, 1, 3, 20], "max"), ("vgg11", [0, 8, 18], "average")],
)
def test_outputs_equal_a_naive_run_of_torchvisions_network(arch, layers, pooling, x):
    """At 24 and 34 too, where a hook on torchvision's network returns what the in-place ReLU left there."""
    network = naive.network(arch)  # its batch norms do something, unlike untrained ones
    outputs = VGGFeatures(arch, layers, network, pooling)(x[:2])
    assert list(outputs) == [layer_names(arch)[index] for index in layers]
    if pooling == "average":
        network = nn.Sequential(*(nn.AvgPool2d(2, 2) if isinstance(m, nn.MaxPool2d) else m for m in network))
    for output, expected in zip(outputs.values(), naive.captured(network, x[:2], layers), strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4 * expected.detach().abs().max().item())


def test_folded_batch_norms_keep_their_epsilon(x):
    """Where a variance is small the epsilon is most of what is divided by."""
    network = naive.network("vgg11_bn")
    network[1].running_var *= 1e-5
    output = VGGFeatures("vgg11_bn", ["bn1_1"], network)(x[:2])["bn1_1"]
    (expected,) = naive.captured(network, x[:2], [1])
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4 * expected.detach().abs().max().item())


def test_captures_are_not_overwritten_by_the_relu_behind_them(x):
    outputs = VGGFeatures("vgg19_bn", [24, 25, 34, 35], "random")(x)
    assert (outputs["bn3_4"] < 0).any()
    assert (outputs["bn4_3"] < 0).any()
    torch.testing.assert_close(outputs["bn3_4"].relu(), outputs["relu3_4"])


def test_ends_at_the_deepest_layer(vgg):
    assert list(vgg.layers)[-1] == layer_names("vgg11_bn")[15]
    folded = set(layer_names("vgg11_bn")[:16]) - set(vgg.layers)
    assert folded == {"conv1_1", "conv3_1", "conv3_2"}
    held = sum(b.numel() for b in vgg.buffers())
    whole = sum(p.numel() for p in torchvision.models.vgg11_bn(weights=None).parameters())
    assert held < whole / 50


def test_has_no_parameters_and_no_checkpoint_keys(vgg):
    holder = nn.ModuleDict({"vae": nn.Linear(2, 2), "features": vgg})
    assert list(vgg.parameters()) == []
    assert set(holder.state_dict()) == {"vae.weight", "vae.bias"}
    holder.load_state_dict({"vae.weight": torch.zeros(2, 2), "vae.bias": torch.zeros(2)}, strict=True)


def test_gradients_reach_the_pixels_and_nothing_else(vgg, x_hat):
    sum(output.square().mean() for output in vgg(x_hat).values()).backward()
    assert torch.isfinite(x_hat.grad).all()
    assert (x_hat.grad != 0).any(dim=1).float().mean() > 0.9
    assert all(b.grad is None and not b.requires_grad for b in vgg.buffers())


def test_stays_in_eval_whatever_anyone_calls(vgg, x):
    assert not any(module.training for module in VGGFeatures("vgg11_bn", [4], "random").modules())
    before = {name: b.clone() for name, b in vgg.named_buffers()}
    holder = nn.Sequential(vgg).train()
    outputs = vgg(x)
    vgg.train()
    for module in vgg.layers.values():
        module.train()
    assert all(torch.equal(vgg(x)[name], value) for name, value in outputs.items())
    vgg.train()
    assert not any(module.training for module in vgg.modules())
    assert all(torch.equal(b, before[name]) for name, b in vgg.named_buffers())
    assert all(torch.equal(vgg(x)[name], value) for name, value in outputs.items())
    assert holder.training


def test_follows_device_and_dtype(vgg):
    moved = VGGFeatures("vgg11", [3], "random").to(torch.bfloat16)
    assert moved(torch.rand(1, 3, 32, 32, dtype=torch.bfloat16))["conv2_1"].dtype == torch.bfloat16
    assert nn.Sequential(VGGFeatures("vgg11", [3], "random")).to("meta")[0].layers["conv1_1"].weight.is_meta


def test_random_weights_are_the_same_every_time_and_leave_the_global_state(x):
    torch.manual_seed(1)
    features = VGGFeatures("vgg11", [3], "random")
    assert features.layers["conv1_1"].weight[0, 0, 0].tolist() == pytest.approx([-0.3064, -0.3136, -0.0682], abs=1e-4)
    first, drawn = features(x)["conv2_1"], torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(first, VGGFeatures("vgg11", [3], "random")(x)["conv2_1"])


def test_layers_by_index_and_name_are_the_same():
    for layers in ([14, "24", "bn4_3", 43], np.array([14, 24, 34, 43]), torch.tensor([14, 24, 34, 43])):
        assert resolve_layers("vgg19_bn", layers) == ["conv3_1", "bn3_4", "bn4_3", "conv5_2"]


def shown(*shape):
    return lambda: VGGFeatures("vgg11_bn", [4, "bn3_2", 15], "random")(torch.rand(shape))


MISTAKES = [
    (lambda: resolve_layers("vgg20", [1]), r"'vgg20' is not a VGG of torchvision.*expected one of vgg11, vgg11_bn"),
    (lambda: resolve_layers("vgg19_bn", [53]), r"no layer 53.*0 conv1_1, 1 bn1_1.*52 pool5"),
    (lambda: resolve_layers("vgg19_bn", ["bn3_5"]), r"no layer 'bn3_5' \(did you mean 'bn3_4'\?\)"),
    (lambda: resolve_layers("vgg19_bn", [-1]), r"no layer -1"),
    (lambda: resolve_layers("vgg19_bn", [1.5]), r"no layer 1.5"),
    (lambda: resolve_layers("vgg19_bn", [14, "conv3_1"]), r"each at most once"),
    (lambda: resolve_layers("vgg19_bn", []), r"expected at least one"),
    (lambda: VGGFeatures("vgg11", [0], "random", "mean"), "pooling: expected max or average, got 'mean'"),
    (shown(1, 3, 4, 4), "at least 8x8 pixels, got 4x4"),
    (shown(1, 4, 32, 32), r"expected images \(N, 3 or 1, H, W\), got \(1, 4, 32, 32\)"),
    (shown(3, 32, 32), r"expected images \(N, 3 or 1, H, W\), got \(3, 32, 32\)"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_mistakes_are_sentences(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_half_precision_networks_and_images_are_normalised_in_float32(x):
    features = VGGFeatures("vgg11", [0], "random")
    assert torch.equal(features(x.bfloat16())["conv1_1"], features(x.bfloat16().float())["conv1_1"])
    features.bfloat16()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    expected = features.layers["conv1_1"](((x[:1] - mean) / std).bfloat16())
    assert (features(x[:1])["conv1_1"] == expected).float().mean() > 0.99
