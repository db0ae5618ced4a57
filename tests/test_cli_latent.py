"""The commands that look into the latent space and move in it: the files they write, and what they say of mistakes."""

import csv
import json
import re
import shutil

import pytest
import torch
from PIL import Image

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.cli import main
from dfcvae.commands.moving import parse_edits
from dfcvae.data import SYNTHETIC, Faces
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.errors import UserError
from dfcvae.fitted import latent_folder
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.training import train
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment
from tests.layouts import small_album, write_csv, write_images
from tests.test_cli import ok, size


@pytest.fixture(scope="module")
def trained(tmp_path_factory, splits):
    """A run folder of a tiny model that was trained on 200 synthetic faces."""
    experiment = tiny_experiment()
    experiment.data.train_images, experiment.training.max_steps = 200, 8
    faces = Faces(*render_faces(range(2000, 2200), size=32), ATTRIBUTES, SYNTHETIC)
    out = tmp_path_factory.mktemp("latent") / "run"
    return train(experiment, out, data=splits | {"train": faces}, progress=False).folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 30)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(trained, tmp_path / "run")


def test_attributes_are_fitted_kept_and_shown(run, capsys, tmp_path):
    out = ok(capsys, "attributes", run, "--method", "classifier", "--balance", "Male", "--out", "new/table.png")
    assert re.search(r"Smiling +\d\.\d\d +0\.\d{3}\n", out)
    vectors = AttributeVectors.load(run / "latent" / "attributes.safetensors", digest(VAE.load(run)))
    assert set(vectors.names) <= set(ATTRIBUTES)
    assert "Smiling" in vectors.names
    with open("new/table.csv", newline="") as file:
        table = {(row["attribute"], row["other"]): row for row in csv.DictReader(file)}
    assert len(table) == len(vectors.names) ** 2
    i, j = vectors.names.index("Smiling"), vectors.names.index("Male")
    assert float(table["Smiling", "Male"]["vectors"]) == pytest.approx(float(vectors.correlation()[i, j]), abs=1e-3)
    assert size("new/table.png")[0] > 700


FACE = 128 + 3  # pixels of a face and the gap beside it: four times 32


