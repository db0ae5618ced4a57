"""Commands that use a trained model: draw, reconstruct, export."""

from typing import Any

from dfcvae.commands.faces import faces_of, told_prior, write
from dfcvae.data import data_of
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.exporting import export_model
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

HOTTEST = 10


def sample(arguments: Any) -> None:
    """Decode draws from a prior into a grid or single files."""
    if not 0 <= arguments.temperature <= HOTTEST:
        raise UserError(f"A temperature is a number from 0 to {HOTTEST}; {arguments.temperature:g} came.")
    vae = VAE.load(arguments.model, device=pick_device())
    prior = told_prior(arguments.model, vae, arguments.prior, arguments.source)
    generator = seeded_generator(arguments.seed, Stream.PICTURES)
    z = prior.sample(arguments.count, temperature=arguments.temperature, generator=generator)
    write(vae.decode_all(z), None, arguments.out, arguments.each)


def reconstruct(arguments: Any) -> None:
    """Reconstruct image files, or faces of the test split, from the posterior mean."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, needed=not arguments.images)
    x = faces_of(arguments.images, arguments.count, data, arguments.out)
    write(vae.reconstruct(x), x, arguments.out, arguments.each)


def export(arguments: Any) -> None:
    """Write a model as safetensors, JSON and a model card, with the priors and vectors that were fitted to it."""
    print(export_model(arguments.model, arguments.out, arguments.dtype))
