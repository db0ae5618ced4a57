from itertools import islice

import pytest
import torch

from dfcvae.config import DataConfig
from dfcvae.data import Faces, TrainingBatches, load_faces
from dfcvae.data.batches import AHEAD
from dfcvae.errors import UserError


@pytest.fixture
def faces():
    """Image i holds the number i, left half; the right half is 200 + i."""
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).repeat(1, 3, 4, 4)
    images[..., 2:] += 200
    return Faces(images, torch.arange(40)[:, None] % 2 == 1, ("Odd",))


def contents(batches):
    """(index, was flipped) of every image, in order."""
    rows = [row for batch in batches for row in batch.images[:, 0, 0, :].tolist()]
    return [(min(row), row[0] > row[-1]) for row in rows]


def epoch(batches, step=0):
    """The micro-batches from a step to the end of its epoch."""
    steps = batches.steps - step % batches.steps
    return list(islice(batches.starting_at(step), steps * batches.micro_batches))


def test_every_image_comes_once_an_epoch_but_the_incomplete_batch(faces):
    seen = [index for index, _ in contents(epoch(TrainingBatches(faces, 6, seed=0)))]
    assert len(seen) == len(set(seen)) == 36


def test_a_batch_is_a_function_of_seed_and_step(faces):
    batches = TrainingBatches(faces, 8, seed=1)
    whole = contents(islice(batches.starting_at(0), 10))
    assert contents(epoch(batches, 3)) == whole[24:40]
    assert contents(epoch(batches, 8)) == whole[64:]
    assert whole[:40] != whole[40:]
    assert contents(epoch(TrainingBatches(faces, 8, seed=2))) != whole[:40]
    assert batches.rows(3) == [index for index, _ in whole[24:32]]


def test_half_of_the_images_are_flipped_unless_told_otherwise(faces):
    flipped = [flip for _, flip in contents(islice(TrainingBatches(faces, 8, seed=0).starting_at(0), 50))]
    assert 0.4 < sum(flipped) / len(flipped) < 0.6
    assert not any(flip for _, flip in contents(epoch(TrainingBatches(faces, 8, seed=0, flip=False))))


def test_the_micro_batches_of_a_step_are_its_images(faces):
    whole = contents(epoch(TrainingBatches(faces, 8, seed=3), 2))
    split = TrainingBatches(faces, 8, seed=3, micro_batches=4)
    assert split.steps == 5
    assert [len(batch.images) for batch in epoch(split, 2)] == [2] * 12
    assert contents(epoch(split, 2)) == whole
    assert split.rows(2) == [index for index, _ in whole[:8]]


@pytest.mark.parametrize(
    ("size", "micro_batches", "says"),
    [
        (64, 1, "A batch of 64 images needs at least as many .*got 40; lower"),
        (8, 3, "A batch of 8 images cannot be split into 3 equal parts of at least 2"),
        (8, 8, "split into 8 equal parts"),
    ],
)
def test_batches_that_cannot_be_made_are_told(size, micro_batches, says, faces):
    with pytest.raises(UserError, match=says):
        TrainingBatches(faces, size, seed=0, micro_batches=micro_batches)


def test_targets_are_asked_for_the_images_as_they_are_shown(faces):
    def targets(rows, flips):
        return {"shown": torch.stack([rows, flips], dim=1)}

    batches = epoch(TrainingBatches(faces, 8, seed=0, targets=targets))
    shown = [tuple(row) for batch in batches for row in batch.targets["shown"].tolist()]
    assert shown == contents(batches)


def test_batches_are_gathered_ahead_but_not_all_at_once(faces):
    asked = []
    batches = TrainingBatches(faces, 4, seed=0, targets=lambda rows, flips: asked.append(0) or {})
    next(batches.starting_at(0))
    assert 1 <= len(asked) <= 1 + AHEAD


def test_an_error_while_gathering_ahead_arrives(faces):
    def broken(rows, flips):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        next(TrainingBatches(faces, 4, seed=0, targets=broken).starting_at(0))


def test_attributes_go_with_their_images(faces):
    for batch in epoch(TrainingBatches(faces, 8, seed=0)):
        assert torch.equal(batch.images.amin(dim=(1, 2, 3)) % 2 == 1, batch.attributes[:, 0])


def test_synthetic_splits_share_no_face_and_keep_their_held_out_faces(monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 60)
    monkeypatch.setattr("dfcvae.data.source.DRAWN_AT_ONCE", 25)
    small, large = (load_faces(DataConfig(size=32, train_images=n), progress=False) for n in (20, 30))
    assert {name: len(faces) for name, faces in small.items()} == {"train": 20, "val": 60, "test": 60}
    assert torch.equal(small["test"].images, large["test"].images)
    assert torch.equal(small["train"].images, large["train"].images[:20])
    everything = torch.cat([faces.images.flatten(1) for faces in small.values()])
    assert len(everything.unique(dim=0)) == 140
    grey = load_faces(DataConfig(size=32, channels=1, train_images=20), progress=False)["train"].images
    red, green, blue = small["train"].images.float().unbind(1)
    assert (grey[:, 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).abs().max() <= 0.5 + 1e-3
