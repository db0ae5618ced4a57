"""The Frechet distance between two sets of images, in the features of any network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from tqdm import tqdm

from dfcvae.evaluation.rows import put_rows
from dfcvae.images import to_float

EMBEDDED_AT_ONCE = 100


@torch.no_grad()
def embed(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    device: torch.device | str = "cpu",
    *,
    progress: bool = False,
) -> Tensor:
    """Features (N, F) on the CPU of many images (N, C, H, W): uint8 as data sets keep them, or float in [0, 1].

    Whatever else the network takes is handed on as it is: latents, for one that decodes them first.
    """
    features = None
    for start in tqdm(range(0, len(images), EMBEDDED_AT_ONCE), "embedding", disable=not progress):
        x = images[start : start + EMBEDDED_AT_ONCE].to(device)
        embedded = network(to_float(x) if x.dtype == torch.uint8 else x)
        features = put_rows(embedded, features, start, len(images))
    assert features is not None, "no images"
    return features


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """``|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))`` of the means m and covariances S of two sets of features.

    Heusel et al. 2017 (arXiv 1706.08500), computed by torchmetrics. It is the FID only in the features of Inception;
    in those of another network it has another scale, and must be named after that network. It falls with the number of
    images: compare sets of equal size, and with the distance between two halves of the real ones.

    Args:
        real: features (N, F), N above 1.
        fake: features (M, F), M above 1.
    """
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


class _Given(nn.Module):
    """What torchmetrics takes for a feature network, where the features are there already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
