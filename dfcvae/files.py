"""Files that are whole or not there: written beside their target, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, whose file takes the place of ``path`` once it is whole and on the disk.

    Whatever fails or is killed before leaves the old file as it was; what a killed process wrote is removed by
    `remove_leftovers`.
    """
    with all_whole(path) as (temporary,):
        yield temporary


@contextmanager
def all_whole(*paths: Path) -> Iterator[list[Path]]:
    """The same for files that belong together: none is replaced before all are on the disk."""
    temporaries = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        for temporary in temporaries:
            with temporary.open("r+b") as written:  # Windows syncs none that is open for reading
                os.fsync(written.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in temporaries:
            with suppress(OSError):  # of a disk that is gone, which would hide why
                temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while writing left in a folder that no other process writes to."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
