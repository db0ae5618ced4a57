"""The decoded cache, on a source that lives in memory."""

import errno
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dfcvae.data import cache
from dfcvae.data.cache import Rendering, cache_root, cached, prepare
from dfcvae.errors import UserError

SPLIT = np.array([0, 2, 1, 0, 0, 2, 1, 0, 2, 0], np.int8)


@dataclass
class Drawn:
    """Ten images in memory, their splits interleaved; counts what is read."""

    pixels: NDArray[np.uint8]
    attributes: NDArray[np.bool_]
    split: NDArray[np.int8] = field(default_factory=SPLIT.copy)
    names: tuple[str, ...] = ("Smiling", "Male")
    missing: tuple[str, ...] = ()
    path: Path = Path("drawn")
    reads: int = 0
    fail_at: int | None = None

    @property
    def filenames(self) -> tuple[str, ...]:
        return tuple(f"{i}.png" for i in range(len(self.pixels)))

    def read(self, i: int) -> Image.Image:
        self.reads += 1
        if i == self.fail_at:
            raise KeyboardInterrupt
        return Image.fromarray(self.pixels[i])

    def stamp(self) -> str:
        return str(self.pixels.sum())


@pytest.fixture
def source() -> Drawn:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (len(SPLIT), 109, 89, 3), np.uint8)
    return Drawn(pixels, random.random((len(SPLIT), 2)) < 0.5)


def naive(pixels: NDArray[np.uint8], left: int, top: int, side: int, size: int) -> NDArray[np.float64]:
    """Crop by slicing, then antialiased bilinear resize as a product with hat-shaped weights."""
    scale = side / size
    centre = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(side) + 0.5 - centre[:, None]) / max(scale, 1)
    weight = np.clip(1 - distance, 0, None)
    weight /= weight.sum(1, keepdims=True)
    face = pixels[top : top + side, left : left + side].astype(float)
    return np.einsum("ai,bj,ijc->cab", weight, weight, face, optimize=True)


@pytest.mark.parametrize(
    ("width", "height", "crop", "left", "top", "side"),
    [
        (178, 218, 148, 15, 35, 148),
        (89, 109, 148, 8, 18, 74),
        (178, 218, 108, 35, 55, 108),
        (356, 436, 178, 0, 40, 356),
        (218, 218, 148, 35, 35, 148),
    ],
)
def test_crop_and_resize_equal_a_naive_computation(width, height, crop, left, top, side):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    rendered = Rendering(32, 3, crop, "bilinear").render(Image.fromarray(pixels))
    assert rendered.shape == (3, 32, 32)
    assert rendered.dtype == np.uint8
    # Pillow rounds to 8 bits between rows and columns
    np.testing.assert_allclose(rendered, naive(pixels, left, top, side, 32), atol=1.01)


def test_a_crop_of_its_own_size_is_only_cut_out(source):
    rendered = Rendering(74, 3, 148, "bilinear").render(source.read(0))
    np.testing.assert_array_equal(rendered, source.pixels[0, 18:92, 8:82].transpose(2, 0, 1))


def test_one_channel_is_luma(source):
    rendered = Rendering(74, 1, 148, "bilinear").render(source.read(0))
    luma = source.pixels[0, 18:92, 8:82] @ np.array([0.299, 0.587, 0.114])
    assert rendered.shape == (1, 74, 74)
    np.testing.assert_allclose(rendered[0], luma, atol=0.51)


def test_filters_differ(source):
    results = [Rendering(16, 3, 148, name).render(source.read(0)).tobytes() for name in cache.FILTERS]
    assert len(set(results)) == len(cache.FILTERS) == 3


def test_splits_hold_their_own_rows_in_source_order(source, tmp_path):
    splits = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert list(splits) == ["train", "val", "test"]
    for index, faces in enumerate(splits.values()):
        rows = np.flatnonzero(source.split == index)
        expected = [Rendering(16, 3, 148, "bilinear").render(source.read(i)) for i in rows]
        np.testing.assert_array_equal(faces.images.numpy(), np.stack(expected))
        np.testing.assert_array_equal(faces.attributes.numpy(), source.attributes[rows])
        assert faces.images.dtype == torch.uint8
        assert faces.attributes.dtype == torch.bool
        assert faces.names == ("Smiling", "Male")
        assert len(faces) == len(rows)


