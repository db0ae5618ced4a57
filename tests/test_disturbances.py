import pytest
import torch

from dfcvae.disturbances import DISTURBANCES, UNSEEN, blur, disturb, mixture, pixelation, posterisation
from dfcvae.seeding import Stream, seeded_generator

ALL = DISTURBANCES | UNSEEN


def generator(seed=0):
    return seeded_generator(seed, Stream.EVALUATION)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("size", [32, 48])
def test_each_changes_faces_within_the_range_and_is_a_function_of_its_generator(kind, size):
    x = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(1))
    y = disturb(x, ALL[kind], generator())
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert 0 <= y.min() <= y.max() <= 1
    assert ((y - x).flatten(1).abs().amax(dim=1) > 1e-4).all()
    assert torch.equal(y, disturb(x, ALL[kind], generator()))


@pytest.mark.parametrize("kind", ALL)
def test_stronger_is_farther_from_the_original(kind):
    x = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    near, far = (ALL[kind](x, torch.full((64, 1, 1, 1), strength), generator()) for strength in (0.1, 1.0))
    assert (far - x).square().mean() > 2 * (near - x).square().mean()


def test_kinds_that_can_be_written_by_hand():
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    whole = torch.ones(4, 1, 1, 1)
    torch.testing.assert_close(mixture(x, whole, generator()), 0.4 * x + 0.6 * x[[3, 0, 1, 2]])
    constant = torch.full((2, 3, 32, 32), 0.3)
    torch.testing.assert_close(blur(constant, torch.tensor([0.5, 1.0]).view(2, 1, 1, 1), generator()), constant)
    assert len(posterisation(x, whole, generator()).unique()) == 4
    coarse = pixelation(x, whole, generator())
    torch.testing.assert_close(coarse[..., ::2, ::2], coarse[..., 1::2, 1::2])


def test_a_blur_is_separable_and_gaussian():
    x = torch.zeros(1, 1, 33, 33)
    x[..., 16, 16] = 1
    y = blur(x, torch.ones(1, 1, 1, 1), generator())[0, 0]
    at = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (at / (33 / 16)) ** 2)
    kernel /= kernel.sum()
    torch.testing.assert_close(y[12:21, 12:21], kernel[:, None] * kernel)
