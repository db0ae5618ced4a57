"""Whatever a file or an argument holds, the command line ends in a sentence, and the files it was given are as before.

Each case makes files below ``given/`` and names a command. Told are the exit status (0: it worked, 1: a failure, 2: a
mistaken command line or configuration) and what must be said. Cases that ought to work are cases too.
"""

import errno
import functools
import json
import os
import re
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dfcvae import cli
from dfcvae.data import open_images
from dfcvae.data.cache import FORMAT
from dfcvae.data.decode import Undecodable
from dfcvae.vgg import vgg_layers
from dfcvae.weights import load_vgg_weights
from tests import broken
from tests.broken import ALBUM, CANARY
from tests.conftest import tiny_experiment
from tests.hostile import encoded, hostile_files, reference
from tests.layouts import write_images

GIVEN = Path("given")
PREPARE = ["data", "prepare", "given/faces", "--size", "8", "--crop", "full"]
ALL = "train 3, val 1, test 1|train 2, val 1, test 2|train 2, val 2, test 1"  # of 5 pictures
FOUR = "train 2, val 1, test 1"
HOSTILE = hostile_files()
TINY = tiny_experiment().as_dict()


@dataclass(frozen=True)
class Case:
    """One fault: the command that meets it, its exit status, and what is said."""

    name: str
    status: int
    says: str
    build: Callable[[], list[str]]


CASES: list[Case] = []


def case(name: str, status: int, says: str) -> Callable[[Callable[[], list[str]]], None]:
    """Enter a function into the table: it makes files below ``given/`` and returns the command."""
    return lambda build: CASES.append(Case(name, status, says, build))


def simple(name: str, status: int, says: str, build: Callable[[], object], *argv: str) -> None:
    """The same for a builder whose result does not matter."""

    def prepared() -> list[str]:
        build()
        return list(argv)

    CASES.append(Case(name, status, says, prepared))


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 8)
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_TRAIN", 16)


def pytest_generate_tests(metafunc):
    if "bad" in metafunc.fixturenames:
        # neighbours are alike: every second one waits for the slow tier
        tiers = [(), pytest.mark.slow]
        chosen = [pytest.param(one, id=one.name, marks=tiers[i % 2]) for i, one in enumerate(CASES)]
        metafunc.parametrize("bad", chosen)


def test_bad_input(bad, tmp_path, capsys):
    argv = bad.build()
    before = broken.tree_of(GIVEN)
    capsys.readouterr()
    status = cli.main(argv)
    told = capsys.readouterr()
    shown = told.err + told.out
    assert re.search(bad.says, shown), shown
    assert status == bad.status, shown
    assert "Traceback" not in shown
    assert "weights_only" not in shown  # PyTorch advises to go without it, and so to execute the file
    assert broken.tree_of(GIVEN) == before
    assert not (tmp_path / CANARY).exists()
    assert (status == 0) == ("\ndfcvae: " not in f"\n{told.err}")


# Images. What one cannot be read is left out, named, and refused with --strict.

for name, shown in {
    "cut.jpg": "corrupted or truncated",
    "cut by 200 bytes.jpg": "corrupted or truncated",
    "empty.jpg": "empty file",
    "text.png": "not a JPEG, PNG, WebP, BMP or TIFF image",
    "web page.jpg": "a web page",
    "gif called jpg.jpg": "a GIF image",
    "bomb.png": "too many pixels",
    "floats.tif": "its pixels are 32-bit numbers",
    "flipped byte.png": "corrupted or truncated",
}.items():
    simple(
        f"image {name}",
        0,
        rf"Left out: 1 unreadable \({re.escape(name)}: {shown}[^;]*\)",
        functools.partial(lambda name: broken.faces(GIVEN / "faces", **{name: HOSTILE[name][0]}), name),
        *PREPARE,
    )


@case("image unreadable, strict", 1, r"1 images of .*faces are unreadable \(x.jpg: empty file\). Complete the data set")
def _() -> list[str]:
    broken.faces(GIVEN / "faces", **{"x.jpg": b""})
    return [*PREPARE, "--strict"]


@case("image bomb of 12 bytes a pixel", 0, r"Left out: 1 unreadable \(x.png: too many pixels\)")
def _() -> list[str]:
    broken.faces(GIVEN / "faces", **{"x.png": broken.wide_png(30_000, 30_000)})
    return PREPARE


@case(
    "image only unreadable ones", 1, r"None of the 1 files of .*faces is a readable image; the first one, a.jpg: empty"
)
def _() -> list[str]:
    (GIVEN / "faces").mkdir(parents=True)
    (GIVEN / "faces" / "a.jpg").write_bytes(b"")
    return PREPARE


@case("image file without an end", 1, r"endless.png is not a readable image \(not a regular file\)")
def _() -> list[str]:
    broken.model(GIVEN / "model")
    Path("endless.png").symlink_to("/dev/zero")
    return ["reconstruct", "given/model", "endless.png"]


@case("image larger than any", 0, r"Left out: 1 unreadable \(x.png: larger than 512 MB\)")
def _() -> list[str]:
    broken.faces(GIVEN / "faces")
    Path("x.png").touch()
    os.truncate("x.png", 2**40)  # of zeros, which take no room on the disk
    (GIVEN / "faces" / "x.png").symlink_to(Path("x.png").absolute())
    return PREPARE


