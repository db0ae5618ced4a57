"""Odd, exotic and broken files; crop and resize against a naive computation."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dfcvae.data.cache import prepare, read_looks
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import FILTERS, Rendering, decode, is_aligned
from dfcvae.errors import UserError
from tests.hostile import HEIGHT, Refused, Right, encoded, hostile_files, make_hostile_folder, reference

FILES = hostile_files()


def assert_right(data: bytes, outcome: Right, name: str) -> None:
    image, picture = decode(data), reference().crop((0, 0, *(outcome.size or reference().size)))
    assert (image.mode, image.size) == ("RGB", picture.size), name
    expected = np.asarray(picture.convert("L").convert("RGB") if outcome.grey else picture).astype(int)
    error = np.abs(np.asarray(image).astype(int) - expected)
    assert error.max() <= outcome.tolerance, name
    assert error.mean() <= outcome.tolerance / 2, name


def test_what_is_transparent_is_white():
    pixels = np.asarray(decode(FILES["half transparent.png"][0]))
    assert (pixels[: HEIGHT // 2] == 255).all()
    np.testing.assert_array_equal(pixels[HEIGHT // 2 :], np.asarray(reference())[HEIGHT // 2 :])
    palette = np.asarray(decode(FILES["palette, one entry transparent.png"][0])).astype(int)
    changed = np.abs(palette - np.asarray(reference())).max(axis=2) > 24
    assert 0 < changed.sum() < 0.05 * changed.size
    assert (palette[changed] == 255).all()


def test_other_depths_are_scaled_not_clipped():
    pixels = np.asarray(decode(FILES["1 bit.png"][0]))
    assert set(np.unique(pixels)) == {0, 255}
    assert abs(pixels.mean() - np.asarray(reference().convert("L")).mean()) < 5
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    pixels = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG")))[..., 0]
    np.testing.assert_allclose(pixels, ramp / 257, atol=0.51)


def test_a_plain_jpeg_is_what_pillow_gives():
    data = FILES["baseline.jpg"][0]
    assert decode(data).tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_every_file_of_a_hostile_folder_is_read_right_or_listed_or_ignored(tmp_path):
    outcomes = make_hostile_folder(tmp_path / "hostile")
    assert len(outcomes) >= 80
    images = open_images(tmp_path / "hostile")
    splits = prepare(images, Rendering(32, crop="full"), cache_dir=tmp_path / "cache", progress=False)
    looks = {look.name: look for look in read_looks(next(tmp_path.glob("cache/*/files.csv")))}
    for name, outcome in outcomes.items():
        if outcome is None:
            assert name not in looks, name
        elif isinstance(outcome, Refused):
            assert outcome.reason in looks[name].problem, name
            assert 4 < len(looks[name].problem) < 120, name
            assert "\n" not in looks[name].problem, name
        else:
            assert not looks[name].problem, name
            assert (looks[name].width, looks[name].height) == (outcome.size or reference().size), name
            assert_right((tmp_path / "hostile" / name).read_bytes(), outcome, name)
    assert set(looks) <= set(outcomes)
    right = sum(isinstance(outcome, Right) for outcome in outcomes.values())
    assert sum(map(len, splits.values())) == right
    assert dict(images.about)["not read"] == "1 .gif, 1 .heic, 1 no suffix"


# Crop and resize.


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
        (178, 218, "auto", 15, 35, 148),
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


def test_a_crop_of_its_own_size_is_only_cut_out_and_one_channel_is_luma(pixels):
    face = pixels[18:92, 8:82]
    rendered = Rendering(74, 3, 148, "bilinear").render(Image.fromarray(pixels))
    np.testing.assert_array_equal(rendered, face.transpose(2, 0, 1))
    rendered = Rendering(74, 1, 148, "bilinear").render(Image.fromarray(pixels))
    assert rendered.shape == (1, 74, 74)
    np.testing.assert_allclose(rendered[0], face @ np.array([0.299, 0.587, 0.114]), atol=0.51)


def test_the_box_filter_is_the_mean_of_each_block_and_others_differ(pixels):
    rendered = Rendering(37, 3, 148, "box").render(Image.fromarray(pixels))
    blocks = pixels[18:92, 8:82].reshape(37, 2, 37, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(rendered, blocks.transpose(2, 0, 1), atol=1.01)
    results = [Rendering(16, 3, 148, name).render(Image.fromarray(pixels)).tobytes() for name in FILTERS]
    assert len(set(results)) == len(FILTERS) == 3


def test_aligned_celeba_is_known_by_its_shape():
    for size in ((178, 218), (89, 109), (45, 55), (712, 872)):
        assert is_aligned(*size)
    for size in ((256, 256), (1080, 1350), (218, 178), (180, 218)):
        assert not is_aligned(*size)
    with pytest.raises(UserError, match=r"'authors' needs aligned CelebA images .* got an image of 256 x 256"):
        Rendering(64, 3, "authors", "bilinear").box(256, 256)


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match=r"data.crop: expected 1 to 178 pixels or one of auto, authors, full, got 179"):
        Rendering(64, 3, 179, "box")
    with pytest.raises(UserError, match=r"one of bilinear, bicubic, box \(did you mean 'bicubic'\?\), got 'bicubi'"):
        Rendering(64, 3, 148, "bicubi")
