"""What lies at a path: CelebA in any of its layouts, or any folder or zip of images."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import basename, splitext

from dfcvae.errors import UserError, some
from dfcvae.intake.decode import SUFFIXES, Undecodable
from dfcvae.intake.imageset import ImageSet
from dfcvae.intake.labels import join, relative_to_common_folder
from dfcvae.intake.lists import (
    ATTRIBUTES,
    CELEBA_CSV,
    HQ_ATTRIBUTES,
    HQ_MAPPING,
    IDENTITIES,
    PARTITION,
    Table,
    normal,
    read_attributes,
    read_csv,
    read_identities,
    read_mapping,
    read_partition,
)
from dfcvae.intake.splits import CELEBA_COUNTS, stem
from dfcvae.intake.trees import Folder, Tree, TreeImages, Zip, open_tree, read_file

ALIGNED = "img_align_celeba"
IMAGE_FOLDERS = (ALIGNED, f"{ALIGNED}_png", "CelebA-HQ-img")
"""Folders that hold the faces; what lies beside them is something else, such as masks or uncropped pictures."""

FEW = 20  # images that may as well be illustrations of a zip or of parquet files beside them
READERS = {
    f"{ATTRIBUTES}.txt": read_attributes,
    f"{PARTITION}.txt": read_partition,
    IDENTITIES: read_identities,
    HQ_ATTRIBUTES: read_attributes,
}
HQ_COUNTS = 24_183, 2_993, 2_824


def open_images(path: str | Path, *, split_seed: int = 0) -> ImageSet:
    """Recognises what lies at a path, reads its lists and looks for every image; decodes none.

    Args:
        path: a folder, a zip or a parquet file. See ``docs/celeba.md`` for the layouts.
        split_seed: of the splits that a data set does not bring itself.

    Raises:
        UserError: there are no images, or a list is malformed or does not belong to them.
    """
    path = Path(os.path.abspath(Path(path).expanduser()))
    if not path.exists():
        raise UserError(f"There is no {path}. Expected a folder of images, CelebA's folder or zip, or parquet files.")
    if path.is_file() and path.suffix.lower() not in (".zip", ".parquet"):
        raise UserError(
            f"{path} is neither a folder nor a zip nor a parquet file. Unpack an archive of another kind first."
        )
    if path.suffix.lower() == ".parquet":
        return _open_parquet([path], path, split_seed)
    outer = open_tree(path)
    tree, files = _find_images(outer)
    if not files:
        shards = [path / name for name in outer.names if name.lower().endswith(".parquet")]
        if shards and path.is_dir():
            return _open_parquet(shards, path, split_seed)
        raise UserError(_nothing_found(path, outer))
    aligned = any(ALIGNED in part for part in (*tree.path.parts[-2:], *files[0].split("/")[:-1]))
    lists = _lists_beside(tree.path, aligned) | _lists_inside(tree) | _lists_inside(outer)
    numbered = (
        not aligned
        and all(stem(name).isdecimal() for name in files)
        and not {HQ_MAPPING, HQ_ATTRIBUTES}.isdisjoint(lists)
    )
    tables = _read_lists(lists, files, numbered)
    labels = join(files, tables, split_seed, numbered)
    common, filenames = relative_to_common_folder(labels.files)
    layout, official = _recognise(common, [*lists], numbered, tree)
    return ImageSet(
        tree.path / common if isinstance(tree, Folder) else tree.path,
        layout,
        TreeImages(tree, labels.files),
        tuple(filenames),
        labels.attributes,
        labels.names,
        labels.split,
        labels.missing,
        (*labels.about, *_other_files(outer)),
        official,
    )


def _open_parquet(shards: list[Path], path: Path, split_seed: int) -> ImageSet:
    from dfcvae.intake.parquet import open_parquet  # its library is an extra

    return open_parquet(shards, path, split_seed)


def _find_images(tree: Tree) -> tuple[Tree, list[str]]:
    """The tree that holds the images (a zip inside a folder, if there is one) and their names in it."""
    images = _image_names(tree)
    if isinstance(tree, Folder):
        zips = [name for name in tree.names if name.lower().endswith(".zip")]
        official = [name for name in zips if basename(name) == f"{ALIGNED}.zip"]
        if official or (len(zips) == 1 and not images):
            inner = Zip.open(tree.path / (official or zips)[0])
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
class List:
    """A file that may be a list: where it lies, its content, and whether it is with the images."""

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
            raise UserError(f"The list {self.label} is not UTF-8 text ({error.reason}). Save it as such.") from error


def _lists_inside(tree: Tree) -> dict[str, List]:
    """The lists of a tree, by name: CelebA's own by the last part of it, and then that which lies highest."""
    found: dict[str, str] = {}
    for name in sorted(tree.names, key=lambda name: name.count("/")):
        base = basename(name)
        if base in READERS or base in (HQ_MAPPING, *CELEBA_CSV):
            found.setdefault(base, name)
        elif base.lower().endswith(".csv"):
            found[name] = name
    try:
        return {base: List(str(tree.path / name), tree.read(name)) for base, name in found.items()}
    except Undecodable as error:
        raise UserError(f"A list in {tree.path} could not be read: {error}. Correct or remove it.") from error


