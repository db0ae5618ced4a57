"""A feature network in training: a VGG up to its deepest tap, which is saved in half precision."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from dfcvae.errors import UserError
from dfcvae.images import normalize_imagenet, to_rgb
from dfcvae.tensorfiles import write_tensors
from dfcvae.vgg import layer_names, resolve_layers, vgg_layers
from dfcvae.weights import load_vgg_weights


class Student(nn.Module):
    """A VGG up to some layer, to be trained.

    Args:
        arch: a torchvision VGG.
        width: factor of every channel count.
        last: its deepest layer, by index or name.

    Attributes:
        average: whether average pooling takes the place of max pooling.
    """

    def __init__(self, arch: str, width: float, last: int | str):
        super().__init__()
        self.arch, self.width, self.average = arch, width, False
        depth = 1 + layer_names(arch).index(resolve_layers(arch, [last])[0])
        self.layers = nn.ModuleDict(dict(list(vgg_layers(arch, width).items())[:depth]))
        for module in self.layers.values():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every layer but the convolutions before a batch norm, for images (N, 3 or 1, H, W) in [0, 1].

        In eval mode a batch norm is folded into the convolution before it, as in the network that is used.
        """
        outputs, h, convolution = {}, normalize_imagenet(to_rgb(x)), None
        for name, layer in self.layers.items():
            if isinstance(layer, nn.Conv2d) and self.arch.endswith("_bn"):
                convolution = layer
                continue
            if isinstance(layer, nn.BatchNorm2d):
                assert convolution is not None
                h = layer(convolution(h)) if self.training else conv2d(h, *_folded(convolution, layer), padding=1)
            elif self.average and isinstance(layer, nn.MaxPool2d):
                h = avg_pool2d(h, 2)
            else:
                h = layer(h)
            outputs[name] = h
        return outputs

    def start_from(self, file: str | Path) -> None:
        """Take the weights of a file."""
        state, width = load_vgg_weights(self.arch, file, len(self.layers))
        if width != self.width:
            raise UserError(f"{file} is {width:g} times as wide as {self.arch}; set width to that, not {self.width:g}.")
        for index, layer in enumerate(self.layers.values()):
            layer.load_state_dict({key: state[f"{index}.{key}"] for key in _constants(layer)}, strict=False)

    def save(self, path: str | Path, about: Mapping[str, str] | None = None) -> Path:
        """Write safetensors in float16 that `VGGFeatures` loads, with more to know ``about`` them."""
        tensors = {
            f"features.{index}.{key}": layer.state_dict()[key].half()
            for index, layer in enumerate(self.layers.values())
            for key in _constants(layer)
        }
        return write_tensors(path, tensors, {"arch": self.arch, "width": str(self.width)} | dict(about or {}))


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``norm(convolution(x))`` with running statistics: ``s (w x + b - m) + c``."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert convolution.bias is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * scale.view(-1, 1, 1, 1), (convolution.bias - norm.running_mean) * scale + norm.bias


def _constants(layer: nn.Module) -> list[str]:
    return [key for key in layer.state_dict() if key != "num_batches_tracked"]
