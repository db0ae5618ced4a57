"""What is at a path: CelebA in any of its layouts, or any folder or zip of images."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from posixpath import basename, dirname, splitext

from dfcvae.data.decode import SUFFIXES, Undecodable
from dfcvae.data.folders import Folder, ImageSet, Tree, TreeImages, Zip, read_file
from dfcvae.data.labels import CELEBA_COUNTS, join, relative_to_common_folder
from dfcvae.data.lists import (
    ATTRIBUTES,
    HQ_ATTRIBUTES,
    HQ_MAPPING,
    IDENTITIES,
    OF_CELEBA,
    PARTITION,
    Table,
    normal,
    read_list,
    read_mapping,
    stem,
)
from dfcvae.errors import UserError, some
from dfcvae.files import LFS_HINT, LFS_MAGIC

ALIGNED = "img_align_celeba"
IMAGE_FOLDERS = (ALIGNED, f"{ALIGNED}_png", "CelebA-HQ-img")
"""Folders that hold the faces; beside them are other images, such as masks or uncropped pictures."""

CELEBA_TEXTS = {f"{name}.txt" for name in OF_CELEBA}
FEW = 20  # images that may as well illustrate a zip or parquet files beside them
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
    suffix = path.suffix.lower()
    if path.is_file() and suffix not in (".zip", ".parquet"):
        raise UserError(f"{path} is not a folder, a zip or a parquet file. Unpack other archives first.")
    if suffix == ".parquet":
        return _open_parquet([path], path, split_seed)
    outer = Folder(path) if path.is_dir() else Zip(path)
    tree, files = _find_images(outer)
    if not files:
        shards = [path / name for name in outer.names if name.lower().endswith(".parquet")]
        if shards and path.is_dir():
            return _open_parquet(shards, path, split_seed)
        found = ", ".join(f"{count:,} {kind}" for kind, count in _suffixes(outer))
        raise UserError(
            f"{path} holds no images.{f' It holds {found}.' if found else ''} Expected JPEG, PNG, WebP, BMP or TIFF "
            f"files, CelebA's {ALIGNED}.zip, or parquet files."
        )
    aligned = any(ALIGNED in part for part in (*tree.path.parts[-2:], *files[0].split("/")[:-1]))
    lists = _lists(outer, tree, aligned)
    numbered = (
        not aligned
        and all(stem(name).isdecimal() for name in files)
        and not {HQ_MAPPING, HQ_ATTRIBUTES}.isdisjoint(lists)
    )
    labels = join(files, _tables(lists, files, numbered), split_seed, numbered)
    common, filenames = relative_to_common_folder(labels.files)
    images = tree.path / common if isinstance(tree, Folder) else tree.path
    kind, official = _recognise(str(tree.path / common), lists, numbered)
    # a folder of HEIC files should not look empty
    others = [(suffix, n) for suffix, n in _suffixes(outer) if suffix not in {*SUFFIXES, ".csv", ".txt", ".zip"}]
    about = [("not read", ", ".join(f"{n:,} {suffix}" for suffix, n in others))] if others else []
    about += [("no access", f"{some(outer.closed)}: folders that cannot be listed")] if outer.closed else []
    return ImageSet(
        images,
        f"{kind} ({'folder' if isinstance(tree, Folder) else 'zip, read in place'})",
        TreeImages(tree, labels.files),
        tuple(filenames),
        labels.attributes,
        labels.names,
        labels.split,
        labels.missing,
        outer.closed,
        (*labels.about, *about),
        official,
    )


def _open_parquet(shards: list[Path], path: Path, split_seed: int) -> ImageSet:
    from dfcvae.data.parquet import open_parquet  # its library is an extra

    return open_parquet(shards, path, split_seed)


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
                f"{tree.path} holds {some(images)} as images, and also {some(others)}. Give the path of what you mean, "
                "or move the other elsewhere."
            )
    return tree, images


def _image_names(tree: Tree) -> list[str]:
    images = [name for name in tree.names if splitext(name)[1].lower() in SUFFIXES]
    for folder in IMAGE_FOLDERS:
        inside = [name for name in images if folder in name.split("/")[:-1]]
        if inside:
            return inside
    return images


@dataclass(frozen=True)
class ListFile:
    """A file that may be a list.

    Attributes:
        label: its path, for messages.
        read: gives its content.
        folder: the one it is in, below that of the images.
        near: whether it is with the images, not just in a folder above.
    """

    label: str
    read: Callable[[], bytes]
    folder: str = ""
    near: bool = True

    @property
    def text(self) -> str:
        """The content as text."""
        try:
            data = self.read()
            if data.startswith(LFS_MAGIC):
                raise UserError(f"The list {self.label} could not be read. {LFS_HINT}")
            return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        except Undecodable as error:
            raise UserError(f"The list {self.label} could not be read: {error}. Correct or remove it.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"The list {self.label} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error


def _lists(outer: Tree, tree: Tree, aligned: bool) -> dict[str, ListFile]:
    """The lists in and around the images: CelebA's own by name, one of each, others by path."""
    candidates = [*_lists_inside(outer), *(_lists_inside(tree) if tree is not outer else ())]
    candidates += _lists_beside(tree.path, aligned)
    found: dict[str, ListFile] = {}
    for entry in sorted(candidates, key=lambda entry: not entry.label.endswith(".txt")):
        name = stem(normal(entry.label))
        found.setdefault(name if name in OF_CELEBA else entry.label, entry)
    return found


