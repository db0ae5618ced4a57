import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfcvae.errors import UserError
from dfcvae.files import LFS_MAGIC
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


def test_reconstruct_is_deterministic_keeps_the_mode_and_does_not_depend_on_the_batch(vae, faces):
    trained(vae, faces).train()
    first = vae.reconstruct(faces)
    assert torch.equal(first, vae.reconstruct(faces))
    torch.testing.assert_close(vae.reconstruct(faces[:1]), first[:1])
    assert all(module.training for module in vae.modules())
    assert torch.equal(first, vae.eval().reconstruct(faces))


def test_noise_is_drawn_where_none_is_given(vae, faces):
    torch.manual_seed(1)
    x_hat, mu, _ = vae.eval()(faces)
    torch.manual_seed(1)
    assert torch.equal(x_hat, vae(faces, torch.randn_like(mu))[0])
    assert not torch.equal(x_hat, vae(faces)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_and_latents_follow_the_dtype_of_the_model(dtype, vae, faces):
    expected = vae.eval().sample(2, generator=0), vae.reconstruct(faces)
    vae.to(dtype)
    found = vae.sample(2, generator=0), vae.reconstruct(faces)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05, check_dtype=False)
    mu, logvar = vae.encode(faces)
    assert mu.dtype == logvar.dtype == dtype
    assert vae.decode_all(torch.zeros(3, 8)).shape == vae(faces[:3])[0].shape


def test_it_is_exported_and_torchscript_says_what_to_use_instead(vae, faces):
    eps = torch.randn(6, 8)
    exported = torch.export.export(vae.eval(), (faces, eps)).module()
    torch.testing.assert_close(exported(faces, eps), vae(faces, eps))
    with pytest.warns(FutureWarning), pytest.raises(UserError, match=r"use torch.export.export\(vae, \(x, eps\)\)"):
        torch.jit.script(vae)


def test_saved_and_loaded_is_the_same_model(vae, faces, tmp_path):
    trained(vae, faces).save(tmp_path / "model", {"name": "x"})
    loaded = VAE.load(tmp_path / "model")
    assert torch.equal(loaded.reconstruct(faces), vae.reconstruct(faces))
    assert not loaded.training
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert about["vae"] == {"network": "hou2016", "size": 32, "channels": 3, "latent_dim": 8}
    assert about["config"] == {"name": "x"}


@pytest.mark.parametrize("header", [None, {"format": "pt"}])
@pytest.mark.parametrize("older", [False, True])
def test_equal_tensors_saved_again_are_the_same_model(header, older, vae, tmp_path):
    file = vae.save(tmp_path) / "model.safetensors"
    tensors, about = load_file(file), json.loads((tmp_path / "model.json").read_text())
    save_file(tensors, file, header)
    if older:  # whose description has the checksum of the file alone
        del about["tensors_sha256"]
        (tmp_path / "model.json").write_text(json.dumps(about))
        with pytest.raises(UserError, match=r"checksum mismatch with model\.json"):
            VAE.load(tmp_path)
        return
    for name, tensor in VAE.load(tmp_path).state_dict().items():
        assert torch.equal(tensor, tensors[name])
    tensors["encoder.mu.bias"][0] += 1
    save_file(tensors, file, header)
    with pytest.raises(UserError, match=r"checksum mismatch with model\.json"):
        VAE.load(tmp_path)


def test_tied_weights_can_be_saved(vae, tmp_path):
    vae.encoder.logvar = vae.encoder.mu
    loaded = VAE.load(vae.save(tmp_path))
    assert torch.equal(loaded.encoder.logvar.weight, vae.encoder.mu.weight)


@pytest.mark.parametrize("name", ["model.safetensors", "best.ckpt"])
def test_a_git_lfs_pointer_says_what_to_run(name, vae, tmp_path):
    file = vae.save(tmp_path) / name
    file.write_bytes(LFS_MAGIC + b".github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=rf"{name} cannot be read. It is a git-lfs pointer.*git lfs pull"):
        VAE.load(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hou", 64, 3, 8), r"expected one of hou2016, smooth, strided \(did you mean 'hou2016'\?\), got 'hou'\. Your"),
        (("hou2016", 48, 3, 8), r"size: expected one of 32, 64, 128, 256, got 48"),
        (("hou2016", 64, 4, 8), r"channels: expected one of 1, 3, got 4"),
        (("hou2016", 64, 3, 0), r"latent_dim: expected a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_sentences(arguments, message):
    with pytest.raises(UserError, match=message):
        VAE(*arguments)


def test_wrong_images_are_a_sentence(vae, faces):
    for images, got in (
        (torch.rand(2, 3, 64, 64), "torch.float32 of 3x64x64"),
        (faces.byte(), "torch.uint8 of 3x32x32"),
    ):
        with pytest.raises(UserError, match=rf"float in \[0, 1\] of 3x32x32 .*, got {got}"):
            vae.reconstruct(images)


def test_samples_are_decodings_of_standard_normal_draws_by_generator_or_seed(vae, faces):
    trained(vae, faces).eval()
    expected = vae.decode(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)))
    for generator in (torch.Generator().manual_seed(1), 1):
        assert torch.equal(vae.sample(5, generator=generator), expected)
    assert not torch.equal(vae.sample(5, generator=2), expected)
    assert vae.sample(generator=0).shape == (1, 3, 32, 32)
