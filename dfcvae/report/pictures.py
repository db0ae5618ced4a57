"""The same faces and latents through several models, side by side, and their attribute vectors."""

from collections.abc import Mapping, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dfcvae import files
from dfcvae.data import Splits
from dfcvae.fitted import VECTORS, latent_folder, load_prior
from dfcvae.images import to_float, to_rgb
from dfcvae.latent import AttributeVectors, Prior, encode_images, interpolate, label_correlation, tsne
from dfcvae.plots import heatmaps, labelled_grid, scatters
from dfcvae.report.blocks import Block, Drawing, Heading, Paragraph
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE, digest

Models = Mapping[str, VAE]

WALKED = ("Smiling", "Eyeglasses", "Male", "Blond_Hair", "Young", "Wearing_Hat")  # the most visible attributes first
WALKS, STRENGTHS = 3, (-2, -1, 0, 1, 2, 3)
MAPPED = 2_000  # faces of a latent map
COLUMNS, SAMPLE_LINES, EDITED = 8, 2, 4  # of the drawings of shipped models
EDIT_STRENGTHS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


def reconstructions(models: Models, x: Tensor) -> Drawing:
    """Faces (N, C, H, W) in [0, 1] above each model's reconstructions of them."""
    latents = {name: _means(vae, x) for name, vae in models.items()}
    rows = [x.cpu(), *(vae.decode_all(latents[name]).cpu() for name, vae in models.items())]
    caption = "Faces of the test split, and reconstructions from the posterior mean."
    data = {f"mu {name}": mu for name, mu in latents.items()}
    return _drawing("reconstructions", rows, ["original", *models], caption, data)


def samples(
    models: Models, count: int, lines: int, seed: int = 0, priors: Mapping[str, Prior] | None = None
) -> Drawing:
    """Decoded draws in ``lines`` rows of ``count`` each: from N(0, I), below those of a fitted prior, if any.

    The latents from N(0, I) are the same for every model; one with fewer dimensions takes the first numbers of each.
    """
    most = max(vae.latent_dim for vae in models.values())
    z = torch.randn(count * lines, most, generator=seeded_generator(seed, Stream.PICTURES))
    rows: list[Tensor] = []
    names, data = [], {"z": z}
    for name, vae in models.items():
        draws = {"N(0, I)": z[:, : vae.latent_dim]}
        if priors and str(priors[name]) != "N(0, I)":
            label = "mixture" if len(priors[name].weights) > 1 else str(priors[name])
            fitted = priors[name].sample(count * lines, generator=seeded_generator(seed, Stream.PICTURES))
            draws, data[f"z {name}"] = {label: fitted} | draws, fitted
        for label, latents in draws.items():
            rows += vae.decode_all(latents).cpu().split(count)
            names += [f"{name}\n{label}" if priors else name, *[""] * (lines - 1)]
    fitted_too = "from the mixture fitted to the latents of the training faces, and " if priors else ""
    caption = f"Samples, none selected: {fitted_too}from N(0, I), the same latents for all."
    return _drawing("samples", rows, names, caption, data)


def interpolations(models: Models, x: Tensor, steps: int) -> Drawing:
    """The straight line between the latents of each pair of faces (2 P, C, H, W), with the faces at its ends."""
    rows, names, data = [], [], {}
    for pair, ends in enumerate(x.split(2)):
        for name, vae in models.items():
            mu = _means(vae, ends)
            between = vae.decode_all(interpolate(mu[0], mu[1], steps)).cpu()
            rows.append(torch.cat([to_rgb(ends[:1]).cpu(), to_rgb(between), to_rgb(ends[1:]).cpu()]))
            names.append(name)
            data[f"mu {name} {pair}"] = mu
    caption = "Between the posterior means of two test faces, shown at the ends."
    return _drawing("interpolations", rows, names, caption, data)


