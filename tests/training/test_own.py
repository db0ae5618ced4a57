"""Training on a user's own faces and with their own terms, from Python."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from dfcvae import faces, register_network, registry
from dfcvae.data import OWN
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.networks import NETWORKS
from dfcvae.run import Run
from tests.training.runs import last, run, with_training


@pytest.fixture
def plain(plain):
    return with_training(plain, epochs=1)


def first_edges(x_hat, x):
    """Mean squared difference of horizontal gradients, (N,)."""
    return (x_hat.diff(dim=3) - x.diff(dim=3)).square().flatten(1).mean(dim=1)


def test_the_same_faces_in_any_form_train_the_same_model(plain, splits, tmp_path):
    images = {name: splits[name].images[:48] for name in ("train", "val")}
    forms = {
        "tensors": images,
        "floats": {name: to_float(x) for name, x in images.items()},
        "arrays": {name: x.permute(0, 2, 3, 1).numpy() for name, x in images.items()},
        "datasets": {name: TensorDataset(x, torch.zeros(len(x))) for name, x in images.items()},
        "faces": {name: faces(x) for name, x in images.items()},
    }
    runs = {name: run(plain, tmp_path / name, data) for name, data in forms.items()}
    states = {name: last(finished.folder)["vae"] for name, finished in runs.items()}
    for state in states.values():
        assert all(torch.equal(value, states["tensors"][name]) for name, value in state.items())
    assert {finished.experiment.data.source for finished in runs.values()} == {OWN}


def test_a_single_array_is_split_by_the_seed_and_resumed_only_with_itself(plain, splits, tmp_path, capsys):
    images = splits["train"].images[:80].numpy()
    run(plain, tmp_path / "x", images)
    longer = with_training(plain, epochs=2)
    resumed = run(longer, tmp_path / "x", images, resume=True)
    assert [row["epoch"] for row in resumed.history if "val/total" in row] == [0, 1]
    assert "The data has changed" not in capsys.readouterr().err
    run(with_training(plain, epochs=3), tmp_path / "x", np.ascontiguousarray(images[::-1]), resume=True)
    assert "The data has changed" in capsys.readouterr().err


def test_a_numpy_weight_leaves_checkpoints_readable_and_a_term_may_be_infinite_at_first(plain, splits, tmp_path):
    finished = run(plain, tmp_path / "x", splits, terms={"edges": (first_edges, np.float64(0.5))})
    assert last(finished.folder)["about"]["weights"]["edges"] == 0.5
    assert finished.model.latent_dim == 8
    with pytest.raises(UserError, match="Training stopped before step 1: logarithm not finite"):
        run(plain, tmp_path / "y", splits, terms={"logarithm": (lambda a, b: first_edges(a, b).mul(0).log(), 1.0)})


def test_own_faces_are_named_whatever_the_experiment_names(plain, splits, tmp_path):
    named = replace(plain, data=replace(plain.data, source="celeba"))
    images = splits["train"].images
    assert run(named, tmp_path / "x", images).experiment.data.source == OWN
    assert run(named, tmp_path / "y", splits).experiment.data.source == "celeba"  # as `load_faces` gives them


def test_a_run_is_not_resumed_with_another_network_of_the_same_name(plain, splits, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_network("mine", NETWORKS["hou2016"])
    mine = replace(plain, model=replace(plain.model, network="mine"))
    run(mine, tmp_path / "x", splits)
    register_network("mine", NETWORKS["strided"])
    with pytest.raises(UserError, match="cannot be resumed: its vae does not fit the network mine as it is"):
        run(with_training(mine, epochs=2), tmp_path / "x", splits, resume=True)


def test_own_terms_are_logged_saved_and_needed_to_resume(plain, splits, tmp_path, capsys):
    run(plain, tmp_path / "x", splits, terms={"edges": (first_edges, 0.5)}, progress=True)
    assert "edges" in capsys.readouterr().err
    rows = Run(tmp_path / "x").history
    assert all("train/edges" in row for row in rows if "train/total" in row)
    assert all("val/edges" in row for row in rows if "val/total" in row)
    assert last(tmp_path / "x")["about"]["weights"]["edges"] == 0.5
    longer = with_training(plain, epochs=2)
    for terms in (None, {"edges": (first_edges, 0.25)}):
        with pytest.raises(UserError, match=r"cannot be resumed with other terms; its terms .*'edges': 0.5"):
            run(longer, tmp_path / "x", splits, resume=True, terms=terms)
    run(longer, tmp_path / "x", splits, resume=True, terms={"edges": (first_edges, 0.5)})
