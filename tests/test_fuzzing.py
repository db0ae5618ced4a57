"""Whatever bytes a file holds, its reader gives a result or one of our own errors: files made by hypothesis."""

import json
import shutil
from contextlib import suppress
from importlib.util import find_spec
from inspect import signature

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.config import DataConfig, Experiment
from dfcvae.data.cache import FILES, caches, check, load, prepare, read_looks
from dfcvae.data.celeba import open_images
from dfcvae.data.decode import Rendering, Undecodable
from dfcvae.data.labels import join
from dfcvae.data.lists import OF_CELEBA, read_list, read_mapping
from dfcvae.errors import UserError
from dfcvae.explore.explorer import read_upload
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.vae import VAE, digest
from dfcvae.weights import load_vgg_weights
from tests import broken
from tests.conftest import tiny_experiment
from tests.hostile import hostile_files
from tests.layouts import hugging_face
from tests.losses.test_properties import narrow


def fuzz(count, **strategies):
    """Test with examples that are the same in every run: a quarter of the count, and all of it in the nightly tier."""

    def decorate(function):
        def test(examples, request):
            fixtures = signature(function).parameters.keys() - strategies.keys()
            fixed = {name: request.getfixturevalue(name) for name in fixtures}

            @settings(max_examples=examples)  # and the profile of conftest.py
            @given(**strategies)
            def check(**drawn):
                function(**fixed, **drawn)

            check()

        tiers = [pytest.param(count // 4, marks=pytest.mark.slow), pytest.param(count, marks=pytest.mark.nightly)]
        return pytest.mark.parametrize("examples", tiers)(test)

    return decorate


@st.composite
def damaged(draw, contents):
    """One of some files with pieces of it overwritten, cut out or repeated."""
    data = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 2, 8, 64, 10_000]))
        piece = draw(st.binary(max_size=8) | st.just(bytes(data[place : place + length]) * 2))
        data[place : place + length] = piece
    return bytes(data)


def only_ours(function, *arguments):
    """The result of a reader, or None if it refuses its file in a sentence."""
    with suppress(UserError, Undecodable):
        return function(*arguments)


# Lists.

NAMES = st.sampled_from(["000001.jpg", "1.jpg", "a/b.jpg", "../x.jpg", "/x.jpg", "", "é.png", "x" * 300, "image_id"])
VALUES = ["0", "1", "-1", "2", "300", "1e9", "nan", "true", "train", "split", "Hat", '"', "\0", "9" * 5000]
WORDS = NAMES | st.sampled_from(VALUES) | st.text(max_size=5)
MARKS = st.sampled_from([" ", ",", ";", "\t", "\n", "\r\n", "\x85", "  ", '"', "\ufeff"])
LISTS = [
    "\n".join(broken.ALBUM.attribute_lines()),
    "\n".join(broken.ALBUM.partition_lines()),
    "\n".join(broken.ALBUM.identity_lines()),
    "file,split,Hat\n0.jpg,train,1\n1.jpg,val,0\n",
    "idx orig_idx orig_file\n0 119613 119614.jpg\n",
]


@st.composite
def texts(draw):
    """A list with some words changed, or words in a row."""
    if draw(st.booleans()):
        return "".join(draw(st.lists(st.tuples(WORDS, MARKS).map("".join), max_size=12)))
    text = draw(st.sampled_from(LISTS))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(WORDS) + draw(MARKS) + text[place + draw(st.integers(0, 6)) :]
    return text


@fuzz(300, text=texts())
def test_lists(text):
    for label in ("x.csv", *OF_CELEBA):
        only_ours(read_list, label, text)
    only_ours(read_mapping, "x", text)
    only_ours(read_list, "x.csv", text, {"1.jpg", "1", "000001.jpg", "000001"})


FILE_NAMES = st.lists(NAMES | st.text(min_size=1), min_size=1, max_size=6, unique=True)


@fuzz(200, files=FILE_NAMES, one=texts(), other=texts(), numbered=st.booleans())
def test_lists_joined_to_files(files, one, other, numbered):
    bases = {file.rpartition("/")[2] for file in files}
    tables = [only_ours(read_list, "a", one, bases), only_ours(read_list, "identity_CelebA.txt", other)]
    tables.append(only_ours(read_list, "train.csv", other, bases))
    labels = only_ours(join, files, [table for table in tables if table], 0, numbered)
    assert labels is None or len(labels.members) == len(labels.attributes) == len(labels.split)


# Images.

PICTURES = [content for name, (content, _) in hostile_files().items() if name != "bomb.png"]


@fuzz(600, content=damaged(PICTURES))
def test_uploads(content):
    pixels = only_ours(read_upload, content, "x.png", DataConfig(size=8))
    assert pixels is None or pixels.shape == (3, 8, 8)


def read_all(path):
    images = only_ours(open_images, path)
    for i in range(len(images) if images else 0):
        only_ours(images.read, i)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing")


# The cache.


@pytest.fixture(scope="module")
def cache(folder):
    source = open_images(broken.faces(folder / "faces"))
    prepare(source, Rendering(8), cache_dir=folder / "cache", progress=False)
    return next((folder / "cache").glob("8px-*"))


@fuzz(200, data=st.data(), name=st.sampled_from([*FILES, "cache.json"]))
def test_caches(data, name, cache, folder):
    shutil.rmtree(folder / "damaged", ignore_errors=True)
    shutil.copytree(cache, folder / "damaged" / "8px-0")
    whole = (cache / name).read_bytes()
    changed = data.draw(damaged([whole, whole[:200]]))
    (folder / "damaged" / "8px-0" / name).write_bytes(changed)
    splits = only_ours(load, folder / "damaged" / "8px-0", ())
    only_ours(read_looks, folder / "damaged" / "8px-0" / "files.csv")
    [(place, about)] = caches(folder / "damaged")
    problems = check(place, about)
    if name in FILES and changed != whole:
        assert problems
        assert splits is None or name in ("images.npy", "files.csv")  # whose checksums only `check` computes


