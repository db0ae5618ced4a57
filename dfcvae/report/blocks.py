"""What a report consists of, and how it is written: one HTML file, Markdown, JSON, every figure with its data."""

import base64
import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL.Image import Image
from torch import Tensor

from dfcvae.table import Table

STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #595959; --line: #ddd; --paper: #fff; --soft: #f4f4f4 }
:root { --cue: #0005 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #aaa; --line: #444; --paper: #181818; --soft: #262626; --cue: #fff6 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
body { max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 2.5rem }
figure { margin: 1rem 0 } img { max-width: 100%; background: #fff }
figcaption, small { color: var(--faint) } figcaption { font-size: .9rem } small { font-size: .78rem }
code, pre { background: var(--soft); font-size: .85rem; overflow-wrap: anywhere }
pre { padding: 1rem; overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; line-height: 1.35 }
th, td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; white-space: normal; vertical-align: bottom }
th:first-child, td:first-child { text-align: left; white-space: normal; position: sticky; left: 0 }
th:first-child, td:first-child { background: var(--paper) }
.scroll { overflow-x: auto; margin: 1rem 0 }
.table { background: linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--cue), transparent) right / .8rem 100% no-repeat scroll }
details { margin: 1rem 0 } summary { cursor: pointer }
@media (max-width: 40rem) {
  th, td { padding: .3rem .4rem }
  th:first-child, td:first-child { min-width: 5.5rem; max-width: 8rem; overflow-wrap: break-word }
  small { white-space: normal } .wide img { max-width: none }
  .wide + figcaption::before { content: "\\2194  scroll sideways. " }
}
"""
NEXT_ITEM, CODE = "\n* ", re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Drawing:
    """A picture of faces, or a figure, with the numbers it was drawn from.

    Of ``data``, arrays by name, columns of equal length are written as CSV, others as a NumPy archive.
    """

    name: str
    figure: Figure | Image
    caption: str
    data: Mapping[str, ArrayLike | Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``NAME.png``, of a figure also ``NAME.pdf``, and, if there are data, ``NAME.csv`` or ``NAME.npz``."""
        if isinstance(self.figure, Figure):
            self.figure.savefig(folder / f"{self.name}.png")
            self.figure.savefig(folder / f"{self.name}.pdf", metadata={"CreationDate": None})  # reproducible
        else:
            self.figure.save(folder / f"{self.name}.png")
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


Block = str | Table | Drawing | Folded
"""A string is Markdown: a heading, a list, preformatted text between fences, or a paragraph with `` `code` ``."""


def items(texts: Sequence[str]) -> str:
    """A list of paragraphs."""
    return "\n".join(f"* {text}" for text in texts)


def write_report(
    title: str, blocks: Sequence[Block], out: str | Path, numbers: Mapping[str, Any] | None = None
) -> Path:
    """Write ``report.html``, ``report.md``, ``figures/`` and, with ``numbers``, ``metrics.json``; replaces older ones.

    Returns the path of the HTML file.
    """
    out = Path(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Drawing):
            block.save(out / "figures")
    if numbers is not None:
        (out / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n")
    (out / "report.md").write_text(f"# {title}\n\n" + "\n\n".join(map(markdown, blocks)) + "\n", encoding="utf-8")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = f"<h1>{escape(title)}</h1>\n" + "\n".join(html(block, out / "figures") for block in blocks)
    page = f'<html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
    (out / "report.html").write_text(f"<!doctype html>{page}\n", encoding="utf-8")
    return out / "report.html"


def html(block: Block, figures: Path) -> str:
    """A block as HTML, with the pictures of the folder of figures embedded."""
    match block:
        case str() if block.startswith("## "):
            return f"<h2>{escape(block.removeprefix('## '))}</h2>"
        case str() if block.startswith("* "):
            return f"<ul>{''.join(f'<li>{_inline(text)}</li>' for text in block[2:].split(NEXT_ITEM))}</ul>"
        case str() if block.startswith("```"):
            return f"<pre>{escape(block.strip('`').strip())}</pre>"
        case str():
            return f"<p>{_inline(block)}</p>"
        case Table(header, rows, bold):
            top = "".join(f"<th>{escape(name)}</th>" for name in header)
            escaped = Table(header, [[escape(cell) for cell in row] for row in Table(header, rows).cells()], bold)
            body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in escaped.cells("<b>", "</b>"))
            return f'<div class="scroll table"><table><tr>{top}</tr>{body}</table></div>'
        case Drawing(name, _, caption, _):
            source = f"data:image/png;base64,{base64.b64encode((figures / f'{name}.png').read_bytes()).decode()}"
            image = f'<div class="scroll wide"><img alt="{escape(caption)}" src="{source}"></div>'
            return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
        case Folded(summary, blocks):
            inside = "\n".join(html(hidden, figures) for hidden in blocks)
            return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"


def _cell(text: str) -> str:
    first, *below = text.split("\n")
    return f"<td>{first}{''.join(f'<br><small>{line}</small>' for line in below)}</td>"


def _inline(text: str) -> str:
    return CODE.sub(r"<code>\1</code>", escape(text))


def markdown(block: Block) -> str:
    """A block as Markdown; pictures are those in the folder ``figures``."""
    match block:
        case str():
            return block
        case Table(header, _, _):
            lines = [header, ["---"] * len(header), *block.cells("**", "**")]
            plain = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
            return "\n".join(f"| {' | '.join(line)} |" for line in plain)
        case Drawing(name, _, caption, _):
            return f"![{caption}](figures/{name}.png)\n\n*{caption}*"
        case Folded(summary, blocks):
            inside = "\n\n".join(map(markdown, blocks))
            return f"<details><summary>{escape(summary)}</summary>\n\n{inside}\n\n</details>"
