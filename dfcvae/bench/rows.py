"""The rows of the benchmark: the popular step, each measure alone on top of it, and the package's own step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dfcvae.bench.child import Measured
from dfcvae.bench.faces import decoded_faces
from dfcvae.bench.hardware import convolution_peaks, has_bfloat16
from dfcvae.bench.ours import OwnStep, default_precision
from dfcvae.bench.popular import Measures, PopularStep
from dfcvae.bench.settings import BenchSettings
from dfcvae.errors import UserError

POPULAR = "popular"
NO_BFLOAT16 = "This device has no bfloat16 arithmetic, and emulating it is slower than float32."
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
    """All rows for this device; the measures that it has no use for are left out."""
    rows = [Row(POPULAR, measured_popular, (settings, folder, Measures()), parts=True)]
    for name, measures in MEASURES.items():
        gpu = settings.device.type == "cuda"
        if (gpu and measures.keep_memory) or (measures.compiled and not gpu):
            continue  # glibc's memory is not the GPU's; and on a CPU compiling takes minutes
        rows.append(Row(name, measured_popular, (settings, folder, measures)))
    own = {
        "dfcvae, exact float32": ("32-true", False),
        "dfcvae, default precision": (default_precision(settings), False),
        "dfcvae, kept targets": (default_precision(settings), True),
    }
    rows += [Row(name, measured_own, (settings, folder, *how), parts=True) for name, how in own.items()]
    return rows


def measured_popular(settings: BenchSettings, folder: Path, measures: Measures) -> Measured:
    """The popular step with some measures."""

    def build() -> PopularStep:
        if measures.bfloat16 and not has_bfloat16(settings.device):
            raise UserError(NO_BFLOAT16)
        return PopularStep(settings, folder, measures)

    return Measured(build)


def measured_own(settings: BenchSettings, folder: Path, precision: str, kept: bool) -> Measured:
    """The package's own step."""
    return Measured(lambda: OwnStep(settings, decoded_faces(folder, settings.size), precision, kept))


class Peaks:
    """What a child can be asked about the device alone."""

    def __init__(self, device: torch.device):
        self.device = device

    def convolutions(self) -> dict[str, float]:
        """Floating-point operations in a second, by arithmetic."""
        return convolution_peaks(self.device)
