"""What all tests share: small faces, a small experiment, and that neither machine, order nor clock matters."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import SYNTHETIC, Faces
from dfcvae.data.synthetic import ATTRIBUTES, render_faces

os.environ["WANDB_MODE"] = "offline"

# the same examples in every run, however slow the machine
settings.register_profile(
    "dfcvae", derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("dfcvae")


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory):
    """No decoded faces, targets or downloaded weights of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFCVAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        yield


def pytest_fixture_setup(fixturedef):
    """What several tests share does not depend on which tests ran before."""
    if fixturedef.scope != "function":
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty folder to work in, with a cache of its own, and few synthetic faces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_TRAIN", 64)
    return tmp_path


@pytest.fixture
def x():
    """Four different images in [0, 1]."""
    return torch.rand(4, 3, 64, 64)


@pytest.fixture
def x_hat():
    return torch.rand(4, 3, 64, 64, requires_grad=True)


@pytest.fixture(scope="session")
def splits():
    """A few synthetic faces of 32 pixels."""
    parts = {"train": range(0, 64), "val": range(64, 88), "test": range(88, 112)}
    return {name: Faces(*render_faces(part, size=32), ATTRIBUTES, SYNTHETIC) for name, part in parts.items()}


def tiny_experiment():
    """A DFC-VAE small enough for a test: two epochs of four steps."""
    features = FeatureConfig(arch="vgg11_bn", layers=[4, "bn3_1"], layer_weights=0.25, weights="random")
    return Experiment(
        "tiny",
        DataConfig(size=32),
        ModelConfig(latent_dim=8),
        LossConfig(pixel_weight=0.5, features=features),
        TrainingConfig(epochs=2, batch_size=16, accelerator="cpu"),
    )


@pytest.fixture
def experiment():
    return tiny_experiment()


@pytest.fixture
def plain():
    """The tiny experiment without features."""
    experiment = tiny_experiment()
    experiment.loss.features = None
    return experiment
