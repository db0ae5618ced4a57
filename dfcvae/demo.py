"""Both models on synthetic faces in minutes, with no download, and a report that compares them."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from dfcvae.attribute_network import train_features
from dfcvae.build import build_vae
from dfcvae.config import (
    DataConfig,
    Experiment,
    FeatureConfig,
    FeatureTraining,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from dfcvae.data import load_faces
from dfcvae.errors import UserError
from dfcvae.report.comparison import compare
from dfcvae.report.pictures import shipped_models
from dfcvae.training import train

TITLE = "Plain VAE and DFC-VAE on synthetic faces"
ABOUT = (
    "The same network, trained twice for the same number of steps on the same faces in the same order. The plain VAE "
    "compares pixels; the DFC-VAE compares pixels and the features of a frozen network. Two that were trained on "
    "photographs, and for longer, ship with the package: `dfcvae sample celeba-64`."
)


@dataclass(frozen=True)
class DemoSettings:
    """How much to train; the defaults fit into six minutes on two CPU cores."""

    train_images: int = 3_600
    size: int = 64
    channels: int = 3
    model: ModelConfig = field(default_factory=lambda: ModelConfig("smooth"))
    epochs: int = 5
    batch_size: int = 32
    judge: FeatureTraining = field(
        default_factory=lambda: FeatureTraining("vgg11_bn", 0.125, epochs=4, precision="auto", seed=1)
    )


def run_demo(out: str | Path, *, seed: int = 0, settings: DemoSettings | None = None, progress: bool = True) -> Path:
    """Train a plain VAE and a DFC-VAE for the same number of steps, and compare them (`dfcvae.report.comparison`).

    The folder ``out`` gets the report, whose path is returned, the judge and the two run folders. It is empty or
    missing, or that of an interrupted demo, which continues. The seed is that of all training runs and samples.

    A UserError if ``out`` holds anything else, the size is not supported, or a shipped model is corrupted.
    """
    out, settings = Path(out), settings or DemoSettings()
    file = out / "judge.safetensors"
    if out.exists() and any(out.iterdir()) and not file.is_file():
        raise UserError(f"{out} is not empty; choose another folder with --out, or delete it.")
    data = DataConfig(size=settings.size, channels=settings.channels, train_images=settings.train_images)
    experiments = demo_experiments(data, settings, seed)
    build_vae(experiments[0])  # validate before drawing faces
    shipped = shipped_models(seed)

    def step(number: int, what: str) -> None:
        if progress:
            print(f"\n[{number}/5] {what}", flush=True)

    step(1, "drawing synthetic faces")
    splits = load_faces(data, progress=progress)
    judge = replace(settings.judge, seed=settings.judge.seed + seed)
    step(2, f"training the judge ({judge.arch}, width {judge.width:g})")
    if not file.is_file():
        train_features(judge, splits, progress=progress).save(file)
    for number, experiment in enumerate(experiments, 3):
        step(number, f"training {experiment.name}")
        train(experiment, out / experiment.name, resume="auto", data=splits, progress=progress)
    step(5, "measuring")
    runs = [out / experiment.name for experiment in experiments]
    return compare(runs, out, judge=file, seed=seed, title=TITLE, about=ABOUT, more=shipped, progress=progress)


def demo_experiments(data: DataConfig, settings: DemoSettings, seed: int) -> list[Experiment]:
    """The plain VAE and the DFC-VAE of the shipped experiments, shorter, and with the compact network."""
    training = TrainingConfig(
        settings.epochs, batch_size=settings.batch_size, schedule="cosine", precision="auto", seed=seed
    )
    plain = Experiment("vae", data, settings.model, LossConfig(alpha=1e-3), training)
    loss = replace(plain.loss, pixel_weight=0.5, features=FeatureConfig("dfc-vae", "compact"))
    return [plain, replace(plain, name="dfc-vae", loss=loss)]
