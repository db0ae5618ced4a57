"""Lists joined to image files: which image has which attributes, split and identity."""

import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from dfcvae.errors import UserError, some
from dfcvae.intake.lists import Table, normal
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


def join(files: Sequence[str], tables: Sequence[Table], seed: int, numbered: bool = False) -> Labels:
    """Gives every file the row of each table that names it.

    Args:
        files: relative names, in natural order.
        tables: what the lists say; one that names none of the files is left aside.
        seed: of the splits that no table gives.
        numbered: whether tables and files are CelebA-HQ's, which go by number, with leading zeros or without.

    Raises:
        UserError: a list of CelebA names none of the files, lists disagree, or two bring the same attribute.
    """
    rows = {table.label: match(files, table.filenames, NUMBERED if numbered else KEYS) for table in tables}
    for table in tables:
        if not rows[table.label] and table.required:
            raise UserError(
                f"None of the images that {table.label} names (first: {next(iter(table.filenames), '-')}) is among the "
                f"{len(files):,} images found (first: {files[0]}), or several have the same name. Use lists and images "
                "that belong together."
            )
    used = [table for table in tables if table.says_something and _is_about(table, rows[table.label])]
    listing = [table for table in used if table.names] or [table for table in used if table.split is not None]
    for other in used:
        if listing and (other.names or other.split is not None):
            _must_agree(listing[0], other, rows)
    chosen = [file for file in files if not listing or file in rows[listing[0].label]]
    if not any(table.split is not None for table in used):
        chosen = _without_strays(chosen)
    matched = set(rows[listing[0].label].values()) if listing else set()
    absent = [name for i, name in enumerate(listing[0].filenames) if i not in matched] if listing else []
    attributes, names = _attributes(chosen, used, rows)
    split, how = _split(chosen, used, rows, seed)
    about = [*(("labels", table.label) for table in used), ("split", how)]
    if len(chosen) < len(files):
        about.append(("not listed", f"{some(sorted(set(files) - set(chosen)))}, left out"))
    unused = [name for table in used for name in table.unused]
    unused += [posixpath.basename(table.label) for table in tables if table not in used]
    if unused:
        about.append(("not used", ", ".join(unused)))
    return Labels(tuple(chosen), attributes, names, split, tuple(absent), tuple(about))


def relative_to_common_folder(files: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all files, and their names in it."""
    # Not by `os.path.commonpath`: names in a zip need not be paths of this system, nor of any.
    folders = [file.split("/")[:-1] for file in files]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return "/".join(common), ["/".join(file.split("/")[len(common) :]) for file in files]


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
    """The row of each file in a list, by the way of naming that finds most files.

    A way by which two files, or two rows of a file, could be meant is none.
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


def _is_about(table: Table, rows: Mapping[str, int]) -> bool:
    """Whether a table names the files; one that was found elsewhere should be about them for the most part."""
    return len(rows) > (0 if table.near else len(table.filenames) / 2)


def _must_agree(one: Table, other: Table, rows: Mapping[str, dict[str, int]]) -> None:
    ours, theirs = rows[one.label], rows[other.label]
    lacking = sorted(ours.keys() - theirs.keys())
    if lacking:
        raise UserError(f"{other.label} lacks images of {one.label}: {some(lacking)}. Use lists that match.")
    unknown = sorted(theirs.keys() - ours.keys())
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


def _tops(files: Sequence[str]) -> list[str]:
    """The first folder of each file below what they have in common."""
    return [file.partition("/")[0].lower() for file in relative_to_common_folder(files)[1]]


def _without_strays(files: list[str]) -> list[str]:
    """Without what lies beside folders called train, val and test, if there are such."""
    tops = _tops(files)
    if len(SPLIT_FOLDERS.keys() & set(tops)) < 2:
        return files
    return [file for file, top in zip(files, tops, strict=True) if top in SPLIT_FOLDERS]


def _split(
    files: Sequence[str], tables: Sequence[Table], rows: Mapping[str, dict[str, int]], seed: int
) -> tuple[NDArray[np.int8], str]:
    """The split of each file, and in words where it comes from."""
    split, how = np.zeros(len(files), np.int8), ""
    tops = Counter(_tops(files))
    given = next((table for table in tables if table.split is not None), None)
    if given is not None and given.split is not None:
        split = given.split[[rows[given.label][file] for file in files]]
        how = f"as in {posixpath.basename(given.label)}"
    elif is_whole_celeba(files):
        split, how = official_split(), "CelebA's official one, by number"
    elif SPLIT_FOLDERS.keys() >= tops.keys():
        split = np.array([SPLIT_FOLDERS[top] for top in _tops(files)], np.int8)
        how = f"by folder: {', '.join(tops)}"
    keys = relative_to_common_folder(files)[1]  # the same from whichever folder above one has started
    known = next((table for table in tables if table.identities is not None), None)
    if known is not None and known.identities is not None:
        place = rows[known.label]
        people = [known.identities[place[file]] if file in place else "" for file in files]
        keys = [person or key for person, key in zip(people, keys, strict=True)]
    return complete(split, how, keys, "identity" if known else "file name", seed)
