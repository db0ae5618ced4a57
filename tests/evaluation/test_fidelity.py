import pytest
import torch
from scipy.stats import spearmanr

from dfcvae.disturbances import noise
from dfcvae.evaluation.fidelity import fidelity
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float

TAPS = ["relu1_1", "relu2_1"]


@pytest.fixture(scope="module")
def teacher():
    return VGGFeatures("vgg11", TAPS, "random")


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (24, 3, 32, 32), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def test_a_network_is_faithful_to_itself(teacher, images):
    for kind, by_tap in fidelity(teacher, teacher, images[:12], images[12:], TAPS).items():
        for values in by_tap.values():
            assert values["unexplained"] < 1e-3
            assert kind == "clean" or values["rank"] == pytest.approx(1)
            assert kind == "clean" or values["cosine"] == pytest.approx(1, abs=1e-5)


def test_linear_maps_of_the_channels_are_explained_but_change_the_gradient(teacher, images):
    mixing = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))

    def mixed(x):
        return {"relu1_1": torch.einsum("dc,nchw->ndhw", mixing, teacher(x)["relu1_1"]) + 1}

    found = fidelity(mixed, teacher, images[:12], images[12:], TAPS[:1], kinds={"noise": noise})["noise"]["relu1_1"]
    assert found["unexplained"] < 1e-2
    assert 0.1 < found["cosine"] < 0.99


def test_rank_and_cosine_are_what_a_loop_over_images_gives(teacher, images):
    other = VGGFeatures("vgg13", TAPS, "random")
    recorded = []

    def kind(x, strength, generator):
        recorded.append((x, noise(x, strength, generator)))
        return recorded[-1][1]

    found = fidelity(other, teacher, images[:12], images[12:], TAPS, kinds={"noise": kind})["noise"]["relu2_1"]
    x, y = recorded[-1]
    torch.testing.assert_close(x, to_float(images[12:]))
    distances, cosines = [], []
    for one, changed in zip(x, y.clamp(0, 1), strict=True):
        values, slopes = [], []
        for network in (other, teacher):
            changed = changed.detach().clone().requires_grad_()
            value = ((network(changed[None])["relu2_1"] - network(one[None])["relu2_1"].detach()) ** 2).mean()
            value.backward()
            values.append(value.item())
            slopes.append(changed.grad.flatten())
        distances.append(values)
        cosines.append(float(slopes[0] @ slopes[1] / slopes[0].norm() / slopes[1].norm()))
    assert found["rank"] == pytest.approx(spearmanr(*zip(*distances, strict=True)).statistic, abs=1e-4)
    assert found["cosine"] == pytest.approx(sum(cosines) / len(cosines), abs=1e-4)
