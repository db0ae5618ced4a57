import json
from pathlib import Path

import pytest

from dfcvae.cli import main
from dfcvae.config import FeatureTraining
from dfcvae.demo import DemoSettings, run_demo
from dfcvae.reports.measured import MEASURES
from dfcvae.vae import VAE


def test_a_tiny_demo_writes_everything(tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 32)
    features = FeatureTraining("vgg19_bn", 0.125, epochs=1, batch_size=32)
    judge = FeatureTraining("vgg11_bn", 0.125, epochs=1, batch_size=32)
    settings = DemoSettings(train_images=64, size=32, epochs=1, features=features, judge=judge)
    report = run_demo(tmp_path / "demo", settings=settings, progress=False)
    text = report.read_text()
    assert text.count("<img") == 3
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert list(metrics["measures"]) == ["vae", "dfc-vae"]
    absent = {"ms_ssim", "lpips_vgg", "lpips_alex", "negative_iwae"}  # of larger pictures, or only where asked for
    assert all(metrics["measures"][name].keys() == MEASURES.keys() - absent for name in metrics["measures"])
    assert VAE.load(tmp_path / "demo" / "dfc-vae").image_shape == (3, 32, 32)
    assert len(list((tmp_path / "demo" / "figures").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("argv", "shape"), [([], (64, 3)), (["--size", "128"], (128, 3)), (["--size=32", "--channels=1"], (32, 1))]
)
def test_the_command_sets_size_and_channels(argv, shape, monkeypatch):
    asked = []
    monkeypatch.setattr("dfcvae.commands.training.run_demo", lambda out, *, seed, settings: asked.append(settings))
    assert main(["demo", *argv]) == 0
    assert asked == [DemoSettings(size=shape[0], channels=shape[1])]
    assert {type(asked[0].size), type(asked[0].channels)} == {int}  # no other kind can be read from a checkpoint


MISTAKES = [
    (["--size", "48"], 1, "size is one of 32, 64, 128, 256; 48 came."),
    (["--channels", "2"], 1, "channels is one of 1, 3; 2 came."),
    (["--size", "large"], 2, "size: expected a whole number above 0, but large came."),
]


@pytest.mark.parametrize(("argv", "status", "sentence"), MISTAKES)
def test_a_wrong_size_or_channel_count_is_one_sentence_before_anything_is_drawn(
    argv, status, sentence, monkeypatch, capsys, tmp_path
):
    monkeypatch.delattr("dfcvae.demo.load_faces")
    assert main(["demo", "--out", str(tmp_path / "demo"), *argv]) == status
    error = capsys.readouterr().err
    assert error.startswith("dfcvae: ")
    assert error.endswith(f"{sentence}\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_the_demo_shows_what_the_project_is_about(tmp_path):
    """The whole demo: no collapse, and the DFC-VAE sharper and closer in deep features of a judge it never saw."""
    run_demo(tmp_path / "demo")
    measures = json.loads((tmp_path / "demo" / "metrics.json").read_text())["measures"]
    plain, dfc = measures["vae"], measures["dfc-vae"]
    assert dfc["sharpness"] > 1.5 * plain["sharpness"]
    assert dfc["features/relu3_1"] < plain["features/relu3_1"]
    assert dfc["features/relu4_1"] < plain["features/relu4_1"]
    assert min(plain["active_units"], dfc["active_units"]) >= 20
    assert Path(tmp_path / "demo" / "report.html").stat().st_size < 5_000_000
