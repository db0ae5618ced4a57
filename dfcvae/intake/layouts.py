"""What lies at a path: CelebA in any of its layouts, or any folder or zip of images."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from posixpath import basename, splitext

from dfcvae.errors import UserError
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
    read_attributes,
    read_csv,
    read_identities,
    read_mapping,
    read_partition,
)
from dfcvae.intake.splits import CELEBA_COUNTS
from dfcvae.intake.trees import Folder, Tree, TreeImages, Zip, open_tree

ALIGNED = "img_align_celeba"
IMAGE_FOLDERS = (ALIGNED, f"{ALIGNED}_png", "CelebA-HQ-img")
"""Folders that hold the faces; what lies beside them is something else, such as masks or uncropped pictures."""

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
    if path.suffix == ".parquet":
        return _open_parquet([path], path, split_seed)
    outer = open_tree(path)
    tree, files = _find_images(outer)
    if not files:
        shards = [path / name for name in outer.names if name.endswith(".parquet")]
        if shards and path.is_dir():
            return _open_parquet(shards, path, split_seed)
        raise UserError(_nothing_found(path, outer))
    lists = dict(_lists_inside(outer)) or dict(_lists_inside(tree)) or dict(_lists_beside(tree.path))
    tables, mapping = _read_lists(lists)
    labels = join(files, tables, mapping, split_seed)
    common, filenames = relative_to_common_folder(labels.files)
    layout, official = _recognise(common, tables, mapping, tree)
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
    return tree, images


def _image_names(tree: Tree) -> list[str]:
    images = [name for name in tree.names if splitext(name)[1].lower() in SUFFIXES]
    for folder in IMAGE_FOLDERS:
        inside = [name for name in images if folder in name.split("/")[:-1]]
        if inside:
            return inside
    return images


def _lists_inside(tree: Tree) -> Iterator[tuple[str, str]]:
    """The lists of a tree, by label; of CelebA's own, that which lies highest."""
    found: dict[str, str] = {}
    for name in sorted(tree.names, key=lambda name: name.count("/")):
        base = basename(name)
        if base in READERS or base in (HQ_MAPPING, *CELEBA_CSV):
            found.setdefault(base, name)
        elif base.lower().endswith(".csv"):
            found[name] = name
    for name in found.values():
        try:
            yield str(tree.path / name), tree.read(name).decode("utf-8-sig", "replace")
        except Undecodable as error:
            raise UserError(f"The list {tree.path / name} could not be read: {error}. Correct or remove it.") from error


def _lists_beside(images: Path) -> Iterator[tuple[str, str]]:
    """Lists in the folders around an image folder or zip, as CelebA is published and unpacked."""
    names = (*READERS, HQ_MAPPING, *CELEBA_CSV)
    found: dict[str, Path] = {}
    for above in (images.parent, images.parent.parent):
        for folder in (above, above / "Anno", above / "Eval"):
            for name in names:
                if (folder / name).is_file():
                    found.setdefault(name, folder / name)
    if images.with_suffix(".csv").is_file():
        found["own"] = images.with_suffix(".csv")
    for path in found.values():
        yield str(path), path.read_text("utf-8-sig", errors="replace")


def _read_lists(lists: dict[str, str]) -> tuple[list[Table], dict[str, str]]:
    """The tables in them, and CelebA-HQ's mapping if it is there."""
    by_name = {basename(label.replace("\\", "/")): label for label in lists}
    mapping = read_mapping(by_name[HQ_MAPPING], lists[by_name[HQ_MAPPING]]) if HQ_MAPPING in by_name else {}
    superseded = {CELEBA_CSV[i] for i, name in enumerate((ATTRIBUTES, PARTITION)) if f"{name}.txt" in by_name}
    if HQ_ATTRIBUTES in by_name:
        superseded |= {f"{ATTRIBUTES}.txt", CELEBA_CSV[0]}
    tables = []
    for label, text in lists.items():
        name = basename(label.replace("\\", "/"))
        if name in READERS and name not in superseded:
            tables.append(READERS[name](label, text))
        elif name.lower().endswith(".csv") and name not in superseded:
            table = read_csv(label, text)
            tables += [table] if table else []
    return tables, mapping


def _recognise(
    folder: str, tables: Sequence[Table], mapping: dict[str, str], tree: Tree
) -> tuple[str, tuple[int, int, int] | None]:
    """What to call a layout, and the official counts of its splits."""
    lists = {basename(table.label) for table in tables}
    inside = "folder" if isinstance(tree, Folder) else "zip, read in place"
    if mapping or HQ_ATTRIBUTES in lists or "CelebA-HQ-img" in folder:
        return f"CelebA-HQ, numbered images ({inside})", HQ_COUNTS
    if lists & {f"{ATTRIBUTES}.txt", f"{PARTITION}.txt", IDENTITIES}:
        return f"CelebA with its text lists ({inside})", CELEBA_COUNTS
    if lists & set(CELEBA_CSV):
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
