"""What runs share on a machine, and what becomes of those that fail."""

import os
import signal
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dfcvae import executor
from dfcvae.device import SHARED_BY, free_memory
from dfcvae.errors import PreemptedError, UserError
from dfcvae.executor import Done, Place, attempt, default_workers, here, on_ray, share_machine, shared_by
from tests.conftest import tiny_experiment


@pytest.fixture
def machine(monkeypatch):
    """Say how many processors and GPUs there are."""

    def has(processors, gpus):
        monkeypatch.setattr(executor, "workers_by_default", lambda: processors)
        monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: gpus)

    return has


@pytest.mark.parametrize(("processors", "gpus", "workers"), [(1, 0, 1), (2, 0, 1), (16, 0, 8), (16, 4, 4)])
def test_one_worker_for_a_gpu_or_for_two_processors(machine, processors, gpus, workers):
    machine(processors, gpus)
    assert default_workers() == workers


@pytest.fixture
def given(monkeypatch, tmp_path):
    """The GPUs of so many worker processes, which all live."""

    def of(workers, visible):
        found, held = [], []
        for _ in range(workers):
            monkeypatch.setattr(executor, "_slot", None)
            monkeypatch.setattr(os, "environ", os.environ | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {}))
            for _ in range(2):  # a second run in the same process changes nothing
                share_machine(tmp_path, workers)
            held.append(executor._slot)
            found.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        for slot in held:
            slot.release()
        return found

    return of


def test_every_worker_has_a_gpu_of_ours_or_shares_one(machine, given, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine(16, 2)
    assert given(2, "5, 7") == ["5", "7"]
    assert given(3, "5, 7") == ["5", "7", "5"]
    assert os.environ[SHARED_BY["cuda"]] == "2"


def test_memory_is_shared_by_those_who_use_it(monkeypatch):
    assert shared_by(6, 0) == {SHARED_BY["cpu"]: "6"}
    assert shared_by(6, 4) == {SHARED_BY["cpu"]: "6", SHARED_BY["cuda"]: "2"}
    monkeypatch.delenv(SHARED_BY["cpu"], raising=False)
    monkeypatch.setattr("dfcvae.device._available", lambda: 1200)
    monkeypatch.setattr("dfcvae.device._cgroup_room", lambda *_: None)
    assert free_memory(torch.device("cpu")) == 1200
    monkeypatch.setattr(os, "environ", os.environ | shared_by(6, 0))
    assert free_memory(torch.device("cpu")) == 200


@pytest.mark.parametrize(("raised", "told"), [(UserError("no luck"), "no luck"), (KeyError(), "KeyError")])
def test_any_failure_of_a_run_is_told_and_logged(monkeypatch, tmp_path, capsys, raised, told):
    def fail(*_, **__):
        print("what it said")
        raise raised

    monkeypatch.setattr(executor, "do_run", fail)
    done = attempt(tiny_experiment(), Place(tmp_path), "a-0")
    assert (done.name, done.error) == ("a-0", told)
    log = (tmp_path / "logs" / "a-0.log").read_text()
    assert log.startswith("what it said\nTraceback")
    assert capsys.readouterr().out == ""


def test_a_signal_ends_the_study_too(monkeypatch, tmp_path):
    def end(*_, **__):
        raise PreemptedError("saved")

    monkeypatch.setattr(executor, "do_run", end)
    with pytest.raises(PreemptedError):
        list(here({"a-0": tiny_experiment(), "b-0": tiny_experiment()}, Place(tmp_path), 1, progress=False))


def killed_once(experiment, place, name, *_):
    """A run whose worker process is killed: the first time, or always, once the result of the other has arrived."""
    while name == "always" and not (place.out / "once.ended").exists():
        time.sleep(0.01)
    mark = place.out / f"{name}.killed"
    if name == "always" or (name == "once" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Done(name, 1.0)


@pytest.mark.slow
def test_a_killed_worker_does_not_stop_the_other_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(executor, "attempt", killed_once)
    monkeypatch.setattr(executor, "RETRIES", 1)
    runs = dict.fromkeys(("always", "once", "x", "y"), replace(tiny_experiment()))
    found = {}
    for done in here(runs, Place(tmp_path), 2, progress=False):
        found[done.name] = done.error
        (tmp_path / f"{done.name}.ended").touch()
    assert "killed repeatedly, possibly out of memory" in found.pop("always")
    assert found == {"once": "", "x": "", "y": ""}


class RayError(Exception):
    pass


class Ray:
    """Ray, as far as it is used: tasks that end in the reverse order, of which that of ``lost`` has lost its worker."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self):
        self.asked = {}

    def init(self, **how):
        self.asked["init"] = how

    def cluster_resources(self):
        return {"CPU": 6.0}

    def nodes(self):
        return [{"Resources": {"CPU": 4.0}}, {"Resources": {"CPU": 2.0}}]

    def remote(self, function):
        def options(**how):
            self.asked["options"] = how
            return SimpleNamespace(remote=lambda *arguments: (function, arguments))

        return SimpleNamespace(options=options)

    def wait(self, tasks, num_returns):
        return tasks[-num_returns:], tasks[:-num_returns]

    def get(self, task):
        function, arguments = task
        if arguments[-1] == "lost":
            raise RayError("The worker died.")
        return function(*arguments)

    def shutdown(self):
        self.asked["shutdown"] = True


def test_on_ray_every_run_is_a_task_that_may_fail_alone(monkeypatch, tmp_path):
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(executor, "attempt", lambda experiment, place, name: Done(name, 1.0))
    found = list(on_ray(dict.fromkeys(("a", "lost", "b"), "an experiment"), Place(tmp_path), "auto"))
    assert [(done.name, done.error) for done in found] == [("b", ""), ("lost", "The worker died."), ("a", "")]
    assert ray.asked == {
        "init": {"address": "auto", "log_to_driver": False},
        "options": {"max_retries": executor.RETRIES, "num_cpus": 1, "runtime_env": {"env_vars": shared_by(4, 0)}},
        "shutdown": True,
    }


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="need Ray: pip install"):
        list(on_ray({}, Place(tmp_path), "auto"))
