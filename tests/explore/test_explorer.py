"""What the page can ask of a model, without the page."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.explore.explorer import STEPS, Explorer
from dfcvae.explore.pictures import data_url
from dfcvae.explore.uploads import LARGEST
from dfcvae.images import to_float
from tests.explore.conftest import save_model


@pytest.fixture(scope="module")
def explorer(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
        return Explorer.load(model)


def pixels(url):
    kind, _, encoded = url.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(encoded))) as image:
        return np.asarray(image)


def png(image, **options):
    buffer = BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_a_picture_is_the_pixels_of_the_image():
    image = torch.rand(3, 5, 5)
    assert np.array_equal(pixels(data_url(image)), (image * 255).round().byte().permute(1, 2, 0).numpy())
    assert pixels(data_url(image[:1])).shape == (5, 5, 3)


def test_a_held_out_face_is_encoded_to_its_posterior_mean(explorer):
    face = explorer.held_out(3)
    assert torch.equal(face.original, to_float(explorer.faces[3]))
    with torch.no_grad():
        mu, _ = explorer.vae.encode(face.original[None])
        picture = explorer.vae.decode(mu)[0]
    assert torch.equal(face.z, mu[0])
    shown = pixels(explorer.pictures(face.z[None])[0])
    assert np.abs(shown - (picture * 255).permute(1, 2, 0).numpy()).max() <= 0.51
    assert "held-out face 4" in face.name


def test_samples_depend_on_the_seed_and_the_temperature_alone(explorer):
    def draw(**changed):
        return torch.stack([face.z for face in explorer.samples("normal", **{"seed": 1, "count": 5} | changed)])

    assert torch.equal(draw(), draw())
    assert not torch.equal(draw(), draw(seed=2))
    assert torch.allclose(draw(temperature=0.5), draw() / 2)
    assert draw(temperature=0.0).eq(0).all()
    assert all(face.original is None for face in explorer.samples("normal", seed=0, count=2))


def test_a_prior_that_was_fitted_is_kept(explorer, model, monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_TRAIN", 40)
    assert len(explorer.samples("gaussian", seed=0, count=3)) == 3
    assert (model / "latent" / "prior-gaussian.safetensors").is_file()
    monkeypatch.setattr("dfcvae.explore.explorer.prior_of", None)
    explorer.samples("gaussian", seed=1, count=3)


def test_an_edit_adds_vectors_and_zero_changes_nothing(explorer):
    face, vectors = explorer.held_out(0), explorer.vectors
    first, second = vectors.names[:2]
    edited = explorer.edit(face.z, {first: 1.5, second: -1.0})
    assert torch.allclose(edited, face.z + 1.5 * vectors[first] - vectors[second])
    assert explorer.edit(face.z, {first: 0.0, second: 0.0}) is face.z
    assert explorer.pictures(edited[None]) != explorer.pictures(face.z[None])


def test_dimensions_come_by_kl_and_a_move_changes_only_those_named(explorer):
    assert sorted(explorer.dimensions) == list(range(8))
    assert (explorer.nats.diff() <= 0).all()
    z = torch.randn(8)
    moved = explorer.move(z, {2: 3.0, 5: -1.0})
    assert moved[[2, 5]].tolist() == [3.0, -1.0]
    assert (moved != z).sum() == 2


@pytest.mark.parametrize("spherical", [False, True])
def test_a_way_begins_and_ends_at_its_faces(explorer, spherical):
    start, end = torch.randn(2, 8)
    way = explorer.way(start, end, spherical=spherical)
    assert way.shape == (STEPS, 8)
    assert torch.allclose(way[0], start)
    assert torch.allclose(way[-1], end, atol=1e-6)


def test_an_upload_is_cropped_like_the_training_data(explorer):
    image = Image.fromarray(render_faces([0], size=100)[0][0].permute(1, 2, 0).numpy())
    face = explorer.upload(png(image), "me.png")
    assert face.name == "me.png"
    assert face.original.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "me.png is no image that can be read .empty file."),
        (b"GIF89a and so on", "a GIF image"),
        (b"no picture at all", "not a JPEG"),
        (png(Image.new("RGB", (64, 64)))[:60], "damaged or cut short"),
        (bytes(LARGEST + 1), "larger than 50 MB"),
        (png(Image.new("1", (10_000, 10_000))), "10,000 x 10,000 pixels, more than 64 million"),
        (png(Image.new("1", (20_000, 10_000))), "too many pixels"),
    ],
    ids=["empty", "gif", "text", "cut", "large file", "100 megapixels", "200 megapixels"],
)
def test_a_bad_upload_is_told_in_a_sentence(explorer, encoded, message):
    with pytest.raises(UserError, match=message):
        explorer.upload(encoded, "me.png")


def test_without_data_and_attributes_the_rest_works(tmp_path):
    explorer = Explorer.load(save_model(tmp_path / "model", channels=1, attributes=False), str(tmp_path / "gone"))
    assert "gone" in explorer.no_faces
    assert "gone" in explorer.no_vectors
    assert explorer.vectors is None
    assert explorer.nats is None
    assert explorer.dimensions == list(range(8))
    face = explorer.first_face()
    assert face.original is None
    assert torch.equal(explorer.edit(face.z, {}), face.z)
    assert pixels(explorer.pictures(face.z[None])[0]).shape == (32, 32, 3)
    with pytest.raises(UserError, match="gone"):
        explorer.samples("gaussian", seed=0, count=2)


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (128, 1), (256, 3)])
def test_models_of_any_size(tmp_path, size, channels):
    explorer = Explorer.load(save_model(tmp_path / "model", size=size, channels=channels), str(tmp_path / "gone"))
    face = explorer.upload(png(Image.new("RGB", (90, 70), "red")), "red.png")
    assert face.original.shape == (channels, size, size)
    assert pixels(explorer.pictures(face.z[None])[0]).shape == (size, size, 3)


def test_attribute_vectors_that_are_kept_need_no_data(model, monkeypatch):
    def gone(data):
        raise UserError("There is no such place.")

    monkeypatch.setattr("dfcvae.explore.explorer.load_faces", gone)
    explorer = Explorer.load(model)
    assert explorer.vectors is not None
    assert explorer.no_faces
