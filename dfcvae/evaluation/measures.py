"""Measures of a trained VAE on held-out faces, none of which needs the loss it was trained on, and their protocol.

With intervals over images, and differences between models over images, or between recipes over seeds.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isnan, nan, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from scipy.stats import t, ttest_rel
from torch import Tensor
from tqdm import tqdm

from dfcvae.checkpoint import digest as digest_of_tensors
from dfcvae.config import DataConfig
from dfcvae.data import Faces, source_name
from dfcvae.device import keep_freed_memory
from dfcvae.errors import UserError
from dfcvae.evaluation.judges import NetworkJudge, stranger_of
from dfcvae.evaluation.likelihood import likelihood_bounds, posterior_draws, posterior_noise
from dfcvae.evaluation.quality import Distance, laplacian_variance, mesh_energy, plaid_energy, power_spectrum, psnr
from dfcvae.evaluation.samples import put_rows
from dfcvae.features import VGGFeatures
from dfcvae.fitted import Model, faces_of, model_of
from dfcvae.gaussian import active_units, kl_per_dimension
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.losses import PerceptualLoss, SSIMLoss, mean_squared_error, measure_scales
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE, digest, evaluating
from dfcvae.weights import read_metadata

JUDGE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")  # the layers of a judging network to compare, in any VGG
LARGEST_WITHOUT_MS_SSIM = 160  # pixels: its window of 11 does not fit into the fifth scale
ATTRIBUTE_JUDGE = "attribute-trained judge"

Attributes = Callable[[Tensor], Tensor]  # images (N, C, H, W) in [0, 1] to attribute logits (N, A)


@dataclass(frozen=True)
class Measurements:
    """What was measured on a set of images; see `measure`."""

    per_image: dict[str, Tensor]  # values (N,) by name, on the CPU
    scales: dict[str, float]  # what the mean of some of them is divided by
    whole: dict[str, float]  # measures that only the set as a whole has
    kl_per_dimension: Tensor  # means in nats, (D,)

    def values(self) -> dict[str, float]:
        """Every measure by name, as listed at `evaluate`."""
        means = {name: values.double().mean() for name, values in self.per_image.items()}
        return {name: float(value) for name, value in self._reported(means).items()} | self.whole

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float]]:
        """95 % percentile bootstrap intervals over the images, for the measures that are means of values per image.

        The denominators of ``features/<layer>`` and the variance behind the likelihood bounds are taken as known.
        """
        return {name: percentile_interval(values) for name, values in self.resampled(seed).items()}

    def resampled(self, seed: int = 0) -> dict[str, Tensor]:
        """These measures of resampled images, (R,) by name; the same images for the same number and seed."""
        draws = bootstrap_means(torch.stack(list(self.per_image.values()), dim=1), seed=seed)  # (R, M)
        return self._reported(dict(zip(self.per_image, draws.T, strict=True)))

    def _reported(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Measures from means of values per image, of any shape."""
        means = {name: value / self.scales.get(name, 1) for name, value in means.items()}
        means["sharpness"] = means["sharpness"] / means.pop("original_sharpness")
        return means


def evaluate(
    model: Model,
    data: Any = None,
    *,
    features: VGGFeatures | None = None,
    judge: Attributes | None = None,
    batch_size: int = 100,
    progress: bool = False,
) -> dict[str, float]:
    """Mean measures of reconstructions from the posterior mean, and what the posterior holds.

    Args:
        model: a VAE, or a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        data: held-out faces in memory (`Faces`, a tensor, an array, a torch Dataset), or a dict of splits or a path, of
            which the test split is measured (default: that of the model's training data).
        features: a feature network; better another one than that of the training loss.
        judge: maps images in [0, 1] to attribute logits (N, A); better another network than that of the loss.
        batch_size: images at a time; the result does not depend on it.
        progress: show a bar.

    Returns:
        ``mse``, ``psnr`` (dB), ``ssim``, and ``ms_ssim`` for sides over 160 pixels; ``sharpness``, the Laplacian
        variance of all reconstructions relative to that of the originals (1: as sharp); ``mesh`` and ``plaid``, the
        energy of a grid and of lines across them (`mesh_energy`, `plaid_energy`); ``kl`` (nats) and ``active_units``;
        ``negative_elbo`` (nats) with a decoder of variance ``decoder_variance`` (see
        `dfcvae.evaluation.likelihood.likelihood_bounds`); with ``features``, ``features/<layer>``, the fraction of the
        layer's variance left unexplained (0: perfect, 1: no better than the mean face); with ``judge``,
        ``attribute_agreement``, the share of attributes on which it gives original and reconstruction the same verdict.

    Raises:
        UserError: if there are fewer than two faces.
    """
    vae, faces = model_of(model), faces_of(model, data)
    return measure(vae, faces, features=features, judge=judge, batch_size=batch_size, progress=progress).values()


