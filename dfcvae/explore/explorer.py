"""What the page can ask of a model: faces, samples, edits and ways between faces. Knows no browser."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import absent, at_hand, data_of, load_faces
from dfcvae.device import pick_device
from dfcvae.errors import UserError
from dfcvae.explore.pictures import data_url
from dfcvae.explore.uploads import read_upload
from dfcvae.fitted import PRIORS, kept_mixture, prior_of, vectors_of
from dfcvae.images import to_float, to_uint8
from dfcvae.latent import AttributeVectors, Prior, by_kl, encode_images, interpolate, slerp
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

DRAWN = 64  # faces to start from, where no others are at hand
STEPS = 101  # of a way between two faces: more than a slider on a screen can tell apart


@dataclass(frozen=True, eq=False)
class Face:
    """A face somebody looks at.

    Args:
        name: what to call it.
        z: its latent (D,), on the CPU.
        original: the image (C, H, W) in [0, 1] it was encoded from; none for a sample.
    """

    name: str
    z: Tensor
    original: Tensor | None = None


@dataclass
class Explorer:
    """A model with what is known of its latent space; whatever is missing is None or empty, with a sentence why.

    Args:
        model: where the VAE was loaded from.
        vae: in eval mode.
        data: how its faces are cropped and resized.
        faces: held-out faces, uint8 (N, C, H, W); N may be 0.
        no_faces: why there are none.
        drawn: latents (N, D) of ``faces`` that are decoded draws from a prior, since the training data is not at hand.
        vectors: of the attributes.
        no_vectors: why there are none.
        dimensions: the latent dimensions in the order of interest.
        nats: mean KL (D,) of each of them; none without faces to measure it on.
        priors: those that were loaded or fitted, by kind.
        usual: the kind to sample from unless another is chosen: the kept mixture, or else N(0, I).
    """

    model: Path
    vae: VAE
    data: DataConfig
    faces: Tensor
    no_faces: str = ""
    drawn: Tensor | None = None
    vectors: AttributeVectors | None = None
    no_vectors: str = ""
    dimensions: list[int] = field(default_factory=list)
    nats: Tensor | None = None
    priors: dict[str, Prior] = field(default_factory=dict)
    usual: str = "normal"
    fitting: Lock = field(default_factory=Lock)

    @classmethod
    def load(cls, model: str | Path, source: str | None = None) -> "Explorer":
        """A model with its held-out faces and attribute vectors, as far as there are any.

        Raises:
            UserError: if there is no model.
        """
        vae = VAE.load(model, device=pick_device())
        vae.to(memory_format=torch.channels_last)  # a CPU decodes 1.6 times as fast
        data = data_of(model, source, held_out=False, needed=False)
        explorer = cls(Path(model), vae, data, torch.empty(0, *vae.image_shape))
        explorer.dimensions = list(range(vae.latent_dim))
        explorer.priors["normal"] = Prior.standard(vae.latent_dim)
        if mixture := kept_mixture(model, vae):
            explorer.priors["gmm"], explorer.usual = mixture, "gmm"
        explorer._find_faces(source)
        try:
            explorer.vectors = vectors_of(model, vae, explorer.data)
        except (UserError, OSError) as error:
            explorer.no_vectors = str(error)
        if len(explorer.faces):
            device = next(vae.parameters()).device
            indices, explorer.nats = by_kl(*encode_images(vae.encode, explorer.faces, device))
            explorer.dimensions = indices.tolist()
        return explorer

    def _find_faces(self, source: str | None) -> None:
        """Load the held-out faces; where the model's own data is not on this machine, draw some instead."""
        if source is None and not at_hand(self.data):
            self.no_faces = f"{absent(self.model, self.data)}."
            self.drawn = self._draw(self.usual, seed=0, count=DRAWN)
            self.faces = to_uint8(self.vae.decode_all(self.drawn).float())
            told = f"{self.no_faces} The faces to start from are draws of a prior: {self.priors[self.usual]}."
            print(told, file=sys.stderr)
            return
        try:
            splits = load_faces(data_of(self.model, source))
            self.faces = (splits["test"] if len(splits["test"]) else splits["val"]).images
            if not len(self.faces):
                self.no_faces = f"{self.data.source} has no faces in its test and validation split."
        except (UserError, OSError) as error:
            self.no_faces = str(error)

    @property
    def kinds(self) -> list[str]:
        """The priors to choose from: those there are, and those that can be fitted, as the faces are at hand."""
        return [kind for kind in PRIORS if kind in self.priors or at_hand(self.data)]

    @property
    def of_faces(self) -> str:
        """What `faces` are, in words."""
        return "held-out face" if self.drawn is None else "drawn face"

    def first_face(self) -> Face:
        """What to show before anybody chose: the first of the faces, or else a sample."""
        return self.held_out(0) if len(self.faces) else self.samples(self.usual, seed=0, count=1)[0]

    def held_out(self, index: int) -> Face:
        """One of the faces by its number."""
        name = f"{self.of_faces} {index + 1}"
        return self.encode(self.faces[index], name) if self.drawn is None else Face(name, self.drawn[index])

    def upload(self, encoded: bytes, name: str) -> Face:
        """The face in an image file, cropped and resized like the training data.

        Raises:
            UserError: if it is no image, or too large a one.
        """
        return self.encode(torch.tensor(read_upload(encoded, name, self.data)), name)

    @torch.inference_mode()
    def encode(self, pixels: Tensor, name: str) -> Face:
        """A face from its image, uint8 (C, H, W): its latent is the mean of the posterior."""
        original = to_float(pixels)
        mu, _ = self.vae.encode(original[None].to(next(self.vae.parameters()).device))
        return Face(name, mu[0].float().cpu(), original)

    def samples(self, kind: str, *, seed: int, count: int, temperature: float = 1.0) -> list[Face]:
        """Draws from a prior: the same for the same seed; a change of temperature changes them smoothly.

        Args:
            kind: ``"normal"``, ``"gaussian"`` or ``"gmm"``; the last two are fitted on first use.
            seed: of the draws.
            count: how many.
            temperature: factor of the standard deviation.

        Raises:
            UserError: if the prior has to be fitted and there are no faces to fit it to.
        """
        if kind not in self.priors:
            with self.fitting:  # it takes a while, and two tabs may ask
                if kind not in self.priors:
                    self.priors[kind] = prior_of(self.model, self.vae, kind, self.data)
        z = self._draw(kind, seed=seed, count=count, temperature=temperature)
        return [Face(f"sample {i + 1}, seed {seed}, {kind}", row) for i, row in enumerate(z)]

    def _draw(self, kind: str, *, seed: int, count: int, temperature: float = 1.0) -> Tensor:
        generator = seeded_generator(seed, Stream.PICTURES)
        return self.priors[kind].sample(count, temperature=temperature, generator=generator)

    def edit(self, z: Tensor, strengths: Mapping[str, float]) -> Tensor:
        """A latent (D,) moved along the vectors of attributes."""
        changed = {name: strength for name, strength in strengths.items() if strength}
        return self.vectors.edit(z[None], changed)[0] if self.vectors and changed else z

    def move(self, z: Tensor, values: Mapping[int, float]) -> Tensor:
        """A latent (D,) with some of its dimensions set to values."""
        moved = z.clone()
        for dimension, value in values.items():
            moved[dimension] = value
        return moved

    def way(self, start: Tensor, end: Tensor, *, spherical: bool) -> Tensor:
        """Latents (101, D) from one (D,) to another, both included: straight, or along a great circle."""
        return (slerp if spherical else interpolate)(start, end, STEPS)

    @torch.inference_mode()
    def pictures(self, z: Tensor) -> list[str]:
        """What latents (N, D) decode to, as PNG in data URLs."""
        return [data_url(picture) for picture in self.vae.decode_all(z).float().cpu()]
