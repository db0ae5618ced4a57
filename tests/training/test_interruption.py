"""Runs that are ended at any moment, and go on as if they had not been."""

import errno
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfcvae.cli import main
from dfcvae.errors import PreemptedError, UserError
from dfcvae.training import train
from dfcvae.training.csv_log import CSVLog, last_validation
from dfcvae.training.module import VAETraining
from tests.conftest import tiny_experiment
from tests.training.test_run import assert_same, last, with_kept_targets, with_likelihood_and_shift

STATE = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "callbacks")


@pytest.fixture(scope="module")
def plain():
    """A plain VAE: two epochs of three steps, a row of metrics for every other one."""
    experiment = tiny_experiment()
    training = replace(experiment.training, ema_decay=0.9, schedule="exponential", decay=0.5)
    return replace(experiment, loss=replace(experiment.loss, features=None, kl_warmup_steps=4), training=training)


@pytest.fixture(scope="module")
def few(splits):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("module", "run", "nonfinite"):
            patch.setattr(f"dfcvae.training.{module}.LOG_EVERY", 2)
        yield {name: faces.subset(n) for (name, faces), n in zip(splits.items(), (48, 24, 2), strict=True)}


@pytest.fixture(scope="module")
def whole(plain, few, tmp_path_factory):
    """The run that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "whole"
    run(plain, out, few)
    return out


def run(experiment, out, splits, resume="auto"):
    return train(experiment, out, splits=splits, progress=False, resume=resume)


def interrupted(experiment, out, splits):
    with pytest.raises(PreemptedError, match=r"came: the run was saved after step \d+ in .*--resume auto"):
        run(experiment, out, splits)


def ask_at(monkeypatch, step=None, validation_batch=None, number=signal.SIGTERM):
    """Send this process a signal while it computes a training step, or a batch of validation."""
    train_one, validate_one = VAETraining.training_step, VAETraining.validation_step

    def training_step(self, batch, index):
        if self.global_step == step:
            signal.raise_signal(number)
        return train_one(self, batch, index)

    def validation_step(self, batch, index):
        if index == validation_batch:
            signal.raise_signal(number)
        return validate_one(self, batch, index)

    monkeypatch.setattr(VAETraining, "training_step", training_step)
    monkeypatch.setattr(VAETraining, "validation_step", validation_step)


def assert_same_runs(a, b):
    one, other = last(a), last(b)
    for state in (one, other):
        for callback in state["callbacks"].values():  # paths, which differ
            for name in [name for name in callback if "path" in name or name in ("dirpath", "best_k_models")]:
                del callback[name]
    for key in STATE:
        assert_same(one[key], other[key], key)
    assert (a / "metrics.csv").read_text() == (b / "metrics.csv").read_text()
    best = [torch.load(out / "checkpoints/best.ckpt", weights_only=True)["state_dict"] for out in (a, b)]
    assert_same(*best)


def test_a_run_ended_within_an_epoch_and_before_validation_is_the_run_never_ended(
    plain, few, whole, tmp_path, monkeypatch
):
    """Of three in an epoch the third is followed by validation, which is then still to be done."""
    for step in (1, 2, 5):
        with monkeypatch.context() as patch:
            ask_at(patch, step, number=signal.SIGTERM if step % 2 else signal.SIGUSR1)
            interrupted(plain, tmp_path / "parts", few)
        assert last(tmp_path / "parts")["global_step"] == step + 1
    run(plain, tmp_path / "parts", few)
    assert_same_runs(whole, tmp_path / "parts")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "change"),
    [({"parts": 2, "max_steps": 7}, with_kept_targets), ({"clip_norm": 1.0}, with_likelihood_and_shift)],
)
def test_a_run_ended_in_every_step_is_the_run_never_ended(options, change, experiment, few, tmp_path, monkeypatch):
    """Seven of three steps an epoch end within one; and validation is ended too."""
    experiment = change(replace(experiment, training=replace(experiment.training, epochs=3, **options)))
    run(experiment, tmp_path / "whole", few)
    for step in range(options.get("max_steps", 9)):
        with monkeypatch.context() as patch:
            ask_at(patch, step)
            interrupted(experiment, tmp_path / "parts", few)
        if last(tmp_path / "parts")["validation_pending"]:
            with monkeypatch.context() as patch:
                ask_at(patch, validation_batch=0)
                interrupted(experiment, tmp_path / "parts", few)
    run(experiment, tmp_path / "parts", few)
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")


def test_a_run_made_longer_has_the_metrics_of_the_long_one(plain, few, whole, tmp_path):
    """Four steps of three an epoch end within the second, where they are validated, which the longer run is not."""
    run(replace(plain, training=replace(plain.training, max_steps=4)), tmp_path / "parts", few)
    run(plain, tmp_path / "parts", few, resume=True)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(last(whole)[key], last(tmp_path / "parts")[key], key)
    assert (whole / "metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()


def test_the_handlers_from_before_are_put_back(plain, few, tmp_path, monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    ask_at(monkeypatch, 0)
    interrupted(plain, tmp_path / "x", few)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


def test_ctrl_c_is_a_keyboard_interrupt(plain, few, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    ask_at(monkeypatch, 1, number=signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(plain, tmp_path / "x", few)
    finally:
        signal.signal(signal.SIGINT, before)


def test_automatic_resuming_begins_where_there_is_nothing_and_loses_nothing(plain, few, tmp_path):
    short = replace(plain, training=replace(plain.training, max_steps=1))
    checkpoints = tmp_path / "x/checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "best.ckpt").write_bytes(b"of somebody")
    (checkpoints / ".last.ckpt.123.tmp").write_bytes(b"half of a")
    (tmp_path / "x" / ".metrics.csv.123.tmp").write_bytes(b"step,")
    run(short, tmp_path / "x", few)
    names = {path.name for path in (tmp_path / "x").rglob("*")}
    assert (checkpoints / "best.ckpt.before").read_bytes() == b"of somebody"
    assert {"best.ckpt", "last.ckpt"} <= names
    assert not [name for name in names if name.startswith(".")]


def full_disk(monkeypatch, after):
    """What writes a checkpoint finds no more room, from the given one on."""
    save, saved = torch.save, []

    def cut_short(checkpoint, file):
        saved.append(checkpoint["global_step"])
        if len(saved) > after:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", cut_short)


@pytest.mark.parametrize("after", [pytest.param(0, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoints_whole(after, plain, few, whole, tmp_path, monkeypatch):
    """The best and the last of two epochs: neither, those of the first, and those and the second best are written."""
    with monkeypatch.context() as patch:
        full_disk(patch, after)
        with pytest.raises(UserError, match=r"The checkpoint of step \d could not be written to .*No space left"):
            run(plain, tmp_path / "parts", few)
    checkpoints = sorted(path.name for path in (tmp_path / "parts/checkpoints").iterdir())
    assert checkpoints == ([] if after == 0 else ["best.ckpt", "last.ckpt"])
    if after:
        assert last(tmp_path / "parts")["global_step"] == 3
    run(plain, tmp_path / "parts", few)
    assert_same_runs(whole, tmp_path / "parts")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_of_the_system_however_torch_writes(tmp_path, monkeypatch):
    """Not one that torch makes of it."""
    from dfcvae.training.callbacks import AtomicCheckpoints

    monkeypatch.setattr(Path, "open", lambda self, mode: open("/dev/full", mode))  # noqa: SIM115
    with pytest.raises(UserError, match=r"could not be written .*No space left on device"):
        AtomicCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "last.ckpt")


def test_on_the_command_line_a_signal_has_a_status_of_its_own_and_resuming_is_automatic(
    plain, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.chdir(tmp_path)
    plain.save(tmp_path / "it.yaml")
    command = ["train", "it.yaml", "--data.train_images", "32", "--out", "run", "--training.epochs", "1"]
    with monkeypatch.context() as patch:
        ask_at(patch, 0, number=signal.SIGUSR1)
        assert main([*command, "--resume", "auto"]) == 75
    assert "dfcvae: SIGUSR1 came: the run was saved after step 1 in run/checkpoints" in capsys.readouterr().err
    assert main(command) == 1
    assert "already holds a run; continue it with --resume" in capsys.readouterr().err
    assert main([*command, "--resume", "auto"]) == 0
    assert last(tmp_path / "run")["global_step"] == 2
    assert main([*command, "--resume", "sometimes"]) == 2
    assert re.search(r"resume.*sometimes", capsys.readouterr().err)


def test_a_cut_last_row_of_metrics_is_not_read(tmp_path):
    """Left by a full disk: "12" of a row of step 129."""
    file = tmp_path / "metrics.csv"
    file.write_text("step,epoch,train/total,val/total\n9,0,1.0,\n119,11,,0.5\n12")
    CSVLog(file, ["train/total", "val/total"], every=10, epoch=10, last=1000, resumed_at=120)
    assert file.read_text() == "step,epoch,train/total,val/total\n9,0,1.0,\n119,11,,0.5\n"
    file.write_text(file.read_text() + "129,12,,0.2")
    assert last_validation(file) == {"val/total": 0.5}
