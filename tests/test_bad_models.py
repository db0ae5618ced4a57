"""Broken, odd and hostile models, checkpoints, runs and arguments on the command line."""

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfcvae import cli
from tests import broken
from tests.bad_input import GIVEN, Case, cases, run
from tests.broken import ALBUM
from tests.conftest import tiny_experiment
from tests.layouts import write_images

pytestmark = pytest.mark.usefixtures("desk")
TINY = tiny_experiment().as_dict()
MODEL, EXPERIMENT = GIVEN / "model", GIVEN / "tiny.yaml"


# Models and checkpoints.


def model(damage):
    damage(broken.model(MODEL))


def described(**changes):
    return lambda folder: broken.edited_json(folder / "model.json", **changes)


def written(content):
    return lambda folder: (folder / "model.json").write_bytes(content)


def vae(latent_dim, size=32):
    return described(vae={"network": "hou2016", "size": size, "channels": 3, "latent_dim": latent_dim})


DAMAGED = r"model.safetensors is corrupted: checksum mismatch with model.json; export the model again"
UNDESCRIBED = "needs the description that `dfcvae export` writes beside it, but model.json is missing"
UNFIT = "do not fit the VAE they describe"
MODELS = {
    "with a flipped bit in a tensor": (1, DAMAGED, lambda folder: broken.flipped(folder / "model.safetensors", -5)),
    "cut short": (1, DAMAGED, lambda folder: broken.cut(folder / "model.safetensors")),
    "without its description": (1, UNDESCRIBED, lambda folder: (folder / "model.json").unlink()),
    "described by a list": (1, UNDESCRIBED, written(b"[]")),
    "described by no text": (1, UNDESCRIBED, written(b"\xff\xfe\xfd")),
    "nested without end": (1, UNDESCRIBED, written(b"[" * 99_999)),
    "of nothing": (1, f"{UNFIT}|needs the description", described(vae={})),
    "of a list": (1, "needs the description|do not fit", described(vae=[])),
    "of another size": (1, UNFIT, vae(8, size=64)),
    "of more latent dimensions than fit": (1, "do not fit|memory", vae(10**15)),
    "of latent dimensions that are a word": (1, "needs the description", vae("8")),
}
OTHER = r"The saved experiment does not fit this version of dfcvae \("
EXPERIMENTS = {
    "incomplete": (1, OTHER, described(config={"data": {}})),
    "of another version": (1, OTHER, described(config=TINY | {"training": TINY["training"] | {"momentum": 1}})),
}


def checkpoint(make):
    (GIVEN / "run" / "checkpoints").mkdir(parents=True)
    make(GIVEN / "run" / "checkpoints" / "best.ckpt")


def replaced(**changes):
    return lambda path: broken.checkpoint(path, **changes)


def pickled(content):
    return lambda path: broken.pickled(path, content)


NONE = r".ckpt is not a checkpoint of this version of dfcvae, or it is corrupted"
CHECKPOINTS = {
    "whole": (0, "x.png", broken.checkpoint),
    "malicious": (1, NONE, pickled(broken.Malicious())),
    "with malice among its values": (1, NONE, replaced(more=broken.Malicious())),
    "cut short": (1, NONE, lambda path: broken.cut(broken.checkpoint(path))),
    "with a flipped bit in a tensor": (1, NONE, lambda path: broken.flipped(broken.checkpoint(path), 0.5)),
    "empty": (1, NONE, lambda path: path.write_bytes(b"")),
    "of another program": (1, NONE, pickled({"state_dict": {"a": torch.ones(1)}})),
    "without its configuration": (1, NONE, replaced(about={})),
    "of a list": (1, NONE, pickled([1, 2, 3])),
    "whose weights are words": (1, NONE, replaced(vae={"a": "b"})),
    "without weights": (1, UNFIT, replaced(vae={})),
}


def resumed(make):
    broken.experiment(EXPERIMENT, crop="full")
    make(GIVEN / "run" / "checkpoints" / "last.ckpt")


OLD = {"vae": broken.vae().config, "config": {"name": "old", "loss": {"kld_weight": 1}}}
RESUMED = {
    "of an earlier version": (1, OTHER, replaced(about=OLD)),
    "damaged": (1, NONE, lambda path: broken.flipped(broken.checkpoint(path), 0.5)),
    "of another experiment": (1, "cannot be resumed with .*: data.crop was 'auto'", broken.checkpoint),
}


