"""Many jobs, known by their names, on one executor: joblib's processes on this machine, or tasks of a Ray cluster.

A job that fails stops no other. A job itself skips what is finished and resumes what was interrupted.
"""

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from itertools import count
from math import ceil
from pathlib import Path
from socket import gethostname
from textwrap import shorten

import torch
from filelock import FileLock, Timeout
from joblib import Parallel, cpu_count, delayed, parallel_config

from dfcvae.device import SHARED_BY
from dfcvae.errors import PreemptedError, UserError

RAY_RETRIES = 5  # after the death of a worker process
LOUDEST = 400  # characters of an error in a report
HELD: list[FileLock] = []  # of this worker process, to its end

Job = Callable[[str, bool], None]  # from the name, and whether to show progress; it can be pickled
Ended = tuple[str, str]  # name and error, empty if it is finished


def run_all(
    job: Job, names: Sequence[str], out: Path, *, workers: int | None = None, ray: str | None = None, progress: bool
) -> dict[str, str]:
    """Do a job for every name, which may fail alone by an exception; errors of those that failed, by name.

    As many ``workers`` at a time on this machine (default: one for each GPU, or for two processors), or by the Ray
    cluster with this address. Logs are in ``out/logs/NAME.log``; ``progress`` prints a line for each job that ends.

    Raises:
        UserError: if the Ray cluster cannot be reached, or a worker process of this machine was killed.
        PreemptedError: if this process got a signal to save and stop.
    """
    failed = {}
    ended = on_ray(job, names, out, ray) if ray else here(job, names, out, workers or default_workers(), progress)
    for number, (name, error) in enumerate(ended, 1):
        if error:
            failed[name] = error
        if progress:
            print(f"[{number} of {len(names)}] {name}: {f'FAILED: {error}' if error else 'finished'}", flush=True)
    return failed


def default_workers() -> int:
    """One for each GPU, or else for every two of the processors that this process may use."""
    return torch.cuda.device_count() or max(1, cpu_count() // 2)


def here(job: Job, names: Sequence[str], out: Path, workers: int, progress: bool) -> Iterator[Ended]:
    """Do jobs in processes of this machine, each with its part of the processors, and yield each when it ends."""
    asked = "OMP_NUM_THREADS" in os.environ
    threads = torch.get_num_threads() if asked else max(1, cpu_count() // workers)
    with parallel_config("loky", inner_max_num_threads=threads):
        pool = Parallel(workers, return_as="generator_unordered", batch_size=1, pre_dispatch=workers)
    try:
        yield from pool(delayed(attempt)(job, name, out, workers, progress) for name in names)
    except BrokenProcessPool as error:  # all workers end with one that is killed
        raise UserError(
            "A worker process was killed, possibly out of memory. Start the study again: it resumes; fewer --workers "
            "need less memory."
        ) from error


def attempt(job: Job, name: str, out: Path, workers: int = 1, progress: bool = False) -> Ended:
    """Do one of several jobs that share this machine, whatever happens; its output goes to ``logs/NAME.log``."""
    log, error = out / "logs" / f"{name}.log", ""
    log.parent.mkdir(parents=True, exist_ok=True)
    if workers > 1:
        share_machine(workers, log.parent)
    with log.open("w", encoding="utf-8") as file:
        alone = workers == 1 and progress  # its progress is shown
        with nullcontext() if alone else redirect_stdout(file), nullcontext() if alone else redirect_stderr(file):
            try:
                job(name, alone)
            except PreemptedError:
                raise
            except Exception as failure:  # of any kind: the other jobs continue
                file.write(traceback.format_exc())
                error = " ".join(str(failure).split()) or type(failure).__name__
    return name, shorten(error, LOUDEST, placeholder=" ...")


def share_machine(workers: int, folder: Path) -> None:
    """Set, once in a worker process, the number of processes that share the memory, and assign it a GPU.

    Each process of a pool takes the first number whose file in the folder no other one has locked.
    """
    if SHARED_BY["cpu"] in os.environ:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [gpu.strip() for gpu in visible.split(",")] if visible else list(map(str, range(torch.cuda.device_count())))
    os.environ |= shared_by(workers, len(gpus))
    for number in count() if gpus else ():
        lock = FileLock(folder / f".{gethostname()}-{os.getppid()}-{number}.lock")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            HELD.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
            return


def shared_by(workers: int, gpus: int) -> dict[str, str]:
    """Environment variables of a job: how many jobs share the memory of this machine, and of its GPU."""
    cuda = {SHARED_BY["cuda"]: str(ceil(workers / gpus))} if gpus else {}
    return {SHARED_BY["cpu"]: str(workers)} | cuda


def on_ray(job: Job, names: Sequence[str], out: Path, address: str) -> Iterator[Ended]:
    """Do jobs as tasks of a Ray cluster, whose machines share the file system; yield each when it ends.

    Ray itself, not joblib's backend for it: a task whose worker dies starts again elsewhere. ``address`` is ``"auto"``,
    ``"HOST:PORT"``, or ``"local"`` to start a cluster on this machine. A UserError if Ray or the cluster is missing.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError('Studies on a cluster need Ray: pip install "dfcvae[ray]".') from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"No Ray cluster answers at {address} ({error}); start one with `ray start --head`.") from error
    resource = "GPU" if ray.cluster_resources().get("GPU") else "CPU"
    most = max(int(node["Resources"].get(resource, 0)) for node in ray.nodes())  # tasks at a time on one machine
    variables = {"env_vars": shared_by(most, most if resource == "GPU" else 0)}
    share = {"num_gpus": 1} if resource == "GPU" else {"num_cpus": 1}
    task = ray.remote(attempt).options(max_retries=RAY_RETRIES, runtime_env=variables, **share)
    try:
        tasks = {task.remote(job, name, out): name for name in names}
        while tasks:
            (ended,), _ = ray.wait(list(tasks), num_returns=1)
            name = tasks.pop(ended)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as failure:
                yield name, shorten(str(failure), LOUDEST, placeholder=" ...")
    finally:
        ray.shutdown()
