"""The main job in minutes, with no download: both models on synthetic faces, and a report that compares them."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from dfcvae.attribute_network import attribute_scores, train_features
from dfcvae.build import build_vae
from dfcvae.config import DataConfig, Experiment, FeatureConfig, LossConfig, ModelConfig, TrainingConfig
from dfcvae.data import Faces, Splits, load_faces
from dfcvae.device import environment, pick_device
from dfcvae.errors import UserError
from dfcvae.evaluation import evaluate, measure_samples
from dfcvae.evaluation.measures import ATTRIBUTE_JUDGE
from dfcvae.evaluation.quality import plaid_energy, power_spectrum
from dfcvae.evaluation.samples import FEWEST, compared
from dfcvae.feature_config import FeatureTraining
from dfcvae.fitted import load_prior
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.reports.blocks import Block, Folded, Heading, Paragraph, Preformatted, Table
from dfcvae.reports.headline import Line, headline
from dfcvae.reports.measured import in_order, title
from dfcvae.reports.observers import Judge
from dfcvae.reports.pictures import interpolations, reconstructions, samples_of_priors
from dfcvae.reports.shipped import Shipped, load_shipped, shipped_section
from dfcvae.reports.write import write_report
from dfcvae.training import train
from dfcvae.vae import VAE

COLUMNS = 8  # faces in a row: in a report 1280 pixels wide, each is 100 pixels or more
STEPS = 6
TITLES = {"vae": "plain VAE", "dfc-vae": "DFC-VAE"}


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


@dataclass(frozen=True)
class Measured:
    """What the demo measures of both models.

    Args:
        measures: of reconstructions, by model; see `dfcvae.evaluation.evaluate`.
        samples: of samples, by model; see `dfcvae.evaluation.measure_samples`. Empty if there are too few faces.
        judge: how well the judge predicts attributes; see `dfcvae.training.attribute_scores`.
        lines: the energy of lines in the originals themselves.
    """

    measures: dict[str, dict[str, float]]
    samples: dict[str, dict[str, dict[str, float]]]
    judge: dict[str, dict[str, float]]
    lines: float


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
            the package is damaged.
    """
    out, settings = Path(out), settings or DemoSettings()
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another folder with --out, or delete it.")
    data = DataConfig(size=settings.size, channels=settings.channels, train_images=settings.train_images)
    experiments = demo_experiments(data, settings, seed)
    build_vae(experiments[0])  # validate before drawing faces
    device, clock = pick_device(), Clock(progress)
    shipped = load_shipped(device)
    with clock("drawing synthetic faces"):
        splits = load_faces(data, progress=progress)
    config = replace(settings.judge, seed=settings.judge.seed + seed)
    with clock(f"training the {ATTRIBUTE_JUDGE} ({config.arch}, width {config.width:g})"):
        file = train_features(config, splits, progress=progress).save(out / "judge.safetensors")
    for experiment in experiments:
        with clock(f"training the {TITLES[experiment.name]}"):
            train(experiment, out / experiment.name, splits=splits, progress=progress)
    models = {name: VAE.load(out / name, device=device) for name in TITLES}
    priors = {name: load_prior(out / name, vae=vae) for name, vae in models.items()}
    with clock("measuring"):
        measured = measure_models(models, priors, splits, Judge.load(file, device), seed)
    with clock("drawing and writing the report"):
        blocks = report(out, data, models, priors, splits["test"], measured, clock.seconds, shipped, seed)
        path = write_report("Plain VAE and DFC-VAE on synthetic faces", blocks, out)
    result = {
        "measures": measured.measures,
        "samples": measured.samples,
        "judge": measured.judge,
        "lines_of_originals": measured.lines,
        "seconds": clock.seconds,
        "environment": environment(),
    }
    (out / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    return path


def demo_experiments(data: DataConfig, settings: DemoSettings, seed: int) -> list[Experiment]:
    """The plain VAE and the DFC-VAE of the shipped experiments, shorter, and with the compact network."""
    training = TrainingConfig(
        settings.epochs, batch_size=settings.batch_size, schedule="cosine", precision="auto", seed=seed
    )
    plain = Experiment("vae", data, settings.model, LossConfig(alpha=1e-3), training)
    loss = replace(plain.loss, pixel_weight=0.5, features=FeatureConfig("dfc-vae", "compact"))
    return [plain, replace(plain, name="dfc-vae", loss=loss)]


@torch.no_grad()
def measure_models(
    models: Mapping[str, VAE], priors: Mapping[str, Prior], splits: Splits, judge: Judge, seed: int
) -> Measured:
    """Measure reconstructions of the test split, samples, and the judge itself."""
    val, test = splits["val"], splits["test"]
    measures = {name: evaluate(vae, test, features=judge.features, judge=judge.network) for name, vae in models.items()}
    samples = {}
    if compared(val, test) >= FEWEST:
        for name, vae in models.items():
            samples[name] = measure_samples(vae, val, test, judge.network.embed, mixture=priors[name], seed=seed)
    scores = attribute_scores(judge.network.logits(val), val.attributes, judge.network.names)
    power = power_spectrum(to_float(test.images)).mean(dim=0)
    return Measured(measures, samples, scores, plaid_energy(power, power))


def lines_of(measured: Measured, seconds: Mapping[str, float]) -> list[Line]:
    """The lines of the table of the report: at most eight."""
    chosen: list[tuple[str, str, str | float]] = [
        ("mean squared error", "mse", "lower"),
        ("SSIM", "ssim", "higher"),
        ("sharpness (1: as sharp as the originals)", "sharpness", 1.0),
        (f"lines (originals: {measured.lines:.2g})", "plaid", measured.lines),
        (f"unexplained variance at relu3_1 of the {ATTRIBUTE_JUDGE}", "features/relu3_1", "lower"),
        (f"attributes the {ATTRIBUTE_JUDGE} sees alike", "attribute_agreement", "higher"),
    ]
    lines = [
        Line(text, better, {TITLES[name]: values[key] for name, values in measured.measures.items()})
        for text, key, better in chosen
    ]
    if measured.samples:
        distance = {TITLES[name]: found["samples_gmm"]["frechet"] for name, found in measured.samples.items()}
        lines.append(Line(f"Frechet distance of mixture samples ({ATTRIBUTE_JUDGE})", "lower", distance))
    minutes = {text: seconds[f"training the {text}"] / 60 for text in TITLES.values()}
    return [*lines, Line("minutes of training", "lower", minutes)]


def report(
    out: Path,
    data: DataConfig,
    models: Mapping[str, VAE],
    priors: Mapping[str, Prior],
    test: Faces,
    measured: Measured,
    seconds: Mapping[str, float],
    shipped: Mapping[str, Shipped],
    seed: int,
) -> Sequence[Block]:
    """The contents of the report."""
    x = to_float(test.images[:COLUMNS]).to(pick_device())
    vaes = {TITLES[name]: vae for name, vae in models.items()}
    colour = "colour" if data.channels == 3 else "grey"
    return [
        Paragraph(
            "The same network, trained twice for the same number of steps on the same faces in the same order. The "
            "plain VAE compares pixels; the DFC-VAE compares pixels and what a frozen feature network, trained on "
            f"photographs, sees. The faces are {data.size} pixels wide and high, in {colour}; those shown are from "
            "the test split."
        ),
        Heading("Reconstructions"),
        reconstructions(vaes, x),
        Heading("Measures"),
        headline(lines_of(measured, seconds), f"test split, {len(test):,} faces"),
        Paragraph(
            f"Bold: the better value. The {ATTRIBUTE_JUDGE} learned the attributes of these faces; neither model was "
            "trained with it."
        ),
        Heading("Samples"),
        samples_of_priors(vaes, {TITLES[name]: prior for name, prior in priors.items()}, COLUMNS, lines=2, seed=seed),
        Heading("Interpolation"),
        interpolations(vaes, x[:2], STEPS),
        *shipped_section(shipped, seed),
        Heading("Details"),
        *details(out, measured, seconds),
    ]


def details(out: Path, measured: Measured, seconds: Mapping[str, float]) -> list[Block]:
    """All measures, settings and times, folded."""
    names, columns = list(measured.measures), ["accuracy", "majority", "balanced", "auroc"]
    keys = in_order(list(measured.measures[names[0]]))
    every: list[list[str | float]] = [[title(key), *(measured.measures[name][key] for name in names)] for key in keys]
    tables: list[Block] = [Table(["test split", *(TITLES[name] for name in names)], every)]
    of_samples = [
        (f"{TITLES[name]}: {kind}", row) for name in measured.samples for kind, row in measured.samples[name].items()
    ]
    if of_samples:
        header = [f"in the features of the {ATTRIBUTE_JUDGE}", *of_samples[0][1]]
        tables.append(Table(header, [[name, *row.values()] for name, row in of_samples]))
    judge: list[list[str | float]] = [
        [name, *(row[column] for column in columns)] for name, row in measured.judge.items()
    ]
    return [
        Folded("All measures", tables),
        Folded(f"Accuracy of the {ATTRIBUTE_JUDGE}", [Table(["attribute (validation split)", *columns], judge)]),
        Folded("Settings", [Preformatted((out / name / "config.yaml").read_text()) for name in names]),
        Folded("Time", [Table(["step", "seconds"], list(seconds.items()))]),
        Folded("Environment", [Preformatted(json.dumps(environment(), indent=2))]),
    ]


class Clock:
    """Prints which step begins and measures how long each took."""

    steps = 6  # of `run_demo`

    def __init__(self, progress: bool):
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a step."""
        if self.progress:
            print(f"\n[{len(self.seconds) + 1}/{self.steps}] {step}", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - start, 1)
