"""The same faces and latents through several models, side by side."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dfcvae.images import to_rgb
from dfcvae.latent import AttributeVectors, Prior, encode_images, interpolate
from dfcvae.plots import labelled_grid
from dfcvae.reports.blocks import Drawing
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

Models = Mapping[str, VAE]


def reconstructions(models: Models, x: Tensor) -> Drawing:
    """Faces (N, C, H, W) in [0, 1], and each model's reconstructions of them under one another."""
    latents = {name: _means(vae, x) for name, vae in models.items()}
    rows = [x.cpu(), *(vae.decode_all(latents[name]).cpu() for name, vae in models.items())]
    caption = "Faces of the test split, and reconstructions from the posterior mean."
    data = {f"mu {name}": mu for name, mu in latents.items()}
    return Drawing("reconstructions", _stacked(rows, ["original", *models]), caption, data)


def samples(models: Models, count: int, lines: int, seed: int = 0) -> Drawing:
    """Draws from N(0, I), decoded: the same latents for every model, in so many lines each.

    A model with fewer latent dimensions takes the first numbers of every latent.
    """
    most = max(vae.latent_dim for vae in models.values())
    z = torch.randn(count * lines, most, generator=seeded_generator(seed, Stream.PICTURES))
    faces = {name: vae.decode_all(z[:, : vae.latent_dim]).cpu() for name, vae in models.items()}
    rows = [part for images in faces.values() for part in images.split(count)]
    names = [name if line == 0 else "" for name in models for line in range(lines)]
    caption = "Samples from N(0, I), none chosen; the same latents for every model."
    return Drawing("samples", _stacked(rows, names), caption, {"z": z})


def samples_of_priors(models: Models, priors: Mapping[str, Prior], count: int, lines: int, seed: int = 0) -> Drawing:
    """Draws from each model's fitted prior, and from N(0, I) below them, in ``lines`` rows of ``count`` each."""
    rows, names, data = [], [], {}
    for name, vae in models.items():
        for prior in (priors[name], Prior.standard(vae.latent_dim)):
            z = prior.sample(count * lines, generator=seeded_generator(seed, Stream.PICTURES))
            rows += vae.decode_all(z).cpu().split(count)
            names += [f"{name}\n{_brief(prior)}", *[""] * (lines - 1)]
            data[f"z {name} {_brief(prior)}"] = z
    caption = "Samples, none selected: from the mixture fitted to the latents of the training faces, and from N(0, I)."
    return Drawing("samples", _stacked(rows, names), caption, data)


def interpolations(models: Models, x: Tensor, steps: int) -> Drawing:
    """The straight line between the latents of each pair of faces (2 P, C, H, W), with the faces at its ends."""
    rows, names, data = [], [], {}
    for pair, ends in enumerate(x.split(2)):
        for name, vae in models.items():
            mu = _means(vae, ends)
            way = vae.decode_all(interpolate(mu[0], mu[1], steps)).cpu()
            rows.append(torch.cat([to_rgb(ends[:1]).cpu(), to_rgb(way), to_rgb(ends[1:]).cpu()]))
            names.append(name)
            data[f"mu {name} {pair}"] = mu
    caption = "Between the posterior means of two test faces, which stand at the ends."
    return Drawing("interpolations", _stacked(rows, names), caption, data)


def attribute_walks(
    models: Models, vectors: Mapping[str, AttributeVectors], x: Tensor, names: Sequence[str], strengths: Sequence[float]
) -> Drawing:
    """For each attribute a face (A, C, H, W) that is moved along each model's vector of it."""
    rows, labels, data = [], [], {}
    for face, attribute in zip(x.split(1), names, strict=True):
        for name, vae in models.items():
            mu = _means(vae, face)
            z = torch.cat([vectors[name].edit(mu, {attribute: strength}) for strength in strengths])
            rows.append(torch.cat([to_rgb(face).cpu(), to_rgb(vae.decode_all(z)).cpu()]))
            labels.append(f"{attribute}\n{name}")
            data[f"{attribute} {name}"] = z
    columns = ["original", *(f"{strength:+g}" for strength in strengths)]
    caption = "Test faces along attribute vectors; +1 is the distance between faces without and with the attribute."
    return Drawing("attribute-walks", labelled_grid(torch.stack(rows), labels, columns), caption, data)


def _stacked(rows: Sequence[Tensor], names: Sequence[str]) -> Figure:
    return labelled_grid(torch.stack([to_rgb(row) for row in rows]), names)


def _brief(prior: Prior) -> str:
    return "mixture" if len(prior.weights) > 1 else str(prior)


def _means(vae: VAE, x: Tensor) -> Tensor:
    """Posterior means (N, D), on the CPU."""
    return encode_images(vae.encode, x, next(vae.parameters()).device)[0].cpu()
