"""Chunks of work in several processes."""

import multiprocessing
import os
import pickle
from functools import partial

import pytest

from dfcvae.data import open_images
from dfcvae.data.building import Builder
from dfcvae.data.describe import _look
from dfcvae.data.workers import CHUNK, Chunks, in_chunks, workers_by_default
from dfcvae.errors import UserError
from dfcvae.intake.rendering import Rendering
from tests.layouts import hugging_face, official_folder, official_zip, small_album


def square(rows):
    return [row * row for row in rows], os.getpid()


def refuse(rows):
    if 900 in rows:
        raise UserError("not this one")
    return len(rows)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_as_many_processes(workers):
    results = list(in_chunks(square, range(1_000), workers))
    assert [value for values, _ in results for value in values] == [i * i for i in range(1_000)]
    assert len({pid for _, pid in results}) == workers
    assert (os.getpid() in {pid for _, pid in results}) == (workers == 1)
    assert multiprocessing.active_children() == []


def test_little_work_starts_no_process():
    assert {pid for _, pid in in_chunks(square, range(CHUNK), 4)} == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_the_user_arrives_as_it_is(workers):
    with pytest.raises(UserError, match=r"^not this one$"):
        list(in_chunks(refuse, range(1_000), workers))


@pytest.mark.slow
def test_the_work_can_be_sent_to_processes_that_are_not_forked(tmp_path):
    """As on macOS and Windows: the function with all it needs survives pickling, for every kind of source."""
    for write in (official_zip, official_folder, hugging_face):
        images = open_images(write(tmp_path / write.__name__, small_album()))
        builder = Builder(images, Rendering(16, 3, "auto", "box"), tmp_path / "cache" / write.__name__)
        builder.partial.mkdir(parents=True)
        builder.pixels.touch()
        for function in (partial(_look, images), builder._decode_chunk):
            there = pickle.loads(pickle.dumps(Chunks(function, [range(5)])))
            assert there[0] == function(range(5))


def test_there_is_a_worker_for_every_processor():
    assert 1 <= workers_by_default() <= os.cpu_count()
