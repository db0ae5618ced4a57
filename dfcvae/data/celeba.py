"""What is at a path: CelebA in any of its layouts, or any folder or zip of images."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from posixpath import basename, dirname, splitext
from typing import NamedTuple

from dfcvae.data.decode import SUFFIXES, Undecodable
from dfcvae.data.folders import Folder, ImageSet, Tree, Zip, read_file
from dfcvae.data.labels import CELEBA_COUNTS, join, relative_to_common_folder
from dfcvae.data.lists import (
    ATTRIBUTES,
    HQ_ATTRIBUTES,
    HQ_MAPPING,
    OF_CELEBA,
    Table,
    normal,
    official_name,
    read_list,
    read_mapping,
    stem,
)
from dfcvae.errors import UserError
from dfcvae.files import LFS_HINT, LFS_MAGIC

ALIGNED = "img_align_celeba"
IMAGE_FOLDERS = (ALIGNED, f"{ALIGNED}_png", "CelebA-HQ-img")
"""Folders that hold the faces; beside them are other images, such as masks or uncropped pictures."""

IN_FOLDERS = "", "Anno", "Eval"  # where its lists are published
FEW = 20  # images, which may only illustrate the zip or the parquet files beside them
HQ_COUNTS = 24_183, 2_993, 2_824


def open_images(path: str | Path, *, split_seed: int = 0) -> ImageSet:
    """Recognises the layout at a path, reads its lists and looks for every image; decodes none.

    Args:
        path: a folder, a zip or a parquet file. See ``docs/celeba.md`` for the layouts.
        split_seed: of the splits that a data set does not define.

    Raises:
        UserError: there are no images, or a list is malformed or does not belong to them.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    if not path.exists():
        raise UserError(f"There is no {path}. Expected a folder of images, CelebA's folder or zip, or parquet files.")
    if path.is_file() and path.suffix.lower() not in (".zip", ".parquet"):
        raise UserError(f"{path} is not a folder, a zip or a parquet file. Unpack other archives first.")
    if path.suffix.lower() == ".parquet":
        shards = [path]
    else:
        outer = Folder(path) if path.is_dir() else Zip(path)
        tree, files = _find_images(outer)
        parquet = [path / name for name in outer.names if name.lower().endswith(".parquet")]
        shards = parquet if path.is_dir() and not files else []
    if shards:
        from dfcvae.data.parquet import open_parquet  # its library is an extra

        return open_parquet(shards, path, split_seed)
    if not files:
        found = ", ".join(f"{count:,} {kind}" for kind, count in _suffixes(outer))
        raise UserError(
            f"{path} holds no images.{f' It holds {found}.' if found else ''} Expected JPEG, PNG, WebP, BMP or TIFF "
            f"files, CelebA's {ALIGNED}.zip, or parquet files."
        )
    aligned = any(ALIGNED in part for part in (*tree.path.parts[-2:], *files[0].split("/")[:-1]))
    lists = _lists(outer, tree, aligned)
    of_hq = not aligned and not {HQ_MAPPING, HQ_ATTRIBUTES}.isdisjoint(lists)
    numbered = of_hq and all(stem(name).isdecimal() for name in files)
    labels = join(files, _tables(lists, files, numbered), split_seed, numbered)
    common, filenames = relative_to_common_folder(labels.members)
    kind, official = "images", None
    if numbered or "CelebA-HQ-img" in files[0]:
        kind, official = "CelebA-HQ", HQ_COUNTS
    elif aligned or not lists.keys().isdisjoint(OF_CELEBA):
        kind, official = "CelebA", CELEBA_COUNTS
    # a folder of HEIC files should not look empty
    others = [f"{n:,} {suffix}" for suffix, n in _suffixes(outer) if suffix not in {*SUFFIXES, ".csv", ".txt", ".zip"}]
    if others:
        labels = labels._replace(about=(*labels.about, ("not read", ", ".join(others))))
    how = "folder" if isinstance(tree, Folder) else "zip, read in place"
    where = tree.path / common if isinstance(tree, Folder) else tree.path
    return ImageSet(where, f"{kind} ({how})", tree, tuple(filenames), *labels, official)


