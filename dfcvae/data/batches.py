"""Batches: uint8 images (N, C, H, W) and what is known of them, as whole rows of the decoded array."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dfcvae.data.faces import Faces
from dfcvae.errors import UserError
from dfcvae.seeding import Stream, seeded_generator

AHEAD = 2  # batches gathered while the one before is trained on
Rows = tuple[Tensor, Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(NamedTuple):
    """Some faces.

    Args:
        images: uint8 (N, C, H, W).
        attributes: bool (N, A).
        targets: what a feature loss compares the reconstructions with, by term, where it is kept.
    """

    images: Tensor
    attributes: Tensor
    targets: dict[str, Tensor] | None = None


class TrainingBatches:
    """Shuffled and mirrored batches without end; each is a function of the seed and the training step alone.

    Images on a GPU are shuffled and mirrored there. Others are gathered by background threads, some batches ahead, so
    that reading a memory map from disk does not hold up training.

    Args:
        faces: the training split.
        batch_size: images in a step; the last incomplete one of an epoch is left out.
        seed: of the order and the flips.
        flip: mirror each image with probability 1/2.
        parts: batches to a step, for images that do not fit into memory at once.
        share: which of how many processes this is; each takes its share of every step.
        targets: finds the kept targets for rows and flips, (N,) each.

    Attributes:
        step: the training step at which the next iteration starts; it goes on to the end of that step's epoch.

    Raises:
        UserError: if there are fewer faces than one step needs, or it cannot be parted evenly.
    """

    def __init__(
        self,
        faces: Faces,
        batch_size: int,
        seed: int,
        flip: bool = True,
        parts: int = 1,
        share: tuple[int, int] = (0, 1),
        targets: Callable[[Tensor, Tensor], dict[str, Tensor]] | None = None,
    ):
        if len(faces) < batch_size:
            raise UserError(
                f"A batch of {batch_size} images needs at least as many training images, but there are {len(faces)}; "
                "lower training.batch_size or use more images."
            )
        pieces = parts * share[1]
        if batch_size % pieces or batch_size < 2 * pieces:
            raise UserError(
                f"A batch of {batch_size} images cannot be parted into {pieces} equal ones of at least 2; change "
                "training.batch_size, training.parts or training.devices."
            )
        self.faces, self.batch_size, self.seed, self.flip = faces, batch_size, seed, flip
        self.parts, self.share, self.targets = parts, share, targets
        self.step = 0

    @property
    def steps(self) -> int:
        """Training steps in an epoch."""
        return len(self.faces) // self.batch_size

    def __len__(self) -> int:
        return self.steps * self.parts

    def __iter__(self) -> Iterator[Batch]:
        if self.faces.images.is_cuda:
            return map(self._gather, self._rows())
        return _read_ahead(self._gather, self._rows())

    def of_step(self, step: int) -> Iterator[tuple[Tensor, Batch]]:
        """The parts of a training step that this process has: which images, (N,), and the batch of them."""
        for at in islice(self._rows(step), self.parts):
            yield at[0], self._gather(at)

    def _rows(self, step: int | None = None) -> Iterator[Rows]:
        """Rows and flips, (N,) each, of all batches from a step (`step`) to the end of its epoch."""
        epoch, first = divmod(self.step if step is None else step, self.steps)
        device = self.faces.images.device
        order = torch.randperm(len(self.faces), generator=seeded_generator(self.seed, Stream.ORDER, epoch))
        chance = torch.rand(len(self.faces), generator=seeded_generator(self.seed, Stream.FLIPS, epoch))
        flips = ((chance < 0.5) & self.flip)[order].to(device)
        order = order.to(device)
        for start in range(first * self.batch_size, self.steps * self.batch_size, self.batch_size):
            part = slice(start, start + self.batch_size)
            rank, processes = self.share
            pieces = (rows[part].chunk(self.parts * processes)[rank::processes] for rows in (order, flips))
            yield from zip(*pieces, strict=True)

    def _gather(self, at: Rows) -> Batch:
        rows, flips = at
        images = _mirror(take(self.faces.images, rows), flips)
        targets = self.targets(rows, flips) if self.targets is not None else None
        return Batch(images, take(self.faces.attributes, rows), targets)


class Batches:
    """The faces in their own order, all of them."""

    def __init__(self, faces: Faces, batch_size: int):
        self.faces, self.batch_size = faces, batch_size

    def __len__(self) -> int:
        return -(-len(self.faces) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.faces), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(self.faces.images[part], self.faces.attributes[part])


# On the CPU with NumPy: threads of PyTorch's, started from here, would compete with those of the training step.


def take(array: Tensor, rows: Tensor) -> Tensor:
    """``array[rows]``, a copy."""
    return array[rows] if array.is_cuda else torch.from_numpy(array.numpy()[rows.numpy()])


def _mirror(images: Tensor, flips: Tensor) -> Tensor:
    """Images with those mirrored that ``flips`` (N,) says; may change them in place."""
    if images.is_cuda:
        return torch.where(flips[:, None, None, None], images.flip(-1), images)
    array = images.numpy()
    array[flips.numpy()] = array[flips.numpy()][..., ::-1]
    return images


def _read_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map``, computed by threads some items ahead."""
    waiting: deque = deque()
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="read-ahead") as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
