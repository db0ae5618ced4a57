"""CelebA's official layout, written here in small: 24 images of noise and colour."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfcvae.data.cache import prepare
from dfcvae.data.celeba import describe, open_celeba
from dfcvae.errors import UserError

COUNT = 24
FILES = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
NAMES = tuple(f"Attribute_{i}" for i in range(40))
VALUES = np.random.default_rng(0).random((COUNT, 40)) < 0.3
SPLIT = [0] * 16 + [1] * 3 + [2] * 5
MINI = Path(__file__).parents[3] / "shared" / "celeba-mini"


def jpeg(seed: int, width: int, height: int) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def attribute_lines() -> list[str]:
    rows = [f"{name} {' '.join(f'{1 if v else -1:2d}' for v in row)}" for name, row in zip(FILES, VALUES, strict=True)]
    return [str(COUNT), " ".join(NAMES) + " ", *rows]


def partition_lines() -> list[str]:
    return [f"{name} {split}" for name, split in zip(FILES, SPLIT, strict=True)]


def write_lists(folder: Path, attributes: list[str] | None = None, partition: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list_attr_celeba.txt").write_text("\n".join(attributes or attribute_lines()) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(partition or partition_lines()) + "\n")


@pytest.fixture
def folder(tmp_path):
    """CelebA with a folder of images."""
    root = tmp_path / "folder"
    write_lists(root)
    (root / "img_align_celeba").mkdir()
    for i, name in enumerate(FILES):
        (root / "img_align_celeba" / name).write_bytes(jpeg(i, 178, 218))
    return root


@pytest.fixture
def zipped(folder, tmp_path):
    """The same CelebA with a zip of images, in another order and with a foreign member."""
    root = tmp_path / "zipped"
    write_lists(root)
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/", "")
        for name in reversed(FILES):
            archive.write(folder / "img_align_celeba" / name, f"img_align_celeba/{name}")
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not an image")
    return root


def test_labels_are_what_was_written(zipped):
    source = open_celeba(zipped)
    assert source.filenames == tuple(FILES)
    assert source.names == NAMES
    assert source.attributes.dtype == bool
    assert source.split.dtype == np.int8
    np.testing.assert_array_equal(source.attributes, VALUES)
    np.testing.assert_array_equal(source.split, SPLIT)
    assert source.missing == ()


def test_labels_belong_to_file_names_not_to_lines(zipped):
    write_lists(zipped, partition=partition_lines()[::-1])
    np.testing.assert_array_equal(open_celeba(zipped).split, SPLIT)


def test_lists_may_have_windows_line_ends_and_blank_lines(zipped):
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        text = (zipped / name).read_text() + "\n\n"
        (zipped / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    source = open_celeba(str(zipped))
    np.testing.assert_array_equal(source.attributes, VALUES)
    np.testing.assert_array_equal(source.split, SPLIT)


def test_images_are_the_ones_listed(zipped, folder):
    for source in (open_celeba(zipped), open_celeba(folder)):
        for i in (0, 7, COUNT - 1):
            image = source.read(i)
            assert image.mode == "RGB"
            assert image.size == (178, 218)
            assert image.tobytes() == Image.open(io.BytesIO(jpeg(i, 178, 218))).tobytes()


def test_grey_jpegs_are_read_as_rgb(folder):
    path = folder / "img_align_celeba" / FILES[0]
    Image.open(path).convert("L").save(path)
    assert open_celeba(folder).read(0).mode == "RGB"


@pytest.mark.parametrize("layout", ["root", "images", "lists in tree", "tree", "inside tree"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_every_way_to_name_it_is_understood(zipped, folder, kind, layout):
    root, name = (zipped, "img_align_celeba.zip") if kind == "zip" else (folder, "img_align_celeba")
    path = root / name if layout == "images" else root
    if "tree" in layout:
        places = {"Anno": "list_attr_celeba.txt", "Eval": "list_eval_partition.txt", "Img": name}
        for part, file in list(places.items())[: 2 if layout == "lists in tree" else 3]:
            (root / part).mkdir()
            shutil.move(root / file, root / part / file)
        path = root / "Img" / name if layout == "inside tree" else root
    source = open_celeba(path)
    assert source.path.name == name
    assert source.missing == ()


def test_an_image_folder_may_have_any_name(folder):
    (folder / "img_align_celeba").rename(folder / "aligned")
    assert open_celeba(folder / "aligned").missing == ()


def test_zip_is_taken_when_both_are_there(zipped):
    (zipped / "img_align_celeba").mkdir()
    assert open_celeba(zipped).path == zipped / "img_align_celeba.zip"


def test_folder_and_zip_give_identical_faces_and_nothing_is_unpacked(zipped, folder, tmp_path):
    before = sorted(zipped.rglob("*"))
    from_zip = prepare(open_celeba(zipped), size=32, cache_dir=tmp_path / "a", progress=False)
    from_folder = prepare(open_celeba(folder), size=32, cache_dir=tmp_path / "b", progress=False)
    for split, count in (("train", 16), ("val", 3), ("test", 5)):
        assert len(from_zip[split]) == count
        assert torch.equal(from_zip[split].images, from_folder[split].images)
        assert torch.equal(from_zip[split].attributes, from_folder[split].attributes)
    assert sorted(zipped.rglob("*")) == before


@pytest.mark.parametrize(("width", "height", "side"), [(178, 218, 148), (89, 109, 74)])
def test_faces_are_the_centre_of_the_images(folder, tmp_path, width, height, side):
    for i, name in enumerate(FILES):
        (folder / "img_align_celeba" / name).write_bytes(jpeg(i, width, height))
    faces = prepare(open_celeba(folder), size=64, cache_dir=tmp_path, progress=False)["test"]
    image = Image.open(folder / "img_align_celeba" / FILES[19]).convert("RGB")
    left, top = round((width - side) / 2), round((height - side) / 2)
    face = image.crop((left, top, left + side, top + side)).resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(faces.images[0].permute(1, 2, 0).numpy(), np.asarray(face))


def test_second_call_decodes_no_jpeg(zipped, folder, tmp_path, monkeypatch):
    for root in (zipped, folder):
        prepare(open_celeba(root), size=8, cache_dir=tmp_path, progress=False)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was opened"))
    for root in (zipped, folder):
        assert len(prepare(open_celeba(root), size=8, cache_dir=tmp_path)["train"]) == 16


def test_a_changed_image_changes_the_stamp(zipped, folder):
    before = [open_celeba(root).stamp() for root in (zipped, folder)]
    assert [open_celeba(root).stamp() for root in (zipped, folder)] == before
    (folder / "img_align_celeba" / FILES[3]).write_bytes(jpeg(99, 178, 218))
    with zipfile.ZipFile(zipped / "img_align_celeba.zip", "w") as archive:
        for name in FILES:
            archive.write(folder / "img_align_celeba" / name, f"img_align_celeba/{name}")
    after = [open_celeba(root).stamp() for root in (zipped, folder)]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_zip_that_moved_is_the_same_data(zipped, tmp_path):
    before = open_celeba(zipped).stamp()
    zipped.rename(tmp_path / "elsewhere")
    assert open_celeba(tmp_path / "elsewhere").stamp() == before


def test_describe(zipped, tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    source = open_celeba(zipped)
    text = describe(source)
    assert f"{zipped / 'img_align_celeba.zip'} (zip, read in place)" in text
    assert str(zipped / "list_attr_celeba.txt") in text
    assert str(zipped / "list_eval_partition.txt") in text
    assert "178 x 218 pixels" in text
    rows = [line.split() for line in text.splitlines()]
    for row in (
        ["train", "16", "162,770"],
        ["val", "3", "19,867"],
        ["test", "5", "19,962"],
        ["all", "24", "202,599"],
    ):
        assert row in rows
    assert ["missing", "none"] in rows
    assert ["decoded", "not", "yet"] in rows
    cells = " ".join(text.split())
    for name, column in zip(NAMES, VALUES.T, strict=True):
        assert f"{name} {column.sum() / COUNT:.1%}" in cells
    prepare(source, size=16, cache_dir=None, progress=False)
    assert f"decoded     16 px RGB, crop 148, bilinear: {tmp_path / 'cache'}" in describe(source)


def test_missing_images_are_described_and_stop_prepare(folder, tmp_path):
    for name in FILES[2:7]:
        (folder / "img_align_celeba" / name).unlink()
    source = open_celeba(folder)
    assert source.missing == tuple(FILES[2:7])
    assert "missing     5 (000003.jpg, 000004.jpg, 000005.jpg, ...)" in describe(source)
    with pytest.raises(UserError, match=r"Of 24 listed images 5 \(000003.jpg, .*\) are not in .*img_align_celeba"):
        prepare(source, cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"Could not read image 000003.jpg"):
        source.read(2)


def test_images_missing_from_a_zip_are_told(zipped):
    with zipfile.ZipFile(zipped / "img_align_celeba.zip", "w") as archive:
        archive.writestr(f"img_align_celeba/{FILES[1]}", jpeg(1, 178, 218))
    source = open_celeba(zipped)
    assert source.missing == (FILES[0], *FILES[2:])
    assert source.read(1).size == (178, 218)
    with pytest.raises(UserError, match=r"Could not read image 000001.jpg of .*zip: it is not in the zip"):
        source.read(0)


@pytest.mark.parametrize("content", [b"", b"not a picture", jpeg(0, 178, 218)[:-900]])
def test_a_damaged_image_is_named(folder, tmp_path, content):
    (folder / "img_align_celeba" / FILES[20]).write_bytes(content)
    source = open_celeba(folder)
    with pytest.raises(UserError, match=r"Could not read image 000021.jpg of .*Get this file again"):
        prepare(source, size=8, cache_dir=tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_zip_member_is_named(zipped):
    path = zipped / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(jpeg(4, 178, 218)) + 600] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"Could not read image 000005.jpg of .*Bad CRC-32"):
        open_celeba(path).read(4)


def test_a_cut_zip_is_told(zipped):
    path = zipped / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(
        UserError, match=r"is not a complete zip file \(File is not a zip file\). Download img_align_celeba.zip again"
    ):
        open_celeba(zipped)


def test_a_web_page_instead_of_a_zip_is_told(zipped):
    (zipped / "img_align_celeba.zip").write_text("\n<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(UserError, match=r"It is a web page: the download was refused"):
        open_celeba(zipped)


def test_a_path_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match=r"There is no .*nowhere. Expected CelebA's folder .* or img_align_celeba.zip"):
        open_celeba(tmp_path / "nowhere")


def test_a_folder_without_images_is_told(zipped):
    (zipped / "img_align_celeba.zip").unlink()
    with pytest.raises(UserError, match=r"zipped holds no CelebA images: expected img_align_celeba.zip or the folder"):
        open_celeba(zipped)


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_a_missing_list_is_told(zipped, name):
    (zipped / name).unlink()
    with pytest.raises(UserError, match=rf"There is no {name} beside .*img_align_celeba.zip. Put CelebA's {name} into"):
        open_celeba(zipped)


def edited(lines: list[str], number: int, old: str, new: str) -> list[str]:
    """Lines with one change in line ``number`` (counted from 1)."""
    assert old in lines[number - 1]
    return [*lines[: number - 1], lines[number - 1].replace(old, new, 1), *lines[number:]]


ATTRIBUTE_FAULTS = {
    "web page": (["<html>", "Quota exceeded"], "first line should be the number of images, not '<html>'"),
    "39 names": (
        edited(attribute_lines(), 2, "Attribute_7 ", ""),
        "Line 2 .* 40 attribute names, but holds 39 .39 diff",
    ),
    "name twice": (
        edited(attribute_lines(), 2, "Attribute_7 ", "Attribute_6 "),
        "but holds 40 .39 different",
    ),
    "no rows": (attribute_lines()[:2], "list_attr_celeba.txt lists no images"),
    "cut short": (
        attribute_lines()[:-4],
        "announces 24 images in its first line, but lists 20. It may be cut short",
    ),
    "cut row": (
        [*attribute_lines()[:-1], FILES[-1] + " 1 -1"],
        "Line 26 .* and 40 values out of -1, 1, but has 2 val",
    ),
    "long row": (edited(attribute_lines(), 5, ".jpg", ".jpg 1"), "Line 5 of .* but has 41 values"),
    "word": (edited(attribute_lines(), 4, " -1", " no"), "Line 4 of .* but has the value 'no'"),
    "zero": (edited(attribute_lines(), 9, " -1", " 0"), "Line 9 of .* but has the value '0'"),
    "file twice": (edited(attribute_lines(), 6, "000004", "000003"), "lists 000003.jpg more than once"),
}
PARTITION_FAULTS = {
    "empty": (["", ""], "list_eval_partition.txt lists no images"),
    "value": (
        edited(partition_lines(), 3, " 0", " 3"),
        "Line 3 .* and 1 value out of 0, 1, 2, but has the value '3'",
    ),
    "no value": (edited(partition_lines(), 3, " 0", ""), "Line 3 of .* but has 0 values"),
    "file twice": (edited(partition_lines(), 4, "000004", "000003"), "lists 000003.jpg more than once"),
    "too few": (
        partition_lines()[:-4],
        r"lacks images of list_attr_celeba.txt: 4 \(000021.jpg, .*\). Use lists that",
    ),
    "too many": (
        [*partition_lines(), "x.jpg 0"],
        r"lists images unknown to list_attr_celeba.txt: 1 \(x.jpg\)",
    ),
}


@pytest.mark.parametrize(("lines", "sentence"), ATTRIBUTE_FAULTS.values(), ids=ATTRIBUTE_FAULTS)
def test_a_malformed_attribute_list_is_told(zipped, lines, sentence):
    write_lists(zipped, attributes=lines)
    with pytest.raises(UserError, match=sentence):
        open_celeba(zipped)


@pytest.mark.parametrize(("lines", "sentence"), PARTITION_FAULTS.values(), ids=PARTITION_FAULTS)
def test_a_malformed_partition_is_told(zipped, lines, sentence):
    write_lists(zipped, partition=lines)
    with pytest.raises(UserError, match=sentence):
        open_celeba(zipped)


@pytest.mark.skipif(not MINI.is_dir(), reason="the sample of real CelebA images is not beside the repository")
def test_real_images(tmp_path):
    source = open_celeba(MINI)
    assert len(source.filenames) == 8_000
    assert len(source.names) == 40
    assert source.names[20] == "Male"
    assert source.read(0).size == (89, 109)
    for i, line in zip((0, 1), (MINI / "list_attr_celeba.txt").read_text().splitlines()[2:4], strict=True):
        assert source.attributes[i].tolist() == [value == "1" for value in line.split()[1:]]
    splits = prepare(source, cache_dir=tmp_path, progress=False)
    assert [len(faces) for faces in splits.values()] == [7_000, 500, 500]
    assert splits["train"].images.shape[1:] == (3, 64, 64)
    # faces look at the camera: on average they are their own mirror image, and not upside down
    mean = splits["train"].images.float().mean(0)
    assert (mean - mean.flip(2)).abs().mean() < 6 < (mean - mean.flip(1)).abs().mean()
