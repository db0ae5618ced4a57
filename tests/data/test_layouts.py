"""Every layout is recognised from its path, and gives the same faces."""

import errno
import os
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from dfcvae.data.cache import prepare
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering, decode
from dfcvae.data.folders import ImageSet
from dfcvae.errors import UserError
from tests.layouts import (
    COUNT,
    LAYOUTS,
    Album,
    jpeg,
    official_folder,
    official_zip,
    small_album,
    table,
    write,
    zipped,
)


@pytest.fixture(scope="module")
def album():
    return small_album()


def write_jpegs(folder: Path, *names: str) -> Path:
    """A picture of its own for each name."""
    return write(folder, {name: jpeg(i) for i, name in enumerate(names)})


def opened(root: Path, names: Iterable[str], path: str = ".", **lists: list[str]) -> ImageSet:
    """Pictures and CSV files, by their names without suffix, as one set."""
    write(write_jpegs(root, *names), {f"{name}.csv": lines for name, lines in lists.items()})
    return open_images(root / path)


def assert_labels(images: ImageSet, album: Album) -> None:
    np.testing.assert_array_equal(images.attributes, album.values)
    np.testing.assert_array_equal(images.split, album.split)


WORDS = {
    "kaggle_zip": "CelebA (zip, read in place)",
    "official_zip": "CelebA (zip, read in place)",
    "published_tree": "CelebA (zip, read in place)",
    "hugging_face": "4 parquet files, as on Hugging Face",
    "celeba_hq": "CelebA-HQ (folder)",
    "celeba_mask_hq": "CelebA-HQ (folder)",
    "folder_with_csv": "images (folder)",
    "folder_of_splits": "images (folder)",
}
OFFICIAL = {"celeba_hq": (24_183, 2_993, 2_824), "celeba_mask_hq": (24_183, 2_993, 2_824)}
OFFICIAL |= {"folder_with_csv": None, "folder_of_splits": None}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_labels_and_pixels(layout, album, tmp_path):
    images = open_images(LAYOUTS[layout](tmp_path / "data", album))
    assert images.layout == WORDS.get(layout, "CelebA (folder)")
    assert images.official == OFFICIAL.get(layout, (162_770, 19_867, 19_962))
    assert (images.names, images.missing, len(images)) == (album.names, (), COUNT)
    splits = prepare(images, Rendering(32), cache_dir=tmp_path / "cache", progress=False)
    assert [len(part) for part in splits.values()] == np.bincount(album.split).tolist()
    np.testing.assert_array_equal(np.concatenate([part.attributes for part in splits.values()]), album.values)
    rendering = Rendering(32, 3, "auto", "bilinear")
    expected = np.stack([rendering.render(decode(jpeg)) for jpeg in album.jpegs])
    np.testing.assert_array_equal(np.concatenate([part.images for part in splits.values()]), expected)


# CelebA: which part of it may be named, and what may be missing or lie beside it.


@pytest.mark.parametrize(
    ("layout", "inner"),
    [
        ("official_folder", "img_align_celeba"),
        ("kaggle_folder", "img_align_celeba/img_align_celeba"),
        ("official_zip", "img_align_celeba.zip"),
        ("published_tree", "Img/img_align_celeba.zip"),
    ],
)
def test_the_images_themselves_may_be_named(layout, inner, album, tmp_path):
    root = LAYOUTS[layout](tmp_path, album)
    images = open_images(root / inner)
    assert images.path == root / inner
    assert_labels(images, album)


def test_the_zip_is_taken_before_the_folder_and_nothing_is_unpacked(album, tmp_path):
    root = official_zip(tmp_path / "data", album)
    write(root, album.images())
    before = sorted(root.rglob("*"))
    images = open_images(root)
    assert images.path == root / "img_align_celeba.zip"
    prepare(images, Rendering(8), cache_dir=tmp_path / "cache", progress=False)
    assert sorted(root.rglob("*")) == before


