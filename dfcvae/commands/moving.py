"""Commands that move faces through the latent space: between faces, along dimensions, along attributes."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfcvae.animation import is_animation, save_animation, there_and_back
from dfcvae.commands.faces import start, told_prior, write
from dfcvae.data import at_hand, data_of, filled, load_faces
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.fitted import load_prior, posteriors, vectors_of
from dfcvae.images import grid, save_png
from dfcvae.latent import by_kl, encode_images, face_grid, path, slerp
from dfcvae.latent import interpolate as linear
from dfcvae.latent import traverse as along_dimension
from dfcvae.plots import labelled_grid, save_figure
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

FARTHEST = 100  # standard deviations, or steps along a vector: beyond, numbers overflow
DRAWS = 256  # from the prior, where dimensions are sorted without faces
FRAMES = 16  # of an animation in one direction, at least
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
EDIT = re.compile(rf"(?P<name>[^=]+)=(?P<start>{NUMBER})(?::(?P<end>{NUMBER}))?")


def interpolate(arguments: Any) -> None:
    """Draw the way between faces: from one to the next, or a grid between four."""
    vae = VAE.load(arguments.model, device=pick_device())
    if arguments.random:
        x = None
        prior = told_prior(arguments.model, vae, arguments.prior, arguments.source)
        z = prior.sample(arguments.count, generator=seeded_generator(arguments.seed, Stream.PICTURES))
    else:
        x, z = start(arguments.model, vae, arguments.images, arguments.count, arguments.source, arguments.out)
    steps, between = arguments.steps, slerp if arguments.spherical else linear
    if len(z) < 2 or steps < 2:
        raise UserError(f"A way has two faces or more and 2 steps or more; {len(z)} and {steps} came.")
    if is_animation(arguments.out):  # and back to where it began
        frames = vae.decode_all(path(torch.cat([z, z[:1]]), steps, between))
        print(save_animation(frames[:-1], arguments.out))
    elif len(z) == 4:
        print(save_png(grid(vae.decode_all(face_grid(z, steps, steps, between).flatten(0, 1)), steps), arguments.out))
    else:
        legs = [vae.decode_all(between(start, end, steps)) for start, end in pairwise(z)]
        if x is not None:  # the originals at the ends
            legs = [torch.cat([x[i : i + 1], leg, x[i + 1 : i + 2]]) for i, leg in enumerate(legs)]
        print(save_png(grid(torch.cat(legs), columns=len(legs[0])), arguments.out))


def traverse(arguments: Any) -> None:
    """Draw what single latent dimensions do to a face, those that tell most of a face first."""
    if abs(arguments.reach) > FARTHEST:
        raise UserError(f"--reach is a number from -{FARTHEST} to {FARTHEST}; {arguments.reach:g} came.")
    vae = VAE.load(arguments.model, device=pick_device())
    files = [arguments.image] if arguments.image else []
    _, mu = start(arguments.model, vae, files, 1, arguments.source, arguments.out)
    indices, nats = by_kl(*many_posteriors(arguments.model, vae, arguments.source))
    count = min(arguments.dimensions, len(indices))
    values = torch.linspace(-arguments.reach, arguments.reach, arguments.steps)
    walks = torch.stack([vae.decode_all(along_dimension(mu[0], int(d), values)) for d in indices[:count]])
    if is_animation(arguments.out):
        frames = torch.stack([grid(faces, columns=min(count, 5)) for faces in walks.transpose(0, 1)])
        print(save_animation(there_and_back(frames), arguments.out))
        return
    labels = [f"z[{d}]: {n:.2f} nats" for d, n in zip(indices[:count].tolist(), nats.tolist(), strict=False)]
    print(save_figure(labelled_grid(walks, labels, [f"{value:+.1f}" for value in values]), arguments.out))


def many_posteriors(model: str, vae: VAE, source: str | None) -> tuple[Tensor, Tensor]:
    """``mu, logvar``, each (N, D), of the test faces, or of decoded draws from the prior where none are at hand."""
    data = data_of(model, source, needed=False)
    if source or at_hand(data):
        return posteriors(vae, filled(load_faces(data), "test"))
    z = load_prior(model, vae=vae).sample(DRAWS, generator=seeded_generator(0, Stream.PICTURES))
    return encode_images(vae.encode, vae.decode_all(z))


def edit(arguments: Any) -> None:
    """Change attributes of faces, by a step or along a way."""
    files, edits = parse_edits(arguments.words)
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, held_out=False, needed=False)
    vectors = vectors_of(arguments.model, vae, data)
    x, mu = start(arguments.model, vae, files, arguments.count, arguments.source, arguments.out)

    def edited(t: float) -> Tensor:
        strengths = {name: start + t * (end - start) for name, (start, end) in edits.items()}
        return vae.decode_all(vectors.edit(mu, strengths, arguments.keep))

    way = any(start != end for start, end in edits.values())
    if is_animation(arguments.out):
        if not way:  # from the face as it is
            edits = {name: (0.0, end) for name, (_, end) in edits.items()}
        moved = [edited(float(t)) for t in torch.linspace(0, 1, max(arguments.steps, FRAMES))]
        frames = torch.stack([grid(faces) if len(faces) > 1 else faces[0] for faces in moved])
        print(save_animation(there_and_back(frames), arguments.out))
    elif arguments.each:
        write(edited(1), None, arguments.out, each=True)
    elif way:
        steps = [float(t) for t in torch.linspace(0, 1, arguments.steps)]
        first = vae.decode_all(mu) if x is None else x
        faces = torch.stack([first, *(edited(t) for t in steps)], dim=1)
        columns = [
            "draw" if x is None else "original",
            *(", ".join(f"{a + t * (b - a):+.1f}" for a, b in edits.values()) for t in steps),
        ]
        print(", ".join(edits), "along each row")
        print(save_figure(labelled_grid(faces, [""] * len(mu), columns), arguments.out))
    else:
        label = "\n".join(f"{name} {end:+g}" for name, (_, end) in edits.items())
        shown = {"draw": vae.decode_all(mu)} if x is None else {"original": x, "reconstruction": vae.reconstruct(x)}
        shown[label] = edited(1)
        print(save_figure(labelled_grid(torch.stack([*shown.values()]), [*shown]), arguments.out))


def parse_edits(words: Sequence[str]) -> tuple[list[Path], dict[str, tuple[float, float]]]:
    """Image files and edits, in any order: ``NAME=STRENGTH``, or ``NAME=FROM:TO``, as ``name: (from, to)``."""
    files, edits = [], {}
    for word in words:
        found = EDIT.fullmatch(word)
        if os.path.isfile(word) or "=" not in word:
            files.append(Path(word))
        elif found:
            start, end = float(found["start"]), float(found["end"] or found["start"])
            if max(abs(start), abs(end)) > FARTHEST:
                raise UserError(f"A strength is a number from -{FARTHEST} to {FARTHEST}; {word[:80]!r} came.")
            edits[found["name"]] = start, end
        else:
            raise UserError(f"An edit is written Smiling=+1.5, or Smiling=-2:2 for a way, but {word!r} came.")
    if not edits:
        raise UserError("Say what to change: Smiling=+1.5, or Smiling=-2:2 for a way; several may be given.")
    return files, edits
