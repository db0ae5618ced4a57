import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dfcvae.networks import NETWORKS, SIZES, ReplicateConv2d, UpConv2d, Upsample, hou2016, smooth, strided


@pytest.mark.parametrize(
    ("network", "size", "channels"),
    [(name, size, (3, 1)[(i + j) % 2]) for i, name in enumerate(NETWORKS) for j, size in enumerate(SIZES)],
)
def test_shapes_and_range(network, size, channels):
    encoder, decoder = NETWORKS[network](size, channels, 10)
    x = torch.rand(2, channels, size, size)
    mu, logvar = encoder(x)
    assert mu.shape == logvar.shape == (2, 10)
    x_hat = decoder(100 * torch.randn(2, 10))
    assert x_hat.shape == x.shape
    assert 0 <= x_hat.min() < x_hat.max() <= 1


def kinds(module):
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


def test_hou2016_is_the_papers_network_at_64_pixels():
    encoder, decoder = hou2016(64, 3, 100)
    convs = [m for m in encoder.trunk if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in convs] == [
        (3, 32, (4, 4), (2, 2)),
        (32, 64, (4, 4), (2, 2)),
        (64, 128, (4, 4), (2, 2)),
        (128, 256, (4, 4), (2, 2)),
    ]
    assert kinds(encoder) == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 4 + ["Linear"] * 2
    assert (decoder.project.in_features, decoder.project.out_features) == (100, 256 * 4 * 4)
    convs = [m for m in decoder.stages if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(256, 128), (128, 64), (64, 32), (32, 3)]
    assert {(type(c), c.kernel_size, c.stride) for c in convs} == {(UpConv2d, (3, 3), (1, 1))}
    stage = ["Identity", "UpConv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(decoder) == ["Linear", "Unflatten", *stage * 3, "Identity", "UpConv2d"]


def test_hou2016_adds_a_stage_per_factor_of_two():
    for size, stages in [(32, 3), (64, 4), (128, 5), (256, 6)]:
        encoder, _ = hou2016(size, 3, 8)
        assert kinds(encoder).count("Conv2d") == stages


def test_strided_has_the_parameters_of_the_published_network():
    """Shapes written down from PyTorch-VAE's vanilla_vae.py (latent 128, 64 pixels)."""
    encoder, decoder = strided(64, 3, 128)
    widths = [3, 32, 64, 128, 256, 512]
    down = sum(a * b * 9 + b + 2 * b for a, b in itertools.pairwise(widths))
    heads = 2 * (512 * 4 * 128 + 128)
    assert sum(p.numel() for p in encoder.parameters()) == down + heads
    back = [512, 256, 128, 64, 32, 32]
    up = sum(a * b * 9 + b + 2 * b for a, b in itertools.pairwise(back))
    assert sum(p.numel() for p in decoder.parameters()) == (128 * 2048 + 2048) + up + (32 * 3 * 9 + 3)
    stage = ["ConvTranspose2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(decoder) == ["Linear", "Unflatten", *stage * 5, "Conv2d"]
    assert kinds(encoder) == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 5 + ["Linear"] * 2


def up(height):
    return lambda: UpConv2d(3, 5), nn.Upsample(scale_factor=2), height


@pytest.mark.parametrize(
    ("make", "enlarge", "height"), [(lambda: ReplicateConv2d(3, 5, 3), nn.Identity(), 8), up(1), up(4), up(7)]
)
def test_replicate_and_upsampling_convolutions_are_those_of_pytorch(make, enlarge, height):
    ours, theirs = make(), nn.Conv2d(3, 5, 3, padding=1, padding_mode="replicate")
    theirs.load_state_dict(ours.state_dict())
    x, outputs = torch.randn(2, 3, height, 6), []
    for convolution, enlarged in ((ours, nn.Identity()), (theirs, enlarge)):
        given = x.clone().requires_grad_()
        output = convolution(enlarged(given))
        output.square().sum().backward()
        outputs.append((output.detach(), given.grad, convolution.weight.grad, convolution.bias.grad))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)


def test_weights_of_the_papers_network_keep_their_names():
    _, decoder = hou2016(32, 3, 4)
    names = {name for name in decoder.state_dict() if name.startswith("stages")}
    assert {"stages.1.weight", "stages.1.bias", "stages.2.running_var", "stages.9.weight"} <= names


def test_upsampling_is_pillows_lanczos_resize():
    x = torch.rand(16, 16)
    theirs = torch.from_numpy(np.array(Image.fromarray(x.numpy()).resize((32, 32), Image.Resampling.LANCZOS)))
    ours = Upsample(16)(x[None, None])[0, 0]
    torch.testing.assert_close(ours[5:-5, 5:-5], theirs[5:-5, 5:-5])  # Pillow cuts the filter at the edges
    torch.testing.assert_close(Upsample(4)(torch.full((1, 1, 4, 4), 0.3)), torch.full((1, 1, 8, 8), 0.3))


def test_upsampling_keeps_a_constant_in_mixed_precision():
    with torch.autocast("cpu", torch.bfloat16):
        enlarged = Upsample(8)(torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(enlarged, torch.ones(1, 1, 16, 16))


def test_an_upsampled_image_with_a_border_is_the_padded_one():
    x = torch.randn(2, 3, 8, 8)
    expected = torch.nn.functional.pad(Upsample(8)(x), (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(Upsample(8, border=1)(x), expected)


def test_every_stage_of_the_smooth_decoder_upsamples_without_mirrored_frequencies():
    encoder, decoder = smooth(64, 3, 100)
    assert kinds(encoder) == kinds(hou2016(64, 3, 100)[0])
    stage = ["Upsample", "Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(decoder.stages) == ["BatchNorm2d", "LeakyReLU", *stage * 3, "ReplicateConv2d"]
    convs = [stage for stage in decoder.stages if isinstance(stage, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 32, 16, 3]
    assert (decoder.project.out_features, decoder.unflatten.unflattened_size) == (128 * 8 * 8, (128, 8, 8))
    assert sum(p.numel() for p in encoder.parameters()) + sum(p.numel() for p in decoder.parameters()) < 2.45e6


@pytest.mark.parametrize(
    ("upsample", "left"), [(nn.Upsample(scale_factor=2), 0.51), (nn.Upsample(scale_factor=2, mode="bilinear"), 0.13)]
)
def test_upsampling_leaves_little_of_mirrored_frequencies(upsample, left):
    n, cycles = 40, 12
    wave = torch.cos(2 * torch.pi * cycles / n * torch.arange(n)).expand(1, 1, n, n)

    def mirrored(enlarged):
        spectrum = torch.fft.rfft(enlarged[0, 0, n] * torch.hann_window(2 * n)).abs()
        return float(spectrum[n - cycles] / spectrum[cycles])

    assert mirrored(upsample(wave)) == pytest.approx(left, abs=0.01)
    assert mirrored(Upsample(n)(wave)) == pytest.approx(0.013, abs=0.002)
