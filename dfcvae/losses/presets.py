"""Perceptual losses by name, published and ours: network, layers, weights, distance and reduction."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from dfcvae.errors import UserError, nearest
from dfcvae.features import VGGFeatures
from dfcvae.losses import lpips
from dfcvae.losses.base import ImageLoss
from dfcvae.losses.perceptual import PerceptualLoss
from dfcvae.losses.pixel import SSIMLoss
from dfcvae.vgg import Layer, resolve_layers
from dfcvae.weights import vgg_arch


@dataclass(frozen=True)
class Preset:
    """The settings of a perceptual loss; change them with `dataclasses.replace`."""

    arch: str  # the network it was published with; its indices are those of the layers
    layers: tuple[Layer, ...]  # the compared ones, by index or name
    weights: float | tuple[float, ...] = 1.0  # one for all layers, or one per layer
    distance: str = "squared"  # or "absolute", "norm", "charbonnier"
    reduction: str = "mean"  # or "half-mean", "sum"
    gram: bool = False  # compare Gram matrices (style) instead of features
    pooling: str = "max"  # or "average"


RELU_1 = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
RISING = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)

# docs/losses.md has the source of each, and where the source differs.
PRESETS = {
    "dfc-vae": Preset("vgg19_bn", ("relu1_1", "relu2_1", "relu3_1"), 1 / 6, pooling="average"),  # ours
    "dfc": Preset("vgg19_bn", ("conv3_1", "bn3_4", "bn4_3", "conv5_2")),
    "dfc-aliased": Preset("vgg19_bn", ("conv3_1", "relu3_4", "relu4_3", "conv5_2")),
    "vae-123": Preset("vgg19", RELU_1[:3], reduction="half-mean"),
    "vae-345": Preset("vgg19", RELU_1[2:], reduction="half-mean"),
    "vgg-l1": Preset("vgg19", RELU_1, RISING, "absolute"),
    "vgg-l1-sum": Preset("vgg19", RELU_1, RISING, "absolute", "sum"),
    "vgg-l1-3": Preset("vgg19", RELU_1[:3], RISING[:3], "absolute"),
    "content": Preset("vgg19", ("conv4_2",), distance="norm"),
    "perceptual-mse": Preset("vgg19", ("relu1_2", "relu2_2", "relu3_3", "relu4_3")),
    "perceptual-mse-aliased": Preset("vgg19", RELU_1[:4]),
    "style": Preset("vgg19", RELU_1, gram=True),
    "style-l1": Preset("vgg19", RELU_1, distance="absolute", gram=True),
}
PIXEL_LOSSES = {"ssim": 1, "ms-ssim": 5}  # by number of scales
NAMES = (*PRESETS, "lpips", *PIXEL_LOSSES)

Network = str | Path | nn.Module


def perceptual(name: str | Preset, network: Network | None = None) -> ImageLoss:
    """A published perceptual loss by its name, or one from a `Preset`.

    Args:
        name: one of ``NAMES``, or a `Preset`.
        network: ``"compact"``, a torchvision VGG (the model or its ``features``), the path of its weights or of what
            ``dfcvae features train`` or ``dfcvae features distil`` wrote, or ``"random"``. None: the published network,
            ``PRESETS[name].arch`` (of ``"lpips"`` vgg16), with torchvision's ImageNet weights, downloaded once. A given
            network overrides the preset's ``arch``; it must have the layers.

    Returns:
        A module: ``loss(x_hat, x)`` is the total per image, (N,), ``loss.terms(x_hat, x)`` the terms by name.

    Raises:
        UserError: for an unknown name or layer, or unavailable weights.
    """
    if isinstance(name, str):
        check_name(name)
    if name in PIXEL_LOSSES:
        if network is not None:
            raise UserError(f"{name} compares pixels and does not use a network.")
        return SSIMLoss(PIXEL_LOSSES[str(name)])
    if name == "lpips":
        return lpips.LPIPS(vgg_features(Preset("vgg16", lpips.LAYERS), network))
    preset = PRESETS[name] if isinstance(name, str) else name
    features = vgg_features(preset, network)
    return PerceptualLoss(features, preset.weights, preset.distance, preset.reduction, preset.gram)


def check_name(name: str) -> None:
    """Raise a UserError for an unknown loss."""
    if name not in NAMES:
        raise UserError(f"Unknown loss {name!r}{nearest(name, NAMES)}; expected one of {', '.join(NAMES)}.")


def vgg_features(preset: Preset, network: Network | None) -> VGGFeatures:
    """The feature network of a preset."""
    network = "imagenet" if network is None else network
    layers = resolve_layers(preset.arch, preset.layers)
    return VGGFeatures(vgg_arch(network, preset.arch), layers, network, preset.pooling)
