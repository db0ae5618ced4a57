"""Latents laid out in the plane."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from dfcvae.images import to_rgb


def principal_components(mu: Tensor) -> Tensor:
    """Coordinates (N, 2) along the two directions in which latents (N, D) vary most (scikit-learn's PCA)."""
    from sklearn.decomposition import PCA

    return torch.as_tensor(PCA(2).fit_transform(mu.double().numpy())).float()


def tsne(mu: Tensor, seed: int = 0, perplexity: float = 30) -> Tensor:
    """Coordinates (N, 2) in which neighbours among latents (N, D) are neighbours (scikit-learn's t-SNE).

    van der Maaten and Hinton 2008. Distances between groups, and the sizes of groups, mean little in it.

    Args:
        mu: latents.
        seed: of the optimisation.
        perplexity: about how many neighbours count; lowered where there are few latents.
    """
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(mu) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return torch.as_tensor(layout.fit_transform(mu.double().numpy())).float()


def image_map(points: Tensor, images: Tensor, cells: int = 30, side: int = 40) -> Tensor:
    """A picture (3, cells * side, cells * side) in [0, 1] of images at their places, on white.

    The plane is cut into ``cells`` by ``cells``; each shows, of the images that lie in it, the one nearest its middle.

    Args:
        points: coordinates (N, 2), the second upwards.
        images: (N, C, H, W) in [0, 1].
        cells: along a side.
        side: pixels of a shown image.
    """
    low, high = points.min(dim=0).values, points.max(dim=0).values
    scaled = (points - low) / (high - low).clamp_min(1e-9) * cells  # (N, 2) in [0, cells]
    cell = scaled.long().clamp_max(cells - 1)
    off = (scaled - cell - 0.5).norm(dim=1)
    canvas = torch.ones(3, cells * side, cells * side)
    taken = set()
    for i in off.argsort().tolist():
        column, row = cell[i].tolist()
        if (column, row) not in taken:
            taken.add((column, row))
            thumbnail = resize(to_rgb(images[i : i + 1]).float(), (side, side), mode="bilinear", antialias=True)[0]
            top = (cells - 1 - row) * side
            canvas[:, top : top + side, column * side : (column + 1) * side] = thumbnail
    return canvas
