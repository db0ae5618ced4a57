"""The same faces and latents through several models, side by side, and their attribute vectors."""

from collections.abc import Mapping, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dfcvae import files
from dfcvae.data import Faces, Splits
from dfcvae.errors import UserError
from dfcvae.fitted import VECTORS, latent_folder, load_prior, posteriors
from dfcvae.images import to_float, to_rgb
from dfcvae.latent import AttributeVectors, Prior, interpolate, label_correlation, principal_components, tsne
from dfcvae.latent.attributes import index_of
from dfcvae.plots import heatmaps, scatters
from dfcvae.report.blocks import Block, Drawing
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.sheet import sheet
from dfcvae.trained import frontal_first
from dfcvae.vae import VAE, digest

Models = Mapping[str, VAE]

WALKED = ("Smiling", "Eyeglasses", "Male", "Blond_Hair", "Young", "Wearing_Hat")  # the most visible attributes first
WALKS, STRENGTHS = 3, (-2, -1, 0, 1, 2, 3)
EDITED, EDIT_STRENGTHS = 3, (-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)  # of a shipped model
MAPPED = 2_000  # faces of a latent map


def reconstructions(models: Models, x: Tensor) -> Drawing:
    """Faces (N, C, H, W) in [0, 1] above each model's reconstructions of them."""
    latents = {name: posteriors(vae, x)[0] for name, vae in models.items()}
    rows = [x.cpu(), *(vae.decode_all(latents[name]).cpu() for name, vae in models.items())]
    caption = "Faces of the test split, and reconstructions from the posterior mean."
    data = {f"mu {name}": mu for name, mu in latents.items()}
    return _drawing("reconstructions", rows, ["original", *models], caption, data)


def samples(
    models: Models, count: int, lines: int, seed: int = 0, mixtures: Mapping[str, Prior] | None = None
) -> Drawing:
    """Decoded draws in ``lines`` rows of ``count`` each: of a model's fitted mixture, if any, and from N(0, I).

    The latents from N(0, I) are the same for every model; one with fewer dimensions takes the first numbers of each.
    """
    most, mixtures = max(vae.latent_dim for vae in models.values()), mixtures or {}
    z = torch.randn(count * lines, most, generator=seeded_generator(seed, Stream.PICTURES))
    rows: list[Tensor] = []
    names, data = [], {"z": z}
    for name, vae in models.items():
        draws = {f"{name}\nN(0, I)" if mixtures else name: z[:, : vae.latent_dim]}
        if name in mixtures:
            fitted = mixtures[name].sample(count * lines, generator=seeded_generator(seed, Stream.PICTURES))
            draws, data[f"z {name}"] = {f"{name}\nmixture": fitted} | draws, fitted
        for label, latents in draws.items():
            rows += vae.decode_all(latents).cpu().split(count)
            names += [label, *[""] * (lines - 1)]
    fitted_too = "from the mixture fitted to the latents of the training faces, and " if mixtures else ""
    caption = f"Samples, none selected: {fitted_too}from N(0, I), the same latents for all."
    return _drawing("samples", rows, names, caption, data)


def interpolations(models: Models, x: Tensor, steps: int) -> Drawing:
    """The straight line between the latents of each pair of faces (2 P, C, H, W), with the faces at its ends."""
    rows, names, data = [], [], {}
    for pair, ends in enumerate(x.split(2)):
        for name, vae in models.items():
            mu = posteriors(vae, ends)[0]
            between = vae.decode_all(interpolate(mu[0], mu[1], steps)).cpu()
            rows.append(torch.cat([to_rgb(ends[:1]).cpu(), to_rgb(between), to_rgb(ends[1:]).cpu()]))
            names.append(name)
            data[f"mu {name} {pair}"] = mu
    caption = "Between the posterior means of two test faces, shown at the ends."
    return _drawing("interpolations", rows, names, caption, data)


def attribute_walks(models: Models, vectors: Mapping[str, AttributeVectors], splits: Splits) -> Drawing:
    """Test faces without an attribute, moved along each model's vector of it."""
    test = splits["test"]
    names, frontal = next(iter(vectors.values())).names, frontal_first(test)
    rows, labels, data = [], [], {}
    for i, attribute in enumerate([name for name in WALKED if name in names][:WALKS] or names[:WALKS]):
        has = test.attributes[:, test.names.index(attribute)]
        without = [face for face in frontal if not has[face]] or frontal
        face = to_float(test.images[without[i % len(without)]][None])  # another face for every attribute
        for name, vae in models.items():
            mu = posteriors(vae, face)[0]
            z = torch.cat([vectors[name].edit(mu, {attribute: strength}) for strength in STRENGTHS])
            rows.append(torch.cat([to_rgb(face).cpu(), to_rgb(vae.decode_all(z)).cpu()]))
            labels.append(f"{attribute}\n{name}")
            data[f"{attribute} {name}"] = z
    caption = "Test faces along attribute vectors; +1 is the distance between faces without and with the attribute."
    columns = ["original", *(f"{strength:+g}" for strength in STRENGTHS)]
    return _drawing("attribute-walks", rows, labels, caption, data, columns)


