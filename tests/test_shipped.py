"""Models that ship with the package: their names, their files, and every command with one, far from its data."""

import json
import re
import runpy
import shutil
import socket
import sys
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import dfcvae
from dfcvae import VAE, load_prior, load_vectors, pretrained_models
from dfcvae.cli import main, parse
from dfcvae.config import FeatureConfig
from dfcvae.data import data_of, read_face
from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.errors import UserError
from dfcvae.explore.explorer import Explorer
from dfcvae.exporting import export_model
from dfcvae.files import PRETRAINED
from dfcvae.fitted import VECTORS, latent_folder, prior_file
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.latent.stored import write_stored
from dfcvae.vae import digest
from tests import broken
from tests.conftest import tiny_experiment

NAME = "celeba-64"
ROOT = Path(__file__).parents[1]


def mixture(k=3, d=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    factors = torch.eye(d) * 0.5 + 0.1 * torch.randn(k, d, d, generator=generator).tril()
    return Prior(torch.full((k,), 1 / k), torch.randn(k, d, generator=generator), factors)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of an untrained model that says it was trained on CelebA at an absolute path."""
    folder = tmp_path_factory.mktemp("somewhere") / "run"
    torch.manual_seed(0)
    vae = VAE("hou2016", 32, 3, 8).eval()
    for _ in range(3):  # batch norm statistics unlike the first ones
        vae.train()(torch.rand(16, 3, 32, 32), torch.randn(16, 8))
    experiment = tiny_experiment()
    experiment.data.source = str(folder.parent / "data" / "celeba")
    experiment.loss.features = FeatureConfig("vae-123", str(folder.parent / "networks" / "own.safetensors"))
    about = {"vae": vae.config, "config": experiment.as_dict(), "fingerprint": "f" * 8}
    broken.checkpoint(folder / "checkpoints" / "best.ckpt", vae=dict(vae.state_dict()), about=about, epoch=2)
    about = {"commit": "abc1234", "versions": {"torch": "2"}, "command": f"dfcvae train {folder}/x.yaml"}
    (folder / "environment.json").write_text(json.dumps(about))
    protocol = {"data": "celeba, test split, 9 images", "judges": {"alex": {"network": "torchvision alexnet"}}}
    measured = {"mse": 0.01234, "intervals": {"mse": [0.01, 0.02]}, "kl": 98.5, "protocol": protocol}
    (folder / "test.json").write_text(json.dumps(measured))
    mixture().save(prior_file(folder, "gmm"), digest(vae), "celeba")
    vectors = AttributeVectors(ATTRIBUTES, torch.randn(len(ATTRIBUTES), 8), "differences of class means")
    vectors.save(latent_folder(folder) / VECTORS, digest(vae), "celeba")
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export_model(run, tmp_path_factory.mktemp("exported") / NAME, "float16")


@pytest.fixture
def shipped(exported, desk, tmp_path_factory, monkeypatch):
    """The package with two models, in an empty working directory, without a network."""

    def refuse(*_, **__):
        raise AssertionError("network")

    folder = tmp_path_factory.mktemp("package") / "pretrained"
    for name in (NAME, f"{NAME}-plain"):
        shutil.copytree(exported, folder / name)
    monkeypatch.setattr("dfcvae.files.PRETRAINED", folder)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return folder


def both(capsys, line):
    """What a command that succeeds says on stdout and stderr."""
    status = main(line.split())
    told = capsys.readouterr()
    assert status == 0, told.err
    return told


# Half precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_matrices_and_filters_alone_by_less_than_a_level(run, tmp_path, dtype):
    export_model(run, tmp_path / "model", dtype)
    half, full = VAE.load(tmp_path / "model"), VAE.load(run)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    x = torch.rand(32, 3, 32, 32)
    assert 0 < float((half.reconstruct(x) - full.reconstruct(x)).abs().mean()) < 1 / 255
    file = tmp_path / "model" / "model.safetensors"
    assert file.stat().st_size < 0.52 * 4 * sum(parameter.numel() for parameter in full.parameters())
    assert json.loads(file.with_suffix(".json").read_text())["dtype"] == dtype
    for name, tensor in full.state_dict().items():
        expected = tensor.to(getattr(torch, dtype)).float() if tensor.dim() > 1 else tensor
        assert torch.equal(half.state_dict()[name], expected), name


def test_the_digest_is_that_of_the_weights_as_they_load(run, tmp_path):
    full, half = export_model(run, tmp_path / "full"), export_model(run, tmp_path / "half", "float16")
    assert digest(VAE.load(full)) == digest(VAE.load(run)) != digest(VAE.load(half))
    for folder in (full, half):  # what was fitted belongs to the weights beside it
        vae = VAE.load(folder)
        assert str(load_prior(folder)) == "mixture of 3 Gaussians"
        Prior.load(prior_file(folder, "gmm"), digest(vae), "celeba")
        AttributeVectors.load(latent_folder(folder) / VECTORS, digest(vae))


def test_a_weight_that_is_too_large_for_half_precision_is_a_sentence(tmp_path):
    vae = VAE("hou2016", 32, 3, 8)
    with torch.no_grad():
        next(vae.decoder.parameters()).fill_(1e6)
    with pytest.raises(UserError, match=r"A weight of 1e\+06 is too large for torch.float16; export with --dtype bfl"):
        vae.save(tmp_path / "model", dtype=torch.float16)
    assert not (tmp_path / "model" / "model.json").exists()
    vae.save(tmp_path / "model", dtype=torch.bfloat16)


def test_a_covariance_that_all_share_is_kept_once(tmp_path):
    own, shared = mixture(16, 20), mixture(16, 20)
    shared = Prior(shared.weights, shared.means, shared.factors[:1].expand(16, -1, -1))
    for prior in (own, shared):
        for dtype, tolerance in ((torch.float32, 0), (torch.float16, 1e-3)):
            read = Prior.load(prior.save(tmp_path / "prior.safetensors", "a", "celeba", dtype), "a", "celeba")
            assert (read.shared, read.factors.shape, read.factors.dtype) == (prior.shared, (16, 20, 20), torch.float32)
            torch.testing.assert_close(read.factors, prior.factors, rtol=tolerance, atol=1e-6)
            assert torch.equal(read.means, prior.means)
        sizes = (tmp_path / "prior.safetensors").stat().st_size
        assert (sizes < 5_000) == prior.shared
    assert str(own) == "mixture of 16 Gaussians"
    assert str(shared) == "mixture of 16 Gaussians with one covariance"
    assert str(Prior.standard(3)) == "N(0, I)"
    assert str(Prior(torch.ones(1), torch.ones(1, 3), torch.eye(3)[None])) == "fitted Gaussian"


def test_a_prior_with_a_copy_of_the_covariance_for_each_component_is_read(tmp_path):
    """As files were written before."""
    tensors = {"weights": torch.ones(2) / 2, "means": torch.zeros(2, 3), "factors": torch.eye(3).repeat(2, 1, 1)}
    write_stored(tmp_path / "prior.safetensors", tensors, "a prior", "a", "celeba", {})
    assert Prior.load(tmp_path / "prior.safetensors", "a").shared


# The exported folder


def files_of(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_exported_folder_holds_no_path_and_says_where_it_is_from(run, exported):
    assert not [file for file, content in files_of(exported).items() if str(run.parent).encode() in content]
    about = json.loads((exported / "model.json").read_text())
    assert about["config"]["data"]["source"] == "celeba"
    assert about["config"]["loss"]["features"]["weights"] == "own.safetensors"
    assert about["training"]["commit"] == "abc1234"
    assert about["training"]["measures"] == {"mse": 0.01234, "kl": 98.5}
    card = (exported / "README.md").read_text()
    facts = ("commit | abc1234", "| epochs | 2 |", "fingerprint of the data | `ffffffff`", "`celeba`", "float16")
    judged = "Measured on celeba, test split, 9 images. Judges: alex (torchvision alexnet). ↓ lower is better"
    rows = (
        "| MSE ↓ | 0.01234 | 0.01 to 0.02 | mean squared error |\n| KL, nats | 98.5 |  | information in the latents |\n"
    )
    for told in (*facts, "non-commercial research", judged, rows, "![samples](samples.jpg)"):
        assert told in card, told
    assert "samples come from | a mixture of 3 Gaussians fitted to the latents" in card
    header = yaml.safe_load(card.split("---")[1])
    assert (header["license"], header["library_name"]) == ("other", "dfcvae")
    assert "vae" in header["tags"]
    with Image.open(exported / "samples.jpg") as picture:
        assert picture.size == (8 * 66 + 2, 4 * 66 + 2)  # 32, twice as large
    commands = re.findall(r"^dfcvae (.*)$", card, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        parse(command.split())


def test_the_python_of_a_model_card_runs(shipped):
    (code,) = re.findall(r"```python\n(.*?)```", (shipped / NAME / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(code, found)
    assert found["images"].shape == (16, 3, 32, 32)


def test_an_export_of_an_export_says_the_same(run, tmp_path):
    first = export_model(run, tmp_path / "a" / "model", "bfloat16")
    again = export_model(first, tmp_path / "b" / "model", "bfloat16")
    for name in ("README.md", "model.safetensors", "model.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    assert torch.equal(load_vectors(first).vectors, load_vectors(again).vectors)


@pytest.mark.parametrize("source", ["/home/me/faces", "~/faces", r"C:\Users\me\faces", "../me/faces/", "faces"])
def test_a_saved_model_names_its_data_and_no_folder_of_this_machine(source, tmp_path):
    experiment = tiny_experiment()
    experiment.data.source = source
    folder = VAE("hou2016", 32, 3, 4).save(tmp_path / "model", experiment.as_dict())
    text = (folder / "model.json").read_text()
    assert json.loads(text)["config"]["data"]["source"] == "faces"
    assert "me" not in re.findall(r"\w+", text)


def test_what_was_fitted_to_other_weights_is_left_out_of_an_export(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    mixture().save(prior_file(copy, "gmm"), "another", "celeba")
    folder = export_model(copy, tmp_path / "model")
    assert "Not exported:" in capsys.readouterr().err
    assert not prior_file(folder, "gmm").exists()
    assert "samples come from | N(0, I)" in (folder / "README.md").read_text()


def test_an_export_takes_the_place_of_another(run, tmp_path):
    export_model(run, tmp_path / "model")
    VAE("hou2016", 32, 3, 4).save(tmp_path / "bare")
    folder = export_model(tmp_path / "bare", tmp_path / "model")
    assert not list((folder / "latent").iterdir())
    assert str(load_prior(folder)) == "N(0, I)"
    card = (folder / "README.md").read_text()
    assert "dfcvae sample model" in card
    assert "dfcvae edit" not in card


# Names


def test_names_come_from_the_folder(shipped):
    assert pretrained_models() == dfcvae.pretrained_models() == [NAME, f"{NAME}-plain"]
    (shipped / "celeba-128").mkdir()  # without a model
    assert pretrained_models() == [NAME, f"{NAME}-plain"]
    shutil.rmtree(shipped)
    assert pretrained_models() == []
    with pytest.raises(UserError, match=r"No model at celeba-64: expected .*Train one with `dfcvae train`"):
        VAE.load(NAME)


def test_a_path_that_exists_is_preferred_and_an_unknown_name_lists_those_that_ship(shipped):
    other = VAE("hou2016", 32, 3, 4)
    other.save(NAME)
    assert digest(VAE.load(NAME)) == digest(other)
    with pytest.raises(UserError, match=r"No model at celeba64: .* package: celeba-64, celeba-64-plain \(did you mean"):
        VAE.load("celeba64")
    with pytest.raises(UserError, match="Train one with"):
        VAE.load("runs/celeba64")
    assert main(["sample", "selba"]) == 1


# Commands


def test_samples_come_from_the_saved_mixture_and_say_so(shipped, capsys):
    mixture, normal = "Prior: mixture of 3 Gaussians.\n", "Prior: N(0, I).\n"
    pictures = []
    for prior, told in (("auto", mixture), ("gmm", mixture), ("normal", normal)):
        assert told in both(capsys, f"sample {NAME} -n 4 --prior {prior} --out x.png").err
        pictures.append(Path("x.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    assert str(load_prior(NAME)) == str(load_prior(NAME, "gmm")) == "mixture of 3 Gaussians"
    assert str(load_prior(NAME, "normal")) == "N(0, I)"
    with pytest.raises(UserError, match=r"prior: expected one of auto, normal, gaussian, gmm, got 'gm' \(did you mean"):
        load_prior(NAME, "gm")
    shutil.rmtree(shipped / NAME / "latent")
    told = both(capsys, f"sample {NAME} -n 4 --out x.png").err
    assert "Prior: N(0, I); no mixture is saved with this model.\n" in told
    assert Path("x.png").read_bytes() == pictures[2]


STARTED = "The training data of celeba-64 (celeba) is not on this machine; starting from draws of a prior instead: mix"


@pytest.mark.parametrize(
    "line",
    [
        "edit NAME Smiling=+1.5 -n 3 --out x.png",
        "traverse NAME --dimensions 3 --steps 3 --out x.png",
        "interpolate NAME -n 4 --steps 3 --out x.png",
    ],
)
def test_commands_that_need_some_face_start_from_draws(line, shipped, capsys):
    assert both(capsys, line.replace("NAME", NAME)).err.count(STARTED) == 1
    assert next(Path().glob("x.*")).stat().st_size > 500


def test_random_interpolations_say_their_prior(shipped, capsys):
    assert "Prior: mixture" in both(capsys, f"interpolate {NAME} --random --out a.png").err
    assert both(capsys, f"interpolate {NAME} --random --prior normal --out b.png").err == "Prior: N(0, I).\n"
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


@pytest.mark.parametrize("command", ["reconstruct", "evaluate", "map", "neighbours", "probe", "attributes"])
def test_commands_that_need_the_data_ask_for_it_in_a_sentence(command, shipped, capsys):
    assert main([command, NAME]) == 1
    error = capsys.readouterr().err
    assert "dfcvae: The training data of celeba-64 (celeba) is not on this machine. Name a data set with --so" in error
    assert "image files" in error
    assert "Traceback" not in error


def test_an_aligned_photo_is_cropped_as_in_training_and_edited(shipped, capsys):
    """148 of 178 x 218; of another shape, the largest centre square."""
    data = data_of(NAME, needed=False)
    pixels = np.random.default_rng(0).integers(0, 255, (218, 178, 3), dtype=np.uint8)
    for photo, cropped in ((pixels, pixels[35:183, 15:163]), (pixels[:178], pixels[:178])):
        Image.fromarray(photo).save("photo.png")
        Image.fromarray(cropped).resize((32, 32), Image.Resampling.BILINEAR).save("small.png")
        assert np.array_equal(read_face("photo.png", data), read_face("small.png", data))
    told = both(capsys, f"edit {NAME} photo.png Smiling=+1.5 --out edited.png")
    assert "is not on this machine" not in told.out + told.err


def test_nothing_is_written_beside_a_shipped_model(shipped, capsys):
    before = files_of(shipped)
    told = both(capsys, f"sample {NAME} -n 1 --prior gaussian --source synthetic --out x.png").out
    assert "Not saved: celeba-64 ships with the package" in told
    both(capsys, f"attributes {NAME} --source synthetic --out x.png")
    both(capsys, f"sample {NAME} -n 1 --prior gmm --source synthetic --out x.png")
    assert files_of(shipped) == before


# The explorer


def test_the_explorer_starts_from_draws_of_the_mixture(shipped, capsys):
    explorer = Explorer(NAME)
    assert "is not on this machine; starting from draws of a prior instead: mixture" in capsys.readouterr().err
    assert (explorer.default_prior, explorer.kinds) == ("gmm", ["normal", "gmm"])
    assert not isinstance(explorer.vectors(), str)
    assert explorer.dimensions()[1]
    first, third = explorer.face(0), explorer.face(2)
    assert (first.name, third.name, first.original) == ("drawn face 1", "drawn face 3", None)
    assert len(explorer.pictures(torch.stack([first.z, third.z]))) == 2


def test_explore_without_a_model_takes_celeba_64(shipped, capsys, monkeypatch):
    served = []
    monkeypatch.setattr("dfcvae.explore.serve.serve", lambda model, *_, **__: served.append(model))
    both(capsys, "explore")
    both(capsys, f"explore {NAME}-plain")
    assert served == [NAME, f"{NAME}-plain"]
    shutil.rmtree(shipped)
    assert main(["explore"]) == 1
    assert "Name a model to explore: a run folder, a checkpoint, or an exported folder." in capsys.readouterr().err


# What is in the package


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="no model ships with this tree")
@pytest.mark.parametrize("folder", sorted(PRETRAINED.glob("*/")), ids=lambda folder: folder.name)
def test_models_of_the_package_are_small_and_complete(folder):
    files = {str(file.relative_to(folder)) for file in files_of(folder)}
    fitted = {"latent/prior-gmm.safetensors", "latent/attributes.safetensors"}
    assert files == {"model.safetensors", "model.json", "README.md", "samples.jpg"} | fitted
    assert sum((folder / file).stat().st_size for file in files) < 5 * 2**20
    assert "mixture" in str(load_prior(folder.name))
    assert "Smiling" in load_vectors(folder.name).names
    about = json.loads((folder / "model.json").read_text())
    assert about["training"]["commit"]


def test_the_wheel_is_told_to_hold_what_is_exported(exported, tmp_path):
    """Each file of an exported folder matches a pattern of package_data."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    shutil.copytree(exported, tmp_path / "pretrained" / "model")
    patterns = config["options.package_data"]["dfcvae"].replace(",", "\n").split()
    held = {file for pattern in patterns for file in tmp_path.glob(pattern) if file.is_file()}
    assert held == files_of(tmp_path / "pretrained").keys()


def test_ship_puts_a_run_into_the_package(run, tmp_path, monkeypatch, capsys):
    script = str(ROOT / "experiments" / "ship.py")
    monkeypatch.setattr(sys, "argv", [script, str(run), "tiny", "--into", str(tmp_path)])
    runpy.run_path(script, run_name="__main__")
    assert re.search(r"tiny: 6 files, \d+\.\d+ MB", capsys.readouterr().out)
    assert digest(VAE.load(tmp_path / "tiny"))


def test_measures_of_other_weights_are_not_exported(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    tested = json.loads((copy / "test.json").read_text())
    for model, mse in ((digest(VAE.load(copy)), 0.01234), ("f" * 64, None)):
        (copy / "test.json").write_text(json.dumps(tested | {"protocol": tested["protocol"] | {"model": model}}))
        about = json.loads((export_model(copy, tmp_path / "out") / "model.json").read_text())
        assert about["training"].get("measures", {}).get("mse") == mse
        assert ("has the measures of other weights" in capsys.readouterr().err) == (mse is None)


def test_an_export_into_the_run_folder_does_not_hide_the_run(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    export_model(copy, copy, "float16")
    assert (copy / "model.safetensors").is_file()
    assert digest(VAE.load(copy)) == digest(VAE.load(run))
