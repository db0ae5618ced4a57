"""Every shipped experiment loads, says how to run it, and trains for two steps."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml

from dfcvae.cli import parse
from dfcvae.config import (
    DataConfig,
    Distillation,
    Experiment,
    FeatureConfig,
    FeatureTraining,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from dfcvae.errors import UsageError
from dfcvae.fields import checked
from dfcvae.study import read_study
from dfcvae.training import train

FOLDER = Path(__file__).parents[1] / "experiments"
STUDIES = sorted(FOLDER.glob("ablation_*.yaml"))
GROUPS = {
    "data": DataConfig,
    "model": ModelConfig,
    "loss": LossConfig,
    "loss.features": FeatureConfig,
    "training": TrainingConfig,
}
EXPERIMENTS = sorted(set(FOLDER.glob("*.yaml")) - set(STUDIES))


SMALL = {"data.size": 32, "training.max_steps": 2, "training.batch_size": 16, "training.accelerator": "cpu"}
each_experiment = pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)


@each_experiment
def test_loads_and_saves_as_itself(path, tmp_path):
    experiment = Experiment.load(path)
    experiment.save(tmp_path / "saved.yaml")
    assert Experiment.load(tmp_path / "saved.yaml") == experiment == Experiment.from_dict(experiment.as_dict())
    assert experiment.name == path.stem
    assert f"dfcvae train experiments/{path.name}" in path.read_text()


@each_experiment
def test_trains_for_two_steps(path, splits, tmp_path):
    experiment = Experiment.load(path, SMALL)
    if experiment.loss.features:
        experiment.loss.features.weights = "random"
    result = train(experiment, tmp_path / "run", data=splits, progress=False)
    assert result.metrics["val/total"] > 0


def test_the_shipped_pair_differs_in_the_objective_alone():
    plain, dfc = (Experiment.load(path.with_stem(name)) for path in EXPERIMENTS[:1] for name in ("vae", "dfc-vae"))
    assert replace(dfc, loss=plain.loss, name=plain.name) == plain
    assert dfc.loss.features is not None
    assert replace(dfc.loss, features=None, pixel_weight=plain.loss.pixel_weight) == plain.loss


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("data.train_images", 0, "a positive integer or null, got 0."),
        ("model.latent_dim", -3, "a positive integer, got -3."),
        ("model.latent_dim", 10**10, "a positive integer up to 1,000,000,000, got 10000000000."),
        ("loss.alpha", math.nan, "a finite number of at least 0, got nan."),
        ("loss.beta", math.inf, "a finite number of at least 0, got inf."),
        ("loss.features.shift", -1, "a non-negative integer, got -1."),
        ("training.batch_size", 1, "an integer of at least 2, got 1."),
        ("training.betas", (0.9, 1.0), r"a number from 0 to 0.999999 for each entry, got .0.9, 1.0.."),
        ("training.ema_decay", 1.5, "a number from 0 to 1 or null, got 1.5."),
    ],
)
def test_python_yaml_and_command_line_refuse_the_same(field, value, expected, tmp_path):
    group, _, name = field.rpartition(".")
    plain = list(value) if isinstance(value, tuple) else value
    fields = {name: plain}
    for part in reversed(group.split(".")):
        fields = {part: fields}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(fields))
    (tmp_path / "good.yaml").write_text("loss:\n  features:\n    preset: dfc\n")
    override = f"--{field}={yaml.safe_dump(plain, default_flow_style=True).splitlines()[0]}"
    for refused in (
        lambda: GROUPS[group](**{name: value}),
        lambda: Experiment.load(tmp_path / "bad.yaml"),
        lambda: Experiment.load({field: value}),
        lambda: Experiment.load(tmp_path / "good.yaml", {field: value}),
        lambda: parse(["train", str(tmp_path / "good.yaml"), override]),
    ):
        with pytest.raises(UsageError, match=f"{field}: expected {expected}$"):
            refused()


def test_values_are_converted_to_plain_ones_when_the_object_is_made(tmp_path):
    experiment = Experiment(
        data=DataConfig(source=Path("faces"), crop=np.int64(148)),
        loss=LossConfig(alpha=np.float64(1e-3), features=FeatureConfig(layers=[np.int64(14), "relu1_1"])),
        training=TrainingConfig(learning_rate="1e-4", epochs=np.int32(3), betas=[np.float32(0.5), 0.9]),
    )
    experiment.save(tmp_path / "x.yaml")
    plain = yaml.safe_load((tmp_path / "x.yaml").read_text())
    assert (plain["data"]["source"], plain["data"]["crop"]) == ("faces", 148)
    assert (plain["loss"]["alpha"], plain["loss"]["features"]["layers"]) == (0.001, [14, "relu1_1"])
    assert (plain["training"]["learning_rate"], plain["training"]["epochs"]) == (1e-4, 3)
    assert (experiment.training.betas, plain["training"]["betas"]) == ((0.5, 0.9), [0.5, 0.9])
    assert Experiment.load(tmp_path / "x.yaml") == experiment


def test_an_experiment_is_loaded_from_nested_or_dotted_fields_and_changed(tmp_path):
    nested = Experiment.load({"data": {"size": 32}, "loss": {"features": {"preset": "ssim"}}})
    assert nested == Experiment.load({"data.size": 32, "loss.features.preset": "ssim"})
    assert (nested.data.size, nested.loss.features.preset, nested.training) == (32, "ssim", TrainingConfig())
    nested.save(tmp_path / "x.yaml")
    changed = Experiment.load(tmp_path / "x.yaml", {"loss.alpha": 0.5, "loss": {"features.shift": 2}, "data.size": 64})
    assert (changed.loss.alpha, changed.loss.features.shift, changed.data.size) == (0.5, 2, 64)
    assert changed.loss.features.preset == "ssim"
    assert Experiment.load(tmp_path / "x.yaml", {"loss.features": None}).loss.features is None


def test_the_nearest_field_is_named():
    with pytest.raises(UsageError, match=r"training.lr: unknown field \(did you mean 'learning_rate'\?\)"):
        Experiment.load({"training": {"lr": 1}})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: TrainingConfig(precision="16-mixed"), r"one of 32-true, bf16-mixed, auto \(did you mean 'bf16-mixed'"),
        (lambda: checked({"channels": 2}, {"channels": Literal[1, 3]}), "channels: expected one of 1, 3, got 2."),
        (lambda: TrainingConfig(betas=[0.9]), "training.betas: expected 2 entries, got"),
        (lambda: TrainingConfig(learning_rate="fast"), "training.learning_rate: expected a finite number of at least"),
        (lambda: TrainingConfig(compile=1), "training.compile: expected true or false, got 1."),
        (lambda: ModelConfig("hou"), r"one of hou2016, smooth, strided \(did you mean 'hou2016'\?\), got 'hou'."),
        (lambda: FeatureConfig(layers=[1.5]), "expected an integer or text for each entry or null, got"),
        (lambda: Experiment(data={}), "data: expected DataConfig, got {}."),
        (lambda: FeatureTraining(width=8), "training.width: expected a number from 1/64 to 4, got 8."),
        (lambda: Distillation(patch=16), "student.patch: expected an integer of at least 32, got 16."),
    ],
)
def test_wrong_types_are_refused_in_python(make, expected):
    with pytest.raises(UsageError, match=expected):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_first_and_the_last_variant_of_a_study_train_for_two_steps(path, splits, tmp_path):
    variants = list(read_study(path, [f"{field}={value}" for field, value in SMALL.items()]).variants.items())
    for name, experiment in (variants[0], variants[-1]):
        if experiment.loss.features:
            experiment.loss.features.weights = "random"
        result = train(experiment, tmp_path / name, data=splits, progress=False)
        assert math.isfinite(result.metrics["val/total"])
