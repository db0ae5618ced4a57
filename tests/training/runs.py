"""Short runs and what they leave behind, for the tests of training."""

from dataclasses import replace

import torch

from dfcvae.data import Faces
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.training import train


def run(experiment, out, splits, **arguments):
    return train(experiment, out, data=splits, **{"progress": False} | arguments)


def few_faces(train=64, val=20):
    """Two more for the test split."""
    parts = {"train": range(train), "val": range(train, train + val), "test": range(train + val, train + val + 2)}
    return {name: Faces(*render_faces(part, size=32), ATTRIBUTES) for name, part in parts.items()}


def last(out):
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def with_training(experiment, **options):
    return replace(experiment, training=replace(experiment.training, **options))


def with_loss(experiment, **options):
    return replace(experiment, loss=replace(experiment.loss, **options))


def with_features(experiment, **options):
    return with_loss(experiment, features=replace(experiment.loss.features, **options))


def with_likelihood_and_shift(experiment):
    return with_loss(with_features(experiment, shift=8), alpha=1.0, scale="likelihood")


def assert_same(a, b, path=""):
    """Bitwise equality of nested dicts, lists and tensors."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def assert_same_runs(a, b):
    """The same training state, metrics and best model, bit for bit."""
    one, other = last(a), last(b)
    for state in (one, other):
        del state["about"]  # whose settings may differ where a run may be extended
    assert_same(one, other)
    assert (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()
    assert_same(*(torch.load(out / "checkpoints/best.ckpt", weights_only=True)["vae"] for out in (a, b)))
