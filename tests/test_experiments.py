"""Every shipped experiment loads, says how to run it, and trains for two steps."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest

from dfcvae.config import Experiment
from dfcvae.errors import UserError
from dfcvae.parsing import load_experiment
from dfcvae.study import read_study
from dfcvae.training import train

FOLDER = Path(__file__).parents[1] / "experiments"
STUDIES = sorted(FOLDER.glob("ablation_*.yaml"))
EXPERIMENTS = sorted(set(FOLDER.glob("*.yaml")) - set(STUDIES))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_loads_and_saves_as_itself(path, tmp_path):
    experiment = load_experiment(path)
    experiment.save(tmp_path / "saved.yaml")
    assert load_experiment(tmp_path / "saved.yaml") == experiment == Experiment.from_dict(experiment.as_dict())
    assert experiment.name == path.stem
    assert f"dfcvae train experiments/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_trains_for_two_steps(path, splits, tmp_path):
    small = ["--data.size=32", "--training.max_steps=2", "--training.batch_size=16", "--training.accelerator=cpu"]
    experiment = load_experiment(path, small)
    if experiment.loss.features:
        small.append("--loss.features.weights=random")
        experiment = load_experiment(path, small)
    result = train(experiment, tmp_path / "run", splits=splits, progress=False)
    assert result.metrics["val/total"] > 0


def test_the_shipped_pair_differs_in_the_objective_alone():
    plain, dfc = (load_experiment(path.with_stem(name)) for path in EXPERIMENTS[:1] for name in ("vae", "dfc-vae"))
    assert replace(dfc, loss=plain.loss, name=plain.name) == plain
    assert dfc.loss.features is not None
    assert replace(dfc.loss, features=None, pixel_weight=plain.loss.pixel_weight) == plain.loss


def test_the_published_recipe_is_as_published():
    experiment = load_experiment(next(path for path in EXPERIMENTS if path.stem == "dfc-vae-published"))
    loss, training, features = experiment.loss, experiment.training, experiment.loss.features
    assert (loss.alpha, loss.beta, loss.pixel_weight, loss.scale) == (2.5e-4, 0.5, 1.0, "none")
    assert (features.preset, features.layer_weights) == ("dfc", 1.0)
    assert (features.arch, features.layers, features.distance, features.reduction, features.pooling) == (None,) * 5
    assert (experiment.model.network, experiment.model.latent_dim) == ("strided", 128)
    assert (training.learning_rate, training.schedule, training.decay) == (5e-3, "exponential", 0.95)
    assert (training.batch_size, training.epochs, experiment.data.crop) == (64, 10, 148)


@pytest.mark.parametrize("part", ["data", "model", "loss", "training"])
def test_an_unknown_field_is_a_sentence(part, tmp_path):
    plain = Experiment().as_dict()
    plain[part]["alhpa"] = 1
    with pytest.raises(UserError, match=r"saved experiment is not of this version of dfcvae .*'alhpa'"):
        Experiment.from_dict(plain)
    (tmp_path / "x.yaml").write_text(f"{part}:\n  alhpa: 1\n")
    with pytest.raises(UserError, match=f"There is no (field|option) '({part}.)?alhpa'"):
        load_experiment(tmp_path / "x.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_first_and_the_last_variant_of_a_study_train_for_two_steps(path, splits, tmp_path):
    small = ["data.size=32", "training.max_steps=2", "training.batch_size=16", "training.accelerator=cpu"]
    variants = list(read_study(path, small).variants.items())
    for name, experiment in (variants[0], variants[-1]):
        features = experiment.loss.features
        if features:
            experiment = replace(
                experiment, loss=replace(experiment.loss, features=replace(features, weights="random"))
            )
        result = train(experiment, tmp_path / name, splits=splits, progress=False)
        assert isfinite(result.metrics["val/total"])
