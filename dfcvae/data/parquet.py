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
from dfcvae.data.labels import CELEBA_COUNTS, SPLIT_FOLDERS, join
from dfcvae.data.lists import IDENTITY, IDENTITY_COLUMNS, SPLIT, UNKNOWN, Table
from dfcvae.errors import UserError
from dfcvae.files import LFS_HINT, is_lfs_pointer

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise UserError("Parquet files need pyarrow: pip install 'dfcvae[parquet]'.") from error


Place = tuple[Path, int, int]  # file, row group and row in the group of an image


@dataclass(frozen=True)
class Shards:
    """Images of parquet files, in a column of encoded ones."""

    column: str

    def read(self, place: Place) -> bytes:
        """The encoded image at a place."""
        shard, group, row = place
        content = _row_group(shard, group, self.column)[row].as_py()
        if not content:
            raise Undecodable("no bytes in the table")
        return content

    def stamp(self, places: Sequence[Place]) -> str:
        """A digest of sizes and modification times."""
        status = [os.stat(shard) for shard in dict.fromkeys(shard for shard, _, _ in places)]
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
    schemas, counts = [], []
    places: list[Place] = []
    for shard in shards:
        with _reading(shard, "not a complete parquet file"):
            schemas.append(pq.read_schema(shard).remove_metadata())
            metadata = pq.read_metadata(shard)
            groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        if schemas[-1] != schemas[0]:
            raise UserError(f"{shard} has other columns than {shards[0]}. Give the path of a single data set.")
        counts.append(sum(groups))
        places += [(shard, group, row) for group, rows in enumerate(groups) for row in range(rows)]
    image = _image_column(schemas[0], path)
    named = [field.name for field in schemas[0] if pa.types.is_boolean(field.type) or pa.types.is_integer(field.type)]
    paths = [f"{image.name}.path"] if _has(image, "path", pa.string()) else []
    column = f"{image.name}.bytes" if pa.types.is_struct(image.type) else image.name
    with _reading(path):
        table = pa.concat_tables([pq.ParquetFile(shard).read(columns=[*named, *paths]) for shard in shards])
        columns = _columns(table, named)
        images = table.column(image.name).to_pylist() if paths else []
    given = [one["path"] for one in images if one and one["path"]]
    start = path if path.is_dir() else path.parent
    stems = [shard.relative_to(start).with_suffix("").as_posix() for shard in shards]
    filenames = [f"{stem}/{row}" for stem, n in zip(stems, counts, strict=True) for row in range(n)]
    if len(set(given)) == len(filenames):  # each has a path of its own
        filenames = given
    # by the name of a shard (train-00000-of-00019) or of its folder
    words = [(re.split("[^a-z]", shard.stem.lower())[0], shard.parent.name.lower()) for shard in shards]
    called = [SPLIT_FOLDERS.get(stem, SPLIT_FOLDERS.get(folder, -1)) for stem, folder in words]
    if -1 not in called:
        columns[SPLIT] = np.repeat(np.array(called, np.int8), counts)
    kind = f"{len(shards)} parquet file{'s' * (len(shards) > 1)}"
    labels = join(filenames, [Table(kind, tuple(filenames), columns)] if columns else [], split_seed)
    place_of = dict(zip(filenames, places, strict=True))
    files, labels = tuple(labels.members), labels._replace(members=[place_of[name] for name in labels.members])
    official = CELEBA_COUNTS if len(labels.names) == 40 else None
    return ImageSet(path, f"{kind}, as on Hugging Face", Shards(column), files, *labels, official)


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
            columns[IDENTITY] = np.array(column.cast(pa.string()).fill_null("").to_pylist(), object)
            continue
        known = np.asarray(column.drop_null()).astype(np.int64)
        if len(known) and any(np.isin(known, (no, 1)).all() for no in (0, -1)):
            columns[name] = np.full(len(column), UNKNOWN, np.int8)
            columns[name][np.asarray(column.is_valid())] = known == 1
    return columns
