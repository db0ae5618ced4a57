import math

import pytest
import torch

from dfcvae.evaluation import evaluate, laplacian_variance, mesh_energy, plaid_energy, power_spectrum, psnr
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.vae import VAE


@pytest.fixture
def vae():
    return VAE("hou2016", 32, 3, 8).eval()


def test_laplacian_variance_equals_a_loop():
    images = torch.rand(2, 3, 7, 6, dtype=torch.float64)
    for image, value in zip(images, laplacian_variance(images), strict=True):
        grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        responses = [
            grey[i - 1, j] + grey[i + 1, j] + grey[i, j - 1] + grey[i, j + 1] - 4 * grey[i, j]
            for i in range(1, 6)
            for j in range(1, 5)
        ]
        torch.testing.assert_close(value, torch.stack(responses).var())


def test_laplacian_variance_falls_with_blur(splits):
    x = to_float(splits["val"].images)
    blurred = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    assert (laplacian_variance(blurred) < 0.5 * laplacian_variance(x)).all()


def test_psnr_of_a_known_error(x):
    noisy = x + 0.1
    assert psnr(noisy, x).tolist() == pytest.approx([20.0] * 4, rel=1e-4)


def test_measures_equal_direct_computation_on_one_batch(vae, splits):
    faces = splits["test"]
    x = to_float(faces.images)
    x_hat = vae.reconstruct(x)
    features = VGGFeatures("vgg11", ["relu1_1"], "random")
    judge = lambda images: images.mean(dim=(2, 3)) - 0.45  # noqa: E731
    measures = evaluate(vae, faces, features=features, judge=judge, batch_size=len(faces))
    mse = (x_hat - x).square().mean(dim=(1, 2, 3))
    assert measures["mse"] == pytest.approx(mse.mean().item(), rel=1e-5)
    assert measures["psnr"] == pytest.approx((-10 * mse.log10()).mean().item(), rel=1e-5)
    ratio = laplacian_variance(x_hat).mean() / laplacian_variance(x).mean()
    assert measures["sharpness"] == pytest.approx(ratio.item(), rel=1e-5)
    target, output = features(x)["relu1_1"], features(x_hat)["relu1_1"]
    unexplained = (output - target).square().mean() / (target - target.mean(0)).square().mean()
    assert measures["features/relu1_1"] == pytest.approx(unexplained.item(), rel=1e-4)
    same = ((judge(x) > 0) == (judge(x_hat) > 0)).float().mean()
    assert measures["attribute_agreement"] == pytest.approx(same.item())


def test_measures_do_not_depend_on_the_batch_size(vae, splits):
    a, b = (evaluate(vae, splits["test"], batch_size=size) for size in (5, 24))
    assert a == pytest.approx(b, rel=1e-5)
    assert {"mse", "psnr", "ssim", "sharpness", "mesh", "plaid", "kl", "active_units"} == set(a)


def test_a_perfect_reconstruction(vae, splits, monkeypatch):
    monkeypatch.setattr(vae, "encode", lambda x: (x, torch.zeros_like(x)))
    monkeypatch.setattr(vae, "decode", lambda z: z)
    monkeypatch.setattr("dfcvae.evaluation.measures.kl_divergence", lambda mu, logvar: torch.zeros(len(mu)))
    monkeypatch.setattr("dfcvae.evaluation.measures.active_units", lambda mu: 0)
    measures = evaluate(vae, splits["test"], judge=lambda x: x.mean(dim=(2, 3)))
    assert measures["mse"] == 0
    assert measures["psnr"] == math.inf
    assert measures["ssim"] == pytest.approx(1)
    assert measures["sharpness"] == 1
    power = power_spectrum(to_float(splits["test"].images)).mean(dim=0)
    assert measures["mesh"] == pytest.approx(mesh_energy(power, power), rel=1e-4)
    assert measures["plaid"] == pytest.approx(plaid_energy(power, power), rel=1e-4)
    assert measures["attribute_agreement"] == 1
