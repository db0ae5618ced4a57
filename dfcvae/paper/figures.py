"""The paper's drawings of attributes: walks, the correlation matrix, t-SNE."""

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike

from dfcvae.data import Splits
from dfcvae.fitted import fit_vectors
from dfcvae.images import to_float
from dfcvae.latent import AttributeVectors, encode_images, label_correlation, tsne
from dfcvae.plots import heatmaps, scatters
from dfcvae.reports.blocks import Drawing
from dfcvae.reports.pictures import attribute_walks
from dfcvae.vae import VAE

WALKED = ("Smiling", "Eyeglasses", "Male", "Blond_Hair", "Young", "Wearing_Hat")  # the first of them that there are
WALKS = 3
STRENGTHS = (-2, -1, 0, 1, 2, 3)
MAPPED = 2_000  # faces
COLOURED = 6  # attributes on a map


def vectors_of(models: Mapping[str, VAE], splits: Splits) -> dict[str, AttributeVectors]:
    """Every model's attribute vectors, fitted to the training faces."""
    return {name: fit_vectors(vae, splits["train"]) for name, vae in models.items()}


def walks(models: Mapping[str, VAE], vectors: Mapping[str, AttributeVectors], splits: Splits) -> Drawing:
    """Faces without an attribute, moved along every model's vector of it."""
    test = splits["test"]
    known = next(iter(vectors.values())).names
    names = [name for name in WALKED if name in known][:WALKS] or list(known[:WALKS])
    faces = []
    for i, name in enumerate(names):
        without = (~test.attributes[:, test.names.index(name)]).nonzero().flatten().tolist() or [0]
        faces.append(test.images[without[i % len(without)]])  # another one for every attribute
    return attribute_walks(models, vectors, to_float(torch.stack(faces)), names, STRENGTHS)


def correlations(name: str, vectors: AttributeVectors, splits: Splits) -> Drawing:
    """How alike a model's attribute vectors are, beside how often its training faces have attributes together."""
    train = splits["train"]
    labels = label_correlation(train.attributes[:, [train.names.index(attribute) for attribute in vectors.names]])
    cosines, count = vectors.correlation(), len(vectors.names)
    data: dict[str, ArrayLike | torch.Tensor] = {
        "attribute": [a for a in vectors.names for _ in range(count)],
        "other": list(vectors.names) * count,
        "vectors": cosines.flatten(),
        "labels": labels.flatten(),
    }
    title = f"cosine of the vectors, {name}"
    figure = heatmaps({title: cosines, "correlation of the labels": labels}, vectors.names)
    return Drawing("attribute-correlations", figure, "Correlation of attributes: of vectors, and of labels.", data)


def latent_map(name: str, vae: VAE, splits: Splits) -> Drawing:
    """The test faces' latents in the plane, coloured by attributes."""
    test = splits["test"].subset(min(MAPPED, len(splits["test"])))
    mu, _ = encode_images(vae.encode, test.images, next(vae.parameters()).device)
    points = tsne(mu)
    columns = [test.names.index(attribute) for attribute in WALKED if attribute in test.names][:COLOURED]
    labels = {test.names[column]: test.attributes[:, column] for column in columns}
    figure = scatters(points, labels, f"t-SNE of the posterior means, {name}")
    data = {"face": torch.arange(len(points)), "x": points[:, 0], "y": points[:, 1], **labels}
    caption = f"{len(points):,} test faces. Distances between groups mean little in a t-SNE."
    return Drawing("latent-map", figure, caption, data)
