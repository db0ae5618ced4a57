"""What the Python functions take: a model by its path or in memory, and faces as users have them."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

import dfcvae
from dfcvae.data import Faces
from dfcvae.errors import UserError
from dfcvae.evaluation import probe_model
from dfcvae.fitted import fit_prior, fit_vectors, latent_folder, load_prior, load_vectors, posteriors
from dfcvae.images import to_float
from dfcvae.vae import VAE
from tests.conftest import tiny_experiment


@pytest.fixture
def vae():
    return VAE("hou2016", 32, 3, 8).eval()


@pytest.fixture
def folder(vae, tmp_path, splits, monkeypatch):
    """An exported model, whose training data are the few faces of the tests."""
    monkeypatch.setattr("dfcvae.fitted.load_faces", lambda config: splits)
    return vae.save(tmp_path / "model", tiny_experiment().as_dict())


@pytest.fixture
def own(splits, monkeypatch):
    """A stand-in for what turns arrays into faces: every array is the faces of the tests."""
    module = ModuleType("dfcvae.data.own")
    module.as_splits = lambda data, config: splits if config.size == 32 else {}
    module.faces = lambda images: Faces(torch.from_numpy(images), torch.zeros(len(images), 0, dtype=torch.bool), ())
    monkeypatch.setitem(sys.modules, "dfcvae.data.own", module)


def test_evaluate_takes_a_path_or_a_model_and_faces_of_any_kind(folder, vae, splits, own):
    wanted = dfcvae.evaluate(vae, splits["test"])
    array = np.zeros((8, 32, 32, 3), np.uint8)
    given = [(folder, None), (str(folder), splits), (folder, "synthetic"), (vae, splits), (vae, array), (folder, array)]
    for model, data in given:
        assert dfcvae.evaluate(model, data=data) == wanted
    assert dfcvae.evaluate(folder, splits["val"]) != wanted
    with pytest.raises(UserError, match="data: a VAE in memory does not say which faces to take; give them, or the p"):
        dfcvae.evaluate(vae)
    with pytest.raises(UserError, match="No model at nothing"):
        dfcvae.evaluate("nothing")


def test_so_do_the_probe_vectors_priors_and_latents(folder, vae, splits, own):
    array = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8)
    wanted = probe_model(vae, splits)
    assert probe_model(folder) == probe_model(folder, array) == wanted
    vectors = fit_vectors(vae, splits["train"])
    for found in (fit_vectors(folder), fit_vectors(vae, array), load_vectors(folder, array), fit_vectors(vae, splits)):
        assert torch.equal(found.vectors, vectors.vectors)
    prior = fit_prior(vae, "gaussian", splits)
    for found in (fit_prior(folder, "gaussian"), load_prior(folder, "gaussian", data=array)):
        assert torch.equal(found.factors, prior.factors)
    assert not latent_folder(folder).exists()  # fits to faces in memory are not saved
    x = torch.from_numpy(array)
    for found in (posteriors(folder, array), posteriors(vae, x), posteriors(vae, to_float(x))):
        torch.testing.assert_close(found[0], vae.encode(to_float(x))[0].detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(posteriors(folder)[0], posteriors(vae, splits["test"])[0])
