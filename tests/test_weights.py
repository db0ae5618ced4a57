import hashlib
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.files import LFS_MAGIC
from dfcvae.images import normalize_imagenet
from dfcvae.losses import perceptual
from dfcvae.vgg import vgg_layers
from dfcvae.weights import COMPACT, imagenet_file, layers_held, load_vgg_weights, vgg_arch
from tests.losses import naive


@pytest.fixture(scope="module")
def network():
    with torch.device("meta"):
        network = torchvision.models.vgg11(weights=None)
    network.features, network.classifier = naive.network("vgg11"), nn.Linear(1, 1)  # the real one is large
    return network


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches and no network."""
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def blocked(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", blocked)
    return tmp_path


def assert_network(features, network, x):
    expected = network.features[:4](normalize_imagenet(x))
    torch.testing.assert_close(features(x)["conv2_1"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["full.pth", "features.safetensors"])
def test_local_files_whole_or_of_the_features_only(form, network, tmp_path, x):
    path = tmp_path / form
    if form == "full.pth":
        torch.save(network.state_dict(), path)
    else:
        save_file({k: v for k, v in network.state_dict().items() if k.startswith("features.")}, path)
    assert_network(VGGFeatures("vgg11", [3], str(path)), network, x)


def test_half_precision_and_width_are_read_from_the_file(tmp_path):
    layers = vgg_layers("vgg11_bn", width=0.25)
    state = {f"features.{i}.{k}": v.half() for i, m in enumerate(layers.values()) for k, v in m.state_dict().items()}
    save_file(state, tmp_path / "narrow.safetensors")
    features = VGGFeatures("vgg11_bn", [4], str(tmp_path / "narrow.safetensors"))
    output = features(torch.rand(2, 3, 32, 32))["conv2_1"]
    assert output.shape == (2, 32, 16, 16)
    assert output.dtype == torch.float32


@pytest.fixture
def published(network, caches, monkeypatch):
    """A file of weights under the name that torchvision would give it, in no cache yet."""
    torch.save(network.state_dict(), caches / "source.pth")
    digest = hashlib.sha256((caches / "source.pth").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr("dfcvae.weights._url", lambda arch: f"https://example.org/vgg11-{digest}.pth")
    return (caches / "source.pth").rename(caches / f"vgg11-{digest}.pth")


def test_imagenet_is_downloaded_once_checked_and_kept_truncated(network, published, monkeypatch, x):
    calls = []

    def download(url, target, progress):
        calls.append(url)
        Path(target).write_bytes(published.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert_network(VGGFeatures("vgg11", [3]), network, x)
    assert calls == [f"https://example.org/{published.name}"]
    kept = {name for name in network.state_dict() if name.startswith("features.")}
    assert load_file(imagenet_file("vgg11")).keys() == kept


def test_imagenet_file_of_torchvision_is_used_without_network(network, caches, published, x):
    (caches / "hub" / "checkpoints").mkdir(parents=True)
    published.rename(caches / "hub" / "checkpoints" / published.name)
    assert_network(VGGFeatures("vgg11", [3]), network, x)


def test_corrupted_imagenet_file_is_refused(caches):
    folder = caches / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg11-8a719046.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"is corrupted: expected a SHA-256 of 8a719046\.\.\., got .*; delete it"):
        VGGFeatures("vgg11", [3])


def test_failed_download_says_what_to_do(caches):
    with pytest.raises(UserError) as error:
        VGGFeatures("vgg19_bn")
    told = str(error.value)
    assert "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth" in told
    assert str(caches / "hub" / "checkpoints") in told
    assert "offline choices: the network that ships with the package (`weights: compact`)" in told
    assert "features train" in told
    assert "weights: random" in told


def test_wrong_files_are_sentences(network, tmp_path):
    with pytest.raises(UserError, match=r"No weights file at .*nothing.pth"):
        load_vgg_weights("vgg11", str(tmp_path / "nothing.pth"))
    for name in ("pointer.pth", "pointer.safetensors"):
        (tmp_path / name).write_bytes(LFS_MAGIC + b".github.com/spec/v1\n")
        with pytest.raises(UserError, match=rf"{name} cannot be read. It is a git-lfs pointer.*`git lfs pull`"):
            VGGFeatures("vgg11", [3], tmp_path / name)
    torch.save(network.state_dict(), tmp_path / "vgg11.pth")
    with pytest.raises(UserError, match=r"vgg11.pth lacks bn1_1 of vgg19_bn \(features.1.weight of shape \(64,\)\)"):
        load_vgg_weights("vgg19_bn", str(tmp_path / "vgg11.pth"))


@pytest.mark.parametrize(
    ("prefix", "wrapped"),
    [
        ("", lambda state: state),
        ("features.", lambda state: {"state_dict": state, "epoch": 3}),
        ("module.", lambda state: {"model": state, "optimizer": {}}),
        ("module.features.", lambda state: {"model": {"state_dict": state}}),
        ("features.module.", lambda state: state),  # DataParallel, as torchvision's old examples wrap a VGG
        ("model._orig_mod.features.", lambda state: {"model_state_dict": state}),
    ],
)
def test_weights_may_be_wrapped_and_end_where_the_layers_end(prefix, wrapped, network, tmp_path, x):
    kept = {name: value for name, value in network.features.state_dict().items() if int(name.split(".")[0]) <= 3}
    torch.save(wrapped({prefix + name: value for name, value in kept.items()}), tmp_path / "cut.pth")
    assert_network(VGGFeatures("vgg11", [3], tmp_path / "cut.pth"), network, x)
    assert vgg_arch(tmp_path / "cut.pth") == "vgg11"
    assert layers_held("vgg11", tmp_path / "cut.pth")[-1] == "pool2"
    wanted = (
        r"cut.pth lacks conv3_1 of vgg11 \(features.6.weight of shape \(256, 128, 3, 3\)\), which the chosen layers"
    )
    with pytest.raises(UserError, match=wanted):
        VGGFeatures("vgg11", ["relu1_1", "relu3_1"], tmp_path / "cut.pth")


def test_the_compact_network_loads_offline(caches, x):
    features = VGGFeatures("vgg19_bn", weights="compact")
    assert features.channels == [64, 64, 128, 128]
    assert all(output.isfinite().all() for output in features(x).values())
    for name in ("dfc", "dfc-vae", "vae-123", "vae-345", "vgg-l1", "style", "perceptual-mse"):
        assert perceptual(name, "compact").features.arch == "vgg19_bn"
    assert COMPACT.stat().st_size < 3e6
    with pytest.raises(UserError, match=r"compact lacks conv5_3 of vgg19_bn"):
        VGGFeatures("vgg19_bn", ["conv5_3"], "compact")
    with pytest.raises(UserError, match=r"compact does not contain the features of vgg16_bn"):
        VGGFeatures("vgg16_bn", ["relu3_1", "relu4_1"], "compact")
