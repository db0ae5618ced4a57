"""What a report is made of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Preformatted:
    """Text as it stands, in a fixed-width font."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers, which are shown with four significant digits.

    Args:
        header: above the columns.
        rows: of cells.
        bold: cells to emphasise, by row and column.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    bold: Collection[tuple[int, int]] = ()

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[value if isinstance(value, str) else f"{value:.4g}" for value in row] for row in self.rows]


@dataclass(frozen=True)
class Drawing:
    """A figure with the numbers it was drawn from.

    Args:
        name: of its files.
        figure: what is shown.
        caption: under it.
        data: arrays by name: columns of equal length are written as CSV, others as a NumPy archive; none for none.
    """

    name: str
    figure: Figure
    caption: str
    data: Mapping[str, ArrayLike | Tensor] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray]:
        """The data on the CPU."""
        return {
            name: value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            for name, value in self.data.items()
        }


@dataclass(frozen=True)
class Folded:
    """Details, hidden until the reader opens them.

    Args:
        summary: what stays visible.
        blocks: what is hidden.
    """

    summary: str
    blocks: Sequence["Block"]


Block = Heading | Paragraph | Preformatted | Table | Drawing | Folded
