"""A whole study: its networks, its runs wherever they run, its report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfcvae.config import Experiment
from dfcvae.data import load_faces
from dfcvae.studies.networks import FEATURES, IN_DOMAIN, JUDGE, trained_network, with_weights
from dfcvae.studies.one_run import do_run, run_folder
from dfcvae.studies.pools import run_on_ray, run_processes
from dfcvae.studies.progress import StudyProgress, followed
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
    failed = followed(ended, StudyProgress(place.out, len(runs), list(left), steps_of(prepared)), shown=progress)
    return study_report(prepared, place.out, judge, failed)


def steps_of(study: Study) -> int:
    """Training steps of every run."""
    experiment = next(iter(study.variants.values()))
    images = len(load_faces(experiment.data, progress=False)["train"])
    return experiment.training.total_steps(images // experiment.training.batch_size)


def is_done(experiment: Experiment, out: Path, name: str) -> bool:
    """Whether a run was finished, with these settings, and measured."""
    file = out / "done" / f"{name}.json"
    return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and run_folder(out, name).is_dir()
