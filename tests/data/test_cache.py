"""The decoded cache, on a set of images in memory, and the processes that fill it."""

import errno
import io
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from filelock import FileLock
from PIL import Image

from dfcvae.data import cache as caching
from dfcvae.data.cache import FILES, caches, caches_of, check, in_chunks, prepare, read_looks
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering, Undecodable
from dfcvae.data.folders import ImageSet
from dfcvae.errors import UserError
from dfcvae.files import cache_root
from tests.broken import flipped
from tests.hostile import encoded
from tests.layouts import hugging_face, official_folder, official_zip, small_album, write

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

    def stamp(self, members) -> str:
        return str([hash(data) for data in self.encoded])


def make(n: int, split: np.ndarray, seed: int = 0) -> ImageSet:
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (n, 109, 89, 3), np.uint8)
    names = tuple(f"{i}.png" for i in range(n))
    attributes = random.random((n, 2)) < 0.5
    files = InMemory([encoded(Image.fromarray(picture), "PNG") for picture in pictures])
    return ImageSet(Path("memory"), "images", files, names, range(n), attributes, ("Smiling", "Male"), split)


@pytest.fixture
def source() -> ImageSet:
    return make(len(SPLIT), SPLIT.copy())


@pytest.fixture
def many(monkeypatch) -> ImageSet:
    """Many chunks, the last one short."""
    monkeypatch.setattr(caching, "CHUNK", 7)
    return make(100, np.random.default_rng(2).integers(0, 3, 100).astype(np.int8))


@pytest.fixture
def prepared(tmp_path):
    """`prepare` in this test's folder, without a progress bar."""

    def with_settings(source, strict=False, progress=False, **settings):
        return prepare(source, Rendering(**settings), cache_dir=tmp_path, strict=strict, progress=progress)

    return with_settings


def pixels_of(source: ImageSet, i: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(source.files.encoded[i])))


def folders(cache: Path) -> list[Path]:
    """The finished caches."""
    return sorted(folder for folder in cache.glob("[!.]*") if folder.is_dir())


def contents(cache: Path) -> list[bytes]:
    """The files of the only cache."""
    [folder] = folders(cache)
    return [(folder / name).read_bytes() for name in FILES]


def test_splits_hold_their_own_rows_in_source_order(source, prepared):
    splits = prepared(source, size=16)
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


def test_splits_are_views_of_one_map_that_cannot_change_the_file(source, prepared, tmp_path):
    source.split[SPLIT == 1] = 0
    first = prepared(source, size=16, channels=1)
    assert first["val"].images.shape == (0, 1, 16, 16)
    before = first["train"].images.clone()
    assert len({faces.images.untyped_storage().data_ptr() for faces in first.values()}) == 1
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(next(tmp_path.glob("*/images.npy"))) in maps.read_text()
    first["train"].images.zero_()
    assert torch.equal(prepared(source, size=16, channels=1)["train"].images, before)


def test_other_settings_sources_and_versions_are_other_caches(source, prepared, tmp_path, monkeypatch):
    usual = prepared(source, size=8)["train"].images
    for setting in ({"size": 12}, {"channels": 1}, {"crop": 108}, {"filter": "bicubic"}):
        assert not torch.equal(prepared(source, **{"size": 8, **setting})["train"].images, usual)
    others = [
        replace(source, files=InMemory(source.files.encoded[::-1])),
        replace(source, attributes=~source.attributes),
        replace(source, split=SPLIT[::-1].copy()),
        replace(source, names=("Smiling", "Young")),
    ]
    for other in others:
        prepared(other, size=8)
    monkeypatch.setattr(PIL, "__version__", "0.1")
    prepared(source, size=8)
    assert len(folders(tmp_path)) == 10


def test_result_does_not_depend_on_the_number_of_workers_or_on_interruptions(many, tmp_path):
    many.files.fail_at = 30
    with pytest.raises(KeyboardInterrupt):
        prepare(many, Rendering(24), cache_dir=tmp_path / "1", workers=1, progress=False)
    assert list((tmp_path / "1").glob("*[!k]")) == []  # nothing but a lock
    many.files.fail_at = None
    for count in (1, 2, 5):
        prepare(many, Rendering(24), cache_dir=tmp_path / str(count), workers=count, progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "5")


