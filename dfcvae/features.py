"""The frozen VGG feature network of the perceptual loss: from images in [0, 1] to outputs of chosen layers.

A captured layer is the output of exactly that module. In torchvision the ReLU after it works in place and overwrites
the captured tensor, so that naively reading "24" (``bn3_4``) returns 25 (``relu3_4``); here it does not.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError
from dfcvae.images import IMAGENET_MEAN, IMAGENET_STD, to_rgb
from dfcvae.vgg import Layer, layer_names, layer_table, resolve_layers, vgg_layers
from dfcvae.weights import Weights, load_vgg_weights

DFC_LAYERS = (14, 24, 34, 43)  # conv3_1, bn3_4, bn4_3, conv5_2 of vgg19_bn


class VGGFeatures(nn.Module):
    """Outputs of chosen layers of a frozen VGG; in bfloat16 if it is moved there with ``.bfloat16()``.

    The network is frozen by construction: its weights are constants (non-persistent buffers), so it has no
    parameters to train, follows the device and dtype of its parent module, and adds nothing to any checkpoint. It
    ends at the deepest requested layer and always stays in eval mode.

    Args:
        arch: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, with or without ``_bn``.
        layers: what to capture, by index or name; the default is the set of the popular DFC-VAE.
        weights: ``"imagenet"`` (torchvision's, downloaded once), ``"compact"`` (ships with the package: a vgg19_bn of
            a quarter of the width, distilled from ImageNet's VGG-19), ``"random"`` (seeded), a torchvision VGG
            (copied), or a file: a torchvision state dict, full, of the features only, or one that ends at the deepest
            layer needed, or what ``dfcvae features train`` and ``dfcvae features distil`` wrote.
        pooling: ``"max"``, the network as it was trained, or ``"average"`` (Gatys et al. 2016, section 2): max pooling
            passes the gradient to one pixel in four, which leaves a grid in images trained on deep layers.

    Attributes:
        names: the captured layers by name, in the order given.
        channels: the number of channels of each.

    Raises:
        UserError: for an unknown network or layer, or weights that are unavailable or do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        arch: str = "vgg19_bn",
        layers: Sequence[Layer] = DFC_LAYERS,
        weights: Weights = "imagenet",
        pooling: str = "max",
    ):
        super().__init__()
        self.verified: Tensor | None = None  # `std`, once forward has found it intact; moving the module replaces it
        if pooling not in ("max", "average"):
            raise UserError(f"The feature network's pooling: expected max or average, got {pooling!r}.")
        self.arch = arch
        self.names = resolve_layers(arch, layers)
        depth = 1 + max(map(layer_names(arch).index, self.names))
        with torch.device("cpu"):  # also where a model is built on the meta device
            state, width = load_vgg_weights(arch, weights, depth)
            channels = {row.name: row.channels for row in layer_table(arch, width=width)}
            self.channels = [channels[name] for name in self.names]
            with torch.device("meta"):
                modules = dict(list(vgg_layers(arch, width).items())[:depth])
            self.layers = nn.ModuleDict(_frozen_layers(modules, state, self.names, pooling))
            # integer thousandths, which keep their precision when the network is moved to bfloat16
            self.register_buffer("mean", _thousandths(IMAGENET_MEAN), persistent=False)
            self.register_buffer("std", _thousandths(IMAGENET_STD), persistent=False)
        self.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs (N, C_l, H_l, W_l) of the captured layers for images (N, 3 or 1, H, W) in [0, 1], by name.

        Raises:
            UserError: for other channels, for images too small for the deepest layer, or if the weights are lost.
        """
        self._check(x)
        h = (1000 * at_least_float32(to_rgb(x)) - self.mean) / self.std
        h = h.to(next(self.layers.buffers()).dtype)
        outputs = {}
        for name, layer in self.layers.items():
            h = layer(h)
            if name in self.names:
                outputs[name] = h
        return {name: outputs[name] for name in self.names}

    def train(self, mode: bool = True) -> "VGGFeatures":
        """Stay in eval mode: batch statistics would make an image's features depend on its batch."""
        return super().train(False)

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or x.shape[1] not in (1, 3):
            raise UserError(f"The feature network: expected images (N, 3 or 1, H, W), got {tuple(x.shape)}.")
        smallest = 2 ** sum(name.startswith("pool") for name in self.layers)
        if min(x.shape[-2:]) < smallest:
            raise UserError(
                f"{self.arch} up to its deepest chosen layer needs images of at least {smallest}x{smallest} pixels, "
                f"got {x.shape[-2]}x{x.shape[-1]}; use larger images or shallower layers than {self.names}."
            )
        if self.std is self.verified or self.std.is_meta or torch.compiler.is_compiling():
            return
        if not torch.equal(self.std.cpu(), _thousandths(IMAGENET_STD)):  # waits for a GPU
            raise UserError(
                "The feature network has lost its weights: to_empty was called on it or on the module that holds it. "
                "No checkpoint has them; build VGGFeatures after to_empty."
            )
        self.verified = self.std


class FrozenConvolution(nn.Module):
    """A 3x3 convolution with constant weights (C', C, 3, 3) and bias (C',)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        # channels last: the fastest layout for convolutions; their outputs follow it
        self.register_buffer("weight", weight.clone(memory_format=torch.channels_last), persistent=False)
        self.register_buffer("bias", bias.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=1)


class FrozenAffine(nn.Module):
    """``scale * x + shift`` with constants (C,) for each channel: a batch norm with its running statistics."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor):
        super().__init__()
        self.register_buffer("scale", scale.view(-1, 1, 1).clone(), persistent=False)
        self.register_buffer("shift", shift.view(-1, 1, 1).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


def _frozen_layers(
    modules: Mapping[str, nn.Module], state: Mapping[str, Tensor], captured: Sequence[str], pooling: str
) -> dict[str, nn.Module]:
    """Layers with constant weights, which no optimizer, checkpoint or gradient sees, by the name of their output.

    A batch norm is folded into the convolution before it: ``a (w * x + b) + c = (a w) * x + (a b + c)``. Only after a
    captured convolution, whose own output is requested, it stays a separate layer.
    """
    layers: dict[str, nn.Module] = {}
    convolution: dict[str, Tensor] = {}  # the latest
    for index, (name, module) in enumerate(modules.items()):
        tensors = {key: state[f"{index}.{key}"].detach() for key in module.state_dict() if key != "num_batches_tracked"}
        previous = next(reversed(layers), None)
        if isinstance(module, nn.Conv2d):
            convolution = tensors
            layers[name] = FrozenConvolution(tensors["weight"], tensors["bias"])
        elif isinstance(module, nn.BatchNorm2d):
            scale = tensors["weight"].double() / (tensors["running_var"].double() + module.eps).sqrt()
            shift = tensors["bias"] - scale * tensors["running_mean"]
            if previous in captured:
                layers[name] = FrozenAffine(scale.float(), shift.float())
            else:
                layers.pop(str(previous))
                weight, bias = scale.view(-1, 1, 1, 1) * convolution["weight"], scale * convolution["bias"] + shift
                layers[name] = FrozenConvolution(weight.float(), bias.float())
        elif isinstance(module, nn.MaxPool2d) and pooling == "average":
            layers[name] = nn.AvgPool2d(2, 2)
        elif isinstance(module, nn.ReLU):
            layers[name] = nn.ReLU(inplace=previous not in captured)  # never overwrite a captured output
        else:
            layers[name] = module
    return layers


def _thousandths(values: Sequence[float]) -> Tensor:
    return torch.tensor([round(1000 * value) for value in values], dtype=torch.int32).view(3, 1, 1)