@torch.no_grad()
def measure(
    vae: VAE,
    faces: Faces,
    *,
    features: VGGFeatures | None = None,
    judge: Attributes | None = None,
    lpips: Mapping[str, Distance] | None = None,
    judges: Sequence[NetworkJudge] = (),
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 100,
    progress: bool = False,
) -> Measurements:
    """As `evaluate`, with every image's values, from which intervals are computed.

    Memory holds one batch of images, and of each image only its values and posterior mean. Further arguments:

    Args:
        lpips: distances of `lpips_distances`; adds ``lpips_<name>``.
        judges: networks of other kinds; each adds ``<name>/cosine``, where it names layers ``<name>/distance``, and the
            same between each image and another one, with ``_strangers`` at the end (`NetworkJudge.compare`).
        draws: latents drawn from each posterior and decoded; more than one adds ``negative_iwae``.
        seed: of these.
    """
    if len(faces) < 2:
        raise UserError(f"Measures need at least 2 faces, got {len(faces)}.")
    keep_freed_memory()
    device = next(vae.parameters()).device

    def batches() -> Iterator[Tensor]:
        return (to_float(images.to(device)) for images in faces.images.split(batch_size))

    loss = PerceptualLoss(features) if features is not None else None
    scales = measure_scales(batches, loss) if loss is not None else {}
    found: dict[str, Tensor] = {}
    spectra, done = torch.zeros(2, *faces.images.shape[1:]), 0
    with evaluating(vae):
        for x in tqdm(batches(), "measuring", ceil(len(faces) / batch_size), disable=not progress or None):
            rows = torch.arange(done, done + len(x))
            mu, logvar = vae.encode(x)
            x_hat = vae.decode(mu)
            eps = posterior_noise(rows.tolist(), draws, mu.shape[1], seed).to(device)
            errors, ratios = posterior_draws(vae.decode, x, mu, logvar, eps)
            values = {"mu": mu, "kl_per_dimension": kl_per_dimension(mu, logvar), "errors": errors, "ratios": ratios}
            values |= _of_pairs(x_hat, x, loss, judge, lpips or {})
            for network in judges:
                strangers = faces.images[stranger_of(rows, len(faces))].to(device)
                values |= network.compare(x_hat, x, to_float(strangers))
            for name, value in values.items():
                found[name] = put_rows(value, found.get(name), done, len(faces))
            spectra += torch.stack([power_spectrum(images).sum(dim=0).cpu() for images in (x_hat, x)])
            done += len(x)
    mu, kl, errors, ratios = (found.pop(name) for name in ("mu", "kl_per_dimension", "errors", "ratios"))
    bounds, variance = likelihood_bounds(errors, ratios, kl.sum(dim=1), faces.images[0].numel())
    output, original = spectra / len(faces)
    whole = {"mesh": mesh_energy(output, original), "plaid": plaid_energy(output, original)}
    whole |= {"decoder_variance": variance, "active_units": float(active_units(mu))}
    return Measurements(found | {"kl": kl.sum(dim=1)} | bounds, scales, whole, kl.mean(dim=0))


def _of_pairs(
    x_hat: Tensor, x: Tensor, loss: PerceptualLoss | None, judge: Attributes | None, lpips: Mapping[str, Distance]
) -> dict[str, Tensor]:
    """Measures of each reconstruction and its original, (N,) by name."""
    values = {
        "mse": mean_squared_error(x_hat, x),
        "psnr": psnr(x_hat, x),
        "ssim": 1 - SSIMLoss()(x_hat, x),
        "sharpness": laplacian_variance(x_hat),
        "original_sharpness": laplacian_variance(x),
    }
    if min(x.shape[-2:]) > LARGEST_WITHOUT_MS_SSIM:
        values["ms_ssim"] = 1 - SSIMLoss(scales=5)(x_hat, x)
    values |= {f"lpips_{name}": distance(x_hat, x) for name, distance in lpips.items()}
    if loss is not None:
        values |= {f"features/{name}": value for name, value in loss.terms(x_hat, x).items()}
    if judge is not None:
        values["attribute_agreement"] = ((judge(x) > 0) == (judge(x_hat) > 0)).float().mean(dim=1)
    return values


