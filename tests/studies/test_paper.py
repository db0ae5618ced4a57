"""The results section, small: what it leaves behind, that it says what was measured, and that nothing is done twice."""

import json
from dataclasses import replace
from statistics import fmean

import pytest
import torch
import yaml
from torchvision.models import squeezenet1_1

from dfcvae.ablate import ablate
from dfcvae.build import build_perceptual
from dfcvae.cli import main
from dfcvae.config import DataConfig, FeatureTraining
from dfcvae.errors import UserError
from dfcvae.paper import LOSSES, paper_report, paper_study
from dfcvae.vae import VAE

DATA = DataConfig(size=32, train_images=96)
STUDY = paper_study(DATA, 1, 2, "in-domain")


def write(study, out):
    return ablate(replace(study, out=out), report=paper_report, workers=1, progress=False)


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """A paper with two seeds and tiny networks: its folder."""
    network = FeatureTraining(width=1 / 16, epochs=1, batch_size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 60)
        patch.setattr("dfcvae.ablate.FEATURES", network)
        patch.setattr("dfcvae.ablate.JUDGE", replace(network, arch="vgg11_bn", seed=1))
        out = tmp_path_factory.mktemp("paper")
        write(STUDY, out)
        yield out


@pytest.mark.slow
def test_everything_is_there_and_the_report_says_what_was_measured(paper):
    runs = {f"{name}-{seed}" for name in LOSSES for seed in (0, 1)}
    assert {path.name for path in (paper / "runs").iterdir() if path.is_dir()} == runs  # and the files of locks
    figures = {path.name for path in (paper / "figures").iterdir()}
    pictures = ("reconstructions", "samples", "interpolations", "attribute-walks")
    drawn = ("attribute-correlations", "latent-map", "learning-curves")
    assert figures == {f"{name}.{kind}" for name in pictures for kind in ("png", "npz")} | {
        f"{name}.{kind}" for name in drawn for kind in ("png", "pdf", "csv")
    }
    assert not list(paper.rglob("*.tmp"))
    text = (paper / "report.md").read_text()
    numbers = json.loads((paper / "metrics.json").read_text())
    probed = numbers.pop("attribute prediction")
    assert numbers.keys() == runs
    mean = fmean(one["linear SVM"]["auroc"] for one in probed["VAE-123"])
    assert "| VAE-123 | linear SVM |" in text
    assert f"{mean:.4g} ±" in text
    assert len(probed["VAE-123"]) == 2
    values = torch.tensor([numbers[f"dfc-{seed}"]["mse"] for seed in (0, 1)])
    line = next(line for line in text.splitlines() if line.startswith("| MSE ↓"))
    assert f"{values.mean():.4g} ±" in line.split("|")[5].replace("**", "")
    assert text.count("| pixel PCA | ") == 2
    assert "learned the same labels, so this judge cannot see what the loss ignores" in text
    assert "(VAE-123, VAE-345, DFC-VAE 14/24/34/43)." in text
    assert (paper / "report.html").read_text().count("<img") == 7
    assert str(paper) not in text


@pytest.mark.slow
def test_models_of_a_seed_begin_alike_and_differ_in_the_loss_alone(paper):
    configs = {name: experiment.as_dict() for name, experiment in STUDY.variants.items()}
    for config in configs.values():
        assert config | {"name": "", "loss": {}} == configs["plain"] | {"name": "", "loss": {}}
        assert config["loss"]["alpha"] == configs["plain"]["loss"]["alpha"]
    folders = {name: VAE.load(paper / "runs" / f"{name}-0") for name in LOSSES}
    assert len({float(vae.decode_all(torch.zeros(1, 100)).sum()) for vae in folders.values()}) == len(LOSSES)


