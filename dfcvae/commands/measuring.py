"""Commands that measure the speed of training, and how measures are printed."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

from dfcvae.bench.run import run_bench
from dfcvae.bench.scaling import run_scaling
from dfcvae.bench.scaling_table import scaling_table
from dfcvae.bench.settings import BenchSettings
from dfcvae.bench.table import bench_table


def bench(arguments: Any) -> None:
    """Measure the training step, or how it scales, and print a table."""
    names = [field.name for field in dataclasses.fields(BenchSettings)]
    settings = BenchSettings(**{name: getattr(arguments, name) for name in names})
    if arguments.scaling:
        print(scaling_table(run_scaling(settings, out=arguments.out)))
    else:
        print(bench_table(run_bench(settings, out=arguments.out)))
    print(f"All numbers: {arguments.out}")


def print_measures(measures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]] | None = None) -> None:
    """One measure to a line, with its interval where it has one."""
    for name, value in measures.items():
        low, high = (intervals or {}).get(name, (None, None))
        interval = "" if low is None else f"  [{low:.4g}, {high:.4g}]"
        sys.stdout.write(f"{name:<28}{value:>12.4g}{interval}\n")
