"""The cache: images decoded, cropped and resized once into one memory-mapped array."""

import csv
import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from filelock import FileLock
from joblib import cpu_count
from PIL import Image
from torch.utils.data import DataLoader
from tqdm import tqdm

from dfcvae.data.batches import SPLITS, Faces, Splits
from dfcvae.data.decode import Rendering, Undecodable, decode
from dfcvae.data.folders import ImageSet
from dfcvae.errors import UserError, printable, some
from dfcvae.files import cache_root

Rendered = tuple[bytes, list["Look"]]

CHUNK = 64  # files that one worker process decodes at a time
FEW = 8  # chunks that are done before processes would have started
FORMAT = 2  # increment when the files of a cache, or the pixels that decoding and rendering give, change
FILES = ("images.npy", "attributes.npy", "split.npy", "files.csv")
REPORTED = ("not listed", "unknown")  # findings that change what is trained on
FREE_SPACE = "Free some space, or choose another folder (environment variable DFCVAE_CACHE)."
WHAT_TO_DO = " Complete the data set, or omit --strict to leave them out."


class Look(NamedTuple):
    """What was found in one file."""

    name: str
    width: int = 0  # in pixels, upright; 0 if it could not be decoded
    height: int = 0
    digest: str = ""  # of its bytes; empty if they could not be read
    problem: str = ""  # why it could not be decoded, or empty


def examine(images: ImageSet, i: int) -> tuple[Image.Image | None, Look]:
    """Image ``i`` decoded, or None, and what was found in its file."""
    name, digest = images.filenames[i], ""
    try:
        data = images.read(i)
        digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        image = decode(data)
    except Undecodable as reason:
        return None, Look(name, digest=digest, problem=str(reason))
    return image, Look(name, image.width, image.height, digest)


