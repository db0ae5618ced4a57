"""Atomic file writes, git-lfs pointers, the cache folder, and where models lie: in the package, or on the Hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to; its file replaces ``path`` once it is complete and synced to disk.

    An error or a killed process leaves the old file intact; `remove_leftovers` removes what a killed one left.
    """
    with atomic_files(path) as (temporary,):
        yield temporary


@contextmanager
def atomic_files(*paths: Path) -> Iterator[list[Path]]:
    """The same for files that belong together: none is replaced before all are synced to disk."""
    temporaries = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        umask = os.umask(0o077)  # can only be read by setting it
        os.umask(umask)
        for temporary in temporaries:
            with temporary.open("r+b") as written:  # Windows cannot sync a file opened for reading
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~umask)  # safetensors writes files that only their owner can read
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in temporaries:
            with suppress(OSError):  # an error here would hide the original one
                temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder that no other process writes to."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


LFS_MAGIC = b"version https://git-lfs"
LFS_HINT = "It is a git-lfs pointer, not the file itself: run `git lfs pull` in the repository it is from."


def is_lfs_pointer(path: str | Path) -> bool:
    """Whether a file is what git leaves in the place of a large one until ``git lfs pull``; false if unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read(len(LFS_MAGIC)) == LFS_MAGIC
    except OSError:
        return False


PRETRAINED = Path(__file__).parent / "pretrained"
HUB = "hf:"  # before the name of a repository of the Hugging Face Hub


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder of all caches: the given one, ``$DFCVAE_CACHE``, or ``dfcvae`` in the user's cache folder."""
    if cache_dir or os.environ.get("DFCVAE_CACHE"):
        return Path(cache_dir or os.environ["DFCVAE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfcvae"


def pretrained_models() -> list[str]:
    """Names of the models that ship with the package; commands and `VAE.load` accept them instead of a path."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/model.safetensors"))


def on_hub(model: object) -> bool:
    """Whether a model is named as one on the Hub."""
    return str(model).startswith(HUB)


def pretrained_folder(name: str | Path) -> Path | None:
    """The folder of the shipped model with this name; None if there is none, or if a path with this name exists."""
    return PRETRAINED / name if str(name) in pretrained_models() and not Path(name).exists() else None
