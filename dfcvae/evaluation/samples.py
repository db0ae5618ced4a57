"""How far samples are from faces, in the features of any network; and how far reconstructions and other faces are."""

from collections.abc import Callable

import torch
from torch import Tensor

from dfcvae.data import Faces
from dfcvae.device import keep_freed_memory
from dfcvae.errors import UserError
from dfcvae.evaluation.frechet import embed, frechet_distance
from dfcvae.latent import Prior
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

COMPARED = 10_000  # images of each set at most: the time of all but the Frechet distance grows with the square
NEIGHBOUR = 3  # Kynkaanniemi et al. 2019, section 3
FEWEST = NEIGHBOUR + 2  # images of a set
ROWS_AT_ONCE = 500  # of a matrix of distances: 40 MB


@torch.no_grad()
def measure_samples(
    vae: VAE,
    val: Faces,
    test: Faces,
    network: Callable[[Tensor], Tensor],
    *,
    mixture: Prior | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """How far sets of images are from the faces of the test split, all of one size, in the features of a network.

    Args:
        vae: the model.
        val: faces of the validation split.
        test: faces of the test split.
        network: maps images in [0, 1] to features (N, F), on the device of the model; better another one than that of
            the training loss.
        mixture: a prior fitted to the model's latents.
        seed: of the samples.
        progress: show a bar.

    Returns:
        ``samples`` from N(0, I), with a ``mixture`` also ``samples_gmm``, drawn from it, ``reconstructions`` of
        validation faces, and ``floor``: the validation faces themselves, which no model can be expected to surpass.
        Each with ``frechet`` (`frechet_distance`), ``kernel`` (`kernel_distance`), ``precision`` and ``recall``
        (`precision_recall`). The first faces of both splits are used, 10,000 at most, and as many of one as of the
        other.

    Raises:
        UserError: if a split has too few faces for a neighbourhood.
    """
    n, device = compared(val, test), next(vae.parameters()).device
    if n < FEWEST:
        raise UserError(
            f"Samples are measured with at least {FEWEST} faces in the validation and in the test split, but "
            f"{len(val)} and {len(test)} are there; use more faces."
        )
    keep_freed_memory()
    z = {"samples": torch.randn(n, vae.latent_dim, generator=seeded_generator(seed, Stream.SAMPLES))}
    if mixture is not None:
        z["samples_gmm"] = mixture.sample(n, generator=seeded_generator(seed, Stream.SAMPLES))
    real = embed(network, test.images[:n], device, progress=progress)
    sets = {
        name: embed(lambda latents: network(vae.decode_all(latents)), of, device, progress=progress)
        for name, of in z.items()
    }
    sets |= {
        "reconstructions": embed(lambda x: network(vae.reconstruct(x)), val.images[:n], device, progress=progress),
        "floor": embed(network, val.images[:n], device, progress=progress),
    }
    measures = {}
    for name, features in sets.items():
        precision, recall = precision_recall(real, features)
        frechet, kernel = frechet_distance(real, features), kernel_distance(real, features)
        measures[name] = {"frechet": frechet, "kernel": kernel, "precision": precision, "recall": recall}
    return measures


def compared(val: Faces, test: Faces) -> int:
    """Images in each set that `measure_samples` compares."""
    return min(len(val), len(test), COMPARED)


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features, kernel ``(a.b / F + 1)^3``.

    ``mean_{i != j} k(r_i, r_j) + mean_{i != j} k(f_i, f_j) - 2 mean_{i, j} k(r_i, f_j)``: Gretton et al. 2012, "A
    Kernel Two-Sample Test", lemma 6, with the kernel of Binkowski et al. 2018 (arXiv 1801.01401), over the whole sets
    instead of the mean over subsets of them. It is the KID only in the features of Inception. Its
    expectation is 0 for sets from the same source, whatever their size; single values may be below.

    Args:
        real: features (N, F), N above 1.
        fake: features (M, F), M above 1.
    """
    real, fake = real.double(), fake.double()

    def total(a: Tensor, b: Tensor) -> float:
        return sum(float(_kernel(part @ b.T, a.shape[1]).sum()) for part in a.split(ROWS_AT_ONCE))

    def within(a: Tensor) -> float:
        itself = float(_kernel(a.square().sum(dim=1), a.shape[1]).sum())
        return (total(a, a) - itself) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2 * total(real, fake) / (len(real) * len(fake))


def _kernel(product: Tensor, numbers: int) -> Tensor:
    return (product / numbers + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """The share of fakes near a real image, and the share of real images near a fake, both in [0, 1].

    Near is no farther than that image's third nearest neighbour in its own set: Kynkaanniemi et al. 2019, "Improved
    Precision and Recall Metric for Assessing Generative Models" (arXiv 1904.06991), equations 1 and 2. Both depend on
    the number of images: compare sets of equal size.

    Args:
        real: features (N, F), N above 3.
        fake: features (M, F), M above 3.
    """
    real, fake = real.double(), fake.double()
    return _covered(fake, real), _covered(real, fake)


def _covered(points: Tensor, manifold: Tensor) -> float:
    """The share of points (N, F) that lie within the ball of any of the manifold's (M, F)."""
    parts = manifold.split(ROWS_AT_ONCE)
    # the nearest of all is the point itself
    radii = torch.cat([torch.cdist(part, manifold).kthvalue(NEIGHBOUR + 1, dim=1).values for part in parts])
    inside = [(torch.cdist(part, manifold) <= radii).any(dim=1) for part in points.split(ROWS_AT_ONCE)]
    return float(torch.cat(inside).double().mean())
