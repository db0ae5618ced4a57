"""A whole study: its networks, its runs wherever they run, its report."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfcvae.config import Experiment
from dfcvae.data import load_faces
from dfcvae.studies.networks import FEATURES, IN_DOMAIN, JUDGE, trained_network, with_weights
from dfcvae.studies.one_run import do_run, run_folder
from dfcvae.studies.pools import Done, run_on_ray, run_processes
from dfcvae.studies.report import study_report
from dfcvae.studies.study import Study


@dataclass(frozen=True)
class Place:
    """Where a study lies, and with which judge.

    Args:
        out: its folder.
        judge: file of an attribute network; None lets the study train its own.
    """

    out: Path
    judge: Path | None = None


def prepare(study: Study, place: Place, *, progress: bool = True) -> tuple[Study, Path]:
    """Train what networks the study lacks: feature networks where it says ``in-domain``, and a judge.

    Returns:
        The study with the files of weights in it, and the file of the judge.
    """
    splits = None
    features, judge = place.out / "features.safetensors", place.judge or place.out / "judge.safetensors"
    wants = any(e.loss.features is not None and e.loss.features.weights == IN_DOMAIN for e in study.variants.values())
    for config, file in [(FEATURES, features)] * wants + [(JUDGE, judge)] * (place.judge is None):
        if not file.is_file():
            data = next(iter(study.variants.values())).data
            splits = splits or load_faces(data, progress=progress)
            trained_network(config, splits, file, progress)
    variants = {name: with_weights(experiment, features) for name, experiment in study.variants.items()}
    return replace(study, variants=variants), judge


def do_one(study: Study, place: Place, name: str) -> None:
    """Train and measure one run, as a worker does it, and note that it is done.

    Raises:
        UserError: if it cannot be trained.
    """
    prepared, judge = prepare(study, place, progress=False)
    experiment = prepared.runs()[name]
    do_run(experiment, place.out, name, judge)


def ablate(
    study: Study,
    place: Place,
    command: Sequence[str],
    *,
    workers: int,
    ray: str | None = None,
    progress: bool = True,
) -> Path:
    """Do what is left of a study, and write its report; started again, it goes on where it was.

    Finished runs are not repeated, failed ones are begun anew and told of in the report.

    Args:
        study: what to do.
        place: where.
        command: ``["ablate", STUDY, ...]``, to which a worker's process adds ``--only RUN``.
        workers: processes at a time on this machine.
        ray: address of a Ray cluster that does the runs instead.
        progress: say how far it is.

    Returns:
        The path of the HTML report.

    Raises:
        UserError: if networks cannot be trained, or there is no cluster.
    """
    place.out.mkdir(parents=True, exist_ok=True)
    prepared, judge = prepare(study, place, progress=progress)
    runs = prepared.runs()
    left = {name: experiment for name, experiment in runs.items() if not is_done(experiment, place.out, name)}
    if progress:
        print(f"{study.name}: {len(runs)} runs, {len(runs) - len(left)} of them done.", flush=True)
    if ray is None:
        ended = run_processes(list(left), lambda name: [*command, "--only", name], place.out / "logs", workers)
    else:
        ended = run_on_ray(left, place.out, judge, ray)
    failed = followed(ended, len(left), progress)
    return study_report(prepared, place.out, judge, failed)


def is_done(experiment: Experiment, out: Path, name: str) -> bool:
    """Whether a run was finished, with these settings, and measured."""
    file = out / "done" / f"{name}.json"
    return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and run_folder(out, name).is_dir()


def followed(ended: Iterable[Done], count: int, progress: bool) -> dict[str, str]:
    """Wait for all runs and say how far they are; the errors of those that failed, by name."""
    begun, failed = time.perf_counter(), {}
    for number, done in enumerate(ended, start=1):
        if done.error:
            failed[done.name] = done.error
        if progress:
            minutes = (time.perf_counter() - begun) / 60
            left = minutes / number * (count - number)
            said = f"FAILED: {done.error}" if done.error else f"{done.seconds / 60:.1f} min"
            print(f"[{number} of {count}] {done.name}: {said}; {minutes:.0f} min, {left:.0f} to go", flush=True)
    return failed
