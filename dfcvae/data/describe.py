"""A data set in words and as a contact sheet."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dfcvae.data.batches import SPLITS
from dfcvae.data.cache import Look, caches_of, examine, read_looks
from dfcvae.data.decode import Rendering
from dfcvae.data.folders import ImageSet
from dfcvae.errors import UserError, printable, some
from dfcvae.images import to_float

SAMPLE = 2_000  # files looked at: a few seconds
SHOWN = 40  # unreadable files named one by one
SHEET = 64  # faces on a contact sheet
TINY = 32  # pixels of the shorter side: the smallest images that the networks are made for


def describe(images: ImageSet, rendering: Rendering) -> str:
    """What was found, in lines of text for ``dfcvae data info``; of the rendering the crop."""
    made = caches_of(images)
    if made:
        looks, how = read_looks(made[0][0] / "files.csv"), ", when they were decoded"
    else:
        looks = [examine(images, i)[1] for i in _spread(len(images), SAMPLE)]
        how = "" if len(looks) == len(images) else ", evenly spread; all after `dfcvae data prepare`"
    rows = [("path", str(images.path)), *images.about, *findings(looks, rendering)]
    rows.append(("missing", f"{some(images.missing)}: listed, but not there" if images.missing else "none"))
    rows.append(("looked at", f"{len(looks):,} of {len(images):,} files{how}"))
    form = "{size} px, {channels} channels, crop {crop}, {filter}"
    decoded = [f"{form.format(**about['identity'])}: {folder}" for folder, about in made]
    rows.append(("decoded", "\n".join(decoded) or "not yet"))
    lines = [f"  {what:12}{which}".replace("\n", f"\n{'':14}") for what, which in rows]
    return "\n".join([images.layout, *lines, "", *_counts(images), "", *_attributes(images)])


def contact_sheet(images: ImageSet, rendering: Rendering) -> Tensor:
    """Faces (N, C, H, W) in [0, 1] from all over a data set; a UserError if none of the chosen files is an image."""
    chosen = _spread(len(images), SHEET)
    pictures = [examine(images, i)[0] for i in chosen]
    rendered = [rendering.render(picture) for picture in pictures if picture is not None]
    if not rendered:
        raise UserError(f"None of {len(chosen)} files of {images.path} is a readable image.")
    return to_float(torch.from_numpy(np.stack(rendered)))


def _spread(n: int, count: int) -> list[int]:
    """At most ``count`` numbers below ``n``, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int)).tolist() if n else []


def findings(looks: Sequence[Look], rendering: Rendering) -> Iterator[tuple[str, str]]:
    """What was found in files, and how the most frequent size is cropped, as (what, which)."""
    good = [look for look in looks if not look.problem]
    frequent = Counter((look.width, look.height) for look in good).most_common()
    sizes = [f"{width} x {height}: {count:,}" for (width, height), count in frequent]
    yield "sizes", _first(sizes, 5, f"{len(sizes) - 5:,} other sizes") or "-"
    if frequent:
        width, height = frequent[0][0]
        try:
            left, top, right, _ = rendering.box(width, height)
            crop = f"{right - left} x {right - left} from ({left}, {top}) of {width} x {height}"
        except UserError as error:
            crop = str(error)
        yield "crop", f"{rendering.crop}: {crop}"
    bad = [f"{printable(look.name)}: {look.problem}" for look in looks if look.problem]
    yield "unreadable", f"{len(bad):,}\n{_first(bad, SHOWN, f'and {len(bad) - SHOWN:,} more')}" if bad else "none"
    alike = defaultdict(list)
    for look in good:
        alike[look.digest].append(printable(look.name))
    groups = [" = ".join(names[:4]) for names in alike.values() if len(names) > 1]
    head = f"{len(groups):,} group{'s' * (len(groups) > 1)} of files with the same bytes"
    yield "duplicates", f"{head}\n{_first(groups, 5, '...')}" if groups else "none"
    tiny = [look.name for look in good if min(look.width, look.height) < TINY]
    yield "tiny", f"{some(tiny)}: below {TINY} pixels" if tiny else "none"


def _first(lines: Sequence[str], count: int, more: str) -> str:
    return "\n".join([*lines[:count], *[more] * (len(lines) > count)])


def _counts(images: ImageSet) -> Iterator[str]:
    counts = np.bincount(images.split, minlength=len(SPLITS)).tolist()
    official = images.official
    yield "  split       images" + ("    official count" if official else "")
    for i, name in enumerate((*SPLITS, "all")):
        full = f"{[*official, sum(official)][i]:18,}" if official else ""
        yield f"  {name:6}{[*counts, sum(counts)][i]:12,}{full}"


def _attributes(images: ImageSet) -> Iterator[str]:
    if not images.names:
        yield "  no attributes"
        return
    yield f"  {len(images.names)} attributes, share of images"
    wide = max(20, *(len(name) for name in images.names))
    shares = images.attributes.sum(axis=0) / max(1, len(images))
    cells = [f"  {name:{wide}}{share:7.1%}" for name, share in zip(images.names, shares, strict=True)]
    half = (len(cells) + 1) // 2
    for i in range(half):
        yield "   ".join(cells[i::half])
