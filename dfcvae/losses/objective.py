"""The training objective, the only difference between the plain VAE and the DFC-VAE."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite, pi
from numbers import Real

import torch
from torch import Tensor, nn

from dfcvae.device import at_least_float32
from dfcvae.errors import UserError
from dfcvae.gaussian import kl_divergence
from dfcvae.images import translate
from dfcvae.losses.base import ImageLoss, check_images, check_range_once, mean_squared_error, weighted_sum
from dfcvae.vgg import layer_names

MEMORY = 0.99  # of the running mean squared errors: about a hundred batches
FLOOR = 1e-6  # smallest variance, as a fraction of the initial one

OwnTerms = Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], float]]
"""Your own terms by name: ``(function, weight)``, the function from (x_hat, x) to one value per image, (N,)."""


class GaussianLikelihood(nn.Module):
    """Negative log-likelihoods of mean squared errors, in nats per image.

    A term t that compares K numbers has ``-log N(target | output, s I) = K/2 * (error / s + log(2 pi s))`` for a mean
    squared error ``error`` and one variance s for all its numbers, whose maximum-likelihood value is the expected
    error. A running mean over training batches tracks that optimum, so that an image's value does not depend on its
    batch, and validation and training compute the same. The gradient is that of ``K/2 * log(error)``: there is no
    weight to tune.

    Rybkin, Daniilidis and Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders" (arXiv 2006.13202),
    section 3.2, for pixels; extended here to features. The derivation is in docs/losses.md.

    Args:
        numbers: K of every term, by name.
        variances: initial s of every term: the variance of its target, which is the error of the mean image.
    """

    variance: Tensor
    floor: Tensor

    def __init__(self, numbers: Mapping[str, int], variances: Mapping[str, float]):
        super().__init__()
        self.numbers = dict(numbers)
        start = torch.tensor([variances[name] for name in numbers])
        self.register_buffer("variance", start)
        self.register_buffer("floor", FLOOR * start, persistent=False)

    def forward(self, errors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``-log N`` of every term, (N,) nats by name, for mean squared errors (N,); training updates the variances."""
        variance = self.variance.clone()  # the update below must not reach the graph
        if self.training:
            self._update(errors)
        return {
            name: numbers / 2 * (errors[name] / variance[i] + torch.log(2 * pi * variance[i]))
            for i, (name, numbers) in enumerate(self.numbers.items())
        }

    @torch.no_grad()
    def _update(self, errors: Mapping[str, Tensor]) -> None:
        now = torch.stack([errors[name].mean() for name in self.numbers])
        self.variance.lerp_(now.maximum(self.floor), 1 - MEMORY)


