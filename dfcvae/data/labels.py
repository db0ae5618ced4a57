"""Lists joined to image files: which image has which attributes, split and identity."""

import hashlib
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfcvae.data.lists import IDENTITY, SPLIT, SPLIT_NAMES, Table, normal
from dfcvae.errors import UserError, some

SPLITS = ("train", "val", "test")
SHARE = 0.1  # of the training images, for a validation or test split that is drawn
CELEBA_COUNTS = 162_770, 19_867, 19_962  # in the order of the numbered images
SPLIT_FOLDERS = {name: place for name, place in SPLIT_NAMES.items() if len(name) > 1}
"""What splits are called in the names of folders and shards."""


class Labels(NamedTuple):
    """The labelled files, as the tree names them, and their labels as in `ImageSet`."""

    files: tuple[str, ...]
    attributes: NDArray[np.bool_]
    names: tuple[str, ...]
    split: NDArray[np.int8]
    missing: tuple[str, ...]
    about: tuple[tuple[str, str], ...]


Rows = Mapping[str, Mapping[str, int]]
"""By a table's label: the row of each file in it."""


def join(files: Sequence[str], tables: Sequence[Table], seed: int, numbered: bool = False) -> Labels:
    """Gives every file the row of each table that names it.

    Args:
        files: relative names, in natural order.
        tables: the content of the lists; one that names none of the files is not used.
        seed: of the splits that no table gives.
        numbered: whether tables and files are CelebA-HQ's, which are numbers, with or without leading zeros.

    Raises:
        UserError: a list of CelebA names none of the files, lists disagree, or two have the same attribute.
    """
    rows = {table.label: match(files, table.filenames, NUMBERED if numbered else KEYS) for table in tables}
    for table in tables:
        if table.required and not rows[table.label]:
            raise UserError(
                f"None of the images that {table.label} names (first: {next(iter(table.filenames), '-')}) is among the "
                f"{len(files):,} images found (first: {files[0]}), or several have the same name. Use lists and images "
                "that belong together."
            )
    used = [
        table
        for table in tables
        if table.columns
        # a table in a folder above should be mostly about these files
        and len(rows[table.label]) > (0 if table.near else len(table.filenames) / 2)
    ]
    listing = next((table for table in used if table.names), _with(SPLIT, used))
    missing: tuple[str, ...] = ()
    chosen = list(files)
    if listing:
        for other in used:
            if other.names or SPLIT in other.columns:
                _must_agree(listing, other, rows)
        listed = rows[listing.label]
        chosen = [file for file in files if file in listed]
        matched = set(listed.values())
        missing = tuple(name for i, name in enumerate(listing.filenames) if i not in matched)
    if not _with(SPLIT, used):
        chosen = _without_strays(chosen)
    attributes, names = _attributes(chosen, used, rows)
    split, how = _split(chosen, used, rows, seed)
    about = [*(("labels", table.label) for table in used), ("split", how)]
    if len(chosen) < len(files):
        about.append(("not listed", f"{some(sorted(set(files) - set(chosen)))}, left out"))
    unused = [name for table in used for name in table.unused]
    unused += [posixpath.basename(table.label) for table in tables if table not in used]
    if unused:
        about.append(("not used", ", ".join(unused)))
    return Labels(tuple(chosen), attributes, names, split, missing, tuple(about))


