"""What was measured of a row, and the statistics of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class RowResult:
    """One row.

    Args:
        name: of the row.
        seconds: of one step, for each round.
        parts: seconds of each part of a step, for each round; empty for rows whose parts are not timed.
        memory: peak in bytes.
        flops_per_image: floating-point operations of a step for each image.
        arithmetic: what its convolutions are computed in.
        error: why there are no numbers, a sentence.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    memory: int | None = None
    flops_per_image: float | None = None
    arithmetic: str = "float32"
    error: str | None = None

    def images_per_second(self, batch_size: int) -> list[float]:
        """For each round."""
        return [batch_size / seconds for seconds in self.seconds]

    def ratios(self, reference: "RowResult") -> list[float]:
        """How many times faster than the reference, round by round: a slow phase of the machine slows both."""
        if self.error or reference.error:
            return []
        return [theirs / ours for ours, theirs in zip(self.seconds, reference.seconds, strict=True)]

    def part_shares(self) -> dict[str, float]:
        """The share of each part in the step: medians over the rounds, made to sum to 1."""
        if not self.parts:
            return {}
        medians = {part: median(round[part] for round in self.parts) for part in self.parts[0]}
        return {part: value / sum(medians.values()) for part, value in medians.items()}


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, least and greatest; None of nothing."""
    return {"median": median(values), "min": min(values), "max": max(values)} if values else None


def as_dict(row: RowResult, reference: RowResult, batch_size: int, peaks: dict[str, float]) -> dict[str, Any]:
    """Plain values for the report."""
    if row.error:
        return {"name": row.name, "error": row.error}
    rate = spread(row.images_per_second(batch_size))
    peak = peaks.get(row.arithmetic)
    achieved = row.flops_per_image * rate["median"] if row.flops_per_image and rate else None
    return {
        "name": row.name,
        "seconds_per_step": row.seconds,
        "images_per_second": rate,
        "times_popular": spread(row.ratios(reference)),
        "peak_memory_bytes": row.memory,
        "flops_per_image": row.flops_per_image,
        "flops_per_second": achieved,
        "arithmetic": row.arithmetic,
        "of_peak": achieved / peak if achieved and peak else None,
        "parts": row.part_shares(),
    }
