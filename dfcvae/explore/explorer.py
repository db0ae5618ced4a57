"""What the page asks of a model: faces, samples, attribute vectors, pictures. Knows nothing of browsers."""

import sys
from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock

import torch
from PIL import Image
from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import absent, at_hand, data_of, decode_face, load_faces
from dfcvae.data.decode import FORMATS, Undecodable, quiet_pillow
from dfcvae.device import pick_device
from dfcvae.errors import UserError, printable
from dfcvae.fitted import PRIORS, prior_of, saved_mixture, vectors_of
from dfcvae.images import to_float, to_image, to_uint8
from dfcvae.latent import AttributeVectors, Prior, by_kl, encode_images
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.vae import VAE

DRAWN = 64  # faces to start from if there are no held-out ones
MOST_PIXELS = 64_000_000  # of an upload: decoding takes 3 bytes a pixel, and about a second


@dataclass(frozen=True, eq=False)
class Face:
    """A face to look at.

    Args:
        name: shown on the page.
        z: its latent (D,), on the CPU.
        original: the image (C, H, W) in [0, 1] that was encoded; None for a sample.
    """

    name: str
    z: Tensor
    original: Tensor | None = None


class Explorer:
    """A model and what is known of its latent space. All browser tabs share it.

    Args:
        model: a run folder, a checkpoint, an exported folder, or the name of a model that ships with the package.
        source: where the faces come from (default: as in training).

    Attributes:
        faces: faces to start from, uint8 (N, C, H, W): held-out ones, or decoded draws; N may be 0.
        no_faces: why there are no held-out faces, if there are none.
        drawn: latents (N, D) of ``faces`` if they are decoded draws from a prior, else None.
        vectors: attribute vectors, or None.
        no_vectors: why there are none.
        dimensions: latent dimensions, the most informative first.
        nats: mean KL (D,) of each of them; None without faces to measure it on.
        priors: loaded or fitted ones, by kind.
        default_prior: the saved mixture if there is one, else N(0, I).

    Raises:
        UserError: if there is no such model.
    """

    def __init__(self, model: str | Path, source: str | None = None):
        self.model, self.vae = Path(model), VAE.load(model, device=pick_device())
        self.vae.to(memory_format=torch.channels_last)  # a CPU decodes 1.6 times as fast
        self.data = data_of(model, source, held_out=False, needed=False)
        self.priors = {"normal": Prior.standard(self.vae.latent_dim)}
        self.default_prior = "normal"
        if mixture := saved_mixture(model, self.vae):
            self.priors["gmm"], self.default_prior = mixture, "gmm"
        self.fitting = Lock()
        self._load_faces(source)
        self.vectors: AttributeVectors | None = None
        self.no_vectors = ""
        try:
            self.vectors = vectors_of(model, self.vae, self.data)
        except (UserError, OSError) as error:
            self.no_vectors = str(error)
        self.nats: Tensor | None = None
        self.dimensions = list(range(self.vae.latent_dim))
        if len(self.faces):
            posteriors = encode_images(self.vae.encode, self.faces, next(self.vae.parameters()).device)
            indices, self.nats = by_kl(*posteriors)
            self.dimensions = indices.tolist()

    def _load_faces(self, source: str | None) -> None:
        self.faces, self.no_faces = torch.empty(0, *self.vae.image_shape), ""
        self.drawn: Tensor | None = None
        if source is None and not at_hand(self.data):
            self.no_faces = f"{absent(self.model, self.data)}."
            prior = self.priors[self.default_prior]
            self.drawn = prior.sample(DRAWN, generator=seeded_generator(0, Stream.PICTURES))
            self.faces = to_uint8(self.vae.decode_all(self.drawn).float())
            print(f"{self.no_faces} The faces to start from are draws of a prior: {prior}.", file=sys.stderr)
            return
        try:
            splits = load_faces(data_of(self.model, source))
            self.faces = (splits["test"] if len(splits["test"]) else splits["val"]).images
            if not len(self.faces):
                self.no_faces = f"{self.data.source} has no faces in its test and validation splits."
        except (UserError, OSError) as error:
            self.no_faces = str(error)

    @property
    def kinds(self) -> list[str]:
        """The available priors: those loaded, and those that can be fitted because the faces are on this machine."""
        return [kind for kind in PRIORS if kind in self.priors or at_hand(self.data)]

    @property
    def of_faces(self) -> str:
        """What one of ``faces`` is, in words."""
        return "held-out face" if self.drawn is None else "drawn face"

    def face(self, index: int) -> Face:
        """One of the faces by its index; a sample if there are not that many."""
        if index >= len(self.faces):
            return self.samples(self.default_prior, seed=index, count=1)[0]
        name = f"{self.of_faces} {index + 1}"
        return self.encode(self.faces[index], name) if self.drawn is None else Face(name, self.drawn[index])

    def upload(self, encoded: bytes, name: str) -> Face:
        """The face in an image file, cropped and resized like the training data.

        Raises:
            UserError: if it is not a readable image, or has too many pixels.
        """
        return self.encode(read_upload(encoded, name, self.data), name)

    @torch.inference_mode()
    def encode(self, pixels: Tensor, name: str) -> Face:
        """A face from its image, uint8 (C, H, W): its latent is the posterior mean."""
        original = to_float(pixels)
        mu, _ = self.vae.encode(original[None].to(next(self.vae.parameters()).device))
        return Face(name, mu[0].float().cpu(), original)

    def samples(self, kind: str, *, seed: int, count: int, temperature: float = 1.0) -> list[Face]:
        """Draws from a prior. A seed gives the same draws at every temperature, only scaled.

        Args:
            kind: ``"normal"``, ``"gaussian"`` or ``"gmm"``; the last two are fitted on first use.
            seed: of the draws.
            count: how many.
            temperature: factor of the standard deviation.

        Raises:
            UserError: if the prior has to be fitted and there are no faces to fit it to.
        """
        if kind not in self.priors:
            with self.fitting:  # two tabs may ask at once
                if kind not in self.priors:
                    self.priors[kind] = prior_of(self.model, self.vae, kind, self.data)
        generator = seeded_generator(seed, Stream.PICTURES)
        z = self.priors[kind].sample(count, temperature=temperature, generator=generator)
        return [Face(f"sample {i + 1}, seed {seed}, {kind}", row) for i, row in enumerate(z)]

    @torch.inference_mode()
    def pictures(self, z: Tensor) -> list[str]:
        """What latents (N, D) decode to, as data URLs."""
        return [data_url(picture) for picture in self.vae.decode_all(z).float().cpu()]


def read_upload(encoded: bytes, name: str, data: DataConfig) -> Tensor:
    """The bytes of an uploaded image file as uint8 (C, size, size), cropped like the training data.

    Raises:
        UserError: if it is not a readable image, or has too many pixels.
    """
    try:  # the header alone gives the size
        with quiet_pillow(), Image.open(BytesIO(encoded), formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # Pillow raises almost anything; `decode_face` finds out why
        width = height = 0
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{printable(name)} has {width:,} x {height:,} pixels, more than {MOST_PIXELS // 10**6} million; upload a "
            "smaller picture."
        )
    try:
        return torch.tensor(decode_face(encoded, data))
    except Undecodable as error:
        raise UserError(f"{printable(name)} is not a readable image ({error}); upload a JPEG or PNG.") from error


def data_url(picture: Tensor) -> str:
    """One picture (3 or 1, H, W) in [0, 1] as a lossless PNG in a data URL; the browser enlarges it."""
    buffer = BytesIO()
    to_image(picture).save(buffer, "PNG", compress_level=1)  # fast: a slider waits for it
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()
