"""The decoded cache, on a set of images that lives in memory."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL
import pytest
import torch
from filelock import FileLock
from PIL import Image

from dfcvae.data import TrainingBatches, building, workers
from dfcvae.data.cache import cache_root, caches, caches_of, check, prepare
from dfcvae.errors import UserError
from dfcvae.intake import ImageSet, Undecodable
from dfcvae.intake.rendering import Rendering
from dfcvae.intake.survey import read_looks

SPLIT = np.array([0, 2, 1, 0, 0, 2, 1, 0, 2, 0], np.int8)


@dataclass
class InMemory:
    """Encoded images; counts what is read, and can be interrupted."""

    encoded: list[bytes]
    reads: list[int] = field(default_factory=list)
    fail_at: int | None = None

    def read(self, i: int) -> bytes:
        self.reads.append(i)
        if i == self.fail_at:
            raise KeyboardInterrupt
        if not self.encoded[i]:
            raise Undecodable("gone")
        return self.encoded[i]

    def stamp(self) -> str:
        return str([hash(data) for data in self.encoded])


def set_chunk(monkeypatch, images: int) -> None:
    monkeypatch.setattr(building, "CHUNK", images)
    monkeypatch.setattr(workers, "CHUNK", images)


def png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def make(n: int, split: np.ndarray, seed: int = 0) -> ImageSet:
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (n, 109, 89, 3), np.uint8)
    names = tuple(f"{i}.png" for i in range(n))
    attributes = random.random((n, 2)) < 0.5
    files = InMemory([png(picture) for picture in pictures])
    return ImageSet(Path("memory"), "images", files, names, attributes, ("Smiling", "Male"), split)


@pytest.fixture
def source() -> ImageSet:
    return make(len(SPLIT), SPLIT.copy())


def pixels_of(source: ImageSet, i: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(source.files.encoded[i])))


def folders(cache: Path) -> list[Path]:
    """The finished caches."""
    return sorted(folder for folder in cache.glob("[!.]*") if folder.is_dir())


def test_splits_hold_their_own_rows_in_source_order(source, tmp_path):
    splits = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert list(splits) == ["train", "val", "test"]
    for index, faces in enumerate(splits.values()):
        rows = np.flatnonzero(source.split == index)
        expected = [Rendering(16, 3, 148, "bilinear").render(Image.fromarray(pixels_of(source, i))) for i in rows]
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


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_both_kinds_of_colour(source, tmp_path, size, channels):
    splits = prepare(source, size=size, channels=channels, cache_dir=tmp_path, progress=False)
    images = next(iter(TrainingBatches(splits["train"], 2, seed=0))).images
    assert images.shape == (2, channels, size, size)
    whole = np.stack([pixels_of(source, i) for i in np.flatnonzero(SPLIT == 0)]).astype(float)
    shown = splits["train"].images.float().mean().item()
    assert abs(shown - whole[:, 18:92, 8:82].mean()) < 2  # the crop's mean survives the resize and the luma


def test_an_empty_split_is_empty(source, tmp_path):
    source.split[:] = 2
    splits = prepare(source, size=8, cache_dir=tmp_path, progress=False)
    assert [len(faces) for faces in splits.values()] == [0, 0, 10]
    assert splits["train"].images.shape == (0, 3, 8, 8)


def test_second_call_reads_no_image(source, tmp_path):
    first = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert len(source.files.reads) == len(SPLIT)
    second = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    assert len(source.files.reads) == len(SPLIT)
    for split in first:
        assert torch.equal(first[split].images, second[split].images)
        assert torch.equal(first[split].attributes, second[split].attributes)


@pytest.mark.parametrize("setting", [{"size": 12}, {"channels": 1}, {"crop": 108}, {"filter": "bicubic"}])
def test_other_settings_are_another_cache(source, tmp_path, setting):
    usual = prepare(source, size=16, cache_dir=tmp_path, progress=False)
    other = prepare(source, **{"size": 16, **setting}, cache_dir=tmp_path, progress=False)
    assert len(source.files.reads) == 2 * len(SPLIT)
    assert len(folders(tmp_path)) == 2
    assert not torch.equal(usual["train"].images, other["train"].images)


def test_another_source_is_another_cache(source, tmp_path):
    changed_attributes = source.attributes.copy()
    changed_attributes[3, 1] ^= True
    others = [
        replace(source, files=InMemory(source.files.encoded[::-1])),
        replace(source, attributes=changed_attributes),
        replace(source, split=SPLIT[::-1].copy()),
        replace(source, names=("Smiling", "Young")),
    ]
    for one in [source, *others]:
        prepare(one, size=8, cache_dir=tmp_path, progress=False)
    assert len(folders(tmp_path)) == 5


def test_another_pillow_is_another_cache(source, tmp_path, monkeypatch):
    prepare(source, size=8, cache_dir=tmp_path, progress=False)
    monkeypatch.setattr(PIL, "__version__", "0.1")
    prepare(source, size=8, cache_dir=tmp_path, progress=False)
    assert len(folders(tmp_path)) == 2


def test_result_does_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    set_chunk(monkeypatch, 7)  # many chunks, the last one short
    many = make(100, np.random.default_rng(2).integers(0, 3, 100).astype(np.int8))
    files = []
    for count in (1, 2, 5):
        prepare(many, size=24, cache_dir=tmp_path / str(count), workers=count, progress=False)
        [folder] = folders(tmp_path / str(count))
        files.append([(folder / name).read_bytes() for name in building.FILES])
    assert files[0] == files[1] == files[2]


def interrupted(many: ImageSet, cache: Path, at: int) -> None:
    many.files.fail_at = at
    with pytest.raises(KeyboardInterrupt):
        prepare(many, size=24, cache_dir=cache, workers=1, progress=False)
    many.files.fail_at = None
    many.files.reads.clear()


@pytest.fixture
def many(monkeypatch):
    set_chunk(monkeypatch, 8)
    return make(60, np.zeros(60, np.int8))


def test_an_interrupted_run_is_gone_on_with_and_gives_the_same_bytes(many, tmp_path):
    prepare(many, size=24, cache_dir=tmp_path / "whole", progress=False)
    interrupted(many, tmp_path / "parts", at=30)
    assert folders(tmp_path / "parts") == []
    prepare(many, size=24, cache_dir=tmp_path / "parts", progress=False)
    assert set(many.files.reads) == set(range(24, 60))  # three chunks of eight were done
    [whole], [parts] = folders(tmp_path / "whole"), folders(tmp_path / "parts")
    for name in building.FILES:
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_what_was_lost_on_the_way_to_the_disk_is_decoded_again(many, tmp_path):
    """After a crash of the machine the log may be ahead of the pixels, and its last line cut."""
    interrupted(many, tmp_path, at=30)
    [partial] = tmp_path.glob(".*.partial")
    with open(partial / "images.npy", "r+b") as file:
        file.seek(building.HEADER + 9 * 24 * 24 * 3)
        file.write(b"\0" * 100)  # in the second chunk
    log = (partial / building.LOG).read_text()
    (partial / building.LOG).write_text(log[:-50])
    splits = prepare(many, size=24, cache_dir=tmp_path, progress=False)
    assert set(many.files.reads) == set(range(8, 60))
    whole = prepare(many, size=24, cache_dir=tmp_path / "whole", progress=False)
    assert torch.equal(splits["train"].images, whole["train"].images)


def test_unreadable_images_leave_no_gap(many, tmp_path):
    prepare(many, size=24, cache_dir=tmp_path / "all", progress=False)
    everything = prepare(many, size=24, cache_dir=tmp_path / "all", progress=False)["train"]
    for i, content in {3: b"", 17: b"no image", 59: many.files.encoded[59][:300]}.items():
        many.files.encoded[i] = content
    few = prepare(many, size=24, cache_dir=tmp_path / "few", progress=False)["train"]
    kept = [i for i in range(60) if i not in (3, 17, 59)]
    assert torch.equal(few.images, everything.images[kept])
    assert torch.equal(few.attributes, everything.attributes[kept])
    [folder] = folders(tmp_path / "few")
    assert (folder / "images.npy").stat().st_size == building.HEADER + 57 * 24 * 24 * 3
    assert [look.name for look in read_looks(folder / "files.csv") if look.problem] == ["3.png", "17.png", "59.png"]


def test_unreadable_and_missing_images_are_told_and_refused_on_request(source, tmp_path, capsys):
    source.files.encoded[4] = b""
    source = replace(source, missing=("x.png", "y.png"))
    prepare(source, size=16, cache_dir=tmp_path)
    error = capsys.readouterr().err
    assert "Left out: 2 listed but missing, 1 unreadable (4.png: gone)." in error
    with pytest.raises(UserError, match=r"listed but not in memory: 2 \(x.png, y.png\). Complete the data set"):
        prepare(source, size=16, cache_dir=tmp_path, strict=True)
    with pytest.raises(UserError, match=r"1 images of memory are unreadable \(4.png: gone\). Complete the data set"):
        prepare(replace(source, missing=()), size=16, cache_dir=tmp_path, strict=True)


def test_a_set_without_any_image_is_refused(source, tmp_path):
    source.files.encoded[:] = [b""] * len(SPLIT)
    with pytest.raises(
        UserError, match=r"None of the 10 files of memory is a readable image; the first one, 0.png: gone"
    ):
        prepare(source, size=16, cache_dir=tmp_path, progress=False)
    with pytest.raises(UserError, match=r"None of the 1 listed images is in memory"):
        prepare(replace(make(0, SPLIT[:0]), missing=("a.jpg",)), cache_dir=tmp_path)


def test_an_unfinished_cache_is_kept_for_a_month(many, tmp_path):
    interrupted(many, tmp_path, at=30)
    [leftover] = tmp_path.glob(".*.partial")
    prepare(many, size=16, cache_dir=tmp_path, progress=False)
    assert leftover.exists()
    long_ago = time.time() - 31 * 86_400
    os.utime(leftover, (long_ago, long_ago))
    prepare(many, size=8, cache_dir=tmp_path, progress=False)
    assert not leftover.exists()


def test_who_comes_second_waits_and_decodes_nothing(source, tmp_path, capsys):
    prepare(source, size=16, cache_dir=tmp_path, progress=False)
    [folder] = folders(tmp_path)
    source.files.reads.clear()
    folder.rename(tmp_path / ".finished")  # as if another process, which holds the lock, had not published it yet

    working = threading.Event()

    def publish():
        with FileLock(tmp_path / f".{folder.name}.lock"):
            working.set()
            time.sleep(0.3)
            (tmp_path / ".finished").rename(folder)

    other = threading.Thread(target=publish)
    other.start()
    working.wait()
    prepare(source, size=16, cache_dir=tmp_path)
    other.join()
    assert source.files.reads == []
    assert "Another process is decoding this data set; waiting for it." in capsys.readouterr().err


PREPARE = """
import sys
from dfcvae.data import open_images, prepare
print(sum(map(len, prepare(open_images(sys.argv[1]), size=64, cache_dir=sys.argv[2], progress=False).values())))
"""


@pytest.mark.slow
def test_processes_at_once_and_killed_ones_leave_one_right_cache(tmp_path):
    """Real processes on real files: one is killed in the middle, then two run at once."""
    many = make(700, np.zeros(700, np.int8))
    (tmp_path / "faces").mkdir()
    for name, data in zip(many.filenames, many.files.encoded, strict=True):
        (tmp_path / "faces" / name).write_bytes(data)
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "faces"), str(tmp_path / "cache")]
    first = subprocess.Popen(command)
    deadline = time.time() + 60
    while not list(tmp_path.glob("cache/.*.partial/log.jsonl")) and time.time() < deadline:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["700\n", "700\n"]
    [folder] = folders(tmp_path / "cache")
    assert check(folder, json.loads((folder / "cache.json").read_text())) == []
    assert list(tmp_path.glob("cache/.*.partial")) == []


def test_too_small_a_disk_is_told_before_anything_is_written(many, tmp_path, monkeypatch):
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"Decoding 60 images at 24 px takes 0.0 GB in .*DFCVAE_CACHE"):
        prepare(many, size=24, cache_dir=tmp_path, progress=False)
    assert many.files.reads == []


def test_a_full_disk_is_told_and_work_is_kept(many, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device. Free some space.*what is decoded already is kept"):
        prepare(many, size=16, cache_dir=tmp_path, progress=False)
    monkeypatch.undo()
    many.files.reads.clear()
    set_chunk(monkeypatch, 8)
    prepare(many, size=16, cache_dir=tmp_path, progress=False)
    assert len(many.files.reads) in (0, 60)


def test_check_finds_any_flipped_bit(source, tmp_path):
    prepare(source, size=16, cache_dir=tmp_path, progress=False)
    [(folder, about)] = caches(tmp_path)
    assert check(folder, about) == []
    for name in building.FILES:
        good = (folder / name).read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        (folder / name).write_bytes(bad)
        assert check(folder, about) == [f"{name} has changed: its checksum is not the one it was written with"]
        (folder / name).write_bytes(good)
    (folder / "split.npy").unlink()
    assert check(folder, about) == ["split.npy is missing"]
    assert "no checksums" in check(folder, {})[0]


def test_caches_of_a_set_are_those_made_from_it_as_it_is(source, tmp_path):
    assert caches_of(source, tmp_path) == []
    prepare(source, size=16, channels=1, crop=108, filter="box", cache_dir=tmp_path, progress=False)
    [(folder, about)] = caches_of(source, tmp_path)
    assert folder.is_dir()
    assert about["identity"].items() >= {"size": 16, "channels": 1, "crop": 108, "filter": "box"}.items()
    assert caches_of(replace(source, names=("Smiling", "Young")), tmp_path) == []
    (folder / "cache.json").write_text("{")  # damaged: listed, but nobody's
    assert caches_of(source, tmp_path) == []
    assert [about for _, about in caches(tmp_path)] == [{}]


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


def test_progress_goes_to_stderr_and_can_be_silenced(source, tmp_path, capsys):
    prepare(source, size=8, cache_dir=tmp_path)
    shown = capsys.readouterr()
    assert "decoding: 100%" in shown.err
    assert "10/10" in shown.err
    assert shown.out == ""
    prepare(source, size=9, cache_dir=tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")


def test_less_than_one_worker_is_refused(source, tmp_path):
    with pytest.raises(UserError, match="at least 1 worker, not 0"):
        prepare(source, workers=0, cache_dir=tmp_path)


def test_a_cache_folder_that_cannot_be_written_is_told(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Could not write the decoded images to .*file.*DFCVAE_CACHE"):
        prepare(source, cache_dir=tmp_path / "file", progress=False)


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
