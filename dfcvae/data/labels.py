"""Lists joined to image files: which image has which attributes, split and identity."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from posixpath import basename, dirname
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfcvae.data.batches import SHARE, SPLITS
from dfcvae.data.lists import IDENTITY, SPLIT, SPLIT_NAMES, UNKNOWN, Table, normal, stem
from dfcvae.errors import UserError, some

CELEBA_COUNTS = 162_770, 19_867, 19_962  # in the order of the numbered images
SPLIT_FOLDERS = {name: place for name, place in SPLIT_NAMES.items() if len(name) > 1}
"""What splits are called in the names of folders, lists and shards."""

PERSON_FOLDERS = 20  # fewer are classes


class Labels(NamedTuple):
    """The labelled files, and their labels, as in `ImageSet`."""

    members: Sequence[Any]
    attributes: NDArray[np.bool_]
    names: tuple[str, ...]
    split: NDArray[np.int8]
    missing: tuple[str, ...]
    about: tuple[tuple[str, str], ...]


def join(files: Sequence[str], tables: Sequence[Table], seed: int, numbered: bool = False) -> Labels:
    """Gives every file the row of each table that names it.

    Tables of the same columns are one list in several files. The list of attributes that names most images (else that
    of the splits) says which images are used; another may lack some of them, which then lack its attributes (false).

    Args:
        files: relative names, in natural order.
        tables: the content of the lists; one that names none of the files is not used.
        seed: of the splits that no table gives.
        numbered: whether names are numbers, with or without leading zeros, as CelebA-HQ's.

    Raises:
        UserError: a list of CelebA names none of the files, or two lists disagree about an attribute.
    """
    tables = [replace(table, row=_rows_of(files, table, NUMBERED if numbered else KEYS)) for table in tables]
    for table in tables:
        if table.is_required and table.row.max() < 0:
            first = next(iter(table.filenames), "-")
            raise UserError(
                f"None of the images that {table.label} names (first: {first}) is among the {len(files):,} images "
                f"found (first: {files[0]}), or several have the same name. Use the lists of these images."
            )
    used = [table for table in tables if table.is_used]
    listing = _listing(used)
    gone = [sorted({*range(len(table.filenames))} - {*table.row.tolist()}) for table in listing]
    missing = tuple(table.filenames[row] for table, rows in zip(listing, gone, strict=True) for row in rows)
    named = np.logical_or.reduce([table.row >= 0 for table in listing]) if listing else np.ones(len(files), np.bool_)
    labelled, used = _restricted(files, used, named)
    split, how = _given_split(labelled, used)
    labelled, used = _restricted(labelled, used, split >= 0)
    split = split[split >= 0]
    split, how = complete(split, how, *_people(labelled, used), seed)
    values = _attributes(used)
    about = [*(("labels", table.label) for table in used), ("split", how)]
    lacking: dict[int, list[str]] = {}  # attributes by the number of images that they are unknown of
    for name, column in values.items():
        lacking.setdefault(int((column == UNKNOWN).sum()), []).append(name)
    unknown = "; ".join(f"{some(names)} of {count:,} images" for count, names in lacking.items() if count)
    if unknown:
        about.append(("unknown", f"{unknown}, counted as false"))
    if len(labelled) < len(files):
        about.append(("not listed", f"{some(sorted({*files} - {*labelled}))}, left out"))
    unused = [name for table in used for name in table.unused]
    unused += [basename(table.label) for table in tables if not table.is_used]
    if unused:
        about.append(("not used", ", ".join(dict.fromkeys(unused))))
    attributes = np.array([*values.values()], np.int8).reshape(len(values), len(labelled)).T == 1
    return Labels(tuple(labelled), attributes, tuple(values), split, missing, tuple(about))


def _restricted(
    files: Sequence[str], tables: Sequence[Table], chosen: NDArray[np.bool_]
) -> tuple[list[str], list[Table]]:
    """The chosen files, and the tables' rows for them."""
    rows = np.flatnonzero(chosen)
    return [files[i] for i in rows.tolist()], [replace(table, row=table.row[rows]) for table in tables]


