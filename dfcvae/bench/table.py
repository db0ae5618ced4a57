"""Tables of text with aligned columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from dfcvae.bench.step import PARTS

NONE = "-"
MIB, GIGA = 2**20, 1e9


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart, the first to the left, the others to the right.

    A row of two cells under a longer head is a name and a sentence, which runs over the columns.
    """
    whole = [row for row in (head, *rows) if len(row) == len(head)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(head))]
    widths[0] = max(len(row[0]) for row in (head, *rows))
    lines = []
    for row in (head, *rows):
        if len(row) < len(head):
            lines.append(f"{row[0]:<{widths[0]}}  {row[1]}")
        else:
            cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells]))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def bench_table(report: Mapping[str, Any]) -> str:
    """The report of `run_bench`: speeds, then the shares of the parts, then what the machine could do."""
    head = ["", "images/s", "min-max", "x popular", "min-max", "MiB", "GFLOP/image", "GFLOP/s", "of peak"]
    speeds = table(head, [_speeds(row) for row in report["rows"]])
    shares = [
        [row["name"], *(percent(row["parts"][part]) for part in PARTS)] for row in report["rows"] if row.get("parts")
    ]
    peaks = ", ".join(f"{number(value / GIGA)} in {kind}" for kind, value in report["convolution_peaks"].items())
    settings = report["settings"]
    title = (
        f"A training step at batch {settings['batch_size']}, {settings['size']}x{settings['size']} pixels, on "
        f"{settings['device']} ({report['environment']['machine']}): median of {settings['rounds']} rounds"
    )
    parts = table(["share of the step", *PARTS], shares) if shares else ""
    return f"{title}\n\n{speeds}\n{parts}\nConvolution peak of this machine, GFLOP/s: {peaks}\n"


def _speeds(row: Mapping[str, Any]) -> list[str]:
    if "error" in row:
        return [row["name"], row["error"]]
    memory, flops, achieved = row["peak_memory_bytes"], row["flops_per_image"], row["flops_per_second"]
    return [
        row["name"],
        *_median_and_range(row["images_per_second"]),
        *_median_and_range(row["times_popular"], digits=2),
        NONE if memory is None else f"{memory / MIB:,.0f}",
        NONE if flops is None else number(flops / GIGA),
        NONE if achieved is None else number(achieved / GIGA),
        NONE if row["of_peak"] is None else percent(row["of_peak"]),
    ]


def _median_and_range(values: Mapping[str, float] | None, digits: int | None = None) -> tuple[str, str]:
    if values is None:
        return NONE, NONE
    shown = {name: number(value) if digits is None else f"{value:.{digits}f}" for name, value in values.items()}
    return shown["median"], f"{shown['min']}-{shown['max']}"


def number(value: float) -> str:
    """Three digits, and no more decimals than two: 0.05, 26.9, 1,130."""
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{decimals}f}"


def percent(share: float) -> str:
    """A share of 1 as ``"7.5 %"``."""
    return f"{100 * share:.1f} %"
