"""Commands that train a VAE, and measure the speed of training."""

import sys
from pathlib import Path
from typing import Literal

from dfcvae.commands.arguments import Size
from dfcvae.config import Experiment
from dfcvae.errors import PreemptedError
from dfcvae.fields import Positive, Seed


def demo(*, out: Path = Path("dfcvae-demo"), size: Size = 64, channels: Literal[1, 3] = 3, seed: Seed = 0) -> None:
    """Train a plain VAE and a DFC-VAE on synthetic faces and write a report.

    Args:
        out: folder of the report.
        size: the time grows with its square.
        channels: 3 (RGB) or 1 (grey).
        seed: of all training runs and samples.
    """
    from dfcvae.demo import DemoSettings, run_demo

    print(f"Report: {run_demo(out, seed=seed, settings=DemoSettings(size=size, channels=channels))}")


def train(
    experiment: Experiment, *, out: Path | None = None, resume: Literal["auto"] | bool = False, quiet: bool = False
) -> None:
    """Train an experiment, a YAML file of the fields below.

    Args:
        experiment: what to train, and how.
        out: run folder (default: runs/NAME).
        resume: resume from the last checkpoint in the run folder; auto: if there is one.
        quiet: show no progress.
    """
    from dfcvae.device import process_rank
    from dfcvae.metrics import read_cost
    from dfcvae.training import train as run_training

    try:
        run = run_training(experiment, out or Path("runs") / experiment.name, resume=resume, progress=not quiet)
    except PreemptedError:
        if process_rank():
            return  # with another status than 0, Lightning would kill the first process before it exits on its own
        raise
    if process_rank() == 0:
        print(f"Run: {run.folder}")
        for name, value in run.metrics.items():
            print(f"{name:<28}{value:>12.4g}")
        if not quiet:
            seconds = read_cost(run.folder).get("total_seconds")
            took = f"Trained for {seconds / 60:.1f} minutes; the" if seconds is not None else "The"
            print(f"{took} folder has checkpoints, pictures and metrics.csv.", file=sys.stderr)
            print(f"Next: dfcvae sample {run.folder}; dfcvae evaluate {run.folder}", file=sys.stderr)


def bench(
    *,
    size: Size = 64,
    batch_size: Positive = 64,
    rounds: Positive | None = None,
    steps: Positive | None = None,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
    quick: bool = False,
    out: Path = Path("bench.json"),
) -> None:
    """Measure what a training step costs, beside the step of popular implementations.

    Args:
        batch_size: images per step.
        rounds: measurements of every row (default: 3; quick: 1).
        steps: timed steps per measurement (default: 2; on a GPU 50).
        accelerator: where to run.
        quick: the main rows only.
        out: all numbers, as JSON.
    """
    from dfcvae.bench import bench_table, run_bench

    print(bench_table(run_bench(size, batch_size, rounds, steps, accelerator, quick, out)))
    print(f"All numbers: {out}")
