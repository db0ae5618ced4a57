"""A user's own faces in Python: every kind gives the same splits, and every mistake a sentence."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

import dfcvae
from dfcvae.config import DataConfig
from dfcvae.data import Faces, as_splits
from dfcvae.data.cache import prepare
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering
from dfcvae.errors import UserError
from tests.layouts import small_album, write_images

N, SIZE = 40, 32
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, 3, SIZE, SIZE), np.uint8))
GREY = PIXELS[:, :1].contiguous()
CONFIG = DataConfig(size=SIZE)


class OfDicts:
    """A Dataset in all but its base class, as Hugging Face's are."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return {"image": PIXELS[i].permute(1, 2, 0).numpy(), "label": i}


def picture(i):
    return Image.fromarray(PIXELS[i].permute(1, 2, 0).numpy())


KINDS = {
    "uint8 tensor": PIXELS,
    "float tensor": PIXELS.float() / 255,
    "half with a gradient": (PIXELS.double() / 255).requires_grad_(),
    "array": PIXELS.numpy(),
    "array, channels last": PIXELS.permute(0, 2, 3, 1).numpy(),
    "float array": PIXELS.numpy().astype(np.float32) / 255,
    "dataset of tuples": TensorDataset(PIXELS, torch.arange(N)),
    "subset": Subset(TensorDataset(PIXELS.float() / 255), range(N)),
    "dataset of dicts of arrays": OfDicts(),
    "list of pictures": [picture(i) for i in range(N)],
    "pairs of a picture and a label": [(picture(i), i) for i in range(N)],
    "faces": dfcvae.faces(PIXELS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_splits(kind):
    splits = as_splits(KINDS[kind], CONFIG)
    assert {name: len(part) for name, part in splits.items()} == {"train": 36, "val": 4, "test": 0}
    expected = as_splits(PIXELS, CONFIG)
    for name, part in splits.items():
        assert torch.equal(part.images, expected[name].images)
    rows = torch.cat([splits["train"].images, splits["val"].images]).flatten(1)
    assert len(rows.unique(dim=0)) == N  # nobody is in two splits
    assert not torch.equal(as_splits(PIXELS, DataConfig(size=SIZE, split_seed=1))["val"].images, splits["val"].images)


def test_grey_images_may_lack_their_channel_and_pictures_become_grey():
    config = DataConfig(size=SIZE, channels=1)
    for grey in (GREY, GREY[:, 0].numpy(), GREY[:, 0, :, :, None].numpy(), list(GREY[:, 0].numpy())):
        assert torch.equal(as_splits(grey, config)["val"].images, as_splits(GREY, config)["val"].images)
    luma = np.asarray(picture(0).convert("L"))
    assert np.array_equal(as_splits({"train": [picture(0)], "val": GREY}, config)["train"].images[0, 0], luma)


@pytest.mark.parametrize("crop", ["auto", 108])
def test_pictures_are_cropped_and_resized_as_those_of_a_folder(crop, tmp_path):
    write_images(tmp_path / "faces", small_album())
    folder = prepare(
        open_images(tmp_path / "faces"), Rendering(16, crop=crop), cache_dir=tmp_path / "cache", progress=False
    )
    pictures = [Image.open(path) for path in sorted((tmp_path / "faces").iterdir())]
    own = as_splits({"train": pictures, "val": pictures}, DataConfig(size=16, crop=crop))
    both = torch.cat([part.images for part in folder.values()]).flatten(1).unique(dim=0)
    assert torch.equal(own["train"].images.flatten(1).unique(dim=0), both)


def test_a_dict_may_hold_any_kind_for_each_split_and_a_path_is_a_source():
    splits = as_splits({"train": PIXELS, "val": TensorDataset(PIXELS[:5]), "test": PIXELS.numpy()[:3]}, CONFIG)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [N, 5, 3]
    few = as_splits({"train": PIXELS, "test": []}, DataConfig(size=SIZE, train_images=10))
    assert [len(few[name]) for name in ("train", "val", "test")] == [10, 4, 0]
    assert len(as_splits("synthetic", DataConfig(size=16, train_images=7), progress=False)["train"]) == 7


def test_other_content_has_another_fingerprint():
    changed = PIXELS.clone()
    changed[3, 0, 0, 0] ^= 1
    marks = [as_splits(data, CONFIG)["train"].fingerprint for data in (PIXELS, PIXELS.float() / 255, changed)]
    assert marks[0] == marks[1] != marks[2]
    assert len({part.fingerprint for part in as_splits({"train": PIXELS, "val": changed}, CONFIG).values()}) == 1
    drawn = [as_splits(PIXELS, DataConfig(size=SIZE, split_seed=seed))["train"].fingerprint for seed in (0, 1)]
    assert drawn[0] == marks[0] != drawn[1]
    kept = Faces(PIXELS, torch.zeros(N, 0, dtype=torch.bool), (), "known")
    assert as_splits({"train": kept, "val": kept, "test": kept}, CONFIG)["train"].fingerprint == "known"


@pytest.mark.parametrize("no", [0, -1, False])
def test_attributes_go_with_their_images(no):
    smiling = [i % 3 == 0 for i in range(N)]
    values = [[1 if yes else no, 1] for yes in smiling]
    for attributes in (values, np.array(values), torch.tensor(values)):
        made = dfcvae.faces(PIXELS, attributes, ("Smiling", "Young"))
        assert made.names == ("Smiling", "Young")
        assert made.attributes.tolist() == [[yes, True] for yes in smiling]
    one = dfcvae.faces(PIXELS, np.array(smiling), ["Smiling"])
    splits = as_splits(one, CONFIG)
    for part in (splits["train"], splits["val"]):
        for image, (yes,) in zip(part.images, part.attributes.tolist(), strict=True):
            assert yes == smiling[next(i for i in range(N) if torch.equal(PIXELS[i], image))]
    assert dfcvae.faces(PIXELS).names == ()


class Endless(IterableDataset):
    def __iter__(self):
        return iter(PIXELS)


FLOATS = PIXELS.float() / 255
HATS = dfcvae.faces(PIXELS, [1] * N, ["Hat"])
WRONG = [
    (PIXELS.float(), r"data: expected floats in \[0, 1\], got 0 to 255; for 0 to 255 divide by 255"),
    (FLOATS * 2 - 1, r"got -1 to 1; for \[-1, 1\] use images / 2 \+ 0.5"),
    ((FLOATS - 0.485) / 0.229, "undo their normalisation by mean and standard deviation"),
    (FLOATS.log().log(), "data: the images contain NaN or infinity"),
    (FLOATS.byte(), r"no value exceeds 1 of 255; give floats in \[0, 1\] without a cast"),
    (PIXELS.long(), "data: expected uint8 in 0 to 255 or float .* got torch.int64; .* convert to uint8"),
    (PIXELS.numpy().astype(np.uint16), "got uint16; for 0 to 255 convert to uint8"),
    (PIXELS.permute(0, 2, 3, 1), r"got \(40, 32, 32, 3\); for channels last use images.permute"),
    (PIXELS[0], r"shape \(N, C, H, W\) with 1 or 3 channels, got \(3, 32, 32\); a single image needs"),
    (PIXELS[:, [0, 1, 2, 0]], r"got \(40, 4, 32, 32\); leave out the alpha channel"),
    (PIXELS[..., :16], r"shape \(3, 32, 32\) \(data.channels, data.size\), got \(3, 32, 16\); crop, resize"),
    (GREY, r"got \(1, 32, 32\); crop, resize or convert them, or set data.size and data.channels"),
    (PIXELS[:0], "data: there are no training images; give a tensor of images"),
    ({}, "data: there are no training images"),
    ({"val": PIXELS}, "data: there are no training images"),
    (PIXELS[:3], "data: expected at least 4 images to draw a validation split from, got 3"),
    ({"train": PIXELS, "tst": PIXELS}, r"data\['tst'\]: expected the splits train, val and test .*'test'\?"),
    ({"train": PIXELS, "val": FLOATS * 255}, r"data\['val'\]: expected floats in"),
    ([PIXELS[0], FLOATS[0] - 0.5], r"data, item 1: expected floats in .* for \[-1, 1\] use"),
    ([PIXELS[0], PIXELS[0, :, :9]], r"data, item 1: .* one shape, got \(3, 9, 32\)"),
    ([(7, PIXELS[0])], r"data, item 0: expected an image \(PIL, tensor or array\), got int"),
    (["a.jpg"], "data, item 0: expected an image .*, got str"),
    ([Image.new("F", (9, 9))], "data, item 0: its pixels are 32-bit numbers"),
    (DataLoader(TensorDataset(PIXELS)), "a Dataset with a length, got DataLoader; give its .dataset"),
    (Endless(), "a Dataset with a length, got Endless"),
    (None, "data: expected a tensor, an array or a Dataset with a length, got NoneType"),
    ({"train": PIXELS, "val": HATS}, "the splits have different attributes; give all of them the same names"),
]


@pytest.mark.parametrize(("data", "says"), WRONG, ids=range(len(WRONG)))
def test_a_mistake_is_a_sentence_with_its_usual_cause(data, says):
    with pytest.raises(UserError, match=says):
        as_splits(data, CONFIG)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((PIXELS[:0],), "images: expected at least one image, got none"),
        (([picture(0)],), "images, item 0: a PIL image has no fixed size; convert it to an array, or use data="),
        ((PIXELS, None, ["Hat"]), r"got the shape \(40, 0\) and the names \['Hat'\]"),
        ((PIXELS, [1] * N), r"a column for each name, got the shape \(40, 1\) and the names None"),
        ((PIXELS, [1] * 9, ["Hat"]), r"a row for each of 40 images .*, got the shape \(9, 1\)"),
        ((PIXELS, [2] * N, ["Hat"]), "attributes: expected true and false, 1 and 0, or 1 and -1, got other values"),
        ((PIXELS, [0, -1] * 20, ["Hat"]), "got other values"),
    ],
)
def test_mistakes_in_attributes_are_told(arguments, says):
    with pytest.raises(UserError, match=says):
        dfcvae.faces(*arguments)


def test_faces_take_no_floats():
    """They would be divided by 255 once more."""
    with pytest.raises(UserError, match=r"expected uint8 images \(n, C, H, W\), got torch.float32 .*dfcvae.faces"):
        Faces(FLOATS, torch.zeros(N, 0, dtype=torch.bool), ())
