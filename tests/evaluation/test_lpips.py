"""LPIPS on AlexNet, with random weights in the place of ImageNet's."""

import hashlib
import socket
from pathlib import Path

import pytest
import torch
import torchmetrics
import torchvision
from torch import nn
from torchvision.models import AlexNet_Weights

from dfcvae.errors import UserError
from dfcvae.evaluation.lpips import alex, left_out, lpips_distances

TAPS = (1, 4, 7, 9, 11)  # of torchvision's alexnet.features: the outputs of its five ReLUs
HEADS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Empty caches, and no network."""

    def refuse(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def features(offline, monkeypatch):
    """Random features of AlexNet, in a file where torchvision looks for ImageNet's, under its right name."""
    with torch.device("meta"):
        state = torchvision.models.alexnet().state_dict()
    state = {name: torch.zeros(1).expand(value.shape) for name, value in state.items()}  # a small file
    features = nn.Sequential(*torchvision.models.alexnet().features)
    state |= {f"features.{name}": value for name, value in features.state_dict().items()}
    offline.mkdir(parents=True)
    torch.save(state, offline / "alexnet.pth")
    name = f"alexnet-{hashlib.sha256((offline / 'alexnet.pth').read_bytes()).hexdigest()[:8]}.pth"
    (offline / "alexnet.pth").rename(offline / name)
    monkeypatch.setattr(AlexNet_Weights.DEFAULT.value, "url", f"https://example.org/{name}")
    return features


@torch.no_grad()
def by_hand(features, x_hat, x):
    heads = torch.load(HEADS, map_location="cpu")
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (((2 * image - 1) - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for image in (x_hat, x))
    distance = torch.zeros(len(x))
    for index, layer in enumerate(features[: TAPS[-1] + 1]):
        a, b = layer(a), layer(b)
        if index in TAPS:
            u, v = (nn.functional.normalize(y, dim=1) for y in (a, b))
            weight = heads[f"lin{TAPS.index(index)}.model.1.weight"]
            distance += ((u - v) ** 2 * weight).sum(dim=1).mean(dim=(1, 2))
    return distance


@torch.no_grad()
def test_alex_equals_the_formula_for_every_image(features, x):
    x_hat = (x + 0.3 * torch.randn_like(x)).clamp(0, 1)
    distance = lpips_distances()["alex"]
    wanted = by_hand(features, x_hat, x)
    torch.testing.assert_close(distance(x_hat, x), wanted)
    torch.testing.assert_close(distance(x_hat[2:3], x[2:3]), wanted[2:3])
    assert distance(x, x).tolist() == [0] * 4
    grey = x[:, :1, :32, :32]
    torch.testing.assert_close(
        distance(1 - grey, grey), by_hand(features, 1 - grey.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1))
    )


def test_it_is_downloaded_only_where_asked_for(features, offline, monkeypatch):
    (file,) = offline.iterdir()
    content = file.read_bytes()
    file.unlink()
    assert lpips_distances() == {}
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, target, progress: file.write_bytes(content))
    alex()
    assert [*lpips_distances()] == ["alex"]


def test_a_failed_download_says_what_to_do(offline):
    with pytest.raises(UserError, match=r"ImageNet weights of alexnet could not be downloaded from https") as error:
        lpips_distances(download=True)
    assert str(error.value).endswith(f"and put it into {offline}.")


def test_a_damaged_file_is_refused(offline):
    offline.mkdir(parents=True)
    (offline / "alexnet-owt-7be5be79.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"is damaged: its SHA-256 begins with .*, not 7be5be79; delete it"):
        lpips_distances()


def test_what_is_left_out_is_told(offline):
    told = left_out(lpips_distances())
    assert told.startswith("LPIPS on alexnet and vgg16 is left out, as the ImageNet weights are not on this machine: ")
    assert told.endswith(f"at {offline}/alexnet-owt-7be5be79.pth and {offline}/vgg16-397923af.pth.")
    assert "LPIPS on vgg16 is left out" in left_out({"alex": torch.sub})
    assert left_out({"alex": torch.sub, "vgg": torch.sub}) == ""
