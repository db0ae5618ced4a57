"""A short table of measures: an arrow for the better direction, the best value bold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from dfcvae.reports.blocks import Table

ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Line:
    """One measure of every model.

    Args:
        title: its name.
        better: ``"lower"``, ``"higher"``, or the value that is best.
        values: by model.
    """

    title: str
    better: str | float
    values: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.title} {ARROWS[self.better] if isinstance(self.better, str) else f'→ {self.better:.3g}'}"

    def best(self) -> set[str]:
        """The models with the best value as the table shows it; none if all are equal."""
        shown = {name: float(f"{value:.3g}") for name, value in self.values.items() if isfinite(value)}
        if len(set(shown.values())) < 2:
            return set()
        if isinstance(self.better, str):
            sign = 1 if self.better == "lower" else -1
            distance = {name: sign * value for name, value in shown.items()}
        else:
            distance = {name: abs(value - self.better) for name, value in shown.items()}
        return {name for name, value in distance.items() if value == min(distance.values())}


def headline(lines: Sequence[Line], first: str = "") -> Table:
    """Measures by model, three significant digits each; all lines have the same models.

    Args:
        lines: the measures.
        first: what stands above their names.
    """
    models = list(lines[0].values)
    rows = [[str(line), *(f"{line.values[name]:.3g}" for name in models)] for line in lines]
    bold = {(i, models.index(name) + 1) for i, line in enumerate(lines) for name in line.best()}
    return Table([first, *models], rows, bold)