def is_reference(pixels: np.ndarray, tolerance: float) -> bool:
    """Whether an array (3, 8, 8) is the reference picture made small."""
    expected = np.asarray(reference().crop((0, 12, 96, 108)).resize((8, 8), Image.Resampling.BILINEAR))
    return bool(np.abs(pixels.transpose(1, 2, 0).astype(float) - expected).max() <= tolerance)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("rgb called jpg.jpg", 1),  # a PNG
        ("exif/orientation 6.jpg", 8),
        ("exif/orientation 3.jpg", 8),
        ("turned by exif.png", 1),
        ("cmyk.jpg", 8),
        ("16 bit rgb.png", 1),
        ("animated.png", 1),
        ("animated.webp", 1),
        ("opaque alpha.png", 1),
        ("palette, one entry transparent.png", 40),
        ("corrupt exif.jpg", 8),
        ("trailing garbage.jpg", 8),
    ],
)
def test_odd_images_are_read_right(name, tolerance, tmp_path, capsys):
    """One odd picture alone, as a folder of its own: what is decoded is the reference, upright and in its colours."""
    (GIVEN / "faces").mkdir(parents=True)
    (GIVEN / "faces" / Path(name).name).write_bytes(HOSTILE[name][0])
    before = broken.tree_of(GIVEN)
    assert cli.main(PREPARE) == 0
    assert "Left out" not in capsys.readouterr().err
    pixels = np.load(next(tmp_path.glob("cache/8px-*/images.npy")))
    assert is_reference(pixels[0], tolerance)
    assert broken.tree_of(GIVEN) == before


@case("image of one pixel", 0, ALL)
def _() -> list[str]:
    broken.faces(GIVEN / "faces", **{"x.png": encoded(reference().crop((0, 0, 1, 1)), "PNG")})
    return PREPARE


@case("image of one pixel, looked at", 0, r"tiny +1 \(x.png\): below 32 pixels")
def _() -> list[str]:
    broken.faces(GIVEN / "faces", **{"x.png": encoded(reference().crop((0, 0, 1, 1)), "PNG")})
    return ["data", "info", "given/faces"]


OVERWRITTEN = "given/a.png would overwrite given/a.png, which is one of the images to read; choose another"


@case("image to be overwritten by its own reconstruction", 1, OVERWRITTEN)
def _() -> list[str]:
    broken.model(GIVEN / "model")
    (GIVEN / "a.png").write_bytes(broken.picture())
    return ["reconstruct", "given/model", "given/a.png", "--out", "given/a.png"]


@case("image to be overwritten by its own edit", 1, OVERWRITTEN)
def _() -> list[str]:
    broken.vectors(broken.model(GIVEN / "model"))
    (GIVEN / "a.png").write_bytes(broken.picture())
    return ["edit", "given/model", "given/a.png", "Smiling=1", "--out", "./given/a.png"]


# Archives. They are read in place: nothing is ever written where a member says.

ZIP = "given/faces.zip"
PREPARE_ZIP = ["data", "prepare", ZIP, "--size", "8"]


@case("zip with a damaged member", 0, r"Left out: 1 unreadable \(x.jpg: corrupted in the zip: Bad CRC-32.*\)")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.jpg": ALBUM.jpegs[5]}, zipfile.ZIP_STORED)
    broken.flipped(path, path.read_bytes().index(ALBUM.jpegs[5]) + 700)
    return PREPARE_ZIP


@case("zip with members that lead out of it", 0, "train 3, val 1, test 1")  # what begins with a dot is hidden
def _() -> list[str]:
    broken.zipped(GIVEN / "faces.zip", {"../../evil.jpg": ALBUM.jpegs[5], "/evil.jpg": ALBUM.jpegs[6]})
    return PREPARE_ZIP


@case("zip whose members all begin at the root", 0, "train 2, val 1, test 1")
def _() -> list[str]:
    GIVEN.mkdir()
    with zipfile.ZipFile(ZIP, "w") as archive:
        for i in range(4):
            archive.writestr(zipfile.ZipInfo(f"/{i}.jpg"), ALBUM.jpegs[i])
    return PREPARE_ZIP


@case("zip bomb", 0, r"Left out: 1 unreadable \(x.png: larger than 512 MB\)")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.png": broken.bomb()})
    broken.headers(path, "good/x.png", broken.said_to_be(2**32 - 2))
    return PREPARE_ZIP


@case("zip bomb that says it is small", 0, r"Left out: 1 unreadable \(x.png: corrupted in the zip: Bad CRC-32.*\)")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.png": broken.bomb()})
    broken.headers(path, "good/x.png", broken.said_to_be(1000))
    return PREPARE_ZIP


@case("zip with a list that is a bomb", 1, r"A list in .*faces.zip could not be read: larger than 512 MB")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"labels.csv": broken.bomb()})
    broken.headers(path, "labels.csv", broken.said_to_be(2**32 - 2))
    return PREPARE_ZIP


@case("zip with folders in folders", 0, FOUR + "|" + ALL)
def _() -> list[str]:
    broken.zipped(GIVEN / "faces.zip", {"good/a/b/c/d/x.jpg": ALBUM.jpegs[5]})
    return PREPARE_ZIP


@case("zip without a member that its list has", 0, r"Left out: 1 listed but missing")
def _() -> list[str]:
    rows = "".join(f"{i}.jpg,1\n" for i in range(4))
    broken.zipped(GIVEN / "faces.zip", {"labels.csv": f"file,Smiling\n{rows}gone.jpg,0\n".encode()})
    return PREPARE_ZIP


