"""Lists joined to image files: which image has which attributes, split and identity."""

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfcvae.errors import UserError, some
from dfcvae.intake.lists import HQ_ATTRIBUTES, Table
from dfcvae.intake.splits import SPLIT_FOLDERS, complete, is_whole_celeba, official_split, stem


@dataclass(frozen=True)
class Labels:
    """What is known of ``n`` files.

    Attributes:
        files: the labelled ones, as the tree names them.
        attributes, names, split, missing, about: as in `ImageSet`.
    """

    files: tuple[str, ...]
    attributes: NDArray[np.bool_]
    names: tuple[str, ...]
    split: NDArray[np.int8]
    missing: tuple[str, ...]
    about: tuple[tuple[str, str], ...]


def join(files: Sequence[str], tables: Sequence[Table], mapping: Mapping[str, str], seed: int) -> Labels:
    """Gives every file the row of each table that names it.

    Args:
        files: relative names, in natural order.
        tables: what the lists say; one that names none of the files is left aside.
        mapping: number in CelebA-HQ to file name in CelebA, if the files are CelebA-HQ.
        seed: of the splits that no table gives.

    Raises:
        UserError: a list of CelebA names none of the files, lists disagree, or two bring the same attribute.
    """
    tables = [table if table.label.endswith(HQ_ATTRIBUTES) else _to_hq(table, mapping) for table in tables]
    keys = HQ_KEYS if mapping or any(table.label.endswith(HQ_ATTRIBUTES) for table in tables) else KEYS
    rows = {table.label: _rows(files, table, keys) for table in tables}
    for table in tables:
        if not rows[table.label] and table.required:
            raise UserError(
                f"None of the images that {table.label} names (first: {next(iter(table.filenames), '-')}) is among the "
                f"{len(files):,} images found (first: {files[0]}). Use lists and images that belong together."
            )
    used = [table for table in tables if rows[table.label] and table.says_something]
    listing = [table for table in used if table.names] or [table for table in used if table.split is not None]
    for other in used:
        if listing and (other.names or other.split is not None):
            _must_agree(listing[0], other, keys[0])
    listed = rows[listing[0].label] if listing else {file: i for i, file in enumerate(files)}
    chosen = tuple(file for file in files if file in listed)
    matched = set(listed.values())
    absent = [name for i, name in enumerate(listing[0].filenames) if i not in matched] if listing else []
    attributes, names = _attributes(chosen, used, rows)
    split, how = _split(chosen, used, rows, seed)
    about = [*(("labels", table.label) for table in used), ("split", how)]
    if len(chosen) < len(files):
        unlisted = [file for file in files if file not in listed]
        about.append(("not listed", f"{some(unlisted)}, left out"))
    unused = [name for table in used for name in table.unused]
    unused += [posixpath.basename(table.label) for table in tables if table not in used]
    if unused:
        about.append(("not used", ", ".join(unused)))
    return Labels(chosen, attributes, names, split, tuple(absent), tuple(about))


def relative_to_common_folder(files: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all files, and their names in it."""
    folders = {file.rpartition("/")[0] for file in files}
    common = os.path.commonpath(folders) if "" not in folders else ""
    common = common.replace(os.sep, "/")
    return common, [file[len(common) + 1 :] if common else file for file in files]


KEYS: tuple[Callable[[str], str], ...] = (
    str,
    posixpath.basename,
    stem,  # the lists say jpg where the images are png
)
"""How a name in a list may refer to a file, the strictest first."""

HQ_KEYS: tuple[Callable[[str], str], ...] = (lambda name: stem(name).lstrip("0") or "0",)
"""CelebA-HQ is numbered, with leading zeros or without."""


def _rows(files: Sequence[str], table: Table, keys: Sequence[Callable[[str], str]]) -> dict[str, int]:
    """The row of each file in a table, where it has one."""
    for key in keys:
        by_key = {key(file): file for file in files}
        if len(by_key) == len(files):  # else a name would be ambiguous
            rows = {by_key[key(name)]: i for i, name in enumerate(table.filenames) if key(name) in by_key}
            if rows:
                return {file: rows[file] for file in files if file in rows}
    return {}


def _to_hq(table: Table, mapping: Mapping[str, str]) -> Table:
    """A list of CelebA's files as a list of CelebA-HQ's."""
    if not mapping:
        return table
    row_of = {name: i for i, name in enumerate(table.filenames)}
    pairs = [(row_of[original], number) for number, original in mapping.items() if original in row_of]
    return table.rows([row for row, _ in pairs], [number for _, number in pairs])


def _must_agree(one: Table, other: Table, key: Callable[[str], str]) -> None:
    ours, theirs = ({key(name) for name in table.filenames} for table in (one, other))
    lacking = sorted(ours - theirs)
    if lacking:
        raise UserError(f"{other.label} lacks images of {one.label}: {some(lacking)}. Use lists that match.")
    unknown = sorted(theirs - ours)
    if unknown:
        raise UserError(f"{other.label} lists images unknown to {one.label}: {some(unknown)}. Use lists that match.")


def _attributes(
    files: Sequence[str], tables: Sequence[Table], rows: Mapping[str, dict[str, int]]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    columns = [np.zeros((len(files), 0), np.bool_)]
    names: list[str] = []
    for table in tables:
        if table.attributes is not None:
            repeated = sorted(set(names) & set(table.names))
            if repeated:
                raise UserError(f"{table.label} has attributes that another list has: {some(repeated)}. Remove one.")
            names += table.names
            columns.append(table.attributes[[rows[table.label][file] for file in files]])
    return np.concatenate(columns, axis=1), tuple(names)


def _split(
    files: Sequence[str], tables: Sequence[Table], rows: Mapping[str, dict[str, int]], seed: int
) -> tuple[NDArray[np.int8], str]:
    """The split of each file, and in words where it comes from."""
    split, how = np.zeros(len(files), np.int8), ""
    tops = [file.partition("/")[0].lower() for file in relative_to_common_folder(files)[1]]
    given = next((table for table in tables if table.split is not None), None)
    if given is not None and given.split is not None:
        split = given.split[[rows[given.label][file] for file in files]]
        how = f"as in {posixpath.basename(given.label)}"
    elif is_whole_celeba(files):
        split, how = official_split(), "CelebA's official one, by number"
    elif SPLIT_FOLDERS.keys() >= set(tops):
        split = np.array([SPLIT_FOLDERS[top] for top in tops], np.int8)
        how = f"by folder: {', '.join(dict.fromkeys(tops))}"
    known = next((table for table in tables if table.identities is not None), None)
    keys = list(files)
    if known is not None and known.identities is not None:
        place = rows[known.label]
        keys = [known.identities[place[file]] if file in place else file for file in files]
    return complete(split, how, keys, "identity" if known else "file name", seed)
