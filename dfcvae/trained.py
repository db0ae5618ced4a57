"""A trained model with what belongs to it: faces, priors, attribute vectors, dimensions.

The commands and the explorer share it. Each is loaded on first use.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dfcvae.checkpoint import model_folder
from dfcvae.config import DataConfig
from dfcvae.data import Faces, absent, at_hand, data_of, filled, load_faces, read_face
from dfcvae.device import pick_device
from dfcvae.files import on_hub
from dfcvae.fitted import load_prior, load_vectors
from dfcvae.images import to_float, to_uint8
from dfcvae.latent import AttributeVectors, Prior, by_kl, encode_images
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

DRAWN = 256  # faces to start from where there are no held-out ones
MEASURED = 2_000  # faces whose posteriors rank the latent dimensions
CONSIDERED = 2_000  # first test faces, of which the default faces are chosen
FRONTAL = 8  # one in eight faces is frontal enough
FEWEST = 16  # faces, at least, that are considered frontal
SMALL = 16  # pixels at which symmetry is measured


def frontal_first(faces: Faces) -> list[int]:
    """All indices of faces, those to show by default first: frontal and varied, the same for every model.

    Of the first 2,000, the eighth that is most like its mirror image is ordered greedily: each next face is the one
    whose attributes (without attributes, pixels) differ most from those of the faces before. The others follow by
    symmetry.
    """
    images = to_float(faces.images[:CONSIDERED])
    small = interpolate(images, (SMALL, SMALL), mode="bilinear", antialias=True).mean(dim=1)[:, 2:, 2:-2]
    small = small - small.mean(dim=(1, 2), keepdim=True)
    small = small / small.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)  # darkness and contrast do not count
    by_symmetry = (small - small.flip(-1)).square().mean(dim=(1, 2)).argsort(stable=True)
    frontal = by_symmetry[: max(FEWEST, len(by_symmetry) // FRONTAL)]
    traits = faces.attributes[frontal].float() if faces.names else small[frontal].flatten(1)
    chosen, distance = [0], torch.full((len(frontal),), torch.inf)
    while len(chosen) < len(frontal):
        distance = torch.minimum(distance, (traits - traits[chosen[-1]]).abs().sum(dim=1))
        distance[chosen] = -1  # equal ones may remain
        chosen.append(int(distance.argmax()))
    return [*frontal[chosen].tolist(), *by_symmetry[len(frontal) :].tolist(), *range(len(images), len(faces))]


@dataclass(frozen=True, eq=False)
class Face:
    """A face to look at, with the name that is shown."""

    name: str
    z: Tensor  # its latent (D,), on the CPU
    original: Tensor | None = None  # the image (C, H, W) in [0, 1] that was encoded; None for a draw from a prior


class Trained:
    """A trained model with its faces, priors and attribute vectors.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a shipped model.
        source: where the faces come from (default: as in training).
    """

    def __init__(self, model: str | Path, source: str | None = None):
        self.model, self.source = model, source
        self.vae = VAE.load(model, device=pick_device())
        self._priors: dict[str, Prior] = {}
        self._lock = RLock()  # two tabs of the explorer may ask at once

    @property
    def name(self) -> str:
        """The model in a word: the folder of a run or an export, a shipped model, or a repository of the Hub."""
        return Path(self.model).name if on_hub(self.model) else model_folder(self.model).resolve().name

    @cached_property
    def data(self) -> DataConfig:
        """Which faces, cropped and resized as in training."""
        return data_of(self.model, self.source, held_out=False, needed=False)

    @property
    def has_faces(self) -> bool:
        """Whether there should be held-out faces: they are on this machine, or the user has named some."""
        return self.source is not None or at_hand(self.data)

    @cached_property
    def held_out(self) -> Faces:
        """The test split, which is not empty; a UserError if it is."""
        return filled(load_faces(data_of(self.model, self.source)), "test")

    @cached_property
    def order(self) -> list[int]:
        """Indices of the held-out faces, those to show by default first."""
        return frontal_first(self.held_out)

    @cached_property
    def drawn(self) -> tuple[Tensor, Tensor]:
        """Draws to start from where there are no faces: latents (N, D), and decoded uint8 (N, C, H, W); see stderr."""
        prior = self.prior("auto")
        print(f"{absent(self.model, self.data)}; starting from draws of a prior instead: {prior}.", file=sys.stderr)
        z = prior.sample(DRAWN, generator=seeded_generator(0, Stream.PICTURES))
        images = to_uint8(self.decode(z))
        order = frontal_first(Faces(images, torch.empty(len(z), 0, dtype=torch.bool), ()))
        return z[order], images[order]

    def starts(self, count: int, files: Sequence[Path] = ()) -> list[Face]:
        """Faces to start from: image files, or ``count`` default faces, or else draws from the prior.

        Raises:
            UserError: if a file is not a readable image, or there are no faces at the named source.
        """
        if not files and not self.has_faces:
            z, _ = self.drawn
            return [Face(f"draw {i}", row) for i, row in enumerate(z[:count])]
        return self.read(count, files)

    def read(self, count: int, files: Sequence[Path] = ()) -> list[Face]:
        """Image files, or ``count`` default faces of the test split; errors as in `starts`."""
        if files:
            images = torch.from_numpy(np.stack([read_face(file, self.data) for file in files]))
            return self.encode(images, [file.name for file in files])
        rows = self.order[:count]
        return self.encode(self.held_out.images[rows], [f"test face {row}" for row in rows])

    def encode(self, pixels: Tensor, names: Sequence[str]) -> list[Face]:
        """Faces from images, uint8 (N, C, H, W): their latents are posterior means."""
        originals, (mu, _) = to_float(pixels), self.posteriors(pixels)
        return [Face(*of) for of in zip(names, mu, originals, strict=True)]

    def posteriors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``mu, logvar``, each (N, D) on the CPU, of images (N, C, H, W)."""
        return encode_images(self.vae.encode, images, next(self.vae.parameters()).device)

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Tensor:
        """Images (..., C, H, W) in [0, 1] on the CPU from latents (..., D)."""
        return self.vae.decode_all(z.reshape(-1, z.shape[-1])).float().cpu().unflatten(0, z.shape[:-1])

    def prior(self, kind: str) -> Prior:
        """See `load_prior`; fitted on first use where necessary."""
        with self._lock:
            if kind not in self._priors:
                self._priors[kind] = load_prior(self.model, kind, vae=self.vae, data=self.source)
            return self._priors[kind]

    def draws(self, count: int, kind: str = "auto", *, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """Latents (count, D) from a prior. A seed gives the same draws at every temperature, only scaled."""
        generator = seeded_generator(seed, Stream.PICTURES)
        return self.prior(kind).sample(count, temperature=temperature, generator=generator)

    @cached_property
    def vectors(self) -> AttributeVectors:
        """Attribute vectors; a UserError if there are none and none can be fitted."""
        return load_vectors(self.model, self.source, vae=self.vae)

    @cached_property
    def dimensions(self) -> tuple[Tensor, Tensor]:
        """Latent dimensions and their mean KL in nats, each (D,), the most informative first.

        Over the first 2,000 held-out faces, or the draws to start from.
        """
        images = self.held_out.images[:MEASURED] if self.has_faces else self.drawn[1]
        return by_kl(*self.posteriors(images))
