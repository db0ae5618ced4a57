"""`dfcvae bench`: the popular step computes what it should, ours the same where both agree, and every row trains."""

import json
from functools import cache

import pytest
import torch
import torchvision
from torch.testing import assert_close

from dfcvae.bench import Row, bench_rows, bench_table, prepare, run_bench, summary
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.images import IMAGENET_MEAN, IMAGENET_STD, to_float
from dfcvae.losses import Objective, perceptual

CPU = torch.device("cpu")
QUICK = [
    "popular",
    "dfcvae, vgg19_bn",
    "dfcvae, vgg19_bn, cached targets",
    "dfcvae, compact",
    "dfcvae, compact, cached targets",
    "plain VAE",
]
ALIASED = [14, 25, 35, 43]  # what the popular code gets for 14, 24, 34 and 43


@pytest.fixture(scope="module")
def step():
    """The step of a row by its name, in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.bench.pick_precision", lambda *_: "32-true")
        rows = {row.name: row for row in bench_rows(32, 2, CPU, quick=True)}
    return cache(lambda name: rows[name].build())


def noise(n=2):
    return torch.randn(n, 128, generator=torch.Generator().manual_seed(1))


def gradient(loss, vae):
    return torch.cat([value.flatten() for value in torch.autograd.grad(loss, list(vae.parameters()))])


def test_the_popular_network_is_torchvisions(step):
    with torch.device("meta"):
        expected = torchvision.models.vgg19_bn(weights=None).features
    network = step("popular").network
    assert [str(module) for module in network] == [str(module) for module in expected]  # in-place ReLUs included
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_popular_loss_equals_a_computation_by_hand(step):
    popular = step("popular")
    batch = next(popular.batches)
    x = to_float(batch.images)
    with torch.no_grad():
        x_hat, mu, logvar = popular.vae(x, noise())
        reconstruction = ((x_hat - x) ** 2).mean()
        a, b = x_hat, x
        for index, module in enumerate(popular.network):
            a, b = module(a.clone()), module(b.clone())
            if index in ALIASED:
                reconstruction += ((a - b) ** 2).mean()
        kl = (0.5 * (mu**2 + logvar.exp() - logvar - 1)).sum() / 2
        values = popular.losses(batch, noise())
    expected = {"loss": 0.5 * reconstruction + 0.00025 * kl, "reconstruction": reconstruction, "kl": kl}
    assert_close(values, expected, rtol=1e-5, atol=0)


def test_our_objective_has_the_gradient_of_the_popular_loss(step):
    """With its layers as they are in truth, its weights, and our normalisation taken back."""
    popular = step("popular")
    batch = next(popular.batches)
    x = to_float(batch.images)
    loss = popular.losses(batch, noise())["loss"]
    x_hat, mu, logvar = popular.vae(x, noise())
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = Objective(alpha=0.00025, beta=0.5)
    features = perceptual("dfc-aliased", popular.network)(x_hat * std + mean, x * std + mean)
    ours = (pixels.total(pixels.terms(x_hat, x, mu, logvar)) + 0.5 * features).mean()
    assert_close(ours, loss, rtol=1e-4, atol=0)
    expected, found = gradient(loss, popular.vae), gradient(ours, popular.vae)
    assert (found - expected).norm() < 0.03 * expected.norm()  # it jumps where rounding exchanges two pooled numbers


@pytest.mark.parametrize("name", QUICK)
def test_every_row_trains_the_vae_alone(name):
    taken = {row.name: row for row in bench_rows(32, 2, CPU, quick=True)}[name].build()
    frozen = taken.network if name == "popular" else taken.objective
    before = [parameter.clone() for parameter in taken.vae.parameters()]
    constants = [value.clone() for value in (*frozen.buffers(), *frozen.parameters())]
    assert taken().isfinite()
    pairs = zip(before, taken.vae.parameters(), strict=True)
    # biases ahead of a batch norm have no gradient
    assert all(not torch.equal(old, new) for old, new in pairs if old.dim() > 1)
    assert all(map(torch.equal, constants, (*frozen.buffers(), *frozen.parameters())))
    assert all(parameter.grad is None for parameter in taken.vae.parameters())


def test_a_row_that_fails_says_why():
    def build():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nand more")

    row = Row("large", "float32", build)
    assert prepare(row, 2, CPU) is None
    why = "OutOfMemoryError: CUDA out of memory. Tried to allocate 3 GiB."
    assert summary(row, row, 2, {}) == {"name": "large", "error": why}


def test_the_report_compares_round_by_round():
    popular = Row("popular", "float32", None, 2e9, 2**31, seconds=[4.0, 8.0, 2.0])  # a machine of changing speed
    ours = Row("ours", "float32", None, 1e9, None, seconds=[2.0, 4.0, 1.0])
    rows = [summary(row, popular, 4, {"float32": 8e9}) for row in (popular, ours)]
    assert rows[1]["times_popular"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert rows[1]["images_per_second"] == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert rows[1]["of_peak"] == 0.25
    failed = Row("popular", "float32", None, error="no memory")
    assert summary(ours, failed, 4, {"float32": 8e9})["times_popular"] is None
    settings = {"size": 32, "batch_size": 4, "rounds": 3, "steps": 1, "device": "cpu"}
    report = {"settings": settings, "environment": {"machine": "x86_64"}, "convolution_peaks": {"float32": 8e9}}
    lines = bench_table(report | {"rows": [*rows, {"name": "large", "error": "out of memory"}]}).splitlines()
    assert lines[0] == "A training step at batch 4, 32x32 pixels, on cpu (x86_64): median (range) of 3 rounds"
    assert " ".join(lines[3].split()) == "popular 1.00 (0.50-2.00) 1.00 (1.00-1.00) 2,048 2.00 25% float32"
    assert " ".join(lines[4].split()) == "ours 2.00 (1.00-4.00) 2.00 (2.00-2.00) - 1.00 25% float32"
    assert lines[5].split(maxsplit=1) == ["large", "out of memory"]
    assert lines[-1] == "Convolution peak of this machine, GFLOP/s: 8 in float32"


def test_numbers_out_of_range_are_refused():
    for field, expected in {"size": "one of 32, 64, 128, 256", "rounds": "a positive integer or null"}.items():
        with pytest.raises(UserError, match=f"{field}: expected {expected}, got 0."):
            run_bench(**{field: 0}, accelerator="cpu")


@pytest.mark.slow
def test_the_command(capsys, tmp_path):
    out = tmp_path / "reports" / "bench.json"
    argv = ["--quick", "--size", "32", "--batch_size", "2", "--steps", "1", "--accelerator", "cpu", "--out", str(out)]
    assert main(["bench", *argv]) == 0
    shown, report = capsys.readouterr().out, json.loads(out.read_text())
    assert [row["name"] for row in report["rows"]] == QUICK
    assert report["environment"]["versions"]["torch"]
    assert report["rows"][0]["times_popular"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    for row in report["rows"]:
        assert row["name"] in shown
        assert row["images_per_second"]["median"] > 0
        assert row["peak_memory_bytes"] is None or row["peak_memory_bytes"] > 2**20
        assert row["of_peak"] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_all_rows_on_a_gpu():
    report = run_bench(32, 4, rounds=1, steps=1, accelerator="cuda", progress=False)
    assert len(report["rows"]) > len(QUICK)
    assert not [row for row in report["rows"] if "error" in row]
