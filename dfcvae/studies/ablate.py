"""A whole study: its networks, its runs wherever they run, its report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dfcvae.data import load_faces
from dfcvae.studies.networks import FEATURES, IN_DOMAIN, JUDGE, trained_network, with_weights
from dfcvae.studies.one_run import Place, do_run, is_done
from dfcvae.studies.pools import run_on_ray, run_processes
from dfcvae.studies.progress import StudyProgress, followed
from dfcvae.studies.report import study_report
from dfcvae.studies.study import Study

UNFINISHED = "it is not finished"
CHANGED = "it ended with other settings than those of the study: a file of it was changed meanwhile"


def prepare(study: Study, place: Place, *, progress: bool = True) -> tuple[Study, Place]:
    """Train what networks the study lacks: feature networks where it says ``in-domain``, and a judge.

    Returns:
        The study with the files of weights in it, and the place with that of the judge, if the faces have attributes.

    Raises:
        UserError: if they cannot be trained, or those in the folder were trained on other faces.
    """
    splits, features = load_faces(study.data, progress=progress), place.out / "features.safetensors"
    if any(e.loss.features is not None and e.loss.features.weights == IN_DOMAIN for e in study.variants.values()):
        trained_network(FEATURES, splits, features, progress)
    judge = place.judge
    if judge is None and splits["train"].names:
        judge = trained_network(JUDGE, splits, place.out / "judge.safetensors", progress)
    variants = {name: with_weights(experiment, features) for name, experiment in study.variants.items()}
    return replace(study, variants=variants), replace(place, judge=judge)


def do_one(study: Study, place: Place, name: str) -> None:
    """Train and measure one run, as a worker does it, and note that it is done.

    Raises:
        UserError: if it cannot be trained.
    """
    study, place = prepare(study, place, progress=False)
    do_run(study.runs()[name], place, name)


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

    Finished runs are not repeated; those that failed go on from their last checkpoint, and are told of in the report.

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
        UserError: if networks cannot be trained or loaded, or there is no cluster.
    """
    place.out.mkdir(parents=True, exist_ok=True)
    place.observers()  # mistaken files show before hours of work
    study, place = prepare(study, place, progress=progress)
    runs = study.runs()
    left = {name: experiment for name, experiment in runs.items() if not is_done(experiment, place, name)}
    if progress:
        print(f"{study.name}: {len(runs)} runs, {len(runs) - len(left)} of them done.", flush=True)
    if ray is None:
        ended = run_processes(list(left), lambda name: [*command, "--only", name], place.out / "logs", workers)
    else:
        ended = run_on_ray(left, place, ray)
    failed = followed(ended, StudyProgress(place.out, len(runs), list(left), steps_of(study)), shown=progress)
    return study_report(study, place, unfinished(study, place, CHANGED) | failed)


def report(study: Study, place: Place) -> Path:
    """Write the report of what is finished of a study, and train nothing.

    Raises:
        UserError: if no two variants have a finished seed in common.
    """
    study, place = prepare(study, place)
    return study_report(study, place, unfinished(study, place, UNFINISHED))


def unfinished(study: Study, place: Place, why: str) -> dict[str, str]:
    """The runs that are not done with the settings of the study, and why."""
    return {name: why for name, experiment in study.runs().items() if not is_done(experiment, place, name)}


def steps_of(study: Study) -> int:
    """Training steps of every run."""
    training = next(iter(study.variants.values())).training
    return training.total_steps(len(load_faces(study.data, progress=False)["train"]) // training.batch_size)