@case("zip with an encrypted member", 0, r"Left out: 1 unreadable \(x.jpg: encrypted in the zip\)")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.jpg": ALBUM.jpegs[5]})
    broken.headers(path, "good/x.jpg", broken.encrypted)
    return PREPARE_ZIP


@case("zip packed in a rare way", 0, r"x.jpg: compressed in the zip by method 12, which is not supported")
def _() -> list[str]:
    broken.zipped(GIVEN / "faces.zip", {})
    with zipfile.ZipFile(ZIP, "a") as archive:
        archive.writestr(zipfile.ZipInfo("good/x.jpg"), ALBUM.jpegs[5], zipfile.ZIP_BZIP2)
    return PREPARE_ZIP


@case("zip with a member that lies elsewhere", 0, r"Left out: 1 unreadable \(x.jpg: corrupted in the zip")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.jpg": ALBUM.jpegs[5]})
    broken.headers(path, "good/x.jpg", broken.elsewhere)
    return PREPARE_ZIP


@case("zip cut short", 1, r"faces.zip is not a complete zip file .*Download it again")
def _() -> list[str]:
    broken.cut(broken.zipped(GIVEN / "faces.zip", {}), 0.9)
    return PREPARE_ZIP


@case("zip cut within its directory", 1, r"faces.zip is not a complete zip file .*Download it again")
def _() -> list[str]:
    path = broken.zipped(GIVEN / "faces.zip", {})
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1))
    return PREPARE_ZIP


@case("zip that is a web page", 1, "It is a web page: the download was refused")
def _() -> list[str]:
    GIVEN.mkdir()
    Path(ZIP).write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    return PREPARE_ZIP


@case("zip within a zip", 1, r"holds no images. It holds 1 .zip")
def _() -> list[str]:
    GIVEN.mkdir()
    Path(ZIP).write_bytes(broken.as_zip(broken.as_zip(b"", "a.jpg"), "inner.zip"))
    return PREPARE_ZIP


@case("zip with a name of ten thousand digits", 0, ALL)
def _() -> list[str]:
    broken.zipped(GIVEN / "faces.zip", {f"good/{'7' * 10_000}.jpg": ALBUM.jpegs[5]})
    return PREPARE_ZIP


@case("parquet file cut short", 1, r"x.parquet is not a complete parquet file .* Download it again")
def _() -> list[str]:
    pytest.importorskip("pyarrow")
    GIVEN.mkdir()
    (GIVEN / "x.parquet").write_bytes(b"PAR1 and no more")
    return ["data", "info", "given/x.parquet"]


# Lists of attributes and splits.

CELEBA = ["data", "prepare", "given/celeba", "--size", "8"]
ATTRIBUTES, PARTITION = ALBUM.attribute_lines(), ALBUM.partition_lines()


def text(lines: list[str], end: str = "\n") -> str:
    return end.join(lines) + end


for name, says, lists in [
    ("cut short", "announces 24 images in its first line, but lists 20", {"list_attr_celeba": text(ATTRIBUTES[:-4])}),
    ("wrong count", "announces 99 images in its first line", {"list_attr_celeba": text(["99", *ATTRIBUTES[1:]])}),
    ("endless count", "first line should be the number", {"list_attr_celeba": text(["9" * 9999, *ATTRIBUTES[1:]])}),
    ("extra column", "got 41 values", {"list_attr_celeba": text(ATTRIBUTES).replace(".jpg", ".jpg 1", 1)}),
    ("number too large", "got the value '300'", {"list_attr_celeba": text(ATTRIBUTES).replace(" 1", " 300", 1)}),
    ("empty", "first line should be the number of images", {"list_attr_celeba": ""}),
    ("zeros", "first line should be the number of images", {"list_attr_celeba": bytes(500)}),
    ("not text", "is not UTF-8 text", {"list_attr_celeba": bytes(range(128, 256))}),
    (
        "name twice",
        "lists 000003.jpg more than once",
        {"list_attr_celeba": text(ATTRIBUTES).replace("000004", "000003")},
    ),
    ("split missing rows", "lacks images of .*: 4 ", {"list_eval_partition": text(PARTITION[:-4])}),
    (
        "split unknown",
        "Line 1 of .*, got the value '3'",
        {"list_eval_partition": text(["000001.jpg 3", *PARTITION[1:]])},
    ),
    ("split empty", "lists no images", {"list_eval_partition": ""}),
    (
        "of other images",
        "is among the 24 images found",
        {"list_eval_partition": text([f"x{row}" for row in PARTITION])},
    ),
]:
    build = functools.partial(lambda lists: broken.celeba(GIVEN / "celeba", **lists), lists)
    simple(f"list {name}", 1, says, build, *CELEBA)

for name, lists in {
    "with Windows line ends": {
        "list_attr_celeba": text(ATTRIBUTES, "\r\n"),
        "list_eval_partition": text(PARTITION, "\r\n"),
    },
    "with a byte order mark": {"list_attr_celeba": "\ufeff" + text(ATTRIBUTES)},
    "in UTF-16": {"list_attr_celeba": text(ATTRIBUTES).encode("utf-16")},
    "with blank lines": {"list_eval_partition": text(["", *PARTITION, "", ""])},
    "in another order": {"list_eval_partition": text(PARTITION[::-1])},
}.items():
    build = functools.partial(lambda lists: broken.celeba(GIVEN / "celeba", **lists), lists)
    simple(f"list {name}", 0, "train 16, val 3, test 5", build, *CELEBA)

