"""What a report consists of, and how it is written: one HTML file, Markdown, JSON, every figure with its data."""

import base64
import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 2.5rem }
figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9rem } img { max-width: 100% }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; white-space: nowrap }
th, td { text-align: right; font-variant-numeric: tabular-nums }
th { font-weight: 600; white-space: normal; vertical-align: bottom; min-width: 5rem }
th:first-child, td:first-child { text-align: left; white-space: normal }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem }
details { margin: 1rem 0 } summary { cursor: pointer }
"""


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
    """Text in a fixed-width font, line by line."""

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

    def cells(self, before: str = "", after: str = "") -> list[list[str]]:
        """The rows as text, with marks around the bold cells."""
        text = [[value if isinstance(value, str) else f"{value:.4g}" for value in row] for row in self.rows]
        return [
            [f"{before}{cell}{after}" if (i, j) in self.bold else cell for j, cell in enumerate(row)]
            for i, row in enumerate(text)
        ]


@dataclass(frozen=True)
class Drawing:
    """A figure with the numbers it was drawn from.

    Args:
        name: of its files.
        figure: what is shown.
        caption: under it.
        data: arrays by name: columns of equal length are written as CSV, others as a NumPy archive.
    """

    name: str
    figure: Figure
    caption: str
    data: Mapping[str, ArrayLike | Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``NAME.png``, ``NAME.pdf`` and, if there are data, ``NAME.csv`` or ``NAME.npz``."""
        self.figure.savefig(folder / f"{self.name}.png")
        self.figure.savefig(folder / f"{self.name}.pdf", metadata={"CreationDate": None})  # reproducible
        arrays = {
            name: value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            for name, value in self.data.items()
        }
        shapes = {array.shape for array in arrays.values()}
        if len(shapes) == 1 and len(next(iter(shapes))) == 1:
            with (folder / f"{self.name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(arrays)
                writer.writerows(zip(*(array.tolist() for array in arrays.values()), strict=True))
        elif arrays:
            np.savez_compressed(folder / f"{self.name}.npz", **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Folded:
    """Details under a summary, hidden until the reader opens them."""

    summary: str
    blocks: Sequence["Block"]


Block = Heading | Paragraph | Preformatted | Table | Drawing | Folded


def write_report(
    title: str, blocks: Sequence[Block], out: str | Path, numbers: Mapping[str, Any] | None = None
) -> Path:
    """Write ``report.html``, ``report.md``, ``figures/`` and, with ``numbers``, ``metrics.json``.

    Args:
        title: of the report.
        blocks: its contents in order.
        out: the folder; files of an earlier report there are replaced.
        numbers: plain values.

    Returns:
        The path of the HTML file.
    """
    out = Path(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for drawing in drawings(blocks):
        drawing.save(out / "figures")
    if numbers is not None:
        (out / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    (out / "report.md").write_text(f"# {title}\n\n" + "\n\n".join(map(markdown, blocks)) + "\n", encoding="utf-8")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = f"<h1>{escape(title)}</h1>\n" + "\n".join(html(block, out / "figures") for block in blocks)
    page = f'<html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
    (out / "report.html").write_text(f"<!doctype html>{page}\n", encoding="utf-8")
    return out / "report.html"


def drawings(blocks: Sequence[Block]) -> Iterator[Drawing]:
    """The drawings among blocks, folded ones included."""
    for block in blocks:
        if isinstance(block, Drawing):
            yield block
        elif isinstance(block, Folded):
            yield from drawings(block.blocks)


def html(block: Block, figures: Path) -> str:
    """A block as HTML, with the pictures of the folder of figures embedded."""
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Preformatted(text):
            return f"<pre>{escape(text)}</pre>"
        case Table(header, rows, bold):
            top = "".join(f"<th>{escape(name)}</th>" for name in header)
            escaped = Table(header, [[escape(cell) for cell in row] for row in Table(header, rows).cells()], bold)
            lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in escaped.cells("<b>", "</b>"))
            return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
        case Drawing(name, _, caption, _):
            source = f"data:image/png;base64,{base64.b64encode((figures / f'{name}.png').read_bytes()).decode()}"
            image = f'<img alt="{escape(caption)}" src="{source}">'
            return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
        case Folded(summary, blocks):
            inside = "\n".join(html(hidden, figures) for hidden in blocks)
            return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"


def markdown(block: Block) -> str:
    """A block as Markdown; pictures are those in the folder ``figures``."""
    match block:
        case Heading(text):
            return f"## {text}"
        case Paragraph(text):
            return text
        case Preformatted(text):
            return f"```\n{text.rstrip()}\n```"
        case Table(header, _, _):
            lines = [header, ["---"] * len(header), *block.cells("**", "**")]
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        case Drawing(name, _, caption, _):
            return f"![{caption}](figures/{name}.png)\n\n*{caption}*"
        case Folded(summary, blocks):
            inside = "\n\n".join(map(markdown, blocks))
            return f"<details><summary>{escape(summary)}</summary>\n\n{inside}\n\n</details>"
