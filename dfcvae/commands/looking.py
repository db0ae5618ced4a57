"""Commands that show the whole latent space: attribute vectors, maps, neighbours."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfcvae.commands.arguments import Model, Picture, Prior, Scale, Source
from dfcvae.fields import Positive, Seed

if TYPE_CHECKING:
    from dfcvae.data import Faces
    from dfcvae.latent import AttributeVectors
    from dfcvae.table import Table
    from dfcvae.vae import VAE


def attributes(
    model: Model,
    *,
    source: Source = None,
    method: Literal["means", "classifier"] = "means",
    balance: Sequence[str] = (),
    out: Path = Path("attribute-correlations.png"),
) -> None:
    """Fit attribute vectors and show their correlations.

    Args:
        method: the difference of the class means, or the normal of a linear classifier.
        balance: attributes to balance between the faces with and without another one.
        out: drawing of the correlations (PNG); the numbers lie beside it as CSV, the drawing also as PDF.
    """
    from dataclasses import replace

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
    print(_vectors_table(vae, vectors, splits["test"]).text())
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(attribute_correlations(str(model), vectors, splits), name=out.stem).save(out.parent)
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
        out: the dots (PNG, beside it PDF and CSV); the faces themselves are drawn in NAME-faces.png.
    """
    from dataclasses import replace

    import torch

    from dfcvae import images, latent
    from dfcvae.report.pictures import latent_map as draw_map
    from dfcvae.trained import Trained

    trained = Trained(model, source)
    test = trained.held_out.subset(min(count, len(trained.held_out)))
    drawing = draw_map(trained.posteriors(test.images)[0], test, method, attributes, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(drawing, name=out.stem).save(out.parent)
    points = torch.stack([torch.as_tensor(drawing.data[axis]) for axis in ("x", "y")], dim=1)
    faces = latent.image_map(points, images.to_float(test.images))
    print(out.with_suffix(".png"))
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


def _vectors_table(vae: "VAE", vectors: "AttributeVectors", test: "Faces") -> "Table":
    """How well the position along each vector predicts the attribute: the AUROC on held-out faces."""
    from dfcvae.attribute_network import attribute_scores
    from dfcvae.fitted import posteriors
    from dfcvae.table import Table

    mu, _ = posteriors(vae, test)
    has = test.attributes[: len(mu), [test.names.index(name) for name in vectors.names]]
    scores = attribute_scores(mu @ vectors.vectors.T, has, vectors.names)
    lengths = dict(zip(vectors.names, vectors.vectors.norm(dim=1).tolist(), strict=True))
    aurocs = [scores[name]["auroc"] for name in lengths]
    ranked = ["all faces alike" if isnan(auroc) else f"{auroc:.3f}" for auroc in aurocs]
    rows = [[name, f"{length:.2f}", rank] for (name, length), rank in zip(lengths.items(), ranked, strict=True)]
    return Table(["attribute", "length", "AUROC, held-out"], rows)
