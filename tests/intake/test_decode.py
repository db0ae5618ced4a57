"""What becomes of odd, exotic and broken files."""

import io
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from dfcvae.data import open_images, prepare
from dfcvae.intake import Undecodable, decode, quiet_pillow
from dfcvae.intake.survey import read_looks
from tests.hostile import HEIGHT, Ignored, Refused, Right, encoded, hostile_files, make_hostile_folder, reference

FILES = hostile_files()
IMAGES = {name: (data, outcome) for name, (data, outcome) in FILES.items() if isinstance(outcome, Right)}
BROKEN = {name: (data, outcome) for name, (data, outcome) in FILES.items() if isinstance(outcome, Refused)}


def expected(outcome: Right) -> np.ndarray:
    picture = reference()
    if outcome.size:
        picture = picture.crop((0, 0, *outcome.size))
    return np.asarray(picture.convert("L").convert("RGB") if outcome.grey else picture).astype(int)


@pytest.mark.parametrize("name", IMAGES)
def test_a_readable_file_comes_out_right(name):
    data, outcome = IMAGES[name]
    with quiet_pillow():
        image = decode(data)
    assert image.mode == "RGB"
    pixels = np.asarray(image).astype(int)
    assert pixels.shape == expected(outcome).shape
    error = np.abs(pixels - expected(outcome))
    assert error.max() <= outcome.tolerance
    assert error.mean() <= outcome.tolerance / 2


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_a_reason(name):
    data, outcome = BROKEN[name]
    with quiet_pillow(), pytest.raises(Undecodable) as refused:
        decode(data)
    assert outcome.reason in str(refused.value)
    assert 4 < len(str(refused.value)) < 120
    assert "\n" not in str(refused.value)


def test_what_is_transparent_is_white():
    pixels = np.asarray(decode(FILES["half transparent.png"][0]))
    assert (pixels[: HEIGHT // 2] == 255).all()
    np.testing.assert_array_equal(pixels[HEIGHT // 2 :], np.asarray(reference())[HEIGHT // 2 :])
    palette = np.asarray(decode(FILES["palette, one entry transparent.png"][0])).astype(int)
    changed = np.abs(palette - np.asarray(reference())).max(axis=2) > 24
    assert 0 < changed.sum() < 0.05 * changed.size
    assert (palette[changed] == 255).all()


def test_one_bit_is_black_and_white_and_of_the_same_mean():
    pixels = np.asarray(decode(FILES["1 bit.png"][0]))
    assert set(np.unique(pixels)) == {0, 255}
    assert abs(pixels.mean() - np.asarray(reference().convert("L")).mean()) < 5


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    pixels = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG")))[..., 0]
    np.testing.assert_allclose(pixels, ramp / 257, atol=0.51)


def test_a_plain_jpeg_is_what_pillow_gives():
    data = FILES["baseline.jpg"][0]
    assert decode(data).tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_nothing_but_undecodable_is_raised_for_any_damage():
    """Two thousand files with bytes changed, cut out, repeated or exchanged between files."""
    dice, contents = random.Random(0), [data for data, _ in FILES.values() if data]

    def damaged() -> bytes:
        data = bytearray(dice.choice(contents))
        for _ in range(dice.randint(1, 8)):
            if not data:
                break
            place, length = dice.randrange(len(data)), dice.randint(1, 64)
            kind = dice.randrange(4)
            if kind == 0:
                data[place] = dice.randrange(256)
            elif kind == 1:
                del data[place : place + length]
            elif kind == 2:
                data[place:place] = data[place : place + length]
            else:
                other = dice.choice(contents)
                data[place : place + length] = other[place : place + length]
        return bytes(data)

    with quiet_pillow():
        outcomes = []
        for _ in range(2_000):
            try:
                image = decode(damaged())
                assert image.mode == "RGB"
                outcomes.append(np.asarray(image).size > 0)
            except Undecodable:
                outcomes.append(False)
    assert 0.1 < np.mean(outcomes) < 0.9


def test_threads_do_not_disturb_each_other():
    names = list(IMAGES) * 3
    with quiet_pillow(), ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: decode(IMAGES[name][0]).tobytes(), names))
        assert together == [decode(IMAGES[name][0]).tobytes() for name in names]


def test_every_file_of_a_hostile_folder_comes_out_right_or_is_listed_or_passed_over(tmp_path):
    outcomes = make_hostile_folder(tmp_path / "hostile")
    assert len(outcomes) >= 80
    images = open_images(tmp_path / "hostile")
    splits = prepare(images, size=32, crop="full", cache_dir=tmp_path / "cache", progress=False)
    looks = {look.name: look for look in read_looks(next(tmp_path.glob("cache/*/files.csv")))}
    for name, outcome in outcomes.items():
        if isinstance(outcome, Ignored):
            assert name not in looks, name
        elif isinstance(outcome, Refused):
            assert outcome.reason in looks[name].problem, name
        else:
            assert not looks[name].problem, name
            assert (looks[name].width, looks[name].height) == (outcome.size or reference().size), name
    assert set(looks) <= set(outcomes)
    right = sum(isinstance(outcome, Right) for outcome in outcomes.values())
    assert sum(map(len, splits.values())) == right
    assert dict(images.about)["not read"] == "1 .db, 1 .gif, 1 .heic, 1 no suffix"
