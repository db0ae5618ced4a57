import json
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from dfcvae.cli import main
from dfcvae.config import DataConfig, Experiment, ModelConfig
from dfcvae.demo import DemoSettings, demo_experiments, run_demo
from dfcvae.errors import UserError
from dfcvae.feature_config import FeatureTraining
from dfcvae.report.tables import MEASURES
from dfcvae.vae import VAE

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
JUDGE = FeatureTraining("vgg11_bn", 1 / 16, epochs=1, batch_size=50)
TINY = DemoSettings(250, size=32, model=ModelConfig("smooth", 8), epochs=1, batch_size=50, judge=JUDGE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a tiny demo without shipped models, and what it printed."""
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 32)
        patch.setattr("dfcvae.files.PRETRAINED", tmp_path_factory.mktemp("nothing"))
        report = run_demo(tmp_path_factory.mktemp("demo") / "demo", settings=TINY)
    return report.parent, printed.getvalue()


def test_a_demo_writes_everything(finished):
    folder, _ = finished
    assert (folder / "report.html").read_text().count("<img") == 3
    assert len(list((folder / "figures").glob("*.png"))) == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["measures"]) == ["vae", "dfc-vae"]
    absent = {"ms_ssim", "lpips_vgg", "lpips_alex", "negative_iwae"}  # of larger pictures, or only where asked for
    assert all(metrics["measures"][name].keys() == MEASURES.keys() - absent for name in metrics["measures"])
    assert metrics["samples"]["dfc-vae"].keys() >= {"samples", "samples_gmm", "floor"}
    assert VAE.load(folder / "dfc-vae").image_shape == (3, 32, 32)


def test_the_report_has_one_short_table_and_folds_the_rest(finished):
    text = (finished[0] / "report.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["Reconstructions", "Measures", "Samples", "Interpolation", "Details", "What next"]
    shown = text[: text.index("<details>")]
    rows = [line for line in shown.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) == 7
    assert all(line.count("**") in (0, 2) for line in rows)
    assert sum(line.count("**") for line in rows) >= 7
    assert "| loss.features.weights | - | compact |" in text[text.index("<details>") :]
    assert "In full: [plain VAE](vae/config.yaml) and [DFC-VAE](dfc-vae/config.yaml)." in text


def test_every_step_is_announced_with_its_number(finished):
    steps = [line for line in finished[1].splitlines() if line.startswith("[")]
    assert [step.split("]")[0] for step in steps] == [f"[{i + 1}/{len(steps)}" for i in range(len(steps))]
    seconds = json.loads((finished[0] / "metrics.json").read_text())["seconds"]
    assert [step.split("] ")[1] for step in steps] == list(seconds)


def test_the_models_differ_in_the_objective_alone():
    plain, dfc = demo_experiments(DataConfig(), DemoSettings(), seed=3)
    assert replace(dfc, name=plain.name, loss=plain.loss) == plain
    assert plain.training.seed == 3


def test_the_objectives_and_the_network_are_those_of_the_shipped_experiments():
    for demo in demo_experiments(DataConfig(), DemoSettings(), seed=0):
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
    measures = json.loads((tmp_path / "demo" / "metrics.json").read_text())["measures"]
    plain, dfc = measures["vae"], measures["dfc-vae"]
    assert dfc["sharpness"] > 1.5 * plain["sharpness"]
    assert dfc["features/relu3_1"] < plain["features/relu3_1"]
    assert dfc["features/relu4_1"] < plain["features/relu4_1"]
    assert min(plain["active_units"], dfc["active_units"]) >= 20
    assert Path(tmp_path / "demo" / "report.html").stat().st_size < 8_000_000
