"""The same seed, twice: the same run, bit for bit."""

import json
from dataclasses import replace

import pytest
import torch

from dfcvae.training import train
from dfcvae.training.determinism import WORKSPACE, determinism
from tests.training.test_interruption import assert_same_runs
from tests.training.test_run import last, with_likelihood_and_shift


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_on_any_number_of_gathering_threads(experiment, splits, tmp_path, monkeypatch):
    experiment = with_likelihood_and_shift(experiment)
    experiment = replace(experiment, training=replace(experiment.training, deterministic=True))
    for threads in (1, 2, 5):
        monkeypatch.setattr("dfcvae.data.batches.AHEAD", threads)
        train(experiment, tmp_path / str(threads), splits=splits, progress=False)
    assert_same_runs(tmp_path / "1", tmp_path / "2")
    assert_same_runs(tmp_path / "1", tmp_path / "5")
    other = replace(experiment, training=replace(experiment.training, seed=1))
    train(other, tmp_path / "other", splits=splits, progress=False)
    weights = [last(tmp_path / name)["state_dict"]["vae.encoder.mu.weight"] for name in ("1", "other")]
    assert not torch.equal(*weights)


def test_the_flags_hold_within_the_run_and_are_written_down(experiment, splits, tmp_path, monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    plain = replace(experiment, loss=replace(experiment.loss, features=None))
    training = replace(plain.training, deterministic=True, max_steps=1)
    train(replace(plain, training=training), tmp_path / "x", splits=splits, progress=False)
    about = json.loads((tmp_path / "x/environment.json").read_text())
    assert about["deterministic"] is True
    assert about["cudnn"] | {"deterministic": True, "benchmark": False} == about["cudnn"]
    assert about["variables"][WORKSPACE] == ":4096:8"
    assert f"{torch.get_num_threads()} threads" in about["machine"]
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


def test_an_operation_that_has_no_deterministic_way_is_an_error(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)

    def put_twice():
        return torch.zeros(2).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    put_twice()
    with pytest.raises(RuntimeError, match="does not have a deterministic implementation"), determinism(True):
        put_twice()
    with determinism(False):
        put_twice()
