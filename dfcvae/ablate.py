"""Doing a study: its networks, its runs at equal budget, their measures and its report. Started again, it resumes."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from filelock import FileLock

from dfcvae.attribute_network import train_features
from dfcvae.config import Experiment, FeatureTraining
from dfcvae.data import Splits, filled, load_faces, source_name
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation.judges import COSINE
from dfcvae.executor import run_all
from dfcvae.files import atomic_file, write_atomically
from dfcvae.fitted import fit_after_training
from dfcvae.metrics import read_cost
from dfcvae.report.blocks import write_report
from dfcvae.report.comparison import Results, comparison, measures
from dfcvae.report.observers import Evaluated, Observers, evaluate_model
from dfcvae.report.tables import in_order, title
from dfcvae.run import last_file
from dfcvae.study import IN_DOMAIN, Study
from dfcvae.training import train
from dfcvae.weights import read_metadata

FEATURES = FeatureTraining()
JUDGE = FeatureTraining("vgg11_bn", seed=1)  # another architecture and another seed than the networks it judges
UNFINISHED = "not finished with the settings of the study"
AGREEMENT = "attribute_agreement"  # what another network sees; a feature distance would favour its own layers
Values = Mapping[str, list[dict[str, float]]]
"""Measures of every training by name of the variant."""


def prepare(study: Study, *, may_train: bool = True, progress: bool = True) -> Study:
    """Train the networks that the study lacks, and name their files in it: ``in-domain`` features, and a judge.

    Unless it ``may_train``, those that exist. A UserError if a split is empty, or they cannot be trained.
    """
    splits, file = load_faces(study.data, progress=progress), study.out / "features.safetensors"
    for split in ("train", "test"):
        filled(splits, split)
    variants, judge = dict(study.variants), study.judge
    for name, experiment in study.variants.items():
        if experiment.loss.features is not None and experiment.loss.features.weights == IN_DOMAIN:
            weights = str(trained_network(FEATURES, splits, file, progress) if may_train else file)
            variants[name] = Experiment.load(experiment.as_dict(), {"loss.features.weights": weights})
    own = study.out / "judge.safetensors"
    if not judge and splits["train"].names and (may_train or own.is_file()):
        judge = trained_network(JUDGE, splits, own, progress)
    return replace(study, variants=variants, judge=judge)


def trained_network(config: FeatureTraining, splits: Splits, file: Path, progress: bool) -> Path:
    """An attribute network in a file, trained first if there is no such file; a UserError if it saw other faces."""
    faces = f"{splits['train'].fingerprint}, {splits['train'].images.shape[-1]} pixels"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.is_file():
            if progress:
                print(f"\ntraining {file.stem}: {config.arch}, width {config.width:g}", flush=True)
            train_features(config, splits, progress=progress).save(file, {"faces": faces})
        elif read_metadata(file).get("faces", faces) != faces:
            raise UserError(f"{file} was trained on other faces than this study's. Delete it, or choose another --out.")
    return file


def do_run(study: Study, name: str, progress: bool = False) -> None:
    """Train and measure one run of a prepared study, or resume it, and note its end in ``done/NAME.json``."""
    experiment = study.runs()[name]
    observers = study.observers()  # before the training, which a wrong file would make worthless
    splits = load_faces(experiment.data, progress=False)
    train_once(experiment, study.run(name), splits=splits, progress=progress)
    measure_once(study, name, observers, splits)
    write_atomically(study.out / "done" / f"{name}.json", json.dumps(experiment.as_dict(), indent=2) + "\n")


def train_once(experiment: Experiment, folder: Path, *, splits: Splits, progress: bool = False) -> None:
    """Train into a folder, or resume there; a finished run is left as it is.

    A second process, of a study that was killed and started again while its workers live on, waits for the lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        train(experiment, folder, resume="auto", data=splits, mixture=False, progress=progress)
        device = pick_device(experiment.training.accelerator)
        fit_after_training(last_file(folder), splits, device, progress=progress)  # the model that is measured
    training, images = experiment.training, read_cost(folder).get("images", 0)
    budget = training.total_steps(len(splits["train"]) // training.batch_size) * training.batch_size
    if images > budget:  # a resumed run may be extended, but not shortened
        raise UserError(
            f"{folder} was trained on {images:,} images, but the budget is {budget:,}. Use the number of epochs it was "
            "started with, or another folder."
        )


def measure_once(study: Study, name: str, observers: Observers, splits: Splits) -> Evaluated:
    """The measures of a finished run's model on the test split, cached in ``measured/NAME.safetensors``."""
    cache = study.out / "measured" / f"{name}.safetensors"
    return evaluate_model(study.model(name), study.data, splits, observers, cache=cache, progress=False)


def unfinished(study: Study) -> dict[str, Experiment]:
    """The runs of a study that are not finished and measured with these settings, by name."""

    def done(experiment: Experiment, name: str) -> bool:
        file = study.out / "done" / f"{name}.json"
        return file.is_file() and json.loads(file.read_text()) == experiment.as_dict() and study.run(name).is_dir()

    return {name: experiment for name, experiment in study.runs().items() if not done(experiment, name)}


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
    study: Study, failed: Mapping[str, str], titles: Mapping[str, str] | None = None
) -> tuple[Study, dict[str, str], Results]:
    """Measure the finished runs of a study, write ``results.csv`` with all of them, and gather those to compare.

    Returns the variants that can be compared, the unfinished runs with the reason, and the results by ``titles``.
    """
    failed = dict.fromkeys(unfinished(study), UNFINISHED) | dict(failed)
    study, seeds = comparable(study, failed)
    splits, observers = load_faces(study.data, progress=False), study.observers()
    found = {
        (name, seed): measure_once(study, f"{name}-{seed}", observers, splits)
        for seed in range(study.seeds)
        for name in study.variants
        if f"{name}-{seed}" not in failed
    }
    write_results({run: one.measured.values() for run, one in found.items()}, study.out / "results.csv")
    names = {name: (titles or {}).get(name, name) for name in study.variants}
    models = {title: study.model(f"{name}-{seeds[0]}") for name, title in names.items()}
    evaluated = {title: [found[name, seed] for seed in seeds] for name, title in names.items()}
    return study, failed, Results(study.data, splits, models, evaluated, observers, seeds)


