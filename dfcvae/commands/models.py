"""Commands that use a trained model: draw, reconstruct, export."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import data_of, filled, load_faces, read_face
from dfcvae.errors import UserError
from dfcvae.fitted import latent_folder, prior_of
from dfcvae.images import grid, rows, save_each, save_png, to_float
from dfcvae.latent import Prior
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.training.environment import pick_device
from dfcvae.vae import VAE, read_model

HOTTEST = 10


def sample(arguments: Any) -> None:
    """Decode draws from a prior into a grid or single files."""
    if not 0 <= arguments.temperature <= HOTTEST:
        raise UserError(f"A temperature is a number from 0 to {HOTTEST}; {arguments.temperature:g} came.")
    vae = VAE.load(arguments.model, device=pick_device())
    if arguments.prior == "normal":  # which asks for no data
        prior = Prior.standard(vae.latent_dim)
    else:
        data = data_of(arguments.model, arguments.source, held_out=False)
        prior = prior_of(arguments.model, vae, arguments.prior, data)
    generator = seeded_generator(arguments.seed, Stream.PICTURES)
    z = prior.sample(arguments.count, temperature=arguments.temperature, generator=generator)
    write(vae.decode_all(z), None, arguments.out, arguments.each)


def reconstruct(arguments: Any) -> None:
    """Reconstruct image files, or faces of the test split, from the posterior mean."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source)
    x = faces_of(arguments.images, arguments.count, data, arguments.out)
    write(vae.reconstruct(x), x, arguments.out, arguments.each)


def export(arguments: Any) -> None:
    """Write a model as safetensors and JSON, with the priors and vectors that were fitted to it."""
    about, _ = read_model(arguments.model)
    print(VAE.load(arguments.model).save(arguments.out, about["config"]))
    fitted, copy = latent_folder(arguments.model), latent_folder(arguments.out)
    if fitted.is_dir() and fitted.resolve() != copy.resolve():
        shutil.copytree(fitted, copy, dirs_exist_ok=True)


def faces_of(files: Sequence[Path], count: int, data: DataConfig, out: Path) -> Tensor:
    """Faces (n, C, H, W) in [0, 1]: the image files that were named, or else the first faces of the test split.

    Raises:
        UserError: if one is no image, or what goes to ``out`` (a file, or a folder of files) would overwrite it.
    """
    for file in files:
        if out.resolve() in (file.resolve(), file.resolve().parent):
            raise UserError(
                f"{file} is one of the pictures to read, and {out} would overwrite it; choose another --out."
            )
    if files:
        return to_float(torch.from_numpy(np.stack([read_face(file, data) for file in files]))).to(pick_device())
    return to_float(filled(load_faces(data), "test").images[:count]).to(pick_device())


def write(images: Tensor, originals: Tensor | None, out: Path, each: bool) -> None:
    """A grid (with the originals above, if there are any) or single files."""
    if each:
        print(f"{len(save_each(images, out))} files in {out}")
    else:
        print(save_png(grid(images) if originals is None else rows(originals, images), out))
