"""Both models on synthetic faces in minutes, with no download, and a report that compares them."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from dfcvae.attribute_network import attribute_scores, train_features
from dfcvae.build import build_vae
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import load_faces
from dfcvae.device import environment, pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE
from dfcvae.evaluation.quality import plaid_energy, power_spectrum
from dfcvae.feature_config import FeatureTraining
from dfcvae.fitted import load_prior
from dfcvae.images import to_float
from dfcvae.report.blocks import Block, Folded, Heading, Items, Paragraph, Preformatted, Table, write_report
from dfcvae.report.comparison import distances, settings_section
from dfcvae.report.evaluated import Evaluated, evaluate_model
from dfcvae.report.models import Model
from dfcvae.report.observers import Judge, Observers
from dfcvae.report.pictures import interpolations, reconstructions, samples, shipped_models
from dfcvae.report.tables import headline, meanings, measures_table
from dfcvae.trained import frontal_first
from dfcvae.training import train
from dfcvae.vae import VAE

COLUMNS = 8  # faces in a row: in a report 1280 pixels wide, each is 100 pixels or more
STEPS = 6
PHASES = 6  # of `run_demo`, each timed
TITLES = {"vae": "plain VAE", "dfc-vae": "DFC-VAE"}
SHOWN = ("mse", "ssim", "sharpness", "plaid", "features/relu3_1", "attribute_agreement", "samples_gmm/frechet_judge")


NEXT = (
    "Train on your own faces: `dfcvae train experiments/dfc-vae.yaml --data.source FOLDER`.",
    "Play with a model that was trained to the end: `dfcvae explore`.",
    "Compare two of your models: `dfcvae compare runs/vae runs/dfc-vae --judge experiments/judges/squeezenet.yaml`.",
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
    """Train a plain VAE and a DFC-VAE for the same number of steps; write ``report.html`` and ``metrics.json``.

    Args:
        out: folder for the report, the pictures, the judge and the two run folders; must be empty or missing.
        seed: of all training runs and samples.
        settings: how much to train.
        progress: print each step and show progress bars.

    Returns:
        The path of the report.

    Raises:
        UserError: if ``out`` is not empty, the size or number of channels is not supported, or a model that ships with
            the package is corrupted.
    """
    out, settings = Path(out), settings or DemoSettings()
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another folder with --out, or delete it.")
    data = DataConfig(size=settings.size, channels=settings.channels, train_images=settings.train_images)
    experiments = demo_experiments(data, settings, seed)
    build_vae(experiments[0])  # validate before drawing faces
    device, seconds = pick_device(), dict[str, float]()
    clock = partial(timed, seconds=seconds, progress=progress)
    shipped = shipped_models(device, seed)
    with clock("drawing synthetic faces"):
        splits = load_faces(data, progress=progress)
    config = replace(settings.judge, seed=settings.judge.seed + seed)
    with clock(f"training the {ATTRIBUTE_JUDGE} ({config.arch}, width {config.width:g})"):
        file = train_features(config, splits, progress=progress).save(out / "judge.safetensors")
    for experiment in experiments:
        with clock(f"training the {TITLES[experiment.name]}"):
            train(experiment, out / experiment.name, data=splits, progress=progress)
    vaes = {title: VAE.load(out / name, device=device) for name, title in TITLES.items()}
    priors = {title: load_prior(out / name, vae=vaes[title]) for name, title in TITLES.items()}
    with clock("measuring"), torch.no_grad():
        judge, val, test = Judge.load(file, device), splits["val"], splits["test"]
        evaluated = {
            title: evaluate_model(
                vae, data, splits, Observers(judge), mixture=priors[title], seed=seed, progress=progress
            )
            for title, vae in vaes.items()
        }
        scores = attribute_scores(judge.network.logits(val), val.attributes, judge.network.names)
        power = power_spectrum(to_float(test.images)).mean(dim=0)
        lines = plaid_energy(power, power)
    with clock("drawing the report"):
        x = to_float(test.images[frontal_first(test)[:COLUMNS]]).to(device)
        values = {title: found.values() for title, found in evaluated.items()}
        colour = "colour" if data.channels == 3 else "grey"
        blocks: list[Block] = [
            Paragraph(
                "The same network, trained twice for the same number of steps on the same faces in the same order. The "
                "plain VAE compares pixels; the DFC-VAE compares pixels and the features of a frozen network that was "
                f"trained on photographs. The faces are {data.size} pixels wide and high, in {colour}; those shown are "
                "from the test split."
            ),
            Heading("Reconstructions"),
            reconstructions(vaes, x),
            Heading("Measures"),
            headline(values, [name for name in SHOWN if name in values["DFC-VAE"]], {"sharpness": 1.0, "plaid": lines}),
            Paragraph(
                f"{len(test):,} faces of the test split, the better value bold (of plaid, the closer to the originals' "
                f"{lines:.2g}). The {ATTRIBUTE_JUDGE} learned the attributes of these faces; neither model was trained "
                "with it. One short training of each says little about models that are trained to the end: those that "
                "ship with the package are."
            ),
            Heading("Samples"),
            samples(vaes, COLUMNS, lines=2, seed=seed, priors=priors),
            Heading("Interpolation"),
            interpolations(vaes, x[:2], STEPS),
            *shipped,
            Heading("Details"),
            *details(out, evaluated, scores, seconds),
            Heading("What next"),
            Items(NEXT),
        ]
    numbers = {
        "measures": {name: evaluated[title].measured.values() for name, title in TITLES.items()},
        "samples": {name: evaluated[title].samples for name, title in TITLES.items()},
        "judge": scores,
        "lines_of_originals": lines,
        "seconds": seconds,
        "environment": environment(),
    }
    return write_report("Plain VAE and DFC-VAE on synthetic faces", blocks, out, numbers)


def demo_experiments(data: DataConfig, settings: DemoSettings, seed: int) -> list[Experiment]:
    """The plain VAE and the DFC-VAE of the shipped experiments, shorter, and with the compact network."""
    training = TrainingConfig(
        settings.epochs, batch_size=settings.batch_size, schedule="cosine", precision="auto", seed=seed
    )
    plain = Experiment("vae", data, settings.model, LossConfig(alpha=1e-3), training)
    loss = replace(plain.loss, pixel_weight=0.5, features=FeatureConfig("dfc-vae", "compact"))
    return [plain, replace(plain, name="dfc-vae", loss=loss)]


def details(
    out: Path, evaluated: Mapping[str, Evaluated], scores: Mapping[str, Mapping[str, float]], seconds: dict[str, float]
) -> list[Block]:
    """All measures, settings and times, folded."""
    columns = ["accuracy", "majority", "balanced", "auroc"]
    measured = {name: found.measured for name, found in evaluated.items()}
    judge: list[list[str | float]] = [[name, *(row[column] for column in columns)] for name, row in scores.items()]
    return [
        Folded("What the measures mean", [meanings(name for found in measured.values() for name in found.values())]),
        Folded("All measures", [measures_table(measured), *distances({n: [of] for n, of in evaluated.items()})]),
        Folded(f"Accuracy of the {ATTRIBUTE_JUDGE}", [Table(["attribute (validation split)", *columns], judge)]),
        Folded(
            "Settings that differ", settings_section({TITLES[name]: Model.load(out / name) for name in TITLES}, out)
        ),
        Folded("Time", [Table(["step", "seconds"], list(seconds.items()))]),
        Folded("Environment", [Preformatted(json.dumps(environment(), indent=2))]),
    ]


@contextmanager
def timed(step: str, seconds: dict[str, float], progress: bool) -> Iterator[None]:
    """Print which step of the demo begins, and add how long it took."""
    if progress:
        print(f"\n[{len(seconds) + 1}/{PHASES}] {step}", flush=True)
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 1)
