"""Networks of one's own: by a registered name or as module:function, and nothing imported that nobody named."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import dfcvae
from dfcvae import VAE, registry
from dfcvae.build import build_vae
from dfcvae.cli import main
from dfcvae.config import LossConfig, ModelConfig
from dfcvae.errors import UserError
from dfcvae.networks import NETWORKS

SOURCE = """
from dfcvae.networks import strided

def build(size, channels, latent_dim):
    return strided(size, channels, latent_dim)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of one's own, which can be imported but has not been; returns its function's name."""
    (tmp_path / "own_network.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    yield "own_network:build"
    sys.modules.pop("own_network", None)


def forget(monkeypatch):
    """As in another process."""
    monkeypatch.setattr(registry, "_registered", {})
    sys.modules.pop("own_network", None)


def test_the_names_of_the_packages_networks():
    assert set(registry.BUILT_IN) == set(NETWORKS)


@pytest.mark.parametrize("how", ["registered", "named"])
def test_a_run_with_ones_own_network(how, own, experiment, splits, tmp_path, monkeypatch):
    name = own
    if how == "registered":
        from own_network import build

        name = "mine"
        dfcvae.register_network(name, build)
    experiment = replace(experiment, model=ModelConfig(name, 4), loss=LossConfig())
    run = dfcvae.train(experiment, tmp_path / "run", data=splits, progress=False, mixture=False)
    x = torch.rand(2, 3, 32, 32)
    expected = VAE.load(run.folder).reconstruct(x)
    assert VAE.load(run.folder).config["network"] == name
    forget(monkeypatch)
    with pytest.raises(UserError, match=rf"network '{name}' is not part of this package. If you trust"):
        VAE.load(run.folder)
    assert "own_network" not in sys.modules
    import own_network

    if how == "registered":
        dfcvae.register_network(name, own_network.build)
    assert torch.equal(VAE.load(run.folder).reconstruct(x), expected)


def test_a_command_imports_what_the_environment_names(own, tmp_path, monkeypatch, capsys):
    folder = VAE(own, 32, 3, 4).save(tmp_path / "model")
    command = ["sample", str(folder), "-n", "4", "--prior", "normal", "--out", str(tmp_path / "x.png")]
    forget(monkeypatch)
    assert main(command) == 1
    assert "DFCVAE_IMPORT=own_network dfcvae ..." in capsys.readouterr().err
    monkeypatch.setenv("DFCVAE_IMPORT", "own_network")
    assert main(command) == 0
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize("name", ["os:dup2", "shutil:rmtree", "torch:cat", "json:JSONDecoder", "x", 3])
def test_a_model_file_cannot_choose_what_is_called(name, tmp_path):
    vae = VAE("hou2016", 32, 3, 4)
    vae.config["network"] = name
    with pytest.raises(UserError, match="is not part of this package"):
        VAE.load(vae.save(tmp_path))


def test_a_module_with_an_error_or_missing_is_a_sentence(own, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"missing:f: the module missing cannot be imported \(ModuleNotFound"):
        VAE("missing:f")
    with pytest.raises(UserError, match="own_network:bild: the module own_network has no function bild"):
        build_vae(dfcvae.Experiment(model=ModelConfig("own_network:bild")))
    monkeypatch.setenv("DFCVAE_IMPORT", "missing")
    with pytest.raises(UserError, match="DFCVAE_IMPORT: the module missing cannot be imported"):
        ModelConfig()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda size, channels, d: nn.Linear(2, 2), "mine fails for size 64, channels 3, latent_dim 8: TypeError"),
        (lambda size, channels: None, "mine fails for size 64.*takes 2 positional arguments"),
        (lambda *a: (NETWORKS["hou2016"](*a)[0], nn.Linear(8, 8)), r"got \[\(2, 8\), \(2, 8\), \(2, 8\)\]"),
        (
            lambda *a: (NETWORKS["hou2016"](*a)[0], nn.Sequential(NETWORKS["hou2016"](*a)[1], nn.Threshold(2, 7.0))),
            r"the images in \[0, 1\] \(a sigmoid\), got .* from 7 to 7",
        ),
    ],
)
def test_networks_that_do_not_fit_are_sentences(function, message, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    dfcvae.register_network("mine", function)
    with pytest.raises(UserError, match=message):
        VAE("mine", 64, 3, 8)


def test_names_that_cannot_be_registered():
    with pytest.raises(UserError, match="a name other than hou2016, smooth, strided, got 'smooth'"):
        dfcvae.register_network("smooth", NETWORKS["hou2016"])
    with pytest.raises(UserError, match="expected a function for 'mine', got int"):
        dfcvae.register_network("mine", 3)
