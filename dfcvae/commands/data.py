"""`dfcvae data`: describe data sets and prepare them."""

from dataclasses import replace
from pathlib import Path

from dfcvae.commands.arguments import Data
from dfcvae.config import DataConfig
from dfcvae.errors import UserError
from dfcvae.fields import Positive


def data_info(data: DataConfig, *, sheet: Path | None = None) -> None:
    """Describe a data set: layout, counts, sizes, attributes and faults.

    Args:
        data: the data set, and how its images are cropped and resized.
        sheet: draw a contact sheet of cropped images into this PNG.
    """
    from dfcvae.data import SYNTHETIC
    from dfcvae.data.celeba import open_images
    from dfcvae.data.decode import Rendering
    from dfcvae.data.describe import SHEET, contact_sheet, describe
    from dfcvae.data.synthetic import ATTRIBUTES, render_faces
    from dfcvae.images import grid, save_png, to_float
    from dfcvae.sheet import enlarge

    rendering = Rendering.of(data)
    if data.source == SYNTHETIC:
        print(f"Synthetic faces, drawn on demand. {len(ATTRIBUTES)} attributes: {', '.join(ATTRIBUTES)}.")
        if sheet:
            faces, _ = render_faces(range(SHEET), size=data.size)
            print(f"Contact sheet: {save_png(grid(enlarge(to_float(faces))), sheet)}")
        return
    if sheet and sheet.resolve().is_relative_to(Path(data.source).resolve()):
        raise UserError(f"{sheet} would be in the folder of the images; choose another folder for the contact sheet.")
    images = open_images(data.source, split_seed=data.split_seed)
    print(describe(images, rendering))
    if sheet:
        print(f"\nContact sheet: {save_png(grid(enlarge(contact_sheet(images, rendering))), sheet)}")


def data_prepare(data: DataConfig, *, workers: Positive | None = None, strict: bool = False) -> None:
    """Decode a data set into the cache ahead of training.

    Args:
        data: the data set, and how its images are cropped and resized.
        workers: decoding processes (default: one per processor).
        strict: refuse missing or unreadable images.
    """
    from dfcvae.data import SYNTHETIC, load_faces

    if data.source == SYNTHETIC:
        raise UserError("Synthetic faces are drawn on demand; there is nothing to prepare.")
    splits = load_faces(replace(data, strict=strict or data.strict), workers=workers)
    print(", ".join(f"{name} {len(faces):,}" for name, faces in splits.items()))


def data_check(source: Data | None = None, *, split_seed: int = 0) -> None:
    """Verify the checksums of decoded data.

    Args:
        source: default: all caches.
        split_seed: with which it was prepared.
    """
    from dfcvae.data.cache import caches, caches_of, check
    from dfcvae.data.celeba import open_images

    found = list(caches()) if source is None else caches_of(open_images(source, split_seed=split_seed))
    if not found:
        raise UserError("There is no decoded data to check; run `dfcvae data prepare` first.")
    corrupted = []
    for folder, about in found:
        problems = check(folder, about)
        print(f"{folder}: {'; '.join(problems) or 'good'}")
        corrupted += [folder] if problems else []
    if corrupted:
        raise UserError(
            f"{len(corrupted)} of {len(found)} caches are corrupted; delete their folders and prepare again."
        )
