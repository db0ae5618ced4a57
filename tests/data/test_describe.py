"""What `dfcvae data info` says of a set."""

import shutil

import pytest
import torch
from PIL import Image

from dfcvae.data.cache import Look, prepare, read_looks, write_looks
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering
from dfcvae.data.describe import SHEET, contact_sheet, describe, findings
from dfcvae.errors import UserError
from tests.hostile import encoded
from tests.layouts import COUNT, official_zip, small_album, write, write_images

RENDERING = Rendering(64, 3, "auto", "bilinear")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_celeba_is_described_in_full(tmp_path, cache):
    album = small_album()
    root = official_zip(tmp_path / "data", album)
    images = open_images(root)
    text = describe(images, RENDERING)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "CelebA (zip, read in place)"
    paths = [f"path {root / 'img_align_celeba.zip'}", f"labels {root / 'list_attr_celeba.txt'}"]
    sizes = ["sizes 178 x 218: 24", "crop auto: 148 x 148 from (15, 35) of 178 x 218"]
    faults = ["unreadable none", "missing none", "looked at 24 of 24 files", "decoded not yet"]
    counts = ["train 16 162,770", "all 24 202,599", "40 attributes, share of images"]
    assert {*paths, *sizes, *faults, *counts} <= {*lines}, text
    cells = " ".join(text.split())
    for name, column in zip(album.names, album.values.T, strict=True):
        assert f"{name} {column.sum() / COUNT:.1%}" in cells
    prepare(images, Rendering(16), progress=False)
    assert f"decoded     16 px, 3 channels, crop auto, bilinear: {cache}" in describe(images, RENDERING)
    assert "looked at   24 of 24 files, when they were decoded" in describe(images, RENDERING)


def test_faults_of_a_folder_are_found_in_all_files_or_a_sample(tmp_path, monkeypatch):
    write_images(tmp_path / "faces", small_album())
    shutil.copy(tmp_path / "faces/000003.jpg", tmp_path / "faces/copy of 3.jpg")
    with open(str(tmp_path / "faces").encode() + b"/line\nbreak \xff.png", "wb"):
        pass
    Image.new("RGB", (20, 300)).save(tmp_path / "faces/thin.bmp")
    images = open_images(tmp_path / "faces")
    text = describe(images, RENDERING)
    assert "unreadable  1\n              line\\nbreak \\udcff.png: empty file" in text
    assert "duplicates  1 group of files with the same bytes\n              000003.jpg = copy of 3.jpg" in text
    assert "tiny        1 (thin.bmp): below 32 pixels" in text
    assert "sizes       178 x 218: 25\n              20 x 300: 1" in text
    assert "no attributes" in text
    assert "official" not in text
    monkeypatch.setattr("dfcvae.data.describe.SAMPLE", 7)
    assert "7 of 27 files, evenly spread; all after `dfcvae data prepare`" in describe(images, RENDERING)
    prepare(images, Rendering(8), progress=False)
    assert "line\\nbreak" in describe(images, RENDERING)


def test_a_contact_sheet_shows_faces_of_the_whole_set_as_they_will_be_cropped(tmp_path):
    write_images(tmp_path / "faces", small_album())
    (tmp_path / "faces" / "000002.jpg").write_bytes(b"broken")
    sheet = contact_sheet(open_images(tmp_path / "faces"), RENDERING)
    assert sheet.shape == (len(small_album().files) - 1, 3, 64, 64)
    second = RENDERING.render(Image.open(tmp_path / "faces" / "000003.jpg"))
    assert torch.equal((sheet[1] * 255).round().byte(), torch.from_numpy(second.copy()))
    write(tmp_path, {"none/x.jpg": b"broken"})
    with pytest.raises(UserError, match=r"None of 1 files of .*none is a readable image"):
        contact_sheet(open_images(tmp_path / "none"), RENDERING)


def test_a_contact_sheet_of_many_is_a_sample(tmp_path):
    write(tmp_path, {f"{i}.png": encoded(Image.new("RGB", (40, 40), (i, i, i)), "PNG") for i in range(150)})
    shades = (contact_sheet(open_images(tmp_path), RENDERING)[:, 0, 30, 30] * 255).round().int().tolist()
    assert len(set(shades)) == len(shades) == SHEET
    assert min(shades) == 0
    assert max(shades) > 120


def test_looks_are_kept_as_they_were(tmp_path):
    looks = [Look("a,b.jpg", 3, 4, "ab"), Look("\udcff\n.png", problem='not "an" image'), Look("c.jpg", 30, 40, "ab")]
    write_looks(tmp_path / "files.csv", looks)
    assert read_looks(tmp_path / "files.csv") == looks
    assert (tmp_path / "files.csv").read_bytes().startswith(b"file,width,height,digest,problem\r\n")
    found = dict(findings(looks, RENDERING))
    assert found["sizes"] == "3 x 4: 1\n30 x 40: 1"
    assert found["duplicates"].endswith("same bytes\na,b.jpg = c.jpg")
    assert found["unreadable"] == '1\n\\udcff\\n.png: not "an" image'
    assert found["tiny"] == "2 (a,b.jpg, c.jpg): below 32 pixels"
