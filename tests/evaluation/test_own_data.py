"""What the Python functions take: a model by its path or in memory, and faces as users have them."""

import pytest
import torch

import dfcvae
from dfcvae.errors import UserError
from dfcvae.evaluation import probe_model
from dfcvae.fitted import faces_of, fit_prior, fit_vectors, latent_folder, load_prior, load_vectors, posteriors
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


def test_evaluate_takes_a_path_or_a_model_and_faces_of_any_kind(folder, vae, splits):
    wanted = dfcvae.evaluate(vae, splits["test"])
    array = splits["test"].images.numpy()
    given = [(folder, None), (str(folder), splits), (folder, "synthetic"), (vae, splits), (vae, array), (folder, array)]
    for model, data in [*given, (vae, {"train": array[:3], "test": array})]:
        assert dfcvae.evaluate(model, data=data) == wanted
    assert dfcvae.evaluate(folder, splits["val"]) != wanted
    with pytest.raises(UserError, match="data: a VAE in memory does not say which faces to take; give them, or the p"):
        dfcvae.evaluate(vae)
    with pytest.raises(UserError, match="No model at nothing"):
        dfcvae.evaluate("nothing")


def test_so_do_the_probe_vectors_priors_and_latents(folder, vae, splits):
    assert probe_model(folder) == probe_model(vae, splits)
    array, mine = splits["test"].images.numpy(), {"train": splits["test"], "val": splits["test"]}
    for data, faces in ((None, splits["train"]), (splits, splits["train"]), (mine, splits["test"])):
        assert torch.equal(fit_vectors(folder, data).vectors, fit_vectors(vae, faces).vectors)
    assert torch.equal(load_vectors(folder, splits["test"]).vectors, fit_vectors(vae, splits["test"]).vectors)
    prior = fit_prior(vae, "gaussian", mine)
    assert torch.equal(load_prior(folder, "gaussian", data=mine).factors, prior.factors)
    assert torch.equal(fit_prior(folder, "gaussian").factors, fit_prior(vae, "gaussian", splits).factors)
    assert not latent_folder(folder).exists()  # fits to faces in memory are not saved
    x = splits["test"].images
    for found in (posteriors(folder), posteriors(folder, array), posteriors(vae, x), posteriors(vae, to_float(x))):
        torch.testing.assert_close(found[0], vae.encode(to_float(x))[0].detach(), atol=1e-5, rtol=1e-4)


def test_own_faces_are_all_measured_whatever_number_the_model_was_trained_on(vae, splits, tmp_path):
    experiment = tiny_experiment()
    experiment.data.train_images = 5
    model = vae.save(tmp_path / "model", experiment.as_dict())
    assert len(faces_of(model, splits["train"].images[:40])) == 40
    assert len(faces_of(model, {"train": splits["train"].images, "test": splits["test"].images})) == len(splits["test"])


def test_faces_without_some_splits_are_taken_as_tensors_are(vae, splits, capsys):
    given, array = ({"train": part} for part in (splits["train"], splits["train"].images))
    found, wanted = dfcvae.evaluate(vae, given), dfcvae.evaluate(vae, array)
    assert "The test split of these faces is empty; the val split is used instead." in capsys.readouterr().err
    assert all(found[name] == wanted[name] for name in ("mse", "kl"))
    assert probe_model(vae, given).scores
    assert torch.equal(fit_prior(vae, "gmm", given).means, fit_prior(vae, "gmm", array).means)
    with pytest.raises(UserError, match=r"data\['tset'\]: expected the splits train, val and test"):
        fit_vectors(vae, {"train": splits["train"], "tset": splits["test"]})
    for function in (dfcvae.evaluate, fit_vectors, probe_model):
        with pytest.raises(UserError, match="data: there are no training images"):
            function(vae, {"val": splits["val"]})


def test_images_out_of_range_are_refused(vae, splits):
    x = to_float(splits["test"].images)
    for wrong in (255 * x, 2 * x - 1):
        for function in (vae.reconstruct, lambda images: posteriors(vae, images)):
            with pytest.raises(UserError, match=r"Expected images in \[0, 1\], got .* to .*; convert them"):
                function(wrong)
