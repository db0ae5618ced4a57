import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import normalize

from dfcvae.images import grid, normalize_imagenet, rows, save_png, to_float, to_rgb, to_uint8, translate


@pytest.mark.parametrize("offset", [(0, 0), (3, 0), (0, -2), (-5, 4)])
def test_translate_moves_every_pixel_and_repeats_the_edge(offset):
    images = torch.rand(2, 3, 8, 6)
    moved = translate(images, *offset)
    for y in range(8):
        for x in range(6):
            source = min(max(y - offset[0], 0), 7), min(max(x - offset[1], 0), 5)
            assert torch.equal(moved[..., y, x], images[..., source[0], source[1]])


def test_uint8_and_float_are_inverse_on_all_levels():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert to_float(levels).min() == 0
    assert to_float(levels).max() == 1
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_to_uint8_rounds_and_clips():
    assert to_uint8(torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0])).tolist() == [0, 0, 1, 255]


def test_normalize_equals_torchvision(x):
    expected = normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalize_imagenet(x), expected)


def test_grey_is_repeated(x):
    assert torch.equal(to_rgb(x[:, :1])[:, 2], x[:, 0])
    assert torch.equal(to_rgb(x), x)


def test_grid_and_rows_place_the_images(x):
    assert grid(x, columns=2, pad=2).shape == (3, 2 * 66 + 2, 2 * 66 + 2)
    picture = rows(x, 1 - x[:, :1])
    assert picture.shape == (3, 2 * 66 + 2, 4 * 66 + 2)
    assert torch.equal(picture[:, 2:66, 68 : 68 + 64], x[1])
    assert torch.equal(picture[0, 68 : 68 + 64, 2:66], 1 - x[0, 0])


def test_png_holds_the_pixels(tmp_path, x):
    path = save_png(x[0], tmp_path / "new" / "face.png")
    with Image.open(path) as image:
        assert image.mode == "RGB"
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(64, 64, 3)
    assert torch.equal(pixels.permute(2, 0, 1), to_uint8(x[0]))
