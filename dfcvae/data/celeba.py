"""What is at a path: CelebA in any of its layouts, or any folder or zip of images."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import basename, splitext

from dfcvae.data.decode import SUFFIXES, Undecodable
from dfcvae.data.folders import Folder, ImageSet, Tree, TreeImages, Zip, read_file
from dfcvae.data.labels import CELEBA_COUNTS, join, relative_to_common_folder, stem
from dfcvae.data.lists import (
    ATTRIBUTES,
    CELEBA_CSV,
    HQ_ATTRIBUTES,
    HQ_MAPPING,
    IDENTITIES,
    OF_CELEBA,
    PARTITION,
    READERS,
    Table,
    normal,
    read_csv,
    read_mapping,
)
from dfcvae.errors import UserError, some

ALIGNED = "img_align_celeba"
IMAGE_FOLDERS = (ALIGNED, f"{ALIGNED}_png", "CelebA-HQ-img")
"""Folders that hold the faces; beside them are other images, such as masks or uncropped pictures."""

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
    lists = _lists_beside(tree.path, aligned) | _lists_inside(tree)
    if tree is not outer:
        lists |= _lists_inside(outer)
    numbered = (
        not aligned
        and all(stem(name).isdecimal() for name in files)
        and not {HQ_MAPPING, HQ_ATTRIBUTES}.isdisjoint(lists)
    )
    labels = join(files, _read_lists(lists, files, numbered), split_seed, numbered)
    common, filenames = relative_to_common_folder(labels.files)
    images = tree.path / common if isinstance(tree, Folder) else tree.path
    kind, official = _recognise(str(tree.path / common), lists, numbered)
    # a folder of HEIC files should not look empty
    others = [(suffix, n) for suffix, n in _suffixes(outer) if suffix not in {*SUFFIXES, ".csv", ".txt", ".zip"}]
    not_read = [("not read", ", ".join(f"{n:,} {suffix}" for suffix, n in others))] * bool(others)
    return ImageSet(
        images,
        f"{kind} ({'folder' if isinstance(tree, Folder) else 'zip, read in place'})",
        TreeImages(tree, labels.files),
        tuple(filenames),
        labels.attributes,
        labels.names,
        labels.split,
        labels.missing,
        (*labels.about, *not_read),
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
    """A file that may be a list: its path, its content, and whether it is with the images."""

    label: str
    data: bytes
    near: bool = True

    @property
    def text(self) -> str:
        """The content as text."""
        coding = "utf-16" if self.data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        try:
            return self.data.decode(coding)
        except UnicodeDecodeError as error:
            raise UserError(f"The list {self.label} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error


def _lists_inside(tree: Tree) -> dict[str, ListFile]:
    """The lists of a tree, by name: CelebA's own by the last part of it, and of several the least nested."""
    found: dict[str, str] = {}
    for name in sorted(tree.names, key=lambda name: name.count("/")):
        if basename(name) in OF_CELEBA:
            found.setdefault(basename(name), name)
        elif name.lower().endswith(".csv"):
            found[name] = name
    try:
        return {base: ListFile(str(tree.path / name), tree.read(name)) for base, name in found.items()}
    except Undecodable as error:
        raise UserError(f"A list in {tree.path} could not be read: {error}. Correct or remove it.") from error


def _lists_beside(images: Path, aligned: bool) -> dict[str, ListFile]:
    """Lists in the folders around an image folder or zip, as CelebA is published and unpacked."""
    found: dict[str, Path] = {}
    for above in (images.parent, images.parent.parent) if aligned else (images.parent,):
        for folder in (above, above / "Anno", above / "Eval"):
            for name in OF_CELEBA:
                if (folder / name).is_file():
                    found.setdefault(name, folder / name)
    own = images.with_name((images.name if images.is_dir() else images.stem) + ".csv")
    paths = found | ({own.name: own} if own.is_file() else {})
    lists = {}
    for name, path in paths.items():
        try:
            lists[name] = ListFile(str(path), read_file(path), near=aligned or path == own)
        except Undecodable as error:
            raise UserError(f"The list {path} could not be read: {error}. Correct or remove it.") from error
    return lists


def _read_lists(lists: dict[str, ListFile], files: Sequence[str], numbered: bool) -> list[Table]:
    """The tables in them. For CelebA-HQ, those about CelebA's images go through the mapping."""
    mapping = read_mapping(lists[HQ_MAPPING].label, lists[HQ_MAPPING].text) if numbered and HQ_MAPPING in lists else {}
    superseded = {HQ_MAPPING} | {csv for csv in CELEBA_CSV if csv.replace(".csv", ".txt") in lists}
    if not numbered:
        superseded.add(HQ_ATTRIBUTES)
    elif HQ_ATTRIBUTES in lists:
        superseded |= {f"{ATTRIBUTES}.txt", CELEBA_CSV[0]}
    bases = {key(normal(file)) for file in files for key in (basename, stem)}
    tables = []
    for name, entry in lists.items():
        if name in superseded:
            continue
        if name in READERS:
            table = READERS[name](entry.label, entry.text)
        else:
            table = read_csv(entry.label, entry.text, () if name in CELEBA_CSV else bases) or Table(entry.label)
        table = replace(table, near=entry.near, required=name in OF_CELEBA and entry.near)
        if numbered and name in OF_CELEBA and name != HQ_ATTRIBUTES:  # as a list of CelebA-HQ's numbers
            row_of = {listed: i for i, listed in enumerate(table.filenames)}
            pairs = [(row_of[listed], number) for number, listed in mapping.items() if listed in row_of]
            table = replace(table.rows([row for row, _ in pairs], [number for _, number in pairs]), required=False)
        tables.append(table)
    return tables


def _recognise(folder: str, lists: dict[str, ListFile], numbered: bool) -> tuple[str, tuple[int, int, int] | None]:
    """What to call a layout, and the official counts of its splits."""
    if numbered or "CelebA-HQ-img" in folder:
        return "CelebA-HQ, numbered images", HQ_COUNTS
    if {f"{ATTRIBUTES}.txt", f"{PARTITION}.txt", IDENTITIES} & set(lists):
        return "CelebA with its text lists", CELEBA_COUNTS
    if set(lists) & set(CELEBA_CSV):
        return "CelebA with csv lists, as on Kaggle", CELEBA_COUNTS
    if ALIGNED in folder:
        return "CelebA without its lists", CELEBA_COUNTS
    return "images", None


def _suffixes(tree: Tree) -> list[tuple[str, int]]:
    return sorted(Counter(splitext(name)[1].lower() or "no suffix" for name in tree.names).items())
