"""The rows of the benchmark: the popular step, each measure alone on top of it, and the package's own step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfcvae.bench.measured import Measured
from dfcvae.bench.ours import measured_own
from dfcvae.bench.popular import Measures, measured_popular
from dfcvae.bench.settings import BenchSettings
from dfcvae.device import pick_precision

POPULAR = "popular"
MEASURES = {
    "+ freed memory kept": Measures(keep_memory=True),
    "+ network truncated": Measures(truncate=True),
    "+ target without graph": Measures(no_grad=True),
    "+ batch norm folded": Measures(fold=True),
    "+ channels-last VGG": Measures(channels_last=True),
    "+ bfloat16": Measures(bfloat16=True),
    "+ fused Adam": Measures(fused=True),
    "+ decoded cache": Measures(cached=True),
    "+ kept targets": Measures(kept=True),
    "+ compiled VAE": Measures(compiled=True),
}


@dataclass(frozen=True)
class Row:
    """One row: its name, and how its child builds what is measured.

    Args:
        name: in the table.
        build: a function at the top level of a module, called in the child with ``arguments``.
        arguments: of it.
        parts: whether the parts of its step are timed too.
    """

    name: str
    build: Callable[..., Measured]
    arguments: tuple[Any, ...]
    parts: bool = False


def bench_rows(settings: BenchSettings, folder: Path) -> list[Row]:
    """The rows for this device; the measures that it has no use for are left out."""
    rows = [Row(POPULAR, measured_popular, (settings, folder, Measures()), parts=True)]
    for name, measures in MEASURES.items():
        gpu = settings.device.type == "cuda"
        if settings.quick or (gpu and measures.keep_memory) or (measures.compiled and not gpu):
            continue  # glibc's memory is not the GPU's; and on a CPU compiling takes minutes
        rows.append(Row(name, measured_popular, (settings, folder, measures)))
    precision = pick_precision(settings.device)
    own: dict[str, tuple[Any, ...]] = {
        "dfcvae, exact float32": ("32-true", False, False),
        "dfcvae, default precision": (precision, False, False),
        "dfcvae, kept targets": (precision, True, False),
        "dfcvae, compact network": (precision, False, False, "compact"),
        "dfcvae, compact, kept targets": (precision, True, False, "compact"),
    }
    if settings.device.type == "cuda" and not settings.quick:
        own |= {
            "dfcvae, compiled": (precision, False, True),
            "dfcvae, kept targets, compiled": (precision, True, True),
        }
    # the parts of a compiled step cannot be told apart
    rows += [Row(name, measured_own, (settings, folder, *how), parts=not how[2]) for name, how in own.items()]
    return rows