def bare():
    broken.model(MODEL, {})


def picture():
    broken.vectors(broken.model(MODEL))
    (GIVEN / "a.png").write_bytes(broken.picture())


def without_end():
    broken.model(MODEL)
    Path("endless.png").symlink_to("/dev/zero")


RECONSTRUCT = "reconstruct given/model --out x.png"
RECONSTRUCT_ITSELF = "reconstruct given/model given/a.png --out given/a.png"
EDIT_ITSELF = "edit given/model given/a.png Smiling=1 --out ./given/a.png"
OVERWRITTEN = "given/a.png would overwrite given/a.png, which is one of the images to read; choose another"
NO_END = r"endless.png is not a readable image \(not a regular file\)"
FILES = {
    **cases("model", "sample given/model -n 2 --out x.png", model, MODELS),
    **cases("model with an experiment", RECONSTRUCT, model, EXPERIMENTS),
    "model without one": Case(1, "does not say which faces it was trained on.*--source", RECONSTRUCT, bare),
    "model without one, source named": Case(0, "x.png", f"{RECONSTRUCT} --source synthetic", bare),
    **cases("checkpoint", "sample given/run -n 2 --out x.png", checkpoint, CHECKPOINTS),
    **cases("resumed checkpoint", f"train {EXPERIMENT} --out given/run --resume", resumed, RESUMED),
    "image to be overwritten by its own reconstruction": Case(1, OVERWRITTEN, RECONSTRUCT_ITSELF, picture),
    "image to be overwritten by its own edit": Case(1, OVERWRITTEN, EDIT_ITSELF, picture),
    "image file without an end": Case(1, NO_END, "reconstruct given/model endless.png", without_end),
}


# What is kept beside a model, judges, and arguments of the commands that use them.

VECTORS, PRIOR = "attributes.safetensors", "prior-gaussian.safetensors"


def kept(file, damage):
    folder = broken.model(MODEL)
    broken.vectors(folder)
    broken.prior(folder)
    damage(folder / "latent" / file)


def flipped_in_name(path):
    broken.flipped(path, path.read_bytes().index(b"Smiling"))


def described_by_list(path):
    broken.stored_by_hand(path, {"vectors": torch.ones(3, 8)}, [])


NO_VECTORS = "does not contain attribute vectors, or is corrupted .*delete it"
NO_PRIOR = "does not contain a prior, or is corrupted .*delete it"
KEPT_VECTORS = {
    "cut short": (1, NO_VECTORS, broken.cut),
    "with a flipped bit": (1, NO_VECTORS, lambda path: broken.flipped(path, -3)),
    "with a flipped bit in a name": (1, NO_VECTORS, flipped_in_name),
    "that are a pickle": (1, NO_VECTORS, pickled(broken.Malicious())),
    "described by a list": (1, NO_VECTORS, described_by_list),
}
KEPT_PRIORS = {
    "cut short": (1, NO_PRIOR, broken.cut),
    "with a flipped bit": (1, NO_PRIOR, lambda path: broken.flipped(path, -3)),
}


def judge(damage):
    broken.model(MODEL)
    damage(broken.judge(GIVEN / "judge.safetensors"))


EVALUATE = "evaluate given/model --judge given/judge.safetensors"
NO_JUDGE = "judge.safetensors is not an attribute network"
JUDGES = {
    "cut short": (1, NO_JUDGE, broken.cut),
    "with a flipped bit": (1, f"{NO_JUDGE}.*checksum mismatch", lambda path: broken.flipped(path, -9)),
    "without its attributes": (1, NO_JUDGE, lambda path: save_file(load_file(path), path)),
    "without its network": (1, NO_JUDGE, lambda path: save_file(load_file(path), path, {"attributes": "[]"})),
    "of words": (1, NO_JUDGE, lambda path: save_file({}, path, {"attributes": "x", "arch": "y", "width": "z"})),
    "that is gone": (1, NO_JUDGE, lambda path: path.unlink()),
}


def unlabelled():
    judge(lambda path: None)
    write_images(GIVEN / "faces", ALBUM)


