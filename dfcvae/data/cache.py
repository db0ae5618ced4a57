"""Images decoded, cropped and resized once into one memory-mapped array."""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from dfcvae.data.faces import Faces, Splits
from dfcvae.errors import UserError, nearest
from dfcvae.paths import cache_root

SPLITS = ("train", "val", "test")
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
FORMAT = 1  # raise it when the files below or the pixels of `Rendering` change
CHUNK = 64  # images decoded between two writes
MOST_WORKERS = 8  # beyond, threads only wait for each other: a fifth of the work per image is Python


class Source(Protocol):
    """What can be decoded into a cache: a fixed order of ``n`` labelled images, readable from several threads."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def filenames(self) -> tuple[str, ...]:
        """``n`` names."""

    @property
    def attributes(self) -> NDArray[np.bool_]:
        """bool ``(n, A)``."""

    @property
    def names(self) -> tuple[str, ...]:
        """The ``A`` attribute names."""

    @property
    def split(self) -> NDArray[np.int8]:
        """``(n,)``, places in `SPLITS`."""

    @property
    def missing(self) -> tuple[str, ...]:
        """File names without an image."""

    def read(self, i: int) -> Image.Image:
        """Image ``i``, RGB."""

    def stamp(self) -> str:
        """A digest that changes when an image does; cheap, decodes nothing."""


@dataclass(frozen=True)
class Rendering:
    """How an image becomes an array: centre crop, then antialiased resize (Pillow's).

    Args:
        size: side of the result, in pixels.
        channels: 3 for RGB, 1 for luma (ITU-R 601).
        crop: side of the square cut from the centre, in pixels of a full-size CelebA image (178 x 218);
            scaled in proportion for images of other sizes.
        filter: a key of `FILTERS`.

    Raises:
        UserError: a value is out of range.
    """

    size: int
    channels: int
    crop: int
    filter: str

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"The image size should be at least 1 pixel, not {self.size}.")
        if self.channels not in (1, 3):
            raise UserError(f"Images have 3 channels (RGB) or 1 (luma), not {self.channels}.")
        if not 1 <= self.crop <= CELEBA_WIDTH:
            raise UserError(f"The crop should be 1 to {CELEBA_WIDTH} pixels of CelebA, not {self.crop}.")
        if self.filter not in FILTERS:
            raise UserError(
                f"The resize filter should be one of {', '.join(FILTERS)}, not {self.filter!r}"
                f"{nearest(self.filter, FILTERS)}."
            )

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The crop (left, top, right, bottom) in an image of this size, rounded as torchvision does."""
        side = max(1, round(self.crop * min(width / CELEBA_WIDTH, height / CELEBA_HEIGHT)))
        left, top = round((width - side) / 2), round((height - side) / 2)
        return left, top, left + side, top + side

    def render(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image as uint8 ``(channels, size, size)``."""
        # Not `resize(box=...)`, whose filter looks across the edge of the crop (differs by up to 11 of 255).
        return self.fit(image.crop(self.box(*image.size)))

    def fit(self, face: Image.Image) -> NDArray[np.uint8]:
        """A square RGB image, not cropped further, as uint8 ``(channels, size, size)``."""
        if self.channels == 1:
            face = face.convert("L")
        face = face.resize((self.size, self.size), FILTERS[self.filter])
        pixels: NDArray[np.uint8] = np.asarray(face).reshape(self.size, self.size, -1).transpose(2, 0, 1)
        return pixels


def prepare(
    source: Source,
    *,
    size: int = 64,
    channels: int = 3,
    crop: int = 148,
    filter: str = "bilinear",
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Splits:
    """The faces of every split; decoded on the first call, only memory-mapped on later ones.

    Args:
        source: an opened dataset.
        size, channels, crop, filter: see `Rendering`.
        cache_dir: where decoded images are kept, see `cache_root`.
        workers: decoding threads (Pillow decodes and resizes outside Python's lock); by default one per
            processor. The result does not depend on it.
        progress: show a bar on stderr while decoding.

    Returns:
        ``train``, ``val`` and ``test``, each in the order of the source; images are views of one memory map.

    Raises:
        UserError: an image is missing or damaged, the cache cannot be written, or a value is out of range.
    """
    rendering = Rendering(size, channels, crop, filter)
    if workers is not None and workers < 1:
        raise UserError(f"Decoding needs at least 1 worker, not {workers}.")
    if source.missing:
        raise UserError(
            f"Of {len(source.filenames):,} listed images {some(source.missing)} are not in {source.path}. "
            "Complete it, or take their lines out of the lists."
        )
    identity = _origin(source) | asdict(rendering)
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_root(cache_dir) / f"{size}px-{name}"
    if not folder.exists():
        workers = workers or min(os.cpu_count() or 1, MOST_WORKERS)
        _build(folder, source, rendering, identity, workers, progress)
    return _load(folder, identity)


def cached(source: Source, cache_dir: str | Path | None = None) -> list[str]:
    """One line for each cache that was made from this source, as it is now."""
    files = sorted(cache_root(cache_dir).glob("[!.]*/cache.json"))
    if source.missing or not files:
        return []
    origin, lines = _origin(source), []
    for file in files:
        made = json.loads(file.read_text())["identity"]
        if made | origin == made:
            kind = "RGB" if made["channels"] == 3 else "luma"
            lines.append(f"{made['size']} px {kind}, crop {made['crop']}, {made['filter']}: {file.parent}")
    return lines


def some(names: Sequence[str]) -> str:
    """How many names, and the first few: ``"5 (a, b, c, ...)"``."""
    return f"{len(names):,} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _origin(source: Source) -> dict[str, Any]:
    """All that a cache depends on besides its `Rendering`."""
    digest = hashlib.sha256(json.dumps([source.filenames, source.names, source.stamp()]).encode())
    digest.update(source.attributes.tobytes())
    digest.update(source.split.tobytes())
    return {"format": FORMAT, "pillow": PIL.__version__, "source": digest.hexdigest()}


def _build(
    folder: Path, source: Source, rendering: Rendering, identity: dict[str, Any], workers: int, progress: bool
) -> None:
    """Writes a cache under another name and then renames it: safe to interrupt and to run twice at once."""
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        partial.mkdir()
        order = np.argsort(source.split, kind="stable")
        _decode(source, rendering, order, partial / "images.npy", workers, progress)
        np.save(partial / "attributes.npy", source.attributes[order])
        np.save(partial / "split.npy", source.split[order])
        about = {"identity": identity, "names": source.names, "made_from": str(source.path)}
        (partial / "cache.json").write_text(json.dumps(about, indent=1))
        _to_disk(partial)
        try:
            os.rename(partial, folder)
        except OSError:
            if not folder.exists():  # else another process was faster, with the same result
                raise
    except OSError as error:
        raise UserError(
            f"Could not write the decoded images to {folder.parent}: {error.strerror or error}. "
            "Free some space, or choose another folder (environment variable DFCVAE_CACHE)."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Removes what killed processes left behind: nothing decodes for a day."""
    for leftover in root.glob(".*.partial"):
        with suppress(FileNotFoundError):  # another process may sweep too
            if time.time() - leftover.stat().st_mtime > 86_400:
                shutil.rmtree(leftover, ignore_errors=True)


def _decode(
    source: Source, rendering: Rendering, order: NDArray[np.intp], path: Path, workers: int, progress: bool
) -> None:
    """Writes the images ``order`` of a source as the rows of an npy file, uint8 ``(n, C, size, size)``."""
    shape = (len(order), rendering.channels, rendering.size, rendering.size)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        header = file.tell()

    def decode(start: int) -> int:
        rows = np.stack([rendering.render(source.read(i)) for i in order[start : start + CHUNK].tolist()])
        # Written, not memory-mapped: on a full disk a write fails with an error, a mapping kills the process.
        with open(path, "r+b") as file:
            file.seek(header + start * rows[0].nbytes)
            file.write(rows.tobytes())
        return len(rows)

    bar = tqdm(total=len(order), desc="decoding", unit=" images", disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        for count in pool.map(decode, range(0, len(order), CHUNK)):
            bar.update(count)


def _to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "r+b") as file:  # Windows syncs only what is open for writing
            os.fsync(file.fileno())


def _load(folder: Path, identity: dict[str, Any]) -> Splits:
    try:
        about = json.loads((folder / "cache.json").read_text())
        # Copy-on-write: torch warns about read-only arrays, and nobody can change the file by accident.
        images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))
        attributes = torch.from_numpy(np.load(folder / "attributes.npy"))
        split = np.load(folder / "split.npy")
        if about["identity"] != identity or not len(images) == len(attributes) == len(split):
            raise ValueError("its files do not belong together")
        names = tuple(about["names"])
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"The decoded images in {folder} are damaged: {error}. Delete this folder and start again."
        ) from error
    bounds = np.searchsorted(split, range(len(SPLITS) + 1)).tolist()
    return {
        name: Faces(images[start:stop], attributes[start:stop], names)
        for name, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
    }
