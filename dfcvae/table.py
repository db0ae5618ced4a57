"""Tables for consoles and reports."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers, which are shown with four significant digits.

    A cell may have several lines: a value, and smaller ones below it, such as its interval.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    bold: Collection[tuple[int, int]] = ()  # cells to emphasise, by row and column

    def cells(self, before: str = "", after: str = "") -> list[list[str]]:
        """The rows as text, with marks around the first lines of the bold cells."""
        text = [[value if isinstance(value, str) else f"{value:.4g}" for value in row] for row in self.rows]
        for i, j in self.bold:
            first, *below = text[i][j].split("\n")
            text[i][j] = "\n".join([f"{before}{first}{after}", *below])
        return text

    def text(self) -> str:
        """The table for a console, all columns aligned left."""
        lines = [[*self.header], *([cell.replace("\n", " ") for cell in row] for row in self.cells())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # letters for the arrows where a console has none
            text = text.translate(str.maketrans("↓↑→", "v^>"))
        return text
