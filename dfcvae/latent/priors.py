"""What latents to draw: from N(0, I), or from what the encoder makes of the training faces."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from dfcvae.errors import UserError
from dfcvae.gaussian import sample_posterior
from dfcvae.latent.stored import damaged, read_stored, write_stored

COMPONENTS = (1, 2, 4, 8, 16, 32)
FACES_PER_DIMENSION = {"full": 5, "tied": 2}  # and component, at least
RIDGE = 1e-4  # added to the variances of a mixture, against components that shrink onto few points


@dataclass(frozen=True)
class Prior:
    """A mixture of Gaussians over the latents: ``p(z) = sum_k w_k N(z; m_k, L_k L_k^T)``. One component is a Gaussian.

    A VAE is trained towards ``N(0, I)``, but the latents of the data never quite fill it; where they do not, the
    decoder has seen nothing. A distribution fitted to them after training avoids such places (Ghosh et al. 2020, "From
    Variational to Deterministic Autoencoders", arXiv 1903.12436).

    Args:
        weights: w, (K,), sum 1.
        means: m, (K, D).
        factors: L, lower triangular, (K, D, D).
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    @classmethod
    def standard(cls, latent_dim: int) -> "Prior":
        """``N(0, I)``."""
        return cls(torch.ones(1), torch.zeros(1, latent_dim), torch.eye(latent_dim)[None])

    def sample(self, n: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draws (n, D), on the generator's device (default: the CPU).

        Args:
            n: how many.
            temperature: factor of every component's standard deviation: below 1, draws are nearer to the means, so
                more ordinary and less varied.
            generator: of the draws. Those of the standard normal are the ones of `VAE.sample`.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        eps = torch.randn(n, self.means.shape[1], generator=generator, device=device)
        weights, means, factors = (tensor.to(device) for tensor in (self.weights, self.means, self.factors))
        k = (
            torch.multinomial(weights, n, replacement=True, generator=generator)
            if len(weights) > 1
            else eps.new_zeros(n)
        )
        z = torch.empty_like(eps)
        for component in range(len(weights)):
            rows = k == component
            z[rows] = means[component] + temperature * eps[rows] @ factors[component].T
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """``ln p(z)`` in nats, (N,), of latents (N, D)."""
        components = MultivariateNormal(self.means, scale_tril=self.factors)
        return MixtureSameFamily(Categorical(probs=self.weights), components).log_prob(z)

    def save(self, path: str | Path, model: str, source: str) -> Path:
        """Write safetensors that say to which model (`dfcvae.vae.digest`) and faces they belong."""
        tensors = {"weights": self.weights, "means": self.means, "factors": self.factors}
        return write_stored(path, tensors, "a prior", model, source, {})

    @classmethod
    def load(cls, path: str | Path, model: str, source: str) -> "Prior":
        """The prior kept in a file.

        Raises:
            UserError: if it is another model's or other faces', or the file holds something else.
        """
        tensors, _ = read_stored(path, "a prior", model, source)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        k, d = (*shapes.get("means", ()), 0, 0)[:2]
        if shapes != {"weights": (k,), "means": (k, d), "factors": (k, d, d)}:
            raise damaged(path, "a prior", f"shapes {shapes}")
        return cls(**tensors)


def fit_gaussian(mu: Tensor, logvar: Tensor) -> Prior:
    """The Gaussian with the mean and covariance of the aggregate posterior ``1/N sum_n N(mu_n, diag exp logvar_n)``.

    Its covariance is that of the means plus the mean of the variances (the law of total variance): no draw is needed.

    Args:
        mu: posterior means (N, D), N above 1.
        logvar: logarithms of the posterior variances (N, D).
    """
    covariance = torch.cov(mu.double().T, correction=0) + torch.diag(logvar.double().exp().mean(dim=0))
    return Prior(torch.ones(1), mu.mean(dim=0, keepdim=True), torch.linalg.cholesky(covariance).float()[None])


def fit_mixture(
    posterior: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    components: tuple[int, ...] = COMPONENTS,
    seed: int = 0,
) -> tuple[Prior, dict[str, float]]:
    """A mixture of Gaussians with full covariances, fitted by expectation maximisation to a draw from each posterior.

    Every number of components is tried with a covariance for each (``"8 full"``) and with one that all share
    (``"8 tied"``), which asks for fewer faces; a covariance needs several faces for each latent dimension, and kinds
    that have too few are left out.

    Args:
        posterior: ``mu, logvar``, each (N, D), of training faces.
        held_out: ``mu, logvar``, each (M, D), of faces for the choice among the mixtures.
        components: numbers to try.
        seed: of the draws and the start.

    Returns:
        The mixture whose held-out likelihood is highest, and the likelihoods: mean ``ln p(z)`` in nats by kind.
    """
    from sklearn.mixture import GaussianMixture

    generator = torch.Generator().manual_seed(seed)
    z, z_held_out = (
        sample_posterior(mu, logvar, torch.randn(mu.shape, generator=generator)) for mu, logvar in (posterior, held_out)
    )
    fitted, likelihood = {}, {}
    for kind, k in product(FACES_PER_DIMENSION, components):
        if (k > 1 or kind == "full") and len(z) >= FACES_PER_DIMENSION[kind] * k * z.shape[1]:
            mixture = GaussianMixture(k, covariance_type=kind, reg_covar=RIDGE, random_state=seed, max_iter=200)
            mixture.fit(z.double().numpy())
            factors = torch.linalg.cholesky(torch.as_tensor(mixture.covariances_)).expand(k, -1, -1)
            name = f"{k} {kind}"
            fitted[name] = Prior(*(torch.as_tensor(t).float() for t in (mixture.weights_, mixture.means_, factors)))
            likelihood[name] = float(fitted[name].log_prob(z_held_out).mean())
    if not fitted:
        raise UserError(
            f"A mixture in {z.shape[1]} latent dimensions is fitted to at least "
            f"{FACES_PER_DIMENSION['full'] * z.shape[1]} faces, but {len(z)} came; use the Gaussian, or more faces."
        )
    return fitted[max(likelihood, key=likelihood.__getitem__)], likelihood
