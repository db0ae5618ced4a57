"""Commands that look at the latent space as a whole: attributes, maps, neighbours, the page to play with it."""

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.commands.faces import told_prior
from dfcvae.data import Faces, data_of, filled, load_faces, source_name
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation import embed
from dfcvae.explore.serve import serve
from dfcvae.fitted import VECTORS, fit_vectors, keep, latent_folder, posteriors
from dfcvae.images import save_png, to_float
from dfcvae.latent import (
    AttributeVectors,
    encode_images,
    image_map,
    label_correlation,
    nearest_neighbours,
    principal_components,
    tsne,
)
from dfcvae.paths import pretrained_models
from dfcvae.plots import heatmaps, labelled_grid, save_figure, scatters
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE, digest

FIRST = "celeba-64"  # the shipped model that the explorer shows unless another one is named
PAIRS = 15  # printed of the most correlated
COLOURED = ("Male", "Smiling", "Eyeglasses", "Blond_Hair", "Young", "Wearing_Hat")  # on a map, unless told otherwise


def attributes(arguments: Any) -> None:
    """Fit attribute vectors, keep them beside the model, and show how they hang together."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, held_out=False)
    splits = load_faces(data)
    vectors = fit_vectors(vae, filled(splits, "train"), arguments.method, arguments.balance)
    file = latent_folder(arguments.model) / VECTORS
    if keep(arguments.model, lambda: vectors.save(file, digest(vae), source_name(data))):
        print(f"Vectors: {file} ({vectors.how})")
    columns = [splits["train"].names.index(name) for name in vectors.names]
    print(vectors_table(vae, vectors, splits["test"]))
    labels = label_correlation(splits["train"].attributes[:, columns])
    print(correlation_table(vectors, labels))
    print(f"All correlations: {write_correlations(vectors, labels, arguments.out.with_suffix('.csv'))}")
    matrices = {"cosine of the vectors": vectors.correlation(), "correlation of the labels": labels}
    print(f"Drawing: {save_figure(heatmaps(matrices, vectors.names), arguments.out)}")


def explore(arguments: Any) -> None:
    """Serve a page to look at a model and play with it."""
    model = arguments.model or (FIRST if FIRST in pretrained_models() else None)
    if model is None:
        raise UserError("Name a model to explore: a run folder, a checkpoint, or an exported folder.")
    serve(model, arguments.source, host=arguments.host, port=arguments.port, show=arguments.open)


def map(arguments: Any) -> None:
    """Lay faces out in the plane by their latents: dots coloured by attribute, and the faces themselves."""
    vae = VAE.load(arguments.model, device=pick_device())
    test = filled(load_faces(data_of(arguments.model, arguments.source)), "test")
    test = test.subset(min(arguments.count, len(test)))
    names = arguments.attributes or [name for name in COLOURED if name in test.names]
    for name in names:
        if name not in test.names:
            raise UserError(f"There is no attribute {name!r}; there are {', '.join(test.names) or 'none'}.")
    mu, _ = posteriors(vae, test)
    if min(mu.shape) < 2:
        raise UserError(f"A map is of 2 faces and 2 latent dimensions or more; {mu.shape[0]} and {mu.shape[1]} came.")
    points = tsne(mu, arguments.seed) if arguments.method == "tsne" else principal_components(mu)
    title = f"{'t-SNE' if arguments.method == 'tsne' else 'Principal components'} of {len(mu):,} posterior means"
    labels = {name: test.attributes[:, test.names.index(name)] for name in names}
    print(save_figure(scatters(points, labels, title), arguments.out))
    faces = arguments.out.with_name(f"{arguments.out.stem}-faces.png")
    print(save_png(image_map(points, to_float(test.images)), faces))


def neighbours(arguments: Any) -> None:
    """Draw samples above the training faces nearest to them, and say how near held-out faces are in comparison."""
    vae = VAE.load(arguments.model, device=pick_device())
    splits = load_faces(data_of(arguments.model, arguments.source, held_out=False))
    train, test = filled(splits, "train"), filled(splits, "test")
    prior = told_prior(arguments.model, vae, arguments.prior, arguments.source)
    z = prior.sample(arguments.count, generator=seeded_generator(arguments.seed, Stream.PICTURES))
    samples = vae.decode_all(z).cpu()
    spaces = {"latents": lambda images: encode_images(vae.encode, images, pick_device())[0]}
    if arguments.judge:
        judge = AttributeNetwork.load(arguments.judge).to(pick_device())
        spaces["the judge's features"] = lambda images: embed(judge.embed, images, pick_device())
    rows, labels = [samples], ["samples"]
    for space, place in spaces.items():
        references = place(train.images)
        distances, indices = nearest_neighbours(place(samples), references)
        others, _ = nearest_neighbours(place(test.images), references)
        print(
            f"Nearest training face in {space}, median distance: {float(distances.median()):.3g} from samples, "
            f"{float(others.median()):.3g} from held-out faces"
        )
        rows.append(to_float(train.images[indices[:, 0]]))
        labels.append(f"nearest in\n{space}")
    print(save_figure(labelled_grid(torch.stack(rows), labels), arguments.out))


def vectors_table(vae: VAE, vectors: AttributeVectors, test: Faces) -> str:
    """How well a face's place along each vector tells whether it has the attribute: the AUROC on held-out faces."""
    mu, _ = posteriors(vae, test)
    lines = [f"{'attribute':<22}{'length':>8}{'AUROC, held-out':>18}"]
    for name, vector in zip(vectors.names, vectors.vectors, strict=True):
        has = test.attributes[: len(mu), test.names.index(name)]
        told = 0 < int(has.sum()) < len(has)
        score = mu @ vector  # standardised, as the metric takes a sigmoid, in which large numbers would be ties
        score = (score - score.mean()) / score.std().clamp_min(1e-9)
        auroc = f"{float(binary_auroc(score, has.long())):.3f}" if told else "-"
        lines.append(f"{name:<22}{float(vector.norm()):>8.2f}{auroc:>18}")
    return "\n".join(lines)


def correlation_table(vectors: AttributeVectors, labels: Tensor) -> str:
    """The pairs of attributes whose vectors are most alike or most opposed, with the correlation of their labels."""
    cosine = vectors.correlation()
    above = torch.triu_indices(len(cosine), len(cosine), 1)
    strongest = cosine[above[0], above[1]].abs().argsort(descending=True)[:PAIRS]
    lines = [f"{'most correlated':<44}{'vectors':>8}{'labels':>8}"]
    for i, j in above[:, strongest].T.tolist():
        pair = f"{vectors.names[i]}, {vectors.names[j]}"
        lines.append(f"{pair:<44}{float(cosine[i, j]):>+8.2f}{float(labels[i, j]):>+8.2f}")
    return "\n".join(lines)


def write_correlations(vectors: AttributeVectors, labels: Tensor, file: Path) -> Path:
    """All pairs as CSV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cosine = vectors.correlation()
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["attribute", "other", "vectors", "labels"])
        for i, name in enumerate(vectors.names):
            for j, other in enumerate(vectors.names):
                writer.writerow([name, other, f"{float(cosine[i, j]):.4f}", f"{float(labels[i, j]):.4f}"])
    return file
