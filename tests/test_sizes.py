"""Every image size, in colour or in grey, from the data to the pictures."""

import json
from itertools import product
from math import isfinite

import numpy as np
import pytest
import torch
from PIL import Image

from dfcvae.attribute_network import AttributeNetwork, train_features
from dfcvae.build import build_vae
from dfcvae.cli import main
from dfcvae.config import (
    DataConfig,
    Experiment,
    FeatureConfig,
    FeatureTraining,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from dfcvae.data import load_faces
from dfcvae.data.synthetic import render_faces
from dfcvae.demo import DemoSettings, run_demo
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS, evaluate
from dfcvae.evaluation.measures import LARGEST_WITHOUT_MS_SSIM
from dfcvae.features import VGGFeatures
from dfcvae.networks import NETWORKS, SIZES
from dfcvae.report.tables import MEASURES
from dfcvae.sheet import GAP
from dfcvae.training import train
from dfcvae.vae import VAE


def tier(size):
    """Large images are slow."""
    return [pytest.mark.slow] if size > 64 else []


# every pair of a network, a size and a number of channels
PAIRWISE = [
    pytest.param(network, size, (3, 1)[(i + j) % 2], marks=tier(size))
    for (i, network), (j, size) in product(enumerate(NETWORKS), enumerate(SIZES))
]
# of 32 pixels in colour is the demo of test_demo.py
SHAPES = [pytest.param(size, channels, marks=tier(size)) for size, channels in ((64, 1), (128, 1), (256, 3))]
TINY = 1 / 16


@pytest.fixture(autouse=True)
def _few_faces_and_samples(monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 2)
    monkeypatch.setattr("dfcvae.report.comparison.FACES", 2)
    monkeypatch.setattr("dfcvae.report.comparison.STEPS", 2)
    monkeypatch.setattr("dfcvae.run.SAMPLES_SHOWN", 2)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files of an untrained feature network and an untrained judge, of widths that cost nothing."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    files = {arch: folder / f"{arch}.safetensors" for arch in ("vgg19_bn", "vgg11_bn")}
    return {arch: AttributeNetwork(arch, TINY, ("A", "B")).save(file) for arch, file in files.items()}


def dfc_experiment(network, size, channels, weights):
    """Two steps of the shipped DFC-VAE, with another feature network."""
    features = FeatureConfig("dfc", str(weights), layer_weights=0.125, pooling="average")
    data = DataConfig(size=size, channels=channels, train_images=4)
    training = TrainingConfig(epochs=1, batch_size=2, accelerator="cpu", picture_epochs=2)  # the demo draws
    return Experiment("tiny", data, ModelConfig(network), LossConfig(pixel_weight=0.5, features=features), training)


def unmoved(before, after):
    """Names of the weight matrices and kernels that training left as they were, and of those no longer finite."""
    now = dict(after.named_parameters())
    weights = {name: value for name, value in before.named_parameters() if value.ndim > 1}
    assert all(value.isfinite().all() for value in now.values())
    return [name for name, value in weights.items() if torch.equal(value, now[name])]


@pytest.mark.parametrize(("network", "size", "channels"), PAIRWISE)
def test_a_dfc_vae_trains_loads_samples_and_is_measured(network, size, channels, networks, tmp_path):
    experiment = dfc_experiment(network, size, channels, networks["vgg19_bn"])
    splits = load_faces(experiment.data, progress=False)
    assert splits["test"].images.shape == (2, channels, size, size)
    result = train(experiment, tmp_path / "run", data=splits, progress=False)
    assert all(map(isfinite, result.metrics.values()))
    assert "val/features/conv5_2" in result.metrics
    vae = VAE.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert unmoved(build_vae(experiment), vae) == []
    x = splits["test"].images / 255
    for images in (vae.sample(2), vae.reconstruct(x)):
        assert images.shape == x.shape
        assert 0 <= images.min() < images.max() <= 1
        assert images.flatten(1).var(dim=1).min() > 0
    judge = AttributeNetwork.load(networks["vgg11_bn"])
    features = VGGFeatures("vgg11_bn", JUDGE_LAYERS, str(networks["vgg11_bn"]))
    measures = evaluate(vae, splits["test"], features=features, judge=judge)
    absent = {"lpips_vgg", "lpips_alex", "negative_iwae"} | ({"ms_ssim"} if size <= LARGEST_WITHOUT_MS_SSIM else set())
    assert measures.keys() == MEASURES.keys() - absent
    assert all(map(isfinite, measures.values())), measures


@pytest.mark.parametrize(("size", "channels"), SHAPES)
def test_the_whole_demo_runs(size, channels, tmp_path):
    judge = FeatureTraining("vgg11_bn", TINY, epochs=1, batch_size=2)
    settings = DemoSettings(4, size, channels, epochs=1, batch_size=2, judge=judge)
    report = run_demo(tmp_path / "demo", settings=settings, progress=False)
    assert f"test faces of synthetic, {size} pixels." in report.read_text()
    measures = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    values = [value for name in ("vae", "dfc-vae") for value in measures[name].values()]
    assert all(isfinite(value) for value in values if isinstance(value, float))
    with Image.open(tmp_path / "demo" / "figures" / "reconstructions.png") as picture:
        assert picture.width > 2 * (size + 2)  # and the labels
        red, green, blue = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert (np.array_equal(red, green) and np.array_equal(green, blue)) == (channels == 1)


@pytest.mark.parametrize("size", [pytest.param(size, marks=tier(size)) for size in SIZES])
def test_a_grey_model_reconstructs_a_colour_file_in_grey(size, tmp_path):
    face = Image.fromarray(render_faces([7], size=size)[0][0].permute(1, 2, 0).numpy())
    face.save(tmp_path / "colour.png")
    VAE("hou2016", size, 1, 8).save(tmp_path / "model", Experiment(data=DataConfig(size=size, channels=1)).as_dict())
    out = tmp_path / "picture.png"
    words = [str(tmp_path / "model"), str(tmp_path / "colour.png"), "--scale", "1", "--out", str(out)]
    assert main(["reconstruct", *words]) == 0
    with Image.open(out) as picture:  # at the bottom right, below each other
        right, bottom, step = picture.width - GAP, picture.height - GAP, size + GAP
        original, again = (picture.crop((right - size, end - size, right, end)) for end in (bottom - step, bottom))
    assert np.array_equal(original, face.convert("L").convert("RGB"))
    assert np.array_equal(again, again.convert("L").convert("RGB"))


def test_a_feature_network_asks_for_faces_of_at_least_32_pixels():
    splits = load_faces(DataConfig(size=16, train_images=4), progress=False)
    with pytest.raises(UserError, match="at least 32x32 pixels, got 16x16"):
        train_features(FeatureTraining(width=TINY, epochs=1, batch_size=2), splits, progress=False)
