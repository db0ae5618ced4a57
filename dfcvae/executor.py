"""Many runs on one executor: joblib's processes on this machine, tasks of a Ray cluster, or files for a scheduler.

A run is a function of (experiment, place, name). Finished ones are skipped, so that a study that was killed is
resumed by starting it again.
"""

import json
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from textwrap import shorten

import torch
import yaml
from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from dfcvae.attribute_network import train_features
from dfcvae.config import Experiment
from dfcvae.data import Splits, filled, load_faces
from dfcvae.data.workers import workers_by_default
from dfcvae.device import SHARED_BY
from dfcvae.errors import PreemptedError, UserError
from dfcvae.feature_config import FeatureTraining
from dfcvae.files import write_atomically
from dfcvae.fitted import saved_mixture
from dfcvae.report.evaluated import Evaluated, evaluate_model
from dfcvae.report.models import Model
from dfcvae.report.observers import JudgeFiles, Observers
from dfcvae.run import read_cost
from dfcvae.study import IN_DOMAIN, Study
from dfcvae.training import train
from dfcvae.weights import read_metadata

FEATURES = FeatureTraining()
JUDGE = FeatureTraining("vgg11_bn", seed=1)  # another architecture and another seed than the networks it judges
KEY = "trained"  # in the metadata of a file of weights: how they were trained
RETRIES = 5  # after the death of a worker process
LOUDEST = 400  # characters of an error in a report


@dataclass(frozen=True)
class Place:
    """Where a study lies, and who looks at its models.

    Args:
        out: its folder.
        judge: files of judges; None lets the study train an attribute network, if the faces have attributes.
        fid: weights of Inception for FID and KID: a file, or ``"download"``; None leaves them out.
        lpips: download what LPIPS needs, where it is missing.
    """

    out: Path
    judge: JudgeFiles = None
    fid: str | None = None
    lpips: bool = False

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.out / "runs" / name

    def model(self, name: str) -> Model:
        """A run's model after the last step, not that of the best epoch, which every loss would choose for itself."""
        return Model.load(self.run(name) / "checkpoints" / "last.ckpt")

    def observers(self) -> Observers:
        """Those who look; a UserError if one cannot be loaded."""
        return Observers.load(self.judge, self.fid, self.lpips)


@dataclass(frozen=True)
class Done:
    """A run that has ended: its name, the seconds it took, and its error, empty if it is finished."""

    name: str
    seconds: float
    error: str = ""


def prepare(study: Study, place: Place, *, progress: bool = True) -> tuple[Study, Place]:
    """Train the networks that the study lacks: feature networks where it says ``in-domain``, and a judge.

    Returns:
        The study and the place with the files of these networks.

    Raises:
        UserError: if a split is empty, they cannot be trained, or those in the folder were trained on other faces.
    """
    splits, file = load_faces(study.data, progress=progress), place.out / "features.safetensors"
    for split in ("train", "test"):
        filled(splits, split)
    variants = dict(study.variants)
    for name, experiment in study.variants.items():
        if (own := experiment.loss.features) is not None and own.weights == IN_DOMAIN:
            own = replace(own, weights=str(trained_network(FEATURES, splits, file, progress)))
            variants[name] = replace(experiment, loss=replace(experiment.loss, features=own))
    if not place.judge and splits["train"].names:
        place = replace(place, judge=trained_network(JUDGE, splits, place.out / "judge.safetensors", progress))
    return replace(study, variants=variants), place


def trained_network(config: FeatureTraining, splits: Splits, file: Path, progress: bool) -> Path:
    """An attribute network in a file, trained first if there is no such file.

    Raises:
        UserError: if the file was trained on other faces or with other settings, or these faces have no attributes.
    """
    faces = splits["train"]
    how = json.dumps(asdict(config) | {"faces": faces.fingerprint, "images": [*faces.images.shape]}, sort_keys=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.is_file():
            if progress:
                print(f"\ntraining {file.stem}: {config.arch}, width {config.width:g}", flush=True)
            train_features(config, splits, progress=progress).save(file, {KEY: how})
    if read_metadata(file).get(KEY, how) != how:  # a file from elsewhere does not say
        raise UserError(
            f"{file} was trained on other faces or with other settings. Name another folder with --out, or remove the "
            "file and what was trained with it."
        )
    return file


def do_run(experiment: Experiment, place: Place, name: str, *, progress: bool = False) -> None:
    """Train and measure one run, or resume it, and note in ``done/NAME.json`` that it is finished.

    Raises:
        UserError: if it cannot be trained, or an observer cannot be loaded.
    """
    observers = place.observers()  # before the training, which a wrong file would make worthless
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, place.run(name), splits=splits, progress=progress)
    measure_once(experiment, place, name, observers, splits)
    write_atomically(place.out / "done" / f"{name}.json", json.dumps(experiment.as_dict(), indent=2) + "\n")


