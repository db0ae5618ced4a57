"""The results section of Hou et al. 2016 for any data set: a study of four losses, and its report."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from dfcvae.ablate import about, collect, numbers
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import source_name
from dfcvae.evaluation import probe
from dfcvae.evaluation.measures import over_seeds
from dfcvae.files import write_atomically
from dfcvae.fitted import fit_vectors, posteriors
from dfcvae.report.blocks import Block, write_report
from dfcvae.report.comparison import Results, comparison, measures
from dfcvae.report.pictures import MAPPED, attribute_correlations, attribute_walks, latent_map
from dfcvae.study import Study, check_features
from dfcvae.table import Table
from dfcvae.vae import VAE, digest

# The reconstruction terms of every loss have a total weight of one, and each term is divided by the variance of its
# target, so that one alpha means the same for all. The paper's models have no pixel term; that of the popular code
# has one.
VAE_123 = FeatureConfig("vae-123", layer_weights=1 / 3, reduction="mean")
LOSSES = {
    "plain": LossConfig(1e-3),
    "vae-123": LossConfig(1e-3, pixel_weight=0, features=VAE_123),
    "vae-345": LossConfig(1e-3, pixel_weight=0, features=replace(VAE_123, preset="vae-345")),
    "dfc": LossConfig(1e-3, pixel_weight=0.5, features=FeatureConfig("dfc", layer_weights=0.125)),
}
FULL = "vae-123-full"
TITLES = {
    "plain": "plain VAE",
    "vae-123": "VAE-123",
    "vae-345": "VAE-345",
    "dfc": "DFC-VAE 14/24/34/43",
    FULL: "VAE-123, full network",
}
DFC = TITLES["dfc"]
T = TypeVar("T")
SCORES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


def paper_study(
    data: DataConfig, epochs: int = 5, seeds: int = 3, features: str = "imagenet", full: str | None = None
) -> Study:
    """The models that the paper compares, which differ in the loss and in nothing else.

    ``features`` are the weights of the feature network: ``"imagenet"``, ``"compact"``, ``"in-domain"`` (trained by the
    study, on the attributes), or a file; ``full`` those of VGG-19 in a further VAE-123, to compare the two networks.
    """
    training = TrainingConfig(epochs, schedule="cosine", ema_decay=0.999, precision="auto")  # as shipped
    variants = {}
    weights = dict.fromkeys(LOSSES, features) | ({FULL: full} if full else {})
    for name, file in weights.items():
        loss = LOSSES["vae-123" if name == FULL else name]
        own = replace(loss.features, weights=file) if loss.features else None
        variants[name] = Experiment(name, data, ModelConfig("smooth"), replace(loss, features=own), training)
        check_features(variants[name])
    return Study("paper", variants, seeds)


def paper_report(study: Study, failed: Mapping[str, str]) -> Path:
    """Write the results section; see `dfcvae.ablate.study_report`. Scores of probes are cached in ``probed/``."""
    study, failed, results = collect(study, failed, TITLES)
    weights = next((e.loss.features.weights for e in study.variants.values() if e.loss.features), "none")
    text = (
        "The experiments of Hou et al. 2016 (arXiv 1610.00291): models that differ in the loss alone. Every term of "
        "every loss is divided by the variance of its target, so that one weight of the KL divergence means the same "
        f"in all. Weights of the feature network: {Path(weights).name}."
    )
    if FULL in study.variants and (full := study.variants[FULL].loss.features):
        text += f" {TITLES[FULL]}: VAE-123 with {Path(full.weights).name}."
    probed = _probed(study, results) if results.splits["train"].names else {}
    more = _attributes(results, probed) if probed else []
    blocks = comparison(results, [text, *about(study, results, failed)], measures(results), more)
    found = numbers(study, results) | {"attribute prediction": probed}
    return write_report("Plain and deep feature consistent VAEs", blocks, study.out, found)


def _attributes(results: Results, probed: Mapping[str, list[dict[str, probe.Scores]]]) -> list[Block]:
    """Walks, correlations, the map, and what probes read in latents."""
    splits, vaes = results.splits, results.vaes()
    vectors = {name: fit_vectors(vae, splits["train"]) for name, vae in vaes.items()}
    mapped = splits["test"].subset(min(MAPPED, len(splits["test"])))
    shown = DFC if DFC in vaes else next(iter(vaes))
    text = (
        "Linear classifiers of the posterior means, fitted to the training faces, scored on the test faces; means over "
        f"{len(splits['train'].names)} attributes (docs/evaluation.md describes the protocol and the controls)."
    )
    rows = [
        [codes, classifier, *(str(over_seeds([one[classifier][key] for one in found])) for key in SCORES)]
        for codes, found in probed.items()
        for classifier in found[0]
    ]
    blocks: list[Block] = [
        "## Attribute vectors",
        attribute_walks(vaes, vectors, splits),
        attribute_correlations(shown, vectors[shown], splits),
        f"## The latent space, {shown}",
        latent_map(posteriors(vaes[shown], mapped)[0], mapped, "tsne"),
        "## Attribute prediction",
        text,
        Table(["codes", "classifier", *SCORES.values()], rows),
    ]
    if len(splits["train"].names) == probe.CELEBA_ATTRIBUTES:
        blocks += [f"Published. {probe.OTHER_DATA}", probe.published_table()]
    return blocks


def _probed(study: Study, results: Results) -> dict[str, list[dict[str, probe.Scores]]]:
    """Mean scores of linear probes by classifier: of the controls, and of every training of every model."""
    train, test = results.splits["train"], results.splits["test"]
    train = train.subset(min(len(train), probe.AT_MOST))
    faces = [source_name(results.data), len(train), len(test), train.fingerprint]

    def scores(vae: VAE, kind: str) -> dict[str, probe.Scores]:
        def probed() -> dict[str, probe.Scores]:
            codes, held_out = probe.codes_of(kind, vae, train.images, test.images)
            by_attribute = probe.probe(codes, train.attributes, held_out, test.attributes, train.names)
            return {classifier: probe.mean_scores(own) for classifier, own in by_attribute.items()}

        return cached(study.out / "probed", [faces, kind, digest(vae) if kind == "latents" else vae.config], probed)

    majority = probe.mean_scores(probe.majority_scores(train.attributes, test.attributes, train.names))
    found: dict[str, list[dict[str, probe.Scores]]] = {"majority class": [{"none": majority}]}
    any_vae = next(iter(results.models.values())).vae
    found |= {kind: [scores(any_vae, kind)] for kind in ("random encoder", "pixel PCA")}
    for variant, name in zip(study.variants, results.models, strict=True):
        found[name] = [scores(study.model(f"{variant}-{seed}").vae, "latents") for seed in results.seeds]
    return found


def cached(folder: Path, key: Any, make: Callable[[], T]) -> T:
    """Plain values, made once for an equal key and kept in a JSON file of the folder."""
    file = folder / f"{sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        write_atomically(file, json.dumps(make(), indent=2) + "\n")
    values: T = json.loads(file.read_text())
    return values
