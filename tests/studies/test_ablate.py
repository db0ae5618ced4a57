"""A tiny study from end to end: done, done again, failing, killed and started again, and on Ray."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import pytest
import torch

from dfcvae.ablate import ablate, comparable, do_run, prepare, study_report, train_once, unfinished
from dfcvae.attribute_network import AttributeNetwork
from dfcvae.data import load_faces
from dfcvae.errors import UserError
from dfcvae.metrics import read_cost
from dfcvae.study import read_study
from tests.layouts import official_folder, small_album

BASE = """
name: base
data: {{source: {source}, size: 32}}
model: {{latent_dim: 4}}
loss:
  pixel_weight: 0.5
  features: {{preset: dfc, weights: random, arch: vgg11_bn, layers: [relu1_1], layer_weights: 0.5}}
training: {{epochs: {epochs}, batch_size: 8}}
"""
STUDY = """
base: base.yaml
seeds: 2
variations:
  one: {}
  two: {loss.features.layers: [relu1_1, relu2_1], loss.features.layer_weights: 0.25}
  none: {loss.features: null, loss.pixel_weight: 1.0}
"""
NAMES = [f"{name}-{seed}" for seed in (0, 1) for name in ("one", "two", "none")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a study of a few faces, and a judge."""
    folder = tmp_path_factory.mktemp("study")
    source = official_folder(folder / "faces", small_album())
    for name, epochs in (("base", 1), ("long", 20)):
        (folder / f"{name}.yaml").write_text(BASE.format(source=source, epochs=epochs))
    (folder / "study.yaml").write_text(STUDY)
    (folder / "longer.yaml").write_text(STUDY.replace("base.yaml", "long.yaml"))
    AttributeNetwork("vgg11_bn", 1 / 16, small_album().names).save(folder / "judge.safetensors")
    return folder


def study_in(desk, out, seeds=None, file="study.yaml"):
    return replace(read_study(desk / file, seeds=seeds), out=out, judge=desk / "judge.safetensors")


