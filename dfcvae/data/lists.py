"""Lists of labels: CelebA's text files, and CSV files of any origin.

Every reader raises a UserError that names the fault and its line if a list is malformed or cut short.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import basename
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcvae.errors import UserError

ATTRIBUTES = "list_attr_celeba"
PARTITION = "list_eval_partition"
IDENTITIES = "identity_CelebA.txt"
HQ_ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
HQ_MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
ATTRIBUTE_COUNT = 40
CELEBA_CSV = (f"{ATTRIBUTES}.csv", f"{PARTITION}.csv")  # as on Kaggle

SPLIT_NAMES = {
    **dict.fromkeys(("0", "train", "training"), 0),
    **dict.fromkeys(("1", "val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("2", "test", "testing"), 2),
}
"""What splits are called in lists."""

NAME_COLUMNS = ("image_id", "file_name", "filename", "file", "image", "img", "path", "name", "id")
SPLIT, IDENTITY = "partition", "identity"
SPLIT_COLUMNS = (SPLIT, "split", "set", "subset")
IDENTITY_COLUMNS = (IDENTITY, "celeb_id", "person", "person_id", "subject", "subject_id")
YES = frozenset(("1", "1.0", "true", "yes"))
YES_OR_NO = YES | {"0", "-1", "0.0", "-1.0", "false", "no"}


@dataclass(frozen=True, eq=False)
class Table:
    """The content of one list.

    Attributes:
        label: the file it was read from, for messages.
        filenames: ``n`` names as the list spells them, each once.
        columns: arrays ``(n,)`` by name: bool for attributes, int8 for `SPLIT`, text for `IDENTITY`.
        unused: columns that are none of these.
        required: whether it must be about the images found beside it, as CelebA's own lists must.
        near: whether it is with the images, not just in a folder above.
    """

    label: str
    filenames: tuple[str, ...] = ()
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    required: bool = True
    near: bool = True

    def __post_init__(self) -> None:
        if len(set(self.filenames)) < len(self.filenames):
            [(repeated, _)] = Counter(self.filenames).most_common(1)
            raise UserError(f"{self.label} lists {repeated} more than once. Remove a line, or use the official file.")

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes in it."""
        return tuple(name for name, column in self.columns.items() if column.dtype == np.bool_)

    def rows(self, rows: Sequence[int], filenames: Sequence[str]) -> "Table":
        """These rows, under other names."""
        columns = {name: column[list(rows)] for name, column in self.columns.items()}
        return replace(self, filenames=tuple(filenames), columns=columns)


def read_attributes(label: str, text: str) -> Table:
    """``list_attr_celeba.txt``, or its like for CelebA-HQ: the count, the names, then rows ``name -1 1 ...``."""
    lines = text.splitlines()
    if len(lines) < 2 or not re.fullmatch("[0-9]{1,18}", lines[0].strip()):
        raise UserError(
            f"{label} is not CelebA's attribute list: its first line should be the number of images, "
            f"got {''.join(lines[:1])[:60]!r}. Use the official file."
        )
    names = tuple(lines[1].split())
    if not len(set(names)) == len(names) == ATTRIBUTE_COUNT:
        raise UserError(
            f"Line 2 of {label} should hold CelebA's {ATTRIBUTE_COUNT} attribute names, got {len(names)} "
            f"({len(set(names))} different). Use the official file."
        )
    filenames, values = _read_rows(label, lines, 2, ATTRIBUTE_COUNT, {"-1": 0, "1": 1})
    if len(filenames) != int(lines[0]):
        raise UserError(
            f"{label} announces {int(lines[0]):,} images in its first line, but lists {len(filenames):,}. "
            "It may be cut short: download it again, or correct the first line."
        )
    return Table(label, filenames, dict(zip(names, (values == 1).T, strict=True)))


def read_partition(label: str, text: str) -> Table:
    """``list_eval_partition.txt``: rows ``name 0``, where 0 is train, 1 val and 2 test."""
    filenames, values = _read_rows(label, text.splitlines(), 0, 1, {"0": 0, "1": 1, "2": 2})
    return Table(label, filenames, {SPLIT: values[:, 0]})


def read_identities(label: str, text: str) -> Table:
    """``identity_CelebA.txt``: rows ``name number``, with or without a header."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    rows = rows[1 if rows and not rows[0][-1].isdecimal() else 0 :]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise UserError(f"Row {number} of {label} should be a file name and a number, got {' '.join(row)!r}.")
    return Table(label, tuple(name for name, _ in rows), {IDENTITY: np.array([person for _, person in rows], object)})


def read_mapping(label: str, text: str) -> dict[str, str]:
    """``CelebA-HQ-to-CelebA-mapping.txt``: number in CelebA-HQ to file name in CelebA, with or without a header."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    rows = rows[0 if rows and rows[0][0].isdecimal() else 1 :]
    if not rows or any(len(row) != 3 or not re.fullmatch("[0-9]{1,18}", row[0]) for row in rows):
        raise UserError(f"{label} should have rows of three: number in CelebA-HQ, number and file name in CelebA.")
    return {str(int(row[0])): row[2] for row in rows}


