"""Doing a study: its networks, its runs at equal budget, and their measures. Started again, it resumes."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from filelock import FileLock

from dfcvae.attribute_network import train_features
from dfcvae.config import Experiment, FeatureTraining
from dfcvae.data import Splits, filled, load_faces
from dfcvae.errors import UserError
from dfcvae.executor import run_all
from dfcvae.files import atomic_file, write_atomically
from dfcvae.metrics import read_cost
from dfcvae.report.comparison import Results
from dfcvae.report.evaluated import Evaluated, evaluate_model
from dfcvae.report.models import Model
from dfcvae.report.observers import JudgeFiles, Observers, judge_warnings
from dfcvae.report.tables import in_order
from dfcvae.study import IN_DOMAIN, Study
from dfcvae.training import train

FEATURES = FeatureTraining()
JUDGE = FeatureTraining("vgg11_bn", seed=1)  # another architecture and another seed than the networks it judges
UNFINISHED = "not finished with the settings of the study"


@dataclass(frozen=True)
class Place:
    """The folder of a study, and who looks at its models, see `Observers.load`.

    Without a ``judge`` the study trains an attribute network, if the faces have attributes.
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


def prepare(study: Study, place: Place, *, progress: bool = True) -> tuple[Study, Place]:
    """Train the networks that the study lacks, and name their files in it: ``in-domain`` features, and a judge.

    Raises:
        UserError: if a split is empty, or they cannot be trained.
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
    """An attribute network in a file, trained first if there is no such file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.is_file():
            if progress:
                print(f"\ntraining {file.stem}: {config.arch}, width {config.width:g}", flush=True)
            train_features(config, splits, progress=progress).save(file)
    return file


def do_run(study: Study, place: Place, name: str, progress: bool = False) -> None:
    """Train and measure one run of a prepared study, or resume it, and note its end in ``done/NAME.json``."""
    experiment = study.runs()[name]
    observers = place.observers()  # before the training, which a wrong file would make worthless
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, place.run(name), splits=splits, progress=progress)
    measure_once(experiment, place, name, observers, splits)
    write_atomically(place.out / "done" / f"{name}.json", json.dumps(experiment.as_dict(), indent=2) + "\n")


def train_once(experiment: Experiment, folder: Path, *, splits: Splits, progress: bool = False) -> None:
    """Train into a folder, or resume there; a finished run is left as it is.

    A second process, of a study that was killed and started again while its workers live on, waits for the lock.
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
    return model, evaluate_model(model, experiment.data, splits, observers, cache=cache, progress=False)


def unfinished(study: Study, place: Place) -> dict[str, Experiment]:
    """The runs of a study that are not finished and measured with these settings, by name."""

    def done(experiment: Experiment, name: str) -> bool:
        file = place.out / "done" / f"{name}.json"
        return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and place.run(name).is_dir()

    return {name: experiment for name, experiment in study.runs().items() if not done(experiment, name)}


Report = Callable[[Study, Place, Mapping[str, str]], Path]


def ablate(
    study: Study,
    place: Place,
    *,
    report: Report,
    workers: int | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> Path:
    """Do the unfinished runs of a study and write its report, whose HTML file is returned.

    Those that failed are named in the report, and resume when the study is started again. ``report`` is given the
    study, the place, and their errors by name; for the further arguments see `dfcvae.executor.run_all`.

    Raises:
        UserError: if networks cannot be trained or loaded, there is no cluster, or no two variants can be compared.
    """
    place = replace(place, out=place.out.resolve())  # runs remember where their feature network lies
    place.out.mkdir(parents=True, exist_ok=True)
    place.observers()  # wrong files are reported before hours of work
    study, place = prepare(study, place, progress=progress)
    left = [*unfinished(study, place)]
    if progress:
        count = len(study.runs())
        print(f"{study.name}: {count} runs, {count - len(left)} of them done.", flush=True)
    job = partial(do_run, study, place)
    return report(study, place, run_all(job, left, place.out, workers=workers, ray=ray, progress=progress))


def comparable(study: Study, failed: Mapping[str, str]) -> tuple[Study, list[int]]:
    """The variants of which a seed is finished, and the seeds that all have; a UserError if nothing can be compared."""
    finished = {name: {s for s in range(study.seeds) if f"{name}-{s}" not in failed} for name in study.variants}
    variants = {name: experiment for name, experiment in study.variants.items() if finished[name]}
    seeds = sorted(set.intersection(*(finished[name] for name in variants))) if len(variants) > 1 else []
    if not seeds:
        failures = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise UserError(
            f"No two variants of {study.name} have a seed in common; nothing to compare. Failed: {failures}."
        )
    return replace(study, variants=variants), seeds


def collect(
    study: Study, place: Place, failed: Mapping[str, str], titles: Mapping[str, str] | None = None
) -> tuple[Study, dict[str, str], Results]:
    """Measure the finished runs of a study, write ``results.csv`` with all of them, and gather those to compare.

    Returns:
        The variants that can be compared, the unfinished runs with the reason, and the results, with the variants
        under their ``titles``.
    """
    failed = dict.fromkeys(unfinished(study, place), UNFINISHED) | dict(failed)
    study, seeds = comparable(study, failed)
    splits, observers = load_faces(study.data, progress=False), place.observers()
    names = {name: (titles or {}).get(name, name) for name in study.variants}
    evaluated: dict[str, list[Evaluated]] = {title: [] for title in names.values()}
    models: dict[str, Model] = {}
    table: dict[tuple[str, int], dict[str, float]] = {}
    for seed in range(study.seeds):
        for name, experiment in study.variants.items():
            if (run := f"{name}-{seed}") not in failed:
                model, found = measure_once(experiment, place, run, observers, splits)
                table[name, seed] = found.measured.values()
                if seed in seeds:
                    models.setdefault(names[name], model)
                    evaluated[names[name]].append(found)
    write_results(table, place.out / "results.csv")
    experiments = {name: model.experiment for name, model in models.items()}
    warnings = judge_warnings(observers, experiments, splits["test"])
    return study, failed, Results(study.data, splits, models, evaluated, warnings, seeds)


def write_results(measures: Mapping[tuple[str, int], Mapping[str, float]], file: Path) -> None:
    """All measures of runs as CSV, a row for each, from measures by variant and seed."""
    columns = in_order(key for run in measures.values() for key in run)
    with atomic_file(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["variant", "seed", *columns])
        writer.writerows([*run, *(values.get(key, "") for key in columns)] for run, values in measures.items())
