"""Training in several processes, each with its share of every batch: two on the CPU."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from dfcvae.build import build_objective, build_vae
from dfcvae.config import Experiment
from dfcvae.data import TrainingBatches
from dfcvae.device import check_accelerator, ending_together
from dfcvae.errors import UserError
from dfcvae.training import validate
from tests.training.runs import few_faces, last


def test_processes_share_every_step(splits):
    def rows(**options):
        batches = TrainingBatches(splits["train"], 16, seed=0, **options)
        return [batch.images for batch in islice(batches.starting_at(0), 4 * batches.micro_batches)]

    first, second = (rows(micro_batches=2, rank=rank, world_size=2) for rank in (0, 1))
    pieces = [piece for pair in zip(first, second, strict=True) for piece in pair]
    assert torch.equal(torch.cat(pieces), torch.cat(rows()))
    with pytest.raises(UserError, match=r"split into 6 equal parts .*training\.devices"):
        rows(micro_batches=2, world_size=3)


def test_more_devices_than_gpus_are_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"training\.devices: expected at most 1 \(the GPUs of this machine\), got 2"):
        check_accelerator("auto", 2)
    check_accelerator("cpu", 2)


RECEIVED = "Received (SIGTERM|a signal in another rank)"  # one may end before it prints, as the other has ended
SCRIPT = """#!{python}
import os, signal, sys, time
from dfcvae import training
from dfcvae.config import Experiment
from dfcvae.errors import PreemptedError, UserError
from dfcvae.training import train
from tests.training.runs import few_faces

rank, (fault, at) = os.environ.get("LOCAL_RANK", "0"), sys.argv[3:]

def fail(step, *_):
    if rank == at and step == 4:
        os.kill(os.getpid(), getattr(signal, fault))

def validate(*arguments):
    if fault == "slow-validation":
        time.sleep(8)  # more than the five seconds after which Lightning looks for ranks that ended
    if fault == "signal-in-validation":
        signal.raise_signal(signal.SIGTERM)
    return plainly(*arguments)

plainly, training.validate = training.validate, validate
try:
    experiment, faces = Experiment.load(sys.argv[1]), few_faces()
    run = train(experiment, sys.argv[2], data=faces, progress=False, resume="auto", on_step=fail)
    print("val/total:", run.metrics["val/total"])
except PreemptedError as error:
    print(error, file=sys.stderr)
    sys.exit(75 if rank == "0" else 0)
except UserError as error:
    sys.exit("dfcvae: " + str(error))
"""


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        return done, tmp_path / name

    return run


def rows(out):
    with (out / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_train_what_one_does_in_two_parts(start, experiment):
    """The same images, noise and batch norm statistics in each half of a step: the same weights up to rounding."""
    states, logged = {}, {}
    for name in ("devices", "micro_batches"):
        done, out = start(name, epochs=3, **{name: 2})
        assert done.returncode == 0, done.stderr[-2000:]
        assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
        states[name], logged[name] = last(out)["vae"], rows(out)
    trained = [key for key, value in states["micro_batches"].items() if value.ndim > 1]
    assert len(trained) > 5
    for key in trained:  # but for biases ahead of a batch norm, whose gradient is rounding error
        torch.testing.assert_close(states["devices"][key], states["micro_batches"][key], rtol=1e-3, atol=1e-4)
    steps = [{row["step"]: row for row in logged[name] if "train/total" in row} for name in logged]
    assert list(steps[0]) == list(steps[1]) == [9, 11]
    for step in (9, 11):
        assert steps[0][step] == pytest.approx(steps[1][step], rel=1e-3)
    plain = replace(experiment, loss=replace(experiment.loss, features=None))
    vae, objective = build_vae(plain), build_objective(plain.loss, None, few_faces()["train"].images)
    vae.load_state_dict(states["devices"])
    expected = validate(plain, vae, objective, few_faces()["val"], torch.device("cpu"))
    assert {name: logged["devices"][-1][name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_other_ranks_wait_for_the_validation_of_the_first(start):
    """A run that is validated once, at its end: both ranks return its metrics, and a signal within it stops both."""
    done, out = start("x", "signal-in-validation", epochs=1, devices=2)
    assert done.returncode == 75, done.stderr[-2000:]
    assert re.search(rf"{RECEIVED}; saved step 4 in", done.stderr)
    assert [row for row in rows(out) if "val/total" in row] == []
    done, out = start("x", "slow-validation", epochs=1, devices=2)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = re.findall(r"val/total: [-+.e\d]+", done.stdout)  # even when they share a line
    assert first == second == f"val/total: {rows(out)[-1]['val/total']}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "rank", "status", "told"),
    [
        ("SIGKILL", "1", 1, ["Rank 0 of 2 lost the connection", "resume the run"]),
        ("SIGTERM", "0", 75, [f"{RECEIVED}; saved step 5 in"]),
    ],
)
def test_when_a_process_ends_the_others_do_and_say_so(fault, rank, status, told, start):
    done, out = start("x", fault, rank, epochs=100, devices=2)
    if done.returncode == -9:  # Lightning looks every five seconds, may be the first to notice, and is not gentle
        status, told = -9, ["terminated with code"]
    assert done.returncode == status, done.stderr[-3000:]
    assert all(re.search(words, done.stderr) for words in told), done.stderr[-3000:]
    assert last(out)["step"] == (5 if fault == "SIGTERM" else 4)


def test_another_error_is_not_taken_for_a_lost_process():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), ending_together(2, 0):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


@pytest.mark.slow
def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    """That one dies while this one waits for something that never comes."""
    waits = (
        "import threading; from dfcvae import device; device.WATCH_SECONDS = 0.01\n"
        "with device.ending_together(2, 1):\n    print('waits', flush=True); threading.Event().wait()"
    )
    starts = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {waits!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()"
    )
    done = subprocess.run([sys.executable, "-c", starts], capture_output=True, text=True, timeout=600)
    assert done.stderr == "dfcvae: the process that started rank 1 has ended; rank 1 ends too.\n"
