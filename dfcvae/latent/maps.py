"""Latents laid out in the plane, and nearest neighbours among them."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from dfcvae.images import to_rgb

QUERIES_AT_ONCE = 256  # their distances to 200,000 references take 200 MB


def nearest_neighbours(queries: Tensor, references: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Euclidean ``distances, indices``, each (Q, k), of the k references (R, D) nearest to each query (Q, D).

    A ValueError if there are fewer than k references.
    """
    if not 1 <= k <= len(references):
        raise ValueError(f"Expected 1 to {len(references)} neighbours (the number of references), got {k}.")
    # neither matrix products nor scikit-learn, which uses them too: they put copies of a point at a distance above 0
    found = [
        torch.cdist(part, references, compute_mode="donot_use_mm_for_euclid_dist").topk(k, dim=1, largest=False)
        for part in queries.split(QUERIES_AT_ONCE)
    ]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def principal_components(mu: Tensor) -> Tensor:
    """Coordinates (N, 2) along the two directions in which latents (N, D) vary most."""
    from sklearn.decomposition import PCA

    return torch.as_tensor(PCA(2).fit_transform(mu.double().numpy())).float()


def tsne(mu: Tensor, seed: int = 0) -> Tensor:
    """Coordinates (N, 2) in which neighbours among latents (N, D) are neighbours: scikit-learn's t-SNE.

    van der Maaten and Hinton 2008. Distances between groups, and the sizes of groups, mean little in it.
    """
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(mu) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return torch.as_tensor(layout.fit_transform(mu.double().numpy())).float()


def image_map(points: Tensor, images: Tensor, cells: int = 30, side: int = 40) -> Tensor:
    """A picture (3, cells * side, cells * side) in [0, 1] of images at their places, on white.

    The plane of the points (N, 2), the second coordinate upwards, is cut into ``cells`` by ``cells``; each shows the
    image nearest to its centre, of those that lie in it, with ``side`` pixels.
    """
    low, high = points.min(dim=0).values, points.max(dim=0).values
    scaled = (points - low) / (high - low).clamp_min(1e-9) * cells  # (N, 2) in [0, cells]
    cell = scaled.long().clamp_max(cells - 1)
    inwards = (scaled - cell - 0.5).norm(dim=1).argsort(descending=True).tolist()
    shown = {tuple(cell[i].tolist()): i for i in inwards}  # the last one of a cell wins: the nearest
    canvas = torch.ones(3, cells * side, cells * side)
    for (column, row), i in shown.items():
        thumbnail = resize(to_rgb(images[i : i + 1]).float(), (side, side), mode="bilinear", antialias=True)[0]
        left, top = column * side, (cells - 1 - row) * side
        canvas[:, top : top + side, left : left + side] = thumbnail
    return canvas
