"""From configurations to losses: presets, what is changed in them, and mistakes."""

import pytest
import torch

from dfcvae.build import build_objective, build_perceptual
from dfcvae.config import FeatureConfig, LossConfig
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.losses import NAMES, SSIMLoss
from tests.losses.test_properties import ARCHS, HEAVY, narrow


def config(name, tmp_path):
    if name not in ARCHS:
        return FeatureConfig(name)
    if name == "lpips":
        return FeatureConfig(name, "random")
    torch.save(narrow(ARCHS[name]).state_dict(), tmp_path / "vgg.pth")
    return FeatureConfig(name, str(tmp_path / "vgg.pth"))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in HEAVY] + [pytest.param("lpips", marks=pytest.mark.slow)]
)
def test_every_published_loss_trains_a_vae(name, tmp_path, splits):
    """Scaled, every term is 1 for the mean of its target, and every one has a weight and a gradient."""
    loss = build_perceptual(config(name, tmp_path))
    x = to_float(splits["train"].images)
    objective = build_objective(LossConfig(features=FeatureConfig(name)), loss, splits["train"].images)
    x_hat = x.mean(dim=0).expand_as(x).clone().requires_grad_()
    mu = torch.zeros(len(x), 2, requires_grad=True)
    terms = objective.terms(x_hat, x, mu, torch.zeros_like(mu))
    assert list(terms) == list(objective.weights)
    assert terms["pixel"].mean().item() == pytest.approx(1, rel=1e-4)
    for term in list(terms)[1:]:
        assert term.partition("/")[0] in ("pixel", "pixels", "features", "lpips")
        (gradient,) = torch.autograd.grad(terms[term].sum(), x_hat, retain_graph=True)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
        assert objective.weights[term] > 0
    if isinstance(loss, SSIMLoss):
        assert terms["pixels/ssim"].mean().item() == pytest.approx(1, rel=1e-4)


def test_parts_of_a_preset_can_be_changed():
    loss = build_perceptual(
        FeatureConfig("vgg-l1", "random", "vgg11", [0, "relu2_1"], [2.0, 3.0], "charbonnier", "sum", "average")
    )
    assert loss.weights == {"conv1_1": 2.0, "relu2_1": 3.0}
    assert (loss.distance, loss.reduction, loss.features.arch) == ("charbonnier", "sum", "vgg11")
    assert type(loss.features.layers["pool1"]).__name__ == "AvgPool2d"


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(UserError, match=r"Unknown loss 'dfcc' \(did you mean 'dfc'\?\)"):
        build_perceptual(FeatureConfig("dfcc"))
    with pytest.raises(UserError, match="the loss ssim has no pooling; remove that setting"):
        build_perceptual(FeatureConfig("ssim", pooling="average"))
    torch.save(narrow("vgg16_bn").state_dict(), tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=r"vgg.pth contains vgg16_bn, but arch is vgg13; change one of them"):
        build_perceptual(FeatureConfig("content", str(tmp_path / "vgg.pth"), "vgg13", ["conv3_1"]))