EDITS = {
    "Smiling=": "Expected an edit such as Smiling=.1.5, or Smiling=-2:2 for a range, got 'Smiling='",
    "=1": "Expected an edit such as",
    "Smiling=1:2:3": "Expected an edit such as",
    "Smiling=nan": "Expected an edit such as",
    f"Smiling={'9' * 400}": "Expected a strength from -100 to 100, got",
    "x" * 5000: "File name too long|no image|Name an edit",
}
ARGUMENTS = {
    "traverse given/model --reach 1e30": (2, "reach: expected a number from -100 to 100, got 1e.30"),
    "sample given/model --temperature nan": (2, ".temperature.: Expected a .*float.*Got value: nan"),
    f"sample given/model -n {10**30}": (2, "count: expected a positive integer up to 1,000,000,000, got 10"),
    f"sample given/model --seed {10**30} -n 2": (0, "samples.png"),
    "sample 'given/model\0' -n 2": (1, "No model at"),
    "data info 'given/model\0'": (1, "There is no"),
    "evaluate given/model --out given": (1, "given is a folder; name a file with --out"),
    "train given/model": (2, "given/model"),
}
OTHERS = {
    **cases("vectors", "edit given/model Smiling=1 -n 2 --out x.png", partial(kept, VECTORS), KEPT_VECTORS),
    **cases("prior", "sample given/model -n 2 --prior gaussian --out x.png", partial(kept, PRIOR), KEPT_PRIORS),
    **cases("judge", EVALUATE, judge, JUDGES),
    "judge of faces without attributes": Case(0, "attribute_agreement", f"{EVALUATE} --source given/faces", unlabelled),
    **{f"edit {words[:20]}": Case(1, says, f"edit given/model {words}", picture) for words, says in EDITS.items()},
    **{
        f"argument {line[:44]!r}": Case(status, says, line, partial(broken.model, MODEL))
        for line, (status, says) in ARGUMENTS.items()
    },
}
CASES = FILES | OTHERS


@pytest.mark.parametrize("name", CASES)
def test_bad_models(name, capsys):
    run(CASES[name], capsys)


# Runs that were trained for a step.


def last_is_best(run):
    shutil.copy(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt")


STEPS = "train plain.yaml --out run --data.source given/faces --training.max_steps {}"
METRICS, COST = "metrics.csv is missing or corrupted", "cost.json is corrupted"
RUNS = {
    "whose last checkpoint is its best one": (last_is_best, "last.ckpt holds a model but no training state to resume"),
    "with metrics of no text": (lambda run: (run / "metrics.csv").write_bytes(b"\xff\0"), METRICS),
    "with other metrics": (lambda run: (run / "metrics.csv").write_text("a,b\n1,2\n"), METRICS),
    "with a cost of no text": (lambda run: (run / "cost.json").write_bytes(b"\xff["), COST),
    "with a cost that is a list": (lambda run: (run / "cost.json").write_text("[]"), COST),
}


def command(line):
    return cli.main(line.split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an experiment, faces, their cache and a run of one step."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DFCVAE_CACHE", str(folder / "cache"))
        experiment = tiny_experiment()
        experiment.loss.features = None
        experiment.save(Path("plain.yaml"))
        write_images(GIVEN / "faces", ALBUM)
        assert command(STEPS.format(1)) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fault", RUNS)
def test_a_damaged_run_is_not_resumed(fault, trained, tmp_path, capsys):
    damage, says = RUNS[fault]
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "run")
    before = broken.tree_of(tmp_path / "run") | {"config.yaml": b""}  # which says how long the run should be
    assert command(f"{STEPS.format(2)} --resume") == 1
    assert re.search(f"^dfcvae: .*{says}", capsys.readouterr().err, re.MULTILINE)
    assert broken.tree_of(tmp_path / "run") | {"config.yaml": b""} == before


@pytest.mark.slow
def test_data_that_changed_since_training_is_told(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    changed = "The data has changed since training"
    assert command("evaluate run") == command(f"{STEPS.format(2)} --resume") == 0
    assert changed not in capsys.readouterr().err
    (GIVEN / "faces" / "000003.jpg").write_bytes(ALBUM.jpegs[7])
    for line in ("evaluate run", "train plain.yaml --out run --data.source given/faces --training.epochs 3 --resume"):
        assert command(line) == 0
        assert changed in capsys.readouterr().err
