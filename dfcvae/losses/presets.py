"""Perceptual losses by name, published and ours: presets of `PerceptualLoss`, LPIPS and structural similarity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError, nearest
from dfcvae.features import VGGFeatures
from dfcvae.losses.base import ImageLoss
from dfcvae.losses.perceptual import PerceptualLoss
from dfcvae.vgg import Layer, resolve_layers
from dfcvae.weights import read_state_dict, vgg_arch


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
        return LPIPS(vgg_features(Preset("vgg16", tuple(LPIPS_CHANNELS)), network))
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


# The network that LPIPS was fitted to: layers and their channels of vgg16.
LPIPS_CHANNELS = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}
EPSILON = 1e-8  # added to the squared length of a feature vector, so that vectors of 0 have a gradient


class LPIPS(ImageLoss):
    """Learned perceptual image patch similarity, version 0.1, on vgg16, per image.

    ``sum_l 1/(H_l W_l) * sum_p || w_l * (u_l(x_hat)_p - u_l(x)_p) ||^2`` with ``u_l`` the features normalised to
    unit length over the channels at each position, and ``|w_l|^2`` the fitted linear heads: Zhang et al. 2018 (arXiv
    1801.03924), equation 1. Meaningful with the ImageNet weights it was fitted to.

    Args:
        features: vgg16 at relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.

    Raises:
        UserError: for another network.
    """

    group = "lpips"

    def __init__(self, features: VGGFeatures):
        super().__init__()
        found = dict(zip(features.names, features.channels, strict=True))
        if list(found.items()) != list(LPIPS_CHANNELS.items()) or features.arch != "vgg16":
            raise UserError(
                f"LPIPS was fitted to vgg16 at {_listed(LPIPS_CHANNELS)} channels, got {features.arch} at "
                f"{_listed(found)}."
            )
        self.features = features
        self.weights = dict.fromkeys(LPIPS_CHANNELS, 1.0)
        # the fitted linear heads, (1, C, 1, 1) each, of the authors' version 0.1, which torchmetrics ships
        folder = Path(str(find_spec("torchmetrics").origin)).parent  # type: ignore[union-attr]
        heads = read_state_dict(folder / "functional" / "image" / "lpips_models" / "vgg.pth")
        for i, name in enumerate(LPIPS_CHANNELS):
            self.register_buffer(f"scale_{name}", heads[f"lin{i}.model.1.weight"].float().sqrt(), persistent=False)

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        outputs = {name: at_least_float32(output) for name, output in self.features(images).items()}
        return {name: self.get_buffer(f"scale_{name}") * _unit_length(output) for name, output in outputs.items()}

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().sum(dim=1).flatten(1).mean(dim=1)


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()


def _listed(channels: Mapping[str, int]) -> str:
    return f"{', '.join(channels)} with {', '.join(map(str, channels.values()))}"


WINDOW = 11  # pixels: the Gaussian window of standard deviation 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
SMALLEST = 1e-8  # smallest similarity raised to a power: undefined below 0, no gradient at 0


class SSIMLoss(ImageLoss):
    """``1 - SSIM`` or, with several scales, ``1 - MS-SSIM``, per image: 0 for identical images, at most 2.

    SSIM: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", Gaussian window
    of 11 pixels, K1 = 0.01, K2 = 0.03, as computed by torchmetrics. MS-SSIM: Wang, Simoncelli and Bovik 2003,
    "Multiscale Structural Similarity for Image Quality Assessment", equation 7: contrast and structure of each scale,
    and the full SSIM of the coarsest, to the power of the scale's weight; each scale halves the image by averaging.
    A similarity below 0 counts as 1e-8.

    Args:
        scales: 1 for SSIM; 5 for MS-SSIM as published, which needs sides over 160 pixels; with 2 to 4 the weights of
            the finest scales are used, divided by their sum.

    Raises:
        UserError: for another number of scales; when called, for images too small for them.
    """

    group = "pixels"

    def __init__(self, scales: int = 1):
        super().__init__()
        if scales not in range(1, 6):
            raise UserError(f"scales: expected 1 to 5, got {scales}.")
        self.scales = scales
        self.name = "ssim" if scales == 1 else "ms-ssim"
        self.weights = {self.name: 1.0}

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        return {self.name: at_least_float32(images)}

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        smallest = (WINDOW - 1) * 2 ** (self.scales - 1) + 1
        if min(output.shape[-2:]) < smallest:
            raise UserError(
                f"{self.name} with {self.scales} scale{'s' * (self.scales > 1)} needs images of at least {smallest}x"
                f"{smallest} pixels, got {output.shape[-2]}x{output.shape[-1]}; use larger images or fewer "
                "scales: SSIMLoss(scales=...), or ssim."
            )
        with torch.autocast(output.device.type, enabled=False):
            return 1 - self._similarity(output, target)

    def _similarity(self, output: Tensor, target: Tensor) -> Tensor:
        """SSIM or MS-SSIM, (N,)."""
        if self.scales == 1:
            return _ssim(output, target)[0]
        kept = SCALE_WEIGHTS[: self.scales]
        weights = kept if self.scales == 5 else [weight / sum(kept) for weight in kept]  # the published sum is 1.0001
        similarity = torch.ones_like(output[:, 0, 0, 0])
        for scale, weight in enumerate(weights):
            full, structure = _ssim(output, target)
            factor = full if scale == self.scales - 1 else structure
            similarity = similarity * factor.clamp(min=SMALLEST) ** weight
            output, target = avg_pool2d(output, 2), avg_pool2d(target, 2)
        return similarity


def _ssim(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor, (N,) each."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # slow to import

    function = cast(Callable[..., tuple[Tensor, Tensor]], structural_similarity_index_measure)
    return function(output, target, data_range=1.0, reduction="none", return_contrast_sensitivity=True)
