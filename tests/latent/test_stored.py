"""Vectors and priors on disk: what was written, of this model, or a sentence."""

import pytest
import torch
from safetensors import SafetensorError

from dfcvae.errors import UserError
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.vae import VAE, digest

VECTORS = AttributeVectors(("Smiling", "Male"), torch.randn(2, 5), "differences of class means")


def test_what_was_written_is_read(tmp_path):
    read = AttributeVectors.load(VECTORS.save(tmp_path / "new" / "vectors.safetensors", "a", "celeba"), "a")
    assert (read.names, read.how) == (VECTORS.names, VECTORS.how)
    assert torch.equal(read.vectors, VECTORS.vectors)
    prior = Prior(torch.tensor([0.4, 0.6]), torch.randn(2, 3), torch.randn(2, 3, 3).tril())
    again = Prior.load(prior.save(tmp_path / "prior.safetensors", "a", "celeba"), "a", "celeba")
    assert all(torch.equal(getattr(prior, name), getattr(again, name)) for name in ("weights", "means", "factors"))
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_model_or_another_kind_or_damage_is_told(tmp_path):
    file = VECTORS.save(tmp_path / "vectors.safetensors", "a", "celeba")
    with pytest.raises(UserError, match="fitted to other weights: of another checkpoint, or before more training"):
        AttributeVectors.load(file, "b")
    prior = Prior.standard(3).save(tmp_path / "prior.safetensors", "a", "celeba")
    with pytest.raises(UserError, match="fitted to the faces of 'celeba', not of 'synthetic'"):
        Prior.load(prior, "a", "synthetic")
    with pytest.raises(UserError, match="expected a prior, got attribute vectors"):
        Prior.load(file, "a", "celeba")
    for corrupted in (b"", file.read_bytes()[:40], b"not safetensors"):
        file.write_bytes(corrupted)
        with pytest.raises(UserError, match="does not contain attribute vectors, or is corrupted"):
            AttributeVectors.load(file, "a")


def test_the_digest_is_of_the_weights_wherever_they_are(tmp_path):
    vae = VAE("hou2016", 32, 3, 8)
    first = digest(vae)
    assert digest(VAE.load(vae.save(tmp_path / "model"))) == first
    with torch.no_grad():
        next(vae.parameters()).view(-1)[0] += 1e-3
    assert digest(vae) != first


def test_a_file_that_cannot_be_written_is_an_oserror(tmp_path, monkeypatch):
    """safetensors has an error of its own for that, which no caller expects."""

    def full(*arguments):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("dfcvae.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        VECTORS.save(tmp_path / "vectors.safetensors", "a", "celeba")
