"""Measures of a model, against scikit-image, SciPy, scikit-learn and torch.distributions; the protocol."""

import hashlib
import json
import math
from functools import partial

import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
import sklearn.metrics
import torch
from torch.distributions import Independent, Normal
from torch.nn.functional import avg_pool2d

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.config import DataConfig
from dfcvae.data import Faces
from dfcvae.evaluation import evaluate, measure, protocol
from dfcvae.evaluation.likelihood import posterior_noise
from dfcvae.evaluation.measures import bootstrap_means, percentile_interval
from dfcvae.evaluation.quality import laplacian_variance, mesh_energy, plaid_energy, power_spectrum
from dfcvae.features import VGGFeatures
from dfcvae.gaussian import kl_per_dimension, sample_posterior
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.losses import LPIPS
from dfcvae.vae import VAE, digest


@pytest.fixture
def vae():
    return VAE("hou2016", 32, 3, 8).eval()


def test_unexplained_variance_equals_direct_computation_on_one_batch(vae, splits):
    x = to_float(splits["test"].images)
    features = VGGFeatures("vgg11", ["relu1_1"], "random")
    measures = evaluate(vae, splits["test"], features=features, batch_size=7)
    target, output = features(x)["relu1_1"], features(vae.reconstruct(x))["relu1_1"]
    unexplained = (output - target).square().mean() / (target - target.mean(0)).square().mean()
    assert measures["features/relu1_1"] == pytest.approx(unexplained.item(), rel=1e-4)


def test_measures_of_pairs_are_those_of_scikit_image_scipy_and_scikit_learn(vae, splits):
    faces = splits["test"].subset(6)
    judge = lambda images: images.mean(dim=(2, 3)) - 0.5  # noqa: E731
    measures = evaluate(vae, faces, judge=judge, batch_size=4)
    x = to_float(faces.images)
    x_hat = vae.reconstruct(x)
    pairs = list(zip(x.double().numpy(), x_hat.double().numpy(), strict=True))
    mse, psnr, ssim = skimage.metrics.mean_squared_error, skimage.metrics.peak_signal_noise_ratio, ssim_of_skimage
    assert measures["mse"] == pytest.approx(np.mean([mse(*pair) for pair in pairs]), rel=1e-5)
    assert measures["psnr"] == pytest.approx(np.mean([psnr(*pair, data_range=1) for pair in pairs]), rel=1e-5)
    assert measures["ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in pairs]), rel=1e-4)
    original, output = np.mean([[sharpness_of_scipy(image) for image in pair] for pair in pairs], axis=0)
    assert measures["sharpness"] == pytest.approx(output / original, rel=1e-4)
    verdicts = [(judge(images) > 0).numpy() for images in (x, x_hat)]
    disagreement = sklearn.metrics.hamming_loss(*verdicts)
    assert 0 < disagreement < 1
    assert measures["attribute_agreement"] == pytest.approx(1 - disagreement)


def ssim_of_skimage(a, b):
    """A Gaussian window of 11 pixels; mirrored at the edges, as scikit-image averages over whole windows alone."""
    a, b = (np.pad(image, ((0, 0), (5, 5), (5, 5)), mode="reflect") for image in (a, b))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return skimage.metrics.structural_similarity(a, b, channel_axis=0, data_range=1, **window)


def sharpness_of_scipy(image):
    grey = np.tensordot((0.299, 0.587, 0.114), image, axes=1)
    return scipy.ndimage.laplace(grey)[1:-1, 1:-1].var(ddof=1)


def test_measures_do_not_depend_on_the_batch_size(vae, splits):
    a, b = (evaluate(vae, splits["test"], batch_size=size) for size in (5, 24))
    assert a == pytest.approx(b, rel=1e-5)
    names = "mse psnr ssim sharpness mesh plaid kl active_units negative_elbo decoder_variance"
    assert set(a) == set(names.split())
    c, d = (measure(vae, splits["test"], draws=4, batch_size=size).values() for size in (5, 24))
    assert c == pytest.approx(d, rel=1e-5)
    assert c["negative_iwae"] < c["negative_elbo"]
    assert c["mse"] == pytest.approx(a["mse"])


def test_intervals_are_those_of_the_values_per_image(vae, splits):
    measured = measure(vae, splits["test"])
    intervals, values = measured.intervals(seed=3), measured.values()
    assert intervals.keys() == values.keys() - {"mesh", "plaid", "active_units", "decoder_variance"}
    assert all(low < values[name] < high for name, (low, high) in intervals.items())
    x = to_float(splits["test"].images)
    x_hat = vae.reconstruct(x)
    pair = torch.stack([laplacian_variance(x_hat), laplacian_variance(x)], dim=1)
    output, original = bootstrap_means(pair, seed=3).T
    assert intervals["sharpness"] == pytest.approx(percentile_interval(output / original), rel=1e-4)
    errors = bootstrap_means((x_hat - x).square().mean(dim=(1, 2, 3))[:, None], seed=3)[:, 0]
    assert intervals["mse"] == pytest.approx(percentile_interval(errors), rel=1e-4)


@torch.no_grad()
def test_the_negative_elbo_is_that_of_one_decoded_draw(vae, splits):
    x = to_float(splits["test"].images)
    mu, logvar = vae.encode(x)
    z = sample_posterior(mu, logvar, posterior_noise(range(len(x)), 1, 8, seed=5)[:, 0])
    error = (vae.decode(z) - x).double()
    variance = error.square().mean()
    density = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), variance.sqrt()).log_prob(error)
    elbo = density.sum(dim=(1, 2, 3)).mean() - kl_per_dimension(mu, logvar).sum(dim=1).mean()
    measured = measure(vae, splits["test"], seed=5, batch_size=7)
    assert measured.values()["negative_elbo"] == pytest.approx(-elbo.item(), rel=1e-6)
    assert measured.values()["decoder_variance"] == pytest.approx(variance.item(), rel=1e-6)
    assert measured.kl_per_dimension.tolist() == pytest.approx(kl_per_dimension(mu, logvar).mean(0).tolist(), rel=1e-3)