for name, status, says, content in [
    ("short row", 1, r"Row 3 of .*labels.csv has 1 cells, but its header 2", "file,Hat\n0.jpg,1\n1.jpg\n"),
    ("long row", 1, r"Row 2 of .*labels.csv has 3 cells, but its header 2", "file,Hat\n0.jpg,1,1\n"),
    ("file twice", 1, r"labels.csv lists 0.jpg more than once", "file,Hat\n0.jpg,1\n0.jpg,0\n"),
    ("column twice", 1, r"two columns of the same name", "file,Hat,Hat\n0.jpg,1,0\n1.jpg,1,0\n"),
    ("no header", 1, r"first row of .*labels.csv names an image", "0.jpg,1\n1.jpg,0\n"),
    ("unknown split", 1, r"unknown split 'holdout'; use train, val and test", "file,split\n0.jpg,holdout\n"),
    ("endless cell", 1, r"labels.csv is not a valid CSV file \(field larger", f"file,Hat\n0.jpg,{'1' * 200_000}\n"),
    (
        "semicolons, mark and Windows line ends",
        0,
        FOUR,
        "\ufefffile;Hat\r\n" + "".join(f"{i}.jpg;1\r\n" for i in range(4)),
    ),
    ("extra column of words", 0, FOUR, "file,Hat,mood\n" + "".join(f"{i}.jpg,1,good\n" for i in range(4))),
    ("empty", 0, FOUR, ""),
]:
    build = functools.partial(
        lambda content: broken.faces(GIVEN / "faces", **{"labels.csv": content.encode()}), content
    )
    simple(f"csv {name}", status, says, build, *PREPARE)


# The cache of decoded images.


def cached(damage: Callable[[Path], object]) -> None:
    """A folder of faces, decoded; then something happens to its cache."""
    broken.faces(GIVEN / "faces")
    assert cli.main(PREPARE) == 0
    damage(next(Path("cache").glob("8px-*")))


FRESH = r"are corrupted: .* Delete this folder and start again"
for name, damage in {
    "cut short": lambda cache: broken.cut(cache / "images.npy"),
    "without its labels": lambda cache: (cache / "attributes.npy").unlink(),
    "with a flipped bit in its split": lambda cache: broken.flipped(cache / "split.npy", -1),
    "with a flipped bit in its labels' head": lambda cache: broken.flipped(cache / "attributes.npy", 60),
    "with other names": lambda cache: broken.edited_json(cache / "cache.json", names=["Hat"]),
    "described by a list": lambda cache: (cache / "cache.json").write_text("[]"),
    "described by nothing": lambda cache: (cache / "cache.json").write_bytes(b""),
    "of pickles": lambda cache: np.save(cache / "split.npy", np.array([broken.Malicious()] * 4, object)),
    "of floats": lambda cache: np.save(cache / "images.npy", np.zeros((4, 3, 8, 8))),
    "of another shape": lambda cache: np.save(cache / "images.npy", np.zeros((4, 8, 8), np.uint8)),
}.items():
    simple(f"cache {name}", 1, FRESH, functools.partial(cached, damage), *PREPARE)

for name in ("images.npy", "attributes.npy", "split.npy", "files.csv"):
    simple(
        f"cache with a flipped bit in {name}, checked",
        1,
        rf"{name} is corrupted: checksum mismatch.*|1 of 1 caches are corrupted; delete",
        functools.partial(cached, functools.partial(lambda name, cache: broken.flipped(cache / name, -1), name)),
        "data",
        "check",
    )


@case("cache of an earlier version is left alone", 0, FOUR)
def _() -> list[str]:
    cached(lambda cache: cache.rename(cache.with_name("8px-0123456789abcdef")))
    [old] = Path("cache").glob("8px-*")
    about = json.loads((old / "cache.json").read_text())
    broken.edited_json(old / "cache.json", identity=about["identity"] | {"format": FORMAT - 1})
    return PREPARE


@case("cache in a folder that is a file", 1, r"Could not write the decoded images to .*cache.*DFCVAE_CACHE")
def _() -> list[str]:
    broken.faces(GIVEN / "faces")
    Path("cache").write_text("")
    return PREPARE


# Configurations.

