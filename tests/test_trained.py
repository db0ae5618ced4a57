"""What commands start from: default faces that are frontal, varied, and the same for every model."""

import torch

from dfcvae.data import Faces
from dfcvae.data.synthetic import render_faces
from dfcvae.trained import FEWEST, Trained, frontal_first
from dfcvae.vae import VAE


def album(n=160, turned=range(0, 160, 2)):
    """Faces, of which some look to the side: shifted by a fifth of their width."""
    images, attributes = render_faces(range(n), size=32)
    for i in turned:
        images[i] = images[i].roll(6, dims=-1)
    return Faces(images, attributes, tuple(map(str, range(attributes.shape[1]))))


def test_default_faces_are_frontal():
    order = frontal_first(album())
    assert sorted(order) == list(range(160))
    assert all(i % 2 for i in order[:FEWEST])


def test_default_faces_differ_in_their_attributes():
    faces = album()
    order = frontal_first(faces)
    first = faces.attributes[order[:4]].float()
    others = faces.attributes[sorted(order[:20])[:4]].float()
    assert torch.pdist(first, p=1).min() >= torch.pdist(others, p=1).min()
    assert torch.pdist(first, p=1).min() > 0


def test_the_order_depends_on_neither_brightness_nor_the_number_asked_for():
    faces = album()
    darker = Faces((faces.images // 2), faces.attributes, faces.names)
    assert set(frontal_first(darker)[:8]) & set(frontal_first(faces)[:8])
    without = Faces(faces.images, torch.empty(160, 0, dtype=torch.bool), ())
    assert len(set(frontal_first(without)[:8])) == 8


def test_few_and_single_faces_have_an_order_too():
    assert frontal_first(album(1, turned=())) == [0]
    assert sorted(frontal_first(album(5, turned=()))) == list(range(5))


def test_a_model_is_named_by_its_folder(tmp_path):
    folder = VAE("hou2016", 32, 3, 4).save(tmp_path / "mine")
    trained, checkpoint = Trained(folder), tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    names = {folder: "mine", folder / "model.safetensors": "mine", checkpoint: "run", "hf:me/faces": "faces"}
    for trained.model, name in names.items():
        assert trained.name == name
