"""Several models side by side, on tiny runs."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch

from dfcvae.attribute_network import train_features
from dfcvae.cli import main
from dfcvae.config import FeatureTraining
from dfcvae.data import load_faces
from dfcvae.evaluation import evaluate
from dfcvae.report.comparison import compare
from dfcvae.report.models import Model, learning_curves, load_models, notes, read_curve, settings_table
from dfcvae.report.observers import Evaluated, Judge, Observers, evaluate_model
from dfcvae.training import train
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment

DATA = replace(tiny_experiment().data, train_images=48)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny runs on synthetic faces, and a judge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
        folder = tmp_path_factory.mktemp("runs")
        dfc = replace(tiny_experiment(), data=DATA)
        splits = load_faces(dfc.data, progress=False)
        plain = replace(dfc, name="plain", loss=replace(dfc.loss, features=None, pixel_weight=1.0))
        for experiment in (plain, dfc):
            train(experiment, folder / experiment.name, data=splits, progress=False)
        judge = FeatureTraining("vgg11_bn", 1 / 16, epochs=1, batch_size=24)
        train_features(judge, splits, progress=False).save(folder / "judge.safetensors")
        yield folder


@pytest.fixture(scope="module")
def compared(runs):
    """The folder of a comparison made by the command line."""
    words = [str(runs / "plain"), str(runs / "tiny"), "--judge", str(runs / "judge.safetensors")]
    assert main(["compare", *words, "--out", str(runs / "comparison")]) == 0
    return runs / "comparison"


def test_the_numbers_are_those_of_evaluate(runs, compared):
    numbers = json.loads((compared / "metrics.json").read_text())
    assert list(numbers) == ["plain", "tiny"]
    splits = load_faces(DATA, progress=False)
    judge = Judge.load(runs / "judge.safetensors", "cpu")
    for name in numbers:
        wanted = evaluate(VAE.load(runs / name), splits["test"], features=judge.features, judge=judge.network)
        assert {key: numbers[name][key] for key in wanted} == pytest.approx(wanted, rel=1e-5)
        assert numbers[name]["samples/frechet_judge"] > 0
        assert numbers[name]["intervals"]["mse"][0] < wanted["mse"] < numbers[name]["intervals"]["mse"][1]


def test_the_report_has_all_parts(runs, compared):
    text = (compared / "report.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    expected = ["Reconstructions", "Measures", "Differences from plain", "Samples", "Interpolation"]
    assert headings == [*expected, "Learning curves", "Cost", "Settings that differ", "Protocol", "What next"]
    assert "| loss.pixel_weight | 1 | 0.5 |" in text
    assert "| loss.features.arch | - | vgg11_bn |" in text
    assert "| floor: validation faces |" in text
    assert str(runs) not in text  # no path of this machine
    assert (compared / "report.html").read_text().count("<img") == 4


def test_curves_are_in_units_of_images_and_squared_pixels(runs):
    curve = read_curve(Model.load(runs / "tiny"))
    vae = VAE.load(runs / "tiny" / "checkpoints" / "last.ckpt")
    val = load_faces(DATA, progress=False)["val"].images / 255
    with torch.no_grad():
        mu, logvar = vae.encode(val)
    assert [images for images, _ in curve["pixel"]] == [48, 96]
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1).mean()
    assert curve["kl"][-1][1] == pytest.approx(float(kl), rel=1e-4)
    at_mean = float((vae.reconstruct(val) - val).square().mean())
    assert curve["pixel"][-1][1] == pytest.approx(at_mean, rel=0.05)  # validation draws from the posterior


def test_a_kept_measurement_is_taken_only_where_it_would_be_the_same(runs, tmp_path, monkeypatch):
    splits = load_faces(DATA, progress=False)
    model, file = Model.load(runs / "plain"), tmp_path / "kept.safetensors"

    def evaluated(seed=0, judge=None):
        return evaluate_model(model, DATA, splits, Observers(judge), seed=seed, cache=file, progress=False)

    first = evaluated()
    again = Evaluated.load(file, digest(model.vae), "synthetic")
    assert again.as_json() == first.as_json()
    assert again.measured.per_image.keys() == first.measured.per_image.keys()
    calls = []
    monkeypatch.setattr("dfcvae.report.observers.measure", lambda *_, **__: calls.append(1) or first.measured)
    evaluated()
    assert not calls
    evaluated(seed=1)
    assert len(calls) == 1
    evaluated(seed=1, judge=Judge.load(runs / "judge.safetensors", "cpu"))
    assert len(calls) == 2
    model = Model.load(runs / "tiny")
    evaluated()
    assert len(calls) == 3
    file.write_bytes(file.read_bytes()[:100])
    evaluated()
    assert len(calls) == 4


def test_models_of_the_same_name_are_told_apart_by_the_folder_above(runs, tmp_path):
    shutil.copytree(runs / "plain", tmp_path / "b" / "plain")
    models = load_models([runs / "plain", tmp_path / "b" / "plain", runs / "tiny" / "checkpoints" / "last.ckpt"])
    assert list(models) == ["plain", "b/plain", "tiny/last"]
    assert settings_table({name: models[name] for name in ("plain", "b/plain")}).cells() == [["none", "", ""]]


def test_an_exported_model_has_neither_cost_nor_curves(runs, tmp_path):
    VAE.load(runs / "plain").save(tmp_path / "exported")
    paths = [runs / "plain", tmp_path / "exported"]
    compare(paths, tmp_path / "out", progress=False)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| exported | " in text
    assert "not recorded" in text
    assert "Frechet" not in text  # no judge


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda runs, _: [runs / "plain"], "A comparison needs at least two models"),
        (lambda runs, _: [runs / "plain", runs / "plain"], "named twice; name every model once."),
        (lambda runs, _: [runs / "plain", runs / "nothing"], "No model at"),
        (lambda runs, other: [runs / "plain", other], "models of images of the same shape can be compared, got"),
    ],
)
def test_mistakes_are_sentences(runs, tmp_path, capsys, make, sentence):
    VAE("hou2016", 64, 3, 8).save(tmp_path / "larger")
    paths = list(map(str, make(runs, tmp_path / "larger")))
    assert main(["compare", *paths, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_other_data_and_what_explains_differences_are_told(runs, tmp_path):
    models = load_models([runs / "plain", runs / "tiny"])
    assert notes(models, DATA) == []
    (warning,) = notes(models, replace(DATA, split_seed=3))
    assert "plain (synthetic, split_seed 0) and tiny (synthetic, split_seed 0)" in warning
    trained_on = models["plain"].fingerprint
    assert notes(models, DATA, trained_on) == []
    assert notes(models, replace(DATA, crop="full"), "another") == []  # images differ anyway
    (warning,) = notes(models, DATA, "another")
    assert "have changed since the training of plain and tiny, which may have seen some of these test faces" in warning
    shutil.copytree(runs / "plain", tmp_path / "other")
    file = tmp_path / "other" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file)
    checkpoint["about"]["config"]["loss"]["alpha"] = 0.5
    checkpoint["about"]["config"]["training"]["batch_size"] = 8
    torch.save(checkpoint, file)
    alpha, length = notes(load_models([runs / "plain", tmp_path / "other"]), DATA)
    assert alpha == "`loss.alpha` differs (plain 0.004, other 0.5), which alone can explain differences."
    assert length.startswith("Trained for different lengths (plain 6 steps, other 12 steps), which may explain part")


def test_a_conclusion_needs_steps_and_seeds(runs, compared, monkeypatch):
    text = (compared / "report.md").read_text()
    assert "* Too few steps to say which model is better: plain 6 and tiny 6, of at least 1,000. Train longer." in text
    assert not re.search("p [<=] .* (better|worse)", text)
    assert "* Train longer: `dfcvae train RUN/config.yaml --training.epochs 20 --out RUN --resume`." in text
    assert "Let a network judge" not in text  # one did
    monkeypatch.setattr("dfcvae.report.comparison.FEWEST_STEPS", 1)
    text = compare([runs / "plain", runs / "tiny"], runs / "again", progress=False).with_suffix(".md").read_text()
    assert re.search(
        r"\* tiny, against plain: ((better|worse) in .*|no clear difference)\.\n\* One training of each", text
    )
    assert "* Let a network judge that none of the models was trained with: `--judge experiments/judges/squ" in text


def test_a_reader_sees_eight_rows_and_the_best_value_above_its_interval(compared):
    html = (compared / "report.html").read_text()
    shown = re.sub("<details>.*?</details>", "", html, flags=re.DOTALL)
    assert max(table.count("<tr>") for table in shown.split("<table>")[1:3]) == 1 + 8
    assert re.search(r"<td>MSE ↓</td>(<td>.*?)?<td><b>0\.\d+</b><br><small>\[0\.\d+, 0\.\d+\]</small></td>", shown)
    assert "prefers-color-scheme: dark" in html


def test_a_run_without_a_validation_has_no_curve(runs, tmp_path):
    shutil.copytree(runs / "plain", tmp_path / "x")
    rows = (tmp_path / "x" / "metrics.csv").read_text().splitlines()
    (tmp_path / "x" / "metrics.csv").write_text(rows[0] + "\n")
    model = Model.load(tmp_path / "x")
    assert read_curve(model) == {}
    assert learning_curves({"x": model}) is None