def attribute_walks(models: Models, vectors: Mapping[str, AttributeVectors], splits: Splits) -> Drawing:
    """Test faces without an attribute, moved along each model's vector of it."""
    test = splits["test"]
    names = next(iter(vectors.values())).names
    rows, labels, data = [], [], {}
    for i, attribute in enumerate([name for name in WALKED if name in names][:WALKS] or names[:WALKS]):
        without = (~test.attributes[:, test.names.index(attribute)]).nonzero().flatten().tolist() or [0]
        face = to_float(test.images[without[i % len(without)]][None])  # another face for every attribute
        for name, vae in models.items():
            mu = _means(vae, face)
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


def latent_map(name: str, vae: VAE, splits: Splits) -> Drawing:
    """The test faces' latents in the plane, coloured by attributes."""
    test = splits["test"].subset(min(MAPPED, len(splits["test"])))
    points = tsne(_means(vae, test.images))
    labels = {name: test.attributes[:, test.names.index(name)] for name in WALKED if name in test.names}
    figure = scatters(points, labels, f"t-SNE of the posterior means, {name}")
    data = {"face": torch.arange(len(points)), "x": points[:, 0], "y": points[:, 1], **labels}
    caption = f"{len(points):,} test faces. Distances between groups mean little in a t-SNE."
    return Drawing("latent-map", figure, caption, data)


def shipped_models(device: str | torch.device = "cpu", seed: int = 0) -> list[Block]:
    """What the models that ship with the package draw, if there are any; no photographs.

    Raises:
        UserError: if a file is corrupted.
    """
    found: list[Block] = [shipped_drawing(name, device, seed) for name in files.pretrained_models()]
    if not found:
        return []
    text = (
        "These models were trained on photographs (CelebA, for non-commercial research) for longer than a demo takes. "
        "None of these faces is a photograph: all are decoded from draws from the models' priors, and none was "
        f"selected. Commands take a model by its name: dfcvae sample {files.pretrained_models()[0]}"
    )
    return [Heading("Models that ship with the package"), Paragraph(text), *found]


def shipped_drawing(name: str, device: str | torch.device = "cpu", seed: int = 0) -> Drawing:
    """Samples of a shipped model's prior, the line between two draws, and others moved along attribute vectors."""
    folder = files.PRETRAINED / name
    vae = VAE.load(folder, device=device)
    prior, file = load_prior(folder, vae=vae), latent_folder(folder) / VECTORS
    vectors = AttributeVectors.load(file, digest(vae)) if file.is_file() else None
    names = vectors.names if vectors else ()
    attributes = ([attribute for attribute in WALKED if attribute in names] or list(names))[:EDITED]
    count = COLUMNS * SAMPLE_LINES
    z = prior.sample(count + 2 + len(attributes), generator=seeded_generator(seed, Stream.PICTURES))
    rows = [*z[:count].split(COLUMNS), interpolate(z[count], z[count + 1], COLUMNS)]
    for face, attribute in zip(z[count + 2 :], attributes, strict=True):
        if vectors:
            rows.append(torch.cat([vectors.edit(face[None], {attribute: strength}) for strength in EDIT_STRENGTHS]))
    labels = ["samples", *[""] * (SAMPLE_LINES - 1), "interpolation", *attributes]
    caption = f"{name}: samples from the model's prior ({prior}); the line between two draws"
    if attributes:
        low, high = EDIT_STRENGTHS[0], EDIT_STRENGTHS[-1]
        caption += f"; draws moved along attribute vectors, from {low:+g} (left) to {high:+g} (right)"
    faces = [vae.decode_all(row).cpu() for row in rows]
    return _drawing(f"shipped-{name}", faces, labels, f"{caption}.", {"z": torch.stack(rows)})


def _drawing(
    name: str,
    rows: Sequence[Tensor],
    labels: Sequence[str],
    caption: str,
    data: Mapping[str, Tensor],
    columns: Sequence[str] = (),
) -> Drawing:
    return Drawing(name, labelled_grid(torch.stack([to_rgb(row) for row in rows]), labels, columns), caption, data)


def _means(vae: VAE, x: Tensor) -> Tensor:
    """Posterior means (N, D), on the CPU."""
    return encode_images(vae.encode, x, next(vae.parameters()).device)[0].cpu()