def write_results(measures: Mapping[tuple[str, int], Mapping[str, float]], file: Path) -> None:
    """All measures of runs as CSV, a row for each, from measures by variant and seed."""
    columns = in_order(key for run in measures.values() for key in run)
    with atomic_file(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["variant", "seed", *columns])
        writer.writerows([*run, *(values.get(key, "") for key in columns)] for run, values in measures.items())


def study_report(study: Study, failed: Mapping[str, str]) -> Path:
    """Write ``report.html``, whose path is returned, ``report.md``, ``metrics.json``, ``results.csv`` and the figures.

    ``failed`` has errors of runs, by name. A UserError if fewer than two variants have a seed in common.
    """
    study, failed, results = collect(study, failed)
    values = {name: [found.measured.values() for found in of] for name, of in results.evaluated.items()}
    best = f"Best first, by {title(ranked_by(values))}: {', '.join(ranked(values))}."
    blocks = comparison(results, about(study, results, failed), ["## Ranking", best, *measures(results)])
    return write_report(f"Study: {study.name}", blocks, study.out, numbers(study, results))


def numbers(study: Study, results: Results) -> dict[str, object]:
    """All numbers of the compared runs by name, for ``metrics.json``."""
    runs = zip(study.variants, results.evaluated.values(), strict=True)
    return {
        f"{name}-{seed}": found.as_json() for name, of in runs for seed, found in zip(results.seeds, of, strict=True)
    }


def about(study: Study, results: Results, failed: Mapping[str, str]) -> list[str]:
    """What was done, and the runs that are not finished."""
    images = int(fmean(read_cost(model.folder).get("images", 0) for model in results.models.values()))
    text = (
        f"{len(study.variants)} variants, {len(results.seeds)} seed{'s' * (len(results.seeds) > 1)}; each training saw "
        f"{images:,} images, from {len(results.splits['train']):,} of {source_name(study.data)} at {study.data.size} "
        f"pixels; {len(results.splits['test']):,} test faces. All variants of a seed see the same images in the same "
        "order and, where the network is the same, start from the same weights; each is measured after its last step. "
        f"Pictures, curves, costs and settings are those of seed {results.seeds[0]}."
    )
    if not failed:
        return [text]
    explanation = (
        "These runs are not finished. Variants without a finished run are left out, and so are seeds that a variant "
        "lacks. Start the study again to resume them."
    )
    return [text, "## Failed runs", explanation, f"```\n{json.dumps(dict(failed), indent=2)}\n```"]


def ranked_by(values: Values) -> str:
    """The measure that decides: what a judge sees, preferably one of another kind; without any, SSIM."""
    first, *others = (run for runs in values.values() for run in runs)
    common = [name for name in first if all(name in run for run in others)]
    cosine = next((name for name in common if name.endswith(f"/{COSINE}")), None)
    return cosine or (AGREEMENT if AGREEMENT in common else "ssim")


def ranked(values: Values) -> list[str]:
    """Variants, the best first."""
    return sorted(values, key=lambda name: -fmean(run[ranked_by(values)] for run in values[name]))


def ablate(
    study: Study,
    *,
    report: Callable[[Study, Mapping[str, str]], Path] = study_report,
    workers: int | None = None,
    ray: str | None = None,
    progress: bool = True,
) -> Path:
    """Do the unfinished runs of a study and write its report, whose HTML file is returned.

    Those that failed are named in the report, and resume when the study is started again. ``report`` is given the
    study and their errors by name; for the further arguments see `dfcvae.executor.run_all`. A UserError if networks
    cannot be trained or loaded, there is no cluster, or no two variants can be compared.
    """
    study = replace(study, out=study.out.resolve())  # runs store the path of their feature network
    study.out.mkdir(parents=True, exist_ok=True)
    study.observers()  # wrong files are reported before hours of training
    study = prepare(study, progress=progress)
    left = [*unfinished(study)]
    if progress:
        count = len(study.runs())
        print(f"{study.name}: {count} runs, {count - len(left)} of them done.", flush=True)
    job = partial(do_run, study)
    return report(study, run_all(job, left, study.out, workers=workers, ray=ray, progress=progress))
