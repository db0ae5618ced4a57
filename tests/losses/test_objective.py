import pytest
import torch

from dfcvae.build import build_objective
from dfcvae.config import LossConfig
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.gaussian import kl_divergence
from dfcvae.images import to_float
from dfcvae.losses import (
    Objective,
    PerceptualLoss,
    SSIMLoss,
    accounting_table,
    beta_eff,
    mean_squared_error,
    measure_scales,
)


@pytest.fixture(scope="module")
def perceptual():
    return PerceptualLoss(VGGFeatures("vgg11_bn", [4, 9], "random"), [2.0, 3.0])


@pytest.fixture
def posterior():
    return torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)


def test_total_is_the_papers_formula(perceptual, x, x_hat, posterior):
    objective = Objective(alpha=0.1, beta=0.5, pixel_weight=4.0, perceptual=perceptual)
    terms = objective.terms(x_hat, x, *posterior)
    features = perceptual.terms(x_hat, x)
    pixel = ((x_hat - x) ** 2).mean(dim=(1, 2, 3))
    kl = kl_divergence(*posterior)
    expected = 0.1 * kl + 0.5 * (4 * pixel + 2 * features["conv2_1"] + 3 * features["bn3_1"])
    torch.testing.assert_close(objective.total(terms), expected)
    assert list(terms) == ["kl", "pixel", "features/conv2_1", "features/bn3_1"]
    assert all(term.shape == (4,) for term in terms.values())
    for name, term in terms.items():
        for gradient in torch.autograd.grad(term.sum(), posterior if name == "kl" else x_hat, retain_graph=True):
            assert (gradient.flatten(1).norm(dim=1) > 0).all(), name


def test_the_plain_vae_is_the_same_without_features(x, x_hat, posterior):
    objective = Objective(alpha=0.1, beta=0.5)
    assert list(objective.terms(x_hat, x, *posterior)) == ["kl", "pixel"]
    assert list(objective.weights) == ["kl", "pixel"]


def test_warmup_scales_the_kl_alone(x, x_hat, posterior):
    objective = Objective(alpha=2.0, beta=1.0)
    terms = objective.terms(x_hat, x, *posterior)
    torch.testing.assert_close(objective.total(terms, kl_warmup=0.25), 0.5 * terms["kl"] + terms["pixel"])


def test_variances_are_those_of_the_mean_image(perceptual, splits):
    """Divided by its variance, a term is exactly 1 for the mean of its target: pixels, and each feature map."""
    x = to_float(splits["train"].images)
    variances = measure_scales(lambda: x.split(10), perceptual)
    assert measure_scales(lambda: [x], perceptual) == pytest.approx(variances, rel=1e-5)
    targets = {"pixel": x} | {f"features/{k}": v for k, v in perceptual.features(x).items()}
    assert variances.keys() == targets.keys()
    for name, target in targets.items():
        expected = (target - target.mean(dim=0)).square().mean().item()
        assert variances[name] == pytest.approx(expected, rel=1e-4), name
    objective = Objective(1.0, 1.0, scales=variances)
    terms = objective.terms(x.mean(dim=0).expand_as(x), x, torch.zeros(64, 1), torch.zeros(64, 1))
    assert terms["pixel"].mean().item() == pytest.approx(1, rel=1e-4)


def test_constant_targets_are_an_error():
    with pytest.raises(UserError, match="needs images that differ; these terms do not vary: pixel"):
        measure_scales(lambda: [torch.full((4, 3, 8, 8), 0.5)])


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        # 1/2 SSE + KL, written as a mean: the ELBO of unit noise
        (Objective(alpha=2 / 12_288, beta=1.0), 1.0),
        # the popular plain recipe: mean MSE + 0.00025 KL
        (Objective(alpha=2.5e-4, beta=1.0), 1.536),
        # alpha 1, beta 0.5 with mean losses, as many tutorials print it
        (Objective(alpha=1.0, beta=0.5), 12_288),
        # a term divided by its variance
        (Objective(alpha=0.004, beta=1.0, scales={"pixel": 0.065}), 0.004 * 0.065 * 12_288 / 2),
    ],
)
def test_beta_eff_of_known_recipes(objective, expected):
    assert beta_eff(objective, 3 * 64 * 64) == pytest.approx(expected)


def test_table_names_layers_by_index_and_name(perceptual):
    objective = Objective(0.004, 1.0, 0.5, perceptual)
    text = accounting_table(objective, dict.fromkeys(objective.weights, 1.0), 12_288)
    assert "features/4 conv2_1" in text
    assert "features/9 bn3_1" in text
    assert f"beta_eff = {beta_eff(objective, 12_288):.3g}" in text


