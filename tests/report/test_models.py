from dataclasses import replace

import pytest
import torch
from torch import nn

from dfcvae.build import build_vae
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig
from dfcvae.report.models import flops_per_image
from dfcvae.vgg import layer_table


def by_hand(experiment):
    """Multiplications and additions of convolutions and linear layers: once forward, twice backward."""
    operations = []

    def count(module, inputs, output):
        places = 1 if isinstance(module, nn.Linear) else output.shape[-1] * output.shape[-2]
        operations.append(2 * module.weight.numel() * places)

    vae = build_vae(experiment)
    for module in vae.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.register_forward_hook(count)
    x = torch.rand(1, *vae.image_shape)
    vae.eval()(x, torch.zeros(1, vae.latent_dim))
    return 3 * sum(operations) - operations[0]  # no gradient reaches the image


def test_a_plain_vae_by_hand():
    experiment = Experiment(data=DataConfig(size=32))
    assert flops_per_image(experiment) == pytest.approx(by_hand(experiment), rel=1e-6)


def test_a_feature_network_adds_two_passes_forward_and_one_to_its_input():
    plain = Experiment(data=DataConfig(size=32))
    features = FeatureConfig("dfc", "random", arch="vgg11_bn", layers=["relu2_1"])
    dfc = replace(plain, loss=LossConfig(features=features))
    rows = [row for row in layer_table("vgg11_bn", 32) if row.type == "Conv2d"][:2]
    inputs = [3, *(row.channels for row in rows)]
    forward = sum(2 * row.numbers * 9 * inputs[i] for i, row in enumerate(rows))
    assert flops_per_image(dfc) - flops_per_image(plain) == pytest.approx(3 * forward, rel=1e-6)
