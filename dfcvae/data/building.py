"""Decoding a set of images into a cache folder: with all processors, resumable, and the same bytes in every case."""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dfcvae.data.workers import CHUNK, in_chunks
from dfcvae.errors import UserError
from dfcvae.intake.decode import quiet_pillow
from dfcvae.intake.imageset import ImageSet
from dfcvae.intake.rendering import Rendering
from dfcvae.intake.survey import Look, examine, write_looks

HEADER = 128  # bytes of the head of an npy file, which says its shape
LOG = "log.jsonl"
FILES = ("images.npy", "attributes.npy", "split.npy", "files.csv")


@dataclass(frozen=True)
class Done:
    """A chunk that was written: where it starts, the digest of its pixels, and what was seen of its files."""

    start: int
    digest: str
    looks: tuple[Look, ...]


class Builder:
    """Decodes one set of images into one folder.

    Work goes on in a hidden folder beside the final one, which is renamed when all is there. Each chunk of images has
    its place in the file of pixels; once written, it is noted in a log with its digest. A later attempt takes over
    what the log notes and the digests confirm, so that neither a killed process nor a lost disk cache does harm.

    Args:
        images: what to decode.
        rendering: crop, size and filter.
        folder: the final folder.
    """

    def __init__(self, images: ImageSet, rendering: Rendering, folder: Path) -> None:
        self.images, self.rendering, self.folder = images, rendering, folder
        self.partial = folder.with_name(f".{folder.name}.partial")
        self.pixels = self.partial / "images.npy"
        self.order = np.argsort(images.split, kind="stable")  # each split is a run of rows
        self.shape = (rendering.channels, rendering.size, rendering.size)
        self.row_bytes = int(np.prod(self.shape))

    def build(self, identity: dict[str, Any], workers: int, progress: bool) -> None:
        """Makes the folder. The caller holds the lock.

        Raises:
            UserError: no image can be read, or the disk is too small.
        """
        _sweep(self.folder.parent)
        self.partial.mkdir(parents=True, exist_ok=True)
        done = self._take_over()
        self._check_disk(len(done))
        self._decode(done, workers, progress)
        self._finish([look for start in sorted(done) for look in done[start].looks], identity)
        os.rename(self.partial, self.folder)

    def _take_over(self) -> dict[int, Done]:
        """What an earlier attempt left in order."""
        done = {}
        with suppress(FileNotFoundError), open(self.partial / LOG, "rb") as log, open(self.pixels, "rb") as pixels:
            for line in log:
                with suppress(ValueError, TypeError, KeyError):  # the last line may be cut
                    entry = json.loads(line)
                    chunk = Done(entry["start"], entry["digest"], tuple(Look(*look) for look in entry["looks"]))
                    pixels.seek(HEADER + chunk.start * self.row_bytes)
                    if _digest(pixels.read(len(chunk.looks) * self.row_bytes)) == chunk.digest:
                        done[chunk.start] = chunk
        return done

    def _check_disk(self, chunks_done: int) -> None:
        total = len(self.images) * self.row_bytes
        needed = total - chunks_done * CHUNK * self.row_bytes
        free = shutil.disk_usage(self.partial).free
        if needed > free:
            raise UserError(
                f"Decoding {len(self.images):,} images at {self.rendering.size} px takes {total / 1e9:.1f} GB in "
                f"{self.folder.parent}, of which {needed / 1e9:.1f} GB are still to be written, but only "
                f"{free / 1e9:.1f} GB are free. Free some space, or choose another folder (environment variable "
                "DFCVAE_CACHE)."
            )

    def _decode(self, done: dict[int, Done], workers: int, progress: bool) -> None:
        """Decodes the chunks that are not done yet."""
        n = len(self.order)
        todo = [row for start in range(0, n, CHUNK) if start not in done for row in range(start, min(start + CHUNK, n))]
        bar = tqdm(total=n, initial=n - len(todo), desc="decoding", unit=" images", disable=not progress)
        self.pixels.touch()
        with bar, open(self.partial / LOG, "a", encoding="ascii") as log:
            for chunk in in_chunks(self._decode_chunk, todo, workers):
                log.write(json.dumps({"start": chunk.start, "digest": chunk.digest, "looks": chunk.looks}) + "\n")
                log.flush()
                done[chunk.start] = chunk
                bar.update(len(chunk.looks))

    def _decode_chunk(self, rows: Sequence[int]) -> Done:
        """Decodes a run of rows into their place in the file of pixels; runs in any process."""
        pixels = np.zeros((len(rows), *self.shape), np.uint8)
        looks = []
        with quiet_pillow():
            for place, row in zip(pixels, rows, strict=True):
                image, look = examine(self.images, int(self.order[row]))
                looks.append(look)
                if image is not None:
                    place[:] = self.rendering.render(image)
        # Written, not memory-mapped: on a full disk a write fails with an error, a mapping kills the process.
        with open(self.pixels, "r+b") as file:
            file.seek(HEADER + rows[0] * self.row_bytes)
            file.write(pixels.data)
        return Done(rows[0], _digest(pixels.data), tuple(looks))

    def _finish(self, looks: list[Look], identity: dict[str, Any]) -> None:
        """Closes the gaps that unreadable files left, and writes labels, findings and checksums."""
        kept = np.flatnonzero([not look.problem for look in looks])
        if not len(kept):
            raise UserError(
                f"None of the {len(looks):,} files of {self.images.path} is a readable image; the first one, "
                f"{looks[0].name}: {looks[0].problem}."
            )
        if len(kept) < len(looks):
            (self.partial / LOG).unlink(missing_ok=True)  # from here on rows lie elsewhere than it says
            self._move_up(kept)
        with open(self.pixels, "r+b") as file:
            file.write(_npy_head((len(kept), *self.shape)))
            file.truncate(HEADER + len(kept) * self.row_bytes)
        np.save(self.partial / "attributes.npy", self.images.attributes[self.order][kept])
        np.save(self.partial / "split.npy", self.images.split[self.order][kept])
        write_looks(self.partial / "files.csv", looks)
        about = {
            "identity": identity,
            "names": self.images.names,
            "made_from": str(self.images.path),
            "images": len(kept),
            "checksums": {name: sha256(self.partial / name) for name in FILES},
        }
        (self.partial / "cache.json").write_text(json.dumps(about, indent=1))
        (self.partial / LOG).unlink(missing_ok=True)
        for path in self.partial.iterdir():
            with open(path, "r+b") as file:  # Windows syncs only what is open for writing
                os.fsync(file.fileno())

    def _move_up(self, kept: NDArray[np.intp]) -> None:
        with open(self.pixels, "r+b") as file:
            for to, row in enumerate(kept.tolist()):
                if to != row:
                    file.seek(HEADER + row * self.row_bytes)
                    pixels = file.read(self.row_bytes)
                    file.seek(HEADER + to * self.row_bytes)
                    file.write(pixels)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _digest(pixels: Any) -> str:
    return hashlib.blake2b(pixels, digest_size=16).hexdigest()


def _npy_head(shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    assert head.tell() == HEADER
    return head.getvalue()


def _sweep(root: Path) -> None:
    """Removes what was left unfinished and not gone on with for a month."""
    for leftover in root.glob(".*.partial"):
        with suppress(FileNotFoundError):  # another process may sweep too
            if time.time() - leftover.stat().st_mtime > 30 * 86_400:
                shutil.rmtree(leftover, ignore_errors=True)