def test_images_that_do_not_match_are_sentences_without_features_too(x, x_hat, posterior):
    with pytest.raises(UserError, match=r"same shape \(N, C, H, W\), got \(1, 3, 64, 64\) and \(4, 3, 64, 64\)"):
        Objective(0.1, 0.5).terms(x_hat[:1], x, *posterior)


def test_the_pixel_term_of_half_precision_images_is_float32(x, x_hat):
    a, b = x_hat.bfloat16(), x.bfloat16()
    torch.testing.assert_close(mean_squared_error(a, b), mean_squared_error(a.float(), b.float()), rtol=0, atol=0)


def edges(x_hat, x):
    """A term of one's own: the mean squared error of horizontal differences."""
    return (x_hat.diff(dim=3) - x.diff(dim=3)).square().flatten(1).mean(dim=1)


def test_own_terms_are_in_the_total_the_account_and_the_gradient(perceptual, x, x_hat, posterior):
    plain = Objective(0.1, 0.5, 1.0, perceptual)
    objective = Objective(0.1, 0.5, 1.0, perceptual, terms={"edges": (edges, 0.2), "ssim": (SSIMLoss(), 3)})
    before, terms = plain.terms(x_hat, x, *posterior), objective.terms(x_hat, x, *posterior)
    assert list(terms) == list(objective.weights) == [*plain.weights, "edges", "ssim"]
    assert all(torch.equal(terms[name], value) for name, value in before.items())
    expected = plain.total(before) + 0.5 * (0.2 * edges(x_hat, x) + 3 * SSIMLoss()(x_hat, x))
    torch.testing.assert_close(objective.total(terms), expected)
    (gradient,) = torch.autograd.grad(terms["edges"].sum(), x_hat)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    table = accounting_table(objective, dict.fromkeys(terms, 1.0), 12_288)
    line = next(line.split() for line in table.splitlines() if line.startswith("edges"))
    assert [float(value) for value in line[1:3]] == [0.1, 1.0]


@pytest.mark.parametrize("scale", ["variance", "none", "likelihood"])
def test_own_terms_keep_their_unit_whatever_the_scale(scale, splits):
    images = splits["train"].images
    objective = build_objective(LossConfig(beta=2.0, scale=scale), None, images, terms={"edges": (edges, 0.1)})
    x = to_float(images[:4])
    terms = objective.terms(x.flip(0), x, torch.zeros(4, 2), torch.zeros(4, 2))
    assert torch.equal(terms["edges"], edges(x.flip(0), x))
    assert objective.weights["edges"] == 0.2


def test_networks_in_own_terms_stay_in_eval_mode_and_follow_the_device():
    network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Flatten()).train()
    objective = Objective(0.1, 0.5, terms={"own": (network, 1.0)}).train()
    assert objective.training
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("name", "term", "message"),
    [
        ("edges", lambda a, b: edges(a, b).mean(), r"'edges': expected one value per image, \(4,\), got \(\); average"),
        ("edges", lambda a, b: 0.5, r"'edges': expected one value per image, \(4,\), got float"),
        ("edges", lambda a, b: edges(a.detach(), b), "'edges' gives the reconstructions no gradient; remove detach"),
        ("pixel", edges, r"not in use \(as are kl, pixel, total, active_units\), got 'pixel'"),
        ("a/b", edges, "expected names of letters.*got 'a/b'"),
        ("edges", None, r"expected \(function, weight\) for 'edges', got \(None, 1.0\)"),
    ],
)
def test_own_terms_that_train_nothing_or_have_no_name_are_sentences(name, term, message, x, x_hat, posterior):
    with pytest.raises(UserError, match=message):
        Objective(0.1, 0.5, terms={name: (term, 1.0)}).terms(x_hat, x, *posterior)
    with pytest.raises(UserError, match=r"expected \(function, weight\) for 'edges', got .*nan"):
        Objective(0.1, 0.5, terms={"edges": (edges, float("nan"))})


def test_beta_eff_says_what_the_optimum_is(x, x_hat, posterior):
    """Minimising the objective is minimising 1/2 SSE + beta_eff KL: the two differ by one constant factor."""
    objective = Objective(alpha=0.3, beta=0.7, pixel_weight=0.2, scales={"pixel": 0.05})
    totals = objective.total(objective.terms(x_hat, x, *posterior))
    sse = (x_hat - x).square().sum(dim=(1, 2, 3))
    currency = sse / 2 + beta_eff(objective, x[0].numel()) * kl_divergence(*posterior)
    ratio = totals / currency
    torch.testing.assert_close(ratio, ratio[:1].expand(4))
