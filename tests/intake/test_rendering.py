"""Crop and resize, against a naive computation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dfcvae.errors import UserError
from dfcvae.intake.rendering import FILTERS, Rendering, is_aligned


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (109, 89, 3), np.uint8)


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
        (178, 218, "auto", 15, 35, 148),
        (178, 218, 140, 19, 39, 140),
        (178, 218, 138, 20, 40, 138),
        (178, 218, "authors", 30, 40, 138),
        (89, 109, "authors", 15, 20, 69),
        (178, 218, "full", 0, 20, 178),
        (356, 436, 178, 0, 40, 356),
        (356, 436, "auto", 30, 70, 296),
        (256, 256, "auto", 0, 0, 256),
        (256, 256, 148, 22, 22, 213),
        (300, 100, "full", 100, 0, 100),
        (100, 300, "auto", 0, 100, 100),
    ],
)
def test_crop_and_resize_equal_a_naive_computation(width, height, crop, left, top, side):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    rendered = Rendering(32, 3, crop, "bilinear").render(Image.fromarray(pixels))
    assert rendered.shape == (3, 32, 32)
    assert rendered.dtype == np.uint8
    # Pillow rounds to 8 bits between rows and columns
    np.testing.assert_allclose(rendered, naive(pixels, left, top, side, 32), atol=1.01)


def test_a_crop_of_its_own_size_is_only_cut_out(pixels):
    rendered = Rendering(74, 3, 148, "bilinear").render(Image.fromarray(pixels))
    np.testing.assert_array_equal(rendered, pixels[18:92, 8:82].transpose(2, 0, 1))


def test_one_channel_is_luma(pixels):
    rendered = Rendering(74, 1, 148, "bilinear").render(Image.fromarray(pixels))
    luma = pixels[18:92, 8:82] @ np.array([0.299, 0.587, 0.114])
    assert rendered.shape == (1, 74, 74)
    np.testing.assert_allclose(rendered[0], luma, atol=0.51)


def test_the_box_filter_is_the_mean_of_each_block(pixels):
    rendered = Rendering(37, 3, 148, "box").render(Image.fromarray(pixels))
    blocks = pixels[18:92, 8:82].reshape(37, 2, 37, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(rendered, blocks.transpose(2, 0, 1), atol=1.01)


def test_filters_differ(pixels):
    results = [Rendering(16, 3, 148, name).render(Image.fromarray(pixels)).tobytes() for name in FILTERS]
    assert len(set(results)) == len(FILTERS) == 3


@pytest.mark.parametrize(
    ("width", "height", "aligned"),
    [
        (178, 218, True),
        (89, 109, True),
        (45, 55, True),
        (712, 872, True),
        (256, 256, False),
        (1080, 1350, False),
        (218, 178, False),
        (180, 218, False),
    ],
)
def test_aligned_celeba_is_known_by_its_shape(width, height, aligned):
    assert is_aligned(width, height) == aligned


def test_the_authors_crop_of_another_shape_is_refused():
    with pytest.raises(UserError, match=r"'authors' is a place in aligned CelebA images .* of 256 x 256 came"):
        Rendering(64, 3, "authors", "bilinear").box(256, 256)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ((0, 3, 148, "box"), "image size should be at least 1 pixel, not 0"),
        ((64, 4, 148, "box"), r"3 channels \(RGB\) or 1 \(luma\), not 4"),
        ((64, 3, 0, "box"), "crop should be 1 to 178 pixels of CelebA's width, not 0"),
        ((64, 3, 179, "box"), "crop should be 1 to 178 pixels of CelebA's width, not 179"),
        ((64, 3, "ful", "box"), r"pixels or one of auto, authors, full, not 'ful' \(did you mean 'full'\?\)"),
        ((64, 3, 148, "bicubi"), r"one of bilinear, bicubic, box, not 'bicubi' \(did you mean 'bicubic'\?\)"),
    ],
)
def test_impossible_settings_are_refused(setting, sentence):
    with pytest.raises(UserError, match=sentence):
        Rendering(*setting)
