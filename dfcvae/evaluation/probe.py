"""Linear probes: what a linear classifier reads of a face's attributes in its latents, beside three controls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from sklearn.decomposition import IncrementalPCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import gen_batches
from torch import Tensor
from tqdm import tqdm

from dfcvae.data import Splits
from dfcvae.errors import UserError
from dfcvae.images import to_float
from dfcvae.latent import encode_images
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE, evaluating

AT_MOST = 50_000  # training faces: a hundred weights are known well by then, and more take an SVM minutes
CONTROL_SEED = 0  # of the weights of the untrained encoder
ITERATIONS = 10_000  # at most; some ten are needed, and scikit-learn warns if these do not do
PCA_IMAGES = 10_000  # training images that the components of the pixels are fitted to
PCA_AT_ONCE = 200  # images, as their pixels in floating point are large
Scores = dict[str, float]
"""``accuracy``, ``balanced_accuracy`` and ``auroc``, each from 0 to 1."""


@dataclass(frozen=True)
class Probe:
    """What linear probes of a model and of its controls scored on the test split.

    Args:
        train_images: faces the probes were fitted to.
        test_images: faces they were scored on.
        dimensions: numbers in a code, by kind of codes.
        majority: by attribute, of always saying what most training faces are.
        scores: by kind of codes, classifier and attribute.
        left_out: why there are no scores, by attribute.
    """

    train_images: int
    test_images: int
    dimensions: dict[str, int]
    majority: dict[str, Scores]
    scores: dict[str, dict[str, dict[str, Scores]]]
    left_out: dict[str, str]


def probe_model(vae: VAE, splits: Splits, *, progress: bool = False) -> Probe:
    """Probe a model's posterior means, those of the same network untrained, and as many principal components of pixels.

    Fitted to the training split, its first 50,000 faces if it has more, and scored on all of the test split. The codes
    of one kind are in memory at a time.

    Args:
        vae: the model.
        splits: faces with attributes; ``val`` is not used.
        progress: show a bar.

    Raises:
        UserError: if the faces have no attributes, or none that varies in both splits.
    """
    train, test = splits["train"], splits["test"]
    if len(train) > AT_MOST:
        train = train.subset(AT_MOST)
    left_out = one_valued(train.attributes, test.attributes, train.names)
    if len(left_out) == len(train.names):
        raise UserError(
            "A probe needs an attribute that some faces have and some have not, in the training and in the test split, "
            f"but {len(train):,} and {len(test):,} faces with {len(train.names)} attributes came, and none varies in "
            "both. Name a data set with --source that has attributes and both splits: CelebA, or 'synthetic'."
        )
    dimensions, scores = {}, {}
    kinds = codes_by_kind(vae, train.images, test.images)
    for kind, make in tqdm(kinds.items(), "probing", disable=not progress):
        codes, held_out = make()
        dimensions[kind] = codes.shape[1]
        scores[kind] = probe(codes, train.attributes, held_out, test.attributes, train.names, progress=progress)
    majority = majority_scores(train.attributes, test.attributes, train.names)
    return Probe(len(train), len(test), dimensions, majority, scores, left_out)


def probe(
    train_codes: Tensor,
    train_labels: Tensor,
    test_codes: Tensor,
    test_labels: Tensor,
    names: Sequence[str],
    *,
    progress: bool = False,
) -> dict[str, dict[str, Scores]]:
    """Scores of linear classifiers of codes, by classifier and attribute.

    Each code is standardised, ``(c - m) / s`` with mean m and standard deviation s over the training codes. For labels
    y = -1 or 1, with ``t = y (w . c + b)``, scikit-learn minimises ``|w|^2 / 2 + sum over images of f(t)``: logistic
    regression has ``f(t) = ln(1 + e^-t)``, the linear SVM ``f(t) = max(0, 1 - t)^2``. Classes are not weighted, which
    favours the accuracy: the balanced accuracy of a rare attribute is low even where its AUROC is high.

    Args:
        train_codes: (N, D) on the CPU.
        train_labels: bool (N, A).
        test_codes: (M, D) on the CPU.
        test_labels: bool (M, A).
        names: of the A attributes; those that `one_valued` names are left out.
        progress: show a bar.
    """
    scaler = StandardScaler().fit(train_codes.double().numpy())
    x, held_out = (scaler.transform(codes.double().numpy()) for codes in (train_codes, test_codes))
    classifiers = {
        "logistic regression": LogisticRegression(C=1.0, max_iter=ITERATIONS),
        "linear SVM": LinearSVC(C=1.0, dual=False, max_iter=ITERATIONS),
    }
    scores: dict[str, dict[str, Scores]] = {classifier: {} for classifier in classifiers}
    left_out = one_valued(train_labels, test_labels, names)
    for i, name in enumerate(tqdm(names, "attributes", leave=False, disable=not progress)):
        if name in left_out:
            continue
        for classifier, model in classifiers.items():
            model.fit(x, train_labels[:, i].numpy())
            scores[classifier][name] = _scores(model.decision_function(held_out), test_labels[:, i].numpy())
    return scores


def majority_scores(train_labels: Tensor, test_labels: Tensor, names: Sequence[str]) -> dict[str, Scores]:
    """Scores on labels (M, A) of always saying what most of the training labels (N, A) are; `one_valued` is left out.

    The accuracy is the share of the test faces that are like most training faces; its balanced accuracy and its AUROC
    are 1/2 for every attribute.
    """
    common = train_labels.double().mean(dim=0) > 0.5
    left_out = one_valued(train_labels, test_labels, names)
    return {
        name: _scores(torch.full((len(test_labels),), 2.0 * value - 1).numpy(), test_labels[:, i].numpy())
        for i, (name, value) in enumerate(zip(names, common.tolist(), strict=True))
        if name not in left_out
    }


def mean_scores(scores: dict[str, Scores]) -> Scores:
    """The mean over attributes of each measure."""
    return {name: sum(row[name] for row in scores.values()) / len(scores) for name in next(iter(scores.values()))}


def one_valued(train_labels: Tensor, test_labels: Tensor, names: Sequence[str]) -> dict[str, str]:
    """The attributes that all faces have, or none, in the labels of a split (N, A): where, by name.

    Nothing can be learned from such a training split, and a test split without one of the classes has no AUROC.
    """
    splits = {"train": train_labels, "test": test_labels}
    varies = {split: labels.any(dim=0) & ~labels.all(dim=0) for split, labels in splits.items()}
    found = {name: [split for split in splits if not varies[split][i]] for i, name in enumerate(names)}
    return {name: f"one value only in {' and '.join(where)}" for name, where in found.items() if where}


def codes_by_kind(vae: VAE, train: Tensor, test: Tensor) -> dict[str, Callable[[], tuple[Tensor, Tensor]]]:
    """What makes the codes (N, D) and (M, D) of training and test images: of the model, and of the two controls.

    ``latents``: the posterior means. ``random encoder``: those of `untrained`. ``pixel PCA``: `pixel_components`.
    """
    device = next(vae.parameters()).device

    def means(model: VAE) -> tuple[Tensor, Tensor]:
        with evaluating(model):
            return encode_images(model.encode, train, device)[0], encode_images(model.encode, test, device)[0]

    return {
        "latents": lambda: means(vae),
        "random encoder": lambda: means(untrained(vae).to(device)),
        "pixel PCA": lambda: pixel_components(train, test, vae.latent_dim),
    }


def untrained(vae: VAE) -> VAE:
    """The same network with the initial weights of a fixed seed; on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seeded_generator(CONTROL_SEED, Stream.WEIGHTS).initial_seed())
        return VAE(**vae.config)


