import pytest
import torch

from dfcvae.latent import interpolate
from dfcvae.vae import VAE


def test_points_lie_evenly_on_the_line():
    start, end = torch.randn(8), torch.randn(8)
    path = interpolate(start, end, 5)
    for i in range(5):
        torch.testing.assert_close(path[i], start + i / 4 * (end - start))


def test_the_ends_are_the_reconstructions():
    vae, x = VAE("hou2016", 32, 3, 8).eval(), torch.rand(2, 3, 32, 32)
    mu, _ = vae.encode(x)
    strip = vae.decode(interpolate(mu[0], mu[1], 7))
    torch.testing.assert_close(strip[[0, -1]], vae.reconstruct(x))


def test_one_step_is_an_error():
    with pytest.raises(ValueError, match="at least 2 steps"):
        interpolate(torch.zeros(2), torch.ones(2), 1)