def faces_in(file):
    """How many faces a picture has in a row and in a column."""
    return tuple(pixels // FACE for pixels in size(file))


def test_edits_change_faces_in_pictures_and_animations(run, capsys, tmp_path):
    out = ok(capsys, "edit", run, "Smiling=+2", "Male=-1", "-n", 3, "--out", "edited.png")
    assert "Fitting attribute vectors to the training faces (once" in out
    assert out.count("Attribute vectors: ") == 1
    assert faces_in("edited.png") == (3, 3)
    out = ok(capsys, "edit", run, "Smiling=-2:2", "-n", 2, "--steps", 5, "--keep", "Male", "--out", "way.png")
    assert "Fitting" not in out  # they are kept
    assert faces_in("way.png") == (6, 2)  # the original and five steps
    ok(capsys, "edit", run, "Smiling=2", "-n", 2, "--each")
    assert sorted(path.name for path in (tmp_path / "edited").iterdir()) == ["000000.png", "000001.png"]
    assert size("edited/000000.png") == (32, 32)
    ok(capsys, "edit", run, "edited/000001.png", "Smiling=2", "--out", "moving.gif")
    with Image.open("moving.gif") as moving:
        assert moving.size == (128, 128)
        assert moving.n_frames * moving.info["duration"] <= 3000
        assert moving.n_frames > 8


def test_an_edit_moves_along_its_vector(run, capsys, tmp_path):
    from dfcvae.data import data_of, load_faces
    from dfcvae.images import to_float, to_uint8
    from dfcvae.trained import frontal_first

    ok(capsys, "edit", run, "Smiling=1.5", "Male=-1", "-n", 2, "--each", "--out", "single")
    vae, test = VAE.load(run), load_faces(data_of(run))["test"]
    vectors = AttributeVectors.load(latent_folder(run) / "attributes.safetensors", digest(vae))
    x = to_float(test.images[frontal_first(test)[:2]])
    expected = to_uint8(vae.decode(vae.encode(x)[0] + 1.5 * vectors["Smiling"] - vectors["Male"]))
    with Image.open("single/000001.png") as image:
        shown = torch.tensor(list(image.tobytes())).view(32, 32, 3)
    assert (shown - expected[1].permute(1, 2, 0)).abs().max() <= 1


def test_vectors_of_a_model_that_was_trained_further_are_fitted_anew(run, capsys):
    ok(capsys, "edit", run, "Smiling=2", "-n", 1)
    file = run / "latent" / "attributes.safetensors"
    vectors = AttributeVectors.load(file, digest(VAE.load(run)))
    assert "Attribute vectors: differences of class means." in ok(capsys, "edit", run, "Smiling=2", "-n", 1)
    vectors.save(file, digest(VAE.load(run)), "celeba")  # whose vectors may move any face
    assert "Fitting" not in ok(capsys, "edit", run, "Smiling=2", "-n", 1)
    vectors.save(file, "another", "synthetic")
    out = ok(capsys, "edit", run, "Smiling=2", "-n", 1)
    assert "was fitted to other weights: of another checkpoint, or before more training." in out
    assert "Fitting attribute vectors" in out
    AttributeVectors.load(file, digest(VAE.load(run)))


def test_samples_of_every_prior(run, capsys, tmp_path):
    for prior in ("normal", "gaussian", "gmm", "auto"):
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
            out = ok(capsys, "sample", run, "-n", 4, "--seed", seed, "--prior", prior, "--out", f"{name}.png")
        assert ("Fitting" in out) is False  # the second time they are kept
        pictures = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
        assert pictures[0] == pictures[1] != pictures[2]
        (tmp_path / f"{prior}.png").write_bytes(pictures[0])
    assert (tmp_path / "normal.png").read_bytes() != (tmp_path / "gaussian.png").read_bytes()
    assert (tmp_path / "auto.png").read_bytes() == (tmp_path / "gmm.png").read_bytes()
    ok(capsys, "sample", run, "-n", 4, "--temperature", 0, "--prior", "gaussian", "--each", "--out", "cold")
    assert len({path.read_bytes() for path in (tmp_path / "cold").iterdir()}) == 1
    ok(capsys, "export", run, "--out", "model")  # what was fitted goes along, and still belongs
    assert sorted(path.name for path in (tmp_path / "model" / "latent").iterdir()) == [
        "prior-gaussian.safetensors",
        "prior-gmm.safetensors",
    ]
    assert "Fitting" not in ok(capsys, "sample", "model", "-n", 4, "--prior", "gmm", "--seed", 1, "--out", "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "gmm.png").read_bytes()
    Prior.load("model/latent/prior-gmm.safetensors", digest(VAE.load(run)), "synthetic")


def test_traversal_map_and_neighbours(run, capsys, tmp_path):
    ok(capsys, "traverse", run, "--dimensions", 4, "--steps", 3)
    assert faces_in("traversal.png") == (3, 4)
    ok(capsys, "traverse", run, "--dimensions", 4, "--steps", 5, "--out", "traversal.gif")
    with Image.open("traversal.gif") as moving:
        assert moving.n_frames > 5
        assert moving.size[0] > 4 * FACE
    for method in ("tsne", "pca"):
        ok(capsys, "map", run, "-n", 25, "--method", method, "--attributes", "Smiling", "Male", "--out", "map.png")
        assert size("map-faces.png") == (1200, 1200)
        assert min(size("map.png")) > 300
    AttributeNetwork("vgg11_bn", 0.125, ATTRIBUTES).save("judge.safetensors")
    out = ok(capsys, "neighbours", run, "-n", 3, "--judge", "judge.safetensors")
    assert re.search(r"in latents, median distance: [\d.]+ from samples, [\d.]+ from held-out faces\n", out)
    assert "in the judge's features" in out
    assert faces_in("neighbours.png") == (3, 3)


def test_a_model_is_probed_and_its_scores_are_kept(run, capsys, tmp_path):
    out = ok(capsys, "probe", run, "--out", "new/probe.json")
    assert "fitted to 200 training faces and scored on 30 others" in out
    assert re.search(r"latents, logistic regression +0\.\d{3} +0\.\d{3} +0\.\d{3}\n", out)
    kept = json.loads((tmp_path / "new/probe.json").read_text())
    assert kept["model"] == digest(VAE.load(run))
    assert (kept["source"], kept["size"], kept["train_images"], kept["test_images"]) == ("synthetic", 32, 200, 30)
    assert f"{kept['mean']['pixel PCA, linear SVM']['auroc']:.3f}" in out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("edit RUN Smilin=2", r"There is no attribute 'Smilin' \(did you mean 'Smiling'\?\)"),
        ("edit RUN smiling=2", r"There is no attribute 'smiling' \(did you mean 'Smiling'\?\)"),
        ("edit RUN smile=2", r"There is no attribute 'smile' \(did you mean 'Smiling'\?\)"),
        ("edit RUN glasses=2", r"There is no attribute 'glasses' \(did you mean 'Eyeglasses'\?\)"),
        ("edit RUN Smiling=1 --keep blond", r"There is no attribute 'blond' \(did you mean 'Blond_Hair'\?\)"),
        ("map RUN --attributes smile", r"There is no attribute 'smile' \(did you mean 'Smiling'\?\); there are"),
        ("interpolate RUN face.png", "two faces or more, got 1: name a second image file"),
        ("edit RUN Smiling=a", "Expected an edit such as Smiling=.1.5, or Smiling=-2:2 for a range, got 'Smiling=a'"),
        ("edit RUN face.png", "Name an edit: Smiling=.1.5"),
        ("edit RUN Smiling=1 nowhere.png", "nowhere.png is not a readable image"),
        ("edit RUN Smiling=1 --keep Hat", "There is no attribute 'Hat'"),
        ("attributes RUN --balance Hat", "There is no attribute 'Hat'"),
        ("map RUN --attributes Moon", "There is no attribute 'Moon'; there are"),
        ("map RUN -n 1", "A map needs at least 2 faces and 2 latent dimensions, got 1 and 8."),
        ("traverse RUN nowhere.png", "nowhere.png is not a readable image"),
        ("neighbours RUN --judge face.png", "face.png is not an attribute network"),
    ],
)
def test_mistakes_are_sentences(line, sentence, run, capsys):
    Image.new("RGB", (32, 32)).save("face.png")
    assert main([str(run) if word == "RUN" else word for word in line.split()]) == 1
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert "Traceback" not in error