def relative_to_common_folder(files: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all files, and their names in it."""
    # Not by `os.path.commonpath`: names in a zip need not be valid paths of this system.
    folders = [file.split("/")[:-1] for file in files]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "/".join(common), ["/".join(file.split("/")[len(common) :]) for file in files]


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return posixpath.splitext(posixpath.basename(name))[0]


Key = Callable[[str], str]
KEYS: tuple[Key, ...] = (
    str,
    lambda name: "/".join(name.split("/")[-2:]),
    posixpath.basename,
    lambda name: posixpath.basename(name).lower(),
    lambda name: stem(name).lower(),  # the lists say jpg where the images are png
)
"""How a name in a list may refer to a file, the strictest first."""

NUMBERED: tuple[Key, ...] = (lambda name: stem(name).lstrip("0") or "0",)


def match(files: Sequence[str], listed: Sequence[str], keys: Sequence[Key] = KEYS) -> dict[str, int]:
    """The row of each file in a list, by the key that finds most files.

    A key by which two files, or two rows of a file, could be meant is not used.
    """
    best: dict[str, int] = {}
    spelled = [normal(name) for name in listed]
    for key in keys:
        by_key = {key(normal(file)): file for file in files}
        hits = [(by_key[key(name)], row) for row, name in enumerate(spelled) if key(name) in by_key]
        rows = dict(hits)
        if len(by_key) == len(files) and len(rows) == len(hits) > len(best):
            best = rows
            if len(best) == len(files):
                break
    return {file: best[file] for file in files if file in best}


def _with(column: str, tables: Sequence[Table]) -> Table | None:
    return next((table for table in tables if column in table.columns), None)


def _must_agree(one: Table, other: Table, rows: Rows) -> None:
    for listing, short in ((one, other), (other, one)):
        lacking = sorted(rows[listing.label].keys() - rows[short.label].keys())
        if lacking:
            raise UserError(f"{short.label} lacks images of {listing.label}: {some(lacking)}. Use lists that match.")


def _attributes(files: Sequence[str], tables: Sequence[Table], rows: Rows) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    columns: dict[str, NDArray[np.bool_]] = {}
    for table in tables:
        repeated = sorted(columns.keys() & set(table.names))
        if repeated:
            raise UserError(f"{table.label} has attributes that another list has: {some(repeated)}. Remove one.")
        if table.names:
            order = [rows[table.label][file] for file in files]
            columns |= {name: table.columns[name][order] for name in table.names}
    return np.array([*columns.values()], np.bool_).reshape(len(columns), len(files)).T, tuple(columns)


def _tops(files: Sequence[str]) -> list[str]:
    """The first folder of each file below the folder that all are in."""
    return [file.partition("/")[0].lower() for file in relative_to_common_folder(files)[1]]


def _without_strays(files: list[str]) -> list[str]:
    """Without files beside folders called train, val and test, if there are such folders."""
    tops = _tops(files)
    if len(SPLIT_FOLDERS.keys() & set(tops)) < 2:
        return files
    return [file for file, top in zip(files, tops, strict=True) if top in SPLIT_FOLDERS]


def _split(files: Sequence[str], tables: Sequence[Table], rows: Rows, seed: int) -> tuple[NDArray[np.int8], str]:
    """The split of each file, and in words where it is from."""
    split, how = np.zeros(len(files), np.int8), ""
    tops = _tops(files)
    given, known = _with(SPLIT, tables), _with(IDENTITY, tables)
    if given:
        split = given.columns[SPLIT][[rows[given.label][file] for file in files]]
        how = f"as in {posixpath.basename(given.label)}"
    elif len(files) == sum(CELEBA_COUNTS) and all(stem(name) == f"{i:06d}" for i, name in enumerate(files, 1)):
        split, how = official_split(), "CelebA's official one, by number"
    elif SPLIT_FOLDERS.keys() >= set(tops):
        split = np.array([SPLIT_FOLDERS[top] for top in tops], np.int8)
        how = f"by folder: {', '.join(Counter(tops))}"
    keys = relative_to_common_folder(files)[1]  # the same from whichever folder above
    if known:
        place = rows[known.label]
        people = [known.columns[IDENTITY][place[file]] if file in place else "" for file in files]
        keys = [person or key for person, key in zip(people, keys, strict=True)]
    return complete(split, how, keys, "identity" if known else "file name", seed)


def official_split() -> NDArray[np.int8]:
    """CelebA's split of its images in their order, as in ``list_eval_partition.txt``."""
    return np.repeat(np.arange(3, dtype=np.int8), CELEBA_COUNTS)


def complete(
    split: NDArray[np.int8], how: str, keys: Sequence[str], by: str, seed: int
) -> tuple[NDArray[np.int8], str]:
    """Fills an empty validation or test split with a tenth of the training images.

    Images of one key (identity or file name: ``by``) stay together. The draw is a function of the seed and the keys
    alone, not of their order or of a random generator: keys are ranked by a hash, and the first ones taken.

    Returns:
        The completed split, and ``how``, the words that say where it is from, completed too.
    """
    empty = [i for i in (1, 2) if not (split == i).any()]
    rows: dict[str, list[int]] = {}
    for i in np.flatnonzero(split == 0).tolist():
        rows.setdefault(keys[i], []).append(i)
    if not empty or len(rows) <= len(empty):  # some training images must remain
        return split, how or "all train: there are too few images to draw others"
    split = split.copy()
    wanted = max(1, round(SHARE * sum(map(len, rows.values()))))
    ranked = sorted(
        rows, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode(errors="replace")).digest(), reverse=True
    )
    for later, i in zip(reversed(range(len(empty))), empty, strict=True):
        taken = 0
        while taken == 0 or (taken < wanted and len(ranked) > later + 1):  # leave a key for what is drawn later
            group = rows[ranked.pop()]
            split[group] = i
            taken += len(group)
    drawn = f"{' and '.join(SPLITS[i] for i in empty)} drawn from train by {by}, a tenth each, seed {seed}"
    return split, f"{how}; {drawn}" if how else drawn
