import torch
from torch.distributions import Normal, kl_divergence

from dfcvae.latent import by_kl, traverse


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