def test_other_pictures_and_lists_beside_the_aligned_ones_are_ignored(album, tmp_path):
    root = LAYOUTS["kaggle_folder"](tmp_path, album)
    write(root, album.images("img_celeba") | album.lists())  # in the wild; and each list in two forms
    write(root, {"img_align_celeba/notes.csv": ["what,n", "x,1"]})
    images = open_images(root)
    assert images.path == root / "img_align_celeba" / "img_align_celeba"
    labels = [str(root / name) for name in album.lists()]
    assert [which for what, which in images.about if what == "labels"] == labels
    shutil.rmtree(root / "img_celeba")
    (root / "img_align_celeba" / "img_align_celeba").rename(root / "aligned")
    assert_labels(open_images(root / "aligned"), album)


def test_celeba_hq_takes_labels_through_the_mapping_whatever_its_order(album, tmp_path):
    numbers = np.random.default_rng(1).permutation(COUNT)  # image i of CelebA is number numbers[i]
    lines = sorted(f"{number} {i} {album.files[i]}" for i, number in enumerate(numbers))
    lists = album.lists() | {"CelebA-HQ-to-CelebA-mapping.txt": ["idx orig_idx orig_file", *lines]}
    images = open_images(write(tmp_path, album.images("hq", [f"{number:05d}.png" for number in numbers]) | lists))
    for place, name in enumerate(images.filenames):
        original = numbers.tolist().index(int(name[:5]))
        np.testing.assert_array_equal(images.attributes[place], album.values[original])
        assert images.split[place] == album.split[original]
        assert images.read(place) == album.jpegs[original]


@pytest.mark.parametrize("beside", ["mapping", "all of CelebA-HQ"])
def test_celeba_stays_celeba_when_files_of_celeba_hq_are_near(beside, album, tmp_path):
    official_folder(tmp_path / "celeba", album)
    other = Album(album.jpegs, album.names, ~album.values, album.split, album.identities)
    LAYOUTS["celeba_mask_hq"](tmp_path / "other", other)
    if beside == "mapping":
        shutil.move(tmp_path / "other/CelebAMask-HQ/CelebA-HQ-to-CelebA-mapping.txt", tmp_path / "celeba")
        shutil.rmtree(tmp_path / "other")
    images = open_images(tmp_path / "celeba" if beside == "mapping" else tmp_path)
    assert images.layout == "CelebA (folder)"
    assert_labels(images, album)


