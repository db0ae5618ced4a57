"""Faces, uint8 images with attributes, and batches of them, gathered from the decoded array."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from dfcvae.errors import UserError
from dfcvae.seeding import Stream, seeded_generator

SPLITS = ("train", "val", "test")
SHARE = 0.1  # of the training images, for a validation or test split that is drawn
AHEAD = 2  # batches gathered while the one before is trained on
Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Faces:
    """Images of one split and their attributes, row by row.

    Args:
        images: uint8 ``(n, C, H, W)``, 0 to 255; may be a view of a memory-mapped file.
        attributes: bool ``(n, A)``.
        names: the ``A`` attribute names, CelebA's spelling.
        fingerprint: digest of the data set that they are a part of, "synthetic" for faces that are drawn; "": unknown.

    Raises:
        UserError: the images are not uint8, or the three do not fit together.
    """

    images: Tensor
    attributes: Tensor
    names: tuple[str, ...]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise UserError(
                f"Faces: expected uint8 images (n, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}; "
                "dfcvae.faces(images) converts floats in [0, 1]."
            )
        if self.attributes.shape != (len(self.images), len(self.names)):
            raise UserError(
                f"Faces: {len(self.images)} images with {len(self.names)} attribute names need attributes of shape "
                f"({len(self.images)}, {len(self.names)}), got {tuple(self.attributes.shape)}."
            )

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> "Faces":
        """The same faces in the memory of a device."""
        return replace(self, images=self.images.to(device), attributes=self.attributes.to(device))

    def subset(self, n: int) -> "Faces":
        """The first ``n`` faces, without a copy.

        Raises:
            UserError: ``n`` is below 1 or above the number of faces.
        """
        if not 1 <= n <= len(self):
            raise UserError(f"Asked for the first {n:,} faces, but there are {len(self):,}. Choose 1 to {len(self):,}.")
        return self.rows(slice(n))

    def rows(self, chosen: Tensor | slice) -> "Faces":
        """Some of the faces."""
        return replace(self, images=self.images[chosen], attributes=self.attributes[chosen])


Splits = dict[str, Faces]
"""The faces of ``"train"``, ``"val"`` and ``"test"``."""


def filled(splits: Splits, name: str) -> Faces:
    """A split; a UserError if it is empty, as the test split of a small data set may be."""
    if not len(splits[name]):
        raise UserError(f"The {name} split of these faces is empty; name other data with --source.")
    return splits[name]


class Batch(NamedTuple):
    """Some faces."""

    images: Tensor  # uint8 (N, C, H, W)
    attributes: Tensor  # bool (N, A)
    targets: dict[str, Tensor] | None = None  # what a feature loss compares reconstructions with, where it is cached


@dataclass(eq=False)
class TrainingBatches:
    """Endless shuffled and mirrored batches; each is a function of the seed and the training step alone.

    Images on a GPU are shuffled and mirrored there. Others are gathered by background threads, some batches ahead, so
    that reading a memory map from disk does not hold up training.

    Args:
        faces: the training split.
        batch_size: images per step, of all ranks; the last incomplete batch of an epoch is left out.
        seed: of the order and the flips.
        flip: mirror each image with probability 1/2.
        micro_batches: per step (gradient accumulation).
        rank, world_size: which of how many processes this is; each takes an equal part of every step.
        targets: the feature cache: finds the targets for rows and flips, (N,) each.

    Raises:
        UserError: if there are fewer faces than one step needs, or the batch cannot be split evenly.
    """

    faces: Faces
    batch_size: int
    seed: int
    flip: bool = True
    micro_batches: int = 1
    rank: int = 0
    world_size: int = 1
    targets: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None

    def __post_init__(self) -> None:
        if len(self.faces) < self.batch_size:
            raise UserError(
                f"A batch of {self.batch_size} images needs at least as many training images, got {len(self.faces)}; "
                "lower training.batch_size or use more images."
            )
        pieces = self.micro_batches * self.world_size
        if self.batch_size % pieces or self.batch_size < 2 * pieces:
            raise UserError(
                f"A batch of {self.batch_size} images cannot be split into {pieces} equal parts of at least 2; change "
                "training.batch_size, training.micro_batches or training.devices."
            )

    @property
    def steps(self) -> int:
        """Training steps per epoch."""
        return len(self.faces) // self.batch_size

    def starting_at(self, step: int) -> Generator[Batch, None, None]:
        """The micro-batches of this rank from a training step on, without end."""
        rows = self._rows(step)
        yield from map(self._gather, rows) if self.faces.images.is_cuda else _read_ahead(self._gather, rows)

    def rows(self, step: int) -> list[int]:
        """Rows of the training split that this rank takes in a step, in the order of its micro-batches."""
        return torch.cat([rows for rows, _ in islice(self._rows(step), self.micro_batches)]).tolist()

    def _rows(self, step: int) -> Iterator[Rows]:
        """Rows and flips, (N,) each, of the micro-batches from a step on."""
        epoch, first = divmod(step, self.steps)
        device = self.faces.images.device
        while True:
            order = torch.randperm(len(self.faces), generator=seeded_generator(self.seed, Stream.ORDER, epoch))
            chance = torch.rand(len(self.faces), generator=seeded_generator(self.seed, Stream.FLIPS, epoch))
            flips = ((chance < 0.5) & self.flip)[order].to(device)
            order = order.to(device)
            for start in range(first * self.batch_size, self.steps * self.batch_size, self.batch_size):
                batch = slice(start, start + self.batch_size)
                pieces = (part[batch].chunk(self.micro_batches * self.world_size) for part in (order, flips))
                yield from zip(*(piece[self.rank :: self.world_size] for piece in pieces), strict=True)
            epoch, first = epoch + 1, 0

    def _gather(self, at: Rows) -> Batch:
        rows, flips = at
        images = _mirror(take(self.faces.images, rows), flips)
        targets = self.targets(rows, flips) if self.targets is not None else None
        return Batch(images, take(self.faces.attributes, rows), targets)


def take(array: Tensor, rows: Tensor) -> Tensor:
    """``array[rows]``, a copy."""
    # NumPy: PyTorch's threads, started from a background thread, would compete with those of the training step
    return array[rows] if array.is_cuda else torch.from_numpy(array.numpy()[rows.numpy()])


def _mirror(images: Tensor, flips: Tensor) -> Tensor:
    """Images with those mirrored that ``flips`` (N,) says; may change them in place."""
    if images.is_cuda:
        return torch.where(flips[:, None, None, None], images.flip(-1), images)
    array = images.numpy()
    array[flips.numpy()] = array[flips.numpy()][..., ::-1]
    return images


def _read_ahead(gather: Callable[[Rows], Batch], rows: Iterable[Rows]) -> Iterator[Batch]:
    """``map``, computed by threads some batches ahead."""
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead") as pool:
        for at in rows:
            waiting.append(pool.submit(gather, at))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
