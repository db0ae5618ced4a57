"""Broken, odd and hostile images, archives, lists and caches on the command line."""

import errno
import json
import os
import re
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from dfcvae import cli
from dfcvae.data.cache import FORMAT
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Undecodable
from tests import broken
from tests.bad_input import GIVEN, Case, cases, run
from tests.broken import ALBUM
from tests.hostile import hostile_files, raw_png
from tests.layouts import write

pytestmark = pytest.mark.usefixtures("desk")
HOSTILE = {name: content for name, (content, _) in hostile_files().items()}
JPEG = ALBUM.jpegs[5]
FOUR = "train 2, val 1, test 1"
EIGHT = "train [4-6], val [1-3], test [1-3]"
FIVE = "train 3, val 1, test 1|train 2, val 1, test 2|train 2, val 2, test 1"
PREPARE = "data prepare given/faces --size 8 --crop full"


# Images. What one cannot be read is left out, named, and refused with --strict.


def faces(others):
    broken.faces(GIVEN / "faces", **others)


def vast_image():
    """A link to a sparse file, which takes no room on the disk."""
    faces({})
    Path("x.png").touch()
    os.truncate("x.png", 2**40)
    (GIVEN / "faces" / "x.png").symlink_to(Path("x.png").absolute())


IMAGES = {  # the reasons of all hostile files are in data/test_decode.py
    "cut": (0, r"Left out: 1 unreadable \(x.jpg: corrupted or truncated[^;]*\)", {"x.jpg": HOSTILE["cut.jpg"]}),
    "bomb": (0, r"\(x.png: too many pixels\)", {"x.png": HOSTILE["bomb.png"]}),
    "bomb of 12 bytes a pixel": (0, r"\(x.png: too many pixels\)", {"x.png": raw_png(2, 8, b"\0", (30_000, 30_000))}),
    "of one pixel": (0, FIVE, {"x.png": HOSTILE["one pixel.png"]}),
}


# Archives. They are read in place: nothing is ever written where a member says.


def packed(members, method=zipfile.ZIP_DEFLATED, **says):
    return broken.zipped(GIVEN / "faces.zip", members, method, **says)


def damaged_member():
    path = packed(PICTURE, zipfile.ZIP_STORED)
    broken.flipped(path, path.read_bytes().index(JPEG) + 700)


def without_directory():
    path = packed({})
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1))


ZEROS, PICTURE = bytes(8 * 2**20), {"good/x.jpg": JPEG}  # zeros pack to a thousandth
BOMB, LIST = {"good/x.png": ZEROS}, {"labels.csv": ZEROS}
BAD_CHECKSUM = r"Left out: 1 unreadable \(x.\w+: corrupted in the zip: Bad CRC-32"
INCOMPLETE = "faces.zip is not a complete zip file .*Download it again"
OUTSIDE = {"../../evil.jpg": JPEG, "/evil.jpg": ALBUM.jpegs[6]}
WEB_PAGE = {"faces.zip": b"<!DOCTYPE html>Quota exceeded"}
ROOTED = {f"/{i}.jpg": ALBUM.jpegs[i] for i in range(4)}
ZIPS = {
    "with members that begin at the root": (0, EIGHT, lambda: packed(ROOTED)),
    "with members that lead out of it": (0, FIVE, lambda: packed(OUTSIDE)),
    "with a name of ten thousand digits": (0, FIVE, lambda: packed({f"good/{'7' * 10_000}.jpg": JPEG})),
    "bomb": (0, r"\(x.png: larger than 512 MB\)", lambda: packed(BOMB, file_size=2**32 - 2)),
    "bomb that says it is small": (0, BAD_CHECKSUM, lambda: packed(BOMB, file_size=1000)),
    "with a list that is a bomb": (1, "The list .* 512 MB", lambda: packed(LIST, file_size=2**32 - 2)),
    "with an encrypted member": (0, r"\(x.jpg: encrypted in the zip\)", lambda: packed(PICTURE, flag_bits=1)),
    "with a member that lies elsewhere": (0, "corrupted in the zip", lambda: packed(PICTURE, header_offset=10)),
    "with a damaged member": (0, BAD_CHECKSUM, damaged_member),
    "packed in a rare way": (0, "x.jpg: compressed .* by method 12, which", lambda: packed(PICTURE, compress_type=12)),
    "cut short": (1, INCOMPLETE, lambda: broken.cut(packed({}), 0.9)),
    "cut within its directory": (1, INCOMPLETE, without_directory),
    "that is a web page": (1, "It is a web page: the download was refused", lambda: write(GIVEN, WEB_PAGE)),
}


