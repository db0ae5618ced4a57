"""Commands that train: the demo, experiments, feature networks."""

import json
from pathlib import Path
from typing import Any

from dfcvae.attribute_network import attribute_scores, scores_table, train_features
from dfcvae.commands.measuring import print_measures
from dfcvae.data import load_faces
from dfcvae.demo import DemoSettings, run_demo
from dfcvae.device import pick_device, process_rank
from dfcvae.errors import PreemptedError, UserError
from dfcvae.losses import PRESETS
from dfcvae.parsing import to_experiment
from dfcvae.training import train as run_training
from dfcvae.vgg import layer_table


def demo(arguments: Any) -> None:
    """Train both models on synthetic faces and write the report."""
    settings = DemoSettings(size=arguments.size, channels=arguments.channels)
    print(f"Report: {run_demo(arguments.out, seed=arguments.seed, settings=settings)}")


def train(arguments: Any) -> None:
    """Train an experiment into its run folder."""
    experiment = to_experiment(arguments)
    try:
        run = run_training(experiment, arguments.out or Path("runs") / experiment.name, resume=arguments.resume)
    except PreemptedError:
        if process_rank():
            return  # with another status than 0, Lightning would kill the first process before that ends by itself
        raise
    if process_rank() == 0:
        print(f"Run: {run.folder}")
        print_measures(run.metrics)


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