def started(desk, out, seeds=None):
    """The study, in this process; the names of the runs that it did."""
    before = {path: path.stat().st_mtime_ns for path in (out / "done").glob("*.json")}
    ablate(study_in(desk, out, seeds), workers=1)
    after = sorted((out / "done").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [path.stem for path in after if before.get(path) != path.stat().st_mtime_ns]


def rows(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(desk):
    """The folder of a study done in this process without disturbance."""
    assert started(desk, desk / "finished") == NAMES
    return desk / "finished"


@pytest.mark.slow
def test_everything_is_there_and_the_table_is_that_of_the_runs(finished):
    assert [f"{row['variant']}-{row['seed']}" for row in rows(finished)] == NAMES
    text = (finished / "report.md").read_text()
    for heading in ("Ranking", "Measures", "Differences from one", "Reconstructions", "Cost"):
        assert f"## {heading}" in text
    assert (finished / "report.html").read_text().count("<img") == 4
    assert {read_cost(finished / "runs" / name)["images"] for name in NAMES} == {16}  # equal budget
    assert all((finished / "runs" / name / "latent/prior-gmm.safetensors").is_file() for name in NAMES)
    assert json.loads((finished / "metrics.json").read_text()).keys() == set(NAMES)
    agreement = {row["variant"]: [] for row in rows(finished)}
    for row in rows(finished):
        agreement[row["variant"]].append(float(row["attribute_agreement"]))
    line = next(line for line in text.splitlines() if line.startswith("| judge: agreement"))
    for cell, values in zip(line.split(" | ")[1:], agreement.values(), strict=True):
        assert cell.replace("*", "").startswith(f"{fmean(values):.4g} ±")
    order = sorted(agreement, key=lambda name: -fmean(agreement[name]))
    assert f"Best first, by judge: agreement ↑: {', '.join(order)}." in text


@pytest.mark.slow
def test_again_nothing_is_repeated_and_more_seeds_are_added(finished, desk, tmp_path):
    shutil.copytree(finished, tmp_path / "again")
    before = rows(finished)
    assert started(desk, tmp_path / "again") == []
    assert rows(tmp_path / "again") == before
    (tmp_path / "again" / "done" / "two-1.json").unlink()  # stopped between training and the end
    assert started(desk, tmp_path / "again", seeds=3) == ["two-1", "one-2", "two-2", "none-2"]
    assert [row for row in rows(tmp_path / "again") if row["seed"] != "2"] == before


@pytest.mark.slow
def test_a_failure_is_reported_and_stops_nothing(finished, desk, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "x")
    (tmp_path / "x" / "done" / "none-1.json").unlink()
    (tmp_path / "x" / "runs" / "none-1" / "checkpoints" / "last.ckpt").write_text("corrupted")
    assert started(desk, tmp_path / "x") == []
    assert "none-1: FAILED" in capsys.readouterr().out
    text = (tmp_path / "x" / "report.md").read_text()
    assert "## Failed runs" in text
    assert "last.ckpt is not a checkpoint of this version of dfcvae" in text
    assert "3 variants, 1 seed;" in text  # what all variants have
    assert "±" not in text
    assert [f"{row['variant']}-{row['seed']}" for row in rows(tmp_path / "x")] == NAMES[:-1]  # what there is


def test_a_variant_that_always_fails_is_left_out_and_the_others_are_compared_in_their_common_seeds(desk):
    study = read_study(desk / "study.yaml", seeds=3)
    left, seeds = comparable(study, {"one-0": "x", "one-1": "x", "one-2": "x", "two-1": "y"})
    assert list(left.variants) == ["two", "none"]
    assert seeds == [0, 2]
    assert comparable(study, {}) == (study, [0, 1, 2])
    with pytest.raises(UserError, match="No two variants"):
        comparable(study, {"one-0": "x", "two-1": "x", "none-2": "x"})


@pytest.mark.slow
def test_what_is_finished_is_reported_without_training(finished, desk, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "x")
    (tmp_path / "x" / "done" / "two-1.json").unlink()
    monkeypatch.setattr("dfcvae.ablate.train", None)
    study_report(prepare(study_in(desk, tmp_path / "x")), {})
    assert [f"{row['variant']}-{row['seed']}" for row in rows(tmp_path / "x")] == [n for n in NAMES if n != "two-1"]
    assert '"two-1": "not finished with the settings of the study"' in (tmp_path / "x" / "report.md").read_text()


def test_a_wrong_judge_is_reported_before_anything_is_trained(desk, tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.ablate.prepare", None)
    with pytest.raises(UserError, match="attribute network"):
        ablate(replace(study_in(desk, tmp_path), judge=tmp_path / "jugde.safetensors"))


@pytest.mark.parametrize(
    ("error", "told"), [("no luck", "one-0: no luck; two-0: no luck"), ("", "one-0: not finished")]
)
def test_nothing_to_compare_is_a_sentence(desk, tmp_path, monkeypatch, error, told):
    """Runs that failed, and those that ended with other settings than those of the study."""
    monkeypatch.setattr("dfcvae.executor.here", lambda job, names, *_: ((name, error) for name in names))
    with pytest.raises(UserError, match=f"No two variants of study have a seed in common.* Failed: {told}"):
        ablate(study_in(desk, tmp_path), progress=False)


def begun(desk, out, log):
    """A study by the command line, in a process group of its own."""
    words = ["ablate", str(desk / "study.yaml"), "--out", str(out), "--judge", str(desk / "judge.safetensors")]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # another number rounds otherwise
    call = [sys.executable, "-m", "dfcvae", *words, "--workers", "2"]
    with log.open("w") as file:  # not a pipe, which processes that are left alone would keep open
        return subprocess.Popen(call, env=environment, stdout=file, stderr=file, start_new_session=True)


def wait_for(condition, seconds=1200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


@pytest.mark.slow
def test_killed_and_started_again_the_table_is_the_same(finished, desk, tmp_path):
    """The runner alone is killed, so that its two processes live on, and then all of them are."""
    out, log = tmp_path / "out", tmp_path / "log"
    first = begun(desk, out, log)
    wait_for(lambda: list((out / "done").glob("*.json")))
    first.kill()
    first.wait()
    second = begun(desk, out, log)
    count = len(list((out / "done").glob("*.json")))
    wait_for(lambda: len(list((out / "done").glob("*.json"))) > count)
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    files = {path: path.stat().st_mtime_ns for path in (out / "done").glob("*.json")}
    third = begun(desk, out, log)
    assert third.wait(timeout=1200) == 0, log.read_text()
    done = int(log.read_text().partition("6 runs, ")[2].split()[0])
    assert len(files) <= done  # a worker that outlived its runner may have finished its run meanwhile
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert rows(out) == rows(finished)


@pytest.mark.nightly  # on a busy machine Ray gives up starting; what is asked of it is in test_executor.py
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_on_two_ray_workers_one_of_which_is_killed_the_numbers_are_the_same(desk, tmp_path):
    script = Path(__file__).with_name("on_ray.py")
    call = [sys.executable, str(script), str(desk), str(tmp_path / "ray")]
    threads = str(torch.get_num_threads())
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(call, capture_output=True, text=True, timeout=1200, env=environment, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "killed" in ended.stdout
    assert unfinished(study_in(desk, tmp_path / "ray", 1, "longer.yaml")) == {}
    alone = study_in(desk, tmp_path / "alone", 1, "longer.yaml")
    for name in alone.runs():
        do_run(prepare(alone), name)
    again = ablate(alone, workers=1, progress=False)
    assert rows(tmp_path / "ray") == rows(again.parent)


def test_a_run_that_saw_more_images_than_the_budget_is_refused(desk, tmp_path):
    study = read_study(desk / "study.yaml", ["training.epochs=2"], seeds=1)
    experiment = study.runs()["none-0"]
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, tmp_path / "none-0", splits=splits)
    shorter = replace(experiment, training=replace(experiment.training, epochs=1))
    with pytest.raises(UserError, match="was trained on 32 images, but the budget is 16"):
        train_once(shorter, tmp_path / "none-0", splits=splits)


def test_a_report_trains_no_network_and_networks_of_other_faces_are_refused(desk, tmp_path, monkeypatch):
    study = replace(study_in(desk, tmp_path), judge=())
    with monkeypatch.context() as patch:
        patch.setattr("dfcvae.ablate.train_features", lambda *_, **__: pytest.fail("trained"))
        assert not prepare(study, may_train=False, progress=False).judge
    network = AttributeNetwork("vgg11_bn", 1 / 16, small_album().names)
    monkeypatch.setattr("dfcvae.ablate.train_features", lambda *_, **__: network)
    first = prepare(study, progress=False).judge
    assert first.is_file()
    assert prepare(study, may_train=False, progress=False).judge == first
    network.save(first, {"faces": "of another data set, 64 pixels"})
    with pytest.raises(UserError, match=r"judge.safetensors was trained on other faces .* Delete it"):
        prepare(study, progress=False)