def _find_images(tree: Tree) -> tuple[Tree, list[str]]:
    """The tree that holds the images (a zip inside a folder, if there is one) and their names in it."""
    images = _image_names(tree)
    if isinstance(tree, Folder):
        zips = [name for name in tree.names if name.lower().endswith(".zip")]
        official = [name for name in zips if basename(name) == f"{ALIGNED}.zip"]
        if official or (len(zips) == 1 and not images):
            inner = Zip(tree.path / (official or zips)[0])
            return inner, _image_names(inner)
        others = zips + [name for name in tree.names if name.lower().endswith(".parquet")]
        if 0 < len(images) <= FEW and others:
            raise UserError(
                f"{tree.path} holds {len(images)} images ({images[0]}, ...), and also {others[0]}. Give the path of "
                "what you mean, or move the other elsewhere."
            )
    return tree, images


def _image_names(tree: Tree) -> list[str]:
    images = [name for name in tree.names if splitext(name)[1].lower() in SUFFIXES]
    for folder in IMAGE_FOLDERS:
        inside = [name for name in images if folder in name.split("/")[:-1]]
        if inside:
            return inside
    return images


class ListFile(NamedTuple):
    """A file that may be a list: its path, for messages, and how to read it; the others as in `Table`."""

    label: str
    read: Callable[[], bytes]
    folder: str = ""
    near: bool = True


def _text(entry: ListFile) -> str:
    try:
        data = entry.read()
        if data.startswith(LFS_MAGIC):
            raise UserError(f"The list {entry.label} could not be read. {LFS_HINT}")
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except Undecodable as error:
        raise UserError(f"The list {entry.label} could not be read: {error}. Correct or remove it.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The list {entry.label} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error


def _lists(outer: Tree, tree: Tree, aligned: bool) -> dict[str, ListFile]:
    """The lists in and around the images: CelebA's own by name, one of each, others by path."""
    candidates = []
    for place in dict.fromkeys((outer, tree)):
        names = [n for n in place.names if n.lower().endswith(".csv") or (n.endswith(".txt") and official_name(n))]
        for name in sorted(names, key=lambda name: name.count("/")):
            candidates.append(ListFile(str(place.path / name), partial(place.read, name), dirname(name)))
    # in the folders around an image folder or zip, as CelebA is published and unpacked
    images = tree.path
    folders = [above / part for above in (images.parent, images.parent.parent)[: 1 + aligned] for part in IN_FOLDERS]
    paths = [folder / f"{name}{suffix}" for folder in folders for name in OF_CELEBA for suffix in (".txt", ".csv")]
    own = images.with_name((images.name if images.is_dir() else images.stem) + ".csv")
    for path in filter(Path.is_file, (*paths, own)):
        candidates.append(ListFile(str(path), partial(read_file, path), near=aligned or path == own))
    found: dict[str, ListFile] = {}
    for entry in sorted(candidates, key=lambda entry: not entry.label.endswith(".txt")):
        found.setdefault(official_name(entry.label) or entry.label, entry)
    return found


def _tables(lists: dict[str, ListFile], files: Sequence[str], numbered: bool) -> list[Table]:
    """The tables in the lists. For CelebA-HQ, those about CelebA's images go through the mapping."""
    number_of: dict[str, str] = {}
    unused = {HQ_MAPPING, HQ_ATTRIBUTES}
    if numbered and HQ_MAPPING in lists:
        number_of = read_mapping(lists[HQ_MAPPING].label, _text(lists[HQ_MAPPING]))
        unused = {HQ_MAPPING, ATTRIBUTES} if HQ_ATTRIBUTES in lists else {HQ_MAPPING}
    elif numbered:
        unused = {*OF_CELEBA} - {HQ_ATTRIBUTES}  # their numbers are not CelebA-HQ's
    bases = {key(normal(file)) for file in files for key in (basename, stem)}
    tables = []
    for name, entry in lists.items():
        if name in unused:
            continue
        table = read_list(entry.label, _text(entry), bases) or Table(entry.label)
        if numbered and name in OF_CELEBA and name != HQ_ATTRIBUTES:
            rows = [row for row, listed in enumerate(table.filenames) if listed in number_of]
            numbers = tuple(number_of[table.filenames[row]] for row in rows)
            columns = {name: column[rows] for name, column in table.columns.items()}
            table = replace(table, filenames=numbers, columns=columns)
        tables.append(replace(table, folder=entry.folder, near=entry.near))
    return tables


def _suffixes(tree: Tree) -> list[tuple[str, int]]:
    return sorted(Counter(splitext(name)[1].lower() or "no suffix" for name in tree.names).items())
