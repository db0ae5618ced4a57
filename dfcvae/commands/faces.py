"""What the commands start from, faces or latents, and the pictures they write."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import absent, at_hand, data_of, filled, load_faces, read_face
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.fitted import load_prior, posteriors
from dfcvae.images import grid, rows, save_each, save_png, to_float
from dfcvae.latent import encode_images
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

DRAWS = 256  # from the prior, where there are no faces


def load_vae(model: str) -> VAE:
    """A model on the GPU, if there is one."""
    return VAE.load(model, device=pick_device())


def faces_of(files: Sequence[Path], count: int, data: DataConfig, out: Path) -> Tensor:
    """Faces (n, C, H, W) in [0, 1]: the image files that were named, or else the first faces of the test split.

    Raises:
        UserError: if one is not an image, or ``out`` (a file, or a folder of files) would overwrite it.
    """
    for file in files:
        if out.resolve() in (file.resolve(), file.resolve().parent):
            raise UserError(f"{out} would overwrite {file}, which is one of the images to read; choose another --out.")
    if files:
        return to_float(torch.from_numpy(np.stack([read_face(file, data) for file in files]))).to(pick_device())
    return to_float(filled(load_faces(data), "test").images[:count]).to(pick_device())


def start(
    model: str, vae: VAE, files: Sequence[Path], count: int, source: str | None, out: Path
) -> tuple[Tensor | None, Tensor]:
    """Faces to begin with, (n, C, H, W), and their latents (n, D): image files, or the first faces of the test split.

    If neither is available, as with a shipped model, the latents are draws from the prior, there are no faces, and
    stderr says so.

    Raises:
        UserError: as `faces_of` does.
    """
    data = data_of(model, source, needed=False)
    if files or source or at_hand(data):
        x = faces_of(files, count, data, out)
        return x, encode_images(vae.encode, x)[0]
    prior = load_prior(model, vae=vae)
    print(f"{absent(model, data)}; starting from draws of a prior instead: {prior}.", file=sys.stderr)
    return None, prior.sample(count, generator=seeded_generator(0, Stream.PICTURES))


def many_posteriors(model: str, vae: VAE, source: str | None) -> tuple[Tensor, Tensor]:
    """``mu, logvar``, each (N, D), of the test faces, or of decoded draws from the prior if none are available."""
    data = data_of(model, source, needed=False)
    if source or at_hand(data):
        return posteriors(vae, filled(load_faces(data), "test"))
    z = load_prior(model, vae=vae).sample(DRAWS, generator=seeded_generator(0, Stream.PICTURES))
    return encode_images(vae.encode, vae.decode_all(z))


def draws(
    model: str, vae: VAE, count: int, *, prior: str, seed: int, temperature: float = 1.0, source: str | None = None
) -> Tensor:
    """Latents (count, D) from a prior, which stderr names; see `load_prior`."""
    found = load_prior(model, prior, vae=vae, data=source)
    none_kept = prior == "auto" and str(found) == "N(0, I)"
    print(f"Prior: {found}{'; no mixture is saved with this model' if none_kept else ''}.", file=sys.stderr)
    return found.sample(count, temperature=temperature, generator=seeded_generator(seed, Stream.PICTURES))


def write(images: Tensor, originals: Tensor | None, out: Path, each: bool) -> None:
    """A grid (with the originals above, if there are any) or single files."""
    if each:
        print(f"{len(save_each(images, out))} files in {out}")
    else:
        print(save_png(grid(images) if originals is None else rows(originals, images), out))
