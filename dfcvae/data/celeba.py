"""CelebA in its official layout: ``img_align_celeba`` (zip or folder) with its two lists.

Liu, Luo, Wang, Tang: Deep Learning Face Attributes in the Wild, ICCV 2015.
"""

import hashlib
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dfcvae.data.cache import SPLITS, cached, some
from dfcvae.errors import UserError

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
OFFICIAL_COUNTS = {"train": 162_770, "val": 19_867, "test": 19_962}
ATTRIBUTE_COUNT = 40
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What Pillow and zipfile raise for a broken file."""


@dataclass(frozen=True)
class CelebA:
    """An opened CelebA: labels in memory, images read one by one.

    Attributes:
        path: the zip or folder of images.
        lists: the attribute file and the partition file.
        filenames: ``n`` names in the order of the lists.
        attributes: bool ``(n, 40)``.
        names: the 40 attribute names.
        split: int8 ``(n,)``, 0 train, 1 val, 2 test.
        files: the encoded images.
    """

    path: Path
    lists: tuple[Path, Path]
    filenames: tuple[str, ...]
    attributes: NDArray[np.bool_]
    names: tuple[str, ...]
    split: NDArray[np.int8]
    files: "ZipImages | FolderImages"

    @property
    def missing(self) -> tuple[str, ...]:
        """Files that are listed but not there."""
        return self.files.missing

    def read(self, i: int) -> Image.Image:
        """Image ``i`` of the lists, RGB, decoded in full.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            # JPEG's draft mode would be faster, but it changes pixels (by up to 7 of 255 after the resize).
            image = Image.open(BytesIO(self.files.read(i)))
            image.load()
        except DAMAGED as error:
            raise UserError(
                f"Could not read image {self.filenames[i]} of {self.path}: {error}. "
                "Get this file again, or take its line out of both lists."
            ) from error
        return image if image.mode == "RGB" else image.convert("RGB")

    def stamp(self) -> str:
        """A digest that changes when an image does; decodes nothing. No image may be missing."""
        return self.files.stamp()


class ZipImages:
    """The members of a zip, read in place."""

    def __init__(self, path: Path, filenames: Sequence[str]) -> None:
        self._archive = _open_zip(path)
        members = {member.filename.rpartition("/")[2]: member for member in self._archive.infolist()}
        self._members = [members.get(name) for name in filenames]
        self.missing = tuple(name for name in filenames if name not in members)

    def read(self, i: int) -> bytes:
        """The encoded image ``i``."""
        member = self._members[i]
        if member is None:
            raise FileNotFoundError("it is not in the zip")
        return self._archive.read(member)

    def stamp(self) -> str:
        """A digest of the checksums that the zip keeps."""
        # Not of places or times: a zip moved, or packed anew from the same files, is the same data.
        checksums = [member.CRC for member in self._members if member]
        return hashlib.sha256(np.array(checksums, np.uint32).tobytes()).hexdigest()


class FolderImages:
    """The files of a folder."""

    def __init__(self, path: Path, filenames: Sequence[str]) -> None:
        present = set(os.listdir(path))
        self._paths = [path / name for name in filenames]
        self.missing = tuple(name for name in filenames if name not in present)

    def read(self, i: int) -> bytes:
        """The encoded image ``i``."""
        return self._paths[i].read_bytes()

    def stamp(self) -> str:
        """A digest of sizes and times of change."""
        # To read 200,000 files just for this would take long: size and time of change stand for the content.
        status = [path.stat() for path in self._paths]
        marks = np.array([(one.st_size, one.st_mtime_ns) for one in status], np.int64)
        return hashlib.sha256(marks.tobytes()).hexdigest()


def open_celeba(path: str | Path) -> CelebA:
    """Opens CelebA in its official layout; reads both lists and looks for every listed image, decodes none.

    Args:
        path: the folder that holds ``list_attr_celeba.txt``, ``list_eval_partition.txt`` and
            ``img_align_celeba.zip`` or ``img_align_celeba`` (of both, the zip is taken); or that zip or image
            folder itself, lists beside it. The published tree of ``Img``, ``Anno`` and ``Eval`` will do too.

    Raises:
        UserError: something is not there, or a list is malformed, or the lists disagree.
    """
    images = _find_images(Path(path).expanduser().absolute())
    lists = _find_list(ATTRIBUTES, images), _find_list(PARTITION, images)
    filenames, attributes, names = _read_attributes(lists[0])
    split = _read_partition(lists[1], filenames)
    files = FolderImages(images, filenames) if images.is_dir() else ZipImages(images, filenames)
    return CelebA(images, lists, filenames, attributes, names, split, files)


def describe(source: CelebA) -> str:
    """What was found, in lines of text for ``dfcvae data info``.

    Raises:
        UserError: an image that was looked at is damaged.
    """
    kind = "folder" if source.path.is_dir() else "zip, read in place"
    counts = np.bincount(source.split, minlength=len(SPLITS)).tolist()
    lines = [
        "CelebA, official layout",
        f"  images      {source.path} ({kind})",
        f"  attributes  {source.lists[0]}",
        f"  partition   {source.lists[1]}",
        f"  image size  {_image_sizes(source)}",
        f"  missing     {some(source.missing) if source.missing else 'none'}",
        "  decoded     " + ("\n" + " " * 14).join(cached(source) or ["not yet"]),
        "",
        "  split       images    official CelebA",
    ]
    rows = [*zip(SPLITS, counts, OFFICIAL_COUNTS.values(), strict=True)]
    rows.append(("all", sum(counts), sum(OFFICIAL_COUNTS.values())))
    lines += [f"  {split:6}{count:12,}{official:19,}" for split, count, official in rows]
    lines += ["", f"  {len(source.names)} attributes, share of images"]
    shares = source.attributes.mean(axis=0)
    cells = [f"  {name:20}{share:7.1%}" for name, share in zip(source.names, shares, strict=True)]
    half = (len(cells) + 1) // 2
    lines += [left + "   " + right for left, right in zip(cells[:half], cells[half:], strict=True)]
    return "\n".join(lines)


