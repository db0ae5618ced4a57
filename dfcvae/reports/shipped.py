"""What the models that ship with the package draw: samples, an interpolation, attribute edits. No photographs."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from dfcvae import paths
from dfcvae.fitted import VECTORS, latent_folder, load_prior
from dfcvae.images import to_rgb
from dfcvae.latent import AttributeVectors, Prior, interpolate
from dfcvae.plots import labelled_grid
from dfcvae.reports.blocks import Block, Drawing, Heading, Paragraph
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE, digest

COLUMNS = 8
SAMPLE_LINES = 2
STRENGTHS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
EDITED = ("Smiling", "Eyeglasses", "Male", "Blond_Hair")


@dataclass(frozen=True)
class Shipped:
    """A model of the package with what was fitted to it.

    Args:
        vae: the model.
        prior: to sample from.
        vectors: of attributes; None if the model has none.
    """

    vae: VAE
    prior: Prior
    vectors: AttributeVectors | None

    def attributes(self) -> list[str]:
        """At most four attributes to show, the most visible ones first."""
        names = self.vectors.names if self.vectors else ()
        return ([name for name in EDITED if name in names] or list(names))[: len(EDITED)]


def load_shipped(device: str | torch.device = "cpu") -> dict[str, Shipped]:
    """Every model that ships with the package, by name; none if none ships.

    Raises:
        UserError: if a file is damaged.
    """
    models = {}
    for name in paths.pretrained_models():
        folder = paths.PRETRAINED / name
        vae = VAE.load(folder, device=device)
        file = latent_folder(folder) / VECTORS
        vectors = AttributeVectors.load(file, digest(vae)) if file.is_file() else None
        models[name] = Shipped(vae, load_prior(folder, vae=vae), vectors)
    return models


def shipped_section(models: Mapping[str, Shipped], seed: int = 0) -> list[Block]:
    """A heading and one drawing for each model; nothing if there are no models."""
    if not models:
        return []
    text = (
        "These models were trained on photographs (CelebA, for non-commercial research) for longer than a demo takes. "
        "None of these faces is a photograph: all are decoded from draws from the models' priors, and none was "
        f"selected. Commands take a model by its name: dfcvae sample {next(iter(models))}"
    )
    drawings = [shipped_drawing(name, model, seed) for name, model in models.items()]
    return [Heading("Models that ship with the package"), Paragraph(text), *drawings]


def shipped_drawing(name: str, model: Shipped, seed: int = 0) -> Drawing:
    """Samples of a model's prior, the straight line between two of them, and others moved along attribute vectors."""
    attributes = model.attributes()
    count = COLUMNS * SAMPLE_LINES + 2 + len(attributes)
    z = model.prior.sample(count, generator=seeded_generator(seed, Stream.PICTURES))
    shown, ends, edited = z.split([COLUMNS * SAMPLE_LINES, 2, len(attributes)])
    lines = [*shown.split(COLUMNS), interpolate(ends[0], ends[1], COLUMNS)]
    if model.vectors:
        for face, attribute in zip(edited, attributes, strict=True):
            steps = [model.vectors.edit(face[None], {attribute: strength}) for strength in STRENGTHS]
            lines.append(torch.cat(steps))
    labels = ["samples", *[""] * (SAMPLE_LINES - 1), "interpolation", *attributes]
    faces = torch.stack([to_rgb(model.vae.decode_all(line)).cpu() for line in lines])
    caption = f"{name}: samples from the model's prior ({model.prior}); the line between two draws"
    if attributes:
        low, high = STRENGTHS[0], STRENGTHS[-1]
        caption += f"; draws moved along attribute vectors, from {low:+g} (left) to {high:+g} (right)"
    return Drawing(f"shipped-{name}", labelled_grid(faces, labels), f"{caption}.", {"z": torch.stack(lines)})
