"""Training in several processes, each with its share of every batch: two on the CPU."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from dfcvae.config import DataConfig, Experiment
from dfcvae.data import TrainingBatches
from dfcvae.errors import UserError
from dfcvae.training.environment import check_accelerator


def test_processes_share_every_step(splits):
    def rows(**options):
        return [batch.images for batch in TrainingBatches(splits["train"], 16, seed=0, **options)]

    first, second = (rows(parts=2, share=(rank, 2)) for rank in (0, 1))
    pieces = [piece for pair in zip(first, second, strict=True) for piece in pair]
    assert torch.equal(torch.cat(pieces), torch.cat(rows()))
    with pytest.raises(UserError, match=r"parted into 6 equal ones .*training\.devices"):
        rows(parts=2, share=(0, 3))


def test_more_devices_than_gpus_are_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"training\.devices is 2, but there are only 1 GPUs here"):
        check_accelerator("auto", 2)
    check_accelerator("cpu", 2)


@pytest.mark.slow
def test_two_processes_train_what_one_does_in_two_parts(experiment: Experiment, tmp_path):
    """The same images, noise and batch norm statistics in each half of a step: the same weights up to rounding."""
    data = DataConfig(size=32, train_images=64)
    weights = {}
    for name in ("devices", "parts"):
        training = replace(experiment.training, **{name: 2})
        replace(experiment, data=data, training=training).save(tmp_path / f"{name}.yaml")
        command = [sys.executable, "-c", "import sys; from dfcvae.cli import main; sys.exit(main())"]
        script = tmp_path / "dfcvae"  # what Lightning starts again
        script.write_text(f"#!{sys.executable}\n{command[2]}\n")
        command = [sys.executable, str(script), "train", str(tmp_path / f"{name}.yaml"), "--out", str(tmp_path / name)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("Run: ") == 1
        assert sorted(path.name for path in (tmp_path / name / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
        weights[name] = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    trained = [key for key in weights["parts"] if "running" not in key and "num_batches" not in key]
    assert len(trained) > 20
    for key in trained:
        torch.testing.assert_close(weights["devices"][key], weights["parts"][key], rtol=1e-3, atol=1e-4)