def test_unreadable_images_leave_no_gap(many, prepared, tmp_path):
    everything = prepare(many, Rendering(24), cache_dir=tmp_path / "all", progress=False)
    broken = {3: b"", 17: b"no image", 99: many.files.encoded[99][:300]}
    for i, content in broken.items():
        many.files.encoded[i] = content
    few = prepare(many, Rendering(24), cache_dir=tmp_path / "few", progress=False)
    for split, (name, faces) in enumerate(few.items()):
        kept = [i not in broken for i in np.flatnonzero(many.split == split)]
        assert torch.equal(faces.images, everything[name].images[kept])
        assert torch.equal(faces.attributes, everything[name].attributes[kept])
    looks = read_looks(next(tmp_path.glob("few/*/files.csv")))
    assert {look.name for look in looks if look.problem} == {"3.png", "17.png", "99.png"}


def test_unreadable_and_missing_images_are_told_and_refused_on_request(source, prepared, capsys):
    source.files.encoded[4] = b""
    some = replace(source, missing=("x.png", "y.png"))
    prepared(some, size=16, progress=True)
    shown = capsys.readouterr()
    assert "Left out: 2 listed but missing, 1 unreadable (4.png: gone)." in shown.err
    assert "Decoding 10 images.\n" in shown.err  # a bar is for terminals alone
    prepared(some, size=9)
    assert (shown.out, capsys.readouterr()) == ("", ("", ""))
    with pytest.raises(UserError, match=r"listed but not in memory: 2 \(x.png, y.png\). Complete the data set"):
        prepared(some, size=16, strict=True)
    with pytest.raises(UserError, match=r"1 images of memory are unreadable \(4.png: gone\). Complete the data set"):
        prepared(source, size=16, strict=True)


def test_a_set_without_any_image_is_refused(source, prepared):
    source.files.encoded[:] = [b""] * len(SPLIT)
    with pytest.raises(UserError, match=r"None of the 10 files of memory is a readable image; the first one, 0.png: g"):
        prepared(source, size=16)
    with pytest.raises(UserError, match=r"None of the 1 listed images is in memory"):
        prepared(replace(make(0, SPLIT[:0]), missing=("a.jpg",)))


def test_a_second_call_or_process_decodes_nothing(source, prepared, tmp_path):
    first, second = prepared(source, size=16), prepared(source, size=16)
    for split in first:
        assert torch.equal(first[split].images, second[split].images)
        assert torch.equal(first[split].attributes, second[split].attributes)
    [folder] = folders(tmp_path)
    folder.rename(tmp_path / ".finished")  # as if another process, which holds the lock, had not published it yet
    with ThreadPoolExecutor() as pool:
        with FileLock(tmp_path / f".{folder.name}.lock"):
            waiting = pool.submit(prepared, source, size=16)
            (tmp_path / ".finished").rename(folder)
        waiting.result()
    assert sorted(source.files.reads) == list(range(len(SPLIT)))


PREPARE = """
import os, signal, sys
from dfcvae.data import cache
from dfcvae.data.celeba import open_images
from dfcvae.data.cache import prepare
from dfcvae.data.decode import Rendering
faces, folder, killed_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
render, chunks = cache._render, []

def rendered(images, rendering, rows):
    chunks.append(rows)
    if len(chunks) == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return render(images, rendering, rows)

if killed_at:
    cache._render = rendered
splits = prepare(open_images(faces), Rendering(64), cache_dir=folder, workers=1 if killed_at else None, progress=False)
print(sum(map(len, splits.values())))
"""


@pytest.mark.slow
def test_simultaneous_and_killed_processes_leave_one_right_cache(tmp_path):
    """Real processes on real files: one is killed in the middle, then two run at once."""
    images = make(700, np.zeros(700, np.int8))
    write(tmp_path / "faces", dict(zip(images.filenames, images.files.encoded, strict=True)))
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "faces"), str(tmp_path / "cache")]
    assert subprocess.run([*command, "5"]).returncode == -signal.SIGKILL
    (half,) = tmp_path.glob("cache/.*.partial/images.npy")
    assert half.stat().st_size > 0
    both = [subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=600)[0] for process in both] == ["700\n", "700\n"]
    [(folder, about)] = caches(tmp_path / "cache")
    assert check(folder, about) == []
    assert list(tmp_path.glob("cache/.*.partial")) == []


