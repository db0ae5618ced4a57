"""Lists of labels as tables: CelebA's text files and CSV files of any origin, read by one set of rules."""

import csv
import io
import sys
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from posixpath import basename, splitext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfcvae.data.decode import SUFFIXES
from dfcvae.errors import UserError

ATTRIBUTES, PARTITION, IDENTITIES = "list_attr_celeba", "list_eval_partition", "identity_CelebA"
HQ_ATTRIBUTES, HQ_MAPPING = "CelebAMask-HQ-attribute-anno", "CelebA-HQ-to-CelebA-mapping"
OF_CELEBA = (ATTRIBUTES, PARTITION, IDENTITIES, HQ_ATTRIBUTES, HQ_MAPPING)
"""CelebA's lists, with the suffix .txt or, as on Kaggle, .csv."""

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
HEADERS = {PARTITION: ["", SPLIT], IDENTITIES: ["", IDENTITY]}
"""Of lists that are published without one."""

UNKNOWN, OTHER = -1, -2  # values of cells that are empty, and of those that are neither yes nor no
VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "y"), 1),
    **dict.fromkeys(("0", "-1", "0.0", "-1.0", "false", "no", "n"), 0),
    **dict.fromkeys(("", "nan", "na", "null"), UNKNOWN),
}
ZERO, MINUS_ONE = {"0", "0.0"}, {"-1", "-1.0"}


@dataclass(frozen=True, eq=False)
class Table:
    """The content of one list.

    Columns (n,) are int8 for attributes (1, 0, and -1 where the cell is empty) and for `SPLIT`, text for `IDENTITY`.
    """

    label: str  # the file it was read from, for messages
    filenames: tuple[str, ...] = ()  # n names as the list spells them, each once
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()  # columns that are none of these
    folder: str = ""  # the one it is in, below the folder of all images; names may be relative to it
    near: bool = True  # whether it is with the images, not just in a folder above
    row: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # of each image; -1 if not in it

    def __post_init__(self) -> None:
        if len(set(self.filenames)) < len(self.filenames):
            [(repeated, _)] = Counter(self.filenames).most_common(1)
            raise UserError(f"{self.label} lists {repeated} more than once. Remove a line, or use the official file.")

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes in it."""
        return tuple(name for name in self.columns if name not in (SPLIT, IDENTITY))

    @property
    def is_required(self) -> bool:
        """Whether it must be about the images beside it, as CelebA's own lists must."""
        return self.near and official_name(self.label) != ""

    @property
    def is_used(self) -> bool:
        """Whether it says something about the images; one in a folder above should be mostly about them."""
        least = 0 if self.near else len(self.filenames) / 2
        return bool(self.columns) and int((self.row >= 0).sum()) > least

    def cells(self, column: str, unknown: Any = UNKNOWN) -> NDArray[Any]:
        """The cell of each image in a column."""
        return np.where(self.row >= 0, self.columns[column][self.row], unknown)


def read_list(label: str, text: str, files: Collection[str] = ()) -> Table | None:
    """A list with a column of file names; None if it is something else.

    Cells are separated by commas, semicolons, tabs or white space. The number of images may precede the header, as in
    ``list_attr_celeba.txt``, and the header may lack the first column's name. Columns of yes and no (1 and 0, 1 and -1,
    true and false, y and n) are attributes; a column ``partition`` or ``split`` is the split, and one of
    `IDENTITY_COLUMNS` the identity.

    Args:
        label: the file, for messages.
        text: its content.
        files: names and stems of the images; the column that holds most of them names the files.

    Raises:
        UserError: the list is malformed or cut short, or it has the name of one of CelebA's but not its form.
    """
    official = official_name(label)
    rows = read_rows(label, text)
    count, header, start = _head(rows, official)
    if official and not start:
        raise UserError(f"{label} lists no images. Use the official file.")
    if len(header) < 2 or not start:
        return None
    cells: list[str] = []
    width, ragged = len(header), None
    for number, row in enumerate(chain(start, rows), 2):
        if len(row) != width:
            ragged = ragged or (number, len(row))
            row = (row + [""] * width)[:width]
        cells.extend(map(sys.intern, row))  # CelebA's list has eight million, but few different ones
    columns = [cells[i::width] for i in range(width)]
    at = _name_column(header, columns, files)
    if official:  # whose images may be called by numbers, as in CelebA-HQ
        at = next((i for i, cells in enumerate(columns) if splitext(cells[0])[1].lower() in SUFFIXES), 0)
    if at is None:
        return None
    if basename(normal(header[at])) in files:
        raise UserError(f"The first row of {label} names an image, but should be a header (file_name, ...). Add it.")
    if ragged:
        raise UserError(f"Row {ragged[0]} of {label} has {ragged[1]} cells, but its header {width}. Correct it.")
    if count and count.lstrip("0") != str(len(columns[at])):
        raise UserError(
            f"{label}: its first line says {count[:20]} images, but it lists {len(columns[at])}. It may be cut short: "
            "download it again, or correct the first line."
        )
    header[at] = ""
    named = {name: cells for name, cells in zip(header, columns, strict=True) if name}
    if len(named) < width - header.count(""):
        raise UserError(f"{label} has two columns of the same name in its header. Rename one.")
    table = Table(label, tuple(columns[at]))  # names that come twice say most about a wrong list
    values, unused = _columns(label, named, official != "")
    return replace(table, columns=values, unused=unused)