class Objective(nn.Module):
    """``total = alpha * kl + beta * (pixel_weight * pixel + sum_l w_l * feature_l + sum_t w_t * own_t)``, per image.

    Hou et al. 2016 (arXiv 1610.00291), equation 4, with the pixel term of the widely used implementations added. The
    terms are named ``kl`` (nats), ``pixel`` (mean squared error) and ``features/<layer>``. With ``scales`` each term
    but the KL is divided by its scale, and is the fraction left unexplained: 0 is perfect, 1 no better than the mean
    image. With ``likelihood`` they are negative log-likelihoods in nats instead, and with all weights 1 the total is
    the negative ELBO.

    Args:
        alpha: weight of the KL divergence.
        beta: weight of the reconstruction, pixels and features together.
        pixel_weight: weight of the pixel term within the reconstruction.
        perceptual: the feature terms with their weights; None for a plain VAE.
        scales: what to divide each term by, by term name (see `dfcvae.losses.measure_scales`); None for 1.
        likelihood: converts mean squared errors to log-likelihoods; None for fixed weights.
        terms: further terms by name, ``{"edges": (function, weight)}``: any `ImageLoss` or callable from (x_hat, x) in
            [0, 1], (N, C, H, W), to (N,). They keep their unit: no scale, no likelihood. Modules among them follow the
            device and stay in eval mode.

    Attributes:
        weights: the effective weight of every term in the total, by name.

    Raises:
        UserError: for a name that is taken, or a term that is not such a pair.
    """

    def __init__(
        self,
        alpha: float,
        beta: float,
        pixel_weight: float = 1.0,
        perceptual: ImageLoss | None = None,
        scales: Mapping[str, float] | None = None,
        likelihood: GaussianLikelihood | None = None,
        terms: OwnTerms | None = None,
    ):
        super().__init__()
        self.perceptual = perceptual
        self.likelihood = likelihood
        self.weights = {"kl": alpha, "pixel": beta * pixel_weight}
        if perceptual is not None:
            group = perceptual.group
            self.weights |= {f"{group}/{layer}": beta * weight for layer, weight in perceptual.weights.items()}
        terms = terms or {}
        _check_terms(terms, [*self.weights, "total", "active_units"])
        self.own = {name: term for name, (term, _) in terms.items()}
        self.own_modules = nn.ModuleList(term for term in self.own.values() if isinstance(term, nn.Module)).eval()
        self.weights |= {name: beta * float(own) for name, (_, own) in terms.items()}
        self.scales = dict.fromkeys(self.weights, 1.0) | dict(scales or {})

    def train(self, mode: bool = True) -> "Objective":
        """Switch the likelihood; networks in terms stay in eval mode, so that an image's value is its own."""
        super().train(mode)
        self.own_modules.eval()
        return self

    def terms(
        self,
        x_hat: Tensor,
        x: Tensor,
        mu: Tensor,
        logvar: Tensor,
        shift: tuple[int, int] = (0, 0),
        target: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Every term without its weight, (N,) by name.

        Args:
            x_hat: reconstructions in [0, 1], (N, C, H, W).
            x: originals in [0, 1], (N, C, H, W).
            mu: posterior means, (N, D).
            logvar: logarithms of the posterior variances, (N, D).
            shift: rows and columns to move both images by before the feature network.
            target: ``perceptual.represent`` of the originals, if it is already known.

        Raises:
            UserError: for images that `ImageLoss.terms` refuses, or an own term whose values are not (N,) or have no
                gradient.
        """
        check_images(x_hat, x)
        check_range_once(self, x_hat, x)
        errors = {"pixel": mean_squared_error(x_hat, x)}
        if self.perceptual is not None:
            values = self.perceptual.terms(translate(x_hat, *shift), translate(x, *shift), target)
            errors |= {f"{self.perceptual.group}/{layer}": value for layer, value in values.items()}
        if self.likelihood is not None:
            terms = self.likelihood(errors)
        else:
            terms = {name: value / self.scales[name] for name, value in errors.items()}
        own = {name: _value(name, term, x_hat, x) for name, term in self.own.items()}
        return {"kl": kl_divergence(mu, logvar)} | terms | own

    def total(self, terms: Mapping[str, Tensor], kl_warmup: float = 1.0) -> Tensor:
        """Weighted sum of the terms, (N,); ``kl_warmup`` in [0, 1] scales alpha during KL warm-up."""
        return weighted_sum(self.weights | {"kl": self.weights["kl"] * kl_warmup}, terms)

    def factor(self, name: str) -> float:
        """What a unit of the raw distance of a term contributes to the total."""
        if self.likelihood is None:
            return self.weights[name] / self.scales[name]
        index = list(self.likelihood.numbers).index(name)
        return self.weights[name] * self.likelihood.numbers[name] / (2 * float(self.likelihood.variance[index]))


TERM_NAME = re.compile(r"[^\W\d][\w.-]*")


def _check_terms(terms: OwnTerms, taken: Iterable[str]) -> None:
    for name, term in terms.items():
        if not isinstance(name, str) or not TERM_NAME.fullmatch(name) or name in taken:
            raise UserError(
                "terms: expected names of letters, digits, dots, - and _ that are not in use (as are "
                f"{', '.join(taken)}), got {name!r}."
            )
        pair = isinstance(term, Sequence) and len(term) == 2 and callable(term[0]) and isinstance(term[1], Real)
        if not pair or not isfinite(term[1]):
            raise UserError(f"terms: expected (function, weight) for {name!r}, got {term!r}.")


def _value(name: str, term: Callable[[Tensor, Tensor], Tensor], x_hat: Tensor, x: Tensor) -> Tensor:
    """The values of an own term, (N,), never below float32."""
    value = term(x_hat, x)
    if not isinstance(value, Tensor) or value.shape != x.shape[:1]:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(
            f"The term {name!r}: expected one value per image, ({len(x)},), got {got}; average over everything but the "
            "first axis: .flatten(1).mean(dim=1)."
        )
    if x_hat.requires_grad and torch.is_grad_enabled() and not value.requires_grad:
        raise UserError(f"The term {name!r} gives the reconstructions no gradient; remove detach or no_grad from it.")
    return at_least_float32(value)


AT_A_TIME = 16  # images; float64 copies of early feature maps are large


@torch.no_grad()
def measure_scales(batches: Callable[[], Iterable[Tensor]], loss: ImageLoss | None = None) -> dict[str, float]:
    """The mean over images of each term between the mean representation and the image's own, by term name.

    For mean squared distances (pixels; every tapped layer) it is the variance over images, averaged over C, H, W. A
    term divided by its scale is the fraction left unexplained: 0 is perfect, 1 no better than the mean image.

    Args:
        batches: called twice; images in [0, 1], (N, C, H, W) each, at least two different images in total.
        loss: the feature terms of the objective, if any.

    Returns:
        ``pixel`` and, with a loss, ``features/<layer>`` (its group and terms).

    Raises:
        UserError: if a target is constant.
    """
    means: dict[str, Tensor] = {}
    count = 0
    for x in _parts(batches):
        count += len(x)
        for name, target in represent(x, loss).items():
            first = target.double().sum(dim=0)
            means[name] = means[name] + first if name in means else first
    sums = dict.fromkeys(means, 0.0)
    for x in _parts(batches):
        for name, target in represent(x, loss).items():
            mean = (means[name] / count).to(target.dtype).expand_as(target)
            compare = mean_squared_error if loss is None or name == "pixel" else loss.compare
            sums[name] += float(compare(mean, target).double().sum())
    constant = [name for name, total in sums.items() if not total > 0]
    if constant or not sums:
        raise UserError(f"Scaling the terms needs images that differ; these terms do not vary: {', '.join(constant)}.")
    return {name: total / count for name, total in sums.items()}


@torch.no_grad()
def count_numbers(image: Tensor, loss: ImageLoss | None = None) -> dict[str, int]:
    """Number of values that each term compares for an image (1, C, H, W) in [0, 1], by term name."""
    return {name: target[0].numel() for name, target in represent(image, loss).items()}


def represent(x: Tensor, loss: ImageLoss | None) -> dict[str, Tensor]:
    """The representations compared by every term, (N, ...) by term name."""
    features = {} if loss is None else {f"{loss.group}/{name}": value for name, value in loss.represent(x).items()}
    return {"pixel": x} | features


def _parts(batches: Callable[[], Iterable[Tensor]]) -> Iterable[Tensor]:
    return (part for batch in batches() for part in batch.split(AT_A_TIME))


def beta_eff(objective: Objective, pixels: int) -> float:
    """The KL weight relative to the pixel term in a common unit: beta_eff of ``1/2 SSE + beta_eff KL``.

    SSE is the squared pixel error summed over channels, height and width, in [0, 1]; so 1 is the exact ELBO of unit
    Gaussian noise, and implementations with other reductions can be compared. With ``f`` the factor of the mean squared
    error in the total: ``f / pixels SSE + alpha KL``, hence ``beta_eff = alpha pixels / (2 f)``. Infinite without a
    pixel term. Under a likelihood with the weights 1 it is the variance.

    Args:
        objective: the objective with its weights.
        pixels: values in one image, C * H * W.
    """
    factor = objective.factor("pixel")
    return objective.weights["kl"] * pixels / (2 * factor) if factor else float("inf")


def accounting_table(objective: Objective, sizes: Mapping[str, float], pixels: int) -> str:
    """The weights, scales and values of all terms, and beta_eff, as a text table.

    Args:
        objective: the objective with its weights.
        sizes: value of every term on some batch, by name.
        pixels: values in one image, C * H * W.
    """
    features = getattr(objective.perceptual, "features", None)
    indices = [] if features is None else layer_names(features.arch)
    lines = [f"{'term':<24}{'weight':>12}{'divided by':>12}{'now':>12}{'weighted':>12}"]
    for name, weight in objective.weights.items():
        (group, _, layer), size = name.partition("/"), sizes[name]
        label = f"{group}/{indices.index(layer)} {layer}" if layer in indices else name  # torchvision's index
        lines.append(f"{label:<24}{weight:>12.4g}{objective.scales[name]:>12.4g}{size:>12.4g}{weight * size:>12.4g}")
    currency = beta_eff(objective, pixels)
    lines.append(f"KL weight in units of 1/2 SSE + beta_eff KL, pixels alone: beta_eff = {currency:.3g}")
    return "\n".join(lines)