def test_a_full_disk_is_told_and_freed_of_what_killed_processes_left(many, prepared, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in (".8px-killed", ".8px-running"):
        (tmp_path / f"{name}.partial").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with (
        FileLock(tmp_path / ".8px-running.lock"),
        pytest.raises(UserError, match=r"Could not write .*: No space left on device. Free some space"),
    ):
        prepared(many, size=16)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob(".*.partial")] == [".8px-running.partial"]
    with pytest.raises(UserError, match=r"need 300,000.0 GB in .*, where [\d.,]+ GB are free. Free some space"):
        prepared(many, size=10**6)
    assert sum(map(len, prepared(many, size=16).values())) == 100
    (whole,) = tmp_path.glob("16px-*")
    left = whole.rename(whole.with_name(f".{whole.name}.partial"))  # as if it had been killed at the end
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=free.free * (not left.exists())))
    assert sum(map(len, prepared(many, size=16).values())) == 100


def test_caches_of_a_set_are_those_made_from_it_as_it_is_and_any_flipped_bit_is_found(source, prepared, tmp_path):
    """What else is noticed, and by which command, is in test_bad_data.py."""
    assert caches_of(source, tmp_path) == []
    prepared(source, size=16, channels=1, crop=108, filter="box")
    [(folder, about)] = caches_of(source, tmp_path)
    assert about["identity"].items() >= {"size": 16, "channels": 1, "crop": 108, "filter": "box"}.items()
    assert caches_of(replace(source, names=("Smiling", "Young")), tmp_path) == []
    assert check(folder, about) == []
    for name in FILES:
        flipped(folder / name, 0.5)
    assert check(folder, about) == [f"{name} is corrupted: checksum mismatch" for name in FILES]
    (folder / "split.npy").unlink()
    assert check(folder, about)[0] == "split.npy is missing"
    assert "no checksums" in check(folder, {})[0]
    (folder / "cache.json").write_text("{")  # corrupted: listed, but nobody's
    assert caches_of(source, tmp_path) == []
    assert [about for _, about in caches(tmp_path)] == [{}]


def test_cache_folder_is_chosen_by_argument_then_variable_then_system(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("DFCVAE_CACHE")
    assert str(cache_root()) == "/home/.cache/dfcvae"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(cache_root()) == "/xdg/dfcvae"
    monkeypatch.setenv("DFCVAE_CACHE", "/variable")
    assert [str(cache_root()), str(cache_root("/argument"))] == ["/variable", "/argument"]


def test_a_subset_of_faces_is_the_first_ones_without_a_copy(source, prepared):
    train = prepared(source, size=8)["train"]
    few = train.subset(2)
    assert (len(few), few.names) == (2, train.names)
    assert torch.equal(few.attributes, train.attributes[:2])
    assert few.images.data_ptr() == train.images.data_ptr()
    for n in (0, 6):
        with pytest.raises(UserError, match=rf"first {n} faces, but there are 5. Choose 1 to 5"):
            train.subset(n)
    with pytest.raises(UserError, match=r"5 images with 1 attribute names need attributes of shape \(5, 1\)"):
        replace(train, names=("Smiling",))


# Chunks of work in several processes.


def square(rows):
    return [row * row for row in rows], os.getpid()


@pytest.mark.parametrize("count", [1, 2])
def test_chunks_are_in_order_from_every_process_and_errors_arrive_as_they_are(count):
    results = list(in_chunks(square, range(1_000), count))
    assert [value for values, _ in results for value in values] == [i * i for i in range(1_000)]
    assert len({pid for _, pid in results}) == count
    assert (os.getpid() in {pid for _, pid in results}) == (count == 1)
    assert multiprocessing.active_children() == []
    assert {pid for _, pid in in_chunks(square, range(caching.CHUNK), count)} == {os.getpid()}  # little work
    with pytest.raises(UserError, match=r"^not this one$"):
        list(in_chunks(lambda rows: UserError("not this one"), range(1_000), count))


@pytest.mark.slow
def test_the_work_can_be_sent_to_processes_that_are_not_forked(tmp_path):
    """As on macOS and Windows: the function with all it needs survives pickling, for every kind of source."""
    for layout in (official_zip, official_folder, hugging_face):
        images = open_images(layout(tmp_path / layout.__name__, small_album()))
        function = partial(caching._render, images, Rendering(16, filter="box"))
        assert pickle.loads(pickle.dumps(function))(range(5)) == function(range(5))
