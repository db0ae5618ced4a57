"""Distances between sets of images, against SciPy, scikit-learn, torchmetrics (random Inception) and loops."""

import hashlib
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.fid import NoTrainInceptionV3
from torchmetrics.image.kid import poly_mmd

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.evaluation import frechet_distance, inception_network, measure_samples, samples
from dfcvae.evaluation.samples import kernel_distance, precision_recall
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE


def frechet_of_scipy(a, b):
    means, covariances = [x.mean(axis=0) for x in (a, b)], [np.cov(x.T) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


def frechet_of_singular_values(a, b):
    """Of fewer images than features, whose covariances have no full rank."""
    x, y = ((s - s.mean(axis=0)) / (len(s) - 1) ** 0.5 for s in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * root


def test_the_frechet_distance_is_the_formula_of_scipy_and_of_singular_values():
    a, b = torch.randn(500, 12) @ torch.randn(12, 12), torch.randn(300, 12) + 0.5
    assert frechet_distance(a, b) == pytest.approx(frechet_of_scipy(a.double().numpy(), b.double().numpy()), rel=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-2)
    a, b = torch.randn(7, 40), torch.randn(9, 40) * 2 + 1
    wanted = frechet_of_singular_values(a.double().numpy(), b.double().numpy())
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-5)


def kernel_of_a_double_loop(a, b):
    kernel = lambda x, y: (x @ y / a.shape[1] + 1) ** 3  # noqa: E731
    within = [[kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j] for s in (a, b)]
    between = [kernel(x, y) for x in a for y in b]
    return np.mean(within[0]) + np.mean(within[1]) - 2 * np.mean(between)


def neighbours_of_sklearn(real, fake, k):
    def share(of, among):
        radii = NearestNeighbors(n_neighbors=k + 1).fit(among).kneighbors(among)[0][:, -1]
        distances = np.linalg.norm(of[:, None] - among[None], axis=-1)
        return (distances <= radii).any(axis=1).mean()

    return share(fake, real), share(real, fake)


@pytest.mark.parametrize("rows", [samples.ROWS_AT_ONCE, 7])
def test_distances_are_those_of_loops_torchmetrics_and_scikit_learn_whatever_the_blocks(rows, monkeypatch):
    monkeypatch.setattr(samples, "ROWS_AT_ONCE", rows)
    a, b = torch.randn(17, 4).double(), torch.randn(15, 4).double() + 1
    assert kernel_distance(a, b) == pytest.approx(kernel_of_a_double_loop(a.numpy(), b.numpy()))
    assert kernel_distance(a[:15], b) == pytest.approx(poly_mmd(a[:15], b).item())
    real, fake = torch.randn(150, 6), torch.randn(120, 6) * 0.7 + 0.4
    wanted = neighbours_of_sklearn(real.double().numpy(), fake.double().numpy(), 3)
    assert 0 < wanted[1] < wanted[0] < 1
    assert precision_recall(real, fake) == pytest.approx(wanted)


def pixels(images):
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@torch.no_grad()
def test_samples_reconstructions_and_held_out_faces_are_compared_with_the_test_split(splits, monkeypatch):
    vae, val, test = VAE("hou2016", 32, 3, 8).eval(), splits["val"], splits["test"].subset(20)
    monkeypatch.setattr(vae, "reconstruct", lambda x: 0.5 * x)  # an untrained model's are all alike
    mixture = Prior(torch.tensor([0.3, 0.7]), torch.randn(2, 8), torch.stack([torch.eye(8), 0.1 * torch.eye(8)]))
    found = measure_samples(vae, val, test, pixels, mixture=mixture, seed=4)
    real, held_out = pixels(to_float(test.images)), to_float(val.images[:20])
    z = mixture.sample(20, generator=seeded_generator(4, Stream.SAMPLES))
    sets = {
        "samples": pixels(vae.sample(20, generator=seeded_generator(4, Stream.SAMPLES))),
        "samples_gmm": pixels(vae.decode_all(z)),
        "reconstructions": pixels(0.5 * held_out),
        "floor": pixels(held_out),
    }
    assert list(found) == list(sets)
    for name, features in sets.items():
        wanted = [frechet_distance(real, features), kernel_distance(real, features), *precision_recall(real, features)]
        assert list(found[name].values()) == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert [*found["floor"]] == ["frechet", "kernel", "precision", "recall"]
    assert found["floor"]["frechet"] < found["reconstructions"]["frechet"]
    del found["samples_gmm"]
    assert measure_samples(vae, val, test, pixels, seed=4) == found


def test_the_number_of_images_has_a_bound_and_a_least(splits, monkeypatch):
    vae, val, embedded = VAE("hou2016", 32, 3, 8).eval(), splits["val"], []
    with pytest.raises(UserError, match="at least 5 faces in the validation and in the test split, got 24 and 4; use"):
        measure_samples(vae, val, val.subset(4), pixels)
    monkeypatch.setattr(samples, "COMPARED", 10)
    measure_samples(vae, val, splits["test"], lambda x: embedded.append(len(x)) or pixels(x))
    assert embedded == [10] * 4


@pytest.fixture(scope="session")
def torch_fidelity():
    return pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory, torch_fidelity):
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
    monkeypatch.setattr(samples, "INCEPTION_SHA256", hashlib.sha256(random_inception.read_bytes()).hexdigest())
    return random_inception


def faces(first, count):
    return render_faces(range(first, first + count), size=32)[0]


def test_features_are_those_of_torchmetrics_of_images_as_uint8(weights, monkeypatch):
    monkeypatch.setattr(samples, "INCEPTION_AT_ONCE", 1)
    image = faces(0, 1)
    grey = image[:, :1].repeat(2, 1, 1, 1)
    oracle = NoTrainInceptionV3("inception", ["2048"], str(weights), antialias=False)
    network = inception_network(weights)
    features = network(to_float(image) + 0.4 / 255)  # to the nearest level: generated images are not on one
    assert features.shape == (1, 2048)
    assert features.std() > 0.1 * features.mean() > 0
    wanted = oracle(torch.cat([image, grey[:1].repeat(1, 3, 1, 1)]))
    torch.testing.assert_close(torch.cat([features, network(to_float(grey))]), wanted[[0, 1, 1]])


def test_inception_is_downloaded_once_or_found_in_the_folder_of_torch(weights, offline, torch_fidelity, monkeypatch):
    def download(url, target, progress):
        asked.append(url)
        (offline / samples.INCEPTION_FILES[0]).symlink_to(weights)

    asked = []
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch_fidelity.FeatureExtractorInceptionV3, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(torch_fidelity.FeatureExtractorInceptionV3, "to", lambda *_: None)
    inception_network()
    inception_network()
    (offline / samples.INCEPTION_FILES[0]).rename(offline / samples.INCEPTION_FILES[1])
    inception_network()
    assert asked == [samples.INCEPTION_URL]


def test_missing_or_corrupted_inception_weights_are_a_sentence(offline, torch_fidelity, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"could not be downloaded from https://github.com/.* \(.*no network") as error:
        inception_network()
    assert f"copy it to {offline}; or name the file on the command line (`--fid FILE`)." in str(error.value)
    with pytest.raises(UserError, match=r"No Inception weights at .*nothing.pth; expected weights-inception-2015"):
        inception_network(tmp_path / "nothing.pth")
    (tmp_path / "cut.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"cut.pth is corrupted, or is not the network .* with .*, expected 6726825d"):
        inception_network(tmp_path / "cut.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r'need torch-fidelity: pip install -e "\.\[fid\]"\.'):
        inception_network(tmp_path / "cut.pth")
