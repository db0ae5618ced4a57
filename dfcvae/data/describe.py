"""What a data set is, in words and as a contact sheet."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dfcvae.data.cache import caches_of
from dfcvae.data.workers import in_chunks, workers_by_default
from dfcvae.errors import UserError, printable, some
from dfcvae.images import grid, to_float
from dfcvae.intake import SPLITS, ImageSet, quiet_pillow
from dfcvae.intake.rendering import Rendering
from dfcvae.intake.survey import TINY, Look, Survey, examine, read_looks, survey

SAMPLE = 10_000  # files looked at without being asked for all: a few seconds
SHOWN = 40  # unreadable files named one by one
SHEET = 64  # faces on a contact sheet


def describe(images: ImageSet, rendering: Rendering, *, full: bool = False, progress: bool = True) -> str:
    """What was found, in lines of text for ``dfcvae data info``.

    Args:
        images: an opened data set.
        rendering: whose crop is told.
        full: look at every file, however many there are. Files that were decoded into a cache are not looked at again.
        progress: show a bar on stderr.
    """
    made = caches_of(images)
    looks, how = _looks(images, made, full, progress)
    lines = [images.layout, *_line("path", str(images.path))]
    for what, which in images.about:
        lines += _line(what, which)
    lines += _findings(survey(looks), rendering)
    lines += _line("missing", f"{some(images.missing)}: listed, but not there" if images.missing else "none")
    lines += _line("looked at", how)
    lines += _lines("decoded", [f"{_rendering(about['identity'])}: {folder}" for folder, about in made] or ["not yet"])
    return "\n".join([*lines, "", *_counts(images), "", *_attributes(images)])


def contact_sheet(images: ImageSet, rendering: Rendering) -> Tensor:
    """Faces from all over a data set, cropped and resized, as one picture (3, H, W) in [0, 1].

    Raises:
        UserError: none of the chosen files is an image.
    """
    chosen = _spread(len(images), SHEET)
    with quiet_pillow():
        pictures = [examine(images, i)[0] for i in chosen]
    rendered = [rendering.render(picture) for picture in pictures if picture is not None]
    if not rendered:
        raise UserError(f"None of {len(chosen)} files of {images.path} is a readable image.")
    return grid(to_float(torch.from_numpy(np.stack(rendered))))


def _looks(images: ImageSet, made: Sequence[tuple[Path, Any]], full: bool, progress: bool) -> tuple[list[Look], str]:
    """What is known of the files: from a cache, or from looking at all or some of them."""
    if made:
        return read_looks(made[0][0] / "files.csv"), f"all {len(images):,} files, when they were decoded"
    chosen = range(len(images)) if full or len(images) <= SAMPLE else _spread(len(images), SAMPLE)
    looks = look_at(images, chosen, progress=progress)
    if len(chosen) == len(images):
        return looks, f"all {len(images):,} files"
    return looks, f"{len(chosen):,} of {len(images):,} files, evenly spread; --full looks at all"


def look_at(images: ImageSet, chosen: Sequence[int], *, progress: bool = True) -> list[Look]:
    """Decodes the chosen images, with all processors, and keeps what was seen of them, in their order."""
    looks: list[Look] = []
    with tqdm(total=len(chosen), desc="looking at images", unit=" images", disable=not progress, leave=False) as bar:
        for seen in in_chunks(partial(_look, images), chosen, workers_by_default()):
            looks += seen
            bar.update(len(seen))
    return looks


def _look(images: ImageSet, rows: Sequence[int]) -> list[Look]:
    with quiet_pillow():
        return [examine(images, i)[1] for i in rows]


def _spread(n: int, count: int) -> list[int]:
    """At most ``count`` numbers below ``n``, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int)).tolist() if n else []


def _findings(found: Survey, rendering: Rendering) -> Iterator[str]:
    sizes = [f"{width} x {height}: {count:,}" for (width, height), count in found.sizes.items()]
    yield from _lines("sizes", [*sizes[:5], *([f"{len(sizes) - 5:,} other sizes"] if len(sizes) > 5 else [])] or ["-"])
    if found.sizes:
        width, height = next(iter(found.sizes))
        try:
            left, top, right, _ = rendering.box(width, height)
            crop = f"{right - left} x {right - left} from ({left}, {top}) of {width} x {height}"
        except UserError as error:
            crop = str(error)
        yield from _line("crop", f"{rendering.crop}: {crop}")
    bad = [f"{printable(name)}: {problem}" for name, problem in found.unreadable]
    more = [f"and {len(bad) - SHOWN:,} more"] * (len(bad) > SHOWN)
    yield from _lines("unreadable", [f"{len(bad):,}", *bad[:SHOWN], *more] if bad else ["none"])
    groups = [" = ".join(printable(name) for name in group[:4]) for group in found.duplicates]
    alike = [
        f"{len(groups):,} group{'s' * (len(groups) > 1)} of files with the same bytes",
        *groups[:5],
        *["..."] * (len(groups) > 5),
    ]
    yield from _lines("duplicates", alike if groups else ["none"])
    yield from _line("tiny", f"{some(found.tiny)}: below {TINY} pixels" if found.tiny else "none")


def _counts(images: ImageSet) -> Iterator[str]:
    counts = np.bincount(images.split, minlength=len(SPLITS)).tolist()
    official = images.official
    yield "  split       images" + ("    official count" if official else "")
    for name, count, whole in zip(
        (*SPLITS, "all"),
        (*counts, sum(counts)),
        (*official, sum(official)) if official else (None,) * 4,
        strict=True,
    ):
        yield f"  {name:6}{count:12,}" + (f"{whole:18,}" if whole else "")


def _attributes(images: ImageSet) -> Iterator[str]:
    if not images.names:
        yield "  no attributes"
        return
    yield f"  {len(images.names)} attributes, share of images"
    shares = images.attributes.mean(axis=0) if len(images) else np.zeros(len(images.names))
    wide = max(20, *(len(name) for name in images.names))
    cells = [f"  {name:{wide}}{share:7.1%}" for name, share in zip(images.names, shares, strict=True)]
    half = (len(cells) + 1) // 2
    for i in range(half):
        yield "   ".join(cells[i::half])


def _rendering(made: dict[str, Any]) -> str:
    kind = "RGB" if made["channels"] == 3 else "luma"
    return f"{made['size']} px {kind}, crop {made['crop']}, {made['filter']}"


def _line(what: str, which: str) -> Iterator[str]:
    return _lines(what, [which])


def _lines(what: str, which: Sequence[str]) -> Iterator[str]:
    yield from (f"  {what if i == 0 else '':12}{text}" for i, text in enumerate(which))