def relative_to_common_folder(files: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all files, and their names in it."""
    # Not by `os.path.commonpath`: names in a zip need not be valid paths of this system.
    folders = [file.split("/")[:-1] for file in files]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "/".join(common), ["/".join(file.split("/")[len(common) :]) for file in files]


Key = Callable[[str], str]
KEYS: tuple[Key, ...] = (
    str,
    lambda name: "/".join(name.split("/")[-2:]),
    basename,
    lambda name: basename(name).lower(),
    lambda name: stem(name).lower(),  # the lists say jpg where the images are png
)
"""How a name in a list may refer to a file, the strictest first."""

NUMBERED: tuple[Key, ...] = (lambda name: stem(name).lstrip("0") or "0",)


def _rows_of(files: Sequence[str], table: Table, keys: Sequence[Key]) -> NDArray[np.int64]:
    """The row of each file in a table, whose names may be relative to its own folder or to that of its split."""
    start, place = f"{table.folder}/" if table.folder else "", _place(table.label)
    inside = [file.removeprefix(start) for file in files if file.startswith(start)]
    best = {start + file: row for file, row in match(inside, table.filenames, keys).items()}
    if place >= 0 and len(best) < len(table.filenames):
        of_split = [file for file, top in zip(files, _tops(files), strict=True) if SPLIT_FOLDERS.get(top) == place]
        best = max(best, match(of_split, table.filenames, keys), key=len)
    if start and not best:
        best = match(files, table.filenames, keys)
    return np.array([best.get(file, -1) for file in files], np.int64)


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
    return best


def _place(label: str) -> int:
    """The split that a list is called by (``fairface_label_train.csv``), or -1."""
    words = re.split("[^a-z]+", stem(normal(label)).lower())
    places = {SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS}
    return places.pop() if len(places) == 1 else -1


def _listing(tables: Sequence[Table]) -> list[Table]:
    """The tables that say which images are used: those of the attributes of most images, else those of splits."""
    groups: dict[frozenset[str], list[Table]] = {}
    for table in tables:
        if table.names:
            groups.setdefault(frozenset(table.names), []).append(table)
    if not groups:
        return [table for table in tables if SPLIT in table.columns]
    return max(groups.values(), key=lambda group: sum((table.row >= 0).sum() for table in group))


def _attributes(tables: Sequence[Table]) -> dict[str, NDArray[np.int8]]:
    """By attribute, a value for every file: 1, 0 or `UNKNOWN`."""
    values: dict[str, NDArray[np.int8]] = {}
    for table in tables:
        for name in table.names:
            column = table.cells(name)
            before = values.get(name, column)
            if ((column != before) & (np.minimum(column, before) != UNKNOWN)).any():
                raise UserError(f"{table.label} and another list disagree about {name}. Remove one of them.")
            values[name] = np.maximum(column, before)
    return values


def _given_split(files: Sequence[str], tables: Sequence[Table]) -> tuple[NDArray[np.int8], str]:
    """The split of each file, -1 for one outside all of them, and in words where it is from; or 0 and nothing."""
    given = [table for table in tables if SPLIT in table.columns]
    if given:
        places = [table.cells(SPLIT) for table in given]
        first = np.select([place >= 0 for place in places], places, -1)  # the first list counts
        return first.astype(np.int8), f"as in {' and '.join(basename(table.label) for table in given)}"
    listing = _listing(tables)
    called = [_place(table.label) for table in listing]
    if -1 not in called and len({*called}) > 1:
        split = np.full(len(files), -1, np.int8)
        for table, place in zip(listing, called, strict=True):
            split[table.row >= 0] = place
        return split, "by the names of the lists"
    tops = _tops(files)
    folders = sorted({*tops} & SPLIT_FOLDERS.keys())
    if len(folders) > 1:
        return np.array([SPLIT_FOLDERS.get(top, -1) for top in tops], np.int8), f"by folder: {', '.join(folders)}"
    if len(files) == sum(CELEBA_COUNTS) and all(stem(f) == f"{i:06d}" for i, f in enumerate(files, 1)):
        return official_split(), "CelebA's official one, by number"
    return np.zeros(len(files), np.int8), ""


def _people(files: Sequence[str], tables: Sequence[Table]) -> tuple[list[str], str]:
    """What must not be in two splits: a key of each file, the person in it where known, and what the keys are."""
    keys = relative_to_common_folder(files)[1]  # the same from whichever folder above
    listed = [table.cells(IDENTITY, "").tolist() for table in tables if IDENTITY in table.columns]
    # a folder that files are called by, as George_W_Bush/George_W_Bush_0001.jpg of LFW
    folders = [basename(dirname(file)) for file in files]
    persons = [
        folder if stem(file).startswith(folder) and not folder.isdecimal() else ""
        for file, folder in zip(files, folders, strict=True)
    ]
    by_folder = len({*persons} - {""}) >= PERSON_FOLDERS and sum(map(bool, persons)) > len(files) / 2
    people = listed or ([persons] if by_folder else [])
    by = "identity" if listed else "folder, one for each person" if by_folder else "file name"
    return [next(filter(None, names), "") for names in zip(*people, keys, strict=True)], by


def _tops(files: Sequence[str]) -> list[str]:
    """The first folder of each file below the folder that all are in."""
    return [file.partition("/")[0].lower() for file in relative_to_common_folder(files)[1]]


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
    ranked = sorted(rows, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode(errors="replace")).digest())[::-1]
    for later, i in zip(reversed(range(len(empty))), empty, strict=True):
        taken = 0
        while taken == 0 or (taken < wanted and len(ranked) > later + 1):  # leave a key for what is drawn later
            group = rows[ranked.pop()]
            split[group] = i
            taken += len(group)
    drawn = f"{' and '.join(SPLITS[i] for i in empty)} drawn from train by {by}, a tenth each, seed {seed}"
    return split, f"{how}; {drawn}" if how else drawn