def _head(rows: Iterator[list[str]], official: str) -> tuple[str, list[str], list[list[str]]]:
    """The number of images that precedes a list, or nothing; its header; and the first rows below it."""
    start = list(islice(rows, 3))
    cells = [cell for cell in start[0] if cell] if start else []
    count = cells[0] if len(cells) == 1 and cells[0].isdecimal() else ""
    if count:
        start = start[1:]
    if official in HEADERS and start and not {*SPLIT_COLUMNS, *IDENTITY_COLUMNS} & {cell.lower() for cell in start[0]}:
        start = [HEADERS[official], *start]
    header, *start = start or [[]]
    lacks_first = start and len(header) == len(start[0]) - 1 and not {*NAME_COLUMNS} & {name.lower() for name in header}
    return count, ["", *header] if lacks_first else list(header), start


def read_rows(label: str, text: str) -> Iterator[list[str]]:
    """The cells of every line of a list that is not blank."""
    lines = (line.strip() for line in text[:10_000].split("\n"))
    first = next((line for line in lines if line and not line.isdecimal()), "")
    mark = max(",;\t", key=first.count)  # spreadsheets write what their language asks for
    if mark not in first:
        yield from filter(None, map(str.split, text.split("\n")))
        return
    try:
        for row in csv.reader(io.StringIO(text), delimiter=mark):
            if any(cells := [cell.strip() for cell in row]):
                yield cells
    except csv.Error as error:
        raise UserError(f"{label} is not a valid CSV file ({error}). Correct it, or move it elsewhere.") from error


def read_mapping(label: str, text: str) -> dict[str, str]:
    """``CelebA-HQ-to-CelebA-mapping.txt``: file name in CelebA to number in CelebA-HQ, with or without a header."""
    rows = list(read_rows(label, text))
    rows = rows[0 if rows and rows[0][0].isdecimal() else 1 :]
    if not rows or any(len(row) != 3 or not row[0].isdecimal() for row in rows):
        raise UserError(f"{label} should have rows of three: number in CelebA-HQ, number and file name in CelebA.")
    return {row[2]: row[0].lstrip("0") or "0" for row in rows}


def _name_column(header: Sequence[str], columns: Sequence[Sequence[str]], files: Collection[str]) -> int | None:
    """The column of the file names: judged by its cells, then by its header."""
    ranks = {name: -rank for rank, name in enumerate(NAME_COLUMNS)}

    def hits(i: int) -> tuple[int, int, int, int]:
        names = {cell: basename(normal(cell)) for cell in {*columns[i]}}
        found = [names[cell] for cell in columns[i] if names[cell] in files]
        return sum("." in name for name in found), len(found), ranks.get(header[i].lower(), -len(ranks)), -i

    best = max(range(len(header)), key=hits)
    return best if hits(best)[1] else None


def _columns(label: str, named: Mapping[str, Sequence[str]], official: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The columns of known kinds as in `Table`, and the names of the others."""
    columns: dict[str, NDArray[Any]] = {}
    unused = []
    for name, cells in named.items():
        values = {cell: VALUES.get(cell.lower(), OTHER) for cell in {*cells}}
        if values.keys() & ZERO and values.keys() & MINUS_ONE:  # 1, 0 and -1: 0 says that it is not known
            values |= dict.fromkeys(values.keys() & ZERO, UNKNOWN)
        if name.lower() in SPLIT_COLUMNS:
            if (wrong := next((cell for cell in cells if cell.lower() not in SPLIT_NAMES), None)) is not None:
                raise UserError(f"{label}: unknown split {wrong.lower()!r}; use train, val and test, or 0, 1 and 2.")
            columns[SPLIT] = np.array([SPLIT_NAMES[cell.lower()] for cell in cells], np.int8)
        elif name.lower() in IDENTITY_COLUMNS:
            columns[IDENTITY] = np.array(["" if values[cell] == UNKNOWN else cell for cell in cells], object)
        elif min(values.values()) > OTHER and max(values.values()) > UNKNOWN:
            columns[name] = np.array([values[cell] for cell in cells], np.int8)
        elif official and sum(values[cell] != OTHER for cell in cells) > len(cells) / 2:
            odd = min(cells, key=lambda cell: values[cell])
            raise UserError(f"{label}: expected 1 or -1, got the value {odd!r} in {name}. Use the official file.")
        else:
            unused.append(name)
    return columns, tuple(unused)


def official_name(label: str) -> str:
    """Which of CelebA's lists a file is, or nothing."""
    return next((name for name in OF_CELEBA if name == stem(normal(label))), "")


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return splitext(basename(name))[0]


def normal(name: str) -> str:
    """A file name in one spelling for all systems: slashes, and accents composed with their letters."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))