def _lists_beside(images: Path, aligned: bool) -> dict[str, List]:
    """Lists in the folders around an image folder or zip, as CelebA is published and unpacked."""
    names = (*READERS, HQ_MAPPING, *CELEBA_CSV)
    found: dict[str, Path] = {}
    for above in (images.parent, images.parent.parent) if aligned else (images.parent,):
        for folder in (above, above / "Anno", above / "Eval"):
            for name in names:
                if (folder / name).is_file():
                    found.setdefault(name, folder / name)
    lists = {name: List(str(path), _content(path), near=aligned) for name, path in found.items()}
    own = images.with_name((images.name if images.is_dir() else images.stem) + ".csv")
    return lists | ({own.name: List(str(own), _content(own))} if own.is_file() else {})


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except Undecodable as error:
        raise UserError(f"The list {path} could not be read: {error}. Correct or remove it.") from error


def _read_lists(lists: dict[str, List], files: Sequence[str], numbered: bool) -> list[Table]:
    """The tables in them. Of CelebA-HQ, what is said of CelebA's images goes through the mapping."""
    mapping = read_mapping(lists[HQ_MAPPING].label, lists[HQ_MAPPING].text) if numbered and HQ_MAPPING in lists else {}
    superseded = {HQ_MAPPING} | {csv for csv in CELEBA_CSV if csv.replace(".csv", ".txt") in lists}
    if numbered and HQ_ATTRIBUTES in lists:
        superseded |= {f"{ATTRIBUTES}.txt", CELEBA_CSV[0]}
    if not numbered:
        superseded.add(HQ_ATTRIBUTES)
    bases = {key(normal(file)) for file in files for key in (basename, stem)}
    tables = []
    for name, entry in lists.items():
        if name in superseded:
            continue
        of_celeba = name in READERS or name in CELEBA_CSV
        table = (
            READERS[name](entry.label, entry.text)
            if name in READERS
            else read_csv(entry.label, entry.text, () if of_celeba else bases)
        ) or Table(entry.label, (), required=False)
        table = replace(table, near=entry.near, required=of_celeba and entry.near)
        if numbered and of_celeba and name != HQ_ATTRIBUTES:
            table = _through(mapping, table)
        tables.append(table)
    return tables


def _through(mapping: dict[str, str], table: Table) -> Table:
    """A list of CelebA's files as one of CelebA-HQ's numbers; an empty one if the numbers are not known."""
    row_of = {name: i for i, name in enumerate(table.filenames)}
    pairs = [(row_of[original], number) for number, original in mapping.items() if original in row_of]
    return replace(table.rows([row for row, _ in pairs], [number for _, number in pairs]), required=False)


def _recognise(
    folder: str, lists: Sequence[str], numbered: bool, tree: Tree
) -> tuple[str, tuple[int, int, int] | None]:
    """What to call a layout, and the official counts of its splits."""
    inside = "folder" if isinstance(tree, Folder) else "zip, read in place"
    if numbered or "CelebA-HQ-img" in str(tree.path / folder):
        return f"CelebA-HQ, numbered images ({inside})", HQ_COUNTS
    if {f"{ATTRIBUTES}.txt", f"{PARTITION}.txt", IDENTITIES} & set(lists):
        return f"CelebA with its text lists ({inside})", CELEBA_COUNTS
    if set(lists) & set(CELEBA_CSV):
        return f"CelebA with csv lists, as on Kaggle ({inside})", CELEBA_COUNTS
    if ALIGNED in str(tree.path / folder):
        return f"CelebA without its lists ({inside})", CELEBA_COUNTS
    return f"images ({inside})", None


def _other_files(tree: Tree) -> list[tuple[str, str]]:
    """What is neither image nor list, by suffix: a folder of HEIC files should not look empty."""
    others = [(suffix, count) for suffix, count in _suffixes(tree) if suffix not in {*SUFFIXES, ".csv", ".txt", ".zip"}]
    return [("not read", ", ".join(f"{count:,} {suffix}" for suffix, count in others))] if others else []


def _suffixes(tree: Tree) -> list[tuple[str, int]]:
    return sorted(Counter(splitext(name)[1].lower() or "no suffix" for name in tree.names).items())


def _nothing_found(path: Path, tree: Tree) -> str:
    files = ", ".join(f"{count:,} {suffix}" for suffix, count in _suffixes(tree))
    found = f" It holds {files}." if files else ""
    return (
        f"{path} holds no images.{found} Expected JPEG, PNG, WebP, BMP or TIFF files, CelebA's {ALIGNED}.zip, "
        "or parquet files."
    )
