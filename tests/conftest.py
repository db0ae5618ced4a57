import pytest
import torch


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def x():
    """Four different images in [0, 1]."""
    return torch.rand(4, 3, 64, 64)


@pytest.fixture
def x_hat():
    return torch.rand(4, 3, 64, 64, requires_grad=True)