NO_ROOM = "model.latent_dim: expected a positive integer up to 1,000,000,000, got 10"
FIELDS = r"expected fields \(name: value\)"
NO_FIELDS = r"expected the fields of an experiment \(name: value\), got"
EXPERIMENT = "given/tiny.yaml"
TRAIN = ["train", EXPERIMENT, "--out", "run"]
for name, status, says, content in [
    ("unknown key", 2, r"'nam' is not accepted \(did you mean 'name'\?\)", "nam: x\n"),
    ("unknown group", 2, r"'los.alpha' is not accepted .did you mean 'loss.alpha'", "los:\n  alpha: 1\n"),
    ("unknown key in a group", 2, r"'loss.* 'beeta' \(did you mean 'loss.beta'\?\)", "loss:\n  beeta: 1\n"),
    ("unknown key, deeper", 2, r"'presset' .* 'preset'\?\)", "loss:\n  features:\n    presset: dfc\n"),
    ("wrong type", 2, "training.epochs.: Expected a .*int.*Got value: many", "training:\n  epochs: many\n"),
    ("float for int", 2, "training.epochs.: Expected a .*int.*Got value: 1.5", "training:\n  epochs: 1.5\n"),
    ("list for number", 2, r"loss.alpha.: Expected a .*float.*Got value: \[1\]", "loss:\n  alpha: [1]\n"),
    ("nothing for number", 2, "data.size: expected an integer, got None", "data:\n  size: null\n"),
    ("group that is a number", 2, f"training: {FIELDS}, got a value of type int", "training: 5\n"),
    ("group that is a list", 2, f"data: {FIELDS}, got a value of type list", "data: [1, 2]\n"),
    ("group in a group that is a word", 2, f"loss.features: {FIELDS}, got", "loss:\n  features: dfc\n"),
    ("choice", 2, "expected one of hou2016, smooth, strided, got 'resnet'", "model:\n  network: resnet\n"),
    ("out of range", 2, "loss.alpha: expected a finite number of at least 0, got -1", "loss:\n  alpha: -1\n"),
    ("not a number", 2, "loss.alpha: expected a finite number of at least 0, got nan", "loss:\n  alpha: .nan\n"),
    ("infinite", 2, "loss.alpha: expected a finite number of at least 0, got inf", "loss:\n  alpha: .inf\n"),
    ("not YAML", 2, "while parsing a flow sequence", "loss: [1\n"),
    ("tabs", 2, "found character .* that cannot start any token", "loss:\n\talpha: 1\n"),
    ("list", 2, f"tiny.yaml: {NO_FIELDS} a value of type list", "- 1\n- 2\n"),
    ("word", 2, f"tiny.yaml: {NO_FIELDS} a value of type str", "hello\n"),
    ("number", 2, f"tiny.yaml: {NO_FIELDS} a value of type int", "5\n"),
    ("empty", 2, f"tiny.yaml: {NO_FIELDS} nothing", ""),
    ("comments alone", 2, f"tiny.yaml: {NO_FIELDS} nothing", "# nothing\n"),
    ("binary", 2, "tiny.yaml", bytes(range(256))),
    ("image", 2, "tiny.yaml", broken.picture()),
    ("key twice", 2, "loss.* twice", "loss:\n  alpha: 1\nloss:\n  beta: 1\n"),
    (
        "that calls a function",
        2,
        "could not determine a constructor",
        f"name: !!python/object/apply:open [{CANARY}, w]\n",
    ),
    ("in itself", 2, "tiny.yaml contains an alias", "loss: &a\n  features: *a\n"),
    ("nested without end", 2, "more than 20 levels", "loss: " + "[" * 5000 + "]" * 5000),
    (
        "that multiplies",
        2,
        r"tiny.yaml contains an alias \(\*\) or more than 20 levels; write the fields out",
        "data: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)),
    ),
    (
        "impossible together",
        1,
        "scale: likelihood requires mean squared distances",
        "data:\n  size: 32\ntraining:\n  batch_size: 8\nloss:\n  scale: likelihood\n  features:\n    preset: ssim\n",
    ),
    (
        "ssim with layers",
        1,
        "the loss ssim has no layers; remove that setting",
        "loss:\n  features:\n    preset: ssim\n    layers: [1]\n",
    ),
    ("without room", 2, NO_ROOM, "data:\n  size: 32\nmodel:\n  latent_dim: 10000000000\n"),
    ("beyond any number", 2, NO_ROOM, f"model:\n  latent_dim: {10**30}\n"),
]:
    build = functools.partial(lambda content: broken.experiment(GIVEN / "tiny.yaml", content), content)
    simple(f"config {name}", status, says, build, *TRAIN)


@case("config that is a folder", 2, r"given/folder.* is a folder|given/folder")
def _() -> list[str]:
    (GIVEN / "folder").mkdir(parents=True)
    return ["train", "given/folder"]


# Weights of the feature network.

WEIGHTS = [*TRAIN, "--loss.features.weights"]


def weights(name: str, make: Callable[[Path], object], says: str, status: int = 1) -> None:
    def build() -> list[str]:
        broken.experiment(GIVEN / "tiny.yaml")
        make(GIVEN / name)
        return [*WEIGHTS, f"given/{name}", "--training.max_steps=1"]

    CASES.append(Case(f"weights {name}", status, says, build))


