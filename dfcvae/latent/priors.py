"""Distributions to draw latents from: N(0, I), or one fitted to the latents of the training faces."""

import warnings
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from dfcvae.errors import UserError
from dfcvae.gaussian import sample_posterior
from dfcvae.latent.stored import corrupted, read_stored, write_stored

COMPONENTS = (1, 2, 4, 8, 16, 32)
FACES_PER_DIMENSION = {"full": 5, "tied": 2}  # and component, at least
RIDGE = 1e-4  # added to the variances of a mixture, against components that shrink onto few points
SEARCHED = {"tol": 1e-2, "max_iter": 20}  # gain of ln p(z) a step, nats, and steps, while the kinds are compared
CONVERGED = {"tol": 1e-3, "max_iter": 100}


@dataclass(frozen=True)
class Prior:
    """A mixture of Gaussians over the latents: ``p(z) = sum_k w_k N(z; m_k, L_k L_k^T)``. One component is a Gaussian.

    A VAE is trained towards ``N(0, I)``, but the latents of the data never quite fill it, and the decoder is untrained
    in the gaps. A distribution fitted to the latents after training avoids them (Ghosh et al. 2020, "From Variational
    to Deterministic Autoencoders", arXiv 1903.12436).
    """

    weights: Tensor  # w, (K,), sum 1
    means: Tensor  # m, (K, D)
    factors: Tensor  # L, lower triangular, (K, D, D)

    @classmethod
    def standard(cls, latent_dim: int) -> "Prior":
        """``N(0, I)``."""
        return cls(torch.ones(1), torch.zeros(1, latent_dim), torch.eye(latent_dim)[None])

    def __str__(self) -> str:
        """What it is, in words: N(0, I), a Gaussian, or a mixture."""
        if len(self.weights) > 1:
            return f"mixture of {len(self.weights)} Gaussians{' with one covariance' if self.shared else ''}"
        standard = Prior.standard(self.means.shape[1])
        same = torch.equal(self.means, standard.means) and torch.equal(self.factors, standard.factors)
        return "N(0, I)" if same else "fitted Gaussian"

    @property
    def shared(self) -> bool:
        """Whether all components have the same covariance."""
        return bool((self.factors == self.factors[:1]).all())

    def sample(self, n: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draws (n, D), on the generator's device (default: the CPU); of the standard normal those of `VAE.sample`.

        The temperature is a factor of every component's standard deviation: below 1, draws are more ordinary and less
        varied.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        eps = torch.randn(n, self.means.shape[1], generator=generator, device=device)
        weights, means, factors = (tensor.to(device) for tensor in (self.weights, self.means, self.factors))
        k = torch.zeros(n, device=device)  # one component draws nothing, so that seeds agree with `VAE.sample`
        if len(weights) > 1:
            k = torch.multinomial(weights, n, replacement=True, generator=generator)
        z = torch.empty_like(eps)
        for component in range(len(weights)):
            rows = k == component
            z[rows] = means[component] + temperature * eps[rows] @ factors[component].T
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """``ln p(z)`` in nats, (N,), of latents (N, D)."""
        components = MultivariateNormal(self.means, scale_tril=self.factors)
        return MixtureSameFamily(Categorical(probs=self.weights), components).log_prob(z)

    def save(self, path: str | Path, model: str, source: str, dtype: torch.dtype = torch.float32) -> Path:
        """Write safetensors with the model (`dfcvae.vae.digest`) and the faces to which they belong.

        A covariance that all components share is written once; ``dtype`` is that of the covariances' factors.
        """
        factors = self.factors[:1] if self.shared else self.factors
        tensors = {"weights": self.weights, "means": self.means, "factors": factors.to(dtype)}
        return write_stored(path, tensors, "a prior", model, source, {})

    @classmethod
    def load(cls, path: str | Path, model: str, source: str | None = None) -> "Prior":
        """The prior in a file, in float32, fitted to the model with this digest and the faces of this name (or any).

        A UserError if it is another model's or other faces', or the file holds something else.
        """
        tensors, _ = read_stored(path, "a prior", model, source)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        k, d = (*shapes.get("means", ()), 0, 0)[:2]
        if not any(shapes == {"weights": (k,), "means": (k, d), "factors": (n, d, d)} for n in (1, k)):
            raise corrupted(path, "a prior", f"shapes {shapes}")
        read = {name: tensor.float() for name, tensor in tensors.items()}
        return cls(read["weights"], read["means"], read["factors"].expand(k, -1, -1))


def fit_gaussian(mu: Tensor, logvar: Tensor) -> Prior:
    """The Gaussian with the mean and covariance of the aggregate posterior ``1/N sum_n N(mu_n, diag exp logvar_n)``.

    Its covariance is that of the means (N, D) plus the mean of the variances (the law of total variance).
    """
    covariance = torch.cov(mu.double().T, correction=0) + torch.diag(logvar.double().exp().mean(dim=0))
    return Prior(torch.ones(1), mu.mean(dim=0, keepdim=True), torch.linalg.cholesky(covariance).float()[None])


def fit_mixture(
    posterior: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], components: tuple[int, ...] = COMPONENTS
) -> tuple[Prior, dict[str, float]]:
    """A mixture of Gaussians with full covariances, fitted by expectation maximisation to a draw from each posterior.

    Of posteriors ``mu, logvar``, each (N, D), of training faces and of held-out ones. Numbers of components are tried
    in turn with a covariance for each (``"8 full"``) and with one that all share (``"8 tied"``), which needs fewer
    faces, until the likelihood of held-out faces stops rising. A covariance needs several faces for each latent
    dimension; mixtures with too few are skipped, a UserError if all are. The search stops each fit early; the best
    mixture is then fitted to convergence.

    Returns the mixture whose held-out likelihood is highest, and the likelihoods: mean ``ln p(z)`` in nats by kind.
    """
    generator = torch.Generator().manual_seed(0)
    z, z_held_out = (
        sample_posterior(mu, logvar, torch.randn(mu.shape, generator=generator)) for mu, logvar in (posterior, held_out)
    )
    from sklearn.mixture import GaussianMixture

    mixtures, likelihood = {}, {}
    for kind, faces in FACES_PER_DIMENSION.items():
        before = -inf
        for k in components:
            if len(z) < faces * k * z.shape[1] or (k == 1 and kind == "tied"):  # one covariance is both
                continue
            name = f"{k} {kind}"
            mixtures[name] = GaussianMixture(k, covariance_type=kind, reg_covar=RIDGE, random_state=0, warm_start=True)
            likelihood[name] = _fit(mixtures[name], z, z_held_out, SEARCHED)
            if likelihood[name] <= before:
                break
            before = likelihood[name]
    if not likelihood:
        least = 2 * FACES_PER_DIMENSION["tied"] * z.shape[1]
        raise UserError(
            f"A mixture in {z.shape[1]} latent dimensions needs at least {least} faces, got {len(z)}; use the "
            "Gaussian, or more faces."
        )
    best = max(likelihood, key=likelihood.__getitem__)
    searched = _prior(mixtures[best])
    converged = _fit(mixtures[best], z, z_held_out, CONVERGED)
    if converged < likelihood[best]:
        return searched, likelihood
    likelihood[best] = converged
    return _prior(mixtures[best]), likelihood


def _fit(mixture: Any, z: Tensor, held_out: Tensor, how: dict[str, float]) -> float:
    """Fit further, in float32 (a third of the time); the mean ln p(z) of held-out latents."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # on purpose, see `SEARCHED`
        mixture.set_params(**how).fit(z.float().numpy())
    return float(_prior(mixture).log_prob(held_out).mean())


def _prior(mixture: Any) -> Prior:
    factors = torch.linalg.cholesky(torch.as_tensor(mixture.covariances_)).expand(mixture.n_components, -1, -1)
    return Prior(*(torch.as_tensor(t).float() for t in (mixture.weights_, mixture.means_, factors)))
