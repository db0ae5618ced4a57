"""Parquet shards, as Hugging Face keeps data sets: encoded images and their labels in one table."""

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
from numpy.typing import NDArray

from dfcvae.errors import UserError
from dfcvae.intake.decode import Undecodable
from dfcvae.intake.imageset import ImageSet
from dfcvae.intake.lists import ATTRIBUTE_COUNT, IDENTITY_COLUMNS
from dfcvae.intake.splits import CELEBA_COUNTS, SPLIT_FOLDERS, complete
from dfcvae.intake.trees import natural

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

    @classmethod
    def open(cls, shards: Sequence[Path], column: str) -> "ShardImages":
        """All rows of some files."""
        places = []
        for shard in shards:
            metadata = pq.read_metadata(shard)
            for group in range(metadata.num_row_groups):
                places += [(shard, group, row) for row in range(metadata.row_group(group).num_rows)]
        return cls(column, tuple(places))

    def read(self, i: int) -> bytes:
        """The encoded image ``i``."""
        shard, group, row = self.places[i]
        content = _row_group(shard, group, self.column)[row].as_py()
        if not content:
            raise Undecodable("no bytes in the table")
        return content

    def stamp(self) -> str:
        """A digest of sizes and times of change."""
        status = [os.stat(shard) for shard in dict.fromkeys(shard for shard, _, _ in self.places)]
        marks = np.array([(one.st_size, one.st_mtime_ns) for one in status], np.int64)
        return hashlib.sha256(marks.tobytes()).hexdigest()


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # the last are of text that is none
        raise UserError(f"{path} is damaged ({error}). Download it again.") from error


@lru_cache(maxsize=2)  # neighbours come from the same group or the next one
def _row_group(shard: Path, group: int, column: str) -> Any:
    with _damage_told(shard), pq.ParquetFile(shard) as file:
        rows = file.read_row_group(group, columns=[column]).column(0).combine_chunks()
    return rows.field("bytes") if pa.types.is_struct(rows.type) else rows


def open_parquet(shards: Sequence[Path], path: Path, split_seed: int) -> ImageSet:
    """Opens shards as one set: their labels are read, their images are not.

    The image column is a struct with ``bytes`` (and perhaps ``path``), or of binary type. Columns of yes and no (bool;
    integers 0 and 1, or -1 and 1) are attributes. ``train``, ``valid`` and ``test`` in the name of a shard, or of its
    folder, is the split.

    Raises:
        UserError: a file is no parquet, has no image column, or the shards differ in their columns.
    """
    shards = sorted(shards, key=lambda shard: natural(str(shard)))
    schema = _schema(shards)
    image = _image_column(schema, path)
    labels = [field.name for field in schema if pa.types.is_boolean(field.type) or pa.types.is_integer(field.type)]
    known = next((name for name in labels if name.lower() in IDENTITY_COLUMNS), None)
    paths = [f"{image.name}.path"] if _has(image, "path", pa.string()) else []
    with _damage_told(path):
        table = pa.concat_tables([pq.ParquetFile(shard).read(columns=[*labels, *paths]) for shard in shards])
        counts = [pq.read_metadata(shard).num_rows for shard in shards]
        names, attributes = _attributes(table, [name for name in labels if name != known], sum(counts))
        filenames = _filenames(table.column(image.name).to_pylist() if paths else [], shards, counts)
        people = table.column(known).cast(pa.string()).to_pylist() if known else [None] * len(filenames)
    split, how = _split(shards, counts)
    keys = [person or filename for person, filename in zip(people, filenames, strict=True)]
    split, how = complete(split, how, keys, known or "file name", split_seed)
    return ImageSet(
        path,
        f"{len(shards)} parquet file{'s' * (len(shards) > 1)}, as on Hugging Face",
        ShardImages.open(shards, f"{image.name}.bytes" if pa.types.is_struct(image.type) else image.name),
        filenames,
        attributes,
        names,
        split,
        about=(("split", how),),
        official=CELEBA_COUNTS if len(names) == ATTRIBUTE_COUNT else None,
    )


def _schema(shards: Sequence[Path]) -> Any:
    schemas = []
    for shard in shards:
        try:
            schemas.append(pq.read_schema(shard).remove_metadata())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{shard} is not a complete parquet file ({error}). Download it again.") from error
        if schemas[-1] != schemas[0]:
            raise UserError(f"{shard} has other columns than {shards[0]}. Give the path of one data set alone.")
    return schemas[0]


def _image_column(schema: Any, path: Path) -> Any:
    for field in schema:
        if _has(field, "bytes", pa.binary()) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return field
    raise UserError(f"{path} has no column of encoded images; its columns are {', '.join(schema.names)}.")


def _has(field: Any, name: str, kind: Any) -> bool:
    """Whether a field is a struct with such a part."""
    return pa.types.is_struct(field.type) and any(part.name == name and part.type == kind for part in field.type)


def _attributes(table: Any, labels: Sequence[str], n: int) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """The columns that hold nothing but yes and no."""
    columns = {name: np.asarray(table.column(name)) for name in labels if not table.column(name).null_count}
    yes_or_no = {
        name: values == 1
        for name, values in columns.items()
        if np.isin(values, (0, 1)).all() or np.isin(values, (-1, 1)).all()
    }
    empty = np.zeros((n, 0), np.bool_)
    return tuple(yes_or_no), np.stack(list(yes_or_no.values()), axis=1) if yes_or_no else empty


def _split(shards: Sequence[Path], counts: Sequence[int]) -> tuple[NDArray[np.int8], str]:
    """The split of every row by the name of its shard (train-00000-of-00019) or of the shard's folder."""
    places = []
    for shard in shards:
        word = re.split("[^a-z]", shard.stem.lower())[0]
        places.append(SPLIT_FOLDERS.get(word, SPLIT_FOLDERS.get(shard.parent.name.lower())))
    if None in places:
        return np.zeros(sum(counts), np.int8), ""
    return np.repeat(np.array(places, np.int8), counts), "as the shards are called"


def _filenames(rows: Sequence[Any], shards: Sequence[Path], counts: Sequence[int]) -> tuple[str, ...]:
    """What the rows say, if each has a path of its own; else the shard and the row in it."""
    paths = [row["path"] for row in rows if row and row["path"]]
    if len(set(paths)) == sum(counts):
        return tuple(paths)
    return tuple(f"{shard.stem}/{row}" for shard, count in zip(shards, counts, strict=True) for row in range(count))
