"""Cached targets: equal to computing them in every step, reused exactly when nothing they depend on has changed."""

import os
import subprocess
import sys
from dataclasses import replace
from platform import node

import pytest
import torch

from dfcvae import device, train
from dfcvae import targets as module
from dfcvae.config import FeatureConfig
from dfcvae.data import Faces, TrainingBatches
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.losses import PerceptualLoss, perceptual
from dfcvae.targets import Targets, choose_targets

CPU = torch.device("cpu")
EPOCHS = 20


@pytest.fixture(scope="module")
def images(splits):
    return splits["train"].images


@pytest.fixture(scope="module")
def loss():
    return PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random"), [1.0, 0.5])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """An empty cache, and room in memory, whatever this machine has."""
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "free_memory", lambda device: 2**40)


def of(loss, images, flip=True):
    return Targets(loss, images, flip, CPU, progress=False)


def features(where="auto", **options):
    return FeatureConfig(cache_targets=where, **options)


def counted(loss, monkeypatch):
    calls = []
    represent = loss.represent
    monkeypatch.setattr(loss, "represent", lambda x: calls.append(len(x)) or represent(x))
    return calls


LOSSES = {
    "features": lambda: PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random")),
    "style": lambda: PerceptualLoss(VGGFeatures("vgg11", ["relu1_1", "pool2"], "random"), gram=True),
    "lpips": lambda: perceptual("lpips", "random"),
}


@pytest.mark.parametrize(
    ("kind", "where"), [("features", "memory"), ("features", "disk"), ("style", "disk"), ("lpips", "memory")]
)
def test_kept_targets_are_the_representations_rounded(kind, where, images):
    loss, images = LOSSES[kind](), images[:6]
    kept = choose_targets(features(where), of(loss, images), EPOCHS)
    rows, flips = torch.tensor([3, 0, 0, 5]), torch.tensor([False, True, False, True])
    x = to_float(images[rows])
    x = torch.where(flips[:, None, None, None], x.flip(-1), x)
    expected = loss.represent(x)
    found = kept(rows, flips)
    assert list(found) == list(expected)
    for name, value in found.items():
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(value.float(), expected[name], rtol=2**-8, atol=1e-5)


def test_the_loss_is_that_of_computed_targets_up_to_their_rounding(loss, images):
    """The oracle: targets computed in the step and rounded; and without rounding, to its precision."""
    faces = Faces(images, torch.zeros(len(images), 0, dtype=torch.bool), ())
    batches = TrainingBatches(faces, 8, seed=0, targets=of(loss, images).in_memory())
    batch = next(batches.starting_at(0))
    x = to_float(batch.images)
    x_hat = (x + 0.1 * torch.randn_like(x)).clamp(0, 1).requires_grad_()
    gradients = {}
    computed = loss.represent(x)
    rounded = {name: value.bfloat16() for name, value in computed.items()}
    for name, target in (("kept", batch.targets), ("rounded", rounded), ("exact", computed)):
        total = sum(value.sum() * loss.weights[term] for term, value in loss.terms(x_hat, x, target).items())
        gradients[name] = torch.cat([total.detach()[None], torch.autograd.grad(total, x_hat)[0].flatten()])
    exact = gradients["exact"].norm()
    assert (gradients["kept"] - gradients["rounded"]).norm() < 1e-3 * exact
    assert (gradients["kept"] - gradients["exact"]).norm() < 2**-6 * exact
    assert not torch.equal(gradients["kept"], gradients["exact"])
    torch.testing.assert_close(loss(x_hat, x).sum(), total, rtol=1e-4, atol=0)  # the last of these, with exact targets


@pytest.mark.slow
def test_training_with_kept_targets_gives_the_numbers_of_training_without(experiment, splits, tmp_path):
    metrics = {}
    for where in ("memory", "never"):
        changed = replace(experiment.loss, features=replace(experiment.loss.features, cache_targets=where))
        run = train(replace(experiment, loss=changed), tmp_path / where, data=splits, progress=False)
        metrics[where] = run.metrics
        checkpoint = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["about"]["targets_cached"] == (where == "memory")
    for name, value in metrics["never"].items():
        assert metrics["memory"][name] == pytest.approx(value, rel=2e-2), name  # of bfloat16 targets


def test_a_file_of_targets_is_found_again(loss, images, monkeypatch):
    calls = counted(loss, monkeypatch)
    first = of(loss, images).on_disk()
    assert sum(calls) == 1 + 2 * len(images)
    calls.clear()
    again = of(loss, images).on_disk()
    assert calls == [1]
    assert torch.equal(first.rows.view(torch.int16), again.rows.view(torch.int16))
    assert [file.suffix for file in (module.cache_root() / "targets").iterdir()] == [".bfloat16"]


def test_a_file_of_targets_is_not_taken_for_others(loss, images):
    """One pixel, the mirror images, a layer, the pooling, a single weight, the precision: each makes another file."""
    images = images[:6]
    pixel = images.clone()
    pixel[5, 1, 7, 9] ^= 1
    weight = PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random"))
    weight.features.layers["bn1_1"].weight[3, 1, 0, 2] += 1e-3
    others = [
        of(loss, images),
        of(loss, pixel),
        of(loss, images, flip=False),
        of(loss, images[1:]),
        of(PerceptualLoss(VGGFeatures("vgg11_bn", [4, "relu3_1"], "random")), images),
        of(PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random", pooling="average")), images),
        of(weight, images),
        of(PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random").bfloat16()), images),
        of(PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random"), gram=True), images),
    ]
    same = PerceptualLoss(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random"), [0.3, 7.0], distance="absolute")
    for targets in (*others, of(same, images)):
        targets.on_disk()
    assert len(list((module.cache_root() / "targets").iterdir())) == len(others)


@pytest.mark.skipif(os.name != "posix", reason="asks by a signal whether a process lives")
def test_what_a_killed_process_of_this_machine_left_is_removed(loss, images):
    of(loss, images).on_disk()
    (file,) = (module.cache_root() / "targets").iterdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, others, alive = (
        file.with_suffix(f".{host}.{pid}.partial")
        for host, pid in ((node(), dead.pid), ("elsewhere", dead.pid), (node(), os.getpid()))
    )
    for partial in (left, others, alive):
        partial.write_bytes(b"half")
    of(loss, images).on_disk()
    assert [path.exists() for path in (file, left, others, alive)] == [True, False, True, True]


def test_a_run_that_dies_or_fills_the_disk_leaves_no_file(loss, images, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    def full(*_):
        raise OSError(28, "No space left on device")

    targets = of(loss, images)
    with monkeypatch.context() as patch:
        patch.setattr(loss, "represent", die)
        with pytest.raises(KeyboardInterrupt):
            targets.on_disk()
    calls = counted(loss, monkeypatch)
    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        targets.on_disk()
    assert calls == []  # it is noticed before anything is computed
    assert list((module.cache_root() / "targets").iterdir()) == []


def test_automatic_means_memory_if_it_pays_and_fits(loss, images, monkeypatch):
    targets = of(loss, images)
    assert choose_targets(features(), targets, epochs=2) is None  # two copies would cost what they save
    assert choose_targets(features(), of(loss, images, flip=False), epochs=2) is not None
    assert choose_targets(features(), targets, epochs=3) is not None
    assert choose_targets(features(shift=8), targets, EPOCHS) is None
    assert choose_targets(features(), of(perceptual("ssim"), images), EPOCHS) is None
    monkeypatch.setattr(module, "free_memory", lambda device: 2 * targets.bytes)
    assert choose_targets(features(), targets, EPOCHS) is not None
    monkeypatch.setattr(module, "free_memory", lambda device: 2 * targets.bytes - 2)
    assert choose_targets(features(), targets, EPOCHS) is None


def test_a_resumed_run_goes_on_as_it_began(loss, images):
    targets = of(loss, images)
    assert choose_targets(features(), targets, epochs=1, before=True) is not None
    assert choose_targets(features(), targets, EPOCHS, before=False) is None


def test_targets_that_cannot_be_kept_are_sentences(loss, images, monkeypatch):
    with pytest.raises(UserError, match=r"cannot be cached: they change with the random shift; set loss\.features"):
        choose_targets(features("disk", shift=4), of(loss, images), EPOCHS)
    with pytest.raises(UserError, match="cached: this loss has no feature network"):
        choose_targets(features("memory"), of(perceptual("ssim"), images), EPOCHS)
    monkeypatch.setattr(module, "free_memory", lambda device: 4_000)
    monkeypatch.setattr(module, "free_disk", lambda folder: 4_000)
    for where in ("memory", "disk"):
        with pytest.raises(UserError, match=r"of 64 training images take 0\.0 GB, but only 0\.0 GB .*to never"):
            choose_targets(features(where), of(loss, images), EPOCHS)


def test_free_memory_is_within_the_limit_of_a_container(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable:  1000 kB\n")
    monkeypatch.setattr(device, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(device, "CGROUP", tmp_path)
    assert device.free_memory(CPU) == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("500\n")
    assert device.free_memory(CPU) == 1_024_000
    (tmp_path / "memory.max").write_text("800\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 150\nactive_file 50\n")
    assert device.free_memory(CPU) == 450  # what files fill can be had
    (tmp_path / "memory.current").write_text("1000\n")
    assert device.free_memory(CPU) == 0
