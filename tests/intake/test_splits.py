"""Splits that no list gives."""

import hashlib

import numpy as np
import pytest

from dfcvae.intake import splits
from dfcvae.intake.labels import join
from dfcvae.intake.splits import complete, official_split

NAMES = [f"{i:06d}.jpg" for i in range(1000)]


def drawn(n=1000, keys=NAMES, seed=0, split=None):
    split = np.zeros(n, np.int8) if split is None else split
    return complete(split, "", keys[:n], "file name", seed)[0]


def test_a_tenth_each_is_drawn():
    assert np.bincount(drawn()).tolist() == [800, 100, 100]
    assert complete(np.zeros(1000, np.int8), "", NAMES, "file name", 7)[1] == (
        "val and test drawn from train by file name, a tenth each, seed 7"
    )


def test_the_draw_is_a_function_of_seed_and_names_alone():
    order = np.random.default_rng(0).permutation(1000)
    shuffled = drawn(keys=[NAMES[i] for i in order])
    np.testing.assert_array_equal(shuffled, drawn()[order])
    assert (drawn(seed=1) != drawn()).mean() > 0.2
    # pinned: a change of the rule would silently move images between the splits of existing studies
    assert np.flatnonzero(drawn() == 1)[:5].tolist() == [1, 47, 59, 76, 92]


def test_what_a_list_gives_stays_and_only_what_is_empty_is_drawn():
    given = np.zeros(1000, np.int8)
    given[::10] = 2
    split, how = complete(given, "as in list", NAMES, "file name", 0)
    np.testing.assert_array_equal(split == 2, given == 2)
    assert np.bincount(split).tolist() == [810, 90, 100]
    assert how == "as in list; val drawn from train by file name, a tenth each, seed 0"
    assert (given == 1).sum() == 0
    full = np.array([0, 1, 2], np.int8)
    assert complete(full, "as in list", NAMES[:3], "file name", 0)[1] == "as in list"


@pytest.mark.parametrize("sizes", [[1] * 30, [5] * 6, [1, 1, 98], [98, 1, 1], [40, 40, 20]])
def test_keys_stay_together_and_every_split_gets_one(sizes):
    people = [f"person {i}" for i, size in enumerate(sizes) for _ in range(size)]
    for seed in range(20):
        split = drawn(len(people), people, seed)
        assert set(split.tolist()) == {0, 1, 2}
        assert all(len({s for s, p in zip(split.tolist(), people, strict=True) if p == who}) == 1 for who in people)


def test_the_official_split_is_the_published_list_byte_for_byte():
    rows = (f"{i:06d}.jpg {place}\r\n" for i, place in enumerate(official_split().tolist(), 1))
    assert hashlib.md5("".join(rows).encode()).hexdigest() == "d32c9cbf5e040fd4025c592c306e6668"


def test_the_whole_of_celeba_is_known_by_its_names(monkeypatch):
    monkeypatch.setattr(splits, "CELEBA_COUNTS", (16, 3, 5))
    names = [f"img_align_celeba/{i + 1:06d}.jpg" for i in range(24)]
    labels = join(names, [], 0)
    assert labels.split.tolist() == [0] * 16 + [1] * 3 + [2] * 5
    assert dict(labels.about)["split"] == "CelebA's official one, by number"
    for others in (names[:-1], [*names[:-1], "img_align_celeba/000025.jpg"]):
        assert "drawn from train" in dict(join(others, [], 0).about)["split"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_images_stay_in_train(n):
    split, how = complete(np.zeros(n, np.int8), "", NAMES[:n], "file name", 0)
    assert split.tolist() == [0] * n
    assert how.startswith("all train: there are too few")


def test_without_training_images_nothing_is_drawn():
    split, how = complete(np.full(9, 2, np.int8), "by folder", NAMES[:9], "file name", 0)
    assert split.tolist() == [2] * 9
    assert how == "by folder"
