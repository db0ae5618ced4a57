"""Atomic file writes, the cache folder, and the models that ship with the package."""

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


PRETRAINED = Path(__file__).parent / "pretrained"


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder of all caches: the given one, ``$DFCVAE_CACHE``, or ``dfcvae`` in the user's cache folder."""
    if cache_dir or os.environ.get("DFCVAE_CACHE"):
        return Path(cache_dir or os.environ["DFCVAE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfcvae"


def pretrained_models() -> list[str]:
    """The names of the models that ship with the package; commands and `VAE.load` take them in place of a path."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/model.safetensors"))


def pretrained_folder(name: str | Path) -> Path | None:
    """The folder of the shipped model of a name; None if there is none, or a path of that name exists."""
    return PRETRAINED / name if str(name) in pretrained_models() and not Path(name).exists() else None
