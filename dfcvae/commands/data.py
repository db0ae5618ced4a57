"""`dfcvae data`: describe data sets and prepare them."""

from pathlib import Path
from typing import Literal

from dfcvae.config import DataConfig
from dfcvae.errors import UserError
from dfcvae.ranges import Positive

Filter = Literal["bilinear", "bicubic", "box"]


def data_info(
    source: str,
    *,
    sheet: Path | None = None,
    full: bool = False,
    size: int = 64,
    channels: int = 3,
    crop: int | str = "auto",
    filter: Filter = "bilinear",
    split_seed: int = 0,
) -> None:
    """Describe a data set: layout, counts, sizes, attributes and faults.

    Args:
        source: a folder of images, CelebA in any layout (folder, zip, parquet files), or 'synthetic'.
        sheet: draw a contact sheet into this PNG, cropped as below.
        full: examine every file of a set of more than 10,000.
        size: side of the square images in pixels: 32, 64, 128 or 256.
        channels: 3 (RGB) or 1 (grey).
        crop: side of the central square to keep, or authors, full or auto, as in training.
        filter: of the resize.
        split_seed: of the splits where the data set brings none.
    """
    from dfcvae.data import SYNTHETIC, Rendering, open_images
    from dfcvae.data.describe import SHEET, contact_sheet, describe
    from dfcvae.data.synthetic import ATTRIBUTES, render_faces
    from dfcvae.images import grid, save_png, to_float

    rendering = Rendering(size, channels, crop, filter)
    if source == SYNTHETIC:
        print(f"Synthetic faces, drawn on demand. {len(ATTRIBUTES)} attributes: {', '.join(ATTRIBUTES)}.")
        if sheet:
            faces, _ = render_faces(range(SHEET), size=size)
            print(f"Contact sheet: {save_png(grid(to_float(faces)), sheet)}")
        return
    if sheet and sheet.resolve().is_relative_to(Path(source).resolve()):
        raise UserError(f"{sheet} would lie among the images; choose another place for the contact sheet.")
    images = open_images(source, split_seed=split_seed)
    print(describe(images, rendering, full=full))
    if sheet:
        print(f"\nContact sheet: {save_png(contact_sheet(images, rendering), sheet)}")


def data_prepare(
    source: str,
    *,
    workers: Positive | None = None,
    size: int = 64,
    channels: int = 3,
    crop: int | str = "auto",
    filter: Filter = "bilinear",
    split_seed: int = 0,
    strict: bool = False,
) -> None:
    """Decode a data set into the cache ahead of training; resumes where it was interrupted.

    Args:
        source: a folder of images, or CelebA in any layout (folder, zip, parquet files).
        workers: decoding processes (default: one per processor).
        size: side of the square images in pixels: 32, 64, 128 or 256.
        channels: 3 (RGB) or 1 (grey).
        crop: side of the central square to keep, or authors, full or auto, as in training.
        filter: of the resize.
        split_seed: of the splits where the data set brings none.
        strict: refuse missing or unreadable images.
    """
    from dfcvae.data import SYNTHETIC, load_faces

    if source == SYNTHETIC:
        raise UserError("Synthetic faces are drawn on demand; there is nothing to prepare.")
    splits = load_faces(DataConfig(source, size, channels, crop, filter, split_seed, strict), workers=workers)
    print(", ".join(f"{name} {len(faces):,}" for name, faces in splits.items()))


def data_check(source: str | None = None, *, split_seed: int = 0) -> None:
    """Verify the checksums of decoded data.

    Args:
        source: a data set (default: all caches).
        split_seed: with which it was prepared.
    """
    from dfcvae.data import open_images
    from dfcvae.data.cache import caches, caches_of, check

    found = list(caches()) if source is None else caches_of(open_images(source, split_seed=split_seed))
    if not found:
        raise UserError("There is no decoded data to check; run `dfcvae data prepare` first.")
    damaged = []
    for folder, about in found:
        problems = check(folder, about)
        print(f"{folder}: {'; '.join(problems) or 'good'}")
        damaged += [folder] if problems else []
    if damaged:
        raise UserError(f"{len(damaged)} of {len(found)} caches are corrupted; delete their folders and prepare again.")