def read_csv(label: str, text: str, files: Collection[str] = ()) -> Table | None:
    """A CSV file with a header and a column of file names; None if it is something else.

    Columns of yes and no (1 and 0, 1 and -1, true and false) are attributes. A column ``partition`` or ``split`` is the
    split, and one of `IDENTITY_COLUMNS` the identity; others are not used.

    Args:
        label: the file, for messages.
        text: its content.
        files: names and stems of the images; the column that holds most of them names the files. Without them it is
            the first one of `NAME_COLUMNS`, or of all.
    """
    delimiter = max(",;\t", key=text.partition("\n")[0].count)  # spreadsheets write what their language asks for
    try:
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{label} is not a valid CSV file ({error}). Correct it, or move it elsewhere.") from error
    if len(lines) < 2 or len(lines[0]) < 2:
        return None
    header = [cell.strip() for cell in lines[0]]
    at = _name_column(header, lines[1:], files)
    if at is None:
        return None
    if files and base(header[at]) in files:
        raise UserError(f"The first row of {label} names an image, but should be a header (file_name, ...). Add it.")
    for number, row in enumerate(lines[1:], 2):
        if len(row) != len(header):
            raise UserError(f"Row {number} of {label} has {len(row)} cells, but its header {len(header)}. Correct it.")
    if len(set(header)) < len(header):
        raise UserError(f"{label} has two columns of the same name in its header. Rename one.")
    columns = dict(zip(header, zip(*lines[1:], strict=True), strict=True))
    filenames = tuple(cell.strip() for cell in columns.pop(header[at]))
    return _with_columns(Table(label, filenames, required=basename(label) in CELEBA_CSV), columns)


def _name_column(header: list[str], lines: list[list[str]], files: Collection[str]) -> int | None:
    """The column of the file names: judged by its cells, then by its header."""
    ranks = {name: -rank for rank, name in enumerate(NAME_COLUMNS)}
    words = [ranks.get(name.lower(), -len(ranks)) for name in header]
    if not files:
        return words.index(max(words))
    cells = [[base(row[i]) for row in lines if i < len(row)] for i in range(len(header))]
    hits = [(sum("." in c and c in files for c in column), sum(c in files for c in column)) for column in cells]
    best = max(range(len(header)), key=lambda i: (*hits[i], words[i], -i))
    return best if hits[best][1] else None


def base(cell: str) -> str:
    """A file name in a cell without its folders."""
    return basename(normal(cell.strip()))


def normal(name: str) -> str:
    """A file name in one spelling for all systems: slashes, and accents composed with their letters."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _with_columns(table: Table, cells_of: dict[str, tuple[str, ...]]) -> Table:
    columns: dict[str, NDArray[Any]] = {}
    unused = []
    for name, cells in cells_of.items():
        plain = {cell: cell.strip().lower() for cell in set(cells)}
        if name.lower() in SPLIT_COLUMNS:
            unknown = sorted(set(plain.values()) - SPLIT_NAMES.keys())
            if unknown:
                raise UserError(f"{table.label}: unknown split {unknown[0]!r}; use train, val and test, or 0, 1 and 2.")
            columns[SPLIT] = np.array([SPLIT_NAMES[plain[cell]] for cell in cells], np.int8)
        elif name.lower() in IDENTITY_COLUMNS:
            columns[IDENTITY] = np.array([cell.strip() for cell in cells], object)
        elif YES_OR_NO.issuperset(plain.values()):
            yes = {cell for cell, word in plain.items() if word in YES}
            columns[name] = np.array([cell in yes for cell in cells], np.bool_)
        else:
            unused.append(name)
    return replace(table, columns=columns, unused=tuple(unused))


def _read_rows(
    label: str, lines: list[str], start: int, columns: int, codes: dict[str, int]
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """Rows ``name value ...`` from line index ``start`` on: the names, and the codes of the values ``(n, columns)``."""
    names, values = [], bytearray()
    for number, line in enumerate(lines[start:], start + 1):
        name, *cells = line.split() or [""]
        wrong = set(cells) - codes.keys()
        if name and (wrong or len(cells) != columns):
            found = f"the value {min(wrong)!r}" if wrong else f"{len(cells)} values"
            raise UserError(
                f"Line {number} of {label} should be a file name and {columns} value{'s' * (columns > 1)} out of "
                f"{', '.join(codes)}, got {found}. Use the official file."
            )
        if name:
            names.append(name)
            values.extend(map(codes.__getitem__, cells))
    if not names:
        raise UserError(f"{label} lists no images. Use the official file.")
    return tuple(names), np.array(values, np.int8).reshape(-1, columns)


READERS = {
    f"{ATTRIBUTES}.txt": read_attributes,
    f"{PARTITION}.txt": read_partition,
    IDENTITIES: read_identities,
    HQ_ATTRIBUTES: read_attributes,
}
OF_CELEBA = (*READERS, HQ_MAPPING, *CELEBA_CSV)
