"""How the package's own step scales: with the batch, the size of the images, the layers and the processes."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

from dfcvae.bench.child import Child, RowError, close_all
from dfcvae.bench.fit import exponent
from dfcvae.bench.parallel import measured_alone, measured_together
from dfcvae.bench.run import write_report
from dfcvae.bench.settings import BenchSettings
from dfcvae.device import environment
from dfcvae.networks import SIZES

BATCHES = {"cpu": (8, 16, 32, 64, 128), "cuda": (64, 128, 256, 512, 1024)}
SMALL_BATCH = {"cpu": 4, "cuda": 32}  # for the largest images to fit
LAYERS_BATCH = {"cpu": 16, "cuda": 256}
SHARED_BATCH = {"cpu": 32, "cuda": 512}  # of all processes together


@dataclass
class Point:
    """One point of a series.

    Args:
        label: of its row.
        settings: of its step.
        x: what its time grows with; None for the FLOPs of the step.
        processes: that share its batch.
        seconds: of a step, for each round.
        memory: peak of the first process, in bytes.
        flops: of a step.
        error: why there are no numbers, a sentence.
    """

    label: str
    settings: BenchSettings
    x: float | None = None
    processes: int = 1
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    flops: float | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        if self.error:
            return {"label": self.label, "error": self.error}
        seconds = median(self.seconds)
        return {
            "label": self.label,
            "x": self.size,
            "seconds_per_step": seconds,
            "images_per_second": self.settings.batch_size * self.processes / seconds,
            "peak_memory_bytes": self.memory,
        }

    @property
    def size(self) -> float | None:
        """What its time is fitted against."""
        return self.flops if self.x is None else self.x


def all_series(settings: BenchSettings) -> dict[str, list[Point]]:
    """The points to measure, by what varies."""
    kind = settings.device.type
    batches = [Point(f"batch {n}", replace(settings, batch_size=n), n) for n in BATCHES[kind]]
    sizes = [
        Point(f"{side}x{side} pixels", replace(settings, size=side, batch_size=SMALL_BATCH[kind]), side**2)
        for side in SIZES
    ]
    few = replace(settings, batch_size=LAYERS_BATCH[kind])
    layers = [
        Point(f"layers {settings.indices[:n]}", replace(few, layers=settings.indices[:n]))
        for n in range(1, len(settings.indices) + 1)
    ]
    series = {"batch": batches, "pixels": sizes, "FLOPs": layers}
    if kind == "cpu" or torch.cuda.device_count() >= 2:
        series["processes"] = [
            Point(f"{n} process{'es' * (n > 1)}", replace(settings, batch_size=SHARED_BATCH[kind] // n), n, n)
            for n in (1, 2)
        ]
    return series


def run_scaling(
    settings: BenchSettings | None = None, *, out: Path | None = None, progress: bool = True
) -> dict[str, Any]:
    """Measure how the package's step grows with the batch, the pixels, the layers and the processes.

    Call it under ``if __name__ == "__main__":`` in a script, as it measures in processes of their own.

    Args:
        settings: what does not vary.
        out: also write the report into this JSON file.
        progress: show a progress bar.

    Returns:
        The report: plain values, for `dfcvae.bench.scaling_table.scaling_table` to show.
    """
    settings = settings or BenchSettings()
    series = all_series(settings)
    with tqdm(total=sum(map(len, series.values())), desc="measuring", unit="point", disable=not progress) as bar:
        for points in series.values():
            _measure(points)
            bar.update(len(points))
    report = {
        "settings": settings.as_dict(),
        "environment": environment(),
        "series": {name: [point.as_dict() for point in points] for name, points in series.items()},
        "exponents": {name: _exponent(points) for name, points in series.items()},
    }
    if out is not None:
        write_report(report, out)
    return report


def _measure(points: Sequence[Point]) -> None:
    """All points of a series in turn, the series over and over."""
    with ExitStack() as stack:
        teams = [_team(stack, point) for point in points]
        stack.callback(close_all, [child for team in teams for child in team])
        for point, team in zip(points, teams, strict=True):
            told = _ask(point, team, "start")
            point.flops = told["flops_per_image"] * point.settings.batch_size * len(team) if told else None
        for _ in range(points[0].settings.rounds):
            for point, team in zip(points, teams, strict=True):
                seconds = _ask(point, team, "seconds", point.settings.timed_steps, point.settings.warm_up_steps)
                point.seconds += [seconds] if seconds else []
                _ask(point, team, "rest")
        for point, team in zip(points, teams, strict=True):
            point.memory = _ask(point, team, "memory")


def _team(stack: ExitStack, point: Point) -> list[Child]:
    if point.processes == 1:
        team = [Child(measured_alone, point.settings)]
    else:
        meeting = Path(stack.enter_context(TemporaryDirectory())) / "meeting"
        team = [
            Child(measured_together, point.settings, rank, point.processes, meeting) for rank in range(point.processes)
        ]
    return team


def _ask(point: Point, team: Sequence[Child], request: str, *arguments: Any) -> Any:
    """The answer of the first process, once all have given theirs; None of a point that failed."""
    if point.error is not None:
        return None
    try:
        for child in team:
            child.send(request, *arguments)
        answers = [child.receive() for child in team]
        return answers[0]
    except RowError as error:
        point.error = str(error)
        close_all(team)
        return None


def _exponent(points: Sequence[Point]) -> float | None:
    measured = [(point.size, median(point.seconds)) for point in points if not point.error and point.size]
    return exponent([size for size, _ in measured], [seconds for _, seconds in measured])