def test_a_zip_bomb_is_not_unpacked():
    images = open_images(packed(BOMB, file_size=1000))
    tracemalloc.start()
    try:
        for i in range(len(images)):
            with suppress(Undecodable):
                images.read(i)
        assert tracemalloc.get_traced_memory()[1] < 2**20  # of the 8 that it holds
    finally:
        tracemalloc.stop()


# Lists of attributes and splits.

ATTRIBUTES, PARTITION = ALBUM.attribute_lines(), ALBUM.partition_lines()


def text(lines):
    return "".join(f"{line}\n" for line in lines)


WHOLE = text(ATTRIBUTES)
ATTRIBUTE_LISTS = {
    "cut short": (1, "its first line says 24 images, but it lists 20", text(ATTRIBUTES[:-4])),
    "wrong count": (1, "its first line says 99 images", text(["99", *ATTRIBUTES[1:]])),
    "endless count": (1, "says 9+ images", text(["9" * 9999, *ATTRIBUTES[1:]])),
    "extra column": (1, "42 cells, but its header", WHOLE.replace(".jpg", ".jpg 1", 1)),
    "number too large": (1, "expected 1 or -1, got the value '300' in Attr", WHOLE.replace(" 1", " 300", 1)),
    "row cut short": (1, "Row 25 of .* has 3 cells, but its header 41", text([*ATTRIBUTES[:-1], "000024.jpg 1 -1"])),
    "39 names": (1, "Row 2 of .* has 41 cells, but its header 39", WHOLE.replace("Attribute_7 ", "", 1)),
    "two of a name": (1, "two columns of the same name", WHOLE.replace("Attribute_7 ", "Attribute_6 ", 1)),
    "web page": (1, "None of the images that .*txt names .first: Quota", text(["<html>", "Quota exceeded"])),
    "no rows": (1, "list_attr_celeba.txt lists no images", text(ATTRIBUTES[:2])),
    "empty": (1, "lists no images", ""),
    "zeros": (1, "lists no images", bytes(500)),
    "not text": (1, "is not UTF-8 text", bytes(range(128, 256))),
    "name twice": (1, "lists 000003.jpg more than once", WHOLE.replace("000004", "000003")),
    "in UTF-16": (0, "train 16, val 3, test 5", WHOLE.encode("utf-16")),
}
SPLIT_LISTS = {
    "missing rows": (0, "Not listed: 4 .*, left out", text(PARTITION[:-4])),
    "unknown split": (1, "unknown split '3'", text(["000001.jpg 3", *PARTITION[1:]])),
    "row cut short": (1, "Row 2 of .* has 1 cells, but its header 2", text(["000001.jpg", *PARTITION[1:]])),
    "empty": (1, "lists no images", ""),
    "of other images": (1, "is among the 24 images found", text(f"x{row}" for row in PARTITION)),
}


def rows(form):
    return "".join(form.format(i) for i in range(4))


