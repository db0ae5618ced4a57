"""The long work behind the report, each piece of which is kept and never done twice."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dfcvae.config import DataConfig
from dfcvae.data import Splits, source_name
from dfcvae.evaluation.probe import AT_MOST, Scores, codes_by_kind, majority_scores, mean_scores, probe
from dfcvae.feature_config import FeatureTraining
from dfcvae.files import write_whole
from dfcvae.fitted import prior_file
from dfcvae.latent import Prior
from dfcvae.latent.stored import OtherFitError
from dfcvae.paper.variants import TITLES, VARIANTS, variant
from dfcvae.ranges import Positive, check
from dfcvae.reports.comparison import Model
from dfcvae.reports.evaluated import Evaluated, evaluate_model
from dfcvae.reports.observers import JudgeFiles, Observers, partial_judges
from dfcvae.studies.networks import FEATURES, IN_DOMAIN, JUDGE, trained_network
from dfcvae.studies.one_run import last_model, run_folder, train_once
from dfcvae.vae import VAE, digest


@dataclass(frozen=True)
class PaperSettings:
    """What the results section is made for.

    Args:
        data: the faces.
        epochs: passes over the training images, the same for every model; the paper has 5.
        seeds: trainings of every model.
        features: of the feature network: ``"imagenet"``, ``"in-domain"`` (trained here, on the attributes), or a file.
        judge: files of judges, at most one attribute network among them; None trains one here.
        fid: weights of Inception for FID and KID: a file, or ``"download"``; None leaves them out.
        lpips: download what LPIPS needs, where it is missing.
        feature_training: how an in-domain feature network is trained.
        judge_training: how the judge is trained: another architecture and another seed.
    """

    data: DataConfig
    epochs: int = 5
    seeds: int = 3
    features: str = "imagenet"
    judge: JudgeFiles = None
    fid: str | None = None
    lpips: bool = False
    feature_training: FeatureTraining = FEATURES
    judge_training: FeatureTraining = JUDGE

    def __post_init__(self) -> None:
        check({"epochs": self.epochs, "seeds": self.seeds}, {"epochs": Positive, "seeds": Positive})


@dataclass(frozen=True)
class Work:
    """Everything the report tells of.

    Args:
        models: by variant, one for each seed.
        evaluated: the measures of each.
        probes: mean scores of linear probes by variant, one entry for each seed, by classifier; empty without
            attributes.
        controls: mean scores by kind of codes and classifier.
        warnings: sentences on judges that learned the same as a feature network.
    """

    models: dict[str, list[Model]]
    evaluated: dict[str, list[Evaluated]]
    probes: dict[str, list[dict[str, Scores]]]
    controls: dict[str, dict[str, Scores]]
    warnings: Sequence[str] = ()


def do_work(settings: PaperSettings, splits: Splits, out: Path, progress: bool) -> Work:
    """Train, measure and probe all models; what is found in ``out`` already is taken as it is.

    Raises:
        UserError: if something in ``out`` was made with other settings.
    """
    features = settings.features
    if features == IN_DOMAIN:
        features = str(trained_network(settings.feature_training, splits, out / "features.safetensors", progress))
    judge = settings.judge or trained_network(settings.judge_training, splits, out / "judge.safetensors", progress)
    observers = Observers.load(judge, settings.fid, settings.lpips)  # mistaken files show before hours of work
    models: dict[str, list[Model]] = {name: [] for name in VARIANTS}
    for seed in range(settings.seeds):  # all models of a seed before the next, so that a part of the work compares
        for i, name in enumerate(VARIANTS):
            if progress:
                done, todo = seed * len(VARIANTS) + i + 1, settings.seeds * len(VARIANTS)
                print(f"\n[{done} of {todo}] {name}, seed {seed}", flush=True)
            experiment = variant(name, settings.data, features, settings.epochs, seed)
            folder = train_once(experiment, run_folder(out, f"{name}-{seed}"), splits=splits, progress=progress)
            models[name].append(last_model(folder))
    evaluated = {
        name: [
            evaluate_model(
                model.vae,
                settings.data,
                splits,
                observers,
                mixture=mixture_of(model),
                kept=out / "measured" / f"{model.folder.name}.safetensors",
                progress=progress,
            )
            for model in found
        ]
        for name, found in models.items()
    }
    warnings = partial_judges(observers, {TITLES[name]: found[0].experiment for name, found in models.items()})
    return Work(models, evaluated, *probed(models, splits, settings.data, out / "probed", progress), warnings)


def mixture_of(model: Model) -> Prior | None:
    """The mixture kept with a run, if it was fitted to the model after the last step, which is measured."""
    file = prior_file(model.folder, "gmm")
    try:
        return Prior.load(file, digest(model.vae)) if file.is_file() else None
    except OtherFitError:
        return None


def probed(
    models: dict[str, list[Model]], splits: Splits, data: DataConfig, folder: Path, progress: bool
) -> tuple[dict[str, list[dict[str, Scores]]], dict[str, dict[str, Scores]]]:
    """Mean scores of linear probes, of all models and of what needs no training."""
    train, test = splits["train"], splits["test"]
    if not train.names:
        return {}, {}
    train = train.subset(min(len(train), AT_MOST))
    labels = (train.attributes, test.attributes, train.names)

    def scores(vae: VAE, kind: str) -> dict[str, Scores]:
        codes, held_out = codes_by_kind(vae, train.images, test.images)[kind]()
        by_classifier = probe(codes, labels[0], held_out, labels[1], labels[2], progress=progress)
        return {classifier: mean_scores(found) for classifier, found in by_classifier.items()}

    about = {"source": source_name(data), "faces": [len(train), len(test), train.fingerprint]}
    probes: dict[str, list[dict[str, Scores]]] = {
        name: [
            kept(
                folder / f"{model.folder.name}.json",
                about | {"model": digest(model.vae)},
                partial(scores, model.vae, "latents"),
            )
            for model in found
        ]
        for name, found in models.items()
    }
    vae = next(iter(models.values()))[0].vae
    controls: dict[str, dict[str, Scores]] = {
        kind: kept(folder / f"{kind.replace(' ', '-')}.json", about | vae.config, partial(scores, vae, kind))
        for kind in ("random encoder", "pixel PCA")
    }
    return probes, {"majority class": {"none": mean_scores(majority_scores(*labels))}} | controls


def kept(file: Path, of: dict[str, Any], make: Callable[[], dict[str, Scores]]) -> dict[str, Scores]:
    """Scores from a file, if they are of the same model and faces; else they are made, and kept there."""
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        if found["of"] == of:
            return dict(found["found"])
    made = make()
    write_whole(file, json.dumps({"of": of, "found": made}, indent=2) + "\n")
    return made
