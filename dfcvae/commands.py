"""What each command of the command line does. Arguments come parsed and typed from `dfcvae.cli`."""

import dataclasses
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfcvae.bench.run import run_bench
from dfcvae.bench.scaling import run_scaling
from dfcvae.bench.scaling_table import scaling_table
from dfcvae.bench.settings import BenchSettings
from dfcvae.bench.table import bench_table
from dfcvae.config import DataConfig
from dfcvae.data import SYNTHETIC, Rendering, data_of, load_faces, open_images, read_face
from dfcvae.data.cache import caches, caches_of, check
from dfcvae.data.describe import SHEET, contact_sheet, describe
from dfcvae.data.synthetic import ATTRIBUTES, render_faces
from dfcvae.demo import DemoSettings, run_demo
from dfcvae.errors import UserError
from dfcvae.evaluation import JUDGE_LAYERS
from dfcvae.evaluation import evaluate as measure
from dfcvae.features import VGGFeatures
from dfcvae.images import grid, rows, save_each, save_gif, save_png, to_float
from dfcvae.latent import face_grid, path, slerp
from dfcvae.latent import interpolate as linear
from dfcvae.losses import PRESETS
from dfcvae.parsing import to_experiment
from dfcvae.seeding import Stream, seeded_generator
from dfcvae.training import AttributeNetwork, attribute_scores, scores_table, train_features
from dfcvae.training import train as run_training
from dfcvae.training.environment import pick_device, process_rank
from dfcvae.vae import VAE, read_model
from dfcvae.vgg import layer_table


def demo(arguments: Any) -> None:
    """Train both models on synthetic faces and write the report."""
    settings = DemoSettings(size=arguments.size, channels=arguments.channels)
    print(f"Report: {run_demo(arguments.out, seed=arguments.seed, settings=settings)}")


def train(arguments: Any) -> None:
    """Train an experiment into its run folder."""
    experiment = to_experiment(arguments)
    run = run_training(experiment, arguments.out or Path("runs") / experiment.name, resume=arguments.resume)
    if process_rank() == 0:
        print(f"Run: {run.folder}")
        print_measures(run.metrics)


def sample(arguments: Any) -> None:
    """Decode draws from the prior into a grid or single files."""
    vae = VAE.load(arguments.model, device=pick_device())
    images = vae.sample(arguments.count, generator=seeded_generator(arguments.seed, Stream.PICTURES))
    write(images, None, arguments.out, arguments.each)


