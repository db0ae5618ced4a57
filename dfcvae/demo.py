"""The main job in minutes, with no download: both models on synthetic faces, and a report that compares them."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from dfcvae.config import (
    DataConfig,
    Experiment,
    FeatureConfig,
    FeatureTraining,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from dfcvae.data import Faces, Splits, load_faces
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS, evaluate
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float
from dfcvae.reports.blocks import Block, Heading, Paragraph, Preformatted, Table
from dfcvae.reports.measured import in_order, title
from dfcvae.reports.pictures import interpolations, reconstructions, samples
from dfcvae.reports.write import write_report
from dfcvae.training import AttributeNetwork, attribute_scores, train, train_features
from dfcvae.training.build import build_vae
from dfcvae.training.environment import environment, pick_device
from dfcvae.vae import VAE

FACES_SHOWN, SAMPLES_SHOWN, STEPS_SHOWN = 10, 10, 8


@dataclass(frozen=True)
class DemoSettings:
    """How much to train; the defaults fit into six minutes on two CPU cores."""

    train_images: int = 3_600
    size: int = 64
    channels: int = 3
    epochs: int = 5
    batch_size: int = 32
    features: FeatureTraining = field(default_factory=lambda: FeatureTraining(width=0.125, epochs=4))
    judge: FeatureTraining = field(default_factory=lambda: FeatureTraining("vgg11_bn", 0.125, epochs=4, seed=1))


def run_demo(out: str | Path, *, seed: int = 0, settings: DemoSettings | None = None, progress: bool = True) -> Path:
    """Train a feature network, a plain VAE and a DFC-VAE at equal budget; write ``report.html`` and ``metrics.json``.

    Args:
        out: folder for the report, the pictures, the networks and the two run folders; must not hold a demo already.
        seed: of all training runs.
        settings: how much to train.
        progress: say what is going on.

    Returns:
        The path of the report.

    Raises:
        UserError: if ``out`` is in use, or there is no such size or number of channels.
    """
    out, settings = Path(out), settings or DemoSettings()
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another folder with --out, or delete it.")
    data = DataConfig(size=settings.size, channels=settings.channels, train_images=settings.train_images)
    experiments = demo_experiments(data, settings, seed, str(out / "features.safetensors"))
    build_vae(experiments[0])  # mistakes show before anything is drawn
    clock = Clock(progress)
    with clock("drawing synthetic faces"):
        splits = load_faces(data, progress=progress)
    networks = {}
    for name, config in {"features": settings.features, "judge": settings.judge}.items():
        config = replace(config, seed=config.seed + seed)
        with clock(f"training the {name} network ({config.arch}, width {config.width:g})"):
            networks[name] = train_features(config, splits, progress=progress).to(pick_device())
            networks[name].save(out / f"{name}.safetensors")
    models = {}
    for experiment in experiments:
        with clock(f"training the {experiment.name}"):
            train(experiment, out / experiment.name, splits=splits, progress=progress)
            models[experiment.name] = VAE.load(out / experiment.name, device=pick_device())
    with clock("measuring"):
        judge_features = VGGFeatures(settings.judge.arch, JUDGE_LAYERS, str(out / "judge.safetensors")).to(
            pick_device()
        )
        measures = {
            name: evaluate(vae, splits["test"], features=judge_features, judge=networks["judge"])
            for name, vae in models.items()
        }
    scores = {name: attribute_scores(*_judged(network, splits)) for name, network in networks.items()}
    result = {"measures": measures, "networks": scores, "seconds": clock.seconds, "environment": environment()}
    (out / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    return report(out, data, models, splits["test"], measures, scores, clock.seconds)


def demo_experiments(data: DataConfig, settings: DemoSettings, seed: int, weights: str) -> list[Experiment]:
    """The plain VAE and the DFC-VAE with the weights of the shipped experiments, at equal budget."""
    training = TrainingConfig(settings.epochs, batch_size=settings.batch_size, precision="auto", seed=seed)
    plain = Experiment("vae", data, ModelConfig(), LossConfig(), training)
    features = FeatureConfig("dfc-vae", weights)
    dfc = replace(plain, name="dfc-vae", loss=LossConfig(pixel_weight=0.5, features=features))
    return [plain, dfc]


def report(
    out: Path,
    data: DataConfig,
    models: Mapping[str, VAE],
    test: Faces,
    measures: Mapping[str, dict[str, float]],
    scores: Mapping[str, dict[str, dict[str, float]]],
    seconds: Mapping[str, float],
) -> Path:
    """Write the report; returns its path."""
    x = to_float(test.images[:FACES_SHOWN]).to(pick_device())
    columns = ["accuracy", "majority", "balanced", "auroc"]
    blocks: list[Block] = [
        Paragraph(
            "Both models are the same network with the same budget, data order and initial weights. They differ in the "
            "objective alone: the plain VAE compares pixels, the DFC-VAE pixels and the features of a frozen VGG that "
            f"was trained on the attributes of these faces. All faces are {data.size} pixels wide and high, in "
            f"{'colour' if data.channels == 3 else 'grey'}; the originals below are from the test split."
        ),
        Heading("Reconstructions"),
        reconstructions(models, x),
        Heading("Measures"),
        Table(
            ["test split", *models],
            [[title(key), *(measures[n][key] for n in models)] for key in in_order(list(measures["vae"]))],
        ),
        Paragraph(
            "The judge is a second network, of another architecture and seed, that neither model was trained with. "
            "A DFC-VAE is expected to lose on pixel error and to win on sharpness and on what a network sees."
        ),
        Heading("Samples from the prior"),
        samples(models, SAMPLES_SHOWN, lines=3),
        Heading("Interpolation"),
        interpolations(models, x[:2], STEPS_SHOWN),
        Heading("Settings"),
        Table(
            ["network, mean over attributes (validation)", *columns],
            [[name, *(score["mean"][column] for column in columns)] for name, score in scores.items()],
        ),
        *(Preformatted((out / name / "config.yaml").read_text()) for name in models),
        Table(["step", "seconds"], list(seconds.items())),
        Preformatted(json.dumps(environment(), indent=2)),
    ]
    return write_report("Plain VAE and DFC-VAE on synthetic faces", blocks, out)


class Clock:
    """Says which step begins and how long each took."""

    def __init__(self, progress: bool):
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a step."""
        if self.progress:
            print(f"\n[{len(self.seconds) + 1}/6] {step}", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - start, 1)


def _judged(network: AttributeNetwork, splits: Splits) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    return network.logits(splits["val"]), splits["val"].attributes, network.names
