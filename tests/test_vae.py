import json

import pytest
import torch
from torch import nn

from dfcvae.errors import UserError
from dfcvae.vae import VAE


@pytest.fixture
def vae():
    return VAE("hou2016", 32, 3, 8)


@pytest.fixture
def faces():
    return torch.rand(6, 3, 32, 32)


def trained(vae, faces):
    """Batch norm statistics that differ from the initial ones."""
    for _ in range(3):
        vae.train()(faces, torch.randn(len(faces), vae.latent_dim))
    return vae


def test_forward_decodes_a_draw_from_the_posterior(vae, faces):
    eps = torch.randn(6, 8)
    x_hat, mu, logvar = vae.eval()(faces, eps)
    assert torch.equal(x_hat, vae.decode(mu + (logvar / 2).exp() * eps))
    assert x_hat.shape == faces.shape


def test_reconstruct_is_deterministic_even_in_training_mode(vae, faces):
    trained(vae, faces).train()
    first = vae.reconstruct(faces)
    assert torch.equal(first, vae.reconstruct(faces))
    assert torch.equal(first, vae.eval().reconstruct(faces))


def test_reconstruct_does_not_depend_on_the_batch_and_keeps_the_mode(vae, faces):
    trained(vae, faces).train()
    torch.testing.assert_close(vae.reconstruct(faces[:1]), vae.reconstruct(faces)[:1])
    assert vae.training
    assert all(module.training for module in vae.modules())


def test_sample_repeats_with_its_generator(vae):
    a, b = (vae.sample(5, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == (5, 3, 32, 32)
    assert not torch.equal(a, vae.sample(5, generator=torch.Generator().manual_seed(2)))


def test_saved_and_loaded_is_the_same_model(vae, faces, tmp_path):
    trained(vae, faces).save(tmp_path / "model", {"name": "x"})
    loaded = VAE.load(tmp_path / "model")
    assert torch.equal(loaded.reconstruct(faces), vae.reconstruct(faces))
    assert not loaded.training
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert about["vae"] == {"network": "hou2016", "size": 32, "channels": 3, "latent_dim": 8}
    assert about["config"] == {"name": "x"}


def test_a_flipped_byte_is_noticed(vae, tmp_path):
    file = vae.save(tmp_path) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model.safetensors is corrupted: checksum mismatch with model.json"):
        VAE.load(tmp_path)


def test_a_model_of_another_size_is_a_sentence(vae, tmp_path):
    checkpoint = {
        "vae": dict(vae.state_dict()),
        "about": {"vae": vae.config | {"size": 64}, "config": {}},
    }
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"do not fit the VAE they describe .*'size': 64.*size mismatch|Missing key"):
        VAE.load(tmp_path / "x.ckpt")


def test_what_is_no_checkpoint_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"No model at .*nothing: expected a checkpoint"):
        VAE.load(tmp_path / "nothing")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(UserError, match=r"text.ckpt is not a checkpoint of this version of dfcvae, or it is corrupted"):
        VAE.load(tmp_path / "text.ckpt")
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other.ckpt is not a checkpoint of this version of dfcvae"):
        VAE.load(tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hou", 64, 3, 8), r"network: expected one of hou2016, smooth, strided, got 'hou'"),
        (("hou2016", 48, 3, 8), r"size: expected one of 32, 64, 128, 256, got 48"),
        (("hou2016", 64, 4, 8), r"channels: expected one of 1, 3, got 4"),
        (("hou2016", 64, 3, 0), r"latent_dim: expected a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_sentences(arguments, message):
    with pytest.raises(UserError, match=message):
        VAE(*arguments)


def test_wrong_images_are_a_sentence(vae, faces):
    with pytest.raises(UserError, match=r"float in \[0, 1\] of 3x32x32 .*, got torch.float32 of 3x64x64"):
        vae.reconstruct(torch.rand(2, 3, 64, 64))
    with pytest.raises(UserError, match=r"got torch.uint8 of 3x32x32"):
        vae.reconstruct((faces * 255).byte())


def test_samples_are_decodings_of_standard_normal_draws(vae, faces):
    trained(vae, faces).eval()
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(vae.sample(5, generator=torch.Generator().manual_seed(1)), vae.decode(z))
