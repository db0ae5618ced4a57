"""What a study is, and what it refuses."""

import pytest
import yaml

from dfcvae.ablate import ranked, ranked_by
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.fields import flat
from dfcvae.losses.presets import PRESETS
from dfcvae.study import read_study, slurm_script, wandb_sweep
from dfcvae.vgg import resolve_layers
from tests.test_experiments import FOLDER, STUDIES


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_says_how_to_run_it_and_varies_what_it_says(path):
    study = read_study(path, ["data.source=somewhere"], seeds=2)
    assert f"dfcvae ablate experiments/{path.name}" in path.read_text()
    plain = {name: flat(experiment.as_dict()) for name, experiment in study.variants.items()}
    assert all(fields["data.source"] == "somewhere" for fields in plain.values())
    different = [tuple((k, str(v)) for k, v in fields.items() if k != "name") for fields in plain.values()]
    assert len(set(different)) == len(different)
    for experiment in study.variants.values():
        loss = experiment.loss
        if loss.scale == "variance" and loss.features:  # reconstruction terms weigh one in all
            preset = PRESETS[loss.features.preset]
            weight = preset.weights if loss.features.layer_weights is None else loss.features.layer_weights
            assert loss.pixel_weight + weight * len(layers_of(experiment)) == pytest.approx(1, rel=1e-6)
    runs = study.runs()
    assert len(runs) == 2 * len(plain)
    assert [name.rpartition("-")[2] for name in runs] == sorted(name.rpartition("-")[2] for name in runs)
    assert {experiment.training.seed for experiment in runs.values()} == {0, 1}


def test_the_layer_study_has_the_layers_of_its_names():
    variants = read_study(FOLDER / "ablation_layers.yaml").variants
    found = {name: sorted(map(str, layers_of(experiment))) for name, experiment in variants.items()}
    four = ["bn3_4", "bn4_3", "conv3_1", "conv5_2"]
    assert found == {
        "all": four,
        "none": [],
        "only-14": ["conv3_1"],
        "only-24": ["bn3_4"],
        "only-34": ["bn4_3"],
        "only-43": ["conv5_2"],
        "14-24": ["bn3_4", "conv3_1"],
        "24-34": ["bn3_4", "bn4_3"],
        "34-43": ["bn4_3", "conv5_2"],
        "14-24-34": ["bn3_4", "bn4_3", "conv3_1"],
        "24-34-43": ["bn3_4", "bn4_3", "conv5_2"],
        "aliased": ["conv3_1", "conv5_2", "relu3_4", "relu4_3"],
        "relu-123": ["relu1_1", "relu2_1", "relu3_1"],
    }


def layers_of(experiment):
    features = experiment.loss.features
    if features is None:
        return []
    preset = PRESETS[features.preset]
    return resolve_layers(features.arch or preset.arch, features.layers or preset.layers)


