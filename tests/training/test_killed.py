"""kill -9, twenty times in one run: nothing is lost but the time since the last checkpoint, and the numbers stay."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfcvae.config import Experiment
from dfcvae.data import Faces
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.training import train
from dfcvae.training.module import VAETraining
from dfcvae.vae import load_checkpoint

KILLS = 20
EPOCHS = 14
SHARES = (0.0, 0.3, 0.9, 1.0)  # of a checkpoint that is written when the process dies


def faces_and_experiment():
    from tests.conftest import tiny_experiment

    parts = {"train": range(0, 48), "val": range(48, 56), "test": range(56, 58)}
    splits = {name: Faces(*render_faces(part, size=32), ATTRIBUTES) for name, part in parts.items()}
    plain: Experiment = tiny_experiment()
    training = replace(plain.training, epochs=EPOCHS, ema_decay=0.9, picture_epochs=EPOCHS)
    return splits, replace(plain, loss=replace(plain.loss, features=None), training=training)


def session(out: Path, steps: int, share: float | None, pipe: int | None) -> None:
    """Train, and say so through a pipe after some steps; or die by itself within the next checkpoint after them."""
    splits, experiment = faces_and_experiment()
    train_one, save, taken = VAETraining.training_step, torch.save, [0]

    def training_step(self, batch, index):
        taken[0] += 1
        if taken[0] == steps and pipe is not None:
            os.write(pipe, b"x")
        return train_one(self, batch, index)

    def dying(checkpoint, file):
        whole = io.BytesIO()
        save(checkpoint, whole)
        file.write(whole.getvalue()[: int(share * whole.tell())])
        if taken[0] >= steps:
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        file.seek(0)
        file.write(whole.getvalue())

    VAETraining.training_step = training_step
    if share is not None:
        torch.save = dying
    train(experiment, out, splits=splits, progress=False, resume="auto")


def forked(*arguments) -> int:
    """A copy of this process, which has imported everything, that has a session."""
    child = os.fork()
    if child == 0:
        try:
            session(*arguments)
        except BaseException as error:
            print(f"a session ended with {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def main(folder: Path) -> None:
    """A run never disturbed; the same one killed; what was found after every kill, as JSON."""
    torch.set_num_threads(1)
    chance, found, out = random.Random(0), [], folder / "killed"
    os.waitpid(forked(folder / "whole", 0, None, None), 0)
    for kill in range(KILLS):
        steps, within = chance.randrange(6), kill % 2
        told, tell = os.pipe()
        child = forked(out, steps, chance.choice(SHARES) if within else None, tell)
        os.close(tell)
        if not within:
            if steps:
                os.read(told, 1)
            time.sleep(chance.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
        os.close(told)
        status = os.waitpid(child, 0)[1]
        last, cut = out / "checkpoints" / "last.ckpt", list(out.glob("**/.*.tmp"))
        at = load_checkpoint(last)["global_step"] if last.is_file() else 0
        found.append({"signal": os.WTERMSIG(status), "step": at, "cut": len(cut)})
    ended = os.waitpid(forked(out, 0, None, None), 0)[1]
    print(json.dumps({"kills": found, "ended": ended}))


@pytest.mark.slow
def test_a_run_killed_twenty_times_is_the_run_never_killed(tmp_path):
    code = f"from pathlib import Path; from tests.training.test_killed import main; main(Path({str(tmp_path)!r}))"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert [kill["signal"] for kill in told["kills"]] == [signal.SIGKILL] * KILLS, done.stderr[-3000:]
    assert told["ended"] == 0, done.stderr[-3000:]
    steps = [kill["step"] for kill in told["kills"]]
    assert steps == sorted(steps)
    assert 0 < steps[-1] < 3 * EPOCHS
    assert sum(kill["cut"] for kill in told["kills"]) >= KILLS // 2  # checkpoints that were being written
    from tests.training.test_interruption import assert_same_runs

    assert_same_runs(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("**/.*.tmp"))