CSVS = {
    "short row": (1, r"Row 3 of .*labels.csv has 1 cells, but its header 2", "file,Hat\n0.jpg,1\n1.jpg\n"),
    "long row": (1, r"Row 2 of .*labels.csv has 3 cells, but its header 2", "file,Hat\n0.jpg,1,1\n"),
    "file twice": (1, r"labels.csv lists 0.jpg more than once", "file,Hat\n0.jpg,1\n0.jpg,0\n"),
    "column twice": (1, r"two columns of the same name", "file,Hat,Hat\n0.jpg,1,0\n1.jpg,1,0\n"),
    "no header": (1, r"first row of .*labels.csv names an image", "0.jpg,1\n1.jpg,0\n"),
    "unknown split": (1, r"unknown split 'holdout'; use train, val and test", "file,split\n0.jpg,holdout\n"),
    "endless cell": (1, r"labels.csv is not a valid CSV file \(field larger", f"file,Hat\n0.jpg,{'1' * 200_000}\n"),
    "semicolons, mark and Windows line ends": (0, FOUR, "\ufefffile;Hat\r\n" + rows("{}.jpg;1\r\n")),
    "extra column of words": (0, FOUR, "file,Hat,mood\n" + rows("{}.jpg,1,good\n")),
    "empty": (0, FOUR, ""),
}


# The cache of decoded images.


def cached(damage):
    """A folder of faces, decoded; then something happens to its cache."""
    faces({})
    assert cli.main(PREPARE.split()) == 0
    damage(next(Path("cache").glob("8px-*")))


def of_an_earlier_version(cache):
    old = cache.rename(cache.with_name("8px-0123456789abcdef"))
    identity = json.loads((old / "cache.json").read_text())["identity"]
    broken.edited_json(old / "cache.json", identity=identity | {"format": FORMAT - 1})


def saved(name, array):
    return lambda cache: np.save(cache / name, array)


DAMAGE = {
    "cut short": lambda cache: broken.cut(cache / "images.npy"),
    "without its labels": lambda cache: (cache / "attributes.npy").unlink(),
    "with a flipped bit in its split": lambda cache: broken.flipped(cache / "split.npy", -1),
    "with a flipped bit in its labels' head": lambda cache: broken.flipped(cache / "attributes.npy", 60),
    "described by a list": lambda cache: (cache / "cache.json").write_text("[]"),
    "described by nothing": lambda cache: (cache / "cache.json").write_bytes(b""),
    "of pickles": saved("split.npy", np.array([broken.Malicious()] * 4, object)),
    "of floats": saved("images.npy", np.zeros((4, 3, 8, 8))),
    "of another shape": saved("images.npy", np.zeros((4, 8, 8), np.uint8)),
}
CACHES = {
    name: (1, "are corrupted: .* Delete this folder and start again", damage) for name, damage in DAMAGE.items()
} | {"of an earlier version is left alone": (0, FOUR, of_an_earlier_version)}


def test_a_cache_on_a_read_only_file_system(monkeypatch, capsys):
    """It is read if it is there, and if not, a sentence says that it cannot be written."""

    def read_only(path, *_, **__):  # root may write where permissions forbid it
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    cached(lambda cache: None)
    monkeypatch.setattr(os, "mkdir", read_only)
    assert cli.main(PREPARE.split()) == 0
    assert re.search(FOUR, capsys.readouterr().out)
    monkeypatch.setenv("DFCVAE_CACHE", "another")
    assert cli.main(PREPARE.split()) == 1
    assert re.search(r"decoded images to another: Read-only file system.*DFCVAE_CACHE", capsys.readouterr().err)


CELEBA, NO_CACHE = "data prepare given/celeba --size 8", "Could not write the decoded images to .*cache.*DFCVAE_CACHE"
CASES = {
    **cases("image", PREPARE, faces, IMAGES),
    "image larger than any": Case(0, r"\(x.png: larger than 512 MB\)", PREPARE, vast_image),
    **cases("zip", "data prepare given/faces.zip --size 8", lambda make: make(), ZIPS),
    **cases("attributes", CELEBA, lambda text: broken.celeba(GIVEN / "celeba", list_attr_celeba=text), ATTRIBUTE_LISTS),
    **cases("split", CELEBA, lambda text: broken.celeba(GIVEN / "celeba", list_eval_partition=text), SPLIT_LISTS),
    **cases("csv", PREPARE, lambda text: faces({"labels.csv": text.encode()}), CSVS),
    **cases("cache", PREPARE, cached, CACHES),
    "cache in a folder that is a file": Case(1, NO_CACHE, PREPARE, lambda: (faces({}), Path("cache").touch())),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_data(name, capsys):
    run(CASES[name], capsys)
