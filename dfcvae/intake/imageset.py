"""What is known of a set of images before any is decoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EncodedImages(Protocol):
    """Image files by number."""

    def read(self, i: int) -> bytes:
        """The encoded image ``i``.

        Raises:
            Undecodable: it cannot be had, for a reason that is its own.
        """

    def stamp(self) -> str:
        """A digest that changes when an image does; cheap, decodes nothing."""


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order, with labels and splits.

    Attributes:
        path: where the images lie: a folder, a zip or a parquet file.
        layout: what it was recognised as.
        files: the encoded images.
        filenames: ``n`` names.
        attributes: bool ``(n, A)``; A is 0 where nothing is known.
        names: the ``A`` attribute names.
        split: int8 ``(n,)``, places in `SPLITS`.
        missing: names that a list has and the disk has not.
        about: further findings as (what, which), for people to read.
        official: counts of train, val and test in the whole data set, where that is known.
    """

    path: Path
    layout: str
    files: EncodedImages
    filenames: tuple[str, ...]
    attributes: NDArray[np.bool_]
    names: tuple[str, ...]
    split: NDArray[np.int8]
    missing: tuple[str, ...] = ()
    about: tuple[tuple[str, str], ...] = ()
    official: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.filenames)
