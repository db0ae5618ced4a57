"""LPIPS on AlexNet and on vgg16, where their ImageNet weights are at hand or may be downloaded."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

from dfcvae.images import to_rgb
from dfcvae.losses import perceptual
from dfcvae.weights import imagenet_file, torchvision_file, whole_imagenet_file

Distance = Callable[[Tensor, Tensor], Tensor]  # of images (N, C, H, W) in [0, 1], (N,)
NETWORKS = {"alex": "alexnet", "vgg": "vgg16"}  # torchvision's names


def lpips_distances(device: torch.device | str = "cpu", *, download: bool = False) -> dict[str, Distance]:
    """LPIPS, version 0.1, by the authors' name of its network: ``alex``, ``vgg``.

    Zhang et al. 2018 (arXiv 1801.03924). ``vgg`` is this project's own loss; ``alex`` is torchmetrics'.

    Args:
        device: of the networks and the images.
        download: fetch ImageNet weights that are missing, instead of leaving their network out.

    Raises:
        UserError: if weights that are used are damaged, or cannot be downloaded.
    """
    at_hand = {n for n, arch in NETWORKS.items() if imagenet_file(arch).is_file() or torchvision_file(arch).is_file()}
    used = [name for name in NETWORKS if download or name in at_hand]
    return {name: (alex(device) if name == "alex" else perceptual("lpips").to(device)) for name in used}


def alex(device: torch.device | str = "cpu") -> Distance:
    """LPIPS on AlexNet; its weights are downloaded where they are missing.

    Raises:
        UserError: if they cannot be had, or are damaged.
    """
    whole_imagenet_file(NETWORKS["alex"])  # which torchmetrics loads through torchvision, without a check
    network = LearnedPerceptualImagePatchSimilarity("alex").net.to(device)
    return lambda x_hat, x: network(to_rgb(x_hat), to_rgb(x), normalize=True).flatten()


def left_out(distances: Mapping[str, Distance]) -> str:
    """A sentence on what `lpips_distances` had no weights for, or nothing."""
    missing = [arch for name, arch in NETWORKS.items() if name not in distances]
    if not missing:
        return ""
    files = " and ".join(str(torchvision_file(arch)) for arch in missing)
    return (
        f"LPIPS on {' and '.join(missing)} is left out, as the ImageNet weights are not on this machine: --lpips "
        f"downloads them, or put torchvision's files at {files}."
    )