def test_the_layers_and_weights_are_the_papers():
    weights = {}
    for name, experiment in paper_study(DATA, features="random").variants.items():
        loss = experiment.loss
        perceptual = build_perceptual(loss.features)
        weights[name] = {"pixel": loss.pixel_weight} | (perceptual.weights if perceptual else {})
        assert sum(weights[name].values()) == pytest.approx(1)
    assert weights["plain"] == {"pixel": 1}
    assert weights["vae-123"].keys() == {"pixel", "relu1_1", "relu2_1", "relu3_1"}
    assert weights["vae-345"].keys() == {"pixel", "relu3_1", "relu4_1", "relu5_1"}
    assert weights["dfc"].keys() == {"pixel", "conv3_1", "bn3_4", "bn4_3", "conv5_2"}
    assert weights["vae-123"]["pixel"] == weights["vae-345"]["pixel"] == 0


def test_a_full_network_is_one_more_model_that_differs_in_its_weights_alone():
    with_full = paper_study(DATA, 1, 2, "compact", "imagenet").variants
    assert [*with_full] == [*LOSSES, "vae-123-full"]
    small, full = with_full["vae-123"], with_full["vae-123-full"]
    assert (small.loss.features.weights, full.loss.features.weights) == ("compact", "imagenet")
    assert replace(full.loss, features=replace(full.loss.features, weights="compact")) == small.loss


@pytest.mark.slow
def test_a_second_time_nothing_is_trained_or_measured(paper, monkeypatch):
    for name in ("ablate.train_features", "ablate.train", "evaluation.probe.probe", "report.observers.measure"):
        monkeypatch.setattr(f"dfcvae.{name}", None)
    before = (paper / "report.md").read_text().split("## Protocol")[0]
    write(STUDY, paper)
    assert (paper / "report.md").read_text().split("## Protocol")[0] == before


@pytest.mark.slow
def test_a_run_with_other_settings_is_refused(paper):
    other = paper_study(DATA, 1, 2, str(paper / "judge.safetensors"))
    with pytest.raises(UserError, match=r"cannot be resumed with another experiment: loss\.features.weights was"):
        write(other, paper)


def test_the_command_line_hands_over_its_arguments(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("dfcvae.ablate.ablate", lambda *arguments, report: asked.append(arguments) or "x")
    words = ["--size=32", "--epochs=2", "--seeds=4", "--features=in-domain", "--train_images=9", f"--out={tmp_path}"]
    words += ["--full=imagenet"]
    assert main(["paper", "synthetic", *words]) == 0
    ((study,),) = asked
    assert type(study.data.size) is int  # no other kind can be read from a checkpoint
    wanted = paper_study(DataConfig(size=32, train_images=9), 2, 4, "in-domain", "imagenet")
    assert study == replace(wanted, out=tmp_path, judge=[])


@pytest.mark.slow
def test_a_judge_of_another_kind_takes_the_place_of_the_attribute_network(paper, tmp_path):
    """Last, as it replaces the report."""
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "squeezenet.pth")
    about = {"name": "squeeze", "network": "squeezenet1_1", "weights": "squeezenet.pth", "layers": ["features.1"]}
    about |= {"size": 32, "channels": "RGB", "range": 1, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(about))
    write(replace(STUDY, judge=(tmp_path / "judge.yaml",)), paper)
    text = (paper / "report.md").read_text()
    assert "| squeeze: cosine ↑ |" in text
    assert "| squeeze: cosine, strangers |" in text
    assert "| features: squeeze | Frechet ↓ |" in text
    assert "learned the same labels" not in text
    assert "attribute_agreement" not in json.loads((paper / "metrics.json").read_text())["dfc-0"]


def test_no_seeds_are_a_mistake(tmp_path, capsys):
    assert main(["paper", "synthetic", "--size=32", "--seeds=0", f"--out={tmp_path}"]) == 2
    assert "seeds" in capsys.readouterr().err


def test_a_file_of_features_that_is_missing_is_told_at_once():
    with pytest.raises(UserError, match=r"loss.features.weights: there is no file nothere.safetensors; name one"):
        paper_study(DATA, full="nothere.safetensors")
