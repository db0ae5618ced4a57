"""Many runs at once: processes on this machine, or tasks of a Ray cluster."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from queue import SimpleQueue
from textwrap import shorten

import torch

from dfcvae.config import Experiment
from dfcvae.data.workers import workers_by_default
from dfcvae.device import SHARED_BY
from dfcvae.errors import UserError
from dfcvae.studies.one_run import Place, do_run

RETRIES = 5  # of a task whose worker died
LOOK = 2.0  # seconds between two looks at how far the runs are
LOUDEST = 400  # characters of an error in a table


@dataclass(frozen=True)
class Done:
    """A run that has ended.

    Args:
        name: of the run.
        seconds: it took.
        error: why it failed; empty if it did not.
    """

    name: str
    seconds: float
    error: str = ""


def default_workers() -> int:
    """As many as there are GPUs, or else one for two of the processors that this process may use."""
    return torch.cuda.device_count() or max(1, workers_by_default() // 2)


def run_processes(
    names: Sequence[str], command: Callable[[str], Sequence[str]], logs: Path, workers: int
) -> Iterator[Done | None]:
    """Run ``dfcvae`` with the arguments of every name, so many at a time; what each prints goes to ``logs/NAME.log``.

    Yields the runs as they end, and None every two seconds while there are none, for who shows how far they are.

    Each has an equal share of the processors, and one of the GPUs in turn. One that fails does not stop the others.
    """
    logs.mkdir(parents=True, exist_ok=True)
    threads = max(1, workers_by_default() // workers)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # those that are ours, by number or name
    gpus = [str(i) for i in range(torch.cuda.device_count())]
    gpus = [gpu.strip() for gpu in visible.split(",")][: len(gpus)] if visible else gpus
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(workers):
        slots.put(slot)

    def run(name: str) -> Done:
        slot, begun = slots.get(), time.perf_counter()
        variables = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
        variables |= shared_by(workers, len(gpus))
        variables |= {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {}
        log = logs / f"{name}.log"
        with log.open("w") as file:
            call = [sys.executable, "-m", "dfcvae", *command(name)]
            status = subprocess.run(call, stdout=file, stderr=subprocess.STDOUT, env=variables, check=False).returncode
        slots.put(slot)
        return Done(name, time.perf_counter() - begun, why(status, log) if status else "")

    pool = ThreadPoolExecutor(workers)
    try:
        waiting = {pool.submit(run, name) for name in names}
        while waiting:
            ended, waiting = wait(waiting, LOOK, FIRST_COMPLETED)
            yield from (future.result() for future in ended)
            if not ended:
                yield None
    finally:  # of Ctrl+C too, which ends those that run; the others shall not begin
        pool.shutdown(cancel_futures=True)


def run_on_ray(runs: Mapping[str, Experiment], place: Place, address: str) -> Iterator[Done | None]:
    """Run every experiment as a task of a Ray cluster, whose machines share the file system of the study.

    Yields the runs as they end, and None now and then, as `run_processes`. A task whose worker dies is begun again on
    another, where its last checkpoint was.

    Args:
        runs: experiments by name.
        place: where the study lies.
        address: of the cluster: ``"auto"``, ``"HOST:PORT"``, or ``"local"`` to start one on this machine.

    Raises:
        UserError: if Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError('Studies on a cluster need Ray: pip install "dfcvae[ray]".') from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(
            f"There is no Ray cluster at {address} ({error}); start one with `ray start --head`."
        ) from error
    resource = "GPU" if ray.cluster_resources().get("GPU") else "CPU"
    most = max(int(node["Resources"].get(resource, 0)) for node in ray.nodes())  # tasks at a time on one machine
    variables = {"env_vars": shared_by(most, most if resource == "GPU" else 0)}
    share = {"num_gpus": 1} if resource == "GPU" else {"num_cpus": 1}
    task = ray.remote(do_run).options(max_retries=RETRIES, runtime_env=variables, **share)
    try:
        tasks = {task.remote(experiment, place, name): name for name, experiment in runs.items()}
        while tasks:
            ready, _ = ray.wait(list(tasks), num_returns=1, timeout=LOOK)
            if not ready:
                yield None
                continue
            ended = ready[0]
            name, seconds, told = tasks.pop(ended), 0.0, ""
            try:
                seconds = ray.get(ended)
            except ray.exceptions.RayError as failure:
                lines = str(getattr(failure, "cause", None) or failure).strip().splitlines()
                told = (lines or [type(failure).__name__])[-1]
            yield Done(name, seconds, shorten(told, LOUDEST, placeholder=" ..."))
    finally:
        ray.shutdown()


def shared_by(workers: int, gpus: int) -> dict[str, str]:
    """Variables that tell a run with how many others it shares the memory of this machine, and of its GPU."""
    cuda = {SHARED_BY["cuda"]: str(ceil(workers / gpus))} if gpus else {}
    return {SHARED_BY["cpu"]: str(workers)} | cuda


def why(status: int, log: Path) -> str:
    """Why a process ended with a status other than 0: the signal, the error that it printed, or the last it said."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}" + " (by the system, for want of memory?)" * (
            status == -signal.SIGKILL
        )
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("dfcvae: ") for line in lines if line.startswith("dfcvae: ")]
    return shorten((told or lines or [f"it ended with status {status}"])[-1], LOUDEST, placeholder=" ...")
