"""What the page can ask of a model, without the page."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.explore.explorer import Explorer, data_url
from dfcvae.images import to_float
from tests.explore.conftest import png, save_model


def pixels(url):
    kind, _, encoded = url.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(encoded))) as image:
        return np.asarray(image)


def test_a_picture_is_the_pixels_of_the_image():
    image = torch.rand(3, 5, 5)
    assert np.array_equal(pixels(data_url(image)), (image * 255).round().byte().permute(1, 2, 0).numpy())
    assert pixels(data_url(image[:1])).shape == (5, 5, 3)


def test_a_face_is_its_posterior_mean_and_dimensions_are_ranked_by_kl(explorer):
    face, vae = explorer.face(3), explorer.trained.vae
    assert torch.equal(face.original, to_float(explorer.images[3]))
    with torch.no_grad():
        mu, _ = vae.encode(face.original[None])
        picture = vae.decode(mu)[0]
    assert torch.equal(face.z, mu[0])
    shown = pixels(explorer.pictures(face.z[None])[0])
    assert np.abs(shown - (picture * 255).permute(1, 2, 0).numpy()).max() <= 0.51
    assert face.name == "held-out face 4"
    indices, nats = explorer.dimensions()
    assert sorted(indices) == list(range(8))
    assert nats == sorted(nats, reverse=True)


def test_a_saved_picture_holds_original_reconstruction_and_edit(explorer):
    face = explorer.face(0)
    with Image.open(BytesIO(explorer.saved(face, {"Smiling +1": face.z + 1}))) as image:
        assert image.size[0] == 3 * (128 + 3) + 3
        assert image.size[1] > 128
    sample = explorer.samples("normal", seed=0, count=1)[0]
    with Image.open(BytesIO(explorer.saved(sample, {"moved": sample.z}))) as image:
        assert image.size[0] == 2 * (128 + 3) + 3


def test_samples_depend_only_on_the_seed_and_the_temperature(explorer):
    def draw(**changed):
        return torch.stack([face.z for face in explorer.samples("normal", **{"seed": 1, "count": 5} | changed)])

    assert torch.equal(draw(), draw())
    assert not torch.equal(draw(), draw(seed=2))
    assert torch.allclose(draw(temperature=0.5), draw() / 2)
    assert draw(temperature=0.0).eq(0).all()
    assert all(face.original is None for face in explorer.samples("normal", seed=0, count=2))


def test_a_fitted_prior_is_kept(explorer, model, monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_TRAIN", 40)
    assert len(explorer.samples("gaussian", seed=0, count=3)) == 3
    assert (model / "latent" / "prior-gaussian.safetensors").is_file()
    monkeypatch.setattr("dfcvae.trained.load_prior", None)
    explorer.samples("gaussian", seed=1, count=3)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "me.png is not a readable image .empty file."),
        (b"GIF89a and so on", "not a JPEG, PNG"),
        (b"no picture at all", "not a JPEG"),
        (png(Image.new("RGB", (64, 64)))[:60], "corrupted or truncated"),
        (png(Image.new("1", (10_000, 10_000))), "10,000 x 10,000 pixels, more than 64 million"),
    ],
    ids=["empty", "gif", "text", "cut", "100 megapixels"],
)
def test_a_bad_upload_is_explained(explorer, encoded, message):
    with pytest.raises(UserError, match=message):
        explorer.upload(encoded, "me.png")


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (128, 1), (256, 3)])
def test_an_upload_is_cropped_and_resized_for_the_model(tmp_path, size, channels):
    explorer = Explorer(save_model(tmp_path / "model", size=size, channels=channels), str(tmp_path / "gone"))
    face = explorer.upload(png(Image.fromarray(render_faces([0], size=100)[0][0].permute(1, 2, 0).numpy())), "me.png")
    assert face.name == "me.png"
    assert face.original.shape == (channels, size, size)
    assert pixels(explorer.pictures(face.z[None])[0]).shape == (size, size, 3)


def test_without_data_and_attributes_the_rest_works(tmp_path):
    explorer = Explorer(save_model(tmp_path / "model", channels=1, attributes=False), str(tmp_path / "gone"))
    assert "gone" in explorer.no_faces
    assert "gone" in explorer.vectors()
    assert explorer.dimensions() == (list(range(8)), [])
    assert explorer.face(0).original is None
    with pytest.raises(UserError, match="gone"):
        explorer.samples("gaussian", seed=0, count=2)


def test_stored_attribute_vectors_need_no_data(model, monkeypatch):
    def gone(data):
        raise UserError("There is no such place.")

    monkeypatch.setattr("dfcvae.trained.load_faces", gone)
    explorer = Explorer(model)
    assert not isinstance(explorer.vectors(), str)
    assert explorer.no_faces == "There is no such place."
