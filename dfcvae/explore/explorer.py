"""What the page asks of a model: faces, samples, pictures. Knows nothing of browsers."""

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from threading import Lock

import torch
from PIL import Image
from torch import Tensor

from dfcvae.config import DataConfig
from dfcvae.data import at_hand, decode_face
from dfcvae.data.decode import FORMATS, Undecodable, quiet_pillow
from dfcvae.errors import UserError, printable
from dfcvae.fitted import PRIORS
from dfcvae.images import to_image
from dfcvae.latent import AttributeVectors
from dfcvae.sheet import sheet
from dfcvae.trained import Face, Trained

MOST_PIXELS = 64_000_000  # of an upload: decoding takes 3 bytes a pixel, and about a second

MOST_FACES = 2_000  # to start from


class Explorer:
    """A model and what is known of its latent space. All browser tabs share it.

    Attributes:
        name: of the model.
        trained: the model, its priors and attribute vectors.
        images: of faces to start from, uint8 (N, C, H, W), see `dfcvae.trained.frontal_first`; there may be none.
        no_faces: why there are none.
        of_faces: what they are, in words.
        kinds: the priors there are: saved ones, and those that can be fitted because the faces are on this machine.
        default_prior: the saved mixture if there is one, else N(0, I).
    """

    def __init__(self, model: str | Path, source: str | None = None):
        self.trained = Trained(model, source)
        self.name = self.trained.name
        self._fitting = Lock()  # two tabs may ask at once
        self.trained.vae.to(memory_format=torch.channels_last)  # a CPU decodes 1.6 times as fast
        self.default_prior = "normal" if str(self.trained.prior("auto")) == "N(0, I)" else "gmm"
        known = {"normal", self.default_prior}
        self.kinds = [kind for kind in PRIORS if kind in known or at_hand(self.trained.data)]
        self.of_faces = "held-out face" if self.trained.has_faces else "drawn face"
        self.images, self.no_faces = torch.empty(0), ""
        try:
            if self.trained.has_faces:
                self.images = self.trained.held_out.images[self.trained.order[:MOST_FACES]]
            else:
                self.images = self.trained.drawn[1]
        except (UserError, OSError) as error:
            self.no_faces = str(error)

    def face(self, index: int) -> Face:
        """One of the faces to start from; a sample if there are not that many."""
        if index >= len(self.images):
            return self.samples(self.default_prior, seed=index, count=1)[0]
        name = f"{self.of_faces} {index + 1}"
        if self.trained.has_faces:
            return self.trained.encode(self.images[index : index + 1], [name])[0]
        return Face(name, self.trained.drawn[0][index])

    def upload(self, encoded: bytes, name: str) -> Face:
        """The face in an image file, cropped and resized like the training data.

        Raises:
            UserError: if it is not a readable image, or has too many pixels.
        """
        return self.trained.encode(read_upload(encoded, name, self.trained.data)[None], [name])[0]

    def samples(self, kind: str, *, seed: int, count: int, temperature: float = 1.0) -> list[Face]:
        """Draws from a prior, which is fitted on first use. A seed gives the same draws at every temperature, scaled.

        Raises:
            UserError: if the prior has to be fitted and there are no faces to fit it to.
        """
        z = self.trained.draws(count, self.prior_name(kind), seed=seed, temperature=temperature)
        return [Face(f"sample {i + 1}, seed {seed}, {kind}", row) for i, row in enumerate(z)]

    def prior_name(self, kind: str) -> str:
        """What `Trained.prior` calls a prior: the default one may have been fitted to other faces."""
        return "auto" if kind == self.default_prior else kind

    def vectors(self) -> AttributeVectors | str:
        """Attribute vectors, fitted on first use; or why there are none."""
        try:
            with self._fitting:
                return self.trained.vectors
        except (UserError, OSError) as error:
            return str(error)

    def dimensions(self) -> tuple[list[int], list[float]]:
        """Latent dimensions and their mean KL in nats, the most informative first; no KL without faces to measure."""
        if not len(self.images):
            return list(range(self.trained.vae.latent_dim)), []
        with self._fitting:
            indices, nats = self.trained.dimensions
        return indices.tolist(), nats.tolist()

    def pictures(self, z: Tensor) -> list[str]:
        """What latents (N, D) decode to, as data URLs."""
        return [data_url(picture) for picture in self.trained.decode(z)]

    def saved(self, face: Face, moved: Mapping[str, Tensor]) -> bytes:
        """A PNG of a face, its reconstruction, and the latents (D,) it was moved to, each under its label."""
        pictures = {} if face.original is None else {"original": face.original}
        latents = {"reconstruction" if pictures else "face": face.z} | dict(moved)
        pictures |= dict(zip(latents, self.trained.decode(torch.stack([*latents.values()])), strict=True))
        buffer = BytesIO()
        sheet(torch.stack([*pictures.values()])[None], columns=[*pictures]).save(buffer, "PNG")
        return buffer.getvalue()


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