def prepare(
    images: ImageSet,
    rendering: Rendering,
    *,
    strict: bool = False,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Splits:
    """The faces of every split: decoded on the first call, memory-mapped on later ones.

    If two processes prepare the same data set, one decodes it and the other waits. An interrupted call starts again.
    Images are views of one memory map, in the order of the data set. The result does not depend on ``workers``.

    Args:
        strict: refuse images that are missing or unreadable, instead of leaving them out.
        cache_dir: where decoded images are stored, see `cache_root`.
        workers: decoding processes, by default one per processor.
        progress: show a progress bar, and what was left out, on stderr.

    Raises:
        UserError: no image can be read, the cache cannot be written, or ``strict``.
    """
    if not len(images):
        raise UserError(f"None of the {len(images.missing):,} listed images is in {images.path}.")
    if strict and images.missing:
        raise UserError(f"Images are listed but not in {images.path}: {some(images.missing)}.{WHAT_TO_DO}")
    for what, which in images.about if progress else ():
        if what in REPORTED:
            print(f"{what.capitalize()}: {which}.", file=sys.stderr)
    identity = _origin(images) | asdict(rendering)
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_root(cache_dir) / f"{rendering.size}px-{name}"
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock")):
                if not folder.exists():  # else another process has just made it
                    _build(images, rendering, folder, identity, workers or cpu_count(), progress)
        except (OSError, NotImplementedError) as error:  # the latter from file systems without locks
            raise UserError(
                f"Could not write the decoded images to {folder.parent}: {getattr(error, 'strerror', None) or error}. "
                f"{FREE_SPACE}"
            ) from error
    splits = load(folder, images.names)
    if images.missing or sum(map(len, splits.values())) < len(images):
        _report_left_out(images, folder, strict, progress)
    return splits


def _build(
    images: ImageSet, rendering: Rendering, folder: Path, identity: dict[str, Any], workers: int, progress: bool
) -> None:
    """Decodes all images into a hidden folder, which is renamed once it is complete and on the disk."""
    unfinished = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    for leftover in folder.parent.glob(".*.partial"):  # of killed processes: those that run hold their locks
        with suppress(OSError), FileLock(leftover.with_suffix(".lock"), timeout=0):
            shutil.rmtree(leftover, ignore_errors=True)
    needed = len(images) * rendering.channels * rendering.size**2
    if needed > (free := shutil.disk_usage(folder.parent).free):
        raise UserError(
            f"The decoded images need {needed / 1e9:,.1f} GB in {folder.parent}, where {free / 1e9:,.1f} GB are free. "
            f"{FREE_SPACE}"
        )
    unfinished.mkdir()
    try:
        order = np.argsort(images.split, kind="stable")  # makes each split contiguous
        looks = _decode(images, rendering, unfinished / "images.npy", order.tolist(), workers, progress)
        usable = order[[not look.problem for look in looks]]
        if not len(usable):
            raise UserError(
                f"None of the {len(looks):,} files of {images.path} is a readable image; the first one, "
                f"{looks[0].name}: {looks[0].problem}."
            )
        np.save(unfinished / "attributes.npy", np.ascontiguousarray(images.attributes[usable]))
        np.save(unfinished / "split.npy", images.split[usable])
        write_looks(unfinished / "files.csv", looks)
        checksums = {name: sha256(unfinished / name) for name in FILES}
        about = {"identity": identity, "names": images.names, "made_from": str(images.path), "checksums": checksums}
        (unfinished / "cache.json").write_text(json.dumps(about, indent=1))
        for path in unfinished.iterdir():
            with open(path, "r+b") as file:  # Windows syncs only files that are open for writing
                os.fsync(file.fileno())
        os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _decode(
    images: ImageSet, rendering: Rendering, path: Path, order: Sequence[int], workers: int, progress: bool
) -> list[Look]:
    """Decodes images in an order into an npy file; returns what was found in each of their files.

    The array has a row for every file. Readable images come first, so that unreadable ones leave no gap; the rest
    stays zero.
    """
    shape = (len(order), rendering.channels, rendering.size, rendering.size)
    looks: list[Look] = []
    bar = tqdm(total=len(order), desc="decoding", unit=" images", disable=not progress or None)
    if progress and bar.disable:  # in a log
        print(f"Decoding {len(order):,} images.", file=sys.stderr)
    # Written, not memory-mapped: on a full disk a write raises an error, a mapping kills the process.
    with bar, open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        end = file.tell() + int(np.prod(shape))
        for pixels, found in in_chunks(partial(_render, images, rendering), order, workers):
            file.write(pixels)
            looks += found
            bar.update(len(found))
        file.truncate(end)
    return looks


def _render(images: ImageSet, rendering: Rendering, rows: Sequence[int]) -> Rendered | Exception:
    """The pixels of the readable ones of some images, (C, size, size) each, and what was found in all their files.

    Errors are returned, because a worker process would wrap one that it raises.
    """
    try:
        examined = [examine(images, row) for row in rows]
        pixels = b"".join(rendering.render(image).tobytes() for image, _ in examined if image is not None)
    except (UserError, OSError) as error:
        return error
    return pixels, [look for _, look in examined]


def _report_left_out(images: ImageSet, folder: Path, strict: bool, progress: bool) -> None:
    looks = [look for look in read_looks(folder / "files.csv") if look.problem]
    shown = "; ".join(f"{printable(look.name)}: {look.problem}" for look in looks[:3])
    if strict and looks:
        raise UserError(f"{len(looks):,} images of {images.path} are unreadable ({shown}).{WHAT_TO_DO}")
    parts = [f"{len(images.missing):,} listed but missing"] * bool(images.missing)
    parts += [f"{len(looks):,} unreadable ({shown}{'; ...' if len(looks) > 3 else ''})"] * bool(looks)
    if progress and parts:
        print(f"Left out: {', '.join(parts)}. `dfcvae data info` shows details.", file=sys.stderr)


def load(folder: Path, names: tuple[str, ...]) -> Splits:
    """The splits in the folder of a cache, with attributes of these names, memory-mapped.

    Labels are compared with their checksums. Pixels, which take minutes to read, are checked only by `check`.

    Raises:
        UserError: it is corrupted.
    """
    try:
        about = json.loads((folder / "cache.json").read_text())
        for name in ("attributes.npy", "split.npy"):
            if sha256(folder / name) != about["checksums"][name]:
                raise ValueError(f"checksum mismatch of {name}")
        # Copy-on-write: torch warns about read-only arrays, and nobody can change the file by accident.
        images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        attributes, split = torch.from_numpy(np.load(folder / "attributes.npy")), np.load(folder / "split.npy")
        if images.dim() != 4 or images.dtype != torch.uint8 or len(images) < len(split):
            raise ValueError("images.npy does not belong to its labels")
        fingerprint = hashlib.sha256(json.dumps([names, about["checksums"]]).encode()).hexdigest()
    except Exception as error:  # NumPy parses the header as Python: a corrupted one raises almost anything
        raise UserError(
            f"The decoded images in {folder} are corrupted: {error}. Delete this folder and start again."
        ) from error
    bounds = np.searchsorted(split, range(len(SPLITS) + 1)).tolist()
    return {
        name: Faces(images[start:stop], attributes[start:stop], names, fingerprint)
        for name, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
    }


def caches(cache_dir: str | Path | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every cache: its folder and the content of its ``cache.json``, empty if that cannot be read."""
    for file in sorted(cache_root(cache_dir).glob("[!.]*/cache.json")):
        try:
            about = json.loads(file.read_text())
            yield file.parent, about if isinstance(about, dict) else {}
        except (OSError, ValueError, RecursionError):
            yield file.parent, {}


def caches_of(images: ImageSet, cache_dir: str | Path | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """The caches that were made from this data set in its present state."""
    origin = _origin(images).items()
    found = ((folder, about, about.get("identity")) for folder, about in caches(cache_dir))
    return [(folder, about) for folder, about, made in found if isinstance(made, dict) and made.items() >= origin]


def check(folder: Path, about: dict[str, Any]) -> list[str]:
    """What is wrong with a cache according to its checksums: a sentence for each corrupted file."""
    checksums = about.get("checksums")
    if not isinstance(checksums, dict):
        return ["cache.json is corrupted, or of an earlier version: it has no checksums"]
    missing = [name for name in FILES if not (folder / name).is_file()]
    wrong = [name for name in FILES if name not in missing and sha256(folder / name) != checksums.get(name)]
    return [f"{name} is missing" for name in missing] + [f"{name} is corrupted: checksum mismatch" for name in wrong]


def write_looks(path: Path, looks: Iterable[Look]) -> None:
    """Writes what was found in files as CSV, one line per file."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([("file", *Look._fields[1:]), *looks])


def read_looks(path: Path) -> list[Look]:
    """What `write_looks` wrote."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))[1:]
        return [Look(name, int(width), int(height), digest, problem) for name, width, height, digest, problem in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is corrupted ({error}). Delete the folder {path.parent} and start again.") from error


def sha256(path: Path) -> str:
    """Checksum of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _origin(images: ImageSet) -> dict[str, Any]:
    """Everything that a cache depends on besides its `Rendering`."""
    digest = hashlib.sha256(json.dumps([images.filenames, images.names, images.files.stamp(images.members)]).encode())
    digest.update(images.attributes.tobytes())
    digest.update(images.split.tobytes())
    return {"format": FORMAT, "pillow": PIL.__version__, "source": digest.hexdigest()}


def in_chunks(
    function: Callable[[Sequence[int]], Rendered | Exception], rows: Sequence[int], workers: int
) -> Iterator[Rendered]:
    """The results of a function on runs of ``CHUNK`` rows, in order, from several processes; raises its errors.

    Processes, not threads: half of the work on a small image holds the GIL. They are PyTorch's data-loading workers,
    which exit with this process even if it is killed.
    """
    workers = workers if workers > 1 and len(rows) > FEW * CHUNK else 0  # 0: in this process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than processors; forking, after which these use no threads
        loader: DataLoader[Any] = DataLoader(
            rows,  # type: ignore[arg-type]  # anything with a length and items
            CHUNK,
            num_workers=workers,
            collate_fn=function,
            # Fork only on Linux; elsewhere a script needs the usual guard around its main part.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            generator=torch.Generator(),  # leaves the global one as it is
        )
        results = iter(loader)
    for result in results:
        if isinstance(result, Exception):
            raise result
        yield result
