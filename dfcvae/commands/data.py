"""`dfcvae data`: look at data sets and prepare them."""

import dataclasses
from pathlib import Path
from typing import Any

from dfcvae.config import DataConfig
from dfcvae.data import SYNTHETIC, Rendering, load_faces, open_images
from dfcvae.data.cache import caches, caches_of, check
from dfcvae.data.describe import SHEET, contact_sheet, describe
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.errors import UserError
from dfcvae.images import grid, save_png, to_float


def data_info(arguments: Any) -> None:
    """Tell what data set lies at a path, and draw a contact sheet of it."""
    rendering = Rendering(arguments.size, arguments.channels, arguments.crop, arguments.filter)
    if arguments.source == SYNTHETIC:
        print(f"Synthetic faces, drawn on demand. {len(ATTRIBUTES)} attributes: {', '.join(ATTRIBUTES)}.")
        if arguments.sheet:
            faces, _ = render_faces(range(SHEET), size=arguments.size)
            print(f"Contact sheet: {save_png(grid(to_float(faces)), arguments.sheet)}")
        return
    if arguments.sheet and arguments.sheet.resolve().is_relative_to(Path(arguments.source).resolve()):
        raise UserError(f"{arguments.sheet} would lie among the images; choose another place for the contact sheet.")
    images = open_images(arguments.source, split_seed=arguments.split_seed)
    print(describe(images, rendering, full=arguments.full))
    if arguments.sheet:
        print(f"\nContact sheet: {save_png(contact_sheet(images, rendering), arguments.sheet)}")


def data_prepare(arguments: Any) -> None:
    """Decode a data set into the cache."""
    fields = {field.name for field in dataclasses.fields(DataConfig)} & vars(arguments).keys()
    config = DataConfig(**{name: getattr(arguments, name) for name in fields})
    if config.source == SYNTHETIC:
        raise UserError("Synthetic faces are drawn when they are needed; there is nothing to prepare.")
    splits = load_faces(config, workers=arguments.workers)
    print(", ".join(f"{name} {len(faces):,}" for name, faces in splits.items()))


def data_check(arguments: Any) -> None:
    """Verify the checksums of the caches of a data set, or of all caches."""
    found = (
        list(caches())
        if arguments.source is None
        else caches_of(open_images(arguments.source, split_seed=arguments.split_seed))
    )
    if not found:
        raise UserError("There is no decoded data to check; `dfcvae data prepare` makes it.")
    damaged = []
    for folder, about in found:
        problems = check(folder, about)
        print(f"{folder}: {'; '.join(problems) or 'good'}")
        damaged += [folder] if problems else []
    if damaged:
        raise UserError(
            f"{len(damaged)} of {len(found)} caches are damaged; delete their folders and prepare them again."
        )