BASE = "name: x\n"
MISTAKES = {
    "not YAML": ("base: [", "is not a study ("),
    "a list": ("- base", "is not a study; expected base: EXPERIMENT.yaml, seeds: N and variations"),
    "no variations": ("base: x.yaml", "is not a study; expected"),
    "one variation": ("base: x.yaml\nvariations: {a: {}}", "needs at least two variations, got 1"),
    "unknown key": ("base: x.yaml\nseed: 3\nvariations: {a: , b: }", "unknown field 'seed' (did you mean 'seeds'?)"),
    "seeds": ("base: x.yaml\nseeds: many\nvariations: {a: , b: }", "seeds: expected a positive integer, got 'many'"),
    "a word": ("base: x.yaml\nvariations: {a: 3, b: }", "variation: expected a mapping of fields to values"),
    "no base": ("base: y.yaml\nvariations: {a: , b: }", "y.yaml"),
    "field": ("base: x.yaml\nvariations: {a: , b: {loss.alhpa: 1}}", "Variation 'b' of"),
    "value": (
        "base: x.yaml\nvariations: {a: , b: {loss.alpha: much}}",
        "loss.alpha: expected a finite number of at least 0, got 'much'.",
    ),
    "base": ("base: 3\nvariations: {a: , b: }", "base: expected the name of a file"),
    "set": ("base: x.yaml\nset: [a]\nvariations: {a: , b: }", "set: expected a mapping of fields to values"),
    "name": ("base: x.yaml\nvariations: {a: , b/4: }", "expected letters, digits and . _ + = -, got 'b/4'"),
    "names but for capitals": ("base: x.yaml\nvariations: {a: , A: {loss.alpha: 1}}", "must differ in more than case"),
    "seed": (
        "base: x.yaml\nset: {training.seed: 7}\nvariations: {a: , b: }",
        "remove the field and set seeds: N instead",
    ),
    "preset": ("base: x.yaml\nvariations: {a: , b: {loss.features.preset: dfcc}}", "Unknown loss 'dfcc'"),
    "layer": ("base: x.yaml\nvariations: {a: , b: {loss.features.layers: [bn9_9]}}", "Variation 'b' of"),
    "weights": ("base: x.yaml\nvariations: {a: , b: {loss.features.weights: x.pth}}", "there is no file x.pth"),
    "devices": ("base: x.yaml\nvariations: {a: , b: {training.devices: 2}}", "use one device each"),
    "budget": ("base: x.yaml\nvariations: {a: , b: {training.epochs: 3}}", "training.epochs is 20 in 'a' and 3 in 'b'"),
    "images": ("base: x.yaml\nvariations: {a: , b: {data.size: 32}}", "data.size is 64 in 'a' and 32 in 'b'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_sentences(case, tmp_path, capsys):
    text, sentence = MISTAKES[case]
    (tmp_path / "x.yaml").write_text(BASE)
    (tmp_path / "study.yaml").write_text(text)
    assert main(["ablate", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--print", "slurm"]) in (1, 2)
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_a_change_without_a_value_and_a_run_that_is_not_there_are_sentences(tmp_path, capsys):
    study = str(FOLDER / "ablation_kl.yaml")
    with pytest.raises(UserError, match=r"expected FIELD=VALUE, got 'loss\.alpha'"):
        read_study(study, ["loss.alpha"])
    assert main(["ablate", study, "--out", str(tmp_path), "--only", "dfc-0.001-7"]) == 1
    assert "There is no run 'dfc-0.001-7'" in capsys.readouterr().err


def test_every_run_has_its_task_in_a_job_array():
    script = slurm_script(["ablate", "a b.yaml", "--out", "x"], ["all-0", "none-0", "all-1"])
    assert "#SBATCH --array=0-2\n" in script
    assert "runs=(all-0 none-0 all-1)" in script
    assert """srun dfcvae ablate 'a b.yaml' --out x --only "${runs[$SLURM_ARRAY_TASK_ID]}\"""" in script


def test_every_run_is_a_value_of_the_sweep():
    sweep = yaml.safe_load(wandb_sweep(["ablate", "s.yaml"], ["all-0", "none-0"]))
    assert sweep["parameters"] == {"only": {"values": ["all-0", "none-0"]}}
    assert sweep["command"] == ["dfcvae", "ablate", "s.yaml", "${args}"]  # an agent adds --only=all-0


def test_a_change_of_the_base_reaches_every_variant_or_is_refused():
    study = read_study(FOLDER / "ablation_layers.yaml", ["loss.features.weights=imagenet"])
    used = {name: experiment.loss.features for name, experiment in study.variants.items()}
    assert {name for name, features in used.items() if features is None} == {"none"}
    assert {features.weights for features in used.values() if features} == {"imagenet"}
    with pytest.raises(UserError, match=r"--set loss.alpha would have no effect on variation 'dfc-0.00025'"):
        read_study(FOLDER / "ablation_kl.yaml", ["loss.alpha=1"])
    with pytest.raises(UserError, match="--set: a value is not valid YAML"):
        read_study(FOLDER / "ablation_kl.yaml", ["loss.beta=[1"])


def test_changes_may_be_given_at_once_or_one_by_one_and_paths_hold_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    study = str(FOLDER / "ablation_kl.yaml")
    words = ["--set", "data.source=faces", "--set", "training.epochs=2", "data.size=32", "--print", "slurm"]
    words += ["--judge", "a.yaml", "--judge", "b.safetensors"]
    assert main(["ablate", study, *words, "--lpips", "--fid"]) == 0
    script = capsys.readouterr().out
    judges = f"--judge {tmp_path / 'a.yaml'} --judge {tmp_path / 'b.safetensors'}"
    assert f"--set data.source={tmp_path / 'faces'} training.epochs=2 data.size=32 {judges} --fid download" in script
    assert script.count("--report") == 1


def test_a_judge_of_another_kind_decides_the_order_before_attributes_and_ssim():
    run = {"ssim": 0.5, "attribute_agreement": 0.9, "face/cosine": 0.1, "face/distance": 3.0}
    values = {"a": [run], "b": [run | {"attribute_agreement": 0.8, "face/cosine": 0.2}]}
    assert (ranked_by(values), ranked(values)) == ("face/cosine", ["b", "a"])
    without = {name: [{key: value for key, value in of.items() if "/" not in key}] for name, (of,) in values.items()}
    assert (ranked_by(without), ranked(without)) == ("attribute_agreement", ["a", "b"])
    assert ranked_by(without | {"c": [{"ssim": 0.4}]}) == "ssim"
