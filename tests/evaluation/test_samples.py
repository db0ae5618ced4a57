import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.kid import poly_mmd

from dfcvae.errors import UserError
from dfcvae.evaluation import frechet_distance, kernel_distance, measure_samples, precision_recall
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE


def test_kernel_distance_equals_a_double_loop():
    a, b = torch.randn(7, 4).double(), torch.randn(5, 4).double() + 1
    kernel = lambda x, y: (x @ y / 4 + 1) ** 3  # noqa: E731
    within = [[kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j] for s in (a, b)]
    between = [kernel(x, y) for x in a for y in b]
    wanted = np.mean(within[0]) + np.mean(within[1]) - 2 * np.mean(between)
    assert kernel_distance(a, b) == pytest.approx(wanted)


def test_kernel_distance_is_that_of_torchmetrics_whatever_the_parts(monkeypatch):
    a, b = torch.randn(200, 16), torch.randn(200, 16) * 1.5
    wanted = poly_mmd(a.double(), b.double()).item()
    assert kernel_distance(a, b) == pytest.approx(wanted)
    monkeypatch.setattr("dfcvae.evaluation.samples.ROWS_AT_ONCE", 7)
    assert kernel_distance(a, b) == pytest.approx(wanted)


def test_kernel_distance_has_no_bias():
    values = [kernel_distance(torch.randn(10, 3), torch.randn(10, 3)) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20
    assert min(values) < 0


def neighbours_of_sklearn(real, fake, k):
    def share(of, among):
        radii = NearestNeighbors(n_neighbors=k + 1).fit(among).kneighbors(among)[0][:, -1]
        distances = np.linalg.norm(of[:, None] - among[None], axis=-1)
        return (distances <= radii).any(axis=1).mean()

    return share(fake, real), share(real, fake)


def test_precision_and_recall_are_those_of_sklearn_whatever_the_parts(monkeypatch):
    real, fake = torch.randn(150, 6), torch.randn(120, 6) * 0.7 + 0.4
    wanted = neighbours_of_sklearn(real.double().numpy(), fake.double().numpy(), 3)
    assert 0 < wanted[1] < wanted[0] < 1
    assert precision_recall(real, fake) == pytest.approx(wanted)
    monkeypatch.setattr("dfcvae.evaluation.samples.ROWS_AT_ONCE", 11)
    assert precision_recall(real, fake) == pytest.approx(wanted)


def test_precision_sees_what_is_not_real_and_recall_what_is_missing():
    """Two clusters of real images: samples of one of them are good but not all, samples of a third are bad."""
    one, two, three = (torch.randn(60, 5) + shift for shift in (0.0, 20.0, 40.0))
    real = torch.cat([one, two])
    precision, recall = precision_recall(real, one + 0.01 * torch.randn(60, 5))
    assert precision == pytest.approx(1, abs=0.05)
    assert recall == pytest.approx(0.5, abs=0.05)
    precision, recall = precision_recall(real, torch.cat([one, two, three]) + 0.01)
    assert precision == pytest.approx(2 / 3, abs=0.05)
    assert recall == pytest.approx(1, abs=0.05)
    assert precision_recall(real, three) == (0, 0)


def pixels(images):
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@torch.no_grad()
def test_samples_reconstructions_and_held_out_faces_are_compared_with_the_test_split(splits, monkeypatch):
    vae, val, test = VAE("hou2016", 32, 3, 8).eval(), splits["val"], splits["test"].subset(20)
    monkeypatch.setattr(vae, "reconstruct", lambda x: 0.5 * x)  # an untrained model's are all alike
    found = measure_samples(vae, val, test, pixels, seed=4)
    real = pixels(to_float(test.images))
    sets = {
        "samples": pixels(vae.sample(20, generator=seeded_generator(4, Stream.SAMPLES))),
        "reconstructions": pixels(vae.reconstruct(to_float(val.images[:20]))),
        "floor": pixels(to_float(val.images[:20])),
    }
    for name, features in sets.items():
        wanted = [frechet_distance(real, features), kernel_distance(real, features), *precision_recall(real, features)]
        assert list(found[name].values()) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert [*found["floor"]] == ["frechet", "kernel", "precision", "recall"]
    assert found["floor"]["frechet"] < found["reconstructions"]["frechet"]


@torch.no_grad()
def test_samples_of_a_fitted_prior_are_measured_beside_those_of_the_standard_one(splits):
    vae, val, test = VAE("hou2016", 32, 3, 8).eval(), splits["val"], splits["test"]
    mixture = Prior(torch.tensor([0.3, 0.7]), torch.randn(2, 8), torch.stack([torch.eye(8), 0.1 * torch.eye(8)]))
    found = measure_samples(vae, val, test, pixels, mixture=mixture, seed=4)
    assert list(found) == ["samples", "samples_gmm", "reconstructions", "floor"]
    z = mixture.sample(24, generator=seeded_generator(4, Stream.SAMPLES))
    features, real = pixels(vae.decode_all(z)), pixels(to_float(test.images))
    wanted = [frechet_distance(real, features), kernel_distance(real, features), *precision_recall(real, features)]
    assert list(found["samples_gmm"].values()) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    alone = measure_samples(vae, val, test, pixels, seed=4)
    assert {name: row for name, row in found.items() if name != "samples_gmm"} == alone


def test_no_more_are_compared_than_a_bound(splits, monkeypatch):
    monkeypatch.setattr("dfcvae.evaluation.samples.COMPARED", 10)
    vae, embedded = VAE("hou2016", 32, 3, 8).eval(), []
    measure_samples(vae, splits["val"], splits["test"], lambda x: embedded.append(len(x)) or pixels(x))
    assert embedded == [10] * 4


def test_too_few_faces_are_a_sentence(splits):
    vae, val = VAE("hou2016", 32, 3, 8), splits["val"]
    few = val.subset(4)
    with pytest.raises(UserError, match="at least 5 faces in the validation and in the test split, but 24 and 4 are"):
        measure_samples(vae, val, few, pixels)
