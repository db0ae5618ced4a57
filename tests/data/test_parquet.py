"""Parquet shards as Hugging Face's data sets have them."""

import numpy as np
import pytest

from dfcvae.data import parquet
from dfcvae.data.cache import prepare
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering
from dfcvae.errors import UserError
from tests.layouts import jpeg

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ENCODED = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def write(path, n, *, paths=None, start=0, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": jpeg(start + i, 16, 16), "path": paths[i] if paths else None} for i in range(n)]
    pq.write_table(pa.table({"image": pa.array(rows, ENCODED), **columns}), path, row_group_size=4)


def test_row_groups_are_read_once_and_not_all_kept(tmp_path):
    write(tmp_path / "train-00000-of-00001.parquet", 40)
    images = open_images(tmp_path)
    parquet._row_group.cache_clear()
    assert [images.read(i) for i in range(40)] == [jpeg(i, 16, 16) for i in range(40)]
    assert parquet._row_group.cache_info().misses == 10
    assert parquet._row_group.cache_info().currsize <= 2


def test_shards_of_the_converted_branch_are_split_by_their_folders(tmp_path):
    for number, split in enumerate(("train", "valid", "test")):
        write(tmp_path / "default" / split / "0000.parquet", 4 + number, start=10 * number)
    images = open_images(tmp_path)
    assert sorted(images.split.tolist()) == [0] * 4 + [1] * 5 + [2] * 6
    assert dict(images.about)["split"] == "as in 3 parquet files"


def test_one_file_may_be_named_and_its_splits_are_drawn(tmp_path):
    write(tmp_path / "faces.parquet", 20, paths=[f"{i}.jpg" for i in range(20)])
    images = open_images(tmp_path / "faces.parquet")
    assert images.layout == "1 parquet file, as on Hugging Face"
    assert images.filenames == tuple(f"{i}.jpg" for i in range(20))
    assert np.bincount(images.split).tolist() == [16, 2, 2]
    assert images.official is None


def test_images_outside_the_splits_that_their_paths_name_are_left_out(tmp_path):
    paths = [*(f"{split}/{i}.jpg" for split in ("train", "test") for i in range(5)), "stray.jpg"]
    write(tmp_path / "x.parquet", 11, paths=paths)
    images = open_images(tmp_path)
    assert images.filenames == tuple(paths[:10])
    assert (images.split[5:] == 2).all()
    assert [images.read(i) for i in (0, 9)] == [jpeg(i, 16, 16) for i in (0, 9)]


def test_only_columns_of_yes_and_no_are_attributes(tmp_path):
    columns = {
        "Smiling": [-1, 1, 1, -1],
        "Male": [True, False, True, False],
        "label": [0, 1, 1, 0],
        "age": [20, 30, 40, 50],
        "celeb_id": [1, 1, 0, 0],
        "caption": ["a", "b", "c", "d"],
    }
    write(tmp_path / "x.parquet", 4, **columns)
    images = open_images(tmp_path)
    assert images.names == ("Smiling", "Male", "label")
    assert images.attributes.T.astype(int).tolist() == [[0, 1, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0]]
    assert "drawn from train by identity" not in dict(images.about)["split"]  # two people do not make three splits


def test_a_null_is_unknown_and_costs_no_other_row(tmp_path):
    write(tmp_path / "x.parquet", 4, Hat=[1, None, 0, 1], Bald=pa.array([None] * 4, pa.bool_()))
    images = open_images(tmp_path)
    assert images.names == ("Hat",)
    assert images.attributes[:, 0].tolist() == [True, False, False, True]
    assert dict(images.about)["unknown"] == "1 (Hat) of 1 images, counted as false"


def test_plain_binary_columns_and_empty_rows(tmp_path):
    pq.write_table(pa.table({"jpg": [jpeg(i, 16, 16) for i in range(3)] + [None]}), tmp_path / "x.parquet")
    splits = prepare(open_images(tmp_path), Rendering(8), cache_dir=tmp_path / "cache", progress=False)
    assert sum(map(len, splits.values())) == 3
    assert "x/3,0,0,,no bytes in the table" in next(tmp_path.glob("cache/*/files.csv")).read_text()


def test_a_file_that_is_not_parquet_or_has_no_images_is_told(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"x.parquet is not a complete parquet file .* Download it again"):
        open_images(tmp_path)
    pq.write_table(pa.table({"age": [1]}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"has no column of encoded images; its columns are age"):
        open_images(tmp_path)
    write(tmp_path / "y.parquet", 2)
    with pytest.raises(UserError, match=r"y.parquet has other columns than .*x.parquet. Give the path of a single"):
        open_images(tmp_path)
