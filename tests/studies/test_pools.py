"""Processes of a study: how many, with which processors, GPU and memory, and why one failed."""

import os
import signal
import subprocess

import pytest
import torch

from dfcvae.device import SHARED_BY, free_memory
from dfcvae.studies import pools
from dfcvae.studies.pools import default_workers, run_processes, shared_by, why


@pytest.fixture
def machine(monkeypatch):
    """Say how many processors and GPUs there are."""

    def has(processors, gpus):
        monkeypatch.setattr(pools, "workers_by_default", lambda: processors)
        monkeypatch.setattr(pools.torch.cuda, "device_count", lambda: gpus)

    return has


@pytest.mark.parametrize(("processors", "gpus", "workers"), [(1, 0, 1), (2, 0, 1), (16, 0, 8), (16, 4, 4)])
def test_one_worker_for_a_gpu_or_for_two_processors(machine, processors, gpus, workers):
    machine(processors, gpus)
    assert default_workers() == workers


@pytest.fixture
def environments(monkeypatch, tmp_path):
    """What the processes of a study with so many workers are given."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def of(workers, names):
        seen = {}

        def run(call, env, **_):
            seen[call[-1]] = env
            return subprocess.CompletedProcess(call, 0)

        monkeypatch.setattr(pools.subprocess, "run", run)
        list(run_processes(names, lambda name: [name], tmp_path, workers))
        return [seen[name] for name in names]

    return of


def test_workers_share_the_processors(machine, environments):
    machine(16, 0)
    (environment,) = environments(5, ["a"])
    assert environment["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_the_threads_that_were_asked_for_are_kept(machine, environments, monkeypatch):
    machine(16, 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environments(2, ["a"])[0]["OMP_NUM_THREADS"] == "1"


def test_every_worker_has_a_gpu_of_ours(machine, environments, monkeypatch):
    machine(16, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    found = {environment["CUDA_VISIBLE_DEVICES"] for environment in environments(2, [f"run-{i}" for i in range(20)])}
    assert found <= {"5", "7"}
    assert environments(1, ["a"])[0]["CUDA_VISIBLE_DEVICES"] == "5"


def test_memory_is_shared_by_those_who_use_it(monkeypatch):
    assert shared_by(6, 0) == {SHARED_BY["cpu"]: "6"}
    assert shared_by(6, 4) == {SHARED_BY["cpu"]: "6", SHARED_BY["cuda"]: "2"}
    monkeypatch.delenv(SHARED_BY["cpu"], raising=False)
    monkeypatch.setattr("dfcvae.device._available", lambda: 1200)
    monkeypatch.setattr("dfcvae.device._cgroup_room", lambda *_: None)
    assert free_memory(torch.device("cpu")) == 1200
    monkeypatch.setattr(os, "environ", os.environ | shared_by(6, 0))
    assert free_memory(torch.device("cpu")) == 200


@pytest.mark.parametrize(
    ("status", "log", "said"),
    [
        (1, "epoch 1\ndfcvae: There is no face.\n", "There is no face."),
        (1, "dfcvae: first\ndfcvae: last\nwarnings.warn(\n", "last"),
        (3, "odd\n\n", "odd"),
        (3, "", "it ended with status 3"),
        (-signal.SIGKILL, "warnings.warn(\n", "it was ended by SIGKILL (by the system, for want of memory?)"),
        (-signal.SIGSEGV, "", "it was ended by SIGSEGV"),
    ],
)
def test_why_a_process_failed(tmp_path, status, log, said):
    (tmp_path / "log").write_text(log)
    assert why(status, tmp_path / "log") == said