def narrow(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """A vgg11_bn of an eighth of the width."""
    torch.manual_seed(0)
    layers = vgg_layers("vgg11_bn", 0.125).values()
    state = {f"features.{i}.{k}": v for i, m in enumerate(layers) for k, v in m.state_dict().items()}
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


ITS_CHECKSUM = "checksum mismatch"
NO_WEIGHTS = "is not a weights file that PyTorch or safetensors can read safely"
weights("half.safetensors", lambda path: save_file(narrow(torch.half), path), "Run: run", 0)
weights("bfloat16.pth", lambda path: torch.save(narrow(torch.bfloat16), path), "Run: run", 0)
weights("of-resnet.pth", lambda path: torch.save({"fc.weight": torch.ones(1)}, path), "is not a VGG of torchvision")
weights(
    "of-vgg16.pth",
    lambda path: torch.save({k: v[:1] for k, v in load_vgg_weights("vgg16", "random")[0].items()}, path),
    "vgg16 has no layer 'bn3_1'",
)
weights(
    "wrong-shape.safetensors",
    lambda path: save_file({k: v[:-1] if k == "features.4.weight" else v for k, v in narrow().items()}, path),
    r"expected features.4.weight of shape .*, but it has shape",
)
weights(
    "flat.safetensors",
    lambda path: save_file({k: torch.ones(()) if k == "features.0.weight" else v for k, v in narrow().items()}, path),
    "is not a VGG of torchvision|does not contain",
)
weights("text.pth", lambda path: path.write_text("hello"), NO_WEIGHTS)
weights("empty.safetensors", lambda path: path.write_bytes(b""), NO_WEIGHTS)
weights("cut.safetensors", lambda path: (save_file(narrow(), path), broken.cut(path)), NO_WEIGHTS)
weights("cut.pth", lambda path: (torch.save(narrow(), path), broken.cut(path)), NO_WEIGHTS)
weights("flipped.pth", lambda path: (torch.save(narrow(), path), broken.flipped(path, 0.5)), ITS_CHECKSUM)
weights("flipped.safetensors", lambda path: broken.flipped(broken.judge(path), -9), ITS_CHECKSUM)
weights("list.pth", lambda path: torch.save([1, 2], path), NO_WEIGHTS)
weights("picture.pth", lambda path: path.write_bytes(broken.picture()), NO_WEIGHTS)
weights("evil.pth", lambda path: torch.save({"features.0.weight": broken.Malicious()}, path), NO_WEIGHTS)
weights("folder.pth", lambda path: path.mkdir(), "No weights file at given/folder.pth")
weights(
    "vast.pth",
    lambda path: torch.save(
        {
            k: v.expand(v.shape) if k != "features.0.weight" else torch.ones(1, 1, 1, 1).expand(2**40, 3, 3, 3)
            for k, v in narrow().items()
        },
        path,
    ),
    "times as wide as vgg11_bn, which is more than 4",
)


# Models and checkpoints.

SAMPLE = ["sample", "given/model", "-n", "2", "--out", "x.png"]


def exported(name: str, damage: Callable[[Path], object], says: str, *argv: str) -> None:
    def build() -> None:
        damage(broken.model(GIVEN / "model"))

    simple(f"model {name}", 1, says, build, *(argv or SAMPLE))


DAMAGED = r"model.safetensors is corrupted: checksum mismatch with model.json; export the model again"
NO_DESCRIPTION = (
    r"model.safetensors needs the description that `dfcvae export` writes beside it, but model.json is missing"
)
exported("with a flipped bit in a tensor", lambda folder: broken.flipped(folder / "model.safetensors", -5), DAMAGED)
exported("cut short", lambda folder: broken.cut(folder / "model.safetensors"), DAMAGED)
exported("without its description", lambda folder: (folder / "model.json").unlink(), NO_DESCRIPTION)
exported("described by a list", lambda folder: (folder / "model.json").write_text("[]"), NO_DESCRIPTION)
exported("described by no text", lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe\xfd"), NO_DESCRIPTION)
exported("nested without end", lambda folder: (folder / "model.json").write_text("[" * 99_999), NO_DESCRIPTION)
for entry, value, says in [
    ("vae", {}, "do not fit the VAE they describe|needs the description"),
    ("vae", [], "needs the description|do not fit"),
    ("vae", {"network": "hou2016", "size": 64, "channels": 3, "latent_dim": 8}, "do not fit the VAE they describe"),
    ("vae", {"network": "hou2016", "size": 32, "channels": 3, "latent_dim": 10**15}, "do not fit|memory"),
    ("vae", {"network": "hou2016", "size": 32, "channels": 3, "latent_dim": "8"}, "needs the description"),
]:
    exported(
        f"that says {entry} is {value}",
        functools.partial(lambda change, folder: broken.edited_json(folder / "model.json", **change), {entry: value}),
        says,
    )
FIT = ["reconstruct", "given/model", "--out", "x.png"]
OTHER = r"The saved experiment does not fit this version of dfcvae \("
for name, config in {
    "incomplete": {"data": {}},
    "of numbers": {"name": 1, "data": 2, "loss": 3, "training": 4, "model": 5},
    "with a wrong type": TINY | {"data": TINY["data"] | {"source": 5}},
    "with a field of another version": TINY | {"training": TINY["training"] | {"momentum": 1}},
}.items():
    exported(
        f"with an experiment {name}",
        functools.partial(lambda config, folder: broken.edited_json(folder / "model.json", config=config), config),
        OTHER,
        *FIT,
    )


@case("model saved without its experiment", 1, "does not say which faces it was trained on.*--source")
def _() -> list[str]:
    broken.model(GIVEN / "model", {})
    return FIT


@case("model saved without its experiment, source named", 0, "x.png")
def _() -> list[str]:
    broken.model(GIVEN / "model", {})
    return [*FIT, "--source", "synthetic"]


def checkpoints(name: str, make: Callable[[Path], object], says: str, status: int = 1) -> None:
    def build() -> None:
        (GIVEN / "run" / "checkpoints").mkdir(parents=True)
        make(GIVEN / "run" / "checkpoints" / "best.ckpt")

    simple(f"checkpoint {name}", status, says, build, "sample", "given/run", "-n", "2", "--out", "x.png")


NONE = r"best.ckpt is not a checkpoint of this version of dfcvae, or it is corrupted"
checkpoints("whole", broken.checkpoint, "x.png", 0)
checkpoints("malicious", lambda path: broken.pickled(path, broken.Malicious()), NONE)
checkpoints("with malice among its values", lambda path: broken.checkpoint(path, more=broken.Malicious()), NONE)
checkpoints("cut short", lambda path: broken.cut(broken.checkpoint(path)), NONE)
checkpoints("with a flipped bit in a tensor", lambda path: broken.flipped(broken.checkpoint(path), 0.5), NONE)
checkpoints("empty", lambda path: path.write_bytes(b""), NONE)
checkpoints("of another program", lambda path: broken.pickled(path, {"state_dict": {"a": torch.ones(1)}}), NONE)
checkpoints("without its configuration", lambda path: broken.checkpoint(path, about={}), NONE)
checkpoints("of a list", lambda path: broken.pickled(path, [1, 2, 3]), NONE)
checkpoints("whose weights are a list", lambda path: broken.checkpoint(path, vae=[1, 2]), NONE)
checkpoints("whose weights have numbers for names", lambda path: broken.checkpoint(path, vae={1: 2}), NONE)
checkpoints("whose weights are words", lambda path: broken.checkpoint(path, vae={"a": "b"}), NONE)
checkpoints("without weights", lambda path: broken.checkpoint(path, vae={}), "do not fit the VAE they describe")
checkpoints("that is a picture", lambda path: path.write_bytes(broken.picture()), NONE)


@case("checkpoint of an earlier version, resumed", 1, OTHER)
def _() -> list[str]:
    broken.experiment(GIVEN / "tiny.yaml")
    hyper = {"vae": broken.vae().config, "config": {"name": "old", "loss": {"kld_weight": 1}}}
    broken.checkpoint(GIVEN / "run" / "checkpoints" / "last.ckpt", about=hyper)
    return ["train", EXPERIMENT, "--out", "given/run", "--resume"]


@case("checkpoint damaged, resumed", 1, r"last.ckpt is not a checkpoint of this version of dfcvae, or it is corrupted")
def _() -> list[str]:
    broken.experiment(GIVEN / "tiny.yaml")
    broken.flipped(broken.checkpoint(GIVEN / "run" / "checkpoints" / "last.ckpt"), 0.5)
    return ["train", EXPERIMENT, "--out", "given/run", "--resume"]


@case(
    "checkpoint of another experiment, resumed", 1, r"cannot be resumed with another experiment: data.crop was 'auto'"
)
def _() -> list[str]:
    broken.experiment(GIVEN / "tiny.yaml", crop="full")
    broken.checkpoint(GIVEN / "run" / "checkpoints" / "last.ckpt")
    return ["train", EXPERIMENT, "--out", "given/run", "--resume"]


# What is kept beside a model, and arguments of the commands that use it.

EDIT = ["edit", "given/model", "Smiling=1", "-n", "2", "--out", "x.png"]
PRIOR = ["sample", "given/model", "-n", "2", "--prior", "gaussian", "--out", "x.png"]


def kept(name: str, damage: Callable[[Path], object], says: str, argv: list[str] = EDIT) -> None:
    def build() -> None:
        folder = broken.model(GIVEN / "model")
        broken.vectors(folder)
        broken.prior(folder)
        damage(folder / "latent" / ("attributes.safetensors" if argv is EDIT else "prior-gaussian.safetensors"))

    simple(f"kept {name}", 1, says, build, *argv)


NO_VECTORS = "does not contain attribute vectors, or is corrupted .*delete it"
NO_PRIOR = "does not contain a prior, or is corrupted .*delete it"
kept("vectors cut short", broken.cut, NO_VECTORS)
kept("vectors of nothing", lambda path: path.write_bytes(b""), NO_VECTORS)
kept("vectors with a flipped bit", lambda path: broken.flipped(path, -3), NO_VECTORS)
kept(
    "vectors with a flipped bit in a name",
    lambda path: broken.flipped(path, path.read_bytes().index(b"Smiling")),
    NO_VECTORS,
)
kept("vectors that are a pickle", lambda path: broken.pickled(path, broken.Malicious()), NO_VECTORS)
kept(
    "vectors described by a list",
    lambda path: broken.stored_by_hand(path, {"vectors": torch.ones(3, 8)}, []),
    NO_VECTORS,
)
kept("prior cut short", broken.cut, NO_PRIOR, PRIOR)
kept("prior with a flipped bit", lambda path: broken.flipped(path, -3), NO_PRIOR, PRIOR)

for words, status, says in [
    ("Smiling=", 1, "Expected an edit such as Smiling=.1.5, or Smiling=-2:2 for a range, got 'Smiling='"),
    ("=1", 1, "Expected an edit such as"),
    ("Smiling=1:2:3", 1, "Expected an edit such as"),
    ("Smiling=nan", 1, "Expected an edit such as"),
    ("Smiling=" + "9" * 400, 1, "Expected a strength from -100 to 100, got"),
    ("Smilin=1", 1, r"There is no attribute 'Smilin' \(did you mean 'Smiling'\?\)"),
    ("x" * 5000, 1, "File name too long|no image|Name an edit"),
]:
    build = functools.partial(lambda: broken.vectors(broken.model(GIVEN / "model")))
    simple(f"edit {words[:20]}", status, says, build, "edit", "given/model", words, "--out", "x.png")


def judged(name: str, damage: Callable[[Path], object], says: str, status: int = 1) -> None:
    def build() -> None:
        broken.model(GIVEN / "model")
        damage(broken.judge(GIVEN / "judge.safetensors"))

    simple(f"judge {name}", status, says, build, "evaluate", "given/model", "--judge", "given/judge.safetensors")


NO_JUDGE = "judge.safetensors is not an attribute network"
judged("cut short", broken.cut, NO_JUDGE)
judged("with a flipped bit", lambda path: broken.flipped(path, -9), f"{NO_JUDGE}.*{ITS_CHECKSUM}")
judged("without its attributes", lambda path: save_file(load_file(path), path), NO_JUDGE)
judged("without its network", lambda path: save_file(load_file(path), path, {"attributes": "[]"}), NO_JUDGE)
judged("of words", lambda path: save_file({}, path, {"attributes": "x", "arch": "y", "width": "z"}), NO_JUDGE)
judged("that is gone", lambda path: path.unlink(), NO_JUDGE)


@case("judge of faces without attributes", 0, "attribute_agreement")
def _() -> list[str]:
    broken.model(GIVEN / "model")
    broken.judge(GIVEN / "judge.safetensors")
    write_images(GIVEN / "faces", ALBUM)
    return ["evaluate", "given/model", "--judge", "given/judge.safetensors", "--source", "given/faces"]


@case("vectors of faces without attributes", 1, "These faces have no attributes to fit vectors to")
def _() -> list[str]:
    broken.model(GIVEN / "model")
    broken.faces(GIVEN / "faces")
    return ["attributes", "given/model", "--source", "given/faces"]


for argv, status, says in [
    (["traverse", "given/model", "--reach", "1e30"], 2, "reach: expected a number from -100 to 100, got 1e.30"),
    (["traverse", "given/model", "--reach", "nan"], 2, ".reach.: Expected a .*float.*Got value: nan"),
    (["sample", "given/model", "--temperature", "nan"], 2, ".temperature.: Expected a .*float.*Got value: nan"),
    (["sample", "given/model", "-n", str(10**13)], 2, "count: expected a positive integer up to 1,000,000,000, got 10"),
    (["sample", "given/model", "-n", str(10**30)], 2, "count: expected a positive integer up to 1,000,000,000, got 10"),
    (["sample", "given/model", "--seed", str(10**30), "-n", "2"], 0, "samples.png"),
    (["sample", "given/model\0", "-n", "2"], 1, "No model at"),
    (["data", "info", "given/model\0"], 1, "There is no"),
    (["evaluate", "given/model", "--out", "given"], 1, "given is a folder; name a file with --out"),
]:
    build = functools.partial(broken.model, GIVEN / "model")
    simple(f"argument {' '.join(argv)[:44]!r}", status, says, build, *argv)


A_STEP = ["train", "plain.yaml", "--out", "run", "--data.source", "given/faces"]
RUNS = {
    "whose last checkpoint is its best one": (
        lambda run: shutil.copy(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt"),
        "last.ckpt holds a model but no training state to resume",
    ),
    "with metrics of no text": (
        lambda run: (run / "metrics.csv").write_bytes(b"\xff\0"),
        "metrics.csv is missing or corrupted",
    ),
    "with other metrics": (
        lambda run: (run / "metrics.csv").write_text("a,b\n1,2\n"),
        "metrics.csv is missing or corrupted",
    ),
    "with a cost of no text": (lambda run: (run / "cost.json").write_bytes(b"\xff["), "cost.json is corrupted"),
    "with a cost that is a list": (lambda run: (run / "cost.json").write_text("[]"), "cost.json is corrupted"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an experiment, faces, their cache and a run of one step."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DFCVAE_CACHE", str(folder / "cache"))
        experiment = tiny_experiment()
        experiment.loss.features = None
        experiment.save(Path("plain.yaml"))
        write_images(GIVEN / "faces", ALBUM)
        assert cli.main([*A_STEP, "--training.max_steps", "1"]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fault", RUNS)
def test_a_damaged_run_is_not_resumed(fault, trained, tmp_path, capsys):
    damage, says = RUNS[fault]
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "run")
    before = broken.tree_of(tmp_path / "run") | {"config.yaml": b""}  # which says how long the run should be
    assert cli.main([*A_STEP, "--training.max_steps", "2", "--resume"]) == 1
    assert re.search(f"^dfcvae: .*{says}", capsys.readouterr().err, re.MULTILINE)
    assert broken.tree_of(tmp_path / "run") | {"config.yaml": b""} == before


@pytest.mark.slow
def test_data_that_changed_since_training_is_told(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    changed = "The data has changed since training"
    assert cli.main(["evaluate", "run"]) == 0
    assert cli.main([*A_STEP, "--training.max_steps", "2", "--resume"]) == 0
    assert changed not in capsys.readouterr().err
    (GIVEN / "faces" / "000003.jpg").write_bytes(ALBUM.jpegs[7])
    assert cli.main(["evaluate", "run"]) == 0
    assert changed in capsys.readouterr().err
    assert cli.main([*A_STEP, "--training.epochs", "3", "--resume"]) == 0
    assert changed in capsys.readouterr().err


def test_there_are_many_cases():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_zip_bomb_is_not_unpacked():
    path = broken.zipped(GIVEN / "faces.zip", {"good/x.png": broken.bomb()})
    broken.headers(path, "good/x.png", broken.said_to_be(1000))
    images = open_images(path)
    tracemalloc.start()
    try:
        for i in range(len(images)):
            with suppress(Undecodable):
                images.files.read(i)
        assert tracemalloc.get_traced_memory()[1] < 2**20  # of the 8 that it holds
    finally:
        tracemalloc.stop()


def refuse_to_write(monkeypatch) -> None:
    """As on a file system that is mounted read-only; root may write where permissions forbid it."""

    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", read_only)


def test_a_cache_on_a_read_only_file_system(monkeypatch, capsys):
    """It is read if it is there, and if not, a sentence says that it cannot be written."""
    cached(lambda cache: None)
    refuse_to_write(monkeypatch)
    assert cli.main(PREPARE) == 0
    assert re.search(FOUR, capsys.readouterr().out)
    monkeypatch.setenv("DFCVAE_CACHE", "another")
    assert cli.main(PREPARE) == 1
    assert re.search(r"decoded images to another: Read-only file system.*DFCVAE_CACHE", capsys.readouterr().err)