def test_faces_without_attributes_and_too_few_faces_are_told(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    for i in range(12):
        (tmp_path / "faces").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (20 * i, 99, 0)).save(f"faces/{i}.png")
    assert main(["attributes", str(run), "--source", "faces"]) == 1
    assert "These faces have no attributes to fit vectors to. Give a data set" in capsys.readouterr().err
    assert main(["probe", str(run), "--source", "faces"]) == 1
    assert "of the 0 attributes of these" in capsys.readouterr().err
    assert main(["sample", str(run), "--prior", "gmm", "--source", "faces"]) == 1
    assert "needs at least 32 faces, got 10; use the Gaussian" in capsys.readouterr().err


def test_a_prior_of_other_faces_does_not_replace_the_models_own(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "faces").mkdir()
    for i in range(20):
        Image.new("RGB", (40, 40), (10 * i, 99, 0)).save(f"faces/{i}.png")
    ok(capsys, "sample", run, "--prior", "gaussian", "--out", "own.png")
    before = (run / "latent" / "prior-gaussian.safetensors").read_bytes()
    out = ok(capsys, "sample", run, "--prior", "gaussian", "--source", "faces", "--out", "other.png")
    assert "was fitted to the faces of 'synthetic', not of 'faces'" in out
    assert "is saved in" not in out
    assert (tmp_path / "own.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    assert (run / "latent" / "prior-gaussian.safetensors").read_bytes() == before


def test_what_cannot_be_kept_is_used_all_the_same(run, capsys, monkeypatch):
    """A model's folder may belong to somebody else."""

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", "latent")

    monkeypatch.setattr("dfcvae.checkpoint.save_file", refuse)
    for command in (["edit", run, "Smiling=2", "-n", 1], ["sample", run, "-n", 1, "--prior", "gaussian"]):
        out = ok(capsys, *command)
        assert "Could not save ([Errno 13] Permission denied: 'latent'); will refit next time." in out


def test_empty_splits_are_told(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "one" / "train").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save("one/train/0.png")
    write_images(tmp_path / "tests" / "test", small_album())
    write_csv(tmp_path / "tests.csv", ["file", "split"], [[name, "test"] for name in small_album().files])
    for command in (["traverse"], ["reconstruct"], ["map"], ["neighbours"]):
        assert main([command[0], str(run), "--source", "one"]) == 1
        assert "The test split of these faces is empty; name other data with --source" in capsys.readouterr().err
    for command in (["neighbours"], ["sample", "--prior", "gaussian"]):
        assert main([command[0], str(run), *command[1:], "--source", "tests"]) == 1
        assert "The train split of these faces is empty" in capsys.readouterr().err


def test_edits_are_told_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1").touch()
    files, edits = parse_edits(["x.png", "Smiling=+1.5", "a=1", "Male=-2:.5", "5_o_Clock_Shadow=3."])
    assert [str(file) for file in files] == ["x.png", "a=1"]
    assert edits == {"Smiling": (1.5, 1.5), "Male": (-2, 0.5), "5_o_Clock_Shadow": (3, 3)}
    with pytest.raises(UserError, match="got 'Male=1:2:3'"):
        parse_edits(["Male=1:2:3"])
