"""The scores of linear probes as text and as plain values, beside published ones where there are any."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.evaluation.probe import CONTROL_SEED, PCA_IMAGES, Probe, mean_scores

MEASURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "auroc": "AUROC"}
CELEBA_ATTRIBUTES = 40
LIU = "Liu et al. 2015 (arXiv 1411.7766), mean as in the code of Hou et al."
PUBLISHED = {  # mean accuracy over CelebA's 40 attributes, and where it is from
    "LNets+ANet": (0.8730, LIU),
    "DFC-VAE, linear SVM": (0.8695, "Hou et al. 2016 (arXiv 1610.00291)"),
    "PANDA-l": (0.8542, LIU),
    "FaceTracer": (0.8113, LIU),
    "majority class": (0.8058, "counted in the first 20,000 images"),
    "PANDA-w": (0.7985, LIU),
}
OTHER_DATA = "Measured on all 202,599 images of CelebA, cropped and split by their authors: other data than above."


def probe_table(result: Probe) -> str:
    """The means over attributes, then every attribute, then what was published on the same attributes."""
    lines = [
        f"Linear probes, fitted to {result.train_images:,} training faces and scored on {result.test_images:,} others.",
        "Codes: " + ", ".join(f"{kind} ({count})" for kind, count in result.dimensions.items()) + ".",
        "",
        f"{f'mean over {len(result.majority)} attributes':<40}" + "".join(f"{name:>10}" for name in MEASURES.values()),
    ]
    lines += [f"{name:<40}" + "".join(f"{mean[key]:>10.3f}" for key in MEASURES) for name, mean in _means(result)]
    lines += ["", *_by_attribute(result)]
    lines += [f"Left out of the means: {name}, {why}." for name, why in result.left_out.items()]
    if _celeba(result):
        lines += ["", "Published mean accuracies over CelebA's 40 attributes.", OTHER_DATA]
        lines += [f"{name:<40}{value:>10.4f}  {source}" for name, (value, source) in PUBLISHED.items()]
    return "\n".join(lines)


def probe_record(result: Probe) -> dict[str, Any]:
    """Everything, as JSON takes it: the fields of `Probe`, the means over attributes, what was published."""
    published = {name: {"accuracy": value, "source": source} for name, (value, source) in PUBLISHED.items()}
    settings = {"control_seed": CONTROL_SEED, "pca_images": min(PCA_IMAGES, result.train_images)}
    record = asdict(result) | settings | {"mean": dict(_means(result))}
    return record | ({"published": {"data": OTHER_DATA, "rows": published}} if _celeba(result) else {})


def _means(result: Probe) -> Iterator[tuple[str, dict[str, float]]]:
    yield "majority class", mean_scores(result.majority)
    for kind, by_classifier in result.scores.items():
        for classifier, scores in by_classifier.items():
            yield f"{kind}, {classifier}", mean_scores(scores)


def _by_attribute(result: Probe) -> Iterator[str]:
    """Both classifiers of the latents, and the AUROC of logistic regression on the controls' codes."""
    yield f"{'':<22}{'accuracy':>30}{'balanced':>10}{'AUROC':>30}"
    columns = ("majority", "SVM", "logistic", "logistic", "latents", "random", "pixels")
    yield f"{'attribute':<22}" + "".join(f"{column:>10}" for column in columns)
    own = result.scores["latents"]
    for name, majority in result.majority.items():
        logistic = own["logistic regression"][name]
        values = [majority["accuracy"], own["linear SVM"][name]["accuracy"]]
        values += [logistic["accuracy"], logistic["balanced_accuracy"]]
        values += [by_classifier["logistic regression"][name]["auroc"] for by_classifier in result.scores.values()]
        yield f"{name:<22}" + "".join(f"{value:>10.3f}" for value in values)


def _celeba(result: Probe) -> bool:
    """Whether the faces have CelebA's attributes; those of synthetic faces are a part of them."""
    names = {*result.majority, *result.left_out}
    return len(names) == CELEBA_ATTRIBUTES and names >= set(ATTRIBUTES)
