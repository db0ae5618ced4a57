"""The pictures of the README, from a plain VAE and a DFC-VAE trained with the same settings.

    python experiments/gallery.py celeba-64-plain celeba-64 OUT --source CELEBA

Models are run folders, exported folders, or names of models that ship. Writes reconstructions.jpg (held-out faces above
both models' reconstructions), samples.jpg (the same draws from N(0, I) and from the fitted mixtures, not selected),
interpolation.jpg (between held-out faces), attributes.jpg (held-out faces edited by attribute vectors), walks.jpg (one
face along each of these vectors) and traversal.jpg (that face along the dimensions with the most KL divergence).

The faces are the default ones of all commands: frontal and varied, chosen without any model
(`dfcvae.trained.frontal_first`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dfcvae import VAE, interpolate, load_prior, load_vectors
from dfcvae.data import data_of, load_faces
from dfcvae.images import to_float
from dfcvae.latent import Prior, by_kl, encode_images, traverse
from dfcvae.plots import labelled_grid
from dfcvae.trained import frontal_first

FACES, STEPS, SEED = 10, 8, 0
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
DIMENSIONS, REACH = 6, 3.0
EDITS = {
    "Smiling": 1.5,
    "Eyeglasses": 2.5,
    "Male": 1.5,
    "Blond_Hair": 1.5,
    "Bangs": 1.5,
    "Mustache": 2.5,
    "Young": -2.5,
}


def samples(models: dict[str, tuple[str, VAE]]) -> tuple[list[Tensor], list[str]]:
    """Rows of draws and their labels."""
    rows, labels = [], []
    for title, (name, vae) in models.items():
        for prior in (Prior.standard(vae.latent_dim), load_prior(name, vae=vae)):
            z = prior.sample(FACES, generator=torch.Generator().manual_seed(SEED))
            rows.append(vae.decode_all(z))
            labels.append(f"{title}\n{'N(0, I)' if prior.means.abs().sum() == 0 else 'mixture'}")
    return rows, labels


def interpolations(models: dict[str, tuple[str, VAE]], x: Tensor) -> tuple[list[Tensor], list[str]]:
    """Between the first two faces, and the next two, with the originals at the ends."""
    rows, labels = [], []
    for start, end in ((0, 1), (2, 3)):
        for title, (_, vae) in models.items():
            mu, _ = vae.encode(x[[start, end]])
            way = vae.decode_all(interpolate(mu[0], mu[1], STEPS))
            rows.append(torch.cat([x[start : start + 1], way, x[end : end + 1]]))
            labels.append(title)
    return rows, labels


def edited(name: str, vae: VAE, x: Tensor) -> list[Tensor]:
    """A row for each face: itself, its reconstruction, and every edit."""
    mu, vectors = vae.encode(x)[0], load_vectors(name)
    columns = [x, vae.decode_all(mu), *(vae.decode_all(vectors.edit(mu, {k: v})) for k, v in EDITS.items())]
    return list(torch.stack(columns, dim=1))


def walks(name: str, vae: VAE, x: Tensor) -> list[Tensor]:
    """A row for each attribute: a face at every strength."""
    mu, vectors = vae.encode(x[None])[0], load_vectors(name)
    return [torch.cat([vae.decode_all(vectors.edit(mu, {edit: s})) for s in STRENGTHS]) for edit in EDITS]


def traversals(vae: VAE, x: Tensor, images: Tensor) -> tuple[list[Tensor], list[str]]:
    """A row for each of the most informative dimensions of a set of faces."""
    indices, nats = by_kl(*encode_images(vae.encode, images))
    mu, values = vae.encode(x[None])[0][0], torch.linspace(-REACH, REACH, 7)
    rows = [vae.decode_all(traverse(mu, int(d), values)) for d in indices[:DIMENSIONS]]
    return rows, [f"z[{d}]: {n:.2f} nats" for d, n in zip(indices[:DIMENSIONS].tolist(), nats.tolist(), strict=False)]


def draw(file: Path, rows: Sequence[Tensor], labels: Sequence[str], columns: Sequence[str] = ()) -> None:
    """Write a labelled grid."""
    labelled_grid(torch.stack(list(rows)), labels, columns).savefig(file, pil_kwargs={"quality": 88})
    print(file)


@torch.no_grad()
def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain")
    parser.add_argument("dfc")
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", help="where the faces are (default: as in training)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = {"plain VAE": arguments.plain, "DFC-VAE": arguments.dfc}
    models = {title: (name, VAE.load(name)) for title, name in names.items()}
    _, dfc = models["DFC-VAE"]
    test = load_faces(data_of(arguments.dfc, arguments.source))["test"]
    x = to_float(test.images[frontal_first(test)[:FACES]])
    rebuilt = [x, *(vae.reconstruct(x) for _, vae in models.values())]
    draw(arguments.out / "reconstructions.jpg", rebuilt, ["original", *models])
    draw(arguments.out / "samples.jpg", *samples(models))
    draw(arguments.out / "interpolation.jpg", *interpolations(models, x))
    columns = ["original", "reconstruction", *(f"{name} {value:+g}" for name, value in EDITS.items())]
    draw(arguments.out / "attributes.jpg", edited(arguments.dfc, dfc, x[4:9]), [""] * 5, columns)
    draw(arguments.out / "walks.jpg", walks(arguments.dfc, dfc, x[4]), list(EDITS), [f"{s:+g}" for s in STRENGTHS])
    reached = [f"{value:+g}" for value in torch.linspace(-REACH, REACH, 7).tolist()]
    draw(arguments.out / "traversal.jpg", *traversals(dfc, x[4], test.images), reached)


if __name__ == "__main__":
    main()
