"""Single dimensions of the latent space, and which of them matter."""

from torch import Tensor

from dfcvae.gaussian import kl_per_dimension


def by_kl(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """The latent dimensions by how much they tell of a face: ``indices, nats``, each (D,), most first.

    The measure is the mean of ``KL(q(z_d|x) || N(0, 1))`` over faces; a dimension with next to none is not used.

    Args:
        mu: posterior means (N, D) of many faces.
        logvar: logarithms of the posterior variances (N, D).
    """
    nats, indices = kl_per_dimension(mu, logvar).mean(dim=0).sort(descending=True)
    return indices, nats


def traverse(z: Tensor, dimension: int, values: Tensor) -> Tensor:
    """Copies of a latent (D,) with one dimension set to each of ``values`` (V,): latents (V, D).

    Raises:
        IndexError: if there is no such dimension.
    """
    copies = z.repeat(len(values), 1)
    copies[:, dimension] = values.to(copies)
    return copies
