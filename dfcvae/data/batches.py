"""Batches: uint8 images (N, C, H, W) and their attributes bool (N, A), as whole rows of the decoded array."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dfcvae.data.faces import Faces
from dfcvae.errors import UserError
from dfcvae.seeding import Stream, seeded_generator

Batch = tuple[Tensor, Tensor]


class TrainingBatches:
    """Shuffled and mirrored batches without end; each is a function of the seed and the training step alone.

    Args:
        faces: the training split.
        batch_size: images in a batch; the last incomplete batch of an epoch is left out.
        seed: of the order and the flips.
        flip: mirror each image with probability 1/2.

    Attributes:
        step: the training step at which the next iteration starts; it yields as many batches as an epoch has.

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
        self.step = 0

    def __len__(self) -> int:
        return len(self.faces) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch = -1
        for step in range(self.step, self.step + len(self)):
            if step // len(self) != epoch:
                epoch = step // len(self)
                order = torch.randperm(len(self.faces), generator=seeded_generator(self.seed, Stream.ORDER, epoch))
                chance = torch.rand(len(self.faces), generator=seeded_generator(self.seed, Stream.FLIPS, epoch))
            start = step % len(self) * self.batch_size
            rows = order[start : start + self.batch_size]
            images = self.faces.images[rows]
            flips = (chance[rows] < 0.5) & self.flip
            yield torch.where(flips[:, None, None, None], images.flip(-1), images), self.faces.attributes[rows]


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
