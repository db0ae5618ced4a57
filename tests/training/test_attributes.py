from dataclasses import replace

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from dfcvae import faces
from dfcvae.attribute_network import AttributeNetwork, attribute_scores, scores_table, train_features
from dfcvae.config import FeatureTraining
from dfcvae.data import Faces
from dfcvae.features import VGGFeatures
from tests.losses import naive
from tests.training.runs import assert_same

TINY = FeatureTraining("vgg11_bn", 0.125, epochs=6, batch_size=16, accelerator="cpu")


@pytest.fixture(scope="module")
def bright(splits):
    """Faces, half of them darkened, with an attribute anybody can learn."""

    def darkened(part):
        dark = torch.arange(len(part)) % 2 == 0
        images = torch.where(dark[:, None, None, None], part.images // 4, part.images)
        return Faces(images, torch.stack([dark, ~dark], dim=1), ("Dark", "Bright"))

    return {name: darkened(part) for name, part in splits.items()}


@pytest.fixture(scope="module")
def network(bright):
    return train_features(TINY, bright, progress=False)


def test_it_learns_an_easy_attribute(network, bright):
    scores = attribute_scores(network.logits(bright["val"]), bright["val"].attributes, network.names)
    assert scores["mean"]["balanced"] > 0.9
    assert scores["mean"]["majority"] == 0.5


def test_its_file_is_a_feature_network_and_a_judge(network, tmp_path, x):
    path = network.save(tmp_path / "sub" / "features.safetensors")
    loaded = AttributeNetwork.load(path)
    assert loaded.names == ("Dark", "Bright")
    assert torch.equal(loaded(x), network(x))
    features = VGGFeatures("vgg11_bn", [4, 28], str(path))
    outputs = features(x)
    expected = network.features[:5]((x - naive.MEAN) / naive.STD)
    torch.testing.assert_close(outputs["conv2_1"], expected, rtol=1e-4, atol=1e-4)
    assert outputs["pool5"].shape == (4, 64, 2, 2)


@pytest.mark.parametrize("width", [0.3, 0.11, 0.02])
def test_any_width_can_be_loaded(width, tmp_path, x):
    path = AttributeNetwork("vgg11_bn", width, ("a", "b")).save(tmp_path / "x.safetensors")
    assert AttributeNetwork.load(path)(x).shape == (4, 2)
    assert VGGFeatures("vgg11_bn", [4], str(path))(x)["conv2_1"].shape[0] == 4


def test_scores_equal_scikit_learn():
    logits, attributes = torch.randn(200, 3), torch.rand(200, 3) < torch.tensor([0.5, 0.1, 0.9])
    scores = attribute_scores(logits, attributes, ("a", "b", "c"))
    for i, name in enumerate("abc"):
        true, score = attributes[:, i].numpy(), logits[:, i].numpy()
        assert scores[name]["accuracy"] == pytest.approx(((score > 0) == true).mean())
        assert scores[name]["majority"] == pytest.approx(max(true.mean(), 1 - true.mean()))
        assert scores[name]["balanced"] == pytest.approx(balanced_accuracy_score(true, score > 0), rel=1e-5)
        assert scores[name]["auroc"] == pytest.approx(roc_auc_score(true, score), rel=1e-5)
    assert scores["mean"]["auroc"] == pytest.approx(sum(scores[n]["auroc"] for n in "abc") / 3, rel=1e-5)
    assert "auroc" in scores_table(scores)


def test_attributes_that_never_vary_are_left_out_of_the_means():
    logits, attributes = torch.randn(50, 2), torch.rand(50, 2) < 0.5
    attributes[:, 1] = True
    scores = attribute_scores(logits, attributes, ("a", "b"))
    assert scores["b"]["auroc"] != scores["b"]["auroc"]
    assert scores["mean"]["auroc"] == scores["a"]["auroc"]


def test_own_faces_with_attributes_are_enough(bright):
    own = faces(bright["train"].images, bright["train"].attributes, ("Dark", "Bright"))
    networks = [train_features(replace(TINY, epochs=1), data, progress=False) for data in (own, bright)]
    assert_same(*(network.state_dict() for network in networks))


def test_the_auroc_ranks_large_logits_too():
    generator = torch.Generator().manual_seed(0)
    attributes = torch.rand(400, 1, generator=generator) < 0.4
    logits = 30 * (torch.randn(400, 1, generator=generator) + attributes.float())  # a float32 sigmoid of them has ties
    wanted = roc_auc_score(attributes[:, 0].numpy(), logits[:, 0].numpy())
    assert attribute_scores(logits, attributes, ("Smiling",))["mean"]["auroc"] == pytest.approx(wanted, abs=1e-6)