def test_splits_are_views_of_one_map_that_cannot_change_the_file(source, tmp_path):
    first = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    storages = {faces.images.untyped_storage().data_ptr() for faces in first.values()}
    assert len(storages) == 1
    before = first["train"].images.clone()
    first["train"].images.zero_()
    assert torch.equal(prepare(source, size=16, cache_dir=tmp_path)["train"].images, before)


def test_an_empty_split_is_empty(source, tmp_path):
    source.split[:] = 2
    splits = prepare(source, size=8, cache_dir=tmp_path, progress=False)
    assert [len(faces) for faces in splits.values()] == [0, 0, 10]
    assert splits["train"].images.shape == (0, 3, 8, 8)


def test_second_call_reads_no_image(source, tmp_path):
    first = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert source.reads == len(SPLIT)
    second = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert source.reads == len(SPLIT)
    for split in first:
        assert torch.equal(first[split].images, second[split].images)
        assert torch.equal(first[split].attributes, second[split].attributes)


@pytest.mark.parametrize("setting", [{"size": 12}, {"channels": 1}, {"crop": 108}, {"filter": "bicubic"}])
def test_other_settings_are_another_cache(source, tmp_path, setting):
    usual = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    other = prepare(source, **{"size": 16, **setting}, cache_dir=tmp_path, progress=False)
    assert source.reads == 2 * len(SPLIT)
    assert len(list(tmp_path.iterdir())) == 2
    assert not torch.equal(usual["train"].images, other["train"].images)


def test_another_source_is_another_cache(source, tmp_path):
    changed_attributes = source.attributes.copy()
    changed_attributes[3, 1] ^= True
    others = [
        replace(source, pixels=255 - source.pixels),
        replace(source, attributes=changed_attributes),
        replace(source, split=SPLIT[::-1].copy()),
        replace(source, names=("Smiling", "Young")),
    ]
    for one in [source, *others]:
        prepare(one, size=8, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 5


def test_another_pillow_is_another_cache(source, tmp_path, monkeypatch):
    prepare(source, size=8, cache_dir=tmp_path, progress=False)
    monkeypatch.setattr(PIL, "__version__", "0.1")
    prepare(source, size=8, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_result_does_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 7)  # many chunks, the last one short
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (100, 109, 89, 3), np.uint8)
    many = Drawn(pixels, random.random((100, 2)) < 0.5, split=random.integers(0, 3, 100).astype(np.int8))
    files = []
    for workers in (1, 2, 5):
        prepare(many, size=24, cache_dir=tmp_path / str(workers), workers=workers, progress=False)
        files.append(next(tmp_path.glob(f"{workers}/*/images.npy")).read_bytes())
    assert files[0] == files[1] == files[2]


def test_an_interrupted_run_leaves_nothing_and_the_next_one_succeeds(source, tmp_path):
    source.fail_at = 7
    with pytest.raises(KeyboardInterrupt):
        prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    source.fail_at = None
    assert len(prepare(source, size=16, cache_dir=tmp_path, progress=False)["train"]) == 5


