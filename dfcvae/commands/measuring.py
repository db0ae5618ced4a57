"""Commands that measure: models, and the speed of training."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from dfcvae.bench.run import run_bench
from dfcvae.bench.scaling import run_scaling
from dfcvae.bench.scaling_table import scaling_table
from dfcvae.bench.settings import BenchSettings
from dfcvae.bench.table import bench_table
from dfcvae.data import data_of, load_faces
from dfcvae.evaluation import JUDGE_LAYERS, probe_model, probe_record, probe_table
from dfcvae.evaluation import evaluate as measure
from dfcvae.features import VGGFeatures
from dfcvae.training import AttributeNetwork
from dfcvae.training.environment import pick_device
from dfcvae.vae import VAE, digest


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


def probe(arguments: Any) -> None:
    """Print what linear classifiers read of attributes in a model's latents, beside controls."""
    vae = VAE.load(arguments.model, device=pick_device())
    data = data_of(arguments.model, arguments.source, held_out=False)
    result = probe_model(vae, load_faces(data), progress=True)
    print(probe_table(result))
    if arguments.out:
        about = {"model": digest(vae), "source": Path(data.source).name, "size": data.size, "crop": data.crop}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(about | probe_record(result), indent=2) + "\n")


def bench(arguments: Any) -> None:
    """Measure the training step, or how it scales, and print a table."""
    names = [field.name for field in dataclasses.fields(BenchSettings)]
    settings = BenchSettings(**{name: getattr(arguments, name) for name in names})
    if arguments.scaling:
        print(scaling_table(run_scaling(settings, out=arguments.out)))
    else:
        print(bench_table(run_bench(settings, out=arguments.out)))
    print(f"All numbers: {arguments.out}")


def print_measures(measures: dict[str, float]) -> None:
    """One measure to a line."""
    sys.stdout.write("".join(f"{name:<28}{value:>12.4g}\n" for name, value in measures.items()))