def attribute_correlations(name: str, vectors: AttributeVectors, splits: Splits) -> Drawing:
    """Cosines between a model's attribute vectors, beside the correlations of the training faces' labels."""
    train = splits["train"]
    labels = label_correlation(train.attributes[:, [train.names.index(attribute) for attribute in vectors.names]])
    cosines, count = vectors.correlation(), len(vectors.names)
    data: dict[str, ArrayLike | Tensor] = {
        "attribute": [a for a in vectors.names for _ in range(count)],
        "other": list(vectors.names) * count,
        "vectors": cosines.flatten(),
        "labels": labels.flatten(),
    }
    matrices = {f"cosine of the vectors, {name}": cosines, "correlation of the labels": labels}
    caption = "Correlation of attributes: of vectors, and of labels."
    return Drawing("attribute-correlations", heatmaps(matrices, vectors.names), caption, data)


def latent_map(mu: Tensor, faces: Faces, how: str, attributes: Sequence[str] = (), seed: int = 0) -> Drawing:
    """Posterior means (N, D) of faces in the plane, coloured by attributes, by default the most visible ones.

    ``how`` is ``"tsne"``, seeded, or ``"pca"``. A UserError if there are too few faces or dimensions, or there is no
    such attribute.
    """
    if min(mu.shape) < 2:
        raise UserError(f"A map needs at least 2 faces and 2 latent dimensions, got {mu.shape[0]} and {mu.shape[1]}.")
    points = tsne(mu, seed) if how == "tsne" else principal_components(mu)
    names = attributes or [attribute for attribute in WALKED if attribute in faces.names]
    labels = {attribute: faces.attributes[:, index_of(faces.names, attribute)] for attribute in names}
    title = f"{'t-SNE' if how == 'tsne' else 'Principal components'} of {len(mu):,} posterior means"
    data = labels | {"face": torch.arange(len(points)), "x": points[:, 0], "y": points[:, 1]}
    caption = f"{len(points):,} test faces. Distances between groups mean little in a t-SNE."
    return Drawing("latent-map", scatters(points, labels, title), caption, data)


def shipped_models(seed: int = 0) -> list[Block]:
    """What the models that ship with the package draw, if there are any; a UserError if a file is corrupted."""
    names = files.pretrained_models()
    if not names:
        return []
    text = (
        "These models were trained on photographs (CelebA, for non-commercial research), and for longer. None of these "
        "faces is a photograph: all are decoded from draws from the models' priors, and none was selected. Commands "
        f"take a model by its name: `dfcvae sample {names[0]}`."
    )
    return ["## Models that ship with the package", text, *(shipped_drawing(name, seed) for name in names)]


def shipped_drawing(name: str, seed: int = 0) -> Drawing:
    """Draws from a shipped model's prior, the line between two of them, and others moved along attribute vectors."""
    folder = files.PRETRAINED / name
    vae = VAE.load(folder)
    prior, vectors = load_prior(folder, vae=vae), AttributeVectors.load(latent_folder(folder) / VECTORS, digest(vae))
    attributes, columns = WALKED[:EDITED], len(EDIT_STRENGTHS)
    z = prior.sample(2 * columns + 2 + EDITED, generator=seeded_generator(seed, Stream.PICTURES))
    first, second, ends, faces = z.split([columns, columns, 2, EDITED])
    latents = [first, second, interpolate(ends[0], ends[1], columns)]
    for face, attribute in zip(faces, attributes, strict=True):
        latents.append(torch.cat([vectors.edit(face[None], {attribute: strength}) for strength in EDIT_STRENGTHS]))
    labels = ["samples", "", "interpolation", *attributes]
    caption = (
        f"{name}: samples from the model's prior ({prior}); the line between two draws; draws moved along attribute "
        f"vectors, from {EDIT_STRENGTHS[0]:+g} (left) to {EDIT_STRENGTHS[-1]:+g} (right)."
    )
    rows = [vae.decode_all(row) for row in latents]
    return _drawing(f"shipped-{name}", rows, labels, caption, {"z": torch.stack(latents)})


def _drawing(
    name: str,
    rows: Sequence[Tensor],
    labels: Sequence[str],
    caption: str,
    data: Mapping[str, Tensor],
    columns: Sequence[str] = (),
) -> Drawing:
    return Drawing(name, sheet(torch.stack([to_rgb(row).cpu() for row in rows]), labels, columns), caption, data)
