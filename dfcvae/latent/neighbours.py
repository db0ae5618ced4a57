"""The nearest of many points: whether a sample is a copy of a training face."""

import torch
from torch import Tensor


def nearest_neighbours(queries: Tensor, references: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Euclidean ``distances, indices``, each (Q, k), of the k references nearest to each query, nearest first.

    Args:
        queries: (Q, D): latents, or features of any kind.
        references: (R, D) with R >= k.
        k: how many.

    Raises:
        ValueError: if there are fewer than k references.
    """
    if not 1 <= k <= len(references):
        raise ValueError(f"Expected 1 to {len(references)} neighbours, as many as there are references; {k} came.")
    # the quicker way by matrix products cannot tell a copy from a near one: its error grows with the points' length
    distances = torch.cdist(queries, references, compute_mode="donot_use_mm_for_euclid_dist")
    values, indices = distances.topk(k, dim=1, largest=False)
    return values, indices
