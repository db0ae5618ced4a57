"""Linear probes: how well a linear classifier reads attributes from latents, beside three controls and literature."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dfcvae.data import filled
from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.errors import UserError
from dfcvae.fitted import Model, first_filled, model_of, splits_of
from dfcvae.images import to_float
from dfcvae.latent import encode_images
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.table import Table
from dfcvae.vae import VAE, evaluating

AT_MOST = 50_000  # training faces: more change a hundred weights by little and take an SVM minutes
CONTROL_SEED = 0  # of the weights of the untrained encoder
ITERATIONS = 10_000  # at most; about ten are needed, and scikit-learn warns if these do not suffice
PCA_IMAGES = 10_000  # training images that the components of the pixels are fitted to
PCA_AT_ONCE = 200  # images, as their pixels in floating point are large
KINDS = ("latents", "random encoder", "pixel PCA")  # of codes: the model's, and those of two controls
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

Scores = dict[str, float]
"""``accuracy``, ``balanced_accuracy`` and ``auroc``, each from 0 to 1."""


@dataclass(frozen=True)
class Probe:
    """What linear probes of a model and of its controls scored on the test split."""

    train_images: int  # faces the probes were fitted to
    test_images: int  # faces they were scored on
    dimensions: dict[str, int]  # numbers in a code, by kind of codes
    majority: dict[str, Scores]  # of always predicting the majority of the training faces, by attribute
    scores: dict[str, dict[str, dict[str, Scores]]]  # by kind of codes, classifier and attribute
    left_out: dict[str, str]  # why an attribute was skipped, by attribute


def probe_model(model: Model, data: Any = None, *, progress: bool = False) -> Probe:
    """Probe a model's posterior means, those of the same network untrained, and as many principal components of pixels.

    Fitted to the training split (at most 50,000 faces) and scored on the test split, one kind of codes at a time.

    Args:
        model: a VAE, or a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        data: faces with attributes, see `dfcvae.fitted.splits_of` (default: the model's training data).
        progress: show a bar.

    Raises:
        UserError: if the faces have no attributes, or none that varies in both splits.
    """
    vae, splits = model_of(model), splits_of(model, data)
    train, test = filled(splits, "train"), first_filled(splits, "test", "val")
    if len(train) > AT_MOST:
        train = train.subset(AT_MOST)
    left_out = one_valued(train.attributes, test.attributes, train.names)
    if len(left_out) == len(train.names):
        raise UserError(
            f"A probe needs an attribute that varies in the training and in the test split; none of the "
            f"{len(train.names)} attributes of these {len(train):,} and {len(test):,} faces does. Name a data set with "
            "--source that has attributes and both splits: CelebA, or 'synthetic'."
        )
    dimensions, scores = {}, {}
    for kind in tqdm(KINDS, "probing", disable=not progress or None):
        codes, held_out = codes_of(kind, vae, train.images, test.images)
        dimensions[kind] = codes.shape[1]
        scores[kind] = probe(codes, train.attributes, held_out, test.attributes, train.names)
    majority = majority_scores(train.attributes, test.attributes, train.names)
    return Probe(len(train), len(test), dimensions, majority, scores, left_out)


def probe(
    train_codes: Tensor, train_labels: Tensor, test_codes: Tensor, test_labels: Tensor, names: Sequence[str]
) -> dict[str, dict[str, Scores]]:
    """Scores of linear classifiers of codes (N, D) for bool labels (N, A), by classifier and attribute.

    Each code is standardised, ``(c - m) / s`` with mean m and standard deviation s over the training codes. For labels
    y = -1 or 1, with ``t = y (w . c + b)``, scikit-learn minimises ``|w|^2 / 2 + sum over images of f(t)``: logistic
    regression has ``f(t) = ln(1 + e^-t)``, the linear SVM ``f(t) = max(0, 1 - t)^2``. Classes are not weighted, which
    favours the accuracy: the balanced accuracy of a rare attribute is low even where its AUROC is high. Attributes that
    `one_valued` names are skipped.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    scaler = StandardScaler().fit(train_codes.double().numpy())
    x, held_out = (scaler.transform(codes.double().numpy()) for codes in (train_codes, test_codes))
    classifiers = {
        "logistic regression": LogisticRegression(C=1.0, max_iter=ITERATIONS),
        "linear SVM": LinearSVC(C=1.0, dual=False, max_iter=ITERATIONS),
    }
    scores: dict[str, dict[str, Scores]] = {classifier: {} for classifier in classifiers}
    left_out = one_valued(train_labels, test_labels, names)
    for i, name in enumerate(names):
        if name in left_out:
            continue
        for classifier, model in classifiers.items():
            decision = model.fit(x, train_labels[:, i].numpy()).decision_function(held_out)
            truth = test_labels[:, i].numpy()
            scores[classifier][name] = {
                "accuracy": float(accuracy_score(truth, decision > 0)),
                "balanced_accuracy": float(balanced_accuracy_score(truth, decision > 0)),
                "auroc": float(roc_auc_score(truth, decision)),
            }
    return scores


def majority_scores(train_labels: Tensor, test_labels: Tensor, names: Sequence[str]) -> dict[str, Scores]:
    """Scores on labels (M, A) of always predicting the majority of the training labels (N, A), without `one_valued`.

    The balanced accuracy and the AUROC are 1/2 for every attribute.
    """
    common = train_labels.double().mean(dim=0) > 0.5
    accuracy = (test_labels == common).double().mean(dim=0).tolist()
    left_out, chance = one_valued(train_labels, test_labels, names), {"balanced_accuracy": 0.5, "auroc": 0.5}
    return {
        name: {"accuracy": value} | chance for name, value in zip(names, accuracy, strict=True) if name not in left_out
    }


def mean_scores(scores: dict[str, Scores]) -> Scores:
    """The mean over attributes of each measure."""
    return {name: sum(row[name] for row in scores.values()) / len(scores) for name in next(iter(scores.values()))}


def one_valued(train_labels: Tensor, test_labels: Tensor, names: Sequence[str]) -> dict[str, str]:
    """Why attributes are skipped, by name: all faces of a split have them, or none, in the labels (N, A).

    Nothing can be learned from such a training split, and a test split without one of the classes has no AUROC.
    """
    splits = {"train": train_labels, "test": test_labels}
    varies = {split: labels.any(dim=0) & ~labels.all(dim=0) for split, labels in splits.items()}
    found = {name: [split for split in splits if not varies[split][i]] for i, name in enumerate(names)}
    return {name: f"one value only in {' and '.join(where)}" for name, where in found.items() if where}


def codes_of(kind: str, vae: VAE, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """The codes (N, D) and (M, D) of training and test images: of the model, or of one of its two controls."""
    if kind == "pixel PCA":
        return pixel_components(train, test, vae.latent_dim)
    device = next(vae.parameters()).device
    model = vae if kind == "latents" else untrained(vae).to(device)
    with evaluating(model):
        return encode_images(model.encode, train, device)[0], encode_images(model.encode, test, device)[0]


def untrained(vae: VAE) -> VAE:
    """The same network with the initial weights of a fixed seed; on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seeded_generator(CONTROL_SEED, Stream.WEIGHTS).initial_seed())
        return VAE(**vae.config)


def pixel_components(train: Tensor, test: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Principal components of raw pixels: the codes (N, K) and (M, K) of training and test images, uint8 (N, C, H, W).

    Fitted to the first 10,000 training images with scikit-learn's IncrementalPCA, a few hundred images at a time
    (Ross et al. 2008, "Incremental learning for robust visual tracking"). K is smaller for fewer images or pixels.
    """
    from sklearn.decomposition import IncrementalPCA
    from sklearn.utils import gen_batches

    def pixels(images: Tensor) -> NDArray:
        return to_float(images).flatten(1).numpy()

    images = train[:PCA_IMAGES]
    components = min(dimensions, len(images), images[0].numel())
    pca = IncrementalPCA(components)
    for part in gen_batches(len(images), max(PCA_AT_ONCE, components), min_batch_size=components):
        pca.partial_fit(pixels(images[part]))

    def codes(images: Tensor) -> Tensor:
        return torch.cat([torch.as_tensor(pca.transform(pixels(part))).float() for part in images.split(PCA_AT_ONCE)])

    return codes(train), codes(test)


def probe_table(result: Probe) -> str:
    """The means over attributes, then every attribute, then published results on the same attributes."""
    means = [[name, *(f"{mean[key]:.3f}" for key in MEASURES)] for name, mean in _means(result)]
    parts = [
        f"Linear probes, fitted to {result.train_images:,} training faces and scored on {result.test_images:,} others."
        "\n"
        f"Codes: {', '.join(f'{kind} ({count})' for kind, count in result.dimensions.items())}.",
        Table([f"mean over {len(result.majority)} attributes", *MEASURES.values()], means).text(),
        _by_attribute(result).text() + "".join(f"\nSkipped: {name}, {why}." for name, why in result.left_out.items()),
    ]
    if _celeba(result):
        parts += [f"{OTHER_DATA}\n{published_table().text()}"]
    return "\n\n".join(parts)


def published_table() -> Table:
    """Published accuracies; see `OTHER_DATA`."""
    rows = [[name, f"{value:.4f}", source] for name, (value, source) in PUBLISHED.items()]
    return Table(["published mean over CelebA's 40 attributes", "accuracy", "source"], rows)


def probe_record(result: Probe) -> dict[str, Any]:
    """Plain values for JSON: the fields of `Probe`, the means over attributes, published results."""
    published = {name: {"accuracy": value, "source": source} for name, (value, source) in PUBLISHED.items()}
    settings = {"control_seed": CONTROL_SEED, "pca_images": min(PCA_IMAGES, result.train_images)}
    record = asdict(result) | settings | {"mean": dict(_means(result))}
    return record | ({"published": {"data": OTHER_DATA, "rows": published}} if _celeba(result) else {})


def _means(result: Probe) -> Iterator[tuple[str, dict[str, float]]]:
    yield "majority class", mean_scores(result.majority)
    for kind, by_classifier in result.scores.items():
        for classifier, scores in by_classifier.items():
            yield f"{kind}, {classifier}", mean_scores(scores)


def _by_attribute(result: Probe) -> Table:
    """Both classifiers of the latents, and the AUROC of logistic regression on the controls' codes."""
    header = ("attribute", "accuracy: majority", "SVM", "logistic", "balanced", "AUROC: latents", "random", "pixels")
    rows, own = [], result.scores["latents"]
    for name, majority in result.majority.items():
        logistic = own["logistic regression"][name]
        values = [majority["accuracy"], own["linear SVM"][name]["accuracy"]]
        values += [logistic["accuracy"], logistic["balanced_accuracy"]]
        values += [by_classifier["logistic regression"][name]["auroc"] for by_classifier in result.scores.values()]
        rows.append([name, *(f"{value:.3f}" for value in values)])
    return Table(header, rows)


def _celeba(result: Probe) -> bool:
    """Whether the faces have CelebA's attributes; those of synthetic faces are a part of them."""
    names = {*result.majority, *result.left_out}
    return len(names) == CELEBA_ATTRIBUTES and names >= set(ATTRIBUTES)
