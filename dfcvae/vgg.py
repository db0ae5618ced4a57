"""The VGG architectures of Simonyan and Zisserman 2015: layers, their names, and torchvision's indices.

A layer is named by its index in torchvision's ``vgg*.features`` (24) or by kind, block and number within the block
(``bn3_4``), as in the literature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dfcvae.errors import UserError, nearest

# Convolutions per block and their width (table 1 of the paper, configurations A, B, D, E).
DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)
ARCHS = tuple(f"{name}{suffix}" for name in DEPTHS for suffix in ("", "_bn"))

Layer = int | str


def vgg_layers(arch: str, width: float = 1.0) -> dict[str, nn.Module]:
    """The modules of torchvision's ``arch.features`` in order, by name; ``width`` multiplies every channel count.

    Unlike torchvision's, the ReLUs do not work in place, so that no layer's output is overwritten by the next.
    """
    if arch not in ARCHS:
        raise UserError(
            f"{arch!r} is not a VGG of torchvision{nearest(arch, ARCHS)}; expected one of {', '.join(ARCHS)}."
        )
    depths, batch_norm = DEPTHS[arch.removesuffix("_bn")], arch.endswith("_bn")
    layers: dict[str, nn.Module] = {}
    channels, narrowest = 3, max(1, round(WIDTHS[0] * width))  # an integer, so that the width can be recovered from it
    for block, (depth, full) in enumerate(zip(depths, WIDTHS, strict=True), start=1):
        for number in range(1, depth + 1):
            fan_in, channels = channels, narrowest * full // WIDTHS[0]
            layers[f"conv{block}_{number}"] = nn.Conv2d(fan_in, channels, 3, padding=1)
            if batch_norm:
                layers[f"bn{block}_{number}"] = nn.BatchNorm2d(channels)
            layers[f"relu{block}_{number}"] = nn.ReLU(inplace=False)
        layers[f"pool{block}"] = nn.MaxPool2d(2, 2)
    return layers


def layer_names(arch: str) -> list[str]:
    """Names of all layers of ``arch.features``; the position in the list is torchvision's index."""
    with torch.device("meta"):
        return list(vgg_layers(arch))


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a VGG for square images of some size."""

    index: int  # torchvision's, in `features`
    name: str  # kind, block and number
    type: str  # class of the module
    channels: int  # of its output
    size: int  # side of its output in pixels
    stride: int  # image pixels between neighbours of its output
    receptive_field: int  # side in image pixels of the area that one output depends on

    @property
    def numbers(self) -> int:
        """Number of output values per image."""
        return self.channels * self.size**2


def layer_table(arch: str, size: int = 64, width: float = 1.0) -> list[LayerInfo]:
    """All layers of ``arch.features`` for square images of ``size`` pixels, ``width`` times as many channels."""
    with torch.device("meta"):
        layers = vgg_layers(arch, width)
    rows: list[LayerInfo] = []
    channels, stride, field = 3, 1, 1
    for index, (name, layer) in enumerate(layers.items()):
        if isinstance(layer, nn.Conv2d):  # 3x3
            channels, field = layer.out_channels, field + 2 * stride
        elif isinstance(layer, nn.MaxPool2d):  # 2x2, stride 2
            size, field, stride = size // 2, field + stride, 2 * stride
        rows.append(LayerInfo(index, name, type(layer).__name__, channels, size, stride, field))
    return rows


def resolve_layers(arch: str, layers: Sequence[Layer]) -> list[str]:
    """Names of layers given by index or by name, in the order given.

    Raises:
        UserError: for an unknown layer, a duplicate, or an empty list; it lists the valid layers.
    """
    names = layer_names(arch)
    resolved = [_resolve(arch, names, layer) for layer in layers]
    if len(set(resolved)) != len(resolved) or not resolved:
        raise UserError(f"Layers: expected at least one, each at most once, got {list(layers)}; remove duplicates.")
    return resolved


def _resolve(arch: str, names: list[str], layer: Layer) -> str:
    if hasattr(layer, "__index__") or str(layer).isdigit():  # NumPy's integers too
        layer = int(layer)
    if isinstance(layer, int) and 0 <= layer < len(names):
        return names[layer]
    if layer in names:
        return str(layer)
    valid = ", ".join(f"{index} {name}" for index, name in enumerate(names))
    raise UserError(f"{arch} has no layer {layer!r}{nearest(layer, names)}. Its layers are: {valid}.")
