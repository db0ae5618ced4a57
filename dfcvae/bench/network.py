"""The feature network of the popular implementations: torchvision's, and the loop over its layers."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import vgg19_bn

from dfcvae.bench.settings import ARCH
from dfcvae.weights import load_vgg_weights


def popular_network() -> nn.Sequential:
    """``features`` of torchvision's vgg19_bn as it is, frozen, in eval mode, with random weights.

    The classifier, which popular implementations keep beside it without using it (471 MiB), is left out.
    """
    with torch.device("meta"):
        features = vgg19_bn(weights=None).features
    state, _ = load_vgg_weights(ARCH, "random")
    counters = {name: torch.tensor(0) for name in features.state_dict() if name.endswith("num_batches_tracked")}
    features.load_state_dict(state | counters, assign=True)
    return features.requires_grad_(False).eval()


def collect(features: Iterable[nn.Module], x: Tensor, layers: list[int]) -> list[Tensor]:
    """Outputs of the layers with these indices, after all layers have run.

    The ReLUs of torchvision's VGGs work in place, so that an output ahead of one is what that ReLU made of it.
    """
    outputs = []
    for index, layer in enumerate(features):
        x = layer(x)
        if index in layers:
            outputs.append(x)
    return outputs


def fold_batch_norms(features: nn.Sequential, layers: list[int]) -> nn.Sequential:
    """The same function with each batch norm folded into the convolution before it, but for collected convolutions."""
    modules = list(features)
    for index, (first, second) in enumerate(pairwise(list(features))):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and index not in layers:
            modules[index : index + 2] = fuse_conv_bn_eval(first, second), nn.Identity()
    return nn.Sequential(*modules)
