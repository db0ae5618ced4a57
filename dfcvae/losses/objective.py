"""What a VAE is trained on. The plain VAE and the DFC-VAE differ in this object alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dfcvae.gaussian import kl_divergence
from dfcvae.losses.perceptual import PerceptualLoss
from dfcvae.losses.pixel import mean_squared_error


class Objective(nn.Module):
    """``total = alpha * kl + beta * (pixel_weight * pixel + sum_l w_l * feature_l)``, per image.

    Hou et al. 2016 (arXiv 1610.00291), equation 4, with the pixel term of the widely used implementations added. The
    terms are named ``kl`` (nats), ``pixel`` (mean squared error) and ``features/<layer>`` (mean squared feature
    distance). With ``variances`` each term but the KL is divided by the variance of its own target over the training
    images, and reads as the fraction of variance left unexplained: 0 is perfect, 1 no better than the mean image.

    Args:
        alpha: weight of the KL divergence.
        beta: weight of the reconstruction, pixels and features together.
        pixel_weight: weight of the pixel term within the reconstruction.
        perceptual: the feature terms with their weights; None for a plain VAE.
        variances: what to divide each term by, by term name (see `dfcvae.losses.measure_variances`); None for 1.

    Attributes:
        weights: the effective weight of every term in the total, by name.
    """

    def __init__(
        self,
        alpha: float,
        beta: float,
        pixel_weight: float = 1.0,
        perceptual: PerceptualLoss | None = None,
        variances: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.perceptual = perceptual
        self.weights = {"kl": alpha, "pixel": beta * pixel_weight}
        if perceptual is not None:
            self.weights |= {f"features/{layer}": beta * weight for layer, weight in perceptual.weights.items()}
        self.variances = dict.fromkeys(self.weights, 1.0) | dict(variances or {})

    def terms(self, x_hat: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> dict[str, Tensor]:
        """Every term without its weight, (N,) by name.

        Args:
            x_hat: reconstructions in [0, 1], (N, C, H, W).
            x: originals in [0, 1], (N, C, H, W).
            mu: posterior means, (N, D).
            logvar: logarithms of the posterior variances, (N, D).
        """
        terms = {"kl": kl_divergence(mu, logvar), "pixel": mean_squared_error(x_hat, x)}
        if self.perceptual is not None:
            terms |= {f"features/{layer}": value for layer, value in self.perceptual.terms(x_hat, x).items()}
        return {name: value / self.variances[name] for name, value in terms.items()}

    def total(self, terms: Mapping[str, Tensor], kl_warmup: float = 1.0) -> Tensor:
        """Weighted sum of the terms, (N,); ``kl_warmup`` in [0, 1] scales alpha while the KL is being warmed up."""
        weights = self.weights | {"kl": self.weights["kl"] * kl_warmup}
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum(dim=0)
