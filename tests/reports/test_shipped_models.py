"""The section of a report on models that ship with the package, with untrained stand-ins for them."""

import numpy as np
import pytest
import torch

from dfcvae.errors import UserError
from dfcvae.fitted import VECTORS, latent_folder, prior_file
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.reports.blocks import Drawing, Heading
from dfcvae.reports.shipped import COLUMNS, EDITED, STRENGTHS, load_shipped, shipped_drawing, shipped_section
from dfcvae.reports.write import write_report
from dfcvae.vae import VAE, digest

D = 8


def ship(folder, size, names, *, mixture=True):
    vae = VAE("hou2016", size, 3, D).eval()
    vae.save(folder)
    if mixture:
        prior = Prior(torch.tensor([0.5, 0.5]), torch.randn(2, D), torch.eye(D).expand(2, D, D))
        prior.save(prior_file(folder, "gmm"), digest(vae), "celeba")
    if names:
        AttributeVectors(names, torch.randn(len(names), D)).save(latent_folder(folder) / VECTORS, digest(vae), "celeba")


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr("dfcvae.paths.PRETRAINED", folder)
    return folder


def test_there_is_no_section_without_models(package):
    assert load_shipped() == {}
    assert shipped_section({}) == []


def test_every_model_has_a_drawing_of_its_draws(package, tmp_path):
    ship(package / "a", 32, ("Bald", "Male", "Smiling"))
    ship(package / "b", 64, ("Bald", "Young"))
    ship(package / "c", 32, (), mixture=False)
    models = load_shipped()
    assert list(models) == ["a", "b", "c"]
    assert [model.attributes() for model in models.values()] == [["Smiling", "Male"], ["Bald", "Young"], []]
    section = shipped_section(models)
    assert [block.text for block in section if isinstance(block, Heading)] == ["Models that ship with the package"]
    a, b, c = (block for block in section if isinstance(block, Drawing))
    assert [a.name, b.name, c.name] == ["shipped-a", "shipped-b", "shipped-c"]
    assert a.arrays()["z"].shape == b.arrays()["z"].shape == (2 + 1 + 2, COLUMNS, D)
    assert c.arrays()["z"].shape == (2 + 1, COLUMNS, D)
    assert "mixture of 2 Gaussians" in a.caption
    assert "N(0, I)" in c.caption
    assert "attribute" not in c.caption
    assert write_report("x", section, tmp_path / "out").read_text().count("<img") == 3


def test_edits_move_one_draw_along_the_vector(package):
    ship(package / "a", 32, EDITED)
    (model,) = load_shipped().values()
    z = shipped_drawing("a", model).arrays()["z"]
    for row, name in zip(z[3:], EDITED, strict=True):
        start = row[STRENGTHS.index(0)]
        moved = np.outer(STRENGTHS, model.vectors[name].numpy())
        np.testing.assert_allclose(row, start + moved, atol=1e-5)
    np.testing.assert_allclose(z[2], np.linspace(z[2][0], z[2][-1], COLUMNS), atol=1e-5)


def test_the_same_seed_draws_the_same_faces(package):
    ship(package / "a", 32, EDITED)
    (model,) = load_shipped().values()
    first, again, other = (shipped_drawing("a", model, seed).arrays()["z"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_vectors_of_another_model_are_refused(package):
    ship(package / "a", 32, EDITED)
    VAE("hou2016", 32, 3, D).save(package / "a")
    with pytest.raises(UserError):
        load_shipped()
