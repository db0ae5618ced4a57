import numpy as np
import pytest
import scipy.linalg
import torch

from dfcvae.evaluation import embed, frechet_distance


def by_scipy(a, b):
    means, covariances = [x.mean(axis=0) for x in (a, b)], [np.cov(x.T) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


def test_it_is_the_formula_of_scipy():
    a, b = torch.randn(500, 12) @ torch.randn(12, 12), torch.randn(300, 12) + 0.5
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a.double().numpy(), b.double().numpy()), rel=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-2)


def test_it_falls_with_the_number_of_images():
    """Why sets of unequal size must not be compared."""
    draws = [torch.randn(n, 32) for n in (100, 100, 3000, 3000)]
    assert frechet_distance(draws[0], draws[1]) > 5 * frechet_distance(draws[2], draws[3])


def test_many_images_are_embedded_in_parts():
    images = torch.rand(205, 3, 4, 4)
    seen = []

    def network(x):
        seen.append(len(x))
        return x.flatten(1)

    assert torch.equal(embed(network, images), images.flatten(1))
    assert max(seen) <= 100
