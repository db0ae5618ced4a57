"""Training, validation and test split where a data set brings none, or not all of them."""

import hashlib
from collections.abc import Sequence
from posixpath import basename, splitext

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
SHARE = 0.1
CELEBA_COUNTS = 162_770, 19_867, 19_962  # in the order of the numbered images
SPLIT_NAMES = {
    **dict.fromkeys(("0", "train", "training"), 0),
    **dict.fromkeys(("1", "val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("2", "test", "testing"), 2),
}
"""What splits are called in lists: their places in `SPLITS`."""

SPLIT_FOLDERS = {name: place for name, place in SPLIT_NAMES.items() if len(name) > 1}
"""What they are called in the names of folders and shards."""


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return splitext(basename(name))[0]


def is_whole_celeba(files: Sequence[str]) -> bool:
    """Whether these are all of CelebA's images by name, 000001 to 202599, in their order."""
    return len(files) == sum(CELEBA_COUNTS) and all(stem(name) == f"{i:06d}" for i, name in enumerate(files, 1))


def official_split() -> NDArray[np.int8]:
    """CelebA's split of its images in their order, as ``list_eval_partition.txt`` has it."""
    return np.repeat(np.arange(3, dtype=np.int8), CELEBA_COUNTS)


def complete(
    split: NDArray[np.int8], how: str, keys: Sequence[str], by: str, seed: int
) -> tuple[NDArray[np.int8], str]:
    """Fills an empty validation or test split with a tenth of the training images.

    Images of one key stay together. Which ones are drawn depends on the seed and the keys alone, neither on their order
    nor on a random generator: keys are ranked by a hash, and the first ones taken.

    Args:
        split: int8 ``(n,)``, places in `SPLITS`.
        how: in words, where it comes from; empty if from nowhere.
        keys: ``n`` identities, or file names where identities are not known.
        by: in a word, what the keys are.
        seed: of the hash.

    Returns:
        The completed split, and in words where it comes from.
    """
    empty = [i for i in (1, 2) if not (split == i).any()]
    rows: dict[str, list[int]] = {}
    for i in np.flatnonzero(split == 0).tolist():
        rows.setdefault(keys[i], []).append(i)
    if not empty or len(rows) <= len(empty):  # a training split must remain
        return split, how or "all train: there are too few images to draw others"
    split = split.copy()
    wanted = max(1, round(SHARE * sum(map(len, rows.values()))))
    ranked = sorted(
        rows, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode(errors="replace")).digest(), reverse=True
    )
    for later, i in zip(reversed(range(len(empty))), empty, strict=True):
        taken = 0
        while taken == 0 or (taken < wanted and len(ranked) > later + 1):  # one key each for what comes later
            group = rows[ranked.pop()]
            split[group] = i
            taken += len(group)
    drawn = f"{' and '.join(SPLITS[i] for i in empty)} drawn from train by {by}, a tenth each, seed {seed}"
    return split, f"{how}; {drawn}" if how else drawn
