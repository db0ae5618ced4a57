"""Labelled pictures of faces: sizes, places, labels and animations."""

import numpy as np
import pytest
import torch
from PIL import Image

from dfcvae.images import to_uint8
from dfcvae.sheet import GAP, SIDE, enlarge, numbered, save, save_moving, sheet


@pytest.mark.parametrize(("side", "scale"), [(32, 4), (64, 2), (100, 2), (128, 1), (256, 1)])
def test_faces_are_enlarged_smoothly_to_128_pixels_or_more(side, scale):
    x = torch.rand(2, 1, side, side)
    assert enlarge(x).shape == (2, 3, scale * side, scale * side)
    assert torch.equal(to_uint8(enlarge(x, 1)), to_uint8(x).expand(-1, 3, -1, -1))
    ramp = torch.linspace(0, 1, side).expand(1, 1, side, side)
    assert enlarge(ramp).diff(dim=-1).max() < 1.2 / side + 1 / 255  # no steps as of repeated pixels
    assert 0 <= enlarge(x).min() <= enlarge(x).max() <= 1


def test_each_face_has_its_place_and_no_neighbour_bleeds_into_it():
    faces = torch.zeros(2, 3, 3, 32, 32)
    faces[1, 2] = 1.0
    picture = np.array(sheet(faces))
    assert picture.shape == (2 * (SIDE + GAP) + GAP, 3 * (SIDE + GAP) + GAP, 3)
    assert (picture[GAP : GAP + SIDE, GAP : GAP + SIDE] == 0).all()
    assert (picture[-SIDE - GAP :, -SIDE - GAP :] == 255).all()
    assert (picture[-GAP - SIDE : -GAP, -2 * (GAP + SIDE) : -GAP - SIDE - GAP] == 0).all()


def test_labels_take_room_beside_the_faces_and_native_pixels_stay():
    faces = torch.rand(2, 3, 3, 32, 32)
    plain, labelled = sheet(faces, scale=1), sheet(faces, ["original", "two\nlines"], ["a", "b", "c" * 99], scale=1)
    left, above = labelled.width - plain.width, labelled.height - plain.height
    assert left > 40
    assert 10 < above < 30
    assert np.array_equal(np.array(labelled)[above:, left:], np.array(plain))
    assert np.array(labelled)[:above].min() < 128  # something is written
    assert np.array(labelled)[:, :left].min() < 128
    inner = np.array(plain)[GAP : GAP + 32, GAP : GAP + 32]
    assert np.array_equal(inner, to_uint8(faces[0, 0]).permute(1, 2, 0).numpy())


def test_numbered_faces_fill_lines_of_eight_and_the_rest_is_white():
    picture = np.array(numbered(torch.zeros(11, 3, 128, 128)))
    assert picture.shape[1] > 8 * (SIDE + GAP)
    assert (picture[-SIDE:, -SIDE:] == 255).all()
    assert numbered(torch.zeros(1, 3, 128, 128)).width < 200


def test_a_picture_is_written_with_its_folder(tmp_path):
    with Image.open(save(sheet(torch.rand(1, 1, 3, 8, 8)), tmp_path / "new" / "x.png")) as image:
        assert image.size == (SIDE, SIDE)


def test_an_animation_lasts_three_seconds_there_and_back(tmp_path):
    frames = [sheet(torch.full((1, 1, 3, 64, 64), i / 16)) for i in range(16)]
    with Image.open(save_moving(frames, tmp_path / "x.gif")) as moving:
        assert (moving.n_frames, moving.info["duration"]) == (30, 100)
    with Image.open(save_moving(frames, tmp_path / "x.gif", back=False, seconds=1.6)) as moving:
        assert (moving.n_frames, moving.info["duration"]) == (16, 100)