# Configurations.

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def configurations(draw):
    """A right one with values of any kind in the place of some of its own, at any depth."""
    config = tiny_experiment().as_dict()
    for _ in range(draw(st.integers(1, 3))):
        place = config
        while True:
            key = draw(st.sampled_from([*place, "another"]))
            if not isinstance(place.get(key), dict) or draw(st.integers(0, 3)) == 0:
                break
            place = place[key]
        place[key] = draw(PLAIN)
    return config


@fuzz(150, plain=configurations())
def test_saved_experiments(plain):
    experiment = only_ours(Experiment.from_dict, plain)
    assert experiment is None or experiment == Experiment.from_dict(experiment.as_dict())


# Damaged files, and tensors made by hand.


def contents(read):
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in vars(read).items()}


def judge(file):
    read = AttributeNetwork.load(file)
    return read.names, digest(read)


def weights(file):
    return digest(VAE.load(file))


def network(file):
    return only_ours(AttributeNetwork.load, file), load_vgg_weights("vgg11_bn", str(file))


EXACT = ("weights", "checkpoint", "vectors", "prior", "judge")  # whose contents are checked as a whole
KINDS = (*EXACT, "description", "network", "pickle", "experiment", "zip", *["parquet"] * bool(find_spec("pyarrow")))


@pytest.fixture(scope="module")
def files(folder):
    """Whole files by kind, each with its reader."""
    model, of = broken.model(folder / "model"), digest(broken.vae())
    members = {"labels.csv": b"file,Hat\n0.jpg,1\n1.jpg,0\n2.jpg,0\n3.jpg,0\n", "a/b.png": broken.picture()}
    found = {
        "weights": (model / "model.safetensors", weights),
        "description": (model / "model.json", lambda file: weights(file.parent)),
        "checkpoint": (broken.checkpoint(folder / "x.ckpt"), weights),
        "vectors": (broken.vectors(model), lambda file: contents(AttributeVectors.load(file, of))),
        "prior": (broken.prior(model), lambda file: contents(Prior.load(file, of, "synthetic"))),
        "judge": (broken.judge(folder / "judge.safetensors"), judge),
        "network": (broken.judge(folder / "network.safetensors"), network),
        "pickle": (broken.pickled(folder / "w.pth", narrow("vgg11_bn").state_dict()), network),
        "experiment": (broken.experiment(folder / "x.yaml"), Experiment.load),
        "zip": (broken.zipped(folder / "x.zip", members), read_all),
    }
    if "parquet" in KINDS:
        shards = hugging_face(folder / "parquet", broken.ALBUM)
        found["parquet"] = next(shards.rglob("test*.parquet")), read_all
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_fuzzed_files_are_read_when_they_are_whole(kind, files):
    file, read = files[kind]
    assert len(open_images(file)) if read is read_all else read(file)


def reread(file, read, content):
    """What a reader makes of other bytes in a file, which is whole again afterwards."""
    whole = file.read_bytes()
    file.write_bytes(content)
    try:
        return only_ours(read, file)
    finally:
        file.write_bytes(whole)


@fuzz(1600, kind=st.sampled_from(KINDS), data=st.data())
def test_damaged_files(kind, data, files):
    file, read = files[kind]
    whole = file.read_bytes()
    changed = data.draw(damaged([whole, whole[:3000] + whole[-600:]]))
    found = reread(file, read, changed)
    assert kind not in ("vectors", "prior") or found is None or changed == whole


@fuzz(100, share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_what_is_read(share, bit, files):
    """It is noticed, or it lies where nothing is kept, such as the padding between tensors."""
    for kind in EXACT:
        file, read = files[kind]
        whole, data = read(file), bytearray(file.read_bytes())
        data[int(share * len(data))] ^= 1 << bit
        found = reread(file, read, data)
        assert found is None or (found == whole and kind != "weights")


STORED = st.dictionaries(
    st.sampled_from(["vectors", "weights", "means", "factors", "x"]),
    st.lists(st.integers(0, 3), max_size=4).map(torch.ones),
    min_size=1,
    max_size=4,
)
ABOUT = st.fixed_dictionaries(
    {"kind": st.sampled_from(["a prior", "attribute vectors"]), "model": st.just("m"), "source": st.just("s")},
    optional={"names": PLAIN | st.lists(st.text(max_size=3), max_size=3), "how": PLAIN},
)


@fuzz(150, tensors=STORED, about=ABOUT | PLAIN)
def test_tensors_of_any_shape_and_name(tensors, about, folder):
    file = broken.stored_by_hand(folder / "by-hand.safetensors", tensors, about)
    vectors = only_ours(AttributeVectors.load, file, "m")
    assert vectors is None or vectors.vectors.shape[:1] == (len(vectors.names),)
    only_ours(Prior.load, file, "m", "s")
    only_ours(load_vgg_weights, "vgg11", str(file))
    only_ours(AttributeNetwork.load, file)


@fuzz(60, change=st.dictionaries(st.sampled_from(["vae", "config", "sha256"]), PLAIN, min_size=1))
def test_descriptions_of_models(change, folder):
    model = broken.model(folder / "described")
    (model / "model.json").write_text(json.dumps(json.loads((model / "model.json").read_text()) | change))
    only_ours(VAE.load, model)
