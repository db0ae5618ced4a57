"""What each command of the command line does. Arguments come parsed and typed from `dfcvae.cli`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dfcvae.config import DataConfig, Experiment
from dfcvae.data import Rendering, describe, load_faces, open_celeba
from dfcvae.demo import run_demo
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation import evaluate as measure
from dfcvae.features import VGGFeatures
from dfcvae.images import grid, rows, save_each, save_png, to_float
from dfcvae.parsing import to_experiment
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.training import AttributeNetwork, attribute_scores, scores_table, train_features
from dfcvae.training import train as run_training
from dfcvae.vae import VAE, read_model


def demo(arguments: Any) -> None:
    """Train both models on synthetic faces and write the report."""
    print(f"Report: {run_demo(arguments.out, seed=arguments.seed)}")


def train(arguments: Any) -> None:
    """Train an experiment into its run folder."""
    experiment = to_experiment(arguments)
    run = run_training(experiment, arguments.out or Path("runs") / experiment.name, resume=arguments.resume)
    print(f"Run: {run.folder}")
    print_measures(run.metrics)


def sample(arguments: Any) -> None:
    """Decode draws from the prior into a grid or single files."""
    vae = VAE.load(arguments.model, device=device())
    images = vae.sample(arguments.count, generator=seeded_generator(arguments.seed, Stream.PICTURES))
    write(images, None, arguments.out, arguments.each)


def reconstruct(arguments: Any) -> None:
    """Reconstruct image files, or faces of the test split, from the posterior mean."""
    vae = VAE.load(arguments.model, device=device())
    data = data_of(arguments.model, arguments.source)
    if arguments.images:
        rendering = Rendering(data.size, data.channels, data.crop, data.filter)
        pixels = torch.from_numpy(np.stack([rendering.render(open_image(path)) for path in arguments.images]))
    else:
        pixels = load_faces(data)["test"].images[: arguments.count]
    x = to_float(pixels).to(device())
    write(vae.reconstruct(x), x, arguments.out, arguments.each)


def evaluate(arguments: Any) -> None:
    """Print measures of a model on the test split."""
    vae = VAE.load(arguments.model, device=device())
    judge = AttributeNetwork.load(arguments.judge).to(device()) if arguments.judge else None
    features = VGGFeatures(judge.arch, JUDGE_LAYERS, str(arguments.judge)).to(device()) if judge else None
    test = load_faces(data_of(arguments.model, arguments.source))["test"]
    measures = measure(vae, test, features=features, judge=judge, progress=True)
    print_measures(measures)
    if arguments.out:
        arguments.out.write_text(json.dumps(measures, indent=2) + "\n")


def export(arguments: Any) -> None:
    """Write a model as safetensors and JSON."""
    about, _ = read_model(arguments.model)
    print(VAE.load(arguments.model).save(arguments.out, about["config"]))


def features_train(arguments: Any) -> None:
    """Train an in-domain feature network and report how well it predicts the attributes."""
    splits = load_faces(arguments.data)
    network = train_features(arguments, splits)
    scores = attribute_scores(network.logits(splits["val"]), splits["val"].attributes, network.names)
    print(scores_table(scores))
    network.save(arguments.out)
    arguments.out.with_suffix(".json").write_text(json.dumps(scores, indent=2) + "\n")
    print(f"Weights: {arguments.out} (use them with --loss.features.weights {arguments.out})")


def data_info(arguments: Any) -> None:
    """Tell what data set lies at a path."""
    print(describe(open_celeba(arguments.path)))


def data_prepare(arguments: Any) -> None:
    """Decode a data set into the cache."""
    splits = load_faces(DataConfig(**{name: getattr(arguments, name) for name in vars(DataConfig())}))
    print(", ".join(f"{name} {len(faces):,}" for name, faces in splits.items()))


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def data_of(model: str, source: str | None) -> DataConfig:
    """The data configuration a model was trained with, from another source where one is given."""
    config = read_model(model)[0]["config"]
    if not config:
        raise UserError(f"{model} does not say what it was trained on; name image files, or use its run folder.")
    data = Experiment.from_dict(config).data
    return replace(data, source=source or data.source)


def open_image(path: Path) -> Image.Image:
    """An image file as RGB."""
    try:
        return Image.open(path).convert("RGB")
    except OSError as error:
        raise UserError(f"{path} is no image that can be read ({error}); name JPEG or PNG files.") from error


def write(images: Tensor, originals: Tensor | None, out: Path, each: bool) -> None:
    """A grid (with the originals above, if there are any) or single files."""
    if each:
        print(f"{len(save_each(images, out))} files in {out}")
    else:
        print(save_png(grid(images) if originals is None else rows(originals, images), out))


def print_measures(measures: dict[str, float]) -> None:
    """One measure to a line."""
    sys.stdout.write("".join(f"{name:<28}{value:>12.4g}\n" for name, value in measures.items()))
