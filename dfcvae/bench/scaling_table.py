"""The report of `run_scaling` as text."""

from collections.abc import Mapping
from typing import Any

from dfcvae.bench.table import MIB, NONE, number, table


def scaling_table(report: Mapping[str, Any]) -> str:
    """A table for each series, with the exponent that was fitted to it."""
    settings = report["settings"]
    title = f"The training step of dfcvae on {settings['device']} ({report['environment']['machine']})"
    parts = [title]
    for name, points in report["series"].items():
        parts.append(table([f"by {name}", "s/step", "images/s", "MiB"], [_row(point) for point in points]).rstrip())
        power = report["exponents"][name]
        if power is not None:
            parts[-1] += f"\ntime grows as {name} to the power of {power:.2f}"
    return "\n\n".join(parts) + "\n"


def _row(point: Mapping[str, Any]) -> list[str]:
    if "error" in point:
        return [point["label"], point["error"]]
    memory = point["peak_memory_bytes"]
    shown = NONE if memory is None else f"{memory / MIB:,.0f}"
    return [point["label"], f"{point['seconds_per_step']:.4f}", number(point["images_per_second"]), shown]
