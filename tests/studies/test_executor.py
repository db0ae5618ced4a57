"""What jobs share on a machine, and what becomes of those that fail."""

import os
import signal
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from dfcvae import executor
from dfcvae.device import SHARED_BY, free_memory
from dfcvae.errors import PreemptedError, UserError
from dfcvae.executor import attempt, default_workers, here, on_ray, run_all, share_machine, shared_by


@pytest.fixture
def machine(monkeypatch):
    """Say how many processors and GPUs there are."""

    def has(processors, gpus):
        monkeypatch.setattr(executor, "cpu_count", lambda: processors)
        monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: gpus)

    return has


def test_one_worker_for_a_gpu_or_for_two_processors(machine):
    for processors, gpus, workers in ((1, 0, 1), (2, 0, 1), (16, 0, 8), (16, 4, 4)):
        machine(processors, gpus)
        assert default_workers() == workers


@pytest.mark.parametrize(("workers", "gpus", "sharing"), [(2, ["5", "7"], "1"), (3, ["5", "7", "5"], "2")])
def test_every_worker_has_a_gpu_of_ours_or_shares_one(machine, monkeypatch, tmp_path, workers, gpus, sharing):
    machine(16, 2)
    monkeypatch.setattr(executor, "HELD", [])
    found = []
    for _ in range(workers):  # worker processes
        monkeypatch.setattr(os, "environ", os.environ | {"CUDA_VISIBLE_DEVICES": "5, 7"})
        os.environ.pop(SHARED_BY["cpu"], None)
        for _ in range(2):  # a second job in the same process changes nothing
            share_machine(workers, tmp_path)
        found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == gpus
    assert os.environ[SHARED_BY["cuda"]] == sharing


def test_memory_is_shared_by_those_who_use_it(monkeypatch):
    assert shared_by(6, 0) == {SHARED_BY["cpu"]: "6"}
    assert shared_by(6, 4) == {SHARED_BY["cpu"]: "6", SHARED_BY["cuda"]: "2"}
    monkeypatch.delenv(SHARED_BY["cpu"], raising=False)
    monkeypatch.setattr("dfcvae.device._available", lambda: 1200)
    monkeypatch.setattr("dfcvae.device._cgroup_room", lambda *_: None)
    assert free_memory(torch.device("cpu")) == 1200
    monkeypatch.setattr(os, "environ", os.environ | shared_by(6, 0))
    assert free_memory(torch.device("cpu")) == 200


def fail(raised, name, progress):
    print("what it said")
    if name != "good":
        raise raised


@pytest.mark.parametrize(("raised", "told"), [(UserError("no luck"), "no luck"), (KeyError(), "KeyError")])
def test_any_failure_is_told_and_logged_and_stops_no_other(tmp_path, capsys, raised, told):
    job = partial(fail, raised)
    assert attempt(job, "bad", tmp_path) == ("bad", told)
    log = (tmp_path / "logs" / "bad.log").read_text()
    assert log.startswith("what it said\nTraceback")
    assert capsys.readouterr().out == ""
    assert run_all(job, ["bad", "good"], tmp_path, workers=1, progress=True) == {"bad": told}
    out = capsys.readouterr().out
    assert f"[1 of 2] bad: FAILED: {told}" in out
    assert "[2 of 2] good: finished" in out


def test_a_signal_ends_the_other_jobs_too(tmp_path):
    with pytest.raises(PreemptedError):
        list(here(partial(fail, PreemptedError("saved")), ["a", "b"], tmp_path, 1, progress=False))


def killed(name, progress):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_is_told_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"killed, possibly out of memory. Start the study again: it resumes; fewer"):
        list(here(killed, ["a", "b"], tmp_path, 2, progress=False))


class RayError(Exception):
    pass


class Ray:
    """Ray, as far as it is used: tasks that end in the reverse order, of which that of ``lost`` has lost its worker."""

    exceptions = SimpleNamespace(RayError=RayError)
    cluster_resources = staticmethod(lambda: {"CPU": 6.0})
    nodes = staticmethod(lambda: [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 2.0}}])

    def __init__(self):
        self.asked = {}

    def init(self, **how):
        self.asked["init"] = how

    def remote(self, function):
        def options(**how):
            self.asked["options"] = how
            return SimpleNamespace(remote=lambda *arguments: (function, arguments))

        return SimpleNamespace(options=options)

    def wait(self, tasks, num_returns):
        return tasks[-num_returns:], tasks[:-num_returns]

    def get(self, task):
        function, arguments = task
        if arguments[1] == "lost":
            raise RayError("The worker died.")
        return function(*arguments)

    def shutdown(self):
        self.asked["shutdown"] = True


def test_on_ray_every_job_is_a_task_that_may_fail_alone(monkeypatch, tmp_path):
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(executor, "attempt", lambda job, name, out: (name, ""))
    found = list(on_ray(None, ["a", "lost", "b"], tmp_path, "auto"))
    assert found == [("b", ""), ("lost", "The worker died."), ("a", "")]
    assert ray.asked == {
        "init": {"address": "auto", "log_to_driver": False},
        "options": {"max_retries": executor.RAY_RETRIES, "num_cpus": 1, "runtime_env": {"env_vars": shared_by(4, 0)}},
        "shutdown": True,
    }


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="need Ray: pip install"):
        list(on_ray(killed, [], tmp_path, "auto"))
