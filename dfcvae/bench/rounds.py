"""Measuring rows in turn, each in its own process, so that what changes on the machine meets all of them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm

from dfcvae.bench.child import Child, RowError, close_all
from dfcvae.bench.hardware import Peaks
from dfcvae.bench.result import RowResult
from dfcvae.bench.rows import Row
from dfcvae.bench.settings import BenchSettings


def measure(
    rows: Sequence[Row], settings: BenchSettings, progress: bool = True
) -> tuple[list[RowResult], dict[str, float]]:
    """The results of all rows, and the machine's convolution peaks by arithmetic.

    A row that fails says so in its result and has no further turn.
    """
    results = [RowResult(row.name) for row in rows]
    peaks: dict[str, float] = {}
    machine = Child(Peaks, settings.device)
    children = [Child(row.build, *row.arguments) for row in rows]  # all at once: they have much to import
    with ExitStack() as stack, _bar((1 + settings.rounds) * len(rows), progress) as bar:
        stack.callback(close_all, [machine, *children])
        for child, result in zip(children, results, strict=True):
            bar.set_postfix_str(f"warming up: {result.name}")
            _attempt(_warm_up, child, result)
            bar.update()
        for _ in range(settings.rounds):
            for kind, peak in machine.ask("convolutions").items():
                peaks[kind] = max(peak, peaks.get(kind, 0.0))
            for row, child, result in zip(rows, children, results, strict=True):
                bar.set_postfix_str(row.name)
                _attempt(_turn, child, result, settings, row.parts)
                bar.update()
    return results, peaks


def _bar(total: int, progress: bool) -> tqdm:
    return tqdm(total=total, desc="measuring", unit="turn", disable=not progress)


def _warm_up(child: Child, result: RowResult) -> None:
    told = child.ask("start")
    result.flops_per_image, result.arithmetic = told["flops_per_image"], told["arithmetic"]


def _turn(child: Child, result: RowResult, settings: BenchSettings, parts: bool) -> None:
    result.seconds.append(child.ask("seconds", settings.timed_steps, settings.warm_up_steps))
    if result.memory is None:  # ahead of the first parts, which hold more at a time
        result.memory = child.ask("memory")
    if parts:
        result.parts.append(child.ask("parts", max(1, settings.timed_steps // 2)))
    child.ask("rest")


def _attempt(what: Callable[..., None], child: Child, result: RowResult, *arguments: Any) -> None:
    if result.error is None:
        try:
            what(child, result, *arguments)
        except RowError as error:
            result.error = str(error)
            child.close()  # it holds memory that the others may need