def test_celeba_lists_say_nothing_of_celeba_hq_without_the_mapping(album, tmp_path):
    root = LAYOUTS["celeba_mask_hq"](tmp_path, album)
    (root / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    images = open_images(write(root, {"identity_CelebA.txt": album.identity_lines()}))
    np.testing.assert_array_equal(images.attributes, album.values)
    assert "by file name" in dict(images.about)["split"]


def test_any_list_of_celeba_may_be_missing_and_identities_keep_people_in_one_split(album, tmp_path):
    for gone, names in (("list_attr_celeba.txt", 0), ("list_eval_partition.txt", 40)):
        root = official_folder(tmp_path / gone, album)
        (root / gone).unlink()
        images = open_images(root)
        assert (len(images.names), images.attributes.shape) == (names, (COUNT, names))
        assert (images.split.tolist() == album.split.tolist()) == (names == 0)
    assert np.bincount(images.split).tolist() == [20, 2, 2]
    assert dict(images.about)["split"] == "val and test drawn from train by file name, a tenth each, seed 0"
    assert (open_images(root, split_seed=1).split != images.split).any()
    write(root, {"identity_CelebA.txt": album.identity_lines()})
    images = open_images(root)
    assert "by identity" in dict(images.about)["split"]
    assert set(images.split.tolist()) == {0, 1, 2}
    for person in set(album.identities.tolist()):
        assert len(set(images.split[album.identities == person].tolist())) == 1


def test_lists_of_other_images_are_refused_beside_them_and_ignored_above(album, tmp_path):
    for inner in ("mine", "more/mine"):
        write(tmp_path / "above", {"list_attr_celeba.txt": album.attribute_lines()})
        write_jpegs(tmp_path / "above" / inner, *album.files[:3])
        assert open_images(tmp_path / "above" / inner).names == ()
    root = official_folder(tmp_path / "beside", album)
    shutil.rmtree(root / "img_align_celeba")
    write(root, album.images(files=[f"{i:05d}.jpg" for i in range(COUNT)]))
    with pytest.raises(
        UserError, match=r"None of the images that .*list_attr_celeba.txt names \(first: 000001.jpg\) is"
    ):
        open_images(root)


# Any folder of images, and how a CSV file names them.


def test_a_folder_of_images_is_read_at_any_depth_in_natural_order(tmp_path):
    names = ["9.jpeg", "10.JPG", "a/1.jpg", "b/c/2.jpg", "٣1.jpg"]
    places = ["@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "lost+found", ".ipynb_checkpoints", "__MACOSX"]
    ignored = [
        ".hidden/x.jpg",
        "._9.jpeg",
        "notes.txt",
        "face.heic",
        "clip.gif",
        *(f"a/{name}/2.jpg" for name in places),
    ]
    images = opened(tmp_path, [*names[::-1], *ignored])
    assert images.filenames == tuple(names)
    assert dict(images.about)["not read"] == "1 .gif, 1 .heic"
    assert images.official is None


def test_links_are_followed_but_not_in_cycles(tmp_path):
    write_jpegs(tmp_path, "elsewhere/1.jpg")
    (tmp_path / "set").mkdir()
    for name, target in (("link", "elsewhere"), ("again", "set"), ("2.jpg", "elsewhere/1.jpg")):
        (tmp_path / "set" / name).symlink_to(tmp_path / target)
    assert open_images(tmp_path / "set").filenames == ("2.jpg", "link/1.jpg")


def test_folders_called_train_and_test_are_the_splits_and_val_is_drawn(tmp_path):
    names = [*(f"train/female/{i}.jpg" for i in range(20)), *(f"test/female/{i}.jpg" for i in range(4)), "readme.png"]
    images = opened(tmp_path, names)
    assert dict(images.about)["not listed"] == "1 (readme.png), left out"
    assert np.bincount(images.split).tolist() == [18, 2, 4]
    assert dict(images.about)["split"].startswith("by folder: test, train; val drawn from train by file name")
    for name, split in zip(images.filenames, images.split, strict=True):
        assert name.startswith("test/") == (split == 2)


def test_the_drawn_split_is_the_same_from_every_folder_above_and_from_a_zip(tmp_path):
    files = {f"images/deep/{i}.jpg": jpeg(i) for i in range(100)}
    write(tmp_path, {"z/r.zip": zipped(files)} | {f"r/{name}": data for name, data in files.items()})
    splits = [open_images(tmp_path / path).split.tolist() for path in ("r", "r/images", "r/images/deep", "z/r.zip")]
    assert splits[0] == splits[1] == splits[2] == splits[3]
    assert set(splits[0]) == {0, 1, 2}


@pytest.mark.parametrize("spelling", ["sub{0}/face{0}.jpg", "face{0}.jpg", "face{0}"])
def test_a_csv_beside_may_name_files_by_path_name_or_stem(spelling, tmp_path):
    rows = [[spelling.format(i), i % 2, 30 + i, "text"] for i in (2, 0, 1)]
    lines = table(["image", "Smiling", "age", "caption"], rows)
    images = opened(tmp_path, [f"set/sub{i}/face{i}.jpg" for i in range(3)], "set", set=lines)
    assert images.attributes.tolist() == [[False], [True], [False]]
    assert images.names == ("Smiling",)
    assert dict(images.about)["not used"] == "age, caption"


def test_the_spelling_that_finds_most_files_is_used(tmp_path):
    names = ["1.jpg", "sub/2.jpg", "sub/3.JPG", "sub/4.png"]
    images = opened(tmp_path, names, labels=["file,odd", *(f"{i}.jpg,{i % 2}" for i in (1, 2, 3, 4))])
    assert (len(images), images.attributes[:, 0].tolist()) == (4, [True, False, True, False])


@pytest.mark.parametrize(("first", "found"), [("a", [[True]] * 3), ("c", [[]] * 3)])
def test_a_name_that_could_mean_two_rows_is_not_a_match(first, found, tmp_path):
    rows = [f"data/{folder}/{i}.jpg,{int(folder == 'a')}" for folder in (first, "b") for i in (1, 2, 3)]
    images = opened(tmp_path, [f"faces/a/{i}.jpg" for i in (1, 2, 3)], "faces", faces=["file,Smiling", *rows])
    assert images.attributes.tolist() == found


def test_names_are_compared_however_their_accents_and_the_list_are_encoded(tmp_path):
    write_jpegs(tmp_path, unicodedata.normalize("NFD", "José.jpg"))
    text = unicodedata.normalize("NFC", "file,Smiling\nJosé.jpg,1\n")
    for coding in ("utf-8", "utf-16"):
        (tmp_path / "labels.csv").write_text(text, coding)
        assert open_images(tmp_path).attributes.tolist() == [[True]]
    (tmp_path / "labels.csv").write_text(text, "latin-1")
    with pytest.raises(UserError, match=r"labels.csv is not UTF-8 text .*Save it as UTF-8"):
        open_images(tmp_path)


def test_images_without_a_row_are_left_out_and_rows_without_an_image_are_missing(tmp_path):
    labels, results = ["file,Male", "1.jpg,1", "2.jpg,0", "9.jpg,1"], ["run,good", "a,1", "b,0"]
    images = opened(tmp_path, [f"{i}.jpg" for i in range(4)], labels=labels, results=results)
    assert (images.filenames, images.missing, images.names) == (("1.jpg", "2.jpg"), ("9.jpg",), ("Male",))
    assert dict(images.about)["not listed"] == "2 (0.jpg, 3.jpg), left out"
    assert dict(images.about)["not used"] == "results.csv"


def test_people_who_are_not_named_are_not_one_person(tmp_path):
    names = [f"{i}.jpg" for i in range(100)]
    people = [f"{name},{'7' if i < 5 else ' '}" for i, name in enumerate(names)]
    assert 78 <= (opened(tmp_path, names, people=["file,identity", *people]).split == 0).sum() <= 82


def test_nobody_of_lfw_is_in_two_splits(tmp_path):
    images = opened(
        tmp_path, [f"lfw/Person_{who}/Person_{who}_{i:04d}.jpg" for who in range(30) for i in range(1, 1 + who % 4)]
    )
    of = {}
    for name, split in zip(images.filenames, images.split.tolist(), strict=True):
        of.setdefault(name.split("/")[0], set()).add(split)
    assert {len(splits) for splits in of.values()} == {1}
    assert set.union(*of.values()) == {0, 1, 2}
    assert "drawn from train by folder, one for each person" in dict(images.about)["split"]


def test_folders_of_a_few_classes_are_not_people(tmp_path):
    images = opened(tmp_path, [f"{kind}/{kind}_{i}.jpg" for kind in ("smiling", "neutral") for i in range(10)])
    assert "by file name" in dict(images.about)["split"]


# Zips, and what cannot be read.


def stamp(path: Path) -> str:
    images = open_images(path)
    return images.files.stamp(images.members)


def test_the_stamp_changes_with_the_images_and_not_with_the_place_of_a_zip(album, tmp_path, monkeypatch):
    changed = Album([*album.jpegs[:-1], jpeg(99)], album.names, album.values, album.split, album.identities)
    root = official_zip(tmp_path / "a", album)
    before = stamp(root)
    root.rename(tmp_path / "b")
    assert stamp(tmp_path / "b") == before != stamp(official_zip(tmp_path / "c", changed))
    root = official_folder(tmp_path / "d", album)
    before = stamp(root)
    assert stamp(root) == before
    (root / "img_align_celeba" / album.files[3]).write_bytes(jpeg(99))
    after = stamp(root)
    monkeypatch.setattr("os.access", lambda *_: False)  # a file that becomes readable is another state
    assert len({before, after, stamp(root)}) == 3


@pytest.mark.parametrize("what", ["kaggle_zip", "hugging_face"])
def test_a_sample_picture_beside_a_zip_or_shards_is_not_taken_for_the_set(what, album, tmp_path):
    LAYOUTS[what](tmp_path, album)
    shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
    write_jpegs(tmp_path, "preview.png")
    with pytest.raises(UserError, match=r"holds 1 images \(preview.png, ...\), and also .*Give the path of what"):
        open_images(tmp_path)


def test_a_path_without_images_is_told(tmp_path):
    with pytest.raises(UserError, match=r"There is no .*nowhere. Expected a folder of images, CelebA's folder or zip"):
        open_images(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no images. Expected JPEG, PNG"):
        open_images(tmp_path)
    for name in ("a.heic", "b.zip", "c.zip", "d.7z"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"holds no images. It holds 1 .7z, 1 .heic, 2 .zip."):
        open_images(tmp_path)
    with pytest.raises(UserError, match=r"d.7z is not a folder, a zip or a parquet file. Unpack other archives first"):
        open_images(tmp_path / "d.7z")


# Lists in several files.


def test_a_list_for_each_split_gives_labels_and_splits(tmp_path):
    """As FairFace: train.csv and val.csv name disjoint files; here all files are in one folder."""
    names = [f"images/{i}.jpg" for i in range(12)]
    rows = [f"{name},{i % 2}" for i, name in enumerate(names)]
    train, val = ["file,Smiling", *rows[:8]], ["file,Smiling", *rows[8:]]
    images = opened(tmp_path, names, label_train=train, label_val=val)
    assert images.attributes[:, 0].tolist() == [i % 2 == 1 for i in range(12)]
    assert (images.split == 2).sum() == 1  # a test split is drawn from train
    assert np.flatnonzero(images.split == 1).tolist() == [8, 9, 10, 11]
    assert dict(images.about)["split"].startswith("by the names of the lists; test drawn from train by file name")
    assert images.missing == ()


@pytest.mark.parametrize("place", ["{}/metadata", "{}"])
def test_a_list_of_a_split_may_name_its_files_without_the_folder(place, tmp_path):
    """As Hugging Face's imagefolder: the same names are in every split."""
    names = [f"{i}.jpg" for i in range(10)]
    lists = {
        "train": [f"{name},{i % 2}" for i, name in enumerate(names)],
        "test": [f"{name},1" for name in names],
    }
    lists = {place.format(split): ["file_name,Smiling", *rows] for split, rows in lists.items()}
    images = opened(tmp_path, [f"{split}/{name}" for split in ("train", "test") for name in names], **lists)
    assert len(images) == 20
    for name, smiling, split in zip(images.filenames, images.attributes[:, 0], images.split, strict=True):
        assert smiling == (name.startswith("test/") or int(name[6]) % 2)
        assert (split == 2) == name.startswith("test/")


def test_a_second_list_may_cover_a_part_of_the_files(tmp_path, capsys):
    names = [f"{i}.jpg" for i in range(6)]
    labels = ["file,Smiling", *(f"{name},1" for name in names)]
    images = opened(tmp_path / "set", names, labels=labels, quality=["file,Sharp", "4.jpg,1", "1.jpg,1"])
    assert images.names == ("Smiling", "Sharp")
    assert images.attributes[:, 1].tolist() == [False, True, False, False, True, False]
    assert dict(images.about)["unknown"] == "1 (Sharp) of 4 images, counted as false"
    prepare(images, Rendering(8), cache_dir=tmp_path / "cache")
    assert "Unknown: 1 (Sharp) of 4 images, counted as false." in capsys.readouterr().err
    assert opened(tmp_path / "set", [], again=["file,Sharp", "1.jpg,1"]).attributes.sum() == images.attributes.sum()
    with pytest.raises(UserError, match=r"quality.csv and another list disagree about Sharp. Remove one"):
        opened(tmp_path / "set", [], again=["file,Sharp", "1.jpg,0"])


@pytest.mark.parametrize("change", ["renamed", "no count", "empty cell"])
def test_celebas_attributes_may_be_renamed_or_edited(change, album, tmp_path):
    root = official_folder(tmp_path, album)
    lines = album.attribute_lines()
    if change == "empty cell":
        lines = [",".join(line.split()) for line in (f"image {lines[1]}", *lines[2:])]
        lines[3] = lines[3].removesuffix("1").removesuffix("-")
    (root / "list_attr_celeba.txt").unlink()
    images = open_images(write(root, {"list_attr_celeba.csv": lines[1:] if change == "no count" else lines}))
    expected = album.values.copy()
    if change == "empty cell":
        expected[2, -1] = False
        assert dict(images.about)["unknown"] == "1 (Attribute_39) of 1 images, counted as false"
    np.testing.assert_array_equal(images.attributes, expected)


# What is not data.


@pytest.mark.parametrize("mark", ["/", "\\"])
def test_a_zip_of_any_images_is_read_in_place_also_with_backslashes(mark, album, tmp_path):
    LAYOUTS["folder_of_splits"](tmp_path / "unpacked", album)
    files = {path: path.relative_to(tmp_path / "unpacked") for path in (tmp_path / "unpacked").rglob("*.*")}
    packed = {name.as_posix().replace("/", mark): path.read_bytes() for path, name in files.items()}
    others = {f"train{mark}": b"", f"__MACOSX{mark}y.jpg": b""}
    write(tmp_path / "one", {"x.zip": zipped(packed | others), "results.csv": ["run,good", "x,1"]})
    for path in (tmp_path / "one", tmp_path / "one" / "x.zip"):
        images = open_images(path)
        assert images.layout == "images (zip, read in place)"
        order = np.argsort(images.split, kind="stable")
        np.testing.assert_array_equal(images.split[order], album.split)
        np.testing.assert_array_equal(images.attributes[order], album.values)
        assert images.read(COUNT - 1) in album.jpegs


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    write_jpegs(tmp_path / "set", "1.jpg", "closed/3.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"The folder .*closed cannot be listed \(Permission denied\). Check its perm"):
        open_images(tmp_path / "set")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.jpg", "the first one, a.jpg: a git-lfs pointer: run `git lfs pull`"),
        ("img_align_celeba.zip", "celeba.zip is not a zip file. It is a git-lfs pointer.* run `git lfs pull`"),
        ("x.parquet", "x.parquet is not a parquet file. It is a git-lfs pointer.* run `git lfs pull`"),
        ("list_attr_celeba.txt", "list .*celeba.txt could not be read. It is a git-lfs pointer.* run `git lfs pull`"),
    ],
)
def test_a_git_lfs_pointer_is_told(name, says, tmp_path):
    write(tmp_path, {name: POINTER} | ({"1.jpg": jpeg(1)} if name.endswith(".txt") else {}))
    with pytest.raises(UserError, match=says):
        prepare(open_images(tmp_path), Rendering(), cache_dir=tmp_path / "cache", progress=False)


def test_pictures_of_a_run_below_the_images_are_not_images(tmp_path):
    write(
        write_jpegs(tmp_path, "a.jpg", "b.jpg", "runs/vae/pictures/samples-0001.jpg"),
        {"runs/vae/metrics.csv": ["step"]},
    )
    assert len(open_images(tmp_path)) == 3
    write(tmp_path, {"runs/vae/config.yaml": ["name: vae"]})
    (tmp_path / "runs" / "vae" / "checkpoints").mkdir()
    assert open_images(tmp_path).filenames == ("a.jpg", "b.jpg")
