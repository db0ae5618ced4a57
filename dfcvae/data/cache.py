"""The cache: images decoded, cropped and resized once into one memory-mapped array."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout

from dfcvae.data.building import FILES, Builder, sha256
from dfcvae.data.faces import Faces, Splits
from dfcvae.data.workers import workers_by_default
from dfcvae.errors import UserError, printable, some
from dfcvae.intake import SPLITS, ImageSet
from dfcvae.intake.rendering import Rendering
from dfcvae.intake.survey import read_looks
from dfcvae.paths import cache_root

OF_A_DAMAGED_FILE = (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError)
OF_A_DAMAGED_HEAD = (SyntaxError, TokenError, OverflowError, MemoryError)  # NumPy reads it as Python
LABELS = ("attributes.npy", "split.npy")
FORMAT = 2  # raise it when the files of a cache or the pixels of `decode` or `Rendering` change


def prepare(
    images: ImageSet,
    *,
    size: int = 64,
    channels: int = 3,
    crop: int | str = "auto",
    filter: str = "bilinear",
    strict: bool = False,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Splits:
    """The faces of every split; decoded on the first call, only memory-mapped on later ones.

    An interrupted call is gone on with by the next one. Of two processes that want the same, one decodes and the other
    waits for it.

    Args:
        images: an opened data set.
        size, channels, crop, filter: see `Rendering`.
        strict: refuse images that are missing or unreadable, instead of leaving them out and saying so on stderr.
        cache_dir: where decoded images are kept, see `cache_root`.
        workers: decoding processes, by default one for each processor. The result does not depend on it.
        progress: show a bar on stderr while decoding, and say there what was left out.

    Returns:
        ``train``, ``val`` and ``test``, each in the order of the data set; images are views of one memory map.

    Raises:
        UserError: no image can be read, the cache cannot be written, a value is out of range, or ``strict``.
    """
    rendering = Rendering(size, channels, crop, filter)
    if workers is not None and workers < 1:
        raise UserError(f"Decoding needs at least 1 worker, not {workers}.")
    if not len(images):
        raise UserError(f"None of the {len(images.missing):,} listed images is in {images.path}.")
    if strict and images.missing:
        raise UserError(f"Images are listed but not in {images.path}: {some(images.missing)}.{WHAT_TO_DO}")
    identity = _origin(images) | asdict(rendering)
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_root(cache_dir) / f"{size}px-{name}"
    if not folder.exists():
        _build(Builder(images, rendering, folder), identity, workers or workers_by_default(), progress)
    splits = load(folder)
    if splits["train"].names != images.names:
        raise _damaged(folder, "its attributes are not those of the data set")
    _tell_left_out(images, folder, len(images) - sum(map(len, splits.values())), strict, progress)
    return splits


WHAT_TO_DO = " Complete the data set, or go without --strict to leave them out."


def _build(builder: Builder, identity: dict[str, Any], workers: int, progress: bool) -> None:
    root = builder.folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / f".{builder.folder.name}.lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            if progress:
                print("Another process is decoding this data set; waiting for it.", file=sys.stderr)
            held = lock.acquire()
        with held:
            if not builder.folder.exists():  # else another process has made it
                builder.build(identity, workers, progress)
    except (OSError, NotImplementedError) as error:  # the latter is of file systems without locks
        raise UserError(
            f"Could not write the decoded images to {root}: {getattr(error, 'strerror', None) or error}. Free some "
            "space, or choose another folder (environment variable DFCVAE_CACHE); what is decoded already is kept."
        ) from error


def _tell_left_out(images: ImageSet, folder: Path, unreadable: int, strict: bool, progress: bool) -> None:
    if not unreadable and not images.missing:
        return
    looks = [look for look in read_looks(folder / "files.csv") if look.problem]
    shown = "; ".join(f"{printable(look.name)}: {look.problem}" for look in looks[:3])
    if strict and looks:
        raise UserError(f"{len(looks):,} images of {images.path} are unreadable ({shown}).{WHAT_TO_DO}")
    if progress:
        parts = [f"{len(images.missing):,} listed but missing"] * bool(images.missing)
        parts += [f"{len(looks):,} unreadable ({shown}{'; ...' if len(looks) > 3 else ''})"] * bool(looks)
        print(f"Left out: {', '.join(parts)}. `dfcvae data info` tells more.", file=sys.stderr)


def load(folder: Path) -> Splits:
    """The splits in the folder of a cache, memory-mapped.

    Labels are compared with their checksums. Of the pixels, which take minutes to read, only `check` does this.

    Raises:
        UserError: it is damaged.
    """
    try:
        about = json.loads((folder / "cache.json").read_text())
        # Copy-on-write: torch warns about read-only arrays, and nobody can change the file by accident.
        images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        for name in LABELS:
            if sha256(folder / name) != about["checksums"][name]:
                raise ValueError(f"the checksum of {name} is another")
        attributes, split = torch.from_numpy(np.load(folder / LABELS[0])), np.load(folder / LABELS[1])
        names, n = tuple(about["names"]), about["images"]
        if not (n == len(images) == len(split) and attributes.shape == (n, len(names))) or images.dim() != 4:
            raise ValueError("its files do not belong together")
        if (images.dtype, attributes.dtype, split.dtype) != (torch.uint8, torch.bool, np.int8):
            raise ValueError("its files hold other numbers than they should")
        fingerprint = hashlib.sha256(json.dumps([about["names"], about["checksums"]]).encode()).hexdigest()
    except (*OF_A_DAMAGED_FILE, *OF_A_DAMAGED_HEAD) as error:
        raise _damaged(folder, str(error)) from error
    bounds = np.searchsorted(split, range(len(SPLITS) + 1)).tolist()
    return {
        name: Faces(images[start:stop], attributes[start:stop], names, fingerprint)
        for name, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
    }


def _damaged(folder: Path, why: str) -> UserError:
    return UserError(f"The decoded images in {folder} are damaged: {why}. Delete this folder and start again.")


def caches(cache_dir: str | Path | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every cache: its folder and what its ``cache.json`` says, which is empty if it cannot be read."""
    for file in sorted(cache_root(cache_dir).glob("[!.]*/cache.json")):
        try:
            about = json.loads(file.read_text())
            yield file.parent, about if isinstance(about, dict) else {}
        except (OSError, ValueError, RecursionError):
            yield file.parent, {}


def caches_of(images: ImageSet, cache_dir: str | Path | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """Those that were made from this set as it is now."""
    origin = _origin(images).items()
    found = ((folder, about, about.get("identity")) for folder, about in caches(cache_dir))
    return [(folder, about) for folder, about, made in found if isinstance(made, dict) and made.items() >= origin]


def check(folder: Path, about: dict[str, Any]) -> list[str]:
    """What is wrong with a cache, by its checksums: a sentence for each damaged file."""
    checksums = about.get("checksums")
    if not isinstance(checksums, dict):
        return ["cache.json is damaged, or of an earlier version: it holds no checksums"]
    problems = []
    for name in FILES:
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
        elif sha256(folder / name) != checksums.get(name):
            problems.append(f"{name} has changed: its checksum is not the one it was written with")
    return problems


def _origin(images: ImageSet) -> dict[str, Any]:
    """All that a cache depends on besides its `Rendering`."""
    digest = hashlib.sha256(json.dumps([images.filenames, images.names, images.files.stamp()]).encode())
    digest.update(images.attributes.tobytes())
    digest.update(images.split.tobytes())
    return {"format": FORMAT, "pillow": PIL.__version__, "source": digest.hexdigest()}
