import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import normalize_imagenet
from dfcvae.vgg import vgg_layers
from dfcvae.weights import imagenet_file, load_vgg_weights


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torchvision.models.vgg11(weights=None, num_classes=3)


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches and no network."""
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def blocked(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", blocked)
    return tmp_path


def expected(network, x):
    return network.features[:4](normalize_imagenet(x))


@pytest.mark.parametrize("form", ["full.pth", "features.pth", "bare.pth", "features.safetensors"])
def test_local_files_in_every_form(form, network, tmp_path, x):
    state = network.state_dict()
    if not form.startswith("full"):
        state = {k: v for k, v in state.items() if k.startswith("features.")}
    if form.startswith("bare"):
        state = {k.removeprefix("features."): v for k, v in state.items()}
    path = tmp_path / form
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    torch.testing.assert_close(VGGFeatures("vgg11", [3], str(path))(x)["conv2_1"], expected(network, x))


def test_half_precision_and_width_are_read_from_the_file(tmp_path):
    layers = vgg_layers("vgg11_bn", width=0.25)
    state = {f"features.{i}.{k}": v.half() for i, m in enumerate(layers.values()) for k, v in m.state_dict().items()}
    save_file(state, tmp_path / "narrow.safetensors")
    features = VGGFeatures("vgg11_bn", [4], str(tmp_path / "narrow.safetensors"))
    output = features(torch.rand(2, 3, 32, 32))["conv2_1"]
    assert output.shape == (2, 32, 16, 16)
    assert output.dtype == torch.float32


def test_imagenet_is_downloaded_once_checked_and_kept_truncated(network, caches, monkeypatch, x):
    source = caches / "source.pth"
    torch.save(network.state_dict(), source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    url = f"https://example.org/vgg11-{digest}.pth"
    monkeypatch.setattr("dfcvae.weights._url", lambda arch: url)
    calls = []

    def download(asked, target, progress):
        calls.append(asked)
        Path(target).write_bytes(source.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        torch.testing.assert_close(VGGFeatures("vgg11", [3])(x)["conv2_1"], expected(network, x))
    assert calls == [url]
    assert imagenet_file("vgg11").stat().st_size < source.stat().st_size / 10


def test_imagenet_file_of_torchvision_is_used_without_network(network, caches, monkeypatch, x):
    folder = caches / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "x.pth")
    digest = hashlib.sha256((folder / "x.pth").read_bytes()).hexdigest()[:8]
    (folder / "x.pth").rename(folder / f"vgg11-{digest}.pth")
    monkeypatch.setattr("dfcvae.weights._url", lambda arch: f"https://example.org/vgg11-{digest}.pth")
    torch.testing.assert_close(VGGFeatures("vgg11", [3])(x)["conv2_1"], expected(network, x))


def test_damaged_imagenet_file_is_refused(caches):
    folder = caches / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg11-8a719046.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"is damaged: its SHA-256 begins with .*, not 8a719046; delete it"):
        VGGFeatures("vgg11", [3])


def test_failed_download_says_what_to_do(caches):
    with pytest.raises(UserError) as error:
        VGGFeatures("vgg19_bn")
    told = str(error.value)
    assert "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth" in told
    assert str(caches / "hub" / "checkpoints") in told
    assert "features train" in told
    assert "weights: random" in told


def test_wrong_files_are_sentences(network, tmp_path):
    with pytest.raises(UserError, match=r"No weights file at .*nothing.pth"):
        load_vgg_weights("vgg11", str(tmp_path / "nothing.pth"))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text.pth is no weights file"):
        load_vgg_weights("vgg11", str(tmp_path / "text.pth"))
    torch.save(network.state_dict(), tmp_path / "vgg11.pth")
    with pytest.raises(UserError, match=r"does not hold the features of vgg19_bn: expected features.1.weight"):
        load_vgg_weights("vgg19_bn", str(tmp_path / "vgg11.pth"))


class Malicious:
    def __reduce__(self):
        return open, ("canary", "w")


def test_a_pickle_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="no weights file that PyTorch or safetensors can read safely"):
        load_vgg_weights("vgg11", str(tmp_path / "evil.pth"))
    assert not (tmp_path / "canary").exists()
