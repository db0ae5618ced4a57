"""The frozen VGG feature network of the perceptual loss: images in [0, 1] in, outputs of chosen layers out.

A captured layer is the output of that very module. In torchvision the ReLU behind it works in place and overwrites
what was captured, so that a naive reading of "24" (``bn3_4``) in fact returns 25 (``relu3_4``); here it does not.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from dfcvae.errors import UserError
from dfcvae.images import normalize_imagenet, to_rgb
from dfcvae.precision import at_least_float32
from dfcvae.vgg import Layer, layer_names, layer_table, resolve_layers, vgg_layers
from dfcvae.weights import Weights, load_vgg_weights

DFC_LAYERS = (14, 24, 34, 43)  # conv3_1, bn3_4, bn4_3, conv5_2 of vgg19_bn


class VGGFeatures(nn.Module):
    """Outputs of chosen layers of a frozen VGG; in bfloat16 if it is moved there with ``.bfloat16()``.

    The network is frozen by construction: its weights are constants (non-persistent buffers), so it has no
    parameters to train, follows the device and dtype of whatever holds it, and adds nothing to any checkpoint. It
    ends at the deepest layer asked for and stays in eval mode whatever is called.

    Args:
        arch: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, with or without ``_bn``.
        layers: what to capture, by index or name; the default is the set of the popular DFC-VAE.
        weights: ``"imagenet"`` (torchvision's, downloaded once), ``"random"`` (seeded), a torchvision VGG (copied),
            or a file: a torchvision state dict, full or of the features only, or what ``dfcvae features train`` wrote.
        pooling: ``"max"``, the network as it was trained, or ``"average"`` (Gatys et al. 2016, section 2): max pooling
            passes the gradient to one pixel in four, which leaves a grid in what is trained on deep layers.

    Attributes:
        names: the captured layers by name, in the order given.
        channels: the number of channels of each.

    Raises:
        UserError: for an unknown network or layer, or weights that cannot be had or do not fit.
    """

    def __init__(
        self,
        arch: str = "vgg19_bn",
        layers: Sequence[Layer] = DFC_LAYERS,
        weights: Weights = "imagenet",
        pooling: str = "max",
    ):
        super().__init__()
        if pooling not in ("max", "average"):
            raise UserError(f"The feature network's pooling is max or average; {pooling!r} came.")
        self.arch = arch
        self.names = resolve_layers(arch, layers)
        depth = 1 + max(map(layer_names(arch).index, self.names))
        state, width = load_vgg_weights(arch, weights)
        channels = {row.name: row.channels for row in layer_table(arch, width=width)}
        self.channels = [channels[name] for name in self.names]
        with torch.device("meta"):
            modules = dict(list(vgg_layers(arch, width).items())[:depth])
        for index, (name, module) in enumerate(modules.items()):
            if isinstance(module, nn.MaxPool2d) and pooling == "average":
                modules[name] = nn.AvgPool2d(2, 2)
            if isinstance(module, nn.BatchNorm2d):
                modules[name] = module = FrozenBatchNorm(module.num_features, track_running_stats=True, device="meta")
            _make_constant(module, state, prefix=f"{index}.")
        self.layers = nn.ModuleDict(modules)
        self.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs (N, C_l, H_l, W_l) of the captured layers for images (N, 3 or 1, H, W) in [0, 1], by name.

        Raises:
            UserError: if the images are too small for the deepest layer.
        """
        self._check_size(x)
        h = normalize_imagenet(at_least_float32(to_rgb(x))).to(next(self.buffers()).dtype)
        outputs = {}
        for name, layer in self.layers.items():
            h = layer(h)
            if name in self.names:
                outputs[name] = h
        return {name: outputs[name] for name in self.names}

    def train(self, mode: bool = True) -> "VGGFeatures":
        """Stay in eval mode: batch statistics would make an image's features depend on its batch."""
        return super().train(False)

    def _check_size(self, x: Tensor) -> None:
        smallest = 2 ** sum(name.startswith("pool") for name in self.layers)
        if min(x.shape[-2:]) < smallest:
            raise UserError(
                f"{self.arch} up to its deepest layer here needs images of at least {smallest}x{smallest} pixels, but "
                f"{x.shape[-2]}x{x.shape[-1]} came; use larger images or shallower layers than {self.names}."
            )


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm with its running statistics in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)


def _make_constant(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Replace a module's tensors by buffers with the given values, which no optimizer, checkpoint or gradient sees."""
    names = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    for name in names:
        delattr(module, name)
        if name != "num_batches_tracked":
            module.register_buffer(name, state[prefix + name].detach().clone(), persistent=False)
    # a batch norm that counts its training steps would ask every checkpoint for the counter
    if isinstance(module, nn.BatchNorm2d):
        module.track_running_stats = False
