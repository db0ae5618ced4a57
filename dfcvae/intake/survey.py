"""What the files of a set turn out to be when they are read: sizes, damage, duplicates."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dfcvae.errors import UserError
from dfcvae.intake.decode import Undecodable, decode
from dfcvae.intake.imageset import ImageSet

TINY = 32  # pixels of the shorter side: the smallest images that the networks are made for


class Look(NamedTuple):
    """One file that was read.

    Attributes:
        name: of the file.
        width, height: in pixels, upright; 0 if it could not be decoded.
        digest: of its bytes; empty if they could not be had.
        problem: why it is no image, or empty.
    """

    name: str
    width: int = 0
    height: int = 0
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in many looks.

    Attributes:
        count: files that were looked at.
        sizes: how many images there are of each (width, height), the most frequent first.
        unreadable: files that are no images, with the reason.
        duplicates: groups of files with the same bytes.
        tiny: images whose shorter side is below `TINY` pixels.
    """

    count: int
    sizes: dict[tuple[int, int], int]
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, ...], ...]
    tiny: tuple[str, ...]


def examine(images: ImageSet, i: int) -> tuple[Image.Image | None, Look]:
    """Image ``i`` decoded, or None, and what was seen of its file."""
    name, digest = images.filenames[i], ""
    try:
        data = images.files.read(i)
        digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        image = decode(data)
    except Undecodable as reason:
        return None, Look(name, digest=digest, problem=str(reason))
    return image, Look(name, image.width, image.height, digest)


def survey(looks: Iterable[Look]) -> Survey:
    """Sums up looks."""
    looks = list(looks)
    images = [look for look in looks if not look.problem]
    alike = defaultdict(list)
    for look in images:
        alike[look.digest].append(look.name)
    return Survey(
        len(looks),
        dict(Counter((look.width, look.height) for look in images).most_common()),
        tuple((look.name, look.problem) for look in looks if look.problem),
        tuple(tuple(names) for names in alike.values() if len(names) > 1),
        tuple(look.name for look in images if min(look.width, look.height) < TINY),
    )


def write_looks(path: Path, looks: Iterable[Look]) -> None:
    """Keeps looks as a csv file, one line each."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["file", "width", "height", "digest", "problem"])
        table.writerows(looks)


def read_looks(path: Path) -> list[Look]:
    """What `write_looks` wrote."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))[1:]
        return [Look(name, int(width), int(height), digest, problem) for name, width, height, digest, problem in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({error}). Delete the folder {path.parent} and start again.") from error