def _image_sizes(source: CelebA, looked_at: int = 16) -> str:
    missing = set(source.missing)
    present = [i for i, name in enumerate(source.filenames) if name not in missing]
    chosen = present[:: max(1, len(present) // looked_at)]
    sizes = ", ".join(f"{width} x {height}" for width, height in sorted({source.read(i).size for i in chosen}))
    return f"{sizes} pixels ({len(chosen)} images looked at)" if chosen else "unknown"


def _find_images(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"There is no {path}. Expected CelebA's folder (with {ATTRIBUTES}), or {IMAGES}.zip.")
    if path.is_file():
        return path
    for candidate in (f"{IMAGES}.zip", IMAGES, f"Img/{IMAGES}.zip", f"Img/{IMAGES}"):
        if (path / candidate).exists():
            return path / candidate
    if path.name == IMAGES or next(path.glob("*.jpg"), None):
        return path
    raise UserError(
        f"{path} holds no CelebA images: expected {IMAGES}.zip or the folder {IMAGES} in it. "
        "Put one there, or give the path of the zip or of the image folder."
    )


def _find_list(name: str, images: Path) -> Path:
    here, above = images.parent, images.parent.parent
    for folder in (here, here / "Anno", here / "Eval", above / "Anno", above / "Eval"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"There is no {name} beside {images}. Put CelebA's {name} into {here}.")


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        with open(path, "rb") as file:
            page = file.read(256).lstrip().lower().startswith((b"<!doctype", b"<html"))
        hint = " It is a web page: the download was refused (Google Drive's quota does this)." if page else ""
        raise UserError(f"{path} is not a complete zip file ({error}).{hint} Download {IMAGES}.zip again.") from error


def _read_attributes(path: Path) -> tuple[tuple[str, ...], NDArray[np.bool_], tuple[str, ...]]:
    lines = _lines(path)
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        first = lines[0][:60] if lines else ""
        raise UserError(
            f"{path} is not CelebA's attribute list: its first line should be the number of images, "
            f"not {first!r}. Use the official file."
        )
    names = tuple(lines[1].split())
    if len(set(names)) != ATTRIBUTE_COUNT or len(names) != ATTRIBUTE_COUNT:
        raise UserError(
            f"Line 2 of {path} should hold CelebA's {ATTRIBUTE_COUNT} attribute names, but holds {len(names)} "
            f"({len(set(names))} different). Use the official file."
        )
    filenames, values = _read_table(path, lines, start=2, columns=ATTRIBUTE_COUNT, valid=(-1, 1))
    if len(filenames) != int(lines[0]):
        raise UserError(
            f"{path} announces {int(lines[0]):,} images in its first line, but lists {len(filenames):,}. "
            "It may be cut short: get it again, or correct the first line."
        )
    return filenames, values == 1, names


def _read_partition(path: Path, filenames: tuple[str, ...]) -> NDArray[np.int8]:
    listed, values = _read_table(path, _lines(path), start=0, columns=1, valid=(0, 1, 2))
    split = dict(zip(listed, values[:, 0].tolist(), strict=True))
    without = [name for name in filenames if name not in split]
    if without:
        raise UserError(f"{path} lacks images of {ATTRIBUTES}: {some(without)}. Use lists that match.")
    if len(split) > len(filenames):
        unknown = sorted(split.keys() - set(filenames))
        raise UserError(f"{path} lists images unknown to {ATTRIBUTES}: {some(unknown)}. Use lists that match.")
    return np.array([split[name] for name in filenames], np.int8)


def _read_table(
    path: Path, lines: list[str], *, start: int, columns: int, valid: tuple[int, ...]
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """Rows ``name value ...`` from line index ``start`` on: the names, and int8 values ``(n, columns)``."""
    if not any(line.strip() for line in lines[start:]):
        raise UserError(f"{path} lists no images. Use the official file.")
    try:
        row = [("name", "O"), ("values", "i1", (columns,))]
        table = np.loadtxt(lines[start:], row, comments=None, ndmin=1)
        right = bool(np.isin(table["values"], valid).all())
    except ValueError:
        right = False
    if not right:
        raise UserError(_first_bad_row(path, lines, start, columns, valid))
    names = tuple(table["name"].tolist())
    if len(set(names)) < len(names):
        [(repeated, _)] = Counter(names).most_common(1)
        raise UserError(f"{path} lists {repeated} more than once. Remove a line, or use the official file.")
    return names, table["values"]


def _first_bad_row(path: Path, lines: list[str], start: int, columns: int, valid: tuple[int, ...]) -> str:
    allowed = {str(value) for value in valid}
    expected = f"a file name and {columns} value{'s' * (columns > 1)} out of {', '.join(map(str, valid))}"
    for number, line in enumerate(lines[start:], start + 1):
        _, *values = line.split() or [""]
        wrong = [value for value in values if value not in allowed]
        if line.strip() and (wrong or len(values) != columns):
            came = f"the value {wrong[0]!r}" if wrong else f"{len(values)} values"
            return f"Line {number} of {path} should be {expected}, but has {came}. Use the official file."
    return f"{path} could not be read: each row should be {expected}. Use the official file."


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"Could not read {path}: {error.strerror}. Check its permissions.") from error
