"""Runs that are stopped at any moment, and resumed as if they had not been."""

import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfcvae import training
from dfcvae.checkpoint import load_checkpoint, save_checkpoint
from dfcvae.cli import main
from dfcvae.errors import PreemptedError, UserError
from dfcvae.metrics import MetricsLog, last_validation
from dfcvae.training import train
from tests.conftest import tiny_experiment
from tests.training.runs import (
    assert_same_runs,
    few_faces,
    last,
    run,
    with_features,
    with_likelihood_and_shift,
    with_loss,
    with_training,
)


@pytest.fixture(scope="module")
def plain():
    """A plain VAE: two epochs of three steps, a row of metrics for every other one."""
    experiment = with_training(tiny_experiment(), ema_decay=0.9, schedule="exponential", decay=0.5)
    return with_loss(experiment, features=None, kl_warmup_steps=4)


@pytest.fixture(scope="module")
def few(splits):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("run", "metrics"):
            patch.setattr(f"dfcvae.{module}.LOG_EVERY", 2)
        yield {name: faces.subset(n) for (name, faces), n in zip(splits.items(), (48, 24, 2), strict=True)}


@pytest.fixture(scope="module")
def whole(plain, few, tmp_path_factory):
    """The run that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "whole"
    run(plain, out, few)
    return out


def interrupt(experiment, out, splits, step, number=signal.SIGTERM):
    """Send this process a signal after a step, whose handler is the previous one afterwards."""
    before = signal.getsignal(number)

    def send(at, *_):
        if at == step:
            signal.raise_signal(number)

    with pytest.raises(PreemptedError, match=r"Received SIG\w+; saved step \d+ in .*--resume auto"):
        run(experiment, out, splits, resume="auto", on_step=send)
    assert last(out)["step"] == step + 1
    assert signal.getsignal(number) == before


def interrupt_validation(experiment, out, splits):
    validate = training.validate

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return validate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "validate", interrupted)
        with pytest.raises(PreemptedError):
            run(experiment, out, splits, resume="auto")


def test_a_run_stopped_within_an_epoch_and_before_validation_is_the_run_never_stopped(plain, few, whole, tmp_path):
    """Of three steps in an epoch the third is followed by validation, which is then still to be done."""
    for step, number in ((1, signal.SIGTERM), (2, signal.SIGUSR1), (4, signal.SIGTERM)):
        if step == 2:
            interrupt_validation(plain, tmp_path / "parts", few)
        else:
            interrupt(plain, tmp_path / "parts", few, step, number)
    run(plain, tmp_path / "parts", few, resume="auto")
    assert_same_runs(whole, tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"micro_batches": 2, "max_steps": 7}, lambda e: with_features(e, cache_targets="memory")),
        ({"clip_norm": 1.0}, with_likelihood_and_shift),
    ],
)
def test_a_run_stopped_in_every_step_is_the_run_never_stopped(options, change, experiment, few, tmp_path):
    """Seven of three steps an epoch end within one; and validation is stopped too."""
    experiment = with_training(change(experiment), epochs=3, **options)
    run(experiment, tmp_path / "whole", few)
    for step in range(options.get("max_steps", 9)):
        if step + 1 < options.get("max_steps", 9) and (step + 1) % 3:
            interrupt(experiment, tmp_path / "parts", few, step)
        else:
            interrupt_validation(experiment, tmp_path / "parts", few)
    run(experiment, tmp_path / "parts", few, resume="auto")
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_run_made_longer_is_the_long_one(plain, few, whole, tmp_path):
    """Four steps of three an epoch end within the second, where they are validated, which the longer run is not."""
    run(with_training(plain, max_steps=4), tmp_path / "parts", few)
    run(plain, tmp_path / "parts", few, resume=True)
    assert_same_runs(whole, tmp_path / "parts")


def test_the_best_checkpoint_stays_the_best_in_a_run_that_was_moved_and_lost_its_metrics(plain, few, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "x")
    (tmp_path / "x" / "metrics.csv").unlink()
    file, best = tmp_path / "x/checkpoints/best.ckpt", last(whole)["best"]
    before = file.read_bytes()
    result = run(with_training(plain, epochs=3), tmp_path / "x", few, resume=True)
    assert last(tmp_path / "x")["best"] == min(best, result.metrics["val/total"])
    assert (file.read_bytes() == before) == (result.metrics["val/total"] >= best)


def test_resuming_a_finished_run_changes_nothing(plain, few, whole):
    files = [whole / "checkpoints/last.ckpt", whole / "metrics.csv"]
    before = [file.read_bytes() for file in files]
    run(plain, whole, few, resume=True)
    assert before == [file.read_bytes() for file in files]


def test_resuming_another_experiment_is_a_sentence(experiment, plain, few, whole, tmp_path):
    with pytest.raises(UserError, match=r"cannot be resumed .*: loss.alpha was 0.004 and is now 1"):
        run(with_loss(plain, alpha=1.0), whole, few, resume=True)
    with_features_too = with_loss(plain, features=experiment.loss.features)
    with pytest.raises(UserError, match=r"loss.features.arch was '-' and is now 'vgg11_bn'"):
        run(with_features_too, whole, few, resume=True)
    with pytest.raises(UserError, match=r"Nothing to resume in .*Start the run without resume"):
        run(plain, tmp_path / "none", few, resume=True)
    with pytest.raises(UserError, match=r"already holds a run. Resume it .--resume, or resume=True in Python"):
        run(plain, whole, few)


def test_a_data_set_may_move_but_not_become_another(plain, few, tmp_path):
    here, there, other = (replace(plain, data=replace(plain.data, source=f"/{name}")) for name in ("a/x", "b/x", "a/y"))
    run(with_training(here, max_steps=1), tmp_path, few)
    run(with_training(there, max_steps=2), tmp_path, few, resume=True)
    assert last(tmp_path)["step"] == 2
    with pytest.raises(UserError, match=r"data.source was 'x' and is now 'y'"):
        run(with_training(other, max_steps=2), tmp_path, few, resume=True)


def test_automatic_resuming_starts_where_there_is_nothing_and_loses_nothing(plain, few, tmp_path):
    checkpoints = tmp_path / "x/checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "best.ckpt").write_bytes(b"of somebody")
    (checkpoints / ".last.ckpt.123.tmp").write_bytes(b"half of a")
    (tmp_path / "x" / ".metrics.csv.123.tmp").write_bytes(b"step,")
    run(with_training(plain, max_steps=1), tmp_path / "x", few, resume="auto")
    names = {path.name for path in (tmp_path / "x").rglob("*")}
    assert (checkpoints / "best.ckpt.before").read_bytes() == b"of somebody"
    assert {"best.ckpt", "last.ckpt"} <= names
    assert not [name for name in names if name.startswith(".")]


def full_disk(monkeypatch, after):
    """No more space left for checkpoints, from the given one on."""
    save, saved = torch.save, []

    def cut_short(checkpoint, file):
        saved.append(checkpoint["step"])
        if len(saved) > after:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", cut_short)


@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoints_intact(after, plain, few, whole, tmp_path, monkeypatch):
    """The best and the last of two epochs: neither, and those of the first are written."""
    with monkeypatch.context() as patch:
        full_disk(patch, after)
        with pytest.raises(UserError, match=r"Could not write the checkpoint of step \d to .*No space left"):
            run(plain, tmp_path / "parts", few)
    checkpoints = sorted(path.name for path in (tmp_path / "parts/checkpoints").iterdir())
    assert checkpoints == ([] if after == 0 else ["best.ckpt", "last.ckpt"])
    if after:
        assert last(tmp_path / "parts")["step"] == 3
    run(plain, tmp_path / "parts", few, resume="auto")
    assert_same_runs(whole, tmp_path / "parts")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_reported_however_torch_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", lambda self, mode: open("/dev/full", mode))  # noqa: SIM115
    with pytest.raises(UserError, match=r"Could not write .*No space left on device"):
        save_checkpoint(tmp_path / "last.ckpt", {"weights": torch.zeros(100_000)})


def test_on_the_command_line_a_signal_has_its_own_exit_status_and_resuming_is_automatic(
    plain, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.chdir(tmp_path)
    plain.save(tmp_path / "it.yaml")
    command = ["train", "it.yaml", "--data.train_images", "32", "--out", "run", "--training.epochs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "shift_of", lambda *_: signal.raise_signal(signal.SIGUSR1) or (0, 0))
        assert main([*command, "--resume", "auto"]) == 75
    assert "dfcvae: Received SIGUSR1; saved step 1 in run/checkpoints" in capsys.readouterr().err
    assert main(command) == 1
    assert "already holds a run. Resume it (--resume, or resume=True in Python" in capsys.readouterr().err
    assert main([*command, "--resume", "auto"]) == 0
    assert last(tmp_path / "run")["step"] == 2


def test_a_cut_last_row_of_metrics_is_not_read(tmp_path, experiment):
    """Left by a full disk: "12" of a row of step 129."""
    file = tmp_path / "metrics.csv"
    experiment = with_training(with_loss(experiment, features=None), epochs=100)
    MetricsLog(tmp_path, experiment, ["kl"], steps_per_epoch=10)
    header = file.read_text()
    assert header == "step,epoch,train/kl,train/total,val/kl,val/total,val/active_units,lr\n"
    file.write_text(header + "9,0,1,1.0,,,,\n119,11,,,1,0.5,8,\n12")
    log = MetricsLog(tmp_path, experiment, ["kl"], steps_per_epoch=10, resumed_at=120)
    assert file.read_text() == header + "9,0,1,1.0,,,,\n119,11,,,1,0.5,8,\n"
    assert log.validated == {120}
    file.write_text(file.read_text() + "129,12,,,1,0.2")
    assert last_validation(tmp_path) == {"val/kl": 1.0, "val/total": 0.5, "val/active_units": 8.0}


FRACTIONS = (0.0, 0.3, 0.9, 1.0)  # of a checkpoint that is written when the process dies


def killed_session(out: Path, kills: int, steps: int, fraction: float | None) -> None:
    """Train, and die after some steps, or within the next checkpoint after them; never, with -1 steps."""
    splits = few_faces(48, 8)
    # a session with at most 5 steps before it dies ends at most two epochs of three steps
    experiment = with_training(tiny_experiment(), epochs=2 * kills + 2, ema_decay=0.9, picture_epochs=2 * kills + 2)
    save, taken = torch.save, [0]

    def dying(checkpoint, file):
        content = io.BytesIO()
        save(checkpoint, content)
        if fraction is not None and 0 <= steps <= taken[0]:
            file.write(content.getvalue()[: int(fraction * content.tell())])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        file.write(content.getvalue())

    def count(*_):
        taken[0] += 1
        if fraction is None and taken[0] == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = dying
    if fraction is None and steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    train(with_loss(experiment, features=None), out, data=splits, progress=False, resume="auto", on_step=count)


def forked(*arguments) -> int:
    """The status of a copy of this process, which has imported everything, that runs a session."""
    child = os.fork()
    if child == 0:
        try:
            killed_session(*arguments)
        except BaseException as error:
            print(f"a session ended with {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kill_many_times(folder: Path, kills: int) -> None:
    """A run never disturbed; the same one killed; what was found after every kill, as JSON."""
    torch.set_num_threads(1)
    chance, found, out = random.Random(0), [], folder / "killed"
    forked(folder / "whole", kills, -1, None)
    for kill in range(kills):
        status = forked(out, kills, chance.randrange(6), chance.choice(FRACTIONS) if kill % 2 else None)
        checkpoint, cut = out / "checkpoints" / "last.ckpt", list(out.glob("**/.*.tmp"))
        step = load_checkpoint(checkpoint)["step"] if checkpoint.is_file() else 0
        found.append({"signal": os.WTERMSIG(status), "step": step, "cut": len(cut)})
    print(json.dumps({"kills": found, "ended": forked(out, kills, -1, None)}))


@pytest.mark.parametrize(
    "kills", [pytest.param(4, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.nightly)]
)
def test_a_run_killed_many_times_is_the_run_never_killed(kills, tmp_path):
    code = f"from tests.training.test_resume import *; kill_many_times(Path({str(tmp_path)!r}), {kills})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=3600,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert [kill["signal"] for kill in told["kills"]] == [signal.SIGKILL] * kills, done.stderr[-3000:]
    assert told["ended"] == 0, done.stderr[-3000:]
    steps = [kill["step"] for kill in told["kills"]]
    assert steps == sorted(steps)
    assert 0 < steps[-1] < 3 * (2 * kills + 2)
    assert sum(kill["cut"] for kill in told["kills"]) >= kills // 4  # checkpoints that were being written
    assert_same_runs(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("**/.*.tmp"))
