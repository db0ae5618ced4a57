"""LPIPS: a feature distance with weights fitted to human judgements of similarity."""

from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.losses.base import ImageLoss
from dfcvae.weights import read_state_dict

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
CHANNELS = (64, 128, 256, 512, 512)
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
        if features.names != list(LAYERS) or features.arch != "vgg16" or features.channels != list(CHANNELS):
            raise UserError(
                f"LPIPS was fitted to vgg16 at {', '.join(LAYERS)} with {', '.join(map(str, CHANNELS))} channels, got "
                f"{features.arch} at {', '.join(features.names)} with {', '.join(map(str, features.channels))}."
            )
        self.features = features
        self.weights = dict.fromkeys(LAYERS, 1.0)
        for name, head in zip(LAYERS, _heads(), strict=True):
            self.register_buffer(f"scale_{name}", head.sqrt(), persistent=False)

    def represent(self, images: Tensor) -> dict[str, Tensor]:
        outputs = {name: at_least_float32(output) for name, output in self.features(images).items()}
        return {name: self.get_buffer(f"scale_{name}") * _unit_length(output) for name, output in outputs.items()}

    def compare(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().sum(dim=1).flatten(1).mean(dim=1)


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()


def _heads() -> list[Tensor]:
    """The five linear heads of the authors' version 0.1, (1, C, 1, 1) each, from torchmetrics, which ships them."""
    folder = Path(str(find_spec("torchmetrics").origin)).parent  # type: ignore[union-attr]
    state = read_state_dict(folder / "functional" / "image" / "lpips_models" / "vgg.pth")
    return [state[f"lin{i}.model.1.weight"].float() for i in range(len(LAYERS))]