def reconstruct(arguments: Any) -> None:
    """Reconstruct image files, or faces of the test split, from the posterior mean."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source)
    x = to_float(faces_of(arguments, data)).to(pick_device())
    write(vae.reconstruct(x), x, arguments.out, arguments.each)


def interpolate(arguments: Any) -> None:
    """Draw the way between faces: from one to the next, or a grid between four."""
    vae = VAE.load(arguments.model, device=pick_device())
    pixels = faces_of(arguments, data_of(arguments.model, arguments.source))
    if len(pixels) < 2 or arguments.steps < 2:
        raise UserError(f"A way has two faces or more and 2 steps or more; {len(pixels)} and {arguments.steps} came.")
    x, steps = to_float(pixels).to(pick_device()), arguments.steps
    between = slerp if arguments.spherical else linear
    with torch.no_grad():
        mu, _ = vae.encode(x)
        if arguments.out.suffix.lower() == ".gif":  # there and back again
            print(save_gif(vae.decode(path(torch.cat([mu, mu[:1]]), steps, between)), arguments.out))
        elif len(x) == 4:
            between_all = face_grid(mu, steps, steps, between).flatten(0, 1)
            print(save_png(grid(vae.decode(between_all), columns=steps), arguments.out))
        else:
            legs = [vae.decode(between(start, end, steps)) for start, end in pairwise(mu)]
            shown = torch.cat([torch.cat([x[i : i + 1], leg, x[i + 1 : i + 2]]) for i, leg in enumerate(legs)])
            print(save_png(grid(shown, columns=steps + 2), arguments.out))


def evaluate(arguments: Any) -> None:
    """Print measures of a model on the test split."""
    vae = VAE.load(arguments.model, device=pick_device())
    judge = AttributeNetwork.load(arguments.judge).to(pick_device()) if arguments.judge else None
    features = VGGFeatures(judge.arch, JUDGE_LAYERS, str(arguments.judge)).to(pick_device()) if judge else None
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
    if arguments.out.suffix != ".safetensors":
        raise UserError(
            f"The weights are written as safetensors, so --out should end in that, not {arguments.out.name!r}."
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    splits = load_faces(arguments.data)
    network = train_features(arguments.training, splits).to(pick_device())
    network.save(arguments.out)
    scores = attribute_scores(network.logits(splits["val"]), splits["val"].attributes, network.names)
    print(scores_table(scores))
    arguments.out.with_suffix(".json").write_text(json.dumps(scores, indent=2) + "\n")
    print(f"Weights: {arguments.out} (use them with --loss.features.weights {arguments.out})")


def features_list(arguments: Any) -> None:
    """Print the layers of a VGG with what one needs to know to choose some."""
    table = layer_table(arguments.arch, arguments.size)
    tapped = PRESETS["dfc"].layers if arguments.arch == PRESETS["dfc"].arch else ()
    line = "{:<2}{:>5}  {:<8} {:<12} {:>8} {:>9} {:>6} {:>15} {:>17}"
    print(f"{arguments.arch} for images of {arguments.size}x{arguments.size} pixels")
    print(
        line.format("", "index", "name", "type", "channels", "size", "stride", "receptive field", "numbers per image")
    )
    for row in table:
        size = f"{row.size}x{row.size}" if row.size else "none left"
        field, numbers = f"{row.receptive_field}x{row.receptive_field}", f"{row.numbers:,}"
        star = "*" if row.name in tapped else ""
        print(line.format(star, row.index, row.name, row.type, row.channels, size, row.stride, field, numbers))
    if tapped:
        print("* compared by the loss dfc")


def data_info(arguments: Any) -> None:
    """Tell what data set lies at a path, and draw a contact sheet of it."""
    rendering = Rendering(arguments.size, arguments.channels, arguments.crop, arguments.filter)
    if arguments.source == SYNTHETIC:
        print(f"Synthetic faces, drawn on demand. {len(ATTRIBUTES)} attributes: {', '.join(ATTRIBUTES)}.")
        if arguments.sheet:
            faces, _ = render_faces(range(SHEET), size=arguments.size)
            print(f"Contact sheet: {save_png(grid(to_float(faces)), arguments.sheet)}")
        return
    if arguments.sheet and arguments.sheet.resolve().is_relative_to(Path(arguments.source).resolve()):
        raise UserError(f"{arguments.sheet} would lie among the images; choose another place for the contact sheet.")
    images = open_images(arguments.source, split_seed=arguments.split_seed)
    print(describe(images, rendering, full=arguments.full))
    if arguments.sheet:
        print(f"\nContact sheet: {save_png(contact_sheet(images, rendering), arguments.sheet)}")


def data_prepare(arguments: Any) -> None:
    """Decode a data set into the cache."""
    fields = {field.name for field in dataclasses.fields(DataConfig)} & vars(arguments).keys()
    config = DataConfig(**{name: getattr(arguments, name) for name in fields})
    if config.source == SYNTHETIC:
        raise UserError("Synthetic faces are drawn when they are needed; there is nothing to prepare.")
    splits = load_faces(config, workers=arguments.workers)
    print(", ".join(f"{name} {len(faces):,}" for name, faces in splits.items()))


def data_check(arguments: Any) -> None:
    """Verify the checksums of the caches of a data set, or of all caches."""
    found = (
        list(caches())
        if arguments.source is None
        else caches_of(open_images(arguments.source, split_seed=arguments.split_seed))
    )
    if not found:
        raise UserError("There is no decoded data to check; `dfcvae data prepare` makes it.")
    damaged = []
    for folder, about in found:
        problems = check(folder, about)
        print(f"{folder}: {'; '.join(problems) or 'good'}")
        damaged += [folder] if problems else []
    if damaged:
        raise UserError(
            f"{len(damaged)} of {len(found)} caches are damaged; delete their folders and prepare them again."
        )


def bench(arguments: Any) -> None:
    """Measure the training step, or how it scales, and print a table."""
    names = [field.name for field in dataclasses.fields(BenchSettings)]
    settings = BenchSettings(**{name: getattr(arguments, name) for name in names})
    if arguments.scaling:
        print(scaling_table(run_scaling(settings, out=arguments.out)))
    else:
        print(bench_table(run_bench(settings, out=arguments.out)))
    print(f"All numbers: {arguments.out}")


def faces_of(arguments: Any, data: DataConfig) -> Tensor:
    """uint8 (n, C, H, W): the image files that were named, or else the first faces of the test split."""
    if arguments.images:
        return torch.from_numpy(np.stack([read_face(file, data) for file in arguments.images]))
    return load_faces(data)["test"].images[: arguments.count]


def write(images: Tensor, originals: Tensor | None, out: Path, each: bool) -> None:
    """A grid (with the originals above, if there are any) or single files."""
    if each:
        print(f"{len(save_each(images, out))} files in {out}")
    else:
        print(save_png(grid(images) if originals is None else rows(originals, images), out))


def print_measures(measures: dict[str, float]) -> None:
    """One measure to a line."""
    sys.stdout.write("".join(f"{name:<28}{value:>12.4g}\n" for name, value in measures.items()))
