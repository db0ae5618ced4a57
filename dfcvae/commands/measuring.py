"""The command that measures the speed of training, and how measures are printed."""

import sys
from collections.abc import Mapping
from typing import Any


def bench(arguments: Any) -> None:
    """Measure the training step and print a table."""
    from dfcvae.bench import bench_table, run_bench

    chosen = {name: getattr(arguments, name) for name in ("size", "batch_size", "rounds", "steps", "accelerator")}
    print(bench_table(run_bench(**chosen, quick=arguments.quick, out=arguments.out)))
    print(f"All numbers: {arguments.out}")


def print_measures(measures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]] | None = None) -> None:
    """One measure to a line, with its interval where it has one."""
    for name, value in measures.items():
        low, high = (intervals or {}).get(name, (None, None))
        interval = "" if low is None else f"  [{low:.4g}, {high:.4g}]"
        sys.stdout.write(f"{name:<28}{value:>12.4g}{interval}\n")
