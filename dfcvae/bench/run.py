"""The benchmark: all rows in turn, and the report of them."""

import json
import tempfile
from pathlib import Path
from typing import Any

from dfcvae.bench.faces import write_jpegs
from dfcvae.bench.result import as_dict
from dfcvae.bench.rounds import measure
from dfcvae.bench.rows import POPULAR, bench_rows
from dfcvae.bench.settings import BenchSettings
from dfcvae.device import environment

FACES = 128  # in JPEG files; no fewer than two batches


def run_bench(
    settings: BenchSettings | None = None, *, out: Path | None = None, progress: bool = True
) -> dict[str, Any]:
    """Measure the training step of the package and of the popular implementations.

    Call it under ``if __name__ == "__main__":`` in a script, as its rows run in processes of their own.

    Args:
        settings: sizes, rounds and device.
        out: also write the report into this JSON file.
        progress: show a progress bar.

    Returns:
        The report: plain values, for `dfcvae.bench.table.bench_table` to show.
    """
    settings = settings or BenchSettings()
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), max(FACES, 2 * settings.batch_size))
        results, peaks = measure(bench_rows(settings, Path(folder)), settings, progress)
    reference = next(result for result in results if result.name == POPULAR)
    report = {
        "settings": settings.as_dict(),
        "environment": environment(),
        "convolution_peaks": peaks,
        "rows": [as_dict(result, reference, settings.batch_size, peaks) for result in results],
    }
    if out is not None:
        write_report(report, out)
    return report


def write_report(report: dict[str, Any], out: Path) -> None:
    """Write plain values as JSON, making the folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
