"""Commands that show the whole latent space: attribute vectors, maps, neighbours."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfcvae.commands.arguments import Model, Picture, Prior, Scale, Source
from dfcvae.errors import UserError, nearest
from dfcvae.ranges import Positive, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from dfcvae.data import Faces
    from dfcvae.latent import AttributeVectors
    from dfcvae.vae import VAE

PAIRS = 15  # printed of the most correlated
COLOURED = ("Male", "Smiling", "Eyeglasses", "Blond_Hair", "Young", "Wearing_Hat")  # default of a map


def attributes(
    model: Model,
    *,
    source: Source = None,
    method: Literal["means", "classifier"] = "means",
    balance: Sequence[str] = (),
    out: Path = Path("attributes.png"),
) -> None:
    """Fit attribute vectors and show their correlations.

    Args:
        method: the difference of the class means, or the normal of a linear classifier.
        balance: attributes in which faces with and without another one shall not differ.
        out: drawing of the correlations (PNG); the numbers lie beside it as CSV, the drawing also as PDF.
    """
    from dataclasses import replace

    import torch

    from dfcvae import fitted
    from dfcvae.commands.faces import load_vae
    from dfcvae.data import data_of, filled, load_faces, source_name
    from dfcvae.report.pictures import attribute_correlations
    from dfcvae.vae import digest

    vae = load_vae(model)
    data = data_of(model, source, held_out=False)
    splits = load_faces(data)
    vectors = fitted.fit_vectors(vae, filled(splits, "train"), method, balance)
    file = fitted.latent_folder(model) / fitted.VECTORS
    if fitted.save_if_possible(model, lambda: vectors.save(file, digest(vae), source_name(data))):
        print(f"Vectors: {file} ({vectors.how})")
    print(_vectors_table(vae, vectors, splits["test"]))
    drawing = attribute_correlations(str(model), vectors, splits)
    count = len(vectors.names)
    print(_correlation_table(vectors, torch.as_tensor(drawing.data["labels"]).view(count, count)))
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(drawing, name=out.stem).save(out.parent)
    print(f"All correlations: {out.with_suffix('.csv')}\nDrawing: {out.with_suffix('.png')}")


def latent_map(
    model: Model,
    *,
    source: Source = None,
    method: Literal["tsne", "pca"] = "tsne",
    attributes: Sequence[str] = (),
    count: Positive = 2000,
    seed: Seed = 0,
    out: Path = Path("map.png"),
) -> None:
    """Map faces onto the plane by their latents: dots coloured by attribute, and the faces themselves.

    Args:
        method: t-SNE, or the first two principal components.
        attributes: attributes to colour by.
        count: number of test faces.
        seed: of t-SNE.
        out: the dots (PNG); the faces themselves are drawn beside it, in NAME-faces.png.
    """
    from dfcvae import images, latent, plots
    from dfcvae.trained import Trained

    trained = Trained(model, source)
    test = trained.held_out.subset(min(count, len(trained.held_out)))
    names = attributes or [name for name in COLOURED if name in test.names]
    for name in names:
        if name not in test.names:
            known = ", ".join(test.names) or "none"
            raise UserError(f"There is no attribute {name!r}{nearest(name, test.names)}; expected one of {known}.")
    mu, _ = trained.posteriors(test.images)
    if min(mu.shape) < 2:
        raise UserError(f"A map needs at least 2 faces and 2 latent dimensions, got {mu.shape[0]} and {mu.shape[1]}.")
    points = latent.tsne(mu, seed) if method == "tsne" else latent.principal_components(mu)
    title = f"{'t-SNE' if method == 'tsne' else 'Principal components'} of {len(mu):,} posterior means"
    labels = {name: test.attributes[:, test.names.index(name)] for name in names}
    print(plots.save_figure(plots.scatters(points, labels, title), out))
    faces = latent.image_map(points, images.to_float(test.images))
    print(images.save_png(faces, out.with_name(f"{out.stem}-faces.png")))


def neighbours(
    model: Model,
    *,
    source: Source = None,
    judge: Path | None = None,
    count: Positive = 8,
    prior: Prior = "auto",
    seed: Seed = 0,
    out: Picture = None,
    scale: Scale = None,
) -> None:
    """Show the training faces nearest to samples, and how near held-out faces are in comparison.

    Args:
        judge: compare in the features of this attribute network too.
        count: number of samples.
        seed: of the samples.
        out: default: neighbours.png.
    """
    from dfcvae import evaluation, latent
    from dfcvae.attribute_network import AttributeNetwork
    from dfcvae.commands import faces
    from dfcvae.data import data_of, filled, load_faces
    from dfcvae.device import pick_device
    from dfcvae.images import to_float
    from dfcvae.trained import Trained

    trained = Trained(model, source)
    splits = load_faces(data_of(model, source, held_out=False))
    train, test = filled(splits, "train"), filled(splits, "test")
    samples = trained.decode(faces.draws(trained, count, prior=prior, seed=seed))
    spaces = {"latents": lambda images: trained.posteriors(images)[0]}
    if judge:
        network = AttributeNetwork.load(judge).to(pick_device())
        spaces["the judge's features"] = lambda images: evaluation.embed(network.embed, images, pick_device())
    rows = {"samples": samples}
    for space, embedded in spaces.items():
        references = embedded(train.images)
        distances, indices = latent.nearest_neighbours(embedded(samples), references)
        others, _ = latent.nearest_neighbours(embedded(test.images), references)
        print(
            f"Nearest training face in {space}, median distance: {float(distances.median()):.3g} from samples, "
            f"{float(others.median()):.3g} from held-out faces"
        )
        rows[f"nearest in\n{space}"] = to_float(train.images[indices[:, 0]])
    names = [f"sample {i}" for i in range(count)]
    faces.save_rows(rows, names, faces.place(out, "neighbours"), scale)


def _vectors_table(vae: "VAE", vectors: "AttributeVectors", test: "Faces") -> str:
    """How well the position along each vector predicts the attribute: the AUROC on held-out faces."""
    from torchmetrics.functional.classification import binary_auroc

    from dfcvae.fitted import posteriors

    mu, _ = posteriors(vae, test)
    lines = [f"{'attribute':<22}{'length':>8}{'AUROC, held-out':>18}"]
    for name, vector in zip(vectors.names, vectors.vectors, strict=True):
        has = test.attributes[: len(mu), test.names.index(name)]
        varies = 0 < int(has.sum()) < len(has)
        score = mu @ vector  # standardised, as the metric takes a sigmoid, in which large numbers would be ties
        score = (score - score.mean()) / score.std().clamp_min(1e-9)
        auroc = f"{float(binary_auroc(score, has.long())):.3f}" if varies else "-"
        lines.append(f"{name:<22}{float(vector.norm()):>8.2f}{auroc:>18}")
    return "\n".join(lines)


def _correlation_table(vectors: "AttributeVectors", labels: "Tensor") -> str:
    """The pairs of attributes whose vectors are most alike or most opposed, with the correlation of their labels."""
    import torch

    cosine = vectors.correlation()
    above = torch.triu_indices(len(cosine), len(cosine), 1)
    strongest = cosine[above[0], above[1]].abs().argsort(descending=True)[:PAIRS]
    lines = [f"{'most correlated':<44}{'vectors':>8}{'labels':>8}"]
    for i, j in above[:, strongest].T.tolist():
        pair = f"{vectors.names[i]}, {vectors.names[j]}"
        lines.append(f"{pair:<44}{float(cosine[i, j]):>+8.2f}{float(labels[i, j]):>+8.2f}")
    return "\n".join(lines)
