"""ONNX files against PyTorch, by onnxruntime."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dfcvae import VAE, registry
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.onnxfiles import compare, export_onnx, latents, metadata, to_onnx
from tests.conftest import tiny_experiment

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
DOCUMENT = Path(__file__).parents[1] / "docs" / "sharing.md"


class Halves(nn.Module):
    def forward(self, h):
        return h.chunk(2, dim=1)


class Branching(nn.Module):
    def forward(self, h):
        return h.sigmoid() if float(h.detach().sum()) > 0 else h.cos().square()


def dense(size, channels, latent_dim, last=nn.Sigmoid):
    pixels = channels * size**2
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 2 * latent_dim), Halves())
    return encoder, nn.Sequential(nn.Linear(latent_dim, pixels), nn.Unflatten(1, (channels, size, size)), last())


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    registry.register_network("dense", dense)
    registry.register_network("branching", lambda *shape: dense(*shape, Branching))


def saved(folder, network="dense", size=32, channels=1):
    """A model whose batch norm statistics are unlike the first ones."""
    torch.manual_seed(0)
    vae = VAE(network, size, channels, 6)
    vae.train()(torch.rand(8, channels, size, size))
    return vae.eval().save(folder, tiny_experiment().as_dict())


def run(file, **inputs):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


SHAPES = [("dense", 32, 1), ("hou2016", 32, 1), ("smooth", 64, 3)]
OTHERS = [("hou2016", 128, 3), ("smooth", 32, 1), ("strided", 64, 3)]


@pytest.mark.parametrize("shape", [*SHAPES, *(pytest.param(shape, marks=pytest.mark.slow) for shape in OTHERS)])
def test_both_files_compute_what_pytorch_does_for_any_number_of_faces(shape, tmp_path):
    vae = VAE.load(saved(tmp_path / "model", *shape))
    differences = export_onnx(tmp_path / "model", tmp_path / "onnx")
    assert differences.keys() == {"mu", "logvar", "images"}
    assert max(differences.values()) < 1e-4
    for count in (1, 5):
        x, z = torch.rand(count, *vae.image_shape), torch.randn(count, 6)
        with torch.no_grad():
            expected = (*vae.encode(x), vae.decode(z))
        found = [*run(tmp_path / "onnx" / "encoder.onnx", x=x), *run(tmp_path / "onnx" / "decoder.onnx", z=z)]
        for theirs, ours in zip(found, expected, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=1e-4, atol=1e-4)


def test_the_files_say_what_they_take_and_hold_no_path(tmp_path):
    export_onnx(saved(tmp_path / "model"), tmp_path / "onnx")
    assert sorted(file.name for file in (tmp_path / "onnx").iterdir()) == ["decoder.onnx", "encoder.onnx"]
    for file in (tmp_path / "onnx").iterdir():
        assert not re.search(rb"/\w+/\w|\.py\b", file.read_bytes())
        about = onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map
        assert about["images"] == about["x"] == "float32 (N, 1, 32, 32), grey, in [0, 1]"
        assert about["z"].startswith("float32 (N, 6), ")
        assert (about["network"], about["size"], about["crop"]) == ("dense", "32", "auto")


def test_a_network_that_cannot_be_exported_is_a_sentence_and_leaves_the_old_files(tmp_path):
    saved(tmp_path / "model"), saved(tmp_path / "other", "branching")
    export_onnx(tmp_path / "model", tmp_path / "onnx")
    before = (tmp_path / "onnx" / "decoder.onnx").read_bytes()
    with pytest.raises(UserError, match=r"PyTorch cannot export the network branching to ONNX, with any number of im"):
        export_onnx(tmp_path / "other", tmp_path / "onnx")
    assert (tmp_path / "onnx" / "decoder.onnx").read_bytes() == before


def test_a_graph_that_computes_something_else_is_refused(tmp_path):
    vae = VAE.load(saved(tmp_path / "model"))
    graph = to_onnx(vae.decoder, "z", latents(vae, 2), ["images"], metadata(tmp_path / "model"))
    with torch.no_grad():
        vae.decoder[0].weight.add_(0.5)
    with pytest.raises(UserError, match=r"The ONNX file does not compute what PyTorch does: images differs by 0\.\d"):
        compare(graph, vae.decoder, latents(vae, 2))


def test_the_command_writes_both_and_tells_the_difference(tmp_path, capsys):
    saved(tmp_path / "model", channels=3)
    words = ["export", str(tmp_path / "model"), "--out", str(tmp_path / "a"), "--onnx", str(tmp_path / "b")]
    assert main(words) == 0
    assert "encoder.onnx, decoder.onnx. Largest differences from PyTorch: mu " in capsys.readouterr().out
    assert (tmp_path / "a" / "model.json").exists()
    assert main(words[:2]) == 2
    assert "export: say what to write: --out FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_a_sentence_before_anything_is_written(library, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    saved(tmp_path / "model")
    target = str(tmp_path / "out")
    assert main(["export", str(tmp_path / "model"), "--out", target, "--onnx", target]) == 1
    assert 'run pip install -e ".[onnx]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_example_without_pytorch_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    export_onnx("celeba-64", "my-onnx")
    names: dict = {}
    exec(code, names)
    assert names["again"].shape == (4, 3, 64, 64)
    assert np.abs(names["again"] - names["images"]).mean() < 0.1
    assert names["about"]["size"] == "64"
