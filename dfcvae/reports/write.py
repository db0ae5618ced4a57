"""A report as one HTML file with its pictures inside, as Markdown, and every figure with its data as files."""

import base64
import csv
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from dfcvae.reports.blocks import Block, Drawing, Folded, Heading, Paragraph, Preformatted, Table

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


def write_report(title: str, blocks: Sequence[Block], out: str | Path) -> Path:
    """Write ``report.html``, ``report.md`` and, for every drawing, ``figures/NAME.png``, ``.pdf`` and its data.

    Args:
        title: of the report.
        blocks: its contents in order.
        out: the folder; files of an earlier report there are replaced.

    Returns:
        The path of the HTML file.
    """
    out = Path(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for drawing in drawings(blocks):
        _save(drawing, out / "figures")
    (out / "report.md").write_text(f"# {title}\n\n" + "\n\n".join(map(markdown, blocks)) + "\n", encoding="utf-8")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    head += f"<style>{STYLE}</style>"
    body = f"<h1>{escape(title)}</h1>\n" + "\n".join(html(block, out / "figures") for block in blocks)
    report = out / "report.html"
    report.write_text(
        f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n', encoding="utf-8"
    )
    return report


def drawings(blocks: Sequence[Block]) -> Iterator[Drawing]:
    """The drawings among blocks, folded ones included."""
    for block in blocks:
        if isinstance(block, Drawing):
            yield block
        elif isinstance(block, Folded):
            yield from drawings(block.blocks)


def html(block: Block, figures: Path) -> str:
    """A block as HTML; pictures, taken from the folder of figures, are inside."""
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Preformatted(text):
            return f"<pre>{escape(text)}</pre>"
        case Table(header, _, _):
            top = "".join(f"<th>{escape(name)}</th>" for name in header)
            cells = emphasised([[escape(cell) for cell in row] for row in block.cells()], block, "<b>", "</b>")
            lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in cells)
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
            lines = [header, ["---"] * len(header), *emphasised(block.cells(), block, "**", "**")]
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        case Drawing(name, _, caption, _):
            return f"![{caption}](figures/{name}.png)\n\n*{caption}*"
        case Folded(summary, blocks):
            inside = "\n\n".join(map(markdown, blocks))
            return f"<details><summary>{escape(summary)}</summary>\n\n{inside}\n\n</details>"


def emphasised(cells: Sequence[Sequence[str]], table: Table, before: str, after: str) -> list[list[str]]:
    """The cells of a table, with marks around the bold ones."""
    return [
        [f"{before}{cell}{after}" if (i, j) in table.bold else cell for j, cell in enumerate(row)]
        for i, row in enumerate(cells)
    ]


def _save(drawing: Drawing, folder: Path) -> None:
    drawing.figure.savefig(folder / f"{drawing.name}.png")
    drawing.figure.savefig(folder / f"{drawing.name}.pdf", metadata={"CreationDate": None})  # the same every time
    arrays = drawing.arrays()
    if not arrays:
        return
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) == 1 and len(next(iter(shapes))) == 1:
        with (folder / f"{drawing.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(arrays)
            writer.writerows(zip(*(array.tolist() for array in arrays.values()), strict=True))
    else:
        np.savez_compressed(folder / f"{drawing.name}.npz", **arrays)  # type: ignore[arg-type]
