import json
from dataclasses import replace
from pathlib import Path

import pytest

from dfcvae.cli import main
from dfcvae.config import DataConfig, Experiment, FeatureTraining, ModelConfig
from dfcvae.demo import DemoSettings, demo_experiments, run_demo
from dfcvae.errors import UserError
from dfcvae.report.tables import MEASURES, OTHER_SETS
from dfcvae.vae import VAE

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
JUDGE = FeatureTraining("vgg11_bn", 1 / 16, epochs=1, batch_size=50)
TINY = DemoSettings(250, size=32, model=ModelConfig("smooth", 8), epochs=1, batch_size=50, judge=JUDGE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a tiny demo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 32)
        return run_demo(tmp_path_factory.mktemp("demo") / "demo", settings=TINY).parent


def test_a_demo_writes_everything(finished):
    assert (finished / "report.html").read_text().count("<img") == 6  # two of the shipped models
    metrics = json.loads((finished / "metrics.json").read_text())
    assert list(metrics) == ["vae", "dfc-vae"]
    absent = {"ms_ssim", "lpips_vgg", "lpips_alex", "negative_iwae"}  # of larger pictures, or only where asked for
    for measures in metrics.values():
        assert measures.keys() >= MEASURES.keys() - absent
        assert all(f"{kind}frechet_judge" in measures for kind in ("samples/", *OTHER_SETS))
    text = (finished / "report.md").read_text()
    assert "| loss.features.weights | - | compact |" in text
    assert "1.5 (left) to +2 (right)" in text
    assert "DFC-VAE compares pixels and the features of a frozen network" in text
    assert VAE.load(finished / "dfc-vae").image_shape == (3, 32, 32)


def test_an_interrupted_demo_continues_and_announces_its_steps(finished, monkeypatch, capsys):
    before = json.loads((finished / "metrics.json").read_text())
    (finished / "report.html").unlink()
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 32)
    monkeypatch.delattr("dfcvae.demo.train_features")  # the judge is kept, and so are the trainings
    assert run_demo(finished, settings=TINY).is_file()
    after = json.loads((finished / "metrics.json").read_text())
    assert {name: measures["mse"] for name, measures in after.items()} == {n: m["mse"] for n, m in before.items()}
    steps = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [step.split("]")[0] for step in steps] == [f"[{i}/5" for i in range(1, 6)]


def test_the_models_differ_in_the_objective_alone_and_are_those_of_the_shipped_experiments():
    plain, dfc = experiments = demo_experiments(DataConfig(), DemoSettings(), seed=3)
    assert replace(dfc, name=plain.name, loss=plain.loss) == plain
    assert plain.training.seed == 3
    for demo in experiments:
        shipped = Experiment.load(EXPERIMENTS / f"{demo.name}.yaml")
        if shipped.loss.features:
            shipped.loss.features.weights = "compact"
        assert demo.loss == shipped.loss
        assert demo.model == shipped.model


def test_a_damaged_shipped_model_ends_the_demo_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.files.PRETRAINED", tmp_path / "package")
    VAE("hou2016", 32, 3, 8).save(tmp_path / "package" / "broken")
    (tmp_path / "package" / "broken" / "model.safetensors").write_bytes(b"broken")
    monkeypatch.delattr("dfcvae.demo.load_faces")
    with pytest.raises(UserError, match="broken"):
        run_demo(tmp_path / "demo", settings=TINY, progress=False)


@pytest.mark.parametrize(
    ("argv", "shape"), [([], (64, 3)), (["--size", "128"], (128, 3)), (["--size=32", "--channels=1"], (32, 1))]
)
def test_the_command_sets_size_and_channels(argv, shape, monkeypatch):
    asked = []
    monkeypatch.setattr("dfcvae.demo.run_demo", lambda out, *, seed, settings: asked.append(settings))
    assert main(["demo", *argv]) == 0
    assert asked == [DemoSettings(size=shape[0], channels=shape[1])]
    assert {type(asked[0].size), type(asked[0].channels)} == {int}  # no other kind can be read from a checkpoint


MISTAKES = [
    (["--size", "48"], 1, "size: expected one of 32, 64, 128, 256, got 48."),
    (["--channels", "2"], 2, "Literal[1, 3]. Got value: 2."),
    (["--size", "large"], 2, "Got value: large."),
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


@pytest.mark.nightly
def test_the_demo_shows_what_the_project_is_about(tmp_path):
    """The whole demo: no collapse, and the DFC-VAE sharper and closer in deep features of a judge it never saw."""
    run_demo(tmp_path / "demo")
    measures = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    plain, dfc = measures["vae"], measures["dfc-vae"]
    assert dfc["sharpness"] > 1.5 * plain["sharpness"]
    assert dfc["features/relu3_1"] < plain["features/relu3_1"]
    assert dfc["features/relu4_1"] < plain["features/relu4_1"]
    assert min(plain["active_units"], dfc["active_units"]) >= 20
    assert Path(tmp_path / "demo" / "report.html").stat().st_size < 8_000_000