def pixel_components(train: Tensor, test: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Principal components of raw pixels: the codes (N, K) and (M, K) of training and test images.

    Fitted to the first 10,000 training images with scikit-learn's IncrementalPCA, a few hundred images at a time
    (Ross et al. 2008, "Incremental learning for robust visual tracking").

    Args:
        train: uint8 (N, C, H, W).
        test: uint8 (M, C, H, W).
        dimensions: the number K of components; less where there are fewer images or pixels.
    """
    images = train[:PCA_IMAGES]
    components = min(dimensions, len(images), images[0].numel())
    pca = IncrementalPCA(components)
    for part in gen_batches(len(images), max(PCA_AT_ONCE, components), min_batch_size=components):
        pca.partial_fit(_pixels(images[part]))
    codes, held_out = (
        torch.cat([torch.as_tensor(pca.transform(_pixels(part))).float() for part in images.split(PCA_AT_ONCE)])
        for images in (train, test)
    )
    return codes, held_out


def _pixels(images: Tensor) -> NDArray:
    return to_float(images).flatten(1).numpy()


def _scores(decision: NDArray, labels: NDArray) -> Scores:
    """Of decision values (M,), positive for those said to have the attribute, and labels, bool (M,)."""
    return {
        "accuracy": float(accuracy_score(labels, decision > 0)),
        "balanced_accuracy": float(balanced_accuracy_score(labels, decision > 0)),
        "auroc": float(roc_auc_score(labels, decision)),
    }