def _lists_inside(tree: Tree) -> list[ListFile]:
    """The lists of a tree, the least nested first."""
    names = [name for name in tree.names if name.lower().endswith(".csv") or basename(name) in CELEBA_TEXTS]
    return [
        ListFile(str(tree.path / name), partial(tree.read, name), dirname(name))
        for name in sorted(names, key=lambda name: name.count("/"))
    ]


def _lists_beside(images: Path, aligned: bool) -> list[ListFile]:
    """Lists in the folders around an image folder or zip, as CelebA is published and unpacked."""
    above = (images.parent, images.parent.parent) if aligned else (images.parent,)
    folders = [folder / part for folder in above for part in ("", "Anno", "Eval")]
    paths = [folder / f"{name}{suffix}" for folder in folders for name in OF_CELEBA for suffix in (".txt", ".csv")]
    own = images.with_name((images.name if images.is_dir() else images.stem) + ".csv")
    return [
        ListFile(str(path), partial(read_file, path), near=aligned or path == own)
        for path in (*paths, own)
        if path.is_file()
    ]


def _tables(lists: dict[str, ListFile], files: Sequence[str], numbered: bool) -> list[Table]:
    """The tables in the lists. For CelebA-HQ, those about CelebA's images go through the mapping."""
    mapping = read_mapping(lists[HQ_MAPPING].label, lists[HQ_MAPPING].text) if numbered and HQ_MAPPING in lists else {}
    superseded = HQ_ATTRIBUTES if not numbered else ATTRIBUTES if HQ_ATTRIBUTES in lists else ""
    bases = {key(normal(file)) for file in files for key in (basename, stem)}
    tables = []
    for name, entry in lists.items():
        if name in (HQ_MAPPING, superseded):
            continue
        table = read_list(entry.label, entry.text, bases) or Table(entry.label)
        table = replace(table, folder=entry.folder, near=entry.near, required=name in OF_CELEBA and entry.near)
        if numbered and name in OF_CELEBA and name != HQ_ATTRIBUTES:  # as a list of CelebA-HQ's numbers
            row_of = {listed: i for i, listed in enumerate(table.filenames)}
            pairs = [(row_of[listed], number) for number, listed in mapping.items() if listed in row_of]
            table = replace(table.rows([row for row, _ in pairs], [number for _, number in pairs]), required=False)
        tables.append(table)
    return tables


def _recognise(folder: str, lists: dict[str, ListFile], numbered: bool) -> tuple[str, tuple[int, int, int] | None]:
    """What to call a layout, and the official counts of its splits."""
    suffixes = {Path(lists[name].label).suffix for name in (ATTRIBUTES, PARTITION, IDENTITIES) if name in lists}
    if numbered or "CelebA-HQ-img" in folder:
        return "CelebA-HQ, numbered images", HQ_COUNTS
    if ".txt" in suffixes:
        return "CelebA with its text lists", CELEBA_COUNTS
    if suffixes:
        return "CelebA with csv lists, as on Kaggle", CELEBA_COUNTS
    if ALIGNED in folder:
        return "CelebA without its lists", CELEBA_COUNTS
    return "images", None


def _suffixes(tree: Tree) -> list[tuple[str, int]]:
    return sorted(Counter(splitext(name)[1].lower() or "no suffix" for name in tree.names).items())