def test_a_killed_run_is_ignored_and_swept_up_after_a_day(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process cleans up nothing
    source.fail_at = 7
    with pytest.raises(KeyboardInterrupt):
        prepare(source, size=16, cache_dir=tmp_path, progress=False)
    monkeypatch.undo()
    source.fail_at = None
    [leftover] = tmp_path.iterdir()

    prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert leftover.exists()  # may be another process at work
    two_days_ago = time.time() - 2 * 86_400
    os.utime(leftover, (two_days_ago, two_days_ago))
    prepare(source, size=8, cache_dir=tmp_path, progress=False)
    assert not leftover.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_two_processes_at_once_are_harmless(source, tmp_path, monkeypatch):
    """While one is about to publish its result, another one with the same task has done so."""
    rename, rivals = os.rename, []

    def late(before, after):
        monkeypatch.setattr(os, "rename", rename)
        rivals.append(prepare(source, size=16, cache_dir=tmp_path, progress=False))
        rename(before, after)

    monkeypatch.setattr(os, "rename", late)
    splits = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert source.reads == 2 * len(SPLIT)
    assert torch.equal(splits["test"].images, rivals[0]["test"].images)
    assert len(list(tmp_path.iterdir())) == 1


def test_cache_folder_is_chosen_by_argument_then_variable_then_system(tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"
    assert cache_root() == tmp_path / "variable"
    monkeypatch.delenv("DFCVAE_CACHE")
    assert cache_root() == tmp_path / "xdg" / "dfcvae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "dfcvae"


def test_cached_tells_what_was_made_from_this_source(source, tmp_path):
    assert cached(source, tmp_path) == []
    prepare(source, size=16, channels=1, crop=108, filter="lanczos", cache_dir=tmp_path, progress=False)
    [line] = cached(source, tmp_path)
    assert line.startswith("16 px luma, crop 108, lanczos: ")
    assert Path(line.rpartition(": ")[2]).is_dir()
    assert cached(replace(source, names=("Smiling", "Young")), tmp_path) == []
    assert cached(replace(source, missing=("1.png",)), tmp_path) == []


def test_progress_goes_to_stderr_and_can_be_silenced(source, tmp_path, capsys):
    prepare(source, size=8, cache_dir=tmp_path)
    shown = capsys.readouterr()
    assert "decoding: 100%" in shown.err
    assert "10/10" in shown.err
    assert shown.out == ""
    prepare(source, size=9, cache_dir=tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"size": 0}, "image size should be at least 1 pixel, not 0"),
        ({"channels": 4}, r"3 channels \(RGB\) or 1 \(luma\), not 4"),
        ({"crop": 0}, "crop should be 1 to 178 pixels of CelebA, not 0"),
        ({"crop": 179}, "crop should be 1 to 178 pixels of CelebA, not 179"),
        (
            {"filter": "bicubi"},
            r"one of bilinear, bicubic, lanczos, not 'bicubi' \(did you mean 'bicubic'\?\)",
        ),
        ({"workers": 0}, "at least 1 worker, not 0"),
    ],
)
def test_impossible_settings_are_refused(source, tmp_path, setting, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare(source, **setting, cache_dir=tmp_path)
    assert source.reads == 0


def test_missing_images_are_counted_and_named(source, tmp_path):
    source.missing = ("1.png", "4.png", "5.png", "8.png")
    with pytest.raises(UserError, match=r"Of 10 listed images 4 \(1.png, 4.png, 5.png, ...\) are not in drawn"):
        prepare(source, cache_dir=tmp_path)


def test_a_cache_folder_that_cannot_be_written_is_told(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Could not write the decoded images to .*file.*DFCVAE_CACHE"):
        prepare(source, cache_dir=tmp_path / "file", progress=False)


def test_a_full_disk_is_told_and_leaves_nothing(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device. Free some space"):
        prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["images.npy", "attributes.npy", "split.npy", "cache.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_cache_is_told(source, tmp_path, name, damage):
    prepare(source, size=16, cache_dir=tmp_path, progress=False)
    [file] = tmp_path.glob(f"*/{name}")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"are damaged: .* Delete this folder and start again"):
        prepare(source, size=16, cache_dir=tmp_path, progress=False)


def test_faces_subset_is_the_first_ones_without_a_copy(source, tmp_path):
    train = prepare(source, size=8, cache_dir=tmp_path, progress=False)["train"]
    few = train.subset(2)
    assert len(few) == 2
    assert few.names == train.names
    assert torch.equal(few.images, train.images[:2])
    assert torch.equal(few.attributes, train.attributes[:2])
    assert few.images.data_ptr() == train.images.data_ptr()
    for n in (0, 6):
        with pytest.raises(UserError, match=rf"first {n} faces, but there are 5. Choose 1 to 5"):
            train.subset(n)


def test_faces_that_do_not_fit_together_are_refused(source, tmp_path):
    train = prepare(source, size=8, cache_dir=tmp_path, progress=False)["train"]
    with pytest.raises(ValueError, match=r"5 images with 1 attribute names need attributes of shape \(5, 1\)"):
        replace(train, names=("Smiling",))