@torch.no_grad()
def test_the_negative_iwae_is_that_of_torch_distributions(vae, splits):
    x = to_float(splits["test"].images)
    measured = measure(vae, splits["test"], draws=3, seed=5).values()
    scale = torch.tensor(measured["decoder_variance"], dtype=torch.float64).sqrt()
    mu, logvar = (value[:, None].double() for value in vae.encode(x))
    eps = posterior_noise(range(len(x)), 3, 8, seed=5)
    q, prior = (Independent(Normal(m, s), 1) for m, s in ((mu, (logvar / 2).exp()), (torch.zeros(8), torch.ones(8))))
    z = q.mean + q.stddev * eps  # (N, K, D)
    decoded = vae.decode(z.flatten(0, 1).float()).view(len(x), 3, -1)
    log_p = Independent(Normal(decoded.double(), scale), 1).log_prob(x.flatten(1)[:, None]) + prior.log_prob(z)
    wanted = np.log(3) - torch.logsumexp(log_p - q.log_prob(z), dim=1).mean().item()
    assert measured["negative_iwae"] == pytest.approx(wanted, rel=1e-5)


def test_lpips_is_measured_where_it_is_given(vae, splits):
    features = VGGFeatures("vgg16", ["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"], "random")
    lpips, faces = LPIPS(features), splits["test"].subset(3)
    x = to_float(faces.images)
    wanted = lpips(vae.reconstruct(x), x).mean().item()
    measured = measure(vae, faces, lpips={"vgg": lpips, "alex": lambda a, b: (a - b).mean(dim=(1, 2, 3))}).values()
    assert measured["lpips_vgg"] == pytest.approx(wanted, rel=1e-4)
    assert "lpips_alex" in measured


def test_ms_ssim_is_measured_where_the_images_are_large_enough(monkeypatch):
    vae = VAE("strided", 256, 1, 2).eval()
    faces = Faces(torch.randint(0, 256, (2, 1, 256, 256), dtype=torch.uint8), torch.empty(2, 0, dtype=torch.bool), ())
    x = to_float(faces.images)
    x_hat = avg_pool2d(x, 3, stride=1, padding=1)
    monkeypatch.setattr(vae, "decode", lambda z: x_hat)
    wanted = np.mean(
        [ms_ssim_of_scipy(a[0], b[0]) for a, b in zip(x.double().numpy(), x_hat.double().numpy(), strict=True)]
    )
    assert 0.1 < wanted < 0.9
    assert evaluate(vae, faces)["ms_ssim"] == pytest.approx(wanted, rel=1e-4)


