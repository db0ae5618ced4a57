"""Training in several processes, each with its share of every batch: two on the CPU."""

import csv
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfcvae.config import Experiment
from dfcvae.data import Batches, Faces, TrainingBatches
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.errors import UserError
from dfcvae.seeding import Stream
from dfcvae.training.environment import check_accelerator
from dfcvae.training.processes import ending_together
from tests.training.test_run import last, module_of


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


SCRIPT = """#!{python}
import os, signal, sys
from pathlib import Path
from dfcvae.config import Experiment
from dfcvae.errors import PreemptedError, UserError
from dfcvae.parsing import load_experiment
from dfcvae.training import train
from dfcvae.training.module import VAETraining
from tests.training.test_devices import few_faces

rank, (fault, at) = os.environ.get("LOCAL_RANK", "0"), sys.argv[3:]
step = VAETraining.training_step

def training_step(self, batch, index):
    if rank == at and self.global_step == 5:
        if fault == "raise":
            raise ValueError("injected into process " + rank)
        os.kill(os.getpid(), getattr(signal, fault))
    return step(self, batch, index)

VAETraining.training_step = training_step
try:
    train(load_experiment(sys.argv[1]), sys.argv[2], splits=few_faces(), progress=False, resume="auto")
except PreemptedError as error:
    print(error, file=sys.stderr)
    sys.exit(75 if rank == "0" else 0)
except UserError as error:
    sys.exit("dfcvae: " + str(error))
"""


def few_faces():
    parts = {"train": range(0, 64), "val": range(64, 84), "test": range(84, 86)}
    return {name: Faces(*render_faces(part, size=32), ATTRIBUTES) for name, part in parts.items()}


@pytest.fixture
def start(experiment: Experiment, tmp_path):
    """Trains a plain VAE in a program that Lightning starts again for each further process; can go wrong in one."""

    def run(name, fault="none", rank="", **training):
        config = replace(experiment.training, **training)
        replace(experiment, loss=replace(experiment.loss, features=None), training=config).save(tmp_path / "it.yaml")
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(python=sys.executable))
        command = [sys.executable, str(script), str(tmp_path / "it.yaml"), str(tmp_path / name), fault, rank]
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": root}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        return done, tmp_path / name

    return run


def rows(out, column):
    with (out / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row[column]]


@pytest.mark.slow
def test_two_processes_train_what_one_does_in_two_parts(start, experiment):
    """The same images, noise and batch norm statistics in each half of a step: the same weights up to rounding."""
    weights, logged = {}, {}
    for name in ("devices", "parts"):
        done, out = start(name, epochs=3, ema_decay=0.9, **{name: 2})
        assert done.returncode == 0, done.stderr[-2000:]
        assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
        weights[name] = last(out)["state_dict"]
        logged[name] = [{k: float(v) for k, v in row.items() if v} for row in rows(out, "train/total")]
    trained = [key for key in weights["parts"] if "running" not in key and "num_batches" not in key]
    assert len(trained) > 20
    for key in trained:
        torch.testing.assert_close(weights["devices"][key], weights["parts"][key], rtol=1e-3, atol=1e-4)
    assert [row["step"] for row in logged["parts"]] == [9, 11]
    for one, other in zip(logged["devices"], logged["parts"], strict=True):
        assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.slow
def test_the_metrics_of_two_processes_are_those_of_the_model_that_is_saved(start, experiment):
    done, out = start("x", epochs=1, devices=2)
    assert done.returncode == 0, done.stderr[-2000:]
    splits = few_faces()
    module = module_of(replace(experiment, loss=replace(experiment.loss, features=None)), splits).eval()
    module.load_state_dict(last(out)["state_dict"])
    sums = dict.fromkeys(("kl", "pixel"), 0.0)
    with torch.no_grad():
        for index, batch in enumerate(Batches(splits["val"], 16)):
            means, _ = module.step(module.vae, batch, module.noise(Stream.VALIDATION_NOISE, index, len(batch.images)))
            for name in sums:
                sums[name] += float(means[name]) * len(batch.images) / len(splits["val"])
    (row,) = rows(out, "val/total")
    assert {name: float(row[f"val/{name}"]) for name in sums} == pytest.approx(sums, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rank", "status", "told"),
    [
        ("raise", "1", 1, r"injected into process 1(?s:.*)lost the connection to another one, which has ended"),
        (
            "SIGKILL",
            "1",
            1,
            r"dfcvae: Process 0 of the 2 of this run lost the connection .* go on from it with --resume",
        ),
        ("SIGTERM", "0", 75, r"SIGTERM came: the run was saved after step 6 in .*(?s:.*)Another process was asked: "),
    ],
)
def test_when_a_process_ends_the_others_do_and_say_so(fault, rank, status, told, start):
    begun = time.monotonic()
    done, out = start("x", fault, rank, epochs=100, devices=2)
    assert time.monotonic() - begun < 60
    # Lightning may be the first to notice, within five seconds, and kills the first process then
    assert done.returncode in (status, -9 if status == 1 else status), done.stderr[-3000:]
    if done.returncode == status:
        assert re.search(told, done.stderr), done.stderr[-3000:]
    else:
        assert "terminated with code" in done.stderr
    assert last(out)["global_step"] == (6 if fault == "SIGTERM" else 4)


def test_another_error_is_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), ending_together(2, 0):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    """That one dies while this one waits for something that never comes."""
    waits = (
        "import threading; from dfcvae.training import processes; processes.WATCHED_EVERY = 0.01\n"
        "with processes.ending_together(2, 1):\n    print('waits', flush=True); threading.Event().wait()"
    )
    starts = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {waits!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()"
    )
    done = subprocess.run([sys.executable, "-c", starts], capture_output=True, text=True, timeout=60)
    assert done.stderr == "dfcvae: the process that started process 1 of this run has ended, so it ends too.\n"
