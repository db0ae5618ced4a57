"""Batches: uint8 images (N, C, H, W) and their attributes bool (N, A), as whole rows of the decoded array."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dfcvae.data.faces import Faces
from dfcvae.errors import UserError
from dfcvae.seeding import Stream, seeded_generator

Batch = tuple[Tensor, Tensor]


class TrainingBatches:
    """Shuffled and mirrored batches; those of an epoch are a function of (seed, epoch) alone.

    Args:
        faces: the training split.
        batch_size: images in a batch; the last incomplete batch of an epoch is left out.
        seed: of the order and the flips.
        flip: mirror each image with probability 1/2.

    Attributes:
        epoch: which epoch the next iteration yields.
        skip: how many of its batches to leave out at the start, when a run is resumed within an epoch.

    Raises:
        UserError: if there are fewer faces than one batch needs.
    """

    def __init__(self, faces: Faces, batch_size: int, seed: int, flip: bool = True):
        if len(faces) < batch_size:
            raise UserError(
                f"A batch of {batch_size} images needs at least as many training images, but there are {len(faces)}; "
                "lower training.batch_size or use more images."
            )
        self.faces, self.batch_size, self.seed, self.flip = faces, batch_size, seed, flip
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        return len(self.faces) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.faces), generator=self._generator(Stream.ORDER))
        flips = torch.rand(len(self.faces), generator=self._generator(Stream.FLIPS)) < (0.5 if self.flip else 0.0)
        for start in range(self.skip * self.batch_size, len(self) * self.batch_size, self.batch_size):
            rows = order[start : start + self.batch_size]
            images = self.faces.images[rows]
            yield torch.where(flips[rows, None, None, None], images.flip(-1), images), self.faces.attributes[rows]

    def _generator(self, stream: Stream) -> torch.Generator:
        return seeded_generator(self.seed, stream, self.epoch)


class Batches:
    """The faces in their own order, all of them."""

    def __init__(self, faces: Faces, batch_size: int):
        self.faces, self.batch_size = faces, batch_size

    def __len__(self) -> int:
        return -(-len(self.faces) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.faces), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield self.faces.images[part], self.faces.attributes[part]