def ms_ssim_of_scipy(a, b):
    """Wang et al. 2003, equation 7: whole windows alone, but for the coarsest scale, mirrored at its edges."""
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        blur = partial(scipy.ndimage.gaussian_filter, sigma=1.5, truncate=3.5, mode="mirror")
        luminance = (2 * blur(a) * blur(b) + 1e-4) / (blur(a) ** 2 + blur(b) ** 2 + 1e-4)
        variances = blur(a**2) - blur(a) ** 2 + blur(b**2) - blur(b) ** 2
        structure = (2 * (blur(a * b) - blur(a) * blur(b)) + 9e-4) / (variances + 9e-4)
        product *= ((luminance * structure).mean() if scale == 4 else structure[5:-5, 5:-5].mean()) ** weight
        a, b = (image.reshape(len(image) // 2, 2, -1, 2).mean(axis=(1, 3)) for image in (a, b))
    return product


def test_the_card_says_what_the_numbers_come_from_and_no_path(tmp_path):
    vae = VAE("hou2016", 32, 3, 8)
    file = AttributeNetwork("vgg11_bn", 0.125, ("Male",)).save(tmp_path / "secret" / "judge.safetensors")
    data = DataConfig(source=str(tmp_path / "secret" / "faces"), size=32, crop="full")
    card = protocol(vae, data, images=24, judge=file, samples=20, draws=5, seed=3)
    assert card == {
        "model": digest(vae),
        "network": "hou2016, 8 latent dimensions",
        "data": "faces, test split, 24 images",
        "split_seed": data.split_seed,
        "pixels": "32x32 RGB, crop full, bilinear",
        "judge": "attribute-trained judge: vgg11_bn, width 0.125",
        "judge_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "samples": "20 in each set, from N(0, I)",
        "draws": 5,
        "seed": 3,
        "intervals": "95 %, 1000 resamples of the images",
    }
    assert "secret" not in json.dumps(card)


def test_the_card_of_grey_images_and_of_a_fitted_prior():
    vae, data = VAE("hou2016", 32, 1, 8), DataConfig(size=32, channels=1)
    how = {"images": 24, "judge": None, "draws": 1, "seed": 0}
    card = protocol(vae, data, **how, samples=0)
    assert card["pixels"].startswith("32x32 grey, ")
    assert not {"judge", "samples"} & set(card)
    weights, factors = torch.tensor([0.5, 0.5]), torch.stack([torch.eye(8), 2 * torch.eye(8)])
    mixtures = [Prior(weights, torch.eye(8)[:2] + shift, factors) for shift in (0, 1)]
    cards = [protocol(vae, data, **how, samples=20, mixture=mixture) for mixture in mixtures]
    told = "20 in each set, from N(0, I) and from what was fitted to the latents: mixture of 2 Gaussians"
    assert [card["samples"] for card in cards] == [told, told]
    assert cards[0]["mixture_sha256"] != cards[1]["mixture_sha256"]


def test_a_perfect_reconstruction(vae, splits, monkeypatch):
    monkeypatch.setattr(vae, "encode", lambda x: (x.flatten(1), torch.full((len(x), x[0].numel()), -20.0)))
    monkeypatch.setattr(vae, "decode", lambda z: z.view(-1, *vae.image_shape))
    measures = evaluate(vae, splits["test"], judge=lambda x: x.mean(dim=(2, 3)))
    assert measures["mse"] == 0
    assert measures["psnr"] == math.inf
    assert measures["ssim"] == pytest.approx(1)
    assert measures["sharpness"] == 1
    power = power_spectrum(to_float(splits["test"].images)).mean(dim=0)
    assert measures["mesh"] == pytest.approx(mesh_energy(power, power), rel=1e-4)
    assert measures["plaid"] == pytest.approx(plaid_energy(power, power), rel=1e-4)
    assert measures["attribute_agreement"] == 1
