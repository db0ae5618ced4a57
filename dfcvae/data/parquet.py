"""Parquet shards, as Hugging Face stores data sets: encoded images and their labels in one table."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dfcvae.data.decode import Undecodable
from dfcvae.data.folders import ImageSet, natural
from dfcvae.data.labels import CELEBA_COUNTS, SPLIT_FOLDERS, complete, unknown
from dfcvae.data.lists import ATTRIBUTE_COUNT, IDENTITY, IDENTITY_COLUMNS, UNKNOWN
from dfcvae.errors import UserError
from dfcvae.files import LFS_HINT, is_lfs_pointer

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise UserError("Parquet files need pyarrow: pip install 'dfcvae[parquet]'.") from error


@dataclass(frozen=True)
class ShardImages:
    """Images of parquet files, by number.

    Attributes:
        column: that of the encoded images.
        places: file, row group and row in the group of each image.
    """

    column: str
    places: tuple[tuple[Path, int, int], ...]

    def read(self, i: int) -> bytes:
        """The encoded image ``i``."""
        shard, group, row = self.places[i]
        content = _row_group(shard, group, self.column)[row].as_py()
        if not content:
            raise Undecodable("no bytes in the table")
        return content

    def stamp(self) -> str:
        """A digest of sizes and modification times."""
        status = [os.stat(shard) for shard in dict.fromkeys(shard for shard, _, _ in self.places)]
        marks = np.array([(one.st_size, one.st_mtime_ns) for one in status], np.int64)
        return hashlib.sha256(marks.tobytes()).hexdigest()


@contextmanager
def _reading(path: Path, problem: str = "corrupted") -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that cannot be decoded
        if is_lfs_pointer(path):
            raise UserError(f"{path} is not a parquet file. {LFS_HINT}") from error
        raise UserError(f"{path} is {problem} ({error}). Download it again.") from error


@lru_cache(maxsize=2)  # neighbours are in the same group or the next one
def _row_group(shard: Path, group: int, column: str) -> Any:
    with _reading(shard), pq.ParquetFile(shard) as file:
        rows = file.read_row_group(group, columns=[column]).column(0).combine_chunks()
    return rows.field("bytes") if pa.types.is_struct(rows.type) else rows


def open_parquet(shards: Sequence[Path], path: Path, split_seed: int) -> ImageSet:
    """Opens shards as one set: their labels are read, their images are not.

    The image column is a struct with ``bytes`` (and perhaps ``path``), or of binary type. Columns of yes and no (bool;
    integers 0 and 1, or -1 and 1) are attributes. ``train``, ``valid`` and ``test`` in the name of a shard, or of its
    folder, is the split.

    Raises:
        UserError: a file is not parquet, has no image column, or the shards differ in their columns.
    """
    shards = sorted(shards, key=lambda shard: natural(str(shard)))
    schemas = []
    for shard in shards:
        with _reading(shard, "not a complete parquet file"):
            schemas.append(pq.read_schema(shard).remove_metadata())
        if schemas[-1] != schemas[0]:
            raise UserError(f"{shard} has other columns than {shards[0]}. Give the path of a single data set.")
    image = _image_column(schemas[0], path)
    labels = [field.name for field in schemas[0] if pa.types.is_boolean(field.type) or pa.types.is_integer(field.type)]
    paths = [f"{image.name}.path"] if _has(image, "path", pa.string()) else []
    column = f"{image.name}.bytes" if pa.types.is_struct(image.type) else image.name
    with _reading(path):
        table = pa.concat_tables([pq.ParquetFile(shard).read(columns=[*labels, *paths]) for shard in shards])
        metadata = [pq.read_metadata(shard) for shard in shards]
        counts = [one.num_rows for one in metadata]
        columns = _columns(table, labels)
        rows = table.column(image.name).to_pylist() if paths else []
        places = [
            (shard, group, row)
            for shard, one in zip(shards, metadata, strict=True)
            for group in range(one.num_row_groups)
            for row in range(one.row_group(group).num_rows)
        ]
    given = [row["path"] for row in rows if row and row["path"]]
    filenames = tuple(f"{shard.stem}/{k}" for shard, n in zip(shards, counts, strict=True) for k in range(n))
    if len(set(given)) == len(filenames):  # each has a path of its own
        filenames = tuple(given)
    people = columns.pop(IDENTITY, filenames)
    keys = [person or filename for person, filename in zip(people, filenames, strict=True)]
    called = [_split(shard) for shard in shards]
    named = None not in called
    split = np.repeat(np.array(called if named else [0] * len(shards), np.int8), counts)
    by = "file name" if people is filenames else "identity"
    split, how = complete(split, "as the shards are called" if named else "", keys, by, split_seed)
    return ImageSet(
        path,
        f"{len(shards)} parquet file{'s' * (len(shards) > 1)}, as on Hugging Face",
        ShardImages(column, tuple(places)),
        filenames,
        np.array([*columns.values()], np.int8).reshape(len(columns), len(filenames)).T == 1,
        tuple(columns),
        split,
        about=(("split", how), *unknown(columns)),
        official=CELEBA_COUNTS if len(columns) == ATTRIBUTE_COUNT else None,
    )


def _image_column(schema: Any, path: Path) -> Any:
    for field in schema:
        if _has(field, "bytes", pa.binary()) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return field
    raise UserError(f"{path} has no column of encoded images; its columns are {', '.join(schema.names)}.")


def _has(field: Any, name: str, kind: Any) -> bool:
    """Whether a field is a struct with such a part."""
    return pa.types.is_struct(field.type) and any(part.name == name and part.type == kind for part in field.type)


def _columns(table: Any, labels: Sequence[str]) -> dict[str, Any]:
    """The identity, and the columns that hold only yes, no and nulls, as in `Table`."""
    columns: dict[str, Any] = {}
    for name in labels:
        column = table.column(name)
        if name.lower() in IDENTITY_COLUMNS:
            columns[IDENTITY] = column.cast(pa.string()).to_pylist()
            continue
        known = np.asarray(column.drop_null()).astype(np.int64)
        if len(known) and any(np.isin(known, (no, 1)).all() for no in (0, -1)):
            columns[name] = np.full(len(column), UNKNOWN, np.int8)
            columns[name][np.asarray(column.is_valid())] = known == 1
    return columns


def _split(shard: Path) -> int | None:
    """The split by the name of a shard (train-00000-of-00019) or of its folder."""
    word = re.split("[^a-z]", shard.stem.lower())[0]
    return SPLIT_FOLDERS.get(word, SPLIT_FOLDERS.get(shard.parent.name.lower()))