def protocol(
    vae: VAE,
    data: DataConfig,
    *,
    images: int,
    judge: Path | None,
    judges: Sequence[NetworkJudge] = (),
    samples: int,
    mixture: Prior | None = None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """What one must know to compare these numbers with others, by name, without any path of this machine.

    Of ``images`` test images, measured with the file of an attribute network and other judges, with ``draws`` from each
    posterior; of ``samples`` images in each set of samples (0 for none), drawn from a fitted mixture too.
    """
    card: dict[str, Any] = {
        "model": digest(vae),
        "network": f"{vae.config['network']}, {vae.latent_dim} latent dimensions",
        "data": f"{source_name(data)}, test split, {images} images",
        "split_seed": data.split_seed,
        "pixels": f"{data.size}x{data.size} {'RGB' if data.channels == 3 else 'grey'}, crop {data.crop}, {data.filter}",
    }
    if judge is not None:
        about = read_metadata(judge)
        card["judge"] = f"{ATTRIBUTE_JUDGE}: {about['arch']}, width {about['width']}"
        card["judge_sha256"] = hashlib.sha256(judge.read_bytes()).hexdigest()
    if judges:
        card["judges"] = {network.name: network.card() for network in judges}
        card["strangers"] = "each test image against the one a third of the test split later"
    if samples:
        card["samples"] = f"{samples} in each set, from N(0, I)"
    if samples and mixture is not None:
        card["samples"] += f" and from what was fitted to the latents: {mixture}"
        tensors = {"weights": mixture.weights, "means": mixture.means, "factors": mixture.factors}
        card["mixture_sha256"] = digest_of_tensors(tensors)
    return card | {"draws": draws, "seed": seed, "intervals": f"{100 * LEVEL:g} %, {RESAMPLES} resamples of the images"}


RESAMPLES = 1000
LEVEL = 0.95


def bootstrap_means(values: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """Means (R, M) of measures of N images, (N, M) on the CPU: each of R times, N images are drawn with replacement.

    Efron 1979, "Bootstrap Methods: Another Look at the Jackknife". The draws are the same for the same N and seed,
    whatever the values. Not `scipy.stats.bootstrap`, which gives the interval of one statistic: here the same draws
    serve all measures, their ratios and the differences of models, and infinite values (the PSNR of equal images) have
    an interval.
    """
    generator = seeded_generator(seed, Stream.RESAMPLES)
    values, n = values.double(), len(values)
    # one resample at a time: all of 200,000 images at once would need 1.6 GB for their indices alone
    rows = (torch.randint(n, (n,), generator=generator) for _ in range(resamples))
    return torch.stack([values[drawn].mean(dim=0) for drawn in rows])


def percentile_interval(draws: Tensor) -> tuple[float, float]:
    """The interval that holds the middle 95 % of draws (R,): the percentile bootstrap.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=draws.dtype)
    low, high = torch.quantile(draws, tails, interpolation="nearest").tolist()  # defined for infinite values too
    return low, high


@dataclass(frozen=True)
class Estimate:
    """A measure, or a difference of two, with its 95 % interval."""

    mean: float
    low: float = nan  # without an interval
    high: float = nan
    p: float = nan  # of a difference, two-sided; NaN if undefined
    seeds: bool = False  # whether the interval is one over trainings, mean +- half_width; else it is one over images

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def interval(self) -> str:
        """The interval as text; empty without one."""
        if isnan(self.low):
            return ""
        return f"± {self.half_width:.2g}" if self.seeds else f"[{self.low:.3g}, {self.high:.3g}]"

    def __str__(self) -> str:
        return f"{self.mean:.4g} {self.interval}".rstrip()


def paired_differences(model: Measurements, other: Measurements, seed: int = 0) -> dict[str, Estimate]:
    """Differences of every measure that both models have and that is computed from values per image.

    The interval is that of the percentile bootstrap over images, the same resampled images for both models; p is that
    of the paired t-test (Student 1908) on the values per image, for ``sharpness`` on the Laplacian variances. p-values
    are not adjusted for the number of measures. Both hold for other images and these two models, not for other
    trainings of them. A UserError if the numbers of images differ.
    """
    images = {len(next(iter(measured.per_image.values()))) for measured in (model, other)}
    if len(images) > 1:
        raise UserError(f"Paired differences need measures of the same images, got {' and '.join(map(str, images))}.")
    drawn, drawn_other = model.resampled(seed), other.resampled(seed)
    values, values_other = model.values(), other.values()
    differences = {}
    for name in drawn:
        if name in drawn_other:
            low, high = percentile_interval(drawn[name] - drawn_other[name])
            p = _p_value(model.per_image[name], other.per_image[name])
            differences[name] = Estimate(values[name] - values_other[name], low, high, p)
    return differences


def _p_value(a: Tensor, b: Tensor) -> float:
    difference = (a - b).double()
    if not torch.isfinite(difference).all() or bool((difference == difference[0]).all()):
        return nan
    return float(ttest_rel(a.double().numpy(), b.double().numpy()).pvalue)


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval of S values, one per training: ``m +- t_{0.975, S-1} s / sqrt(S)``.

    Of differences between two recipes with the same seeds, it is the paired comparison of the recipes. It equals
    ``scipy.stats.ttest_1samp(values, 0).confidence_interval()``, which warns where all values are equal, as counts of
    active units often are.
    """
    if len(values) < 2:
        return Estimate(fmean(values), seeds=True)
    mean = fmean(values)
    half_width = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return Estimate(mean, mean - half_width, mean + half_width, seeds=True)
