"""The nearest of many points: whether a sample is a copy of a training face."""

import torch
from torch import Tensor

AT_ONCE = 256  # queries: their distances to 200,000 references take 200 MB


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
    found = []
    for part in queries.split(AT_ONCE):
        # the quicker way by matrix products cannot tell a copy from a near one: its error grows with the points' length
        distances = torch.cdist(part, references, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distances.topk(k, dim=1, largest=False))
    return torch.cat([values for values, _ in found]), torch.cat([indices for _, indices in found])
