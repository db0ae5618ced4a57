import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dfcvae.latent import by_kl, encode_images, face_grid, interpolate, path, slerp, traverse
from dfcvae.latent import interpolation as module
from dfcvae.vae import VAE


def test_points_lie_evenly_on_the_line():
    start, end = torch.randn(8), torch.randn(8)
    points = interpolate(start, end, 5)
    for i in range(5):
        torch.testing.assert_close(points[i], start + i / 4 * (end - start))


def test_the_ends_are_the_reconstructions():
    vae, x = VAE("hou2016", 32, 3, 8).eval(), torch.rand(2, 3, 32, 32)
    mu, _ = vae.encode(x)
    for between in (interpolate, slerp):
        strip = vae.decode(between(mu[0], mu[1], 7))
        torch.testing.assert_close(strip[[0, -1]], vae.reconstruct(x), rtol=1e-4, atol=1e-5)


def test_the_great_circle_turns_evenly_and_keeps_the_length():
    start, end = torch.randn(2, 50, generator=torch.Generator().manual_seed(1)).double()
    start, end = 7 * start / start.norm(), 7 * end / end.norm()
    points = slerp(start, end, 9)
    torch.testing.assert_close(points.norm(dim=1), torch.full((9,), 7.0).double())
    turns = torch.nn.functional.cosine_similarity(points[1:], points[:-1], dim=1).arccos()
    torch.testing.assert_close(turns, turns.mean().expand(8))
    assert interpolate(start, end, 9).norm(dim=1).min() < 5.5  # the straight line does not


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_parallel_ends_are_joined_by_the_line(factor):
    start = torch.randn(8)
    points = slerp(start, factor * start, 5)
    assert points.isfinite().all()
    torch.testing.assert_close(points, interpolate(start, factor * start, 5))


@pytest.mark.parametrize("between", [interpolate, slerp])
def test_a_path_passes_each_point_once(between):
    points = torch.randn(4, 8)
    way = path(points, 5, between)
    assert way.shape == (13, 8)
    torch.testing.assert_close(way[::4], points)
    torch.testing.assert_close(way[4:9], between(points[1], points[2], 5))


def test_a_grid_has_its_corners_and_the_mean_in_the_middle():
    corners = torch.randn(4, 8)
    grid = face_grid(corners, 3, 5)
    torch.testing.assert_close(grid[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    torch.testing.assert_close(grid[1, 2], corners.mean(dim=0))
    torch.testing.assert_close(grid[0], interpolate(corners[0], corners[1], 5))
    torch.testing.assert_close(grid[:, -1], interpolate(corners[1], corners[3], 3))


def test_a_traversal_changes_one_dimension():
    z, values = torch.randn(6), torch.tensor([-3.0, 0.0, 3.0])
    walked = traverse(z, 4, values)
    assert torch.equal(walked[:, 4], values)
    rest = [0, 1, 2, 3, 5]
    assert torch.equal(walked[:, rest], z[rest].expand(3, 5))


def test_dimensions_are_ordered_by_their_mean_kl():
    mu, logvar = torch.randn(50, 5) * torch.tensor([0.1, 2.0, 0.0, 1.0, 0.5]), torch.randn(50, 5)
    mu[:, 2], logvar[:, 2] = 0, 0  # a dimension that says nothing
    indices, nats = by_kl(mu, logvar)
    expected = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).mean(dim=0)
    torch.testing.assert_close(nats, expected[indices])
    assert (nats.diff() <= 0).all()
    assert indices[-1] == 2
    assert nats[-1] == 0


def test_many_images_are_encoded_as_few_are(monkeypatch):
    monkeypatch.setattr(module, "ENCODED_AT_ONCE", 3)
    vae = VAE("hou2016", 32, 3, 8).eval()
    images = torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8)
    mu, logvar = encode_images(vae.encode, images)
    expected = vae.encode(images / 255)
    torch.testing.assert_close(mu, expected[0].detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logvar, expected[1].detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encode_images(vae.encode, images / 255)[0], mu, rtol=1e-4, atol=1e-5)
    assert not mu.requires_grad


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: interpolate(torch.zeros(2), torch.ones(2), 1), "at least 2 steps, got 1"),
        (lambda: path(torch.zeros(1, 2), 3), "at least 2 points, got 1"),
        (lambda: face_grid(torch.zeros(3, 2), 2, 2), "4 corners, got 3"),
    ],
)
def test_too_few_points_are_errors(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_quarter_circle():
    """By hand: from (2, 0) to (0, 2) in three steps by way of 45 degrees."""
    points = slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), 3)
    torch.testing.assert_close(points, torch.tensor([[2.0, 0.0], [2**0.5, 2**0.5], [0.0, 2.0]]))
