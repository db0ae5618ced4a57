"""FID and KID, with random weights in the place of Inception's, which are those of torchmetrics."""

import hashlib
import socket
import sys

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
from torchmetrics.image.kid import KernelInceptionDistance

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.evaluation import frechet_distance, inception, inception_network, kernel_distance
from dfcvae.images import to_float

torch_fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory):
    """A file of random weights, with convolutions that keep the size of what they are given."""
    file = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch_fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        state = torch_fidelity.FeatureExtractorInceptionV3("random", ["2048"]).state_dict()
    torch.save({name: value * 6**0.5 if name.endswith("conv.weight") else value for name, value in state.items()}, file)
    yield file
    file.unlink()  # 96 MB, which pytest would keep for some runs


@pytest.fixture
def weights(random_inception, monkeypatch):
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(random_inception.read_bytes()).hexdigest())
    return random_inception


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty folder of torch, and no network."""

    def refuse(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub" / "checkpoints"


def faces(first, count):
    return render_faces(range(first, first + count), size=32)[0]


def test_features_are_those_of_torchmetrics_of_images_as_uint8(weights):
    image = faces(0, 1)
    grey = image[:, :1]
    oracle = NoTrainInceptionV3("inception", ["2048"], str(weights), antialias=False)
    network = inception_network(weights)
    features = network(to_float(image) + 0.4 / 255)  # to the nearest level: generated images are not on one
    assert features.shape == (1, 2048)
    assert features.std() > 0.1 * features.mean() > 0
    wanted = oracle(torch.cat([image, grey.repeat(1, 3, 1, 1)]))
    torch.testing.assert_close(torch.cat([features, network(to_float(grey))]), wanted)


def test_parts_do_not_change_the_features(weights, monkeypatch):
    monkeypatch.setattr(inception, "AT_ONCE", 1)
    monkeypatch.setattr(
        torch_fidelity.FeatureExtractorInceptionV3, "forward", lambda self, x: (x.float().mean((2, 3)),)
    )
    images = torch.rand(3, 3, 8, 8)
    assert inception_network(weights)(images).shape == (3, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_fid_and_kid_are_those_of_torchmetrics(weights):
    real, fake = faces(0, 8), faces(100, 8) // 2 + 60
    network = inception_network(weights)
    a, b = network(to_float(real)), network(to_float(fake))
    fid = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(weights), antialias=False)
    kid = KernelInceptionDistance(fid.inception, subsets=1, subset_size=8)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    distance = frechet_distance(a, b)
    assert distance > 0.1
    assert distance == pytest.approx(fid.compute().item(), rel=1e-4)
    assert distance == pytest.approx(by_singular_values(a.double().numpy(), b.double().numpy()), rel=1e-3)
    assert kernel_distance(a, b) == pytest.approx(kid.compute()[0].item(), rel=1e-3)


def by_singular_values(a, b):
    """The Frechet distance of fewer images than features, whose covariances have no full rank."""
    x, y = ((s - s.mean(axis=0)) / (len(s) - 1) ** 0.5 for s in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * root


def test_the_distance_of_fewer_images_than_features():
    a, b = torch.randn(7, 40), torch.randn(9, 40) * 2 + 1
    assert frechet_distance(a, b) == pytest.approx(by_singular_values(a.double().numpy(), b.double().numpy()), rel=1e-5)


@pytest.mark.parametrize("name", inception.NAMES)
def test_the_file_in_the_folder_of_torch_is_taken_without_network(name, weights, offline):
    offline.mkdir(parents=True)
    (offline / name).symlink_to(weights)
    assert inception_network() is not None


def test_it_is_downloaded_once(weights, offline, monkeypatch):
    asked = []

    def download(url, target, progress):
        asked.append(url)
        (offline / inception.NAMES[0]).symlink_to(weights)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    inception_network()
    inception_network()
    assert asked == [inception.URL]


def test_a_failed_download_says_what_to_do(offline):
    with pytest.raises(
        UserError, match=r"could not be downloaded from https://github.com/.* \(.*no network.*\)"
    ) as error:
        inception_network()
    assert f"put it into {offline}; or name the file on the command line (`--fid FILE`)." in str(error.value)


def test_wrong_files_are_sentences(tmp_path):
    with pytest.raises(UserError, match=r"No Inception weights at .*nothing.pth; expected weights-inception-2015"):
        inception_network(tmp_path / "nothing.pth")
    (tmp_path / "cut.pth").write_bytes(b"cut short")
    with pytest.raises(
        UserError, match=r"cut.pth is damaged, or holds another network .* begins with .*, not 6726825d"
    ):
        inception_network(tmp_path / "cut.pth")


def test_without_torch_fidelity_it_says_how_to_install_it(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r'need torch-fidelity: pip install -e "\.\[fid\]"\.'):
        inception_network(weights)