def train_once(experiment: Experiment, folder: Path, *, splits: Splits, progress: bool = False) -> None:
    """Train into a folder, or resume there; a finished run is left as it is.

    A lock, which ends with the process that holds it, keeps a second process waiting: that of a study that was killed
    and started again while its workers live on.

    Raises:
        UserError: if the folder holds a run with other settings, or the experiment cannot be trained.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        train(experiment, folder, resume="auto", data=splits, mixture=False, progress=progress)
    training, images = experiment.training, read_cost(folder).get("images", 0)
    budget = training.total_steps(len(splits["train"]) // training.batch_size) * training.batch_size
    if images > budget:  # a resumed run may be extended, but not shortened
        raise UserError(
            f"{folder} was trained on {images:,} images, but the budget is {budget:,}. Use the number of epochs it was "
            "started with, or another folder."
        )


def measure_once(
    experiment: Experiment, place: Place, name: str, observers: Observers, splits: Splits
) -> tuple[Model, Evaluated]:
    """A finished run's model and its measures on the test split, cached in ``measured/NAME.safetensors``."""
    model, cache = place.model(name), place.out / "measured" / f"{name}.safetensors"
    mixture = saved_mixture(place.run(name), model.vae) if observers.embed_samples() else None
    return model, evaluate_model(
        model.vae, experiment.data, splits, observers, mixture=mixture, cache=cache, progress=False
    )


def unfinished(study: Study, place: Place) -> dict[str, Experiment]:
    """The runs of a study that are not finished and measured with these settings, by name."""

    def done(experiment: Experiment, name: str) -> bool:
        file = place.out / "done" / f"{name}.json"
        return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and place.run(name).is_dir()

    return {name: experiment for name, experiment in study.runs().items() if not done(experiment, name)}


def do_runs(
    study: Study, place: Place, *, workers: int | None = None, ray: str | None = None, progress: bool = True
) -> dict[str, str]:
    """Do all unfinished runs of a study; one that fails does not stop the others. See `dfcvae.ablate.ablate`.

    Returns:
        Errors of the runs that failed, by name.

    Raises:
        UserError: if there is no Ray cluster.
    """
    left, count = unfinished(study, place), study.seeds * len(study.variants)
    before = count - len(left)
    if progress:
        print(f"{study.name}: {count} runs, {before} of them done.", flush=True)
    ended = on_ray(left, place, ray) if ray else here(left, place, workers or default_workers(), progress)
    failed = {}
    with tqdm(total=count, initial=before, unit="run", disable=None if progress else True) as bar:
        for number, done in enumerate(ended, before + 1):
            bar.update()
            if done.error:
                failed[done.name] = done.error
            if progress:
                outcome = f"FAILED: {done.error}" if done.error else f"{done.seconds / 60:.1f} min"
                bar.write(f"[{number} of {count}] {done.name}: {outcome}")
    return failed


