"""The section of a report on models that ship with the package, with untrained stand-ins for them."""

import pytest
import torch

from dfcvae.errors import UserError
from dfcvae.fitted import VECTORS, latent_folder, prior_file
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.report.blocks import Heading, write_report
from dfcvae.report.pictures import COLUMNS, EDIT_STRENGTHS, EDITED, WALKED, shipped_drawing, shipped_models
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
    monkeypatch.setattr("dfcvae.files.PRETRAINED", folder)
    return folder


def test_there_is_no_section_without_models(package):
    assert shipped_models() == []


def test_every_model_has_a_drawing_of_its_draws(package, tmp_path):
    ship(package / "a", 32, ("Bald", "Male", "Smiling"))
    ship(package / "b", 64, ("Bald", "Narrow_Eyes"))
    ship(package / "c", 32, (), mixture=False)
    heading, text, a, b, c = section = shipped_models()
    assert heading == Heading("Models that ship with the package")
    assert "dfcvae sample a" in text.text
    assert [a.name, b.name, c.name] == ["shipped-a", "shipped-b", "shipped-c"]
    assert a.data["z"].shape == b.data["z"].shape == (2 + 1 + 2, COLUMNS, D)
    assert c.data["z"].shape == (2 + 1, COLUMNS, D)
    assert "mixture of 2 Gaussians" in a.caption
    assert "N(0, I)" in c.caption
    assert "attribute" not in c.caption
    assert write_report("x", section, tmp_path / "out").read_text().count("<img") == 3


def test_edits_move_one_draw_along_the_vector(package):
    ship(package / "a", 32, WALKED)
    z, vectors = (
        shipped_drawing("a").data["z"],
        AttributeVectors.load(latent_folder(package / "a") / VECTORS, digest(VAE.load(package / "a"))),
    )
    strengths = torch.tensor(EDIT_STRENGTHS)
    for row, name in zip(z[3:], WALKED[:EDITED], strict=True):
        torch.testing.assert_close(
            row, row[EDIT_STRENGTHS.index(0)] + strengths[:, None] * vectors[name], atol=1e-5, rtol=0
        )
    line = z[2, 0] + torch.linspace(0, 1, COLUMNS)[:, None] * (z[2, -1] - z[2, 0])
    torch.testing.assert_close(z[2], line, atol=1e-5, rtol=0)


def test_vectors_of_another_model_are_refused(package):
    ship(package / "a", 32, WALKED)
    VAE("hou2016", 32, 3, D).save(package / "a")
    with pytest.raises(UserError):
        shipped_models()
