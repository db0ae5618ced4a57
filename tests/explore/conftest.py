from io import BytesIO

import pytest
import torch

from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.explore.explorer import Explorer
from dfcvae.fitted import VECTORS, latent_folder
from dfcvae.latent import AttributeVectors
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment


def save_model(folder, *, size=32, channels=3, latent_dim=8, attributes=True):
    """An untrained model that says it was made for synthetic faces, with random attribute vectors beside it."""
    torch.manual_seed(0)
    vae = VAE("hou2016", size, channels, latent_dim).eval()
    with torch.no_grad():  # an untrained decoder hardly depends on its latent
        for parameter in vae.decoder.parameters():
            parameter.mul_(2)
    experiment = tiny_experiment()
    experiment.data.size, experiment.data.channels = size, channels
    vae.save(folder, experiment.as_dict())
    if attributes:
        vectors = AttributeVectors(ATTRIBUTES, torch.randn(len(ATTRIBUTES), latent_dim))
        vectors.save(latent_folder(folder) / VECTORS, digest(vae), "synthetic")
    return folder


def png(image):
    """A Pillow image as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("explore") / "model")


@pytest.fixture(scope="session")
def explorer(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
        return Explorer(model)