def default_workers() -> int:
    """One for each GPU, or else for every two of the processors that this process may use."""
    return torch.cuda.device_count() or max(1, workers_by_default() // 2)


def here(runs: Mapping[str, Experiment], place: Place, workers: int, progress: bool) -> Iterator[Done]:
    """Do runs in processes of this machine, each with its part of the processors, and yield each when it ends."""
    asked = "OMP_NUM_THREADS" in os.environ
    threads = torch.get_num_threads() if asked else max(1, workers_by_default() // workers)
    left = list(runs.items())
    for _ in range(1 + RETRIES):
        with parallel_config("loky", inner_max_num_threads=threads):
            pool = Parallel(workers, return_as="generator_unordered", batch_size=1, pre_dispatch=workers)
        try:
            for done in pool(delayed(attempt)(of, place, name, workers, progress) for name, of in list(left)):
                left = [(name, of) for name, of in left if name != done.name]
                yield done
            return
        except BrokenProcessPool:  # all workers end with one that is killed; their runs resume
            print("A worker process was killed, possibly out of memory; resuming.", file=sys.stderr)
            left = left[workers:] + left[:workers]  # so that those that may have caused it come last
    for name, _ in left:
        yield Done(name, 0.0, "a worker process was killed repeatedly, possibly out of memory")


def attempt(experiment: Experiment, place: Place, name: str, workers: int = 1, progress: bool = False) -> Done:
    """Do one of several runs that share this machine, whatever happens; its output goes to ``logs/NAME.log``.

    Raises:
        PreemptedError: if the process got a signal to save and stop.
    """
    begun, error = time.perf_counter(), ""
    log = place.out / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if workers > 1:
        share_machine(place.out, workers)
    with log.open("w", encoding="utf-8") as file:
        alone = workers == 1 and progress  # its progress is shown
        with nullcontext() if alone else redirect_stdout(file), nullcontext() if alone else redirect_stderr(file):
            try:
                do_run(experiment, place, name, progress=alone)
            except PreemptedError:
                raise
            except Exception as failure:  # of any kind: the other runs continue
                file.write(traceback.format_exc())
                error = " ".join(str(failure).split()) or type(failure).__name__
    return Done(name, time.perf_counter() - begun, shorten(error, LOUDEST, placeholder=" ..."))


_slot: FileLock | None = None  # of this worker process, as long as it lives


def share_machine(out: Path, workers: int) -> None:
    """Set the number of processes that share the memory, and assign a GPU, exclusively if there are enough."""
    global _slot
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [gpu.strip() for gpu in visible.split(",")] if visible else list(map(str, range(torch.cuda.device_count())))
    if _slot is not None:
        return
    os.environ |= shared_by(workers, len(gpus))
    for slot in range(workers):
        _slot = FileLock(out / f".worker-{slot}.lock")
        with suppress(Timeout):
            _slot.acquire(timeout=0)
            if gpus:
                os.environ["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
            return


def shared_by(workers: int, gpus: int) -> dict[str, str]:
    """Environment variables of a run: how many runs share the memory of this machine, and of its GPU."""
    cuda = {SHARED_BY["cuda"]: str(ceil(workers / gpus))} if gpus else {}
    return {SHARED_BY["cpu"]: str(workers)} | cuda


def on_ray(runs: Mapping[str, Experiment], place: Place, address: str) -> Iterator[Done]:
    """Do runs as tasks of a Ray cluster, whose machines share the file system of the study; yield each when it ends.

    Ray itself, not joblib's backend for it: that is a pool of a fixed number of actors, all of which a dead worker
    ends, while a task whose worker dies starts again elsewhere, and new machines take tasks as they come.
    ``address`` is ``"auto"``, ``"HOST:PORT"``, or ``"local"`` to start a cluster on this machine.

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
    task = ray.remote(attempt).options(max_retries=RETRIES, runtime_env=variables, **share)
    try:
        tasks = {task.remote(experiment, place, name): name for name, experiment in runs.items()}
        while tasks:
            (ended,), _ = ray.wait(list(tasks), num_returns=1)
            name = tasks.pop(ended)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as failure:
                yield Done(name, 0.0, shorten(str(failure), LOUDEST, placeholder=" ..."))
    finally:
        ray.shutdown()


def slurm_script(command: Sequence[str], runs: Sequence[str]) -> str:
    """A SLURM job array with one task for each run of ``dfcvae ablate STUDY ...``."""
    call = shlex.join(["dfcvae", *command])
    return f"""#!/bin/bash
# Submit with: sbatch THIS_FILE. The report, at the end or of what is finished: {call} --report
#SBATCH --job-name=dfcvae-ablate
#SBATCH --array=0-{len(runs) - 1}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
runs=({shlex.join(runs)})
srun {call} --only "${{runs[$SLURM_ARRAY_TASK_ID]}}"
"""


def wandb_sweep(command: Sequence[str], runs: Sequence[str]) -> str:
    """A sweep over the runs, as YAML for ``wandb sweep``; the command with ``--report`` then writes the report."""
    sweep = {
        "name": "dfcvae-ablate",
        "method": "grid",
        "parameters": {"only": {"values": list(runs)}},
        "command": ["dfcvae", *command, "${args}"],
    }
    return yaml.safe_dump(sweep, sort_keys=False)
